import { connect, type Table } from "@lancedb/lancedb"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { readChanges, schemaOf, type StoredChange, tableOf } from "#shared/memoryindex/lancedb-rows"
import type { IndexChange } from "#shared/memoryindex/memory-index"

const test = suite("rows of the index's table")
const folder = mkdtempSync(join(tmpdir(), "rows-"))
test.after(() => rmSync(folder, { recursive: true, force: true }))

const restored = (place: number, user = "u"): StoredChange => ({ place, change: { _tag: "Restore", user, id: "m", sequence: place } })
const places = (from: number, count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, at) => from + at)
/** More rows than the library gives in one batch. */
const many = 20_000

/** A table of these additions, one after the other. */
const open = async (name: string, additions: ReadonlyArray<ReadonlyArray<StoredChange>>): Promise<Table> => {
  const table = await (await connect(join(folder, name))).createEmptyTable("changes", schemaOf(8))
  for (const some of additions) await table.add(tableOf(some, 1, 8))
  return table
}

/** The same table, tidied between finding rows and taking them. */
const tidiedBeforeTaking = (table: Table): Table =>
  new Proxy(table, {
    get: (_, name) => {
      if (name !== "takeRowIds") return (Reflect.get(table, name) as (...all: ReadonlyArray<unknown>) => unknown).bind(table)
      return (ids: ReadonlyArray<bigint>) => ({
        select: (columns: Array<string>) => ({
          async *[Symbol.asyncIterator]() {
            await table.optimize({ cleanupOlderThan: new Date() })
            yield* table.takeRowIds(ids).select(columns)
          }
        })
      })
    }
  })

/** What reading such a table begins with and gives. */
const read = async (name: string, additions: ReadonlyArray<ReadonlyArray<StoredChange>>) => {
  const table = await open(name, additions)
  const begun: Array<number> = []
  let changes: Array<IndexChange> = []
  await readChanges(table, "u", 8, (rows) => {
    begun.push(rows)
    changes = []
    return (change) => void changes.push(change)
  })
  return { begun, sequences: changes.map((change) => (change._tag === "Restore" ? change.sequence : undefined)) }
}

test("changes of one user come in the order of their places, read once", async () => {
  const found = await read("ordered", [[...places(1, many).map((place) => restored(place)), restored(many + 1, "other")], [restored(many + 2)]])
  assert.equal(found, { begun: [many + 1], sequences: [...places(1, many), many + 2] })
})

test("rows out of order within a batch are sorted there", async () => {
  assert.equal(await read("near", [[restored(1), restored(6)], [restored(3), restored(4)], [restored(2)]]), { begun: [5], sequences: [1, 2, 3, 4, 6] })
})

test("rows moved further than what is read at once come in order too", async () => {
  assert.equal(await read("far", [places(11, many).map((place) => restored(place)), places(1, 10).map((place) => restored(place))]), { begun: [many + 10], sequences: places(1, many + 10) })
})

test("rows moved by a tidying after they were found are missed, and said to be", async () => {
  const table = await open("moved", [[restored(1), restored(2)], [restored(3)]])
  let message = ""
  await readChanges(tidiedBeforeTaking(table), "u", 8, () => () => undefined).catch((error: unknown) => (message = String(error)))
  assert.is.not(message, "")
  const begun: Array<number> = []
  await readChanges(table, "u", 8, (rows) => {
    begun.push(rows)
    return () => undefined
  })
  assert.equal(begun, [3])
})

test("a user without rows begins nothing", async () => {
  assert.equal(await read("none", [[restored(1, "other")]]), { begun: [], sequences: [] })
})

test.run()
