/**
 * What evolution from live feedback decides: collect → run → shadow → adopted and watched, or dropped. Figures are looked at after fixed
 * numbers only (each look twice as late as the one before), because a test repeated at every answer comes out in the end whatever is true; and
 * on the first of what came, in the order of the log, so that a look late by a restart finds what a prompt one would have.
 */
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import type { GenerationRef } from "#shared/domain/evidence"
import type { Principle } from "#shared/domain/principle"
import type { Verdict } from "#shared/domain/question"
import { decideGate, errorShareMax, type GateQuestion, likelyThreshold, noTally, type Tally } from "#shared/metamemory/gate"
import { likeness, nearlySame } from "#shared/metamemory/ledger"
import { meanDifference, type MeanDifference } from "#shared/metamemory/statistics"
import { conversationsOf, type Feedback, fewestUsers, firstOfEach, usersIn, weightsOf } from "./online-feedback.ts"
import { onlineCodec, type OnlineEvent, type RolledBack, type ShadowLooked, type WatchLooked } from "./online-protocol.ts"
import { generationName, onlineLine } from "./online-words.ts"

type Untagged<E> = E extends unknown ? Omit<E, "_tag"> : never

export type OnlinePhase =
  | { readonly _tag: "Collecting" }
  | { readonly _tag: "Running"; readonly run: string; readonly from: GenerationRef }
  | {
    readonly _tag: "Shadow"
    readonly run: string
    readonly generation: number
    readonly hash: string
    readonly from: GenerationRef
    readonly after: number
    readonly share: number
    readonly startedAt: string
    readonly last: Untagged<ShadowLooked> | undefined
  }

/** A generation adopted online, as long as feedback on it is compared with what was before. */
export interface Watch {
  readonly run: string
  readonly generation: number
  readonly from: GenerationRef
  readonly adoptedAfter: number
  readonly last: Untagged<WatchLooked> | undefined
}

export interface OnlineState {
  /** As a person switched it; undefined = as the settings have it. */
  readonly on: boolean | undefined
  readonly phase: OnlinePhase
  /** Sequence of the newest feedback that any run took, in the memory log. */
  readonly through: number
  /** The last runs, oldest first, whose questions tell which feedback is used up. */
  readonly runs: ReadonlyArray<{ readonly run: string; readonly through: number }>
  /** Sequence of the memory log up to which feedback is offered to no run any more, taken or not. */
  readonly closed: number
  readonly watch: Watch | undefined
  /** The adoption that follows from the last decision, due while the last adoption is the one of this sequence. */
  readonly due: { readonly to: GenerationRef; readonly after: number } | undefined
  /** Number in the name of the last online run. */
  readonly number: number
  readonly rollbacks: ReadonlyArray<Untagged<RolledBack>>
  readonly lastOutcome: string | undefined
}

/** What guides live answers: the reference, and the sequence of the commit that says so (0 = none). */
export interface InForce {
  readonly ref: GenerationRef
  readonly sequence: number
}

/** One live question answered in shadow by both sides, each judged against what people said is right. */
export interface Pair extends Pick<Feedback, "user" | "conversation"> {
  readonly question: string
  readonly abstention: boolean
  readonly incumbent: Verdict
  readonly candidate: Verdict
}

export type OnlineCommand =
  | { readonly _tag: "Switch"; readonly on: boolean }
  | { readonly _tag: "TakeRun"; readonly run: string; readonly from: GenerationRef; readonly through: number; readonly questions: number; readonly conversations: number; readonly users: number }
  | {
    readonly _tag: "EndRun"
    readonly run: string
    readonly recommended: number
    /** Why it goes no further without having come to its end. */
    readonly stopped?: string
    /** Why it recommends what it does, and what became of what it tried. */
    readonly tried?: string
    readonly hash: string
    readonly principles: ReadonlyArray<Principle>
    /** What the run began with. */
    readonly start: ReadonlyArray<Principle>
    readonly reader: string
    readonly inForce: InForce
    /** Sequence of the memory log up to which feedback is known. */
    readonly seen: number
    readonly share: number
    readonly at: string
  }
  | { readonly _tag: "LookShadow"; readonly run: string; readonly pairs: ReadonlyArray<Pair>; readonly inForce: InForce; readonly at: string }
  | {
    readonly _tag: "LookWatch"
    readonly run: string
    readonly feedback: ReadonlyArray<Feedback>
    readonly inForce: InForce
    readonly principles: ReadonlyArray<Principle>
    readonly start: ReadonlyArray<Principle>
    readonly reader: string
  }

