/** From evidence to an answer: the prompt, the reader's reply, and what to say when the reader cannot be asked. */
import { createHash } from "node:crypto"
import { Config, Effect, Result, Stream } from "effect"
import type { EvidenceItem } from "#shared/domain/evidence"
import type { Principle } from "#shared/domain/principle"
import { answerPrompt, citedAnswerTemplate, templateHashes } from "#shared/metamemory/prompts"
import { smallAnswerPrompt, smallAnswerTemplate } from "#shared/metamemory/small-answer-prompt"
import type { CallRequest, CallTags, Sample } from "#shared/model/call"
import { type ModelReply, Models } from "#shared/model/models"
import { citationsOf, readMarks } from "./citations.ts"
import type { AskPart, AskReply } from "./protocol.ts"

export const settings = Config.all({
  /** `small` = a short few-shot prompt for models below a billion parameters; `auto` = small on the local model. */
  prompts: Config.Literals(["auto", "small", "large"], "METAMEM_ANSWER_PROMPTS").pipe(Config.withDefault("auto" as const))
})

export interface AnswerRequest {
  readonly tenant: string
  readonly user: string
  /** Name of the reader; absent = the model that is set. */
  readonly model?: string
  readonly question: string
  readonly date?: string | undefined
  readonly evidence: ReadonlyArray<EvidenceItem>
  readonly principles: ReadonlyArray<Pick<Principle, "id" | "text">>
  readonly temperature: number
  /** Absent = what the role's settings say. */
  readonly maxTokens?: number
  readonly sample: Sample
  readonly tags?: CallTags
  readonly small: boolean
  /** Have a large reader name the memories it rests on. Such a call is another one than a rollout's of the same question. */
  readonly isCited?: boolean
}

/** Hash of the evidence as shown: ids and texts in order. */
export const evidenceHash = (evidence: ReadonlyArray<EvidenceItem>): string =>
  createHash("sha256").update(JSON.stringify(evidence.map(({ memoryId, text }) => [memoryId, text]))).digest("hex").slice(0, 32)

const callOf = (request: AnswerRequest): CallRequest<"answer"> => {
  const isCited = request.isCited === true && !request.small
  const input = { question: request.question, date: request.date, evidence: request.evidence, principles: request.principles, isCited }
  return {
    role: "answer",
    ...(request.model === undefined ? {} : { model: request.model }),
    messages: request.small ? smallAnswerPrompt(input) : answerPrompt(input),
    parameters: { temperature: request.temperature, ...(request.maxTokens === undefined ? {} : { maxTokens: request.maxTokens }), ...(request.small ? { stop: ["\n"] } : {}) },
    tenant: request.tenant,
    scope: request.user,
    templateVersion: request.small ? smallAnswerTemplate : isCited ? citedAnswerTemplate : templateHashes.answer,
    inputs: [...request.evidence.map(({ memoryId }) => memoryId), ...request.principles.map(({ id }) => id)],
    sample: request.sample,
    ...(request.tags === undefined ? {} : { tags: request.tags })
  }
}

/** Key of the call that would answer; nothing is asked. */
export const answerKey = (request: AnswerRequest) => Effect.flatMap(Models, (models) => models.keyOf(callOf(request)))

/** Asks the reader. The reply is kept under the user, whose text is in the prompt. @param tell shown the reply while it is written; it is kept under the same key as one that was not */
export const answer = (request: AnswerRequest, tell?: (part: AskPart) => void) =>
  Effect.flatMap(Models, (models) =>
    tell === undefined
      ? models.call(callOf(request))
      : models.stream(callOf(request)).pipe(
        Stream.runFold((): ModelReply<string> | undefined => undefined, (reply, part) => {
          if (part._tag === "Done") return part.reply
          tell(part._tag === "Text" ? { text: part.text } : { restarted: true })
          return reply
        }),
        Effect.flatMap((reply) => (reply === undefined ? Effect.die(new Error("the stream of a reply ended without the reply")) : Effect.succeed(reply)))
      ))

/**
 * What is said and on what it rests. Without evidence there was nothing to ask the reader about; without a reader the best
 * evidence itself is the answer.
 */
export const readAnswer = (
  question: string,
  evidence: ReadonlyArray<EvidenceItem>,
  reply: Result.Result<ModelReply<string>, { readonly message?: string }> | undefined,
  small: boolean
): Pick<AskReply, "answer" | "marked" | "citations"> => {
  if (reply === undefined) {
    const text = "I do not know: nothing that was said bears on this."
    return { answer: text, marked: text, citations: [] }
  }
  if (Result.isFailure(reply)) {
    const place = evidence.reduce((best, { score }, at) => (score > (evidence[best]?.score ?? Number.NEGATIVE_INFINITY) ? at : best), 0)
    const best = evidence[place]
    const text = `(no reader: ${reply.failure.message ?? "it is too slow"}) The best evidence: ${best?.text ?? ""}`
    return { answer: text, marked: text, citations: best === undefined ? [] : [{ number: place + 1, memoryId: best.memoryId, turns: best.turns, by: "words" }] }
  }
  const said = reply.success.text.trim()
  const read = small ? { answer: said, marked: said, numbers: [] } : readMarks(said, evidence)
  // Marks without a word are no answer.
  const { answer, marked } = read.answer === "" ? { answer: said, marked: said } : read
  return { answer, marked, citations: citationsOf(question, answer, read.numbers, evidence) }
}
