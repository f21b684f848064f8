/**
 * A run taken out of a log into one bundle, and put into another log as it was: its commits, its results, the replies they refer to and
 * its questions. Everything is checked before anything is written, and what stands already is not written again.
 */
import { createHash, randomUUID } from "node:crypto"
import { headers as makeHeaders } from "@nats-io/transport-node"
import { Effect, Option, Result, Schedule, Schema, Stream } from "effect"
import { makeEntity } from "#shared/actor/entity"
import { Leases } from "#shared/actor/lease"
import { canonicalJson } from "#shared/domain/canonical-json"
import type { Question } from "#shared/domain/question"
import { layerBundle, writeBundle } from "#shared/eventlog/bundle"
import { header, type RawMessage } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { apiCode, LogUnavailable, Nats } from "#shared/eventlog/nats"
import { verifyCommits } from "#shared/eventlog/replay"
import { callsFilter, decodeToken, leaseSubject, parseMemorySubject, runFilter, runSubject, type RunAddress } from "#shared/eventlog/subjects"
import { questionCodec, questionsSubject } from "#shared/metamemory/questions"
import { StoredCall } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import { behaviour as evaluator } from "#services/evaluator/behaviour"
import { algorithmVersion } from "#services/reflector/parameters"
import { callKeysOf, questionsFilter, usersOfRun } from "./run-references.ts"
import { foldRun, replayAll, runResults, type RunState } from "./runs.ts"

/** A bundle was read and is not taken in; nothing was written. */
export class ImportRefused extends Schema.TaggedError<ImportRefused>()("ImportRefused", {
  path: Schema.String,
  /** `foreign`: not of one run; `tenant`: of another tenant; `damaged`: it does not replay; `unfinished`: the run had not ended; `exists`: another run of that name stands. */
  reason: Schema.Literals(["foreign", "tenant", "damaged", "unfinished", "exists"]),
  message: Schema.String
}) {}

/** Whether a driver would go on with a run. One that was opened under other rules stays as it is, and is whole so. */
export const goesOn = ({ parameters, phase }: RunState): boolean => phase._tag !== "Finished" && parameters?.algorithm === algorithmVersion

/** Writes a run into a bundle: no memories, and of its users' calls only those it refers to. */
export const bundleRun = (address: RunAddress, out: string) =>
  Effect.gen(function*() {
    const { run, tenant } = address
    const log = yield* EventLog
    const state = yield* foldRun(tenant, run)
    const results = yield* runResults(tenant, run)
    const keys = callKeysOf(results)
    const users = usersOfRun(state, results)
    const isPart = ({ subject }: RawMessage): boolean => {
      if (subject.startsWith("calls.")) return keys.has(decodeToken(subject.split(".")[3] ?? ""))
      return !subject.startsWith("memory.") || users.has(parseMemorySubject(subject).user)
    }
    const narrowed = EventLog.of({ ...log, readRaw: (filters, options) => log.readRaw(filters, options).pipe(Stream.filter(isPart)) })
    const filters = [runFilter(address), questionsFilter(tenant), ...[...users, `run:${run}`].map((scope) => callsFilter(tenant, scope))]
    return yield* writeBundle(out, filters, `run ${run} of ${tenant}`).pipe(Effect.provideService(EventLog, narrowed))
  })

interface Taken {
  readonly address: RunAddress
  /** Commits, results and attempts by subject, in order. */
  readonly messages: ReadonlyMap<string, ReadonlyArray<RawMessage>>
  readonly questions: ReadonlyArray<Question>
  readonly calls: ReadonlyArray<{ readonly scope: string; readonly call: StoredCall }>
  readonly hashes: ReadonlyArray<string>
}

const decodeCall = Schema.decodeUnknownResult(Schema.fromJsonString(StoredCall))

