/**
 * What people said of live answers, as evolution may use it: folded from one user's answers in the memory log, so that whatever was
 * erased there is gone here. Nobody's feedback weighs more than a tenth, however much of it there is.
 */
import { Result } from "effect"
import type { GenerationRef } from "#shared/domain/evidence"
import type { Question } from "#shared/domain/question"
import { type Commit, isErasureMark } from "#shared/eventlog/envelope"
import type { UnreadableEvent } from "#shared/eventlog/event"
import { isAbstention } from "#shared/metamemory/lexical"
import { digest, shuffled } from "#shared/metamemory/random"
import { type AnswerGiven, retrieverCodec } from "#services/retriever/protocol"

/** The last word on one answer. */
export interface Feedback {
  readonly answer: string
  readonly user: string
  /** Conversation of the best memory the answer was given from; of the answers themselves where there is none. Unique within the user. */
  readonly conversation: string
  readonly correct: boolean
  /** What guided the answer. */
  readonly generation: GenerationRef
  /** False of an answer that no reader gave (none could be asked, or there was no evidence): it says nothing of what guides readers. */
  readonly isRead: boolean
  /** Sequence of the feedback in the memory log. */
  readonly sequence: number
  /** The question with what is known of its right answer; absent where only that the answer was wrong is known. */
  readonly question?: Question
}

/** Feedback before it is known in which conversation its best memory stands. */
export interface Received extends Omit<Feedback, "conversation"> {
  readonly best: string | undefined
}

/** Longest right answer that is taken as a reference, in characters; what is longer is a story and not an answer. */
const referenceLength = 2_000

const questionOf = (user: string, sequence: number, given: AnswerGiven, correct: boolean, comment: string): Question | undefined => {
  const answer = (correct ? given.text : comment).trim()
  if (given.model === "" || given.question.trim() === "" || answer === "" || answer.length > referenceLength) return undefined
  return {
    // A correction that changes makes another question: one that is registered never does.
    id: `live-${given.answer}-${digest(answer).slice(0, 8)}`,
    text: given.question,
    type: "live",
    answer,
    date: given.askedAt,
    abstention: isAbstention(answer),
    user,
    cluster: user,
    asOf: sequence
  }
}

/** The feedback that stands in one user's answers, in the order of the log. @param commits of the whole subject */
export const receivedFrom = (user: string, commits: ReadonlyArray<Commit>): Result.Result<ReadonlyArray<Received>, UnreadableEvent> => {
  const answers = new Map<string, { readonly given: AnswerGiven; readonly sequence: number }>()
  const last = new Map<string, Received>()
  for (const commit of commits) {
    if (isErasureMark(commit)) {
      answers.clear()
      last.clear()
    }
    for (const stored of commit.events) {
      const event = retrieverCodec.decode(stored)
      if (Result.isFailure(event)) return Result.fail(event.failure)
      if (event.success._tag === "AnswerGiven") {
        answers.set(event.success.answer, { given: event.success, sequence: commit.sequence })
        continue
      }
      const { answer, comment, verdict } = event.success
      const found = answers.get(answer)
      if (found === undefined) continue
      const { given, sequence } = found
      const question = questionOf(user, sequence, given, verdict === "correct", comment)
      const [first, ...more] = given.evidence
      last.delete(answer)
      last.set(answer, {
        answer,
        user,
        best: first === undefined ? undefined : more.reduce((best, one) => (one.score > best.score ? one : best), first).memory,
        correct: verdict === "correct",
        generation: given.generation,
        isRead: given.model !== "",
        sequence: commit.sequence,
        ...(question === undefined ? {} : { question })
      })
    }
  }
  return Result.succeed([...last.values()])
}

/** Most of the weight that one user's feedback may have. It takes ten users before anything can be decided. */
const largestShare = 0.1
/** Fewest users among whom nobody has more than {@link largestShare}. */
export const fewestUsers = Math.ceil(1 / largestShare)
/** Fewest distinct conversations that a batch comes from. */
export const fewestConversations = 30

/**
 * The most that any user may count, so that nobody has more than a tenth of what then counts; Infinity when nobody needs cutting, 0
 * when there are fewer than ten users.
 *
 * @param counts of each user, above 0
 */
export const capOf = (counts: ReadonlyArray<number>): number => {
  if (counts.length < fewestUsers) return 0
  const ordered = counts.toSorted((a, b) => b - a)
  let rest = ordered.reduce((sum, count) => sum + count, 0)
  // With the k largest cut to c, c is a tenth of k × c + the rest; the first k whose c leaves the others whole is the answer.
  for (let cut = 0; cut < fewestUsers; cut++) {
    const cap = rest / (fewestUsers - cut)
    if (cap >= (ordered[cut] ?? 0)) return cut === 0 ? Number.POSITIVE_INFINITY : cap
    rest -= ordered[cut] ?? 0
  }
  return 0
}

/** The first that came from everybody, as many as a tenth of `count`: so many items are not used up by one who says much. */
export const firstOfEach = <A extends Pick<Feedback, "user">>(items: ReadonlyArray<A>, count: number): ReadonlyArray<A> => {
  const counts = new Map<string, number>()
  return items.filter(({ user }) => {
    const own = (counts.get(user) ?? 0) + 1
    counts.set(user, own)
    return own <= Math.ceil(count * largestShare)
  })
}

