import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Commit } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import { Embeddings } from "#shared/model/embeddings"
import { makeVectorWait } from "#services/retriever/vectors"
import { effect } from "../../support/effect.ts"

const test = suite("waiting for vectors")

const memory: IndexedMemory = { id: "m", kind: "turn", text: "T", speaker: "user", time: "2026-01-01T00:00:00.000Z", turns: ["m"], user: "local/u", conversation: "c", sequence: 5 }
const shelf = { memories: [memory], standing: Uint8Array.of(1), vectored: Uint8Array.of(0) }
/** The embedder is done with all up to the memory, in the commit at sequence 8. */
const log = { last: () => Effect.succeed({ sequence: 8, inputThrough: 5 } as Commit), load: () => Effect.succeed([]) } as unknown as typeof EventLog.Service

effect(test, "a memory without a vector is let go only where what was looked at had the embedder's last commit in it", () =>
  Effect.gen(function*() {
    const projection = { view: () => Effect.die("not looked at"), through: () => 20 }
    const wait = yield* makeVectorWait(projection, { modelHash: "h" } as typeof Embeddings.Service)
    // The projection has read on since.
    assert.is(yield* wait.stand(shelf, 7), false)
    assert.is(yield* wait.stand(shelf, 7), false)
    assert.is(yield* wait.stand(shelf, 8), true)
    assert.is(yield* wait.stand(shelf, 7), true, "nobody waits for it from then on")
  }).pipe(Effect.provideService(EventLog, log)))

test.run()
