/** Evolution from live feedback: what the reflector is asked about it and what it records, one entity a tenant. No text of a user stands here. */
import { Schema } from "effect"
import { GenerationRef } from "#shared/domain/evidence"
import { PrincipleScope } from "#shared/domain/scope"
import { IsoTime } from "#shared/domain/turn"
import { defineEvent, eventCodec, type EventOf } from "#shared/eventlog/event"
import type { RunAddress } from "#shared/eventlog/subjects"

/** A person switched evolution from live feedback on or off for the tenant. */
export const OnlineSwitched = defineEvent("OnlineSwitched", { version: 1, payload: Schema.Struct({ on: Schema.Boolean }) })

/** A batch of feedback became a run, which goes on from what guides live answers. */
export const OnlineRunOpened = defineEvent("OnlineRunOpened", {
  version: 1,
  payload: Schema.Struct({
    run: Schema.NonEmptyString,
    /** What it is to be better than; `run` "" and 0 = no principles. */
    from: GenerationRef,
    /** Sequence, in the memory log, of the newest feedback that this run or any before took; older feedback it left out is offered to the next. */
    through: Schema.Int,
    questions: Schema.Int,
    conversations: Schema.Int,
    users: Schema.Int
  })
})

/** An online run is over. Only a `candidate` is tried any further. */
export const OnlineRunEnded = defineEvent("OnlineRunEnded", {
  version: 1,
  payload: Schema.Struct({ run: Schema.NonEmptyString, recommended: Schema.Int, outcome: Schema.Literals(["candidate", "nothing better", "overtaken", "withdrawn before"]), reason: Schema.String })
})

/** A candidate answers a share of live questions too; nobody is shown what it says. */
export const ShadowStarted = defineEvent("ShadowStarted", {
  version: 1,
  payload: Schema.Struct({
    run: Schema.NonEmptyString,
    generation: Schema.Int,
    hash: Schema.NonEmptyString,
    from: GenerationRef,
    /** Sequence of the memory log; only feedback after it counts. */
    after: Schema.Int,
    /** Of live answers with a reference, drawn by the answer's id. */
    share: Schema.Finite,
    startedAt: IsoTime
  })
})

const Figures = Schema.Struct({ mean: Schema.NullOr(Schema.Finite), standardError: Schema.NullOr(Schema.Finite) })

/** Candidate and incumbent were compared on the pairs so far; shares, users cut to a tenth. */
export const ShadowLooked = defineEvent("ShadowLooked", {
  version: 1,
  payload: Schema.Struct({
    run: Schema.NonEmptyString,
    pairs: Schema.Int,
    conversations: Schema.Int,
    users: Schema.Int,
    incumbentCorrect: Schema.Int,
    candidateCorrect: Schema.Int,
    decision: Schema.Literals(["accepted", "undecided", "rejected", "void"]),
    reason: Schema.String,
    figures: Figures
  })
})

export const ShadowEnded = defineEvent("ShadowEnded", {
  version: 1,
  payload: Schema.Struct({
    run: Schema.NonEmptyString,
    generation: Schema.Int,
    decision: Schema.Literals(["adopted", "dropped"]),
    reason: Schema.String,
    /** Sequence of the last adoption when it was decided; the one that follows from this expects it. */
    adoptedAfter: Schema.Int
  })
})

/** Feedback under the generation adopted online was compared with feedback under the one before it; shares of right answers. */
export const WatchLooked = defineEvent("WatchLooked", {
  version: 1,
  payload: Schema.Struct({
    run: Schema.NonEmptyString,
    generation: Schema.Int,
    feedback: Schema.Int,
    conversations: Schema.Int,
    users: Schema.Int,
    before: Schema.NullOr(Figures),
    now: Figures,
    decision: Schema.Literals(["worse", "not worse", "nothing to compare with"])
  })
})

/** The generation is watched no longer: it has stood the test, or somebody adopted another. */
export const WatchEnded = defineEvent("WatchEnded", {
  version: 1,
  payload: Schema.Struct({ run: Schema.NonEmptyString, generation: Schema.Int, reason: Schema.Literals(["kept", "overtaken"]) })
})

