/**
 * Index changes as rows of one LanceDB table. The table is only added to, and one addition is one version: changes and the checkpoint
 * they lead to appear together or not at all. A user is loaded by applying their rows in order, so that a change stored twice is one.
 */
import type { Table } from "@lancedb/lancedb"
import { createRequire } from "node:module"
import { type IndexChange, userOf } from "./memory-index.ts"
import type { IndexedMemory } from "./shelf.ts"

// LanceDB requires this copy of the library; an imported one has other classes, which it refuses.
const arrow = createRequire(import.meta.url)("apache-arrow") as typeof import("apache-arrow")

/** A change with its place in the order of all changes of this folder. */
export interface StoredChange {
  readonly place: number
  readonly change: IndexChange
}

const checkpointUser = "\u0000checkpoint"

const texts = ["user", "change", "id", "kind", "text", "speaker", "time", "meant", "turns", "conversation", "other"] as const
const numbers = ["sequence", "place"] as const
type Row = Partial<Record<(typeof texts)[number], string>> & { sequence: number; place: number; vector?: Float32Array | Float16Array }

/** Vectors are made of float16 numbers everywhere. */
const vectorType = (dimensions: number) => new arrow.FixedSizeList(dimensions, new arrow.Field("item", new arrow.Float16(), true))

export const schemaOf = (dimensions: number) =>
  new arrow.Schema([
    ...texts.map((name) => new arrow.Field(name, new arrow.Utf8(), true)),
    ...numbers.map((name) => new arrow.Field(name, new arrow.Float64(), false)),
    new arrow.Field("vector", vectorType(dimensions), true)
  ])

const rowOf = ({ change, place }: StoredChange): Row => {
  const row: Row = { user: userOf(change), change: change._tag, place, sequence: 0 }
  switch (change._tag) {
    case "Put": {
      const { conversation, id, kind, meant, sequence, speaker, text, time, turns, vector } = change.memory
      return {
        ...row, id, kind, text, speaker, time, conversation, sequence, turns: JSON.stringify(turns),
        ...(meant === undefined ? {} : { meant }),
        ...(vector === undefined ? {} : { vector })
      }
    }
    case "SetVector":
      return { ...row, id: change.id, vector: change.vector }
    case "Supersede":
      return { ...row, id: change.id, other: change.by, sequence: change.sequence }
    case "Restore":
      return { ...row, id: change.id, sequence: change.sequence }
    case "Remove":
      return { ...row, id: change.id }
  }
}

/** Changes and the checkpoint after them as one Arrow table. Vectors were checked before. */
export const tableOf = (changes: ReadonlyArray<StoredChange>, checkpoint: number, dimensions: number) => {
  const last = (changes.at(-1)?.place ?? 0) + 0.5
  const rows: ReadonlyArray<Row> = [...changes.map(rowOf), { user: checkpointUser, change: "checkpoint", sequence: checkpoint, place: last }]
  const values = new Float16Array(rows.length * dimensions)
  const valid = new Uint8Array(Math.ceil(rows.length / 8))
  let missing = 0
  rows.forEach(({ vector }, at) => {
    if (vector === undefined) missing += 1
    else {
      values.set(vector, at * dimensions)
      valid[at >> 3] = (valid[at >> 3] ?? 0) | (1 << (at & 7))
    }
  })
  const child = arrow.makeData({ type: new arrow.Float16(), length: values.length, nullCount: 0, data: new Uint16Array(values.buffer) })
  const vectors = arrow.makeData({ type: vectorType(dimensions), length: rows.length, nullCount: missing, nullBitmap: valid, child })
  const schema = schemaOf(dimensions)
  const columns = [
    ...texts.map((name) => arrow.vectorFromArray(rows.map((row) => row[name] ?? null), new arrow.Utf8()).data[0]),
    ...numbers.map((name) => arrow.makeData({ type: new arrow.Float64(), length: rows.length, nullCount: 0, data: Float64Array.from(rows, (row) => row[name]) })),
    vectors
  ]
  const struct = arrow.makeData({ type: new arrow.Struct(schema.fields), length: rows.length, nullCount: 0, children: columns as never })
  return new arrow.Table(schema, new arrow.RecordBatch(schema, struct as never))
}

