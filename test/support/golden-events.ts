/** Golden files of an actor's events: every version ever stored is read as it was meant, and the present one is written as it stands. */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { Result, Schema } from "effect"
import * as assert from "uvu/assert"
import { type EventCodec, StoredEvent } from "#shared/eventlog/event"
import { golden, readGolden } from "./golden.ts"

type Suite = (name: string, body: () => void) => void
const decode = Schema.decodeUnknownSync(StoredEvent)

/**
 * @param folder below `test/golden`, one file `{event}-v{version}.json` for each event and version
 * @param examples one of each event, as code sees it
 */
export const goldenEvents = <E extends { readonly _tag: string }>(test: Suite, folder: string, codec: EventCodec<E>, examples: ReadonlyArray<NoInfer<E>>): void => {
  test("every event has an example", () => {
    assert.equal([...codec.tags].sort(), examples.map(({ _tag }) => _tag).sort())
  })
  for (const example of examples) {
    test(`${example._tag} is written as it always was`, () => {
      const stored = codec.encode(example)
      golden(`${folder}/${stored.type}-v${stored.version}.json`, stored)
    })
  }
  test("every version that was ever stored is read as it was meant", () => {
    const path = join(import.meta.dirname, "../golden", folder)
    for (const file of existsSync(path) ? readdirSync(path) : []) {
      const stored = decode(readGolden(`${folder}/${file}`))
      assert.equal(Result.getOrThrow(codec.decode(stored)), examples.find(({ _tag }) => _tag === stored.type), file)
    }
  })
  test("an event that is unknown, of a later version or with a damaged payload is refused, never skipped", () => {
    const [stored] = examples.map((example) => codec.encode(example))
    assert.ok(stored !== undefined)
    for (const foreign of [{ ...stored, type: "NeverHeardOf" }, { ...stored, version: stored.version + 1 }, { ...stored, data: "torn" }]) {
      const read = codec.decode(foreign)
      assert.ok(Result.isFailure(read), JSON.stringify(foreign))
      assert.is(read.failure._tag, "UnreadableEvent")
    }
  })
}
