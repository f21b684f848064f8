/** What a run refers to and does not hold: the calls and the users its results name, and the texts and questions that stand under those users. */
import { Effect, Result, Stream } from "effect"
import type { Question } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, parseMemorySubject } from "#shared/eventlog/subjects"
import { questionCodec } from "#shared/metamemory/questions"
import { CallStore } from "#shared/model/call-store"
import type { RunResult, RunState } from "./runs.ts"

/** Keys of the calls that results refer to. */
export const callKeysOf = (results: ReadonlyArray<RunResult>): ReadonlySet<string> =>
  new Set(results.flatMap(keysOf))

const keysOf = ({ settled }: RunResult): ReadonlyArray<string> => {
  const { callKey, calls } = (settled.data ?? {}) as { readonly callKey?: unknown; readonly calls?: unknown }
  return [callKey, ...(Array.isArray(calls) ? calls : [])].filter((key) => typeof key === "string")
}

const usersIn = ({ settled }: RunResult): ReadonlyArray<string> => {
  const { user } = (settled.data ?? {}) as { readonly user?: unknown }
  return typeof user === "string" ? [user] : []
}

/** Users whose texts a run refers to. An imported one has no questions, and its results name them. */
export const usersOfRun = (state: RunState, results: ReadonlyArray<RunResult>): ReadonlySet<string> =>
  new Set([...[...state.questions.values()].map(({ user }) => user), ...results.flatMap(usersIn)])

/** Keys of the calls and users that a run refers to, gathered from results as they pass. */
export const makeReferred = (state: RunState) => {
  const keys = new Set<string>()
  const users = new Set(usersOfRun(state, []))
  return {
    add: (result: RunResult): void => {
      for (const key of keysOf(result)) keys.add(key)
      for (const user of usersIn(result)) users.add(user)
    },
    keys,
    users
  }
}

/** Texts of kept replies by key, of the users given. */
export const repliesOf = (tenant: string, scopes: Iterable<string>, keys: ReadonlySet<string>) =>
  Effect.gen(function*() {
    const store = yield* CallStore
    const replies = new Map<string, string>()
    yield* store.each(tenant, scopes, ({ key, text }) => {
      if (keys.has(key)) replies.set(key, text)
    })
    return replies
  })

/** Where questions stand, of all users of a tenant. */
export const questionsFilter = (tenant: string): string => memoryFilter({ tenant, conversation: "questions", actor: "evaluator" })

/** All questions registered under a tenant for these users; undefined = for any. Fails on a question that cannot be read. */
export const questionsOf = (tenant: string, users: ReadonlySet<string> | undefined) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const questions: Array<Question> = []
    yield* log.read([questionsFilter(tenant)]).pipe(Stream.runForEach((commit) =>
      Effect.gen(function*() {
        if (users !== undefined && !users.has(parseMemorySubject(commit.subject).user)) return
        for (const stored of commit.events) {
          const event = questionCodec.decode(stored)
          if (Result.isFailure(event)) return yield* event.failure
          const { _tag, ...question } = event.success
          questions.push(question)
        }
      })))
    return questions
  })
