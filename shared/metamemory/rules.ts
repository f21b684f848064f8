/**
 * The rule-based reflector, proposer and consolidator: no model, no tokens. Lessons follow from features of judged attempts, and
 * proposals come from the catalogue. Wherever their work shows it is named `rule-based`.
 */
import type { Operation, Principle, SingleOperation } from "#shared/domain/principle"
import type { PrincipleScope } from "#shared/domain/scope"
import { attemptFeatures, type AttemptFeatures, type Feature, type JudgedAttempt } from "./attempt-features.ts"
import { catalogue, type CataloguePrinciple } from "./catalogue.ts"
import { type LedgerEntry, likeness, nearlySame, triedBefore } from "./ledger.ts"
import { type PooledOperation, poolProposals, type Proposed } from "./operations.ts"
import { uniform } from "./random.ts"
import { inScope } from "./router.ts"

/** Name of these roles in events and reports. */
export const ruleBased = "rule-based"

const featureText: Readonly<Record<Feature, string>> = {
  abstained: "it said that it is not known",
  "answered-unanswerable": "it answered what was never mentioned",
  "answer-in-evidence": "one of the memories states the answer",
  "answer-by-assistant": "the assistant had said the answer",
  "answer-spread": "the answer has to be put together from several memories",
  "answer-missing": "the memories hardly hold the answer",
  partial: "it gave a part of the answer only",
  "older-value-used": "it used an older memory than the one that holds",
  "number-too-low": "its number is too low",
  "number-too-high": "its number is too high",
  "number-missing": "it gave no number where one is wanted",
  "relative-dates": "memories speak of relative dates",
  "many-conversations": "memories of several conversations were shown",
  "many-memories": "many memories were shown",
  wordy: "it was long"
}

/** Features that describe the situation and not the attempt; they speak for a principle only beside another sign. */
const situational: ReadonlySet<Feature> = new Set(["many-conversations", "many-memories", "relative-dates", "wordy", "answer-in-evidence"])

export interface RuleLesson {
  readonly lesson: string
  readonly scope: PrincipleScope
  readonly by: typeof ruleBased
}

const score = (entry: CataloguePrinciple, seen: AttemptFeatures): number => {
  const fits = inScope(entry, seen.questionClass)
  if (!fits || (entry.scope === "not-known") !== seen.features.has("answered-unanswerable")) return 0
  const hits = entry.triggers.filter((trigger) => seen.features.has(trigger))
  return hits.reduce((sum, hit) => sum + (situational.has(hit) ? 0.5 : 1), 0) + (hits.length > 0 && entry.scope !== "all" ? 0.25 : 0)
}

/** What one judged attempt teaches, by rule. */
export const ruleLesson = (attempt: JudgedAttempt): RuleLesson => {
  const seen = attemptFeatures(attempt)
  const observed = [...seen.features].map((feature) => featureText[feature]).join("; ")
  const best = catalogue.map((entry) => ({ entry, score: score(entry, seen) })).sort((a, b) => b.score - a.score)[0]
  const lesson = best !== undefined && best.score > 0 && !attempt.correct ? ` Lesson: ${best.entry.text}` : ""
  return {
    lesson: `The attempt was ${attempt.correct ? "right" : "wrong"}${observed === "" ? "" : `: ${observed}`}.${lesson}`,
    scope: seen.questionClass,
    by: ruleBased
  }
}

export interface RuleProposalInput {
  readonly runSeed: string
  readonly step: number
  /** Judged attempts at one question. */
  readonly attempts: ReadonlyArray<JudgedAttempt>
  readonly principles: ReadonlyArray<Principle>
  readonly ledger: ReadonlyArray<LedgerEntry>
  readonly reader: string
  /** Most proposals a question; default 2. */
  readonly limit?: number
}

/**
 * Proposals for one question: catalogue principles that the wrong attempts speak for more than the right ones, without those
 * in force or turned down before. Ties are drawn, so that different questions try different ones.
 */
export const ruleProposals = (input: RuleProposalInput): ReadonlyArray<Proposed> => {
  const { runSeed, step, attempts, principles, ledger, reader, limit = 2 } = input
  const question = attempts[0]?.question.id
  if (question === undefined) return []
  const seen = attempts.map(attemptFeatures)
  const mean = (entry: CataloguePrinciple, correct: boolean): number => {
    const side = seen.filter((attempt) => attempt.correct === correct)
    return side.length === 0 ? 0 : side.reduce((sum, attempt) => sum + score(entry, attempt), 0) / side.length
  }
  return catalogue
    .filter((entry) => !principles.some((p) => (p.scope === entry.scope || p.scope === "all") && likeness(p.text, entry.text) >= nearlySame))
    .filter((entry) => triedBefore({ operation: "add", scope: entry.scope, text: entry.text }, ledger, reader) === undefined)
    .map((entry) => ({ entry, gain: mean(entry, false) - 0.5 * mean(entry, true), tie: uniform("rule", runSeed, step, question, entry.text) }))
    .filter(({ gain }) => gain > 0)
    .sort((a, b) => b.gain - a.gain || a.tie - b.tie)
    .slice(0, limit)
    .map(({ entry }) => ({ operation: { operation: "add", content: entry.text, scope: entry.scope } satisfies SingleOperation, sources: [question] }))
}

/** Consolidation by rule: equal proposals as one, near-duplicates of better supported ones left out, at most `limit`. */
export const ruleConsolidation = (proposals: ReadonlyArray<Proposed>, limit: number): ReadonlyArray<PooledOperation> => {
  const kept: Array<PooledOperation> = []
  for (const pooled of poolProposals(proposals, proposals.length)) {
    const text = pooled.operation.content ?? ""
    const twin = kept.find(
      ({ operation }) =>
        operation.operation === pooled.operation.operation && operation.scope === pooled.operation.scope && text !== "" && likeness(operation.content ?? "", text) >= nearlySame
    )
    if (twin === undefined && kept.length < limit) kept.push(pooled)
  }
  return kept
}

/** Merge by rule: the first two principles of one scope that say nearly the same and were not tried as one, in the words of the older. */
export const ruleMerge = (principles: ReadonlyArray<Principle>, ledger: ReadonlyArray<LedgerEntry>, reader: string): Operation | undefined => {
  for (const [at, one] of principles.entries()) {
    for (const other of principles.slice(at + 1)) {
      if (one.scope !== other.scope || likeness(one.text, other.text) < nearlySame) continue
      const operation = { operation: "merge", ids: [one.id, other.id], content: (other.bornIn < one.bornIn ? other : one).text } satisfies Operation
      if (triedBefore({ ...operation, scope: one.scope, text: operation.content }, ledger, reader) === undefined) return operation
    }
  }
  return undefined
}