/** What was adopted online did worse, and what was in force before it is in force again. */
export const RolledBack = defineEvent("RolledBack", {
  version: 1,
  payload: Schema.Struct({
    run: Schema.NonEmptyString,
    generation: Schema.Int,
    /** What is in force again; a run's generation 0 holds what it began with. */
    to: GenerationRef,
    reason: Schema.String,
    adoptedAfter: Schema.Int,
    /** Principles it had beyond `to`: no online run brings them back while the reader is this one. */
    withdrawn: Schema.Array(Schema.Struct({ scope: PrincipleScope, text: Schema.NonEmptyString })),
    reader: Schema.String
  })
})

export const onlineCodec = eventCodec([OnlineSwitched, OnlineRunOpened, OnlineRunEnded, ShadowStarted, ShadowLooked, ShadowEnded, WatchLooked, WatchEnded, RolledBack])
export type ShadowLooked = EventOf<typeof ShadowLooked>
export type WatchLooked = EventOf<typeof WatchLooked>
export type RolledBack = EventOf<typeof RolledBack>
export type OnlineEvent =
  | EventOf<typeof OnlineSwitched>
  | EventOf<typeof OnlineRunOpened>
  | EventOf<typeof OnlineRunEnded>
  | EventOf<typeof ShadowStarted>
  | ShadowLooked
  | EventOf<typeof ShadowEnded>
  | WatchLooked
  | EventOf<typeof WatchEnded>
  | RolledBack

/** Where a shadow's jobs and their results stand: beside the run, of which they are no part. */
export const shadowAddress = (tenant: string, run: string): RunAddress => ({ tenant, run: `${run}-shadow` })

export const OnlineRequest = Schema.Struct({ tenant: Schema.NonEmptyString })
export const OnlineSwitchRequest = Schema.Struct({ tenant: Schema.NonEmptyString, on: Schema.Boolean })

/** Where evolution from live feedback is. */
export const OnlineStatus = Schema.Struct({
  tenant: Schema.String,
  on: Schema.Boolean,
  /** Why it is on or off, in words. */
  because: Schema.String,
  stage: Schema.Literals(["collecting", "run", "shadow"]),
  feedback: Schema.Struct({
    /** Answers with feedback that stands. */
    standing: Schema.Int,
    /** With a right answer, and offered to the next run: not used up by an earlier one. */
    fresh: Schema.Int,
    conversations: Schema.Int,
    users: Schema.Int
  }),
  needed: Schema.Struct({ conversations: Schema.Int, users: Schema.Int, /** Absent = a batch is ready. */ lacks: Schema.optionalKey(Schema.String) }),
  adopted: Schema.NullOr(GenerationRef),
  /** How many the adopted generation holds; a generation 0 may hold what its run went on from. */
  principles: Schema.Int,
  run: Schema.NullOr(Schema.Struct({ run: Schema.String, stage: Schema.String, step: Schema.Int, steps: Schema.Int })),
  /** Jobs of run and shadow that wait for a model that is away or turns the key down, by kind. */
  held: Schema.Array(Schema.Struct({ kind: Schema.String, message: Schema.String })),
  /** Of the candidate in shadow: settled pairs, how many of them could not be judged on both sides, and how many more are being answered. */
  shadow: Schema.NullOr(Schema.Struct({
    run: Schema.String, generation: Schema.Int, share: Schema.Finite, pairs: Schema.Int, unjudged: Schema.Int, waiting: Schema.Int, needed: Schema.Int, conversations: Schema.Int, users: Schema.Int,
    lastLook: Schema.NullOr(ShadowLooked.payload)
  })),
  watch: Schema.NullOr(Schema.Struct({ run: Schema.String, generation: Schema.Int, feedback: Schema.Int, needed: Schema.Int, conversations: Schema.Int, users: Schema.Int, lastLook: Schema.NullOr(WatchLooked.payload) })),
  /** The last run's or shadow's end, in words. */
  lastOutcome: Schema.NullOr(Schema.String),
  rollbacks: Schema.Array(Schema.Struct({ run: Schema.String, generation: Schema.Int, to: GenerationRef, reason: Schema.String }))
})
export type OnlineStatus = typeof OnlineStatus.Type