/** Reads a run out of a bundle and makes sure that it replays. */
const takeOut = (path: string, tenant: string) => {
  const refuse = (reason: ImportRefused["reason"], message: string) => new ImportRefused({ path, reason, message: `${path} ${message}` })
  return Effect.gen(function*() {
    const log = yield* EventLog
    const raws = yield* Stream.runCollect(log.readRaw(["metamem.>"]))
    const runs = [...new Set(raws.map(({ subject }) => subject.split(".").slice(0, 3).join(".")))]
    const [prefix = ""] = runs
    const [, bundled = "", run = ""] = prefix.split(".").map(decodeToken)
    const address = { tenant: bundled, run }
    if (runs.length === 0 && Option.isSome(yield* Stream.runHead(log.readRaw(["memory.>"])))) {
      return yield* refuse("foreign", "holds a user's data and no run: `metamem users import` takes it in.")
    }
    if (runs.length !== 1 || !raws.some(({ subject }) => subject === runSubject(address))) {
      return yield* refuse("foreign", "does not hold one run: take one written by `metamem export --format bundle`.")
    }
    if (bundled !== tenant) return yield* refuse("tenant", `holds a run of tenant ${bundled}, and a run keeps its tenant: give --tenant ${bundled}.`)
    const { brokenChains, checksumErrors } = yield* verifyCommits(log.readRaw(["metamem.>"]))
    const damaged = (what: string) => refuse("damaged", `holds a run that is not whole (${what}). Export it again.`)
    if (brokenChains + checksumErrors > 0) return yield* damaged(`${checksumErrors} checksum errors, ${brokenChains} broken chains`)
    const generations = yield* replayAll(bundled, run).pipe(Effect.mapError((error) => damaged(error.message)))
    const differing = generations.filter(({ identical }) => !identical)
    if (differing.length > 0) return yield* damaged(`generation ${differing[0]?.generation} does not replay to what was sealed`)
    const state = yield* foldRun(bundled, run)
    // A driver would go on with it, from memories that are not here.
    if (goesOn(state)) return yield* refuse("unfinished", `holds a run that has not ended: export ${run} again when it has.`)
    const questions: Array<Question> = []
    yield* log.read(["memory.>"]).pipe(Stream.runForEach((commit) =>
      Effect.gen(function*() {
        for (const stored of commit.events) {
          const event = questionCodec.decode(stored)
          if (Result.isFailure(event)) return yield* damaged(event.failure.message)
          const { _tag, ...question } = event.success
          questions.push(question)
        }
      })))
    const calls: Array<Taken["calls"][number]> = []
    for (const { payload, subject } of yield* Stream.runCollect(log.readRaw(["calls.>"]))) {
      const call = decodeCall(new TextDecoder().decode(payload))
      const [, callTenant = "", scope = ""] = subject.split(".").map(decodeToken)
      if (Result.isFailure(call) || callTenant !== bundled) return yield* damaged(`${subject} holds no call of this tenant`)
      calls.push({ scope, call: call.success })
    }
    return { address, messages: Map.groupBy(raws, ({ subject }) => subject), questions, calls, hashes: generations.map(({ hash }) => hash) } satisfies Taken as Taken
  })
}

/** Appends messages of one subject as they were, after those that stand there. */
const appendRaw = (messages: ReadonlyArray<RawMessage>, standing: { readonly count: number; readonly sequence: number }) =>
  Effect.gen(function*() {
    const { js } = yield* Nats
    const log = yield* EventLog
    let expected = standing.sequence
    for (const { headers, payload, subject } of messages.slice(standing.count)) {
      const own = makeHeaders()
      // The server's own headers speak of the log the message comes from.
      for (const [name, value] of Object.entries(headers)) if (!name.startsWith("Nats-")) own.set(name, value)
      expected = yield* Effect.tryPromise({
        try: () => js.publish(subject, payload, { msgID: headers[header.id] ?? "", headers: own, expect: { lastSubjectSequence: expected }, timeout: 5_000 }).then(({ seq }) => seq),
        catch: (error) => error
      }).pipe(
        Effect.catch((error) =>
          Effect.gen(function*() {
            const last = apiCode(error) === 10071 ? yield* log.last(subject) : undefined
            // An earlier try was kept, and only its acknowledgement was lost.
            if (last !== undefined && last.checksum === headers[header.checksum]) return last.sequence
            return yield* new LogUnavailable({ operation: "import", message: `${subject}: ${error instanceof Error ? error.message : String(error)}. Import it again: what is there already is kept.` })
          })),
        Effect.retry(Schedule.exponential("200 millis").pipe(Schedule.upTo({ times: 5 })))
      )
    }
  })

