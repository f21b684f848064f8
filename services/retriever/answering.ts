/** From evidence to an answer: the prompt, the reader's reply, and what to say when the reader cannot be asked. */
import { createHash } from "node:crypto"
import { Config, Effect } from "effect"
import type { EvidenceItem } from "#shared/domain/evidence"
import type { Principle } from "#shared/domain/principle"
import { answerPrompt, templateHashes } from "#shared/metamemory/prompts"
import type { CallTags, Sample } from "#shared/model/call"
import { Models } from "#shared/model/models"
import { smallAnswerPrompt, smallAnswerTemplate } from "./small-prompt.ts"

export const settings = Config.all({
  /** `small` = a short few-shot prompt for models below a billion parameters; `auto` = small on the local model. */
  prompts: Config.Literals(["auto", "small", "large"], "METAMEM_ANSWER_PROMPTS").pipe(Config.withDefault("auto" as const))
})

export interface AnswerRequest {
  readonly tenant: string
  readonly user: string
  readonly question: string
  readonly date?: string | undefined
  readonly evidence: ReadonlyArray<EvidenceItem>
  readonly principles: ReadonlyArray<Pick<Principle, "id" | "text">>
  readonly temperature: number
  readonly maxTokens: number
  readonly sample: Sample
  readonly tags?: CallTags
  readonly small: boolean
}

/** Hash of the evidence as shown: ids and texts in order. */
export const evidenceHash = (evidence: ReadonlyArray<EvidenceItem>): string =>
  createHash("sha256").update(JSON.stringify(evidence.map(({ memoryId, text }) => [memoryId, text]))).digest("hex").slice(0, 32)

/** Asks the reader. The reply is kept under the user, whose text is in the prompt. */
export const answer = (request: AnswerRequest) =>
  Effect.flatMap(Models, (models) => {
    const input = { question: request.question, date: request.date, evidence: request.evidence, principles: request.principles }
    return models.call({
      role: "answer",
      messages: request.small ? smallAnswerPrompt(input) : answerPrompt(input),
      parameters: { temperature: request.temperature, maxTokens: request.maxTokens, ...(request.small ? { stop: ["\n"] } : {}) },
      tenant: request.tenant,
      scope: request.user,
      templateVersion: request.small ? smallAnswerTemplate : templateHashes.answer,
      inputs: [...request.evidence.map(({ memoryId }) => memoryId), ...request.principles.map(({ id }) => id)],
      sample: request.sample,
      ...(request.tags === undefined ? {} : { tags: request.tags })
    })
  })
