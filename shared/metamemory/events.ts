/**
 * The two events of evolution that others read: a generation was sealed in a run, and one was adopted for live answers. The reflector
 * writes them among its own (`services/reflector/run-events.ts` includes these definitions); the retriever folds only these.
 */
import { Schema } from "effect"
import { Principle } from "../domain/principle.ts"
import { defineEvent, eventCodec, type EventOf } from "../eventlog/event.ts"

/** The principles in force after an accepted step. The hash covers what `generation.ts` says and nothing else. */
export const GenerationSealed = defineEvent("GenerationSealed", {
  version: 1,
  payload: Schema.Struct({
    generation: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
    /** Step after which it was sealed; −1 for the empty one sealed with the run's opening. */
    step: Schema.Int,
    principles: Schema.Array(Principle),
    hash: Schema.NonEmptyString,
    /** Digest over keys and checksums of all results that led to it. */
    inputsDigest: Schema.String,
    /** The gate's decision with its integer counts, as hashed; null for the empty generation. */
    gate: Schema.Unknown
  })
})
export type GenerationSealed = EventOf<typeof GenerationSealed>

/** This generation guides the tenant's live answers from here on. */
export const GenerationAdopted = defineEvent("GenerationAdopted", {
  version: 1,
  payload: Schema.Struct({ run: Schema.NonEmptyString, generation: Schema.Int, hash: Schema.NonEmptyString, principles: Schema.Array(Principle) })
})
export type GenerationAdopted = EventOf<typeof GenerationAdopted>

export const adoptionCodec = eventCodec([GenerationAdopted])