export interface Restored {
  readonly run: string
  readonly tenant: string
  readonly commits: number
  readonly calls: number
  readonly questions: number
  /** Of the commits, those that stood here already. */
  readonly standing: number
  readonly generations: ReadonlyArray<string>
}

const atOnce = 32

/** Takes a run from a bundle into the log. The same bundle again changes nothing, and one broken off goes on where it was. */
export const restoreRun = (path: string, tenant: string) =>
  Effect.gen(function*() {
    const taken = yield* takeOut(path, tenant).pipe(Effect.provide(layerBundle(path)))
    const { address, calls, hashes, messages, questions } = taken
    const log = yield* EventLog
    const store = yield* CallStore
    const leases = yield* Leases
    const standing = new Map<string, { readonly checksums: Array<string>; sequence: number }>()
    yield* log.readRaw([runFilter(address)]).pipe(Stream.runForEach(({ headers, sequence, subject }) =>
      Effect.sync(() => {
        const own = standing.get(subject) ?? { checksums: [], sequence: 0 }
        own.checksums.push(headers[header.checksum] ?? "")
        own.sequence = sequence
        standing.set(subject, own)
      })))
    for (const [subject, own] of standing) {
      const bundled = messages.get(subject) ?? []
      // More may stand here than in the bundle, and less; what both have must be the same.
      if (own.checksums.some((checksum, at) => bundled[at] !== undefined && bundled[at].headers[header.checksum] !== checksum) || bundled.length === 0) {
        return yield* new ImportRefused({ path, reason: "exists", message: `another run named ${address.run} stands in this log; import it into another home.` })
      }
    }
    const byUser = Map.groupBy(questions, ({ user }) => user)
    const entity = yield* makeEntity(evaluator, 2_000)
    yield* Effect.forEach(
      byUser,
      ([user, own]) =>
        entity.execute(questionsSubject(tenant, user), { _tag: "RegisterQuestions", questions: own }, { cause: createHash("sha256").update(canonicalJson(own)).digest("base64url") }),
      { concurrency: atOnce, discard: true }
    )
    yield* Effect.forEach(calls, ({ call, scope }) => store.put(tenant, scope, call.key, call), { concurrency: atOnce, discard: true })
    const place = (subject: string) => ({ count: standing.get(subject)?.checksums.length ?? 0, sequence: standing.get(subject)?.sequence ?? 0 })
    const own = runSubject(address)
    yield* Effect.forEach([...messages].filter(([subject]) => subject !== own), ([subject, some]) => appendRaw(some, place(subject)), { concurrency: atOnce, discard: true })
    // Last, and under the run's lease: until its end stands here, a driver would take it for one to go on with.
    yield* Effect.acquireUseRelease(
      leases.acquire(leaseSubject("reflector", `${address.tenant}/${address.run}`), randomUUID()),
      () => appendRaw(messages.get(own) ?? [], place(own)),
      (lease) => (lease === undefined ? Effect.void : leases.release(lease))
    )
    const total = [...messages.values()].reduce((sum, some) => sum + some.length, 0)
    return {
      run: address.run, tenant, commits: total, calls: calls.length, questions: questions.length,
      standing: [...standing.values()].reduce((sum, { checksums }) => sum + checksums.length, 0),
      generations: hashes
    } satisfies Restored as Restored
  })
