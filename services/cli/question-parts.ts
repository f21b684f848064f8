/** Which questions of a data set a run trains on, gates with, guards with and is tested by. */
import type { Dataset } from "#shared/datasets/dataset"
import type { Question } from "#shared/domain/question"
import { chosen } from "#shared/metamemory/random"
import { drawByType, type SimilarPairs, typeOf } from "#shared/metamemory/split"
import { defaultSplit } from "./split.ts"

export interface Parts {
  readonly train: ReadonlyArray<Question>
  readonly validation: ReadonlyArray<Question>
  readonly guard: ReadonlyArray<Question>
  readonly test: ReadonlyArray<Question>
  /** Could have validated, and are more than was asked for: they are in no part. */
  readonly left: ReadonlyArray<Question>
  /** Questions that share some evidence sessions may stand in two parts. */
  readonly chained: boolean
}

/**
 * Without a validation file the data is split 50/30/20 and half of the
 * last part guards; with one, a fifth of the training questions is held back to guard, unless a guard file is given.
 *
 * @param size most validation questions; drawn so that rare types are told from each other too, when there are more
 * @param similar questions of the data that ask nearly the same; only a split keeps them together
 */
export const partsOf = (
  data: Dataset, given: { readonly val?: Dataset | undefined; readonly guard?: Dataset | undefined; readonly test?: Dataset | undefined }, seed: number, size: number, similar: SimilarPairs = []
): Parts => {
  const drawnFrom = (pool: ReadonlyArray<Question>) => {
    const validation = drawByType(pool.map((question) => ({ type: typeOf(question), question })), size, String(seed)).map(({ question }) => question)
    const taken = new Set(validation)
    return { validation, left: pool.filter((question) => !taken.has(question)) }
  }
  if (given.val === undefined) {
    const { chained, test, train, val } = defaultSplit(data, String(seed), similar)
    const guard = given.guard?.questions ?? chosen(test, Math.ceil(test.length / 2), "guard", seed)
    const guarding = new Set(guard.map(({ id }) => id))
    return { train, ...drawnFrom(val), guard, test: given.test?.questions ?? test.filter(({ id }) => !guarding.has(id)), chained }
  }
  const guard = given.guard?.questions ?? chosen(data.questions, Math.floor(data.questions.length / 5), "guard", seed)
  const guarding = new Set(guard.map(({ id }) => id))
  return { train: data.questions.filter(({ id }) => !guarding.has(id)), ...drawnFrom(given.val.questions), guard, test: given.test?.questions ?? [], chained: false }
}
