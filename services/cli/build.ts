/** `metamem build`: a data set's conversations become memories, its questions are registered, and nothing is done before all of it is searchable. */
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { readDataset } from "#shared/datasets/read-dataset"
import type { Dataset } from "#shared/datasets/dataset"
import type { Question } from "#shared/domain/question"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { formatPosition } from "#shared/eventlog/position"
import { type ConversationAddress, memoryFilter, memorySubject, requestSubject } from "#shared/eventlog/subjects"
import { withActors } from "./home.ts"
import { sendTurns } from "./ingest.ts"
import { CommandFailed, emit, progressLine, root, say } from "./root.ts"
import { some } from "./shown.ts"

export const dataFlag = Flag.String("data").pipe(Flag.withDescription("Data set: LongMemEval, LoCoMo or BEAM, as .json or .jsonl, gzipped or not"))

/** Refused where it leaves no question, before any work is done. */
export const limitFlag = Flag.Int("limit").pipe(
  Flag.withDescription("Only the first N questions"),
  Flag.mapTryCatch(
    (limit) => {
      if (limit < 1) throw new Error("a whole number from 1 on")
      return limit
    },
    (error) => (error as Error).message
  ),
  Flag.optional
)

export interface BuildResult {
  readonly questions: number
  readonly turns: number
  readonly memories: number
  readonly seconds: number
  readonly failed: ReadonlyArray<{ readonly user: string; readonly conversation: string; readonly error: string }>
}

const requestSize = 500

/** The first `limit` questions with their users; everything when there is no limit. */
export const limited = (dataset: Dataset, limit: number | undefined): Dataset => {
  if (limit === undefined) return dataset
  const questions = dataset.questions.slice(0, limit)
  const users = new Set(questions.map(({ user }) => user))
  return { ...dataset, questions, users: dataset.users.filter(({ user }) => users.has(user)) }
}

export const registerQuestions = (tenant: string, questions: Dataset["questions"]) =>
  Effect.gen(function*() {
    for (let from = 0; from < questions.length; from += requestSize) {
      yield* request(requestSubject("evaluator", "register"), { tenant, questions: questions.slice(from, from + requestSize) }, 60_000)
    }
  })

/** Conversations looked at in one pass, and in how many passes every one is at most: asking for each in each would keep a core busy. */
const pass = { conversationsMin: 64, passesMax: 32, everyMs: 400 }

/**
 * Waits until the water marks of compressor and embedder cover what the ingestor last recorded in each conversation, and the
 * retriever's index has folded all of it. Fails when nothing moves for `stuckSeconds`.
 */
export const waitUntilSearchable = (conversations: ReadonlyArray<ConversationAddress>, onProgress: (done: number) => void, stuckSeconds = 300) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    let through = 0
    const isDone = Effect.fnUntraced(function*(of: ConversationAddress) {
      const received = yield* log.last(memorySubject(of, "ingestor"))
      const compressed = yield* log.last(memorySubject(of, "compressor"))
      if ((compressed?.inputThrough ?? 0) < (received?.sequence ?? 0)) return false
      const embedded = yield* log.last(memorySubject(of, "embedder"))
      // The compressor's last commit may be a mere water mark of a later wake-up; its facts are what must have vectors.
      if ((embedded?.inputThrough ?? 0) < Math.max(received?.sequence ?? 0, compressed?.sequence ?? 0)) return false
      through = Math.max(through, embedded?.sequence ?? 0)
      return true
    })
    let pending = conversations
    let waitedMs = 0
    while (pending.length > 0) {
      const looked = pending.slice(0, Math.max(pass.conversationsMin, Math.ceil(pending.length / pass.passesMax)))
      const done = yield* Effect.forEach(looked, isDone, { concurrency: 32 })
      const left = looked.filter((_, at) => done[at] !== true)
      // What is not there yet waits behind those that were not asked for.
      pending = [...pending.slice(looked.length), ...left]
      onProgress(conversations.length - pending.length)
      waitedMs = left.length < looked.length ? 0 : waitedMs + pass.everyMs
      if (left.length < looked.length / 2) continue
      if (waitedMs > stuckSeconds * 1_000) {
        const [of] = pending
        return yield* new CommandFailed({ message: `${some(pending.length, "conversation")} did not become searchable, e.g. ${of?.conversation} of ${of?.user}; look at \`metamem dead list\` and \`metamem doctor\`` })
      }
      yield* Effect.sleep(pass.everyMs)
    }
    yield* request(requestSubject("retriever", "await"), { position: formatPosition({ log: "memory", sequence: through }), deadlineMs: 120_000 }, 125_000)
    return formatPosition({ log: "memory", sequence: through })
  })

