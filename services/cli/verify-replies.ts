/**
 * Whether the replies that a run's results name are there, are what was asked for, and say what the results say. A reply is kept under the
 * hash of its prompt; of verdicts, proposals and consolidations the log holds all that the prompt is made of, so that the hash is computed
 * anew. Verdicts by words are decided again. No model is asked, and of the replies a part at a time is held.
 */
import { Effect, Option, Result, Schema, Stream } from "effect"
import { Operation } from "#shared/domain/principle"
import { type Question, Verdict } from "#shared/domain/question"
import { lastErasure, markHours } from "#shared/eventlog/erasure"
import type { Commit } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { callsFilter, memoryFilter, parseCallsSubject, type RunAddress } from "#shared/eventlog/subjects"
import { judgementsNeeded, judgePrompt, judgeTemplateHash, majority } from "#shared/metamemory/judging"
import { asAttempt } from "#shared/metamemory/ledger"
import { judgeLexically } from "#shared/metamemory/lexical"
import { consolidatePrompt, type Message, proposePrompt, templateHashes, withinBudget } from "#shared/metamemory/prompts"
import { ruleBased } from "#shared/metamemory/rules"
import { callKey, StoredCall } from "#shared/model/call"
import { replySchemas } from "#shared/model/reply-schemas"
import { type Role, settingList } from "#shared/model/roles"
import { JudgeKind } from "#services/evaluator/protocol"
import { type ConsolidationInput, consolidationTokens, type ProposalInput } from "#services/reflector/job-data"
import { algorithmVersion, runQuestionOf } from "#services/reflector/parameters"
import { plannedJobs, questionHash, questionHashIn } from "#services/reflector/stages"
import { answerWords } from "#services/retriever/protocol"
import { roleOf } from "./run-progress.ts"
import { questionsOf } from "./run-references.ts"
import type { RunResult, RunState } from "./runs.ts"

/** What is known of one settled job without its replies. */
interface Outcome {
  readonly name: string
  readonly key: string
  readonly role: Role
  readonly time: string
  readonly calls: ReadonlyArray<string>
  readonly data: Data
}

/** What results say that their replies bear out; none of it is long. */
const Data = Schema.Struct({
  user: Schema.optionalKey(Schema.String),
  callKey: Schema.optionalKey(Schema.String),
  calls: Schema.optionalKey(Schema.Array(Schema.String)),
  features: Schema.optionalKey(Schema.Struct({ answerWords: Schema.Int })),
  verdict: Schema.optionalKey(Verdict),
  judge: Schema.optionalKey(JudgeKind),
  by: Schema.optionalKey(Schema.String),
  lesson: Schema.optionalKey(Schema.String),
  scope: Schema.optionalKey(Schema.String),
  operations: Schema.optionalKey(Schema.Array(Schema.Unknown))
})
type Data = typeof Data.Type
const decodeData = Schema.decodeUnknownOption(Data)
const decodeCall = Schema.decodeUnknownOption(Schema.fromJsonString(StoredCall))
const decodeOperation = Schema.decodeUnknownOption(Schema.Union([Operation, Schema.Struct({ operation: Operation, sources: Schema.Array(Schema.String) })]))

/** The replies of one role that results name. */
export interface RoleReplies {
  named: number
  /** Of them, those whose hash was computed anew from what was asked. */
  rebuilt: number
  missing: number
  erased: number
}
/** By role, of those that anything is named of. */
export type Replies = Partial<Record<Role, RoleReplies>>

/** Outcomes whose replies are looked at together, about. */
const atOnce = 4_000
/** The server compares each filter of a reader with every other. */
const scopesAtOnce = 500

/**
 * Limits of tokens that a role may have been set to, the likeliest first. A run's opening names the one of who opened it; earlier ones name none, and
 * processes that joined later may have had another.
 */
const limitsOf = (role: Role, named: number | undefined): ReadonlyArray<number> => {
  const usual = Number(settingList.find(({ name }) => name === `METAMEM_${role.toUpperCase()}_MAX_TOKENS`)?.default)
  return [...new Set([...(named === undefined ? [] : [named]), usual, ...Array.from({ length: 14 }, (_, at) => 2 ** (at + 4))])]
}