/** Numbers of pairs at which a shadow is looked at. After the last it is over. */
export const shadowLooks = [20, 40, 80, 160, 200] as const
/** Fewest distinct conversations at any look, of shadow and watch. */
const lookConversations = 10
/** Longest a shadow lasts, days. */
export const shadowDays = 30
/** Numbers of feedbacks at which an adopted generation is compared with the one before. After the last it is kept. */
const watchLooks = [20, 40, 80, 160, 320] as const

export const nextShadowLook = (looked: number): number => shadowLooks.find((at) => at > looked) ?? shadowLooks[shadowLooks.length - 1] ?? 0
export const nextWatchLook = (looked: number): number | undefined => watchLooks.find((at) => at > looked)

/**
 * Runs whose questions are looked through for feedback that is used up. What so many runs in a row have left out is left out for good; older
 * feedback no longer says much of what guides answers now, and the questions of all runs there ever were are not to be kept.
 */
const runsLookedThrough = 8

export const onlineRun = (number: number): string => `online-${number}`
const numberOf = (run: string): number => Number(/^online-(\d+)$/.exec(run)?.[1] ?? 0)

const same = (a: GenerationRef, b: GenerationRef): boolean => a.run === b.run && a.generation === b.generation
const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)
const figures = ({ mean, standardError }: Pick<MeanDifference, "mean" | "standardError">) => ({ mean: finite(mean), standardError: finite(standardError) })
const points = (share: number): string => `${(100 * share).toFixed(1)} points`

const tally = (verdict: Verdict): Tally => ({
  ...noTally, ...(verdict === "correct" ? { correct: 1 } : verdict === "incorrect" ? { incorrect: 1 } : { errors: 1 })
})

/** The paired rule of the gate over live questions: users as clusters, nobody more than a tenth. Undefined with fewer than ten users. */
export const compareShadow = (pairs: ReadonlyArray<Pair>) => {
  const weights = weightsOf(pairs.map(({ user }) => user))
  if (weights === undefined) return undefined
  const questions = pairs.map(({ abstention, question, user }, at): GateQuestion => ({ id: question, questionClass: "single-fact", cluster: user, abstention, weight: weights[at] ?? 0 }))
  return decideGate({
    policy: "likely",
    questions,
    abstentionQuestions: pairs.filter(({ abstention }) => abstention).length,
    incumbent: Object.fromEntries(pairs.map(({ incumbent, question }) => [question, tally(incumbent)])),
    candidate: Object.fromEntries(pairs.map(({ candidate, question }) => [question, tally(candidate)])),
    seed: "shadow"
  })
}

/** Share of right answers by feedback, users as clusters, nobody more than a tenth; undefined with fewer than ten users. */
export const shareRight = (feedback: ReadonlyArray<Pick<Feedback, "user" | "correct">>): MeanDifference | undefined => {
  const weights = weightsOf(feedback.map(({ user }) => user))
  return weights === undefined ? undefined : meanDifference(feedback.map(({ correct, user }, at) => ({ value: Number(correct), cluster: user, weight: weights[at] ?? 0 })))
}

/**
 * The first items on which a look can be taken: as many as are due, and further ones until they come from enough conversations and users. What
 * else has come by the time of the look does not sway it, so that it finds the same whenever it is taken. Undefined while there are too few.
 */
const firstEnough = <A extends Pick<Feedback, "user" | "conversation">>(items: ReadonlyArray<A>, count: number): ReadonlyArray<A> | undefined => {
  for (let n = count; n <= items.length; n++) {
    const first = items.slice(0, n)
    if (conversationsOf(first) >= lookConversations && usersIn(first) >= fewestUsers) return first
  }
  return undefined
}

const endRun = (state: OnlineState, command: Extract<OnlineCommand, { _tag: "EndRun" }>): ReadonlyArray<OnlineEvent> => {
  const { phase } = state
  if (phase._tag !== "Running" || phase.run !== command.run) return []
  const { recommended, run } = command
  const ended = (outcome: "candidate" | "nothing better" | "overtaken" | "withdrawn before", reason: string): OnlineEvent => ({ _tag: "OnlineRunEnded", run, recommended, outcome, reason })
  if (recommended === 0) return [ended("nothing better", command.stopped ?? ["the run recommends what it began with", ...(command.tried === undefined || command.tried === "" ? [] : [command.tried])].join(": "))]
  if (!same(command.inForce.ref, phase.from)) return [ended("overtaken", `${generationName(command.inForce.ref)} was adopted meanwhile`)]
  const added = command.principles.filter(({ scope, text }) => !command.start.some((one) => one.scope === scope && one.text === text))
  const known = state.rollbacks.filter(({ reader }) => reader === command.reader).flatMap(({ withdrawn }) => withdrawn)
  const again = added.find(({ scope, text }) => known.some((one) => one.scope === scope && likeness(one.text, text) >= nearlySame))
  if (again !== undefined) return [ended("withdrawn before", `it brings back what was rolled back: ${again.text}`)]
  return [
    ended("candidate", `generation ${recommended} passed gate and guard test`),
    { _tag: "ShadowStarted", run, generation: recommended, hash: command.hash, from: phase.from, after: command.seen, share: command.share, startedAt: command.at }
  ]
}

