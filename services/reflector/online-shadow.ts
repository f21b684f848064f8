/** The questions of a shadow as jobs, and their results as pairs: both sides answer and are judged in the same way, whoever was right when it was live. */
import { Option, Schema } from "effect"
import type { Principle } from "#shared/domain/principle"
import type { Question, Verdict } from "#shared/domain/question"
import type { RunAddress } from "#shared/eventlog/subjects"
import { digest, uniform } from "#shared/metamemory/random"
import { principlesFor } from "#shared/metamemory/router"
import type { JudgementInput } from "#services/evaluator/protocol"
import type { RolloutInput } from "#services/retriever/protocol"
import { type Pair, shadowLooks } from "./online-behaviour.ts"
import { type Feedback, firstOfEach, isUsable } from "./online-feedback.ts"
import type { RunParameters } from "./parameters.ts"
import type { Results } from "./protocol.ts"
import { resultKey, type RunJob, verdictOf } from "./stages.ts"

export interface Shadow {
  readonly address: RunAddress
  readonly parameters: RunParameters
  readonly incumbent: ReadonlyArray<Principle>
  readonly candidate: ReadonlyArray<Principle>
}

export type Shadowed = Feedback & { readonly question: Question }

const shadowMax = shadowLooks.at(-1) ?? 0

/** The live questions a shadow answers, oldest feedback first: a drawn share of those answered right or corrected after it began, nobody's more than a tenth of all it may ask. */
export const shadowed = (feedback: ReadonlyArray<Feedback>, of: { readonly run: string; readonly after: number; readonly share: number }): ReadonlyArray<Shadowed> => {
  const drawn = feedback.filter(isUsable).filter(({ answer, sequence }) => sequence > of.after && uniform("shadow", of.run, answer) < of.share)
  return firstOfEach(drawn.toSorted((a, b) => a.sequence - b.sequence), shadowMax).slice(0, shadowMax)
}

type Side = "i" | "c"
const keyOf = (side: Side, { id }: Question): string => `${side}_${digest("question", id).slice(0, 16)}`
const shown = (shadow: Shadow, side: Side, { text }: Question) => principlesFor(text, side === "i" ? shadow.incumbent : shadow.candidate).map(({ id, scope, text }) => ({ id, scope, text }))
/** The sides to ask: one where both would be shown the same, and so say the same. */
const sidesOf = (shadow: Shadow, question: Question): ReadonlyArray<Side> =>
  JSON.stringify(shown(shadow, "i", question)) === JSON.stringify(shown(shadow, "c", question)) ? ["i"] : ["i", "c"]

const decodeAnswer = Schema.decodeUnknownOption(Schema.Struct({ callKey: Schema.NonEmptyString }))

/** Jobs without an outcome that are needed now: answers first, then the judgements of what was answered. */
export const shadowJobs = (shadow: Shadow, items: ReadonlyArray<Shadowed>, results: Results): ReadonlyArray<RunJob> =>
  items.flatMap(({ question }) =>
    sidesOf(shadow, question).flatMap((side): ReadonlyArray<RunJob> => {
      const { parameters } = shadow
      const key = keyOf(side, question)
      const ref = { id: question.id, user: question.user }
      const answered = results.get(resultKey("rollout", key))
      if (answered === undefined) {
        const input: RolloutInput = {
          question: ref, purpose: "report", draw: 0, sample: 0,
          principles: shown(shadow, side, question),
          // As live answers are given.
          temperature: 0,
          maxTokens: parameters.maxTokens,
          evidenceTokens: parameters.evidenceTokens,
          memoryPosition: question.asOf ?? parameters.memoryPosition,
          runSeed: parameters.seed
        }
        return [{ ...shadow.address, step: 0, kind: "rollout", key, input }]
      }
      const answer = answered.status === "failed" ? undefined : Option.getOrUndefined(decodeAnswer(answered.data))
      if (answer === undefined || results.has(resultKey("judgement", key))) return []
      const input: JudgementInput = {
        question: ref, callKey: answer.callKey, judge: parameters.judge,
        sample: { runSeed: parameters.seed, purpose: "report", draw: 0, question: question.id, sample: 0 }
      }
      return [{ ...shadow.address, step: 0, kind: "judgement", key, input }]
    })
  )

/** The pairs before the first that is not settled on both sides, in the order of the questions: which they are depends on nothing but how many. */
export const shadowPairs = (shadow: Shadow, items: ReadonlyArray<Shadowed>, results: Results): ReadonlyArray<Pair> => {
  const pairs: Array<Pair> = []
  for (const { conversation, question, user } of items) {
    const sides = sidesOf(shadow, question)
    const of = (side: Side): Verdict | undefined => verdictOf(results, keyOf(sides.includes(side) ? side : "i", question))
    const [incumbent, candidate] = [of("i"), of("c")]
    if (incumbent === undefined || candidate === undefined) break
    pairs.push({ question: question.id, user, conversation, abstention: question.abstention, incumbent, candidate })
  }
  return pairs
}