export const makeReplyVerifier = ({ run, tenant }: RunAddress) => {
  const outcomes = new Map<string, Outcome>()
  const proposals = new Map<string, ProposalInput>()
  const consolidations = new Map<string, ConsolidationInput>()
  const replies: Replies = {}
  const missing: Array<string> = []
  const erased: Array<string> = []
  const changed: Array<string> = []
  const named = new Map<Role, number>()
  const limits = new Map<Role, Array<number>>()
  /** By role, what is no reply to the prompt that the log makes; it counts where the role's other prompts can be made again. */
  const unmet = new Map<Role, Array<string>>()

  /** Verdicts of the lexical judge that were decided again; none of a run under other rules, whose judge may have been another. */
  let lexicalVerdicts = 0
  let isOfTheseRules = false

  const counted = (role: Role): RoleReplies => (replies[role] ??= { named: 0, rebuilt: 0, missing: 0, erased: 0 })

  /** Whether a call was asked with these messages. */
  const isReplyTo = (call: StoredCall, messages: ReadonlyArray<Message>, temperature: number): boolean => {
    const { model, role, sample } = call
    const tried = limits.get(role) ?? [...limitsOf(role, named.get(role))]
    limits.set(role, tried)
    const at = tried.findIndex((limit) =>
      callKey({ role, messages, parameters: { temperature }, tenant, scope: "", templateVersion: "", ...(sample === undefined ? {} : { sample }) }, model, replySchemas[role], limit) === call.key)
    if (at > 0) tried.unshift(...tried.splice(at, 1))
    return at !== -1
  }
  /** @param asked what may have been asked */
  const rebuild = (of: Outcome, call: StoredCall, template: string, asked: ReadonlyArray<ReadonlyArray<Message>>, temperature = 0): void => {
    // What was asked in the words of another version cannot be asked again.
    if (call.templateVersion !== template) return
    if (asked.some((messages) => isReplyTo(call, messages, temperature))) return void (counted(of.role).rebuilt += 1)
    const own = unmet.get(of.role) ?? []
    unmet.set(of.role, own)
    own.push(`reply ${call.key} (${of.role}) of ${run} is not to what ${of.name} asks`)
  }

  /** The scope under which an outcome's replies are kept; undefined where its question is not known. */
  const scopeOf = ({ data, key, role }: Outcome, questions: ReadonlyMap<string, { readonly user: string }>): string | undefined =>
    data.user ?? (role === "consolidate" ? `run:${run}` : questions.get(questionHashIn(key) ?? "")?.user)

  const checkOperations = (of: Outcome, said: ReadonlyArray<StoredCall>, ledger: ProposalInput["ledger"]): boolean => {
    if (of.data.by === ruleBased) return true
    const operationsIn = (text: string): ReadonlyArray<Operation> => {
      const reply: Result.Result<{ readonly operations: ReadonlyArray<Operation> }, string> = of.role === "propose" ? replySchemas.propose.decode(text) : replySchemas.consolidate.decode(text)
      return Result.isSuccess(reply) ? reply.success.operations : []
    }
    const offered = said.flatMap(({ text }) => operationsIn(text).map((one) => asAttempt(one, ledger)))
    return (of.data.operations ?? []).every((one) => {
      const kept = Option.getOrUndefined(decodeOperation(one))
      const operation = kept === undefined ? undefined : "sources" in kept ? kept.operation : kept
      return operation !== undefined && offered.some((other) => other.operation === operation.operation && other.content === operation.content)
    })
  }

  const checkLexicalVerdict = (judgement: string, response: string, asked: ReadonlyArray<Question>): void => {
    const judged = outcomes.get(judgement)?.data
    if (!isOfTheseRules || judged?.judge !== "lexical" || asked.length === 0) return
    lexicalVerdicts += 1
    if (!asked.some((question) => judgeLexically(question, response).verdict === judged.verdict)) changed.push(`${judgement} of ${run} is not what the lexical judge says of its answer`)
  }

  /** One outcome whose replies are all there. */
  const check = (of: Outcome, said: ReadonlyArray<StoredCall>, call: (key: string) => StoredCall | undefined, asked: ReadonlyArray<Question>): boolean => {
    const [question] = asked
    const { data, name, role } = of
    const [first] = said
    // Of an imported run texts are kept as they were read.
    if (first === undefined || first.schema === "imported") return true
    if (said.some(({ schema }) => schema !== `${replySchemas[role].name}@${replySchemas[role].version}`)) return true
    switch (role) {
      case "answer":
        checkLexicalVerdict(name.replace("/rollout/", "/judgement/"), first.text, asked)
        return data.features === undefined || answerWords(first.text) === data.features.answerWords
      case "judge": {
        const answered = call(outcomes.get(name.replace("judgement/", "rollout/"))?.calls[0] ?? "")
        if (question !== undefined && answered !== undefined) {
          const temperature = judgementsNeeded(question) === 1 ? 0 : 0.7
          for (const one of said) rebuild(of, one, judgeTemplateHash([question.type]), asked.map((written) => judgePrompt(written, answered.text)), temperature)
        }
        return majority(said.map(({ text }): Verdict => {
          const vote = replySchemas.judge.decode(text)
          return Result.isFailure(vote) ? "error" : vote.success.verdict === "yes" ? "correct" : "incorrect"
        })) === data.verdict
      }
      case "reflect": {
        const lesson = replySchemas.reflect.decode(first.text)
        return data.by === ruleBased || (Result.isSuccess(lesson) && lesson.success.scope === data.scope)
      }
      case "propose": {
        const input = proposals.get(name)
        const lessons = input?.attempts.map(({ correct, key }) => {
          const reflection = outcomes.get(name.replace(/proposal\/.*$/, `reflection/${key}`))
          const kept = reflection?.data.lesson ?? (reflection?.calls.length === 0 ? "" : undefined)
          const told = kept === undefined ? call(reflection?.calls.at(-1) ?? "") : undefined
          const read = told === undefined ? undefined : Result.getOrUndefined(replySchemas.reflect.decode(told.text))
          return { correct, lesson: kept ?? (told === undefined ? undefined : (read?.lesson ?? "")) }
        }) ?? []
        if (input !== undefined && question !== undefined && lessons.every(({ lesson }) => lesson !== undefined)) {
          const told = lessons.flatMap(({ correct, lesson }) => (lesson === undefined || lesson === "" ? [] : [{ correct, lesson }]))
          rebuild(of, first, templateHashes.propose, [proposePrompt({ question, lessons: told, principles: input.principles, tried: input.ledger })])
        }
        return checkOperations(of, said, input?.ledger ?? [])
      }
      case "consolidate":
        return checkOperations(of, said, [])
      default:
        return true
    }
  }

  /** The first request of a consolidation, whose later ones hold what was said to it. */
  const rebuildConsolidation = (of: Outcome, said: ReadonlyArray<StoredCall>) =>
    Effect.gen(function*() {
      const input = consolidations.get(of.name)
      const [first] = said
      if (input === undefined || first === undefined) return
      const operations = input.proposals.map(({ operation }) => operation)
      // No text has more tokens than bytes, and who counts them is loaded only where it has to be.
      const isShort = operations.reduce((bytes, operation) => bytes + Buffer.byteLength(JSON.stringify(operation)), 0) <= consolidationTokens
      const { tokensOf } = isShort ? { tokensOf: () => 0 } : yield* Effect.promise(() => import("#shared/model/tokens"))
      const part = withinBudget(operations, consolidationTokens, (operation) => tokensOf(JSON.stringify(operation)))[0] ?? []
      const triedMerges = (input.triedMerges ?? []).flatMap(({ ids }) => (ids === undefined ? [] : [ids]))
      rebuild(of, first, templateHashes.consolidate, [consolidatePrompt({ proposals: part, principles: input.principles, limit: input.limit, triedMerges })])
    })

  /** Replies that are gone: of users that were erased, which is no damage, and of others. Who was erased may have come back, and what was settled since then has to be there; work begun before an erasure may be settled after it. */
  const tellGone = (scope: string, gone: ReadonlyArray<{ readonly key: string; readonly role: Role; readonly time: string }>) =>
    Effect.gen(function*() {
      if (gone.length === 0) return
      const log = yield* EventLog
      const isRun = scope === `run:${run}`
      const stands = isRun || Option.isSome(yield* log.readRaw([memoryFilter({ tenant, user: scope })]).pipe(Stream.runHead))
      const erasure = isRun ? undefined : yield* lastErasure(tenant, scope)
      const until = erasure === undefined ? Number.NEGATIVE_INFINITY : Date.parse(erasure.time) + markHours * 3_600_000
      for (const { key, role, time } of gone) {
        const isMissing = stands && Date.parse(time) > until
        ;(isMissing ? missing : erased).push(`reply ${key} (${role})`)
        counted(role)[isMissing ? "missing" : "erased"] += 1
      }
    })

  const checkPart = (part: ReadonlyArray<readonly [string, ReadonlyArray<Outcome>]>, questions: ReadonlyMap<string, ReadonlyArray<Question>>) =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const wanted = new Map(part.map(([scope, own]) => [scope, new Set(own.flatMap(({ calls }) => calls))]))
      const found = new Map<string, Map<string, StoredCall>>(part.map(([scope]) => [scope, new Map()]))
      const damaged = new Set<string>()
      yield* log.readRaw(part.map(([scope]) => callsFilter(tenant, scope))).pipe(Stream.runForEachArray((messages) => Effect.sync(() => {
        for (const { payload, subject } of messages) {
          const { key, scope } = parseCallsSubject(subject)
          if (wanted.get(scope)?.has(key) !== true) continue
          const call = Option.getOrUndefined(decodeCall(new TextDecoder().decode(payload)))
          if (call?.key === key) found.get(scope)?.set(key, call)
          else damaged.add(`${scope}\n${key}`)
        }
      })))
      for (const [scope, own] of part) {
        const calls = found.get(scope)
        const gone: Array<{ readonly key: string; readonly role: Role; readonly time: string }> = []
        for (const outcome of own) {
          const { role, time } = outcome
          const said = outcome.calls.flatMap((key) => calls?.get(key) ?? [])
          counted(role).named += outcome.calls.length
          for (const key of outcome.calls) {
            if (damaged.has(`${scope}\n${key}`)) changed.push(`reply ${key} (${role}) of ${run} is not what was kept`)
            else if (calls?.has(key) !== true) gone.push({ key, role, time })
          }
          if (said.length < outcome.calls.length) continue
          if (said.some((call) => call.role !== role)) changed.push(`${outcome.name} of ${run} names a reply of another role`)
          else {
            if (role === "consolidate") yield* rebuildConsolidation(outcome, said)
            if (!check(outcome, said, (key) => calls?.get(key), questions.get(questionHashIn(outcome.key) ?? "") ?? [])) changed.push(`${outcome.name} of ${run} does not say what its reply says`)
          }
        }
        yield* tellGone(scope, gone)
      }
    })

  return {
    /** A settled job of the run; of one that was done anew the last counts. */
    add: ({ address: { key, kind, step }, settled }: RunResult, { time }: Pick<Commit, "time">): void => {
      const name = `${step}/${kind}/${key}`
      const role = roleOf[kind]
      const data = settled.status === "done" ? Option.getOrUndefined(decodeData(settled.data)) : undefined
      if (role === undefined || data === undefined) return
      const { callKey: own, calls = [], ...rest } = data
      outcomes.set(name, { name, key, role, time, calls: [...(own === undefined ? [] : [own]), ...calls], data: rest })
    },
    /** What the stage under way asks for, told each time the run has gone on. What it asked for under other rules nobody can say. */
    stage: (state: RunState): void => {
      if (state.parameters?.algorithm !== algorithmVersion) return
      if (state.phase._tag !== "Proposals" && state.phase._tag !== "Consolidation") return
      for (const job of plannedJobs(state, { tenant, run })) {
        if (job.kind === "proposal") proposals.set(`${job.step}/proposal/${job.key}`, job.input)
        else if (job.kind === "consolidation") consolidations.set(`${job.step}/consolidation/${job.key}`, job.input)
      }
    },
    /** @param state of the run at its end */
    end: (state: RunState, tell: (done: number, of: number) => void) =>
      Effect.gen(function*() {
        isOfTheseRules = state.parameters?.algorithm === algorithmVersion
        for (const [role, limit] of Object.entries(state.parameters?.tokenLimits ?? {})) named.set(role as Role, limit)
        const known = new Map([...state.questions.values()].map((question) => [questionHash(question.id), question]))
        const byScope = Map.groupBy([...outcomes.values()].filter(({ calls }) => calls.length > 0), (outcome) => scopeOf(outcome, known))
        byScope.delete(undefined)
        const users = new Set([...known.values()].map(({ user }) => user))
        // Another user may have a question of the same id; one that was given points later was asked about without them before.
        const texts = Map.groupBy(
          (users.size === 0 ? [] : yield* questionsOf(tenant, users)).filter((question) => {
            const own = known.get(questionHash(question.id))
            return own?.user === question.user && own.hash === runQuestionOf(question).hash
          }),
          ({ id }) => questionHash(id)
        )
        const total = outcomes.size
        let done = 0
        let part: Array<readonly [string, ReadonlyArray<Outcome>]> = []
        let size = 0
        const flush = Effect.gen(function*() {
          if (part.length === 0) return
          yield* checkPart(part, texts)
          done += size
          tell(done, total)
          part = []
          size = 0
        })
        for (const [scope, own] of byScope) {
          if (scope === undefined) continue
          part.push([scope, own])
          size += own.length
          if (size >= atOnce || part.length >= scopesAtOnce) yield* flush
        }
        yield* flush
        for (const [role, some] of unmet) if (counted(role).rebuilt > 0) changed.push(...some)
        return { replies, lexicalVerdicts, missing, erased, changed }
      })
  }
}