const lookShadow = (state: OnlineState, command: Extract<OnlineCommand, { _tag: "LookShadow" }>): ReadonlyArray<OnlineEvent> => {
  const { phase } = state
  if (phase._tag !== "Shadow" || phase.run !== command.run) return []
  const { generation, run } = phase
  const ended = (decision: "adopted" | "dropped", reason: string): OnlineEvent => ({ _tag: "ShadowEnded", run, generation, decision, reason, adoptedAfter: command.inForce.sequence })
  if (!same(command.inForce.ref, phase.from)) return [ended("dropped", `${generationName(command.inForce.ref)} was adopted meanwhile`)]
  const last = shadowLooks.at(-1) ?? 0
  const before = phase.last?.pairs ?? 0
  const pairs = firstEnough(command.pairs, nextShadowLook(before))
  const compared = pairs === undefined || pairs.length <= before ? undefined : compareShadow(pairs)
  const days = (Date.parse(command.at) - Date.parse(phase.startedAt)) / 86_400_000
  const expired = days > shadowDays ? [ended("dropped", `undecided after ${shadowDays} days with ${command.pairs.length} pairs`)] : []
  if (pairs === undefined || compared === undefined) return command.pairs.length >= last ? [ended("dropped", `${command.pairs.length} pairs come from too few users or conversations to tell`)] : expired
  const { counts, decision, difference, reason } = compared
  const looked: OnlineEvent = {
    _tag: "ShadowLooked", run, pairs: pairs.length, conversations: conversationsOf(pairs), users: usersIn(pairs),
    incumbentCorrect: counts.incumbentCorrect, candidateCorrect: counts.candidateCorrect, decision, reason, figures: figures(difference)
  }
  if (decision === "accepted") return [looked, ended("adopted", `${reason} on ${pairs.length} live questions (${points(difference.mean)})`)]
  if (decision === "rejected") return [looked, ended("dropped", `${reason} on ${pairs.length} live questions (${points(difference.mean)})`)]
  // No later question would make up for them, and the next run can find the same again.
  if (Math.max(counts.incumbentErrors, counts.candidateErrors) > errorShareMax * last) return [looked, ended("dropped", `${reason}, too many to decide anything on ${last} live questions`)]
  return [looked, ...(pairs.length >= last ? [ended("dropped", `still ${decision} after ${pairs.length} live questions: ${reason}`)] : expired)]
}

/** Feedback on what readers said under a generation, oldest first. */
const ofGeneration = (feedback: ReadonlyArray<Feedback>, ref: GenerationRef): ReadonlyArray<Feedback> =>
  feedback.filter((one) => one.isRead && same(one.generation, ref)).toSorted((a, b) => a.sequence - b.sequence)

/** Of it, what looks are taken at: nobody uses them up by more than a tenth of the last. */
export const watchedFeedback = (feedback: ReadonlyArray<Feedback>, ref: GenerationRef): ReadonlyArray<Feedback> => firstOfEach(ofGeneration(feedback, ref), watchLooks.at(-1) ?? 0)

const lookWatch = (state: OnlineState, command: Extract<OnlineCommand, { _tag: "LookWatch" }>): ReadonlyArray<OnlineEvent> => {
  const { watch } = state
  if (watch === undefined || watch.run !== command.run) return []
  const { generation, run } = watch
  const own = { run, generation }
  // Before the adoption that follows from the decision was carried out, there is nothing to see.
  if (command.inForce.sequence <= watch.adoptedAfter) return []
  if (!same(command.inForce.ref, own)) return [{ _tag: "WatchEnded", ...own, reason: "overtaken" }]
  const due = nextWatchLook(watch.last?.feedback ?? 0)
  const under = due === undefined ? undefined : firstEnough(watchedFeedback(command.feedback, own), due)
  const now = under === undefined ? undefined : shareRight(under)
  if (under === undefined || now === undefined) return []
  const until = under.at(-1)?.sequence ?? 0
  const earlier = ofGeneration(command.feedback, watch.from).filter(({ sequence }) => sequence < until)
  const before = firstEnough(earlier, watchLooks[0]) === undefined ? undefined : shareRight(earlier)
  const fallen = before === undefined ? 0 : before.mean - now.mean
  const isWorse = before !== undefined && fallen > 0 && fallen > likelyThreshold * Math.hypot(before.standardError, now.standardError)
  const looked: OnlineEvent = {
    _tag: "WatchLooked", ...own, feedback: under.length, conversations: conversationsOf(under), users: usersIn(under),
    before: before === undefined ? null : figures(before), now: figures(now), decision: isWorse ? "worse" : before === undefined ? "nothing to compare with" : "not worse"
  }
  if (isWorse) {
    return [looked, {
      _tag: "RolledBack", ...own,
      // Before the first adoption nothing was in force, which is what the run's own generation 0 holds.
      to: watch.from.run === "" ? { run, generation: 0 } : watch.from,
      reason: `${points(fallen)} fewer right answers by ${under.length} feedbacks than under ${generationName(watch.from)}`,
      adoptedAfter: command.inForce.sequence,
      withdrawn: command.principles.filter(({ scope, text }) => !command.start.some((one) => one.scope === scope && one.text === text)).map(({ scope, text }) => ({ scope, text })),
      reader: command.reader
    }]
  }
  return nextWatchLook(under.length) === undefined ? [looked, { _tag: "WatchEnded", ...own, reason: "kept" }] : [looked]
}

