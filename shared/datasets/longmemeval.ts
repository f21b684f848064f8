/** LongMemEval rows: one question with its own haystack of dated sessions. Every row is a user of its own. */
import { createHash } from "node:crypto"
import { Result, Schema } from "effect"
import { checkedTime, conversationName, type DatasetConversation, type DatasetRow, oneLine, RowRefusal, turnTime } from "./dataset.ts"

const RawTurn = Schema.Struct({
  role: Schema.NonEmptyString,
  content: Schema.String,
  has_answer: Schema.optionalKey(Schema.NullOr(Schema.Boolean))
})

const shared = {
  question_id: Schema.NonEmptyString,
  question_type: Schema.optionalKey(Schema.String),
  question: Schema.NonEmptyString,
  answer: Schema.optionalKey(Schema.NullOr(Schema.Union([Schema.String, Schema.Finite]))),
  question_date: Schema.optionalKey(Schema.String),
  answer_session_ids: Schema.optionalKey(Schema.Array(Schema.String)),
  haystack_dates: Schema.Array(Schema.String),
  haystack_session_ids: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Written by `metamem split`: whose memory is asked, whatever file the question stands in; its conversations are remembered already. */
  metamem_user: Schema.optionalKey(Schema.NonEmptyString),
  metamem_cluster: Schema.optionalKey(Schema.NonEmptyString),
  metamem_bonds: Schema.optionalKey(Schema.Array(Schema.NonEmptyString)),
  metamem_abstention: Schema.optionalKey(Schema.Boolean),
  metamem_points: Schema.optionalKey(Schema.NonEmptyArray(Schema.NonEmptyString)),
  /** Says it where the id does not end in `_abs`. */
  abstention: Schema.optionalKey(Schema.NullOr(Schema.Boolean))
}
const RawQuestion = Schema.Struct({ ...shared, haystack_sessions: Schema.Array(Schema.Array(RawTurn)) })
const RawReference = Schema.Struct({ ...shared, haystack_session_refs: Schema.Array(Schema.String) })
const RawSession = Schema.Struct({ kind: Schema.Literal("session"), ref: Schema.NonEmptyString, turns: Schema.Array(RawTurn) })

type Session = ReadonlyArray<typeof RawTurn.Type>

const decodeSession = Schema.decodeUnknownResult(RawSession)
const decodeQuestion = Schema.decodeUnknownResult(RawQuestion)
const decodeReference = Schema.decodeUnknownResult(RawReference)

/** Sessions by reference of the form that stores each session once; question rows after them look theirs up. */
export type Sessions = Map<string, Session>

const digestOf = (ids: ReadonlyArray<string>): string => createHash("sha256").update(ids.join("\n")).digest("hex").slice(0, 12)

const invalid = (message: string) => Result.fail(new RowRefusal({ reason: "RowInvalid", message }))

/** "2023/05/30 (Tue) 23:40" or without weekday or hour, taken as UTC. */
const parseDate = (text: string): number | undefined => {
  const found = /^(\d{4})[/-](\d{1,2})[/-](\d{1,2})(?:\s*\(\w+\))?(?:[ T](\d{1,2}):(\d{2}))?/.exec(text.trim())
  if (found === null) return undefined
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0] = found.slice(1).map((part) => (part === undefined ? 0 : Number(part)))
  return checkedTime(year, month - 1, day, hour, minute)
}

/** Adds a session row to `sessions`. */
export const readSession = (raw: unknown, sessions: Sessions): Result.Result<void, RowRefusal> => {
  const row = decodeSession(raw)
  if (Result.isFailure(row)) return invalid(oneLine(row.failure.message))
  sessions.set(row.success.ref, row.success.turns)
  return Result.succeed(undefined)
}

interface Haystack {
  readonly row: Omit<typeof RawReference.Type, "haystack_session_refs">
  readonly sessions: ReadonlyArray<Session>
}

