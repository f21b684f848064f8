import { Effect, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { encodeCommit, type RawMessage } from "#shared/eventlog/envelope"
import { verifyCommits } from "#shared/eventlog/replay"

const test = suite("verifying commits")

/** Commits of several subjects, taking turns, as a log would hold them. */
const messages = (count: number, subjects = 3): ReadonlyArray<RawMessage> => {
  const last = new Map<string, string>()
  return Array.from({ length: count }, (_, i) => {
    const subject = `memory.t.u.c${i % subjects}.ingestor`
    const { checksum, headers, payload } = encodeCommit(
      { subject, cause: `cause ${i}`, inputThrough: i, events: [{ type: "Counted", version: 1, data: { i } }, { type: "Counted", version: 1, data: {} }] },
      last.get(subject) ?? ""
    )
    last.set(subject, checksum)
    return { subject, sequence: i + 1, time: "2026-01-01T00:00:00.000Z", headers, payload }
  })
}
const verify = (raws: ReadonlyArray<RawMessage>) => Effect.runPromise(verifyCommits(Stream.fromIterable(raws)))
const changed = (raws: ReadonlyArray<RawMessage>, at: number, change: Partial<RawMessage>) => raws.map((raw, i) => (i === at ? { ...raw, ...change } : raw))

test("a sound log has no faults", async () => {
  assert.equal(await verify(messages(30)), { commits: 30, events: 60, checksumErrors: 0, brokenChains: 0, faults: [] })
  assert.equal(await verify([]), { commits: 0, events: 0, checksumErrors: 0, brokenChains: 0, faults: [] })
})

test("one changed byte is one checksum error, with its place", async () => {
  const raws = messages(30)
  const payload = Uint8Array.from(raws[7]?.payload ?? [])
  payload[payload.length - 3] = (payload[payload.length - 3] ?? 0) ^ 1
  const found = await verify(changed(raws, 7, { payload }))
  assert.equal([found.commits, found.checksumErrors, found.brokenChains], [30, 1, 0])
  assert.equal([found.faults[0]?.kind, found.faults[0]?.subject, found.faults[0]?.sequence], ["checksum", "memory.t.u.c1.ingestor", 8])
})

test("a changed cause, water mark or subject is a checksum error", async () => {
  const raws = messages(6)
  const headers = raws[4]?.headers ?? {}
  for (const change of [{ headers: { ...headers, "Mm-Cause": "another" } }, { headers: { ...headers, "Mm-Input-Through": "99" } }, { subject: "memory.t.u.c9.ingestor" }]) {
    assert.is((await verify(changed(raws, 4, change))).checksumErrors, 1)
  }
})

test("what is no commit at all is a checksum error", async () => {
  const found = await verify(changed(messages(6), 2, { headers: {} }))
  assert.is(found.checksumErrors, 1)
  assert.match(found.faults[0]?.message ?? "", /missing/)
})

test("a commit that is missing breaks its subject's chain, once", async () => {
  const raws = messages(30)
  const middle = await verify(raws.filter((_, i) => i !== 10))
  assert.equal([middle.commits, middle.checksumErrors, middle.brokenChains], [29, 0, 1])
  assert.equal([middle.faults[0]?.sequence, middle.faults[0]?.kind], [14, "missing"])
  const first = await verify(raws.slice(1))
  assert.is(first.brokenChains, 1)
  assert.match(first.faults[0]?.message ?? "", /earlier commits are missing/)
})

test("a commit put in twice or out of order breaks the chain", async () => {
  const raws = messages(9)
  const [third] = raws.slice(3)
  assert.ok(third)
  assert.ok((await verify([...raws, third])).brokenChains === 1)
  for (const more of raws.slice(6)) assert.equal((await verify([...raws, more])).faults.map(({ kind }) => kind), ["extra"])
  assert.ok((await verify([raws[3], raws[0], ...raws.slice(6)].filter((raw) => raw !== undefined))).brokenChains > 0)
})


test("faults are listed up to a limit and all counted", async () => {
  const found = await verify(messages(300).map((raw) => ({ ...raw, payload: new Uint8Array(3) })))
  assert.is(found.checksumErrors, 300)
  assert.is(found.faults.length, 100)
})

test.run()