/** True when a batch may become a run: nothing is tried, and what was adopted last has been looked at once. */
export const isOpenForRun = (state: OnlineState): boolean => state.phase._tag === "Collecting" && (state.watch === undefined || state.watch.last !== undefined)

const decide = (state: OnlineState, command: OnlineCommand): Result.Result<ReadonlyArray<OnlineEvent>, never> => {
  switch (command._tag) {
    case "Switch":
      return Result.succeed(state.on === command.on ? [] : [{ _tag: "OnlineSwitched", on: command.on }])
    case "TakeRun": {
      const { _tag, ...taken } = command
      return Result.succeed(isOpenForRun(state) && numberOf(command.run) > state.number ? [{ _tag: "OnlineRunOpened", ...taken }] : [])
    }
    case "EndRun":
      return Result.succeed(endRun(state, command))
    case "LookShadow":
      return Result.succeed(lookShadow(state, command))
    case "LookWatch":
      return Result.succeed(lookWatch(state, command))
  }
}

const evolve = (state: OnlineState, event: OnlineEvent): OnlineState => {
  const { _tag, ...told } = event
  switch (event._tag) {
    case "OnlineSwitched":
      return { ...state, on: event.on }
    case "OnlineRunOpened": {
      const { from, run, through } = event
      const runs = [...state.runs, { run, through }]
      return {
        ...state,
        phase: { _tag: "Running", run, from },
        through,
        runs: runs.slice(-runsLookedThrough),
        // Nothing that the run falling out took is younger than this.
        closed: Math.max(state.closed, ...runs.slice(0, -runsLookedThrough).map((one) => one.through)),
        number: numberOf(run)
      }
    }
    case "OnlineRunEnded":
      return { ...state, phase: { _tag: "Collecting" }, lastOutcome: `${event.run}: ${event.reason}` }
    case "ShadowStarted":
      return { ...state, phase: { ...(told as Untagged<typeof event>), _tag: "Shadow", last: undefined } }
    case "ShadowLooked":
      return state.phase._tag === "Shadow" ? { ...state, phase: { ...state.phase, last: told as Untagged<ShadowLooked> } } : state
    case "ShadowEnded": {
      const { adoptedAfter, decision, generation, reason, run } = event
      const ended: OnlineState = { ...state, phase: { _tag: "Collecting" }, lastOutcome: `${run}: ${decision}, ${reason}` }
      if (decision === "dropped") return ended
      const from = state.phase._tag === "Shadow" ? state.phase.from : { run: "", generation: 0 }
      return { ...ended, watch: { run, generation, from, adoptedAfter, last: undefined }, due: { to: { run, generation }, after: adoptedAfter } }
    }
    case "WatchLooked":
      return state.watch === undefined ? state : { ...state, watch: { ...state.watch, last: told as Untagged<WatchLooked> } }
    case "WatchEnded":
      return { ...state, watch: undefined, lastOutcome: onlineLine(event) }
    case "RolledBack":
      return { ...state, watch: undefined, due: { to: event.to, after: event.adoptedAfter }, rollbacks: [...state.rollbacks, told as Untagged<RolledBack>], lastOutcome: `${event.run}: rolled back, ${event.reason}` }
  }
}

export const onlineBehaviour: Behaviour<OnlineState, OnlineCommand, OnlineEvent, never> = {
  codec: onlineCodec,
  initial: () => ({ on: undefined, phase: { _tag: "Collecting" }, through: 0, runs: [], closed: 0, watch: undefined, due: undefined, number: 0, rollbacks: [], lastOutcome: undefined }),
  decide,
  evolve
}
