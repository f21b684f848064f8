/** Stored events of every kind, as every version wrote them. These files are never changed: code that cannot read them is wrong. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Result, Schema } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { StoredEvent } from "#shared/eventlog/event"
import { reflectorCodec } from "#services/reflector/run-events"

const test = suite("golden events of runs")
const folder = join(import.meta.dirname, "../../golden/reflector")
const decode = Schema.decodeUnknownSync(StoredEvent)

const kept = new Set(readdirSync(folder))
for (const file of [...kept].sort()) {
  test(`${file} is read and written as it stands`, () => {
    const stored = decode(JSON.parse(readFileSync(join(folder, file), "utf8")))
    const event = Result.getOrThrow(reflectorCodec.decode(stored))
    const written = JSON.parse(JSON.stringify(reflectorCodec.encode(event)))
    // Older versions are read for ever, and no longer written.
    if (stored.version === written.version) assert.equal(written, stored)
    else assert.ok(stored.version < written.version && kept.has(`${stored.type}-v${written.version}.json`), `${file}: the present version has no golden file`)
  })
}

test("every event of a run has a golden file", () => {
  const tags = new Set([...kept].map((file) => file.replace(/-v\d+\.json$/, "")))
  assert.equal([...reflectorCodec.tags].filter((tag) => !tags.has(tag)), [])
})

test("an event from the future is refused and never skipped", () => {
  const refused = reflectorCodec.decode({ type: "StepEnded", version: 99, data: {} })
  assert.ok(Result.isFailure(refused))
  assert.ok(Result.isFailure(reflectorCodec.decode({ type: "NeverHeardOf", version: 1, data: {} })))
})

test.run()