const countsOf = (users: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const user of users) counts.set(user, (counts.get(user) ?? 0) + 1)
  return counts
}

/** Weight of each item, at most 1, so that no user has more than a tenth; undefined with fewer than ten users. @param users of the items, in order */
export const weightsOf = (users: ReadonlyArray<string>): ReadonlyArray<number> | undefined => {
  const counts = countsOf(users)
  const cap = capOf([...counts.values()])
  return cap === 0 ? undefined : users.map((user) => Math.min(1, cap / (counts.get(user) ?? 1)))
}

export const conversationsOf = (items: ReadonlyArray<Pick<Feedback, "user" | "conversation">>): number =>
  new Set(items.map(({ conversation, user }) => JSON.stringify([user, conversation]))).size
export const usersIn = (items: ReadonlyArray<Pick<Feedback, "user">>): number => new Set(items.map(({ user }) => user)).size

type Usable = Feedback & { readonly question: Question }
export const isUsable = (feedback: Feedback): feedback is Usable => feedback.question !== undefined

/** The questions of one run, and whether errors kept it from deciding anything on them. */
export interface RunTook {
  readonly ids: ReadonlySet<string>
  readonly isVoid: boolean
}

/** What is used up: what a run decided on, and what two runs could not. */
export const usedUp = (runs: ReadonlyArray<RunTook>): ReadonlyArray<ReadonlySet<string>> => {
  const tried = new Set<string>()
  const twice = new Set<string>()
  for (const { ids } of runs.filter(({ isVoid }) => isVoid)) for (const id of ids) (tried.has(id) ? twice : tried).add(id)
  return [...runs.filter(({ isVoid }) => !isVoid).map(({ ids }) => ids), twice]
}

/**
 * What a batch may be made of: what no run took, also where a run could have and left it out.
 *
 * @param closed sequence up to which nothing is offered any more
 * @param taken  ids of the questions that are used up since
 */
export const offered = (feedback: ReadonlyArray<Feedback>, closed: number, taken: ReadonlyArray<ReadonlySet<string>>): ReadonlyArray<Usable> =>
  feedback.filter(isUsable).filter(({ question, sequence }) => sequence > closed && !taken.some((ids) => ids.has(question.id)))

/** Most questions of a batch, the newest first: what a run of the published size can ask. */
const batchMax = 600

/** A batch as the questions of a run, or what it lacks. */
export type Batch =
  | { readonly _tag: "Ready"; readonly train: ReadonlyArray<Question>; readonly validation: ReadonlyArray<Question>; readonly guard: ReadonlyArray<Question>; readonly conversations: number; readonly users: number }
  | { readonly _tag: "Short"; readonly conversations: number; readonly users: number; readonly lacks: string }

/**
 * Questions of a batch in three parts of about the same size. A conversation stands in one part only; those of one user go round the parts, and
 * in each part everybody is cut to a tenth. Short of 30 conversations, or of ten users in a part, it is no batch.
 */
export const batchOf = (fresh: ReadonlyArray<Feedback>, seed: string): Batch => {
  const usable = fresh.filter(isUsable).toSorted((a, b) => b.sequence - a.sequence).slice(0, batchMax)
  const byUser = Map.groupBy(usable, ({ user }) => user)
  const dealt: ReadonlyArray<ReadonlyArray<Usable>> = shuffled([...byUser.keys()].sort(), "online users", seed).flatMap((user) => {
    const conversations = Map.groupBy(byUser.get(user) ?? [], ({ conversation }) => conversation)
    return shuffled([...conversations.keys()].sort(), "online conversations", seed, user).map((conversation) => conversations.get(conversation) ?? [])
  })
  const parts = [0, 1, 2].map((part) => {
    const own = dealt.filter((_, at) => at % 3 === part).flat()
    const cap = Math.floor(Math.min(own.length, capOf([...countsOf(own.map(({ user }) => user)).values()])))
    return [...Map.groupBy(own, ({ user }) => user).values()].flatMap((items) => items.slice(0, cap))
  })
  const kept = parts.flat()
  const conversations = conversationsOf(usable)
  const users = byUser.size
  const lacks = [
    ...(conversations < fewestConversations ? [`feedback with a right answer from ${conversations} of ${fewestConversations} distinct conversations`] : []),
    ...(users < fewestUsers ? [`feedback of ${users} of ${fewestUsers} users, since nobody's may be more than a tenth`] : [])
  ]
  if (lacks.length > 0) return { _tag: "Short", conversations, users, lacks: lacks.join("; ") }
  if (parts.some((part) => part.length === 0) || conversationsOf(kept) < fewestConversations) {
    return { _tag: "Short", conversations, users, lacks: `of ${conversations} conversations ${conversationsOf(kept)} are left when nobody has more than a tenth of training, validation and guard; ${fewestConversations} are needed` }
  }
  const [train = [], validation = [], guard = []] = parts.map((part) => part.map(({ question }) => question))
  return { _tag: "Ready", train, validation, guard, conversations: conversationsOf(kept), users: usersIn(kept) }
}
