/**
 * Which training questions a step tries. Most come from questions that were partly right before, where attempts differ and
 * something can be learnt; the rest are fresh, dealt so that an epoch meets every question once.
 */
import { chosen, shuffled } from "./random.ts"

/** How a training question came out in an earlier step; `mean` over its judged samples, 0 … 1, absent when all were errors. */
export interface Tried {
  readonly step: number
  readonly question: string
  readonly mean?: number
  /** True when the question was dealt as fresh then, not repeated. */
  readonly fresh: boolean
}

export interface BatchRequest {
  readonly runSeed: string
  readonly step: number
  readonly size: number
  /** All training questions, in the data set's order. */
  readonly questions: ReadonlyArray<string>
  readonly history: ReadonlyArray<Tried>
  /** Share of the batch from questions earlier partly right; default .7. */
  readonly repeatedShare?: number
}

export interface Batch {
  /** Distinct ids: repeated ones first, then fresh ones. */
  readonly questions: ReadonlyArray<string>
  readonly repeated: number
  readonly fresh: number
  /** How often every question had been dealt as fresh before this batch began, from 0. */
  readonly epoch: number
}

/**
 * The batch of a step, a pure function of the seed and of what was tried before, in any order. A question counts as partly right by
 * its latest trial, and rests for a step before it is repeated. Where too few are, fresh questions fill the batch, so a first step is all fresh; it is smaller than asked
 * only when there are fewer questions.
 */
export const chooseBatch = (request: BatchRequest): Batch => {
  const { runSeed, step, questions, repeatedShare = 0.7 } = request
  const size = Math.min(request.size, questions.length)
  const latest = new Map<string, Tried>()
  const dealtCount = new Map<string, number>(questions.map((question) => [question, 0]))
  for (const tried of request.history) {
    if (tried.step >= step) continue
    const before = latest.get(tried.question)
    if (before === undefined || tried.step > before.step) latest.set(tried.question, tried)
    if (tried.fresh && dealtCount.has(tried.question)) dealtCount.set(tried.question, dealtCount.get(tried.question)! + 1)
  }
  const partly = questions.filter((question) => {
    const tried = latest.get(question)
    return tried !== undefined && tried.step < step - 1 && tried.mean !== undefined && tried.mean > 0 && tried.mean < 1
  })
  const repeated = chosen(partly, Math.round(size * repeatedShare), "repeat", runSeed, step)
  const epoch = questions.length === 0 ? 0 : Math.min(...dealtCount.values())
  const taken = new Set(repeated)
  const fresh: Array<string> = []
  // Rounds of fewest dealings first; within a round the epoch's own order, so that the deal does not depend on the batch size.
  const rounds = [...new Set(dealtCount.values())].sort((a, b) => a - b)
  for (const round of rounds) {
    for (const question of shuffled(questions, "fresh", runSeed, round)) {
      if (fresh.length + repeated.length >= size) break
      if (dealtCount.get(question) === round && !taken.has(question)) {
        taken.add(question)
        fresh.push(question)
      }
    }
  }
  return { questions: [...repeated, ...fresh], repeated: repeated.length, fresh: fresh.length, epoch }
}