const haystack = (raw: unknown, sessions: Sessions): Result.Result<Haystack, RowRefusal> => {
  if (typeof raw === "object" && raw !== null && "haystack_session_refs" in raw) {
    const row = decodeReference(raw)
    if (Result.isFailure(row)) return invalid(oneLine(row.failure.message))
    const found: Array<Session> = []
    for (const ref of row.success.haystack_session_refs) {
      const session = sessions.get(ref)
      if (session === undefined) return invalid(`session ${ref} stands in no \`kind: "session"\` line above; keep those lines first`)
      found.push(session)
    }
    return Result.succeed({ row: row.success, sessions: found })
  }
  const row = decodeQuestion(raw)
  if (Result.isFailure(row)) return invalid(oneLine(row.failure.message))
  return Result.succeed({ row: row.success, sessions: row.success.haystack_sessions })
}

/** One question row. Sessions are put in the order of their dates and told apart by place, because dates are unsorted and ids repeat. */
export const readQuestion = (raw: unknown, hash: string, known: Sessions): Result.Result<DatasetRow, RowRefusal> => {
  const read = haystack(raw, known)
  if (Result.isFailure(read)) return Result.fail(read.failure)
  const { row, sessions } = read.success
  const answer = String(row.answer ?? "").trim()
  if (answer === "") return Result.fail(new RowRefusal({ reason: "AnswerMissing", message: `question ${row.question_id} has no answer; add one or take the row out` }))
  if (row.haystack_dates.length !== sessions.length) {
    return invalid(`question ${row.question_id} has ${sessions.length} sessions but ${row.haystack_dates.length} haystack_dates; they are parallel lists`)
  }
  const asked = row.question_date === undefined ? undefined : parseDate(row.question_date)
  if (row.question_date !== undefined && asked === undefined) return invalid(`question_date "${row.question_date}" is no date of the form 2023/05/30 (Tue) 23:40`)
  const dated: Array<{ readonly place: number; readonly time: number; readonly session: Session }> = []
  for (const [place, session] of sessions.entries()) {
    const time = parseDate(row.haystack_dates[place] ?? "")
    if (time === undefined) return invalid(`haystack date "${row.haystack_dates[place]}" is no date of the form 2023/05/30 (Tue) 23:40`)
    dated.push({ place, time, session })
  }
  dated.sort((a, b) => a.time - b.time || a.place - b.place)

  const user = row.metamem_user ?? `${hash}-${row.question_id}`
  const answering = new Set(row.answer_session_ids ?? [])
  const goldTurns: Array<string> = []
  const goldConversations: Array<string> = []
  const conversations = dated.map(({ place, session, time }, at): DatasetConversation => {
    const conversation = conversationName(at + 1)
    if (answering.has(row.haystack_session_ids?.[place] ?? "")) goldConversations.push(conversation)
    const turns = session.map((turn, n) => ({ clientId: `${conversation}:${n + 1}`, speaker: turn.role, text: turn.content, time: turnTime(time, n), gold: turn.has_answer === true }))
    const spoken = turns.filter(({ text }) => text.trim() !== "")
    for (const turn of spoken) if (turn.gold) goldTurns.push(turn.clientId)
    return { conversation, turns: spoken.map(({ clientId, speaker, text, time }) => ({ clientId, speaker, text, time })) }
  })
  const abstention = row.metamem_abstention ?? row.abstention ?? row.question_id.endsWith("_abs")
  const bonds = row.metamem_bonds ?? [...answering].sort().map((session) => digestOf([session]))
  return Result.succeed({
    user: { user, conversations },
    questions: [{
      id: row.question_id,
      text: row.question,
      type: row.question_type ?? "unlabelled",
      answer,
      ...(asked === undefined ? {} : { date: new Date(asked).toISOString() }),
      ...(row.metamem_points === undefined ? {} : { points: row.metamem_points }),
      abstention,
      user,
      // Questions with the same evidence sessions share their luck; a digest says which they are and nothing of where.
      cluster: row.metamem_cluster ?? (answering.size === 0 ? row.question_id : digestOf([...answering].sort()))
    }],
    gold: [[row.question_id, { turns: abstention ? [] : goldTurns, conversations: abstention ? [] : goldConversations, mislabelled: false }]],
    ...(bonds.length === 0 ? {} : { bonds: [[row.question_id, bonds] as const] })
  })
}
