/** LoCoMo rows: one long chat between two people in dated sessions, with questions of five categories. Every row is a user. */
import { Result, Schema } from "effect"
import type { Question } from "#shared/domain/question"
import { checkedTime, conversationName, type DatasetConversation, type DatasetRow, type GoldEvidence, monthNumber, oneLine, RowRefusal, turnTime } from "./dataset.ts"

const RawTurn = Schema.Struct({
  speaker: Schema.NonEmptyString,
  dia_id: Schema.NonEmptyString,
  text: Schema.optionalKey(Schema.NullOr(Schema.String)),
  blip_caption: Schema.optionalKey(Schema.NullOr(Schema.String))
})
const RawRow = Schema.Struct({
  sample_id: Schema.NonEmptyString,
  conversation: Schema.Record(Schema.String, Schema.Unknown),
  qa: Schema.Array(
    Schema.Struct({
      question: Schema.NonEmptyString,
      answer: Schema.optionalKey(Schema.NullOr(Schema.Union([Schema.String, Schema.Finite]))),
      evidence: Schema.optionalKey(Schema.Array(Schema.String)),
      category: Schema.Finite
    })
  )
})
const decodeRow = Schema.decodeUnknownResult(RawRow)
const decodeSession = Schema.decodeUnknownResult(Schema.Array(RawTurn))

const categories: Record<number, string> = { 1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop" }

/** Questions with a known wrong answer or citation, told by their text and answer as written in the file. */
export type LabelErrors = ReadonlySet<string>
const labelErrorKey = (question: string, answer: string): string => `${question.trim()}\n${answer.trim()}`

const RawLabelErrors = Schema.Array(Schema.Struct({ question: Schema.String, golden_answer: Schema.Unknown }))
export const decodeLabelErrors = (raw: unknown): Result.Result<LabelErrors, string> =>
  Result.match(Schema.decodeUnknownResult(RawLabelErrors)(raw), {
    onFailure: (failure) => Result.fail(oneLine(failure.message)),
    onSuccess: (rows) => Result.succeed(new Set(rows.map((row) => labelErrorKey(row.question, String(row.golden_answer)))))
  })

const invalid = (message: string) => Result.fail(new RowRefusal({ reason: "RowInvalid", message }))

/** "1:56 pm on 8 May, 2023" as UTC. */
const parseTime = (text: string): number | undefined => {
  const found = /^(\d{1,2}):(\d{2})\s*([ap]m)\s+on\s+(\d{1,2})\s+(\w+),?\s+(\d{4})$/i.exec(text.trim())
  if (found === null) return undefined
  const [, hour = "", minute = "", half = "", day = "", month = "", year = ""] = found
  return checkedTime(Number(year), monthNumber(month), Number(day), (Number(hour) % 12) + (half.toLowerCase() === "pm" ? 12 : 0), Number(minute))
}

/** A turn's text, with the caption of a shared picture, since the picture itself is not there. */
const spokenText = (turn: typeof RawTurn.Type): string =>
  [turn.text?.trim() ?? "", turn.blip_caption ? `[image: ${turn.blip_caption.trim()}]` : ""].filter((part) => part !== "").join(" ")

/** Turn references in a citation, also where several stand in one string or zeros lead. */
const references = (citations: ReadonlyArray<string>): ReadonlyArray<string> =>
  citations.flatMap((citation) => [...citation.matchAll(/D?:?(\d+):(\d+)/g)].map(([, session, turn]) => `D${Number(session)}:${Number(turn)}`))

export const readConversation = (raw: unknown, hash: string, labelErrors: LabelErrors): Result.Result<DatasetRow, RowRefusal> => {
  const decoded = decodeRow(raw)
  if (Result.isFailure(decoded)) return invalid(oneLine(decoded.failure.message))
  const row = decoded.success
  const user = `${hash}-${row.sample_id}`
  const dated: Array<{ readonly number: number; readonly time: number; readonly turns: ReadonlyArray<typeof RawTurn.Type> }> = []
  for (const [name, value] of Object.entries(row.conversation)) {
    const number = /^session_(\d+)$/.exec(name)?.[1]
    if (number === undefined) continue
    const session = decodeSession(value)
    if (Result.isFailure(session)) return invalid(`${row.sample_id} ${name}: ${oneLine(session.failure.message)}`)
    if (session.success.length === 0) continue
    const when = row.conversation[`${name}_date_time`]
    const time = typeof when === "string" ? parseTime(when) : undefined
    if (time === undefined) return invalid(`${row.sample_id} ${name}_date_time is no time of the form "1:56 pm on 8 May, 2023"`)
    dated.push({ number: Number(number), time, turns: session.success })
  }
  dated.sort((a, b) => a.time - b.time || a.number - b.number)
  const places = new Map<string, { readonly clientId: string; readonly conversation: string }>()
  const conversations = dated.map((session, at): DatasetConversation => {
    const conversation = conversationName(at + 1)
    const turns = session.turns.map((turn, n) => {
      const clientId = `${conversation}:${n + 1}`
      places.set(turn.dia_id, { clientId, conversation })
      return { clientId, speaker: turn.speaker, text: spokenText(turn), time: turnTime(session.time, n) }
    })
    return { conversation, turns: turns.filter(({ text }) => text !== "") }
  })

  const questions: Array<Question> = []
  const gold: Array<readonly [string, GoldEvidence]> = []
  for (const [at, qa] of row.qa.entries()) {
    // Adversarial questions (category 5) have no answer of their own and are left out of figures by custom.
    const type = categories[qa.category]
    if (type === undefined) continue
    const answer = String(qa.answer ?? "").trim()
    if (answer === "") return Result.fail(new RowRefusal({ reason: "AnswerMissing", message: `${row.sample_id} question ${at + 1} ("${qa.question}") has no answer; add one or take it out` }))
    const id = `${row.sample_id}-q${at + 1}`
    questions.push({ id, text: qa.question, type, answer, abstention: false, user, cluster: user })
    const cited = [...new Set(references(qa.evidence ?? []))].flatMap((reference) => places.get(reference) ?? [])
    gold.push([id, {
      turns: cited.map(({ clientId }) => clientId),
      conversations: [...new Set(cited.map(({ conversation }) => conversation))],
      mislabelled: labelErrors.has(labelErrorKey(qa.question, answer))
    }])
  }
  return Result.succeed({ user: { user, conversations }, questions, gold })
}
