/** Questions that ask nearly the same: in different parts of a split, one would be learnt from and the other judged by. */
import { Effect } from "effect"
import type { Question } from "#shared/domain/question"
import type { SimilarPairs } from "#shared/metamemory/split"
import { homeFolder } from "./home.ts"

/** Above this cosine of their vectors two questions ask nearly the same. */
const alikeAbove = 0.9

type Asked = Pick<Question, "id" | "user">

/** Pairs of different users' questions above the bound; a user's own stay together anyway. @param vectors unit vectors in the order of the questions */
export const pairsAbove = (questions: ReadonlyArray<Asked>, vectors: ReadonlyArray<Float32Array>): SimilarPairs =>
  questions.flatMap((one, at) => {
    const vector = vectors[at]
    if (vector === undefined) return []
    return questions.slice(0, at).flatMap((other, before) => {
      const beside = vectors[before]
      if (beside === undefined || other.user === one.user) return []
      let cosine = 0
      for (let i = 0; i < vector.length; i++) cosine += vector[i]! * beside[i]!
      return cosine > alikeAbove ? [[other.id, one.id] as const] : []
    })
  })

/** The same, by the embedding model of this home. */
export const similarPairs = (questions: ReadonlyArray<Question>) =>
  Effect.gen(function*() {
    const home = yield* homeFolder
    const [{ embeddingsLayer }, { Embeddings }] = yield* Effect.promise(() => Promise.all([import("#services/all"), import("#shared/model/embeddings")]))
    return yield* Effect.gen(function*() {
      return pairsAbove(questions, yield* (yield* Embeddings).embed(questions.map(({ text }) => text)))
    }).pipe(Effect.provide(embeddingsLayer(home)))
  })
