/** Which questions of a data set a run trains on, gates with, guards with and is tested by. */
import type { Dataset } from "#shared/datasets/dataset"
import type { Question } from "#shared/domain/question"
import { chosen } from "#shared/metamemory/random"
import { drawByType, groupsOf, type SimilarPairs, typeOf } from "#shared/metamemory/split"
import { defaultSplit, itemsFor } from "./split.ts"

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
 * About `count` questions to guard with, drawn in whole groups, so that none is of a conversation that another part has too. Of one group
 * alone they are drawn one by one.
 */
const guardFrom = (pool: ReadonlyArray<Question>, { bonds }: Pick<Dataset, "bonds">, count: number, seed: number, similar: SimilarPairs) => {
  const { chained, items } = itemsFor(2, { bonds, questions: pool }, similar)
  const groups = groupsOf(items, similar).map((group) => group.map(({ question }) => question))
  if (groups.length < 2) return { guard: chosen(pool, count, "guard", seed), chained }
  const groupOf = new Map(groups.flatMap((group) => group.map((question) => [question, group] as const)))
  const guard = new Set<Question>()
  for (const question of chosen(pool, pool.length, "guard", seed)) {
    const group = groupOf.get(question) ?? []
    if (guard.size + group.length <= count) for (const one of group) guard.add(one)
  }
  const [smallest = []] = groups.toSorted((a, b) => a.length - b.length)
  return { guard: guard.size > 0 || count === 0 ? [...guard] : smallest, chained }
}

/**
 * Without a validation file the data is split 50/30/20 and half of the
 * last part guards; with one, a fifth of the training questions is held back to guard, unless a guard file is given.
 *
 * @param size most validation questions; drawn so that rare types are told from each other too, when there are more
 * @param similar questions of the data that ask nearly the same; they stay together
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
    const held = given.guard === undefined ? guardFrom(test, data, Math.ceil(test.length / 2), seed, similar) : { guard: given.guard.questions, chained: false }
    const guarding = new Set(held.guard.map(({ id }) => id))
    return { train, ...drawnFrom(val), guard: held.guard, test: given.test?.questions ?? test.filter(({ id }) => !guarding.has(id)), chained: chained || held.chained }
  }
  const { chained, guard } = given.guard === undefined ? guardFrom(data.questions, data, Math.floor(data.questions.length / 5), seed, similar) : { guard: given.guard.questions, chained: false }
  const guarding = new Set(guard.map(({ id }) => id))
  return { train: data.questions.filter(({ id }) => !guarding.has(id)), ...drawnFrom(given.val.questions), guard, test: given.test?.questions ?? [], chained }
}