/** A text in a LanceDB condition; there are no parameters. */
const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`
export const ofUser = (user: string): string => `user = ${quoted(user)}`

/** The sequence up to which the table is complete, and the place of its last change. */
export const readCheckpoint = async (table: Table): Promise<{ readonly checkpoint: number; readonly place: number }> => {
  const found = await table.query().where(ofUser(checkpointUser)).select(["sequence", "place"]).toArrow()
  // There is one for each addition ever made: read by column, since a row of its own for each takes a hundred times as long.
  const greatest = (column: "sequence" | "place"): number => (found.getChild(column)?.toArray() as Float64Array | undefined ?? new Float64Array()).reduce((most, value) => Math.max(most, value), 0)
  return { checkpoint: greatest("sequence"), place: Math.ceil(greatest("place")) }
}

/** Rows decoded between two pauses, so that loading a large user does not hold up everybody else. */
const rowsAtOnce = 1_000

type Batch = import("apache-arrow").RecordBatch
type Data = import("apache-arrow").Data

const isNull = ({ nullBitmap, nullCount, offset }: Data, row: number): boolean =>
  nullCount > 0 && ((nullBitmap[(offset + row) >> 3] ?? 0) & (1 << ((offset + row) & 7))) === 0

/** Texts of one column of a batch, read from its bytes: the library looks a batch up anew for each value. */
const textColumn = (data: Data) => {
  const { valueOffsets } = data
  const bytes = Buffer.from(data.values.buffer, data.values.byteOffset, data.values.byteLength)
  let lastFrom = 0
  let lastTo = 0
  let last = ""
  return (row: number): string => {
    if (isNull(data, row)) return ""
    const from = Number(valueOffsets[row] ?? 0)
    const to = Number(valueOffsets[row + 1] ?? 0)
    // Neighbouring rows often say the same (speaker, conversation), and then share one string.
    if (to - from === lastTo - lastFrom && bytes.compare(bytes, lastFrom, lastTo, from, to) === 0) return last
    lastFrom = from
    lastTo = to
    last = bytes.toString("utf8", from, to)
    return last
  }
}

/** Columns of a batch by name. @throws Error when one is missing */
const columnsOf = (batch: Batch) => {
  const data = (name: string): Data => {
    const at = batch.schema.fields.findIndex((field) => field.name === name)
    const found = batch.data.children[at]
    if (found === undefined) throw new Error(`column ${name} is missing`)
    return found
  }
  return {
    text: Object.fromEntries(texts.filter((name) => name !== "user").map((name) => [name, textColumn(data(name))])) as Record<(typeof texts)[number], (row: number) => string>,
    meant: data("meant"),
    sequence: data("sequence").values as Float64Array,
    place: data("place").values as Float64Array,
    vector: data("vector")
  }
}

/** Turns of a memory; most are of the turn itself, which needs no parser. */
const turnsOf = (stored: string, id: string): [string, ...Array<string>] =>
  stored.length === id.length + 4 && stored.slice(2, -2) === id ? [id] : (JSON.parse(stored) as [string, ...Array<string>])

type Columns = ReturnType<typeof columnsOf>

/** Rows read at once: those of a large user take more memory than what becomes of them. */
const rowsRead = 8_192

/**
 * Where a user's rows stand, in the order of their places; tidying may have moved some. Only two narrow columns are read for it: a query for
 * whole rows decodes every row of the table, vectors with it, whomever they belong to.
 */
const rowIdsOf = async (table: Table, user: string): Promise<ReadonlyArray<bigint>> => {
  const found: Array<{ readonly id: bigint; readonly place: number }> = []
  for await (const batch of table.query().where(ofUser(user)).select(["place"]).withRowId()) {
    const places = batch.getChild("place")?.toArray() as Float64Array
    const ids = batch.getChild("_rowid")?.toArray() as BigUint64Array
    ids.forEach((id, at) => found.push({ id, place: places[at] ?? 0 }))
  }
  return found.sort((a, b) => a.place - b.place).map(({ id }) => id)
}

/**
 * One user's changes in order.
 *
 * @param begin told how many rows there are before any change; @returns takes the changes
 * @throws Error when a row cannot be read, or is not where it was found: the table was tidied meanwhile, or its folder is damaged
 */
export const readChanges = async (table: Table, user: string, dimensions: number, begin: (rows: number) => (change: IndexChange) => void): Promise<void> => {
  const ids = await rowIdsOf(table, user)
  if (ids.length === 0) return
  const each = begin(ids.length)
  for (let from = 0; from < ids.length; from += rowsRead) {
    const wanted = ids.slice(from, from + rowsRead)
    const batches: Array<Columns> = []
    for await (const batch of table.takeRowIds(wanted).select([...texts.filter((name) => name !== "user"), ...numbers, "vector"])) batches.push(columnsOf(batch))
    const rows = batches.reduce((sum, { place }) => sum + place.length, 0)
    if (rows !== wanted.length) throw new Error(`${wanted.length - rows} of ${wanted.length} rows are missing`)
    await applyRows(user, dimensions, batches, each)
  }
}

/** Rows of some batches, as changes in the order of their places. */
const applyRows = async (user: string, dimensions: number, batches: ReadonlyArray<Columns>, each: (change: IndexChange) => void): Promise<void> => {
  const order: Array<{ readonly batch: number; readonly row: number; readonly place: number }> = []
  batches.forEach(({ place }, batch) => {
    for (let row = 0; row < place.length; row++) order.push({ batch, row, place: place[row] ?? 0 })
  })
  order.sort((a, b) => a.place - b.place)
  for (const [at, { batch, row }] of order.entries()) {
    if (at > 0 && at % rowsAtOnce === 0) await new Promise((resolve) => setImmediate(resolve))
    const columns = batches[batch]
    if (columns === undefined) continue
    const { meant, sequence: sequences, text, vector: vectors } = columns
    const id = text.id(row)
    const sequence = sequences[row] ?? 0
    /** A view of the batch's numbers; whoever keeps it copies it. */
    const vectorAt = (): Float16Array | undefined => {
      if (isNull(vectors, row)) return undefined
      const values = vectors.children[0]?.values as Uint16Array | undefined
      const start = (vectors.offset + row) * dimensions
      if (values === undefined || values.length < start + dimensions) throw new Error(`a stored vector has fewer numbers than the ${dimensions} that are due`)
      return new Float16Array(values.buffer, values.byteOffset + start * 2, dimensions)
    }
    const change = text.change(row)
    switch (change) {
      case "Put": {
        const memory: IndexedMemory = {
          id,
          kind: text.kind(row) === "fact" ? "fact" : "turn",
          text: text.text(row),
          speaker: text.speaker(row),
          time: text.time(row),
          turns: turnsOf(text.turns(row), id),
          user,
          conversation: text.conversation(row),
          sequence
        }
        each({ _tag: "Put", memory: isNull(meant, row) ? memory : { ...memory, meant: text.meant(row) } })
        const vector = vectorAt()
        if (vector !== undefined) each({ _tag: "SetVector", user, id, vector })
        break
      }
      case "SetVector": {
        const vector = vectorAt()
        if (vector !== undefined) each({ _tag: "SetVector", user, id, vector })
        break
      }
      case "Supersede":
        each({ _tag: "Supersede", user, id, by: text.other(row), sequence })
        break
      case "Restore":
        each({ _tag: "Restore", user, id, sequence })
        break
      case "Remove":
        each({ _tag: "Remove", user, id })
        break
      default:
        throw new Error(`a row of kind "${change}" is unknown`)
    }
  }
}
