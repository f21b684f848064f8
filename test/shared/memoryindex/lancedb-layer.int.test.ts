import { Effect, Fiber } from "effect"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { layer } from "#shared/memoryindex/lancedb-layer"
import { type IndexChange, MemoryIndex } from "#shared/memoryindex/memory-index"
import { memoryIndexConformance } from "#test/conformance/memory-index"
import { effect } from "#test/support/effect"

const root = mkdtempSync(join(tmpdir(), "metamem-index-"))
test.after(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const fresh = (): string => join(root, String(++folders))
const open = (folder: string, model = "m", log = { id: "log", head: 1_000_000 }, heldBytes = 1e8) => layer({ folder, dimensions: 8, model, log, heldBytes })

memoryIndexConformance(test, () => open(fresh()))

const put = (n: number, user = "u", vector?: Float32Array): IndexChange => ({
  _tag: "Put",
  memory: {
    id: `m${n}`, kind: "turn", text: `note number ${n} about lamps`, speaker: "user", time: "2026-01-01T00:00:00.000Z", turns: [`m${n}`],
    user, conversation: "c", sequence: n, ...(vector === undefined ? {} : { vector })
  }
})
const axis = Float32Array.from({ length: 8 }, (_, at) => (at === 2 ? 1 : 0))
const count = (user: string) =>
  Effect.gen(function*() {
    return (yield* (yield* MemoryIndex).search(user, { by: { text: "lamps" }, limit: 10_000 })).length
  })

effect(test, "what was applied is there after closing and opening again, with vectors, successors and checkpoint", () =>
  Effect.gen(function*() {
    const folder = fresh()
    yield* Effect.gen(function*() {
      const index = yield* MemoryIndex
      yield* index.apply([put(1, "o'brien"), put(2, "o'brien", axis), put(3, "other")], 3)
      yield* index.apply([{ _tag: "SetVector", user: "o'brien", id: "m1", vector: axis }, { _tag: "Supersede", user: "o'brien", id: "m2", by: "m1", sequence: 5 }], 5)
    }).pipe(Effect.provide(open(folder)))
    yield* Effect.gen(function*() {
      const index = yield* MemoryIndex
      assert.is(yield* index.checkpoint, 5)
      const [first, second] = yield* index.get("o'brien", ["m1", "m2"])
      assert.equal([...(first?.vector ?? [])], [...axis])
      assert.is(second?.supersededBy, "m1")
      assert.is(yield* count("o'brien"), 1)
      assert.is(yield* count("other"), 1)
    }).pipe(Effect.provide(open(folder)))
  }), 60_000)

effect(test, "users held in memory are bounded by bytes: those asked for longest ago are loaded again, with what came meanwhile", () =>
  Effect.gen(function*() {
    const rows = Array.from({ length: 200 }, (_, n) => n)
    const viewOf = (user: string) => Effect.flatMap(MemoryIndex, (index) => index.view(user))
    const held = (heldBytes: number) =>
      Effect.gen(function*() {
        const index = yield* MemoryIndex
        yield* index.apply([...rows.map((n) => put(n, "a", axis)), ...rows.map((n) => put(n, "b", axis))], 1)
        const before = yield* viewOf("a")
        assert.is(yield* viewOf("a"), before)
        yield* viewOf("b")
        const isHeld = (yield* viewOf("a")) === before
        // Both users grow; whichever is not held gets it from the table.
        yield* index.apply([...rows.map((n) => put(1_000 + n, "a")), ...rows.map((n) => put(1_000 + n, "b"))], 2)
        assert.equal([yield* count("a"), yield* count("b"), yield* count("a")], [400, 400, 400])
        return isHeld
      }).pipe(Effect.provide(open(fresh(), "m", undefined, heldBytes)))
    assert.is(yield* held(1e8), true)
    assert.is(yield* held(1_000), false)
  }), 60_000)

effect(test, "a user loaded while the table is tidied is whole, and the index goes on", () =>
  Effect.gen(function*() {
    const rounds = 12
    const rows = 4_000
    yield* Effect.gen(function*() {
      const index = yield* MemoryIndex
      let isOver = false
      // So many changes are added to the table at once, and to remove a user tidies: both files and versions come and go.
      const tidying = Effect.forEach(Array.from({ length: rounds }, (_, n) => n), (n) =>
        Effect.andThen(index.apply([put(-1 - n, "gone"), ...Array.from({ length: rows }, (_, at) => put(n * rows + at, at % 2 === 0 ? "a" : "b", axis))], n + 1), index.removeUser("gone")), { discard: true }).pipe(
          Effect.ensuring(Effect.sync(() => (isOver = true)))
        )
      const asking = Effect.gen(function*() {
        while (!isOver) yield* Effect.all([index.view("a"), index.view("b")], { concurrency: 2 })
      })
      yield* Effect.all([tidying, asking], { concurrency: 2 })
      assert.is(yield* index.checkpoint, rounds)
      assert.equal([(yield* index.view("a")).turns.standingCount, (yield* index.view("b")).turns.standingCount], [rounds * rows / 2, rounds * rows / 2])
    }).pipe(Effect.provide(open(fresh(), "m", undefined, 1)))
  }), 60_000)

effect(test, "a folder that is opened for one change again and again is tidied all the same, and its index by user is not made anew each time", () =>
  Effect.gen(function*() {
    const folder = fresh()
    const filesIn = (name: string): number => readdirSync(join(folder, "0", "changes.lance", name)).length
    const openings = 110
    for (let n = 1; n <= openings; n++) {
      yield* Effect.flatMap(MemoryIndex, (index) => index.apply([put(n)], n)).pipe(Effect.provide(open(folder)))
      if (n === 10) assert.is(filesIn("_indices"), 1)
    }
    assert.ok(filesIn("data") < 50, `${filesIn("data")} files`)
    assert.ok(filesIn("_versions") < 50, `${filesIn("_versions")} versions`)
    assert.is(yield* count("u").pipe(Effect.provide(open(folder))), openings)
  }), 60_000)

effect(test, "a user asked for while changes stream in misses none and doubles none", () =>
  Effect.gen(function*() {
    const folder = fresh()
    yield* Effect.gen(function*() {
      yield* (yield* MemoryIndex).apply(Array.from({ length: 3_000 }, (_, n) => put(n)), 3_000)
    }).pipe(Effect.provide(open(folder)))
    yield* Effect.gen(function*() {
      const index = yield* MemoryIndex
      const stream = Effect.forEach(Array.from({ length: 100 }, (_, n) => n), (n) => Effect.andThen(index.apply([put(2_990 + n), put(3_000 + n)], 3_000 + n), Effect.yieldNow))
      yield* Effect.all([stream, count("u"), count("u")], { concurrency: 3 })
      assert.is(yield* count("u"), 3_100)
    }).pipe(Effect.provide(open(folder)))
  }), 60_000)

for (const [name, harm] of [
  ["deleted", (slot: string) => rmSync(slot, { recursive: true })],
  ["damaged", (slot: string) => {
    for (const file of readdirSync(slot, { recursive: true, encoding: "utf8" })) if (file.endsWith(".manifest")) writeFileSync(join(slot, file), "no manifest")
  }],
  ["emptied", (slot: string) => rmSync(join(slot, "changes.lance"), { recursive: true })]
] as const) {
  effect(test, `a folder that was ${name} starts from checkpoint 0 and can be filled again`, () =>
    Effect.gen(function*() {
      const folder = fresh()
      yield* Effect.flatMap(MemoryIndex, (index) => index.apply([put(1)], 7)).pipe(Effect.provide(open(folder)))
      harm(join(folder, "0"))
      yield* Effect.gen(function*() {
        const index = yield* MemoryIndex
        assert.is(yield* index.checkpoint, 0)
        assert.is(yield* count("u"), 0)
        yield* index.apply([put(1)], 7)
        assert.is(yield* count("u"), 1)
      }).pipe(Effect.provide(open(folder)))
    }), 60_000)
}

effect(test, "data files lost under a running index are a typed error, and it begins anew", () =>
  Effect.gen(function*() {
    const folder = fresh()
    yield* Effect.flatMap(MemoryIndex, (index) => index.apply([put(1), put(2, "v")], 7)).pipe(Effect.provide(open(folder)))
    yield* Effect.gen(function*() {
      const index = yield* MemoryIndex
      rmSync(join(folder, "0", "changes.lance", "data"), { recursive: true })
      const error = yield* Effect.flip(count("u"))
      assert.is(error.reason, "BegunAnew")
      assert.match(error.message, /It is filled again from the log/)
      assert.is(yield* index.checkpoint, 0)
      yield* index.apply([put(1)], 7)
      assert.is(yield* count("u"), 1)
    }).pipe(Effect.provide(open(folder)))
  }), 60_000)

effect(test, "a folder deleted while all its users are held in memory is begun anew at the next writing, not gone on with", () =>
  Effect.gen(function*() {
    const folder = fresh()
    const all = Array.from({ length: 4_000 }, (_, n) => put(n))
    yield* Effect.gen(function*() {
      const index = yield* MemoryIndex
      yield* index.apply(all.slice(0, 10), 10)
      assert.is(yield* count("u"), 10)
      rmSync(join(folder, "0"), { recursive: true })
      assert.match((yield* Effect.flip(index.apply(all.slice(10), 4_000))).message, /was deleted while in use/)
      assert.is(yield* index.checkpoint, 0)
      yield* index.apply(all, 4_000)
    }).pipe(Effect.provide(open(folder)))
    assert.is(yield* count("u").pipe(Effect.provide(open(folder))), 4_000)
  }), 60_000)

effect(test, "an index of another model is not read", () =>
  Effect.gen(function*() {
    const folder = fresh()
    yield* Effect.flatMap(MemoryIndex, (index) => index.apply([put(1)], 7)).pipe(Effect.provide(open(folder, "old")))
    assert.is(yield* Effect.flatMap(MemoryIndex, (index) => index.checkpoint).pipe(Effect.provide(open(folder, "new"))), 0)
  }), 60_000)

effect(test, "an index of another log, or ahead of its log, is not read", () =>
  Effect.gen(function*() {
    const folder = fresh()
    const checkpoint = Effect.flatMap(MemoryIndex, (index) => index.checkpoint)
    const apply = Effect.flatMap(MemoryIndex, (index) => index.apply([put(1)], 7))
    yield* apply.pipe(Effect.provide(open(folder, "m", { id: "old", head: 7 })))
    assert.is(yield* checkpoint.pipe(Effect.provide(open(folder, "m", { id: "old", head: 7 }))), 7)
    assert.is(yield* checkpoint.pipe(Effect.provide(open(folder, "m", { id: "old", head: 6 }))), 0)
    yield* apply.pipe(Effect.provide(open(folder, "m", { id: "old", head: 7 })))
    assert.is(yield* checkpoint.pipe(Effect.provide(open(folder, "m", { id: "new", head: 100 }))), 0)
  }), 60_000)

effect(test, "an index begun anew takes and shows nothing until its checkpoint is asked for", () =>
  Effect.gen(function*() {
    const folder = fresh()
    yield* Effect.flatMap(MemoryIndex, (index) => index.apply([put(1), put(2, "v")], 7)).pipe(Effect.provide(open(folder)))
    yield* Effect.gen(function*() {
      const index = yield* MemoryIndex
      rmSync(join(folder, "0", "changes.lance", "data"), { recursive: true })
      yield* Effect.flip(count("u"))
      assert.is((yield* Effect.flip(count("v"))).reason, "BegunAnew")
      assert.is((yield* Effect.flip(index.apply([put(3)], 8))).reason, "BegunAnew")
      assert.is(yield* index.checkpoint, 0)
      yield* index.apply([put(1), put(2, "v"), put(3)], 8)
      assert.equal([yield* count("u"), yield* count("v")], [2, 1])
    }).pipe(Effect.provide(open(folder)))
  }), 60_000)

effect(test, "a checkpoint asked for while the index is being begun anew is that of the new one", () =>
  Effect.gen(function*() {
    const folder = fresh()
    yield* Effect.flatMap(MemoryIndex, (index) => index.apply([put(1)], 7)).pipe(Effect.provide(open(folder)))
    yield* Effect.gen(function*() {
      const index = yield* MemoryIndex
      rmSync(join(folder, "0", "changes.lance", "data"), { recursive: true })
      const loading = yield* Effect.forkChild(Effect.flip(count("u")))
      // Refused from the moment on at which the damage was found.
      const refused = yield* index.apply([], 7).pipe(Effect.andThen(Effect.yieldNow), Effect.forever, Effect.flip)
      assert.is(refused.reason, "BegunAnew")
      assert.is(yield* index.checkpoint, 0)
      yield* index.apply([put(1)], 7)
      yield* Fiber.join(loading)
      assert.is(yield* count("u"), 1)
    }).pipe(Effect.provide(open(folder)))
  }), 60_000)

effect(test, "users asked for while another index takes this one's place are whole", () =>
  Effect.gen(function*() {
    const users = Array.from({ length: 20 }, (_, n) => `u${n}`)
    const changes = users.flatMap((user) => [put(1, user), put(2, user)])
    yield* Effect.gen(function*() {
      const index = yield* MemoryIndex
      yield* index.apply(changes, 1)
      for (let time = 0; time < 5; time++) {
        const replacing = yield* Effect.forkChild(index.replace((next) => next.apply(changes, 1)))
        while (replacing.pollUnsafe() === undefined) {
          for (const user of users) assert.is(yield* count(user), 2)
        }
        yield* Fiber.join(replacing)
      }
    }).pipe(Effect.provide(open(fresh(), "m", undefined, 1)))
  }), 60_000)

effect(test, "who begins anew after the whole folder was deleted takes no slot another took since", () =>
  Effect.gen(function*() {
    const folder = fresh()
    yield* Effect.flatMap(MemoryIndex, (index) => index.apply([put(1)], 7)).pipe(Effect.provide(open(folder)))
    yield* Effect.gen(function*() {
      const index = yield* MemoryIndex
      rmSync(folder, { recursive: true })
      yield* Effect.gen(function*() {
        const other = yield* MemoryIndex
        yield* other.apply([put(1), put(2)], 8)
        yield* Effect.flip(count("u").pipe(Effect.provideService(MemoryIndex, index)))
        assert.is(yield* index.checkpoint, 0)
        yield* index.apply([put(1)], 7)
        assert.is(yield* count("u").pipe(Effect.provideService(MemoryIndex, index)), 1)
        assert.is(yield* count("u"), 2)
        assert.equal(readdirSync(folder).filter((name) => /^\d+$/.test(name)).sort(), ["0", "1"])
      }).pipe(Effect.provide(open(folder), { local: true }))
    }).pipe(Effect.provide(open(folder)))
  }), 60_000)

effect(test, "a file where the folder should be is named, with what to do", () =>
  Effect.gen(function*() {
    const folder = fresh()
    writeFileSync(folder, "not a folder")
    const error = yield* Effect.flip(count("u").pipe(Effect.provide(open(folder))))
    assert.match(error.message, /see that it is a folder that can be written, or move what stands in its place/)
  }))

effect(test, "a damaged lock file blocks no slot, and one that cannot be opened only its own", () =>
  Effect.gen(function*() {
    const folder = fresh()
    yield* Effect.flatMap(MemoryIndex, (index) => index.apply([put(1)], 1)).pipe(Effect.provide(open(folder)))
    writeFileSync(join(folder, "0.lock"), "no lock")
    yield* Effect.gen(function*() {
      // The slot's own rows, not those of a new one.
      assert.equal([yield* (yield* MemoryIndex).checkpoint, yield* count("u")], [1, 1])
    }).pipe(Effect.provide(open(folder)))
    rmSync(join(folder, "0.lock"))
    mkdirSync(join(folder, "0.lock"))
    yield* Effect.gen(function*() {
      yield* (yield* MemoryIndex).apply([put(1), put(2)], 2)
      assert.is(yield* count("u"), 2)
    }).pipe(Effect.provide(open(folder)))
    assert.ok(existsSync(join(folder, "1")))
  }), 60_000)

effect(test, "two owners of one folder get a slot each", () =>
  Effect.gen(function*() {
    const folder = fresh()
    yield* Effect.gen(function*() {
      yield* (yield* MemoryIndex).apply([put(1)], 1)
      yield* Effect.flatMap(MemoryIndex, (index) => index.apply([put(2)], 2)).pipe(Effect.provide(open(folder), { local: true }))
      assert.is(yield* count("u"), 1)
    }).pipe(Effect.provide(open(folder)))
    assert.ok(existsSync(join(folder, "1")))
  }), 60_000)

test.run()
