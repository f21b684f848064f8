/**
 * What became of a stream: every acknowledged turn must stand in the log once, be listed once, have a vector, and be found once by its
 * word and by its vector. The log is read by itself; all else is asked of the retriever, as anybody asks it.
 */
import { Effect, Schema } from "effect"
import { request } from "#shared/actor/requests"
import { requestSubject } from "#shared/eventlog/subjects"
import { IndexVerifyReply, MemoriesReply, RetrieveReply } from "#services/retriever/protocol"
import { type LogContent, logContent } from "./log-content.ts"
import { type StreamTurn, vectorQuestion, wordQuestion } from "./stream-turns.ts"

/** A turn that the ingestor acknowledged, with the id it gave it. */
export interface Acknowledged extends StreamTurn {
  readonly id: string
}

/** Evidence that a question may show, in o200k tokens: some thirty turns; in a stream of 36,000, 7 stood behind the first ten. */
const evidenceTokens = 1_000
/** A vector that is exactly the question's may stand behind a dozen twins in nearer conversations. */
const vectorEvidenceTokens = 4_000
/** Words in one question at the end; a turn that is not among the evidence is asked for alone before it counts as missing. */
const wordsAtOnce = 6
/** Questions by vector at the end, spread over the stream: each costs an embedding. */
const vectorQuestionsMax = 2_000
const listMax = 1_000_000
const askedAtOnce = 4
const examplesMax = 10

const decodeRetrieve = Schema.decodeUnknownEffect(RetrieveReply)
const decodeMemories = Schema.decodeUnknownEffect(MemoriesReply)
const decodeVerify = Schema.decodeUnknownEffect(IndexVerifyReply)

/** Evidence for a question about one user's turns. */
const evidenceFor = (tenant: string, user: string, question: string, tokens: number) =>
  request(requestSubject("retriever", "retrieve"), { tenant, user, question, kinds: ["turn"], evidenceTokens: tokens, deadlineMs: 30_000 }, 35_000).pipe(
    Effect.flatMap(decodeRetrieve),
    Effect.map(({ evidence }) => evidence)
  )

/** How often a turn is among the evidence for its word. */
export const foundByWord = (tenant: string, turn: Acknowledged) =>
  Effect.map(evidenceFor(tenant, turn.user, wordQuestion(turn), evidenceTokens), (evidence) => evidence.filter(({ memoryId }) => memoryId === turn.id).length)

/**
 * How often a turn is among the evidence for its vector.
 *
 * @param scoreMin share of the best score that it has at least. A turn without a vector may stand among the last by its neighbours and
 *   conversation, which together are worth less than half of what a vector and they are; a twin in a nearer conversation may stand before it.
 */
export const foundByVector = (tenant: string, { id, text, user }: Acknowledged, scoreMin = 0) =>
  Effect.map(evidenceFor(tenant, user, vectorQuestion(text), vectorEvidenceTokens), (evidence) => {
    const best = Math.max(...evidence.map(({ score }) => score))
    return evidence.filter(({ memoryId, score }) => memoryId === id && score >= scoreMin * best).length
  })

export interface StreamCheck {
  readonly ok: boolean
  readonly acknowledged: number
  /** Of the acknowledged turns; `unknown` = in the log and never acknowledged. */
  readonly log: { readonly missing: number; readonly twice: number; readonly unknown: number; readonly inTwoSegments: number }
  readonly facts: { readonly recorded: number; readonly twice: number; readonly failed: number }
  /** `again` = recorded once more with the same bytes, which costs work and changes nothing; `differing` = with others. */
  readonly vectors: { readonly recorded: number; readonly missing: number; readonly again: number; readonly differing: number }
  readonly listed: { readonly missing: number; readonly twice: number; readonly withoutVector: number; readonly unknown: number }
  /** Rows of the index that are not as the log says. */
  readonly index: { readonly memories: number; readonly different: number }
  readonly byWord: { readonly asked: number; readonly missing: number; readonly twice: number }
  readonly byVector: { readonly asked: number; readonly missing: number; readonly twice: number }
  readonly examples: ReadonlyArray<string>
}

const groups = <A>(all: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, n) => all.slice(n * size, (n + 1) * size))

/** At most `count` of all, evenly spread. */
export const spread = <A>(all: ReadonlyArray<A>, count: number): ReadonlyArray<A> =>
  all.length <= count ? all : Array.from({ length: count }, (_, n) => all[Math.floor((n * all.length) / count)] as A)

