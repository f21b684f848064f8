/** What workers of the reflector read again from the log to study an attempt: the memories it was shown, and what it answered. */
import { Effect, Option, Result, Schema, Stream } from "effect"
import { JobFailed, jobCodec } from "#shared/actor/jobs"
import type { EvidenceItem } from "#shared/domain/evidence"
import type { Question } from "#shared/domain/question"
import type { Erased } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { keyedLock } from "#shared/eventlog/nats"
import { memoryFilter, parseMemorySubject, resultSubject, type RunAddress } from "#shared/eventlog/subjects"
import type { JudgedAttempt } from "#shared/metamemory/attempt-features"
import { makeQuestions, type QuestionRef } from "#shared/metamemory/questions"
import { CallStore } from "#shared/model/call-store"
import { compressorCodec } from "#services/compressor/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { RolloutData } from "#services/retriever/protocol"

type Memories = ReadonlyMap<string, Omit<EvidenceItem, "score">>

/** Users whose memories are kept in this process. */
const cachedUsers = 64
/** Longest text of one memory shown to a model, in characters; longer ones are cut to the sentences nearest the question. */
const excerptLength = 1_200

const wordsOf = (text: string): ReadonlySet<string> => new Set(text.toLowerCase().match(/[\p{L}\p{N}]{3,}/gu) ?? [])

/** The sentences of a long text that share most words with another text, in their order. */
export const excerpt = (text: string, about: string, length = excerptLength): string => {
  if (text.length <= length) return text
  const wanted = wordsOf(about)
  const sentences = (text.match(/[^.!?\n]+[.!?\n]*/g) ?? [text]).map((sentence, at) => ({ sentence: sentence.trim().slice(0, length), at, shared: [...wordsOf(sentence)].filter((word) => wanted.has(word)).length }))
  const kept: Array<(typeof sentences)[number]> = []
  let left = length
  for (const candidate of sentences.toSorted((a, b) => b.shared - a.shared || a.at - b.at)) {
    if (candidate.sentence.length > left) continue
    kept.push(candidate)
    left -= candidate.sentence.length + 1
  }
  return kept.sort((a, b) => a.at - b.at).map(({ sentence }) => sentence).join(" ")
}

/** The part of a rollout's result that is read here. */
const Answered = Schema.Struct({ callKey: RolloutData.fields.callKey, evidenceIds: RolloutData.fields.evidenceIds })
const decodeRollout = Schema.decodeUnknownOption(Answered)

export interface Attempted extends JudgedAttempt {
  readonly question: Question
  readonly evidence: ReadonlyArray<EvidenceItem>
}

const passing = (error: { readonly message: string }) => new JobFailed({ message: error.message, final: false })

