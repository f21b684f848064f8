import { Effect, Result, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { jobCodec } from "#shared/actor/jobs"
import { decodeCommit, encodeCommit, type RawMessage } from "#shared/eventlog/envelope"
import type { StoredEvent } from "#shared/eventlog/event"
import { verifyCommits } from "#shared/eventlog/replay"
import { resultSubject } from "#shared/eventlog/subjects"
import { golden, readGolden } from "#test/support/golden"

const test = suite("stored data of the event log and the actor kit")

const events = {
  "JobSettled-v1": { _tag: "JobSettled", status: "done", data: { callKey: "k1", abstained: false }, error: "", attempts: 2, worker: "w1" },
  "JobSettled-v1-failed": { _tag: "JobSettled", status: "failed", data: null, error: "the model hangs", attempts: 5, worker: "w2" },
  "JobAttemptFailed-v1": { _tag: "JobAttemptFailed", attempt: 1, error: "the endpoint refused: ECONNREFUSED" }
} as const

for (const [name, event] of Object.entries(events)) {
  test(`${name} is written as it was, and what was written is read`, () => {
    golden(`eventlog/${name}.json`, jobCodec.encode(event))
    assert.equal(Result.getOrThrow(jobCodec.decode(readGolden(`eventlog/${name}.json`) as StoredEvent)), event)
  })
}

/** Two commits of one subject: text beyond ASCII in cause and events, a water mark, packed binary, and a chain. */
const drafts = [
  {
    subject: resultSubject({ tenant: "local", run: "run · 1", step: 3, kind: "judgement", key: "q*1" }),
    cause: "settled · ü\n",
    correlation: "run · 1",
    inputThrough: 41,
    events: [jobCodec.encode(events["JobSettled-v1"])]
  },
  {
    subject: resultSubject({ tenant: "local", run: "run · 1", step: 3, kind: "judgement", key: "q*1" }),
    cause: "second",
    events: [jobCodec.encode(events["JobAttemptFailed-v1"]), jobCodec.encode(events["JobSettled-v1-failed"])],
    binary: Uint8Array.from([0, 1, 127, 128, 255])
  }
]

interface StoredMessage {
  readonly subject: string
  readonly headers: Record<string, string>
  readonly payloadBase64: string
}

test("commits are stored as they were, byte for byte", () => {
  let previous = ""
  golden("eventlog/commits.json", drafts.map((draft): StoredMessage => {
    const { checksum, headers, payload } = encodeCommit(draft, previous)
    previous = checksum
    return { subject: draft.subject, headers, payloadBase64: Buffer.from(payload).toString("base64") }
  }))
})

const stored = (): ReadonlyArray<RawMessage> =>
  (readGolden("eventlog/commits.json") as ReadonlyArray<StoredMessage>).map(({ headers, payloadBase64, subject }, i) => ({
    subject,
    sequence: i + 1,
    time: "2026-01-01T00:00:00.000Z",
    headers,
    payload: Buffer.from(payloadBase64, "base64")
  }))

test("stored commits are read with everything in them", async () => {
  const [first, second] = stored().map(decodeCommit)
  assert.equal([first?.cause, first?.correlation, first?.inputThrough], ["settled · ü\n", "run · 1", 41])
  assert.equal(first?.events, drafts[0]?.events)
  assert.equal([second?.cause, second?.correlation, second?.inputThrough, second?.previousChecksum], ["second", "second", 0, first?.checksum])
  assert.equal([...(second?.binary ?? [])], [0, 1, 127, 128, 255])
  const found = await Effect.runPromise(verifyCommits(Stream.fromIterable(stored())))
  assert.equal([found.commits, found.events, found.checksumErrors, found.brokenChains], [2, 3, 0, 0])
})

test("an event of a version this code does not know stops the reader", () => {
  const standing = readGolden("eventlog/JobSettled-v1.json") as StoredEvent
  assert.ok(Result.isFailure(jobCodec.decode({ ...standing, version: 2 })))
  assert.ok(Result.isFailure(jobCodec.decode({ ...standing, type: "JobForgotten" })))
  assert.ok(Result.isFailure(jobCodec.decode({ ...standing, data: { status: "perhaps" } })))
})

test("a golden file that is missing or differs fails the test", () => {
  const mode = process.env["METAMEM_GOLDEN"]
  delete process.env["METAMEM_GOLDEN"]
  assert.throws(() => golden("eventlog/no-such-file.json", {}), /METAMEM_GOLDEN=write/)
  if (mode !== undefined) process.env["METAMEM_GOLDEN"] = mode
  assert.throws(() => golden("eventlog/JobAttemptFailed-v1.json", { type: "JobAttemptFailed", version: 2 }), /differ at character/)
})

test.run()
