/** Vectors of texts among which some may have none: a text that the model cannot embed must not keep the others from theirs. */
import { randomUUID } from "node:crypto"
import { Effect } from "effect"
import type { EmbeddingError, Embeddings } from "./embeddings.ts"

/** What a single text can be the cause of. */
const mayBeOfText = ({ reason }: EmbeddingError): boolean => reason === "BadVector" || reason === "WorkerFailed"

/**
 * One vector a text in the order given, nothing for a text of which the model gives none twice, though it gives one of another text in between.
 * Texts are halved until those are found, so one among many costs few more calls. Fails where the model embeds nothing at all.
 */
export const embedEach = (embeddings: Embeddings["Service"], texts: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Float32Array | undefined>, EmbeddingError> => {
  const all: Effect.Effect<ReadonlyArray<Float32Array | undefined>, EmbeddingError> = embeddings.embed(texts)
  return Effect.catchIf(all, mayBeOfText, () => {
    if (texts.length <= 1) {
      // Of a text never seen before, so that the answer is the model's and not the memory's; then once more, since the first failure may have passed.
      const works = embeddings.embed([`Does it work? ${randomUUID()}`])
      return Effect.andThen(works, Effect.catchIf(all, mayBeOfText, () => Effect.succeed(texts.map(() => undefined))))
    }
    const half = Math.ceil(texts.length / 2)
    return Effect.map(Effect.forEach([texts.slice(0, half), texts.slice(half)], (part) => embedEach(embeddings, part)), (parts) => parts.flat())
  })
}
