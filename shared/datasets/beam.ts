/** BEAM rows: one long chat with an assistant in dated batches, with probing questions of ten kinds. Every row is a user. */
import { Result, Schema } from "effect"
import type { Question } from "#shared/domain/question"
import { checkedTime, conversationName, type DatasetConversation, type DatasetRow, type DatasetTurn, type GoldEvidence, monthNumber, oneLine, RowRefusal, turnTime } from "./dataset.ts"

const RawTurn = Schema.Struct({
  role: Schema.NonEmptyString,
  id: Schema.Int,
  content: Schema.String,
  time_anchor: Schema.optionalKey(Schema.NullOr(Schema.String))
})
const Answer = Schema.optionalKey(Schema.NullOr(Schema.Union([Schema.String, Schema.Finite])))
const RawProbe = Schema.Struct({
  question: Schema.NonEmptyString,
  answer: Answer,
  ideal_response: Answer,
  ideal_answer: Answer,
  ideal_summary: Answer,
  expected_compliance: Answer,
  rubric: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.String))),
  source_chat_ids: Schema.optionalKey(Schema.Unknown)
})
const RawRow = Schema.Struct({
  chat_id: Schema.Union([Schema.NonEmptyString, Schema.Int]),
  batches: Schema.Array(Schema.Struct({ time_anchor: Schema.optionalKey(Schema.NullOr(Schema.String)), turns: Schema.Array(Schema.Array(RawTurn)) })),
  probing_questions: Schema.Record(Schema.String, Schema.Array(RawProbe))
})
const decodeRow = Schema.decodeUnknownResult(RawRow)
const invalid = (message: string) => Result.fail(new RowRefusal({ reason: "RowInvalid", message }))

/** "March-15-2024" as UTC midnight. */
const parseAnchor = (text: string): number | undefined => {
  const found = /^([A-Za-z]+)-(\d{1,2})-(\d{4})$/.exec(text.trim())
  return found === null ? undefined : checkedTime(Number(found[3]), monthNumber(found[1] ?? ""), Number(found[2]))
}

/** Without the index of the plan that wrote the message: it tells which messages belong together. */
const spokenText = (content: string): string => content.replace(/\s*->->[\s\d,.]*$/, "").trim()

/** Message ids in whatever nest of lists and named lists the question kind uses. */
const messageIds = (value: unknown): ReadonlyArray<number> => {
  if (typeof value === "number") return [value]
  if (Array.isArray(value)) return value.flatMap(messageIds)
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(messageIds) : []
}

/** A point of a rubric without the words that every point begins with. */
const pointOf = (text: string): string => text.trim().replace(/^(?:the )?(?:LLM )?response should (?:state|mention|contain|include)\s*:?\s*/i, "")

export const readChat = (raw: unknown, hash: string): Result.Result<DatasetRow, RowRefusal> => {
  const decoded = decodeRow(raw)
  if (Result.isFailure(decoded)) return invalid(oneLine(decoded.failure.message))
  const row = decoded.success
  const chat = String(row.chat_id)
  const user = `${hash}-${chat}`
  const places = new Map<number, { readonly clientId: string; readonly conversation: string }>()
  const conversations: Array<DatasetConversation> = []
  let last: number | undefined
  for (const [at, batch] of row.batches.entries()) {
    const messages = batch.turns.flat()
    const anchor = batch.time_anchor ?? messages.find((message) => message.time_anchor)?.time_anchor
    const start = anchor === undefined || anchor === null ? last : parseAnchor(anchor)
    if (start === undefined) return invalid(`chat ${chat} batch ${at + 1} has no time_anchor of the form March-15-2024`)
    last = start
    const conversation = conversationName(at + 1)
    const turns = messages.map((message, n): DatasetTurn => {
      const clientId = `${conversation}:${n + 1}`
      places.set(message.id, { clientId, conversation })
      return { clientId, speaker: message.role, text: spokenText(message.content), time: turnTime(start, n) }
    })
    conversations.push({ conversation, turns: turns.filter(({ text }) => text !== "") })
  }
  const questions: Array<Question> = []
  const gold: Array<readonly [string, GoldEvidence]> = []
  for (const [type, probes] of Object.entries(row.probing_questions)) {
    for (const [at, probe] of probes.entries()) {
      const answer = String(probe.answer ?? probe.ideal_response ?? probe.ideal_answer ?? probe.ideal_summary ?? probe.expected_compliance ?? "").trim()
      if (answer === "") return Result.fail(new RowRefusal({ reason: "AnswerMissing", message: `chat ${chat} ${type} question ${at + 1} has no answer; add one or take it out` }))
      const id = `${chat}-${type}-${at + 1}`
      const abstention = type === "abstention"
      const cited = abstention ? [] : [...new Set(messageIds(probe.source_chat_ids))].flatMap((message) => places.get(message) ?? [])
      const [first, ...more] = (probe.rubric ?? []).map(pointOf).filter((point) => point !== "")
      const points = abstention || first === undefined ? {} : { points: [first, ...more] as const }
      questions.push({ id, text: probe.question, type, answer, ...points, abstention, user, cluster: user })
      gold.push([id, {
        turns: cited.map(({ clientId }) => clientId),
        conversations: [...new Set(cited.map(({ conversation }) => conversation))],
        mislabelled: false
      }])
    }
  }
  return Result.succeed({ user: { user, conversations }, questions, gold })
}