/** @param turns all acknowledged turns of the tenant; `ignored` = users whose memories came another way */
export const checkStream = (tenant: string, turns: ReadonlyArray<Acknowledged>, ignored: ReadonlySet<string>, onProgress: (line: string) => void) =>
  Effect.gen(function*() {
    const examples: Array<string> = []
    const tell = (what: string, keys: Iterable<string>): void => {
      for (const key of keys) if (examples.length < examplesMax) examples.push(`${what}: ${key}`)
    }
    const keyOf = ({ conversation, id, user }: Acknowledged) => `${user}/${conversation}/${id}`
    const due = new Set(turns.map(keyOf))
    const byUser = Map.groupBy(turns, ({ user }) => user)

    onProgress("reading the log")
    const { content, failed, inTwoSegments, twice, vectorsAgain }: LogContent = yield* logContent(tenant)
    const own = (key: string) => !ignored.has(key.split("/")[0] ?? "")
    const missingInLog = [...due].filter((key) => !content.turns.has(key))
    const unknown = [...content.turns.keys()].filter((key) => own(key) && !due.has(key))
    const withoutVector = [...content.turns.keys(), ...content.facts.keys()].filter((key) => !content.vectors.has(key))
    tell("acknowledged and not in the log", missingInLog)
    tell("in the log and not acknowledged", unknown)
    tell("twice in the log", [...twice.turns, ...twice.facts, ...twice.segments])
    tell("in two segments", inTwoSegments)
    tell("with two vectors", twice.vectors)
    tell("without a vector in the log", withoutVector)

    const listed = { missing: 0, twice: 0, withoutVector: 0, unknown: 0 }
    const index = { memories: 0, different: 0 }
    let users = 0
    yield* Effect.forEach(byUser, ([user, all]) =>
      Effect.gen(function*() {
        const { memories } = yield* Effect.flatMap(request(requestSubject("retriever", "memories"), { tenant, user, kinds: ["turn"], limit: listMax }, 60_000), decodeMemories)
        const counts = new Map<string, number>()
        for (const { id, searchableByVector } of memories) {
          counts.set(id, (counts.get(id) ?? 0) + 1)
          if (!searchableByVector) listed.withoutVector += 1
        }
        const ids = new Set(all.map(({ id }) => id))
        const missing = [...ids].filter((id) => !counts.has(id))
        listed.missing += missing.length
        tell(`not listed of ${user}`, missing)
        for (const [id, count] of counts) {
          if (count > 1) listed.twice += 1
          if (!ids.has(id)) listed.unknown += 1
        }
        const verified = yield* Effect.flatMap(request(requestSubject("retriever", "index-verify"), { tenant, user }, 120_000), decodeVerify)
        index.memories += verified.memories
        index.different += verified.missing + verified.extra + verified.changed
        tell(`index of ${user}`, verified.examples)
        onProgress(`${(users += 1)} of ${byUser.size} users compared with the log`)
      }), { concurrency: 2, discard: true })

    const byWord = { asked: 0, missing: 0, twice: 0 }
    const count = (figures: { asked: number; missing: number; twice: number }, turn: Acknowledged, times: number, how: string): void => {
      figures.asked += 1
      if (times === 0) {
        figures.missing += 1
        tell(`not found by ${how}`, [keyOf(turn)])
      } else if (times > 1) {
        figures.twice += 1
        tell(`found twice by ${how}`, [keyOf(turn)])
      }
    }
    yield* Effect.forEach([...byUser.values()].flatMap((all) => groups(all, wordsAtOnce)), (group) =>
      Effect.gen(function*() {
        const evidence = yield* evidenceFor(tenant, group[0]?.user ?? "", group.map(({ marker }) => marker).join(" "), evidenceTokens * 2)
        for (const turn of group) {
          const times = evidence.filter(({ memoryId }) => memoryId === turn.id).length
          count(byWord, turn, times > 0 ? times : yield* foundByWord(tenant, turn), "its word")
        }
        onProgress(`${byWord.asked} of ${turns.length} turns asked for by word`)
      }), { concurrency: askedAtOnce, discard: true })

    const byVector = { asked: 0, missing: 0, twice: 0 }
    const asked = spread(turns.filter(({ speaker }) => speaker === "user"), vectorQuestionsMax)
    yield* Effect.forEach(asked, (turn) =>
      Effect.map(foundByVector(tenant, turn), (times) => {
        count(byVector, turn, times, "its vector")
        onProgress(`${byVector.asked} of ${asked.length} turns asked for by vector`)
      }), { concurrency: askedAtOnce, discard: true })

    const log = { missing: missingInLog.length, twice: twice.turns.length, unknown: unknown.length, inTwoSegments: inTwoSegments.length + twice.segments.length }
    const facts = { recorded: content.facts.size, twice: twice.facts.length, failed }
    const vectors = { recorded: content.vectors.size, missing: withoutVector.length, again: vectorsAgain, differing: twice.vectors.length }
    const wrong = [log.missing, log.twice, log.unknown, log.inTwoSegments, facts.twice, failed, vectors.missing, vectors.differing, ...Object.values(listed), index.different, byWord.missing, byWord.twice, byVector.missing, byVector.twice]
    return { ok: wrong.every((one) => one === 0), acknowledged: turns.length, log, facts, vectors, listed, index, byWord, byVector, examples } satisfies StreamCheck
  })