export const makeMaterial = Effect.gen(function*() {
  const log = yield* EventLog
  const calls = yield* CallStore
  const questions = yield* makeQuestions
  const cache = new Map<string, Memories>()
  let forgotten = 0
  /** The attempts at a question are studied at once: one reads, and the others wait for it. */
  const reading = keyedLock()

  const memoriesOf = (tenant: string, user: string) => {
    const key = JSON.stringify([tenant, user])
    return reading(key, readMemories(key, tenant, user))
  }
  const readMemories = Effect.fnUntraced(function*(key: string, tenant: string, user: string) {
    const known = cache.get(key)
    if (known !== undefined) return known
    const before = forgotten
    const memories = new Map<string, Omit<EvidenceItem, "score">>()
    yield* log.read([memoryFilter({ tenant, user, actor: "ingestor" }), memoryFilter({ tenant, user, actor: "compressor" })]).pipe(
      Stream.mapEffect((commit) =>
        Effect.gen(function*() {
          const { actor, conversation } = parseMemorySubject(commit.subject)
          for (const stored of commit.events) {
            if (actor === "ingestor") {
              const event = ingestorCodec.decode(stored)
              if (Result.isFailure(event)) return yield* event.failure
              if (event.success._tag !== "TurnsReceived") continue
              for (const { id, speaker, text, time } of event.success.turns) memories.set(id, { memoryId: id, kind: "turn", text, time, speaker, conversation, turns: [id] })
            } else {
              const event = compressorCodec.decode(stored)
              if (Result.isFailure(event)) return yield* event.failure
              if (event.success._tag !== "MemoriesRecorded") continue
              for (const { id, kind, speaker, text, time, turns } of event.success.memories) memories.set(id, { memoryId: id, kind, text, time, speaker, conversation, turns })
            }
          }
          return
        })),
      Stream.runDrain
    )
    if (forgotten !== before) return memories
    for (const oldest of cache.size >= cachedUsers ? cache.keys() : []) {
      cache.delete(oldest)
      break
    }
    cache.set(key, memories)
    return memories
  })

  /** Data of a settled job of the same step; fails when it is not there. */
  const result = Effect.fnUntraced(function*(address: RunAddress & { readonly step: number }, kind: string, key: string) {
    const last = yield* log.last(resultSubject({ ...address, kind, key })).pipe(Effect.mapError(passing))
    for (const stored of last?.events ?? []) {
      const event = jobCodec.decode(stored)
      if (Result.isSuccess(event) && event.success._tag === "JobSettled" && event.success.status === "done") return event.success.data
    }
    return yield* new JobFailed({ message: `the ${kind} ${key} of step ${address.step} is not settled as done`, final: true })
  })

  /** The text of a call kept under a user. */
  const said = Effect.fnUntraced(function*(tenant: string, user: string, key: string) {
    const call = yield* calls.get(tenant, user, key).pipe(Effect.mapError(passing))
    if (Option.isNone(call)) return yield* new JobFailed({ message: `the call ${key} is not in the call store; was the user erased?`, final: true })
    return call.value.text
  })

  /** Memories of these ids in their order; read anew when one is younger than what is kept here. */
  const found = Effect.fnUntraced(function*(tenant: string, user: string, ids: ReadonlyArray<string>) {
    const kept = yield* memoriesOf(tenant, user)
    if (ids.every((id) => kept.has(id))) return ids.flatMap((id) => kept.get(id) ?? [])
    cache.delete(JSON.stringify([tenant, user]))
    const fresh = yield* memoriesOf(tenant, user)
    return ids.flatMap((id) => fresh.get(id) ?? [])
  })

  /** One judged attempt with the memories it was shown, in the order shown, each cut to what bears on the question. */
  const attempt = Effect.fnUntraced(function*(address: RunAddress & { readonly step: number }, question: Question, key: string, correct: boolean) {
    const rollout = Option.getOrUndefined(decodeRollout(yield* result(address, "rollout", key)))
    if (rollout === undefined) return yield* new JobFailed({ message: `the rollout ${key} of step ${address.step} cannot be read`, final: true })
    const response = yield* said(address.tenant, question.user, rollout.callKey)
    const about = `${question.text} ${question.answer} ${response}`
    const memories = yield* found(address.tenant, question.user, rollout.evidenceIds).pipe(Effect.mapError(passing))
    const evidence = memories.map((memory): EvidenceItem => ({ ...memory, text: excerpt(memory.text, about), score: 0 }))
    return { question, evidence, response, correct } satisfies Attempted
  })

  const question = (tenant: string, ref: QuestionRef) =>
    questions.load(tenant, ref).pipe(Effect.mapError((error) => new JobFailed({ message: error.message, final: error._tag === "UnknownQuestion" })))

  /** Lets go of what is kept here of an erased user, also of what is being read. */
  const forget = (erased: Erased): void => {
    forgotten += 1
    questions.forget(erased)
    for (const key of cache.keys()) {
      const [tenant, user] = JSON.parse(key) as [string, string]
      if (erased.is(tenant, user)) cache.delete(key)
    }
  }

  return { question, result, said, attempt, found, forget }
})

export type Material = Effect.Success<typeof makeMaterial>