export const buildMemory = (dataset: Dataset) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const started = performance.now()
    const progress = progressLine()
    const log = yield* EventLog
    const failed: Array<BuildResult["failed"][number]> = []
    const conversations: Array<ConversationAddress> = []
    let turns = 0
    const total = dataset.users.reduce((sum, { conversations }) => sum + conversations.reduce((own, { turns }) => own + turns.length, 0), 0)
    yield* registerQuestions(tenant, dataset.questions)
    yield* Effect.forEach(
      dataset.users.flatMap(({ conversations, user }) => conversations.map((conversation) => ({ user, ...conversation }))),
      ({ conversation, turns: all, user }) =>
        Effect.gen(function*() {
          for (let from = 0; from < all.length; from += requestSize) {
            const chunk = all.slice(from, from + requestSize)
            const reply = yield* sendTurns({
              tenant,
              user,
              conversation,
              turns: chunk.map(({ clientId, speaker, text, time }) => ({ id: clientId, speaker, text, time })),
              close: from + requestSize >= all.length
            })
            for (const turn of reply.turns) {
              if (turn.status === "rejected") failed.push({ user, conversation, error: turn.error ?? "refused" })
              else turns += 1
            }
          }
          conversations.push({ tenant, user, conversation })
          progress.update(`${turns} of ${some(total, "turn")} received`)
        }),
      { concurrency: 8, discard: true }
    )
    yield* waitUntilSearchable(conversations, (done) => progress.update(`${done} of ${some(conversations.length, "conversation")} searchable`))
    let memories = turns
    yield* Effect.forEach(
      conversations,
      (of) =>
        Effect.gen(function*() {
          const givenUp = new Map<string, string>()
          for (const commit of yield* log.load(memorySubject(of, "compressor"))) {
            for (const event of commit.events) {
              const { error = "", memories: found = [], segments = [] } = event.data as { readonly error?: string; readonly memories?: ReadonlyArray<unknown>; readonly segments?: ReadonlyArray<string> }
              if (event.type === "MemoriesRecorded") {
                memories += found.length
                for (const segment of segments) givenUp.delete(segment)
              }
              if (event.type === "ExtractionFailed") for (const segment of segments) givenUp.set(segment, error)
            }
          }
          for (const error of givenUp.values()) failed.push({ user: of.user, conversation: of.conversation, error })
        }),
      { concurrency: 16, discard: true }
    )
    progress.end()
    return { questions: dataset.questions.length, turns, memories, seconds: Math.round((performance.now() - started) / 100) / 10, failed } satisfies BuildResult
  })

/** Whom questions are about of whom nothing is remembered, and whose conversations do not come with them either. */
export const unremembered = (tenant: string, { questions, users }: Pick<Dataset, "users"> & { readonly questions: ReadonlyArray<Pick<Question, "user">> }) =>
  Effect.flatMap(EventLog, (log) => {
    const coming = new Set(users.flatMap(({ conversations, user }) => (conversations.length > 0 ? [user] : [])))
    const asked = [...new Set(questions.map(({ user }) => user))].filter((user) => !coming.has(user))
    return Effect.filter(asked, (user) => Effect.map(log.last(memoryFilter({ tenant, user, actor: "ingestor" })), (commit) => commit === undefined), { concurrency: 32 })
  })

/** Makes sure that the data set's conversations are remembered and its questions known; what is there already is not sent again. */
export const ensureBuilt = (dataset: Dataset) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const log = yield* EventLog
    const nothing = yield* unremembered(tenant, dataset)
    if (nothing.length > 0) yield* say(`nothing is remembered of ${some(nothing.length, "user")} asked about, e.g. ${nothing[0]}: \`metamem build --data FILE\` on the file with their conversations comes first`)
    const missing = yield* Effect.filter(
      dataset.users,
      ({ conversations, user }) =>
        Effect.gen(function*() {
          for (const { conversation } of conversations) {
            if ((yield* log.last(memorySubject({ tenant, user, conversation }, "embedder"))) === undefined) return true
          }
          return false
        }),
      { concurrency: 32 }
    )
    if (missing.length === 0) return yield* registerQuestions(tenant, dataset.questions)
    yield* say(`remembering the conversations of ${some(missing.length, "user")} first`)
    const built = yield* buildMemory({ ...dataset, users: missing })
    if (built.failed.length > 0) return yield* new CommandFailed({ message: `${some(built.failed.length, "conversation")} could not be remembered, e.g. ${built.failed[0]?.error}` })
  })

export const build = Command.make(
  "build",
  {
    data: dataFlag,
    limit: limitFlag
  },
  ({ data, limit }) =>
    Effect.gen(function*() {
      const dataset = limited(yield* readDataset(data), Option.getOrUndefined(limit))
      const result = yield* buildMemory(dataset).pipe(withActors(["ingestor", "compressor", "embedder", "retriever", "evaluator"]))
      yield* emit(result, ({ failed, memories, questions, seconds, turns }) =>
        `${some(turns, "turn")} and ${some(memories - turns, "fact")} of ${some(questions, "question")} are searchable, in ${seconds} s${failed.length === 0 ? "" : `; ${failed.length} failed, e.g. ${failed[0]?.error}`}`)
      if (result.failed.length > 0) return yield* new CommandFailed({ message: `${some(result.failed.length, "piece")} failed; the rest is searchable` })
    })
).pipe(Command.withDescription("Remember a data set's conversations and register its questions"))

