/** Facts of a batch of segments, by rules or by a model. A failure is told, never an empty success. */
import { Config, Effect, Result } from "effect"
import type { Memory } from "#shared/domain/memory"
import type { Turn } from "#shared/domain/turn"
import type { ConversationAddress } from "#shared/eventlog/subjects"
import { NotNegative, Positive } from "#shared/home/setting-values"
import { isPassingFailure } from "#shared/model/errors"
import { Models } from "#shared/model/models"
import { type ExtractionPass, extractionMessages, extractionReply, extractionTemplate, passesOf, readExtraction } from "./construction/extraction-prompts.ts"
import { extractFacts } from "./construction/extraction-rules.ts"
import { callsOf, entryCharacters, numberBatch, type NumberedTurn } from "./construction/numbering.ts"
import type { PreCompressor } from "./pre-compression.ts"

export const settings = Config.all({
  /** Who extracts facts: `rules` without a token, or the `model` of the role extract. */
  extractor: Config.Literals(["rules", "model"], "METAMEM_EXTRACTOR").pipe(Config.withDefault("rules" as const)),
  /** `flat` = facts; `event` = facts and, in a second call, relations. */
  mode: Config.Literals(["flat", "event"], "METAMEM_EXTRACT_MODE").pipe(Config.withDefault("flat" as const)),
  /** `small` = one short message with an example, for models below a few billion parameters; `auto` = small on the local model. */
  prompts: Config.Literals(["auto", "small", "large"], "METAMEM_EXTRACT_PROMPTS").pipe(Config.withDefault("auto" as const)),
  /** Tries of one batch before its segments are tried alone, or a single one is recorded as failed. */
  attempts: Config.schema(Positive, "METAMEM_EXTRACT_ATTEMPTS").pipe(Config.withDefault(3)),
  /** Segments wait for one another until they have so many o200k tokens, to share one call of the model; 0 = each has its own. */
  batchTokens: Config.schema(NotNegative, "METAMEM_EXTRACT_BATCH_TOKENS").pipe(Config.withDefault(512))
})
export type ExtractionSettings = Config.Success<typeof settings>

/** Characters of turns that one call of a large model is shown at most, about 6,000 tokens; what is longer takes several calls. */
const callCharacters = 24_000

/** Version of the rules, recorded with what they found. */
const rulesTemplate = "rules/2"

type Fact = Pick<Memory, "text" | "speaker" | "time" | "meant" | "turns">

export type Extraction =
  | { readonly _tag: "Done"; readonly facts: ReadonlyArray<Fact>; readonly extractor: string; readonly template: string; readonly call: string | undefined }
  | { readonly _tag: "Failed"; readonly attempts: number; readonly error: string }

/** Segments are settled together; one after the other when that fails, so that no segment is lost for another's sake. */
export interface Extractor {
  /** Tokens of the batches it wants; 0 = every segment at once. */
  readonly batchTokens: number
  readonly extract: (of: ConversationAddress, segments: ReadonlyArray<ReadonlyArray<Turn>>) => Effect.Effect<Extraction>
}

/** The extractor in force. */
export const extractorOf = ({ attempts, batchTokens, extractor, mode, prompts }: ExtractionSettings, shorten: PreCompressor = Effect.succeed): Effect.Effect<Extractor, never, Models> =>
  Effect.map(Models, (models) => {
    if (extractor === "rules") {
      return { batchTokens: 0, extract: (_, segments) => Effect.sync(() => ({ _tag: "Done", facts: segments.flatMap(extractFacts), extractor: "rules", template: rulesTemplate, call: undefined })) }
    }
    const small = prompts === "small" || (prompts === "auto" && models.casting("extract")?.isLocal === true)
    const pass = (of: ConversationAddress, batch: ReadonlyArray<NumberedTurn>, which: ExtractionPass) =>
      Effect.gen(function*() {
        const reply = yield* models.call({
          role: "extract",
          messages: extractionMessages(batch, which, small ? "small" : "large"),
          schema: extractionReply(batch),
          parameters: { temperature: 0 },
          tenant: of.tenant,
          scope: of.user,
          templateVersion: extractionTemplate,
          inputs: [...new Set(batch.map(({ turn }) => turn.id))]
        })
        const { dropped, facts } = readExtraction(reply.value, batch)
        if (dropped.length > 0) yield* Effect.logWarning(`facts left out of a reply of the model`, { conversation: of.conversation, call: reply.key, reasons: dropped.map(({ detail, reason }) => `${reason}: ${detail}`) })
        return { reply, facts }
      })
    const extract: Extractor["extract"] = (of, segments) =>
      Effect.gen(function*() {
        const shortened = yield* Effect.forEach(segments, (turns) => Effect.forEach(turns, (turn) => Effect.map(shorten(turn.text), (text) => ({ ...turn, text }))))
        const batches = callsOf(numberBatch(shortened, 1), small ? entryCharacters : callCharacters)
        const facts: Array<Fact> = []
        let call: string | undefined
        let model = ""
        for (const [which, batch] of passesOf(mode).flatMap((which) => batches.map((batch) => [which, batch] as const))) {
          for (let attempt = 1;; attempt++) {
            const outcome = yield* Effect.result(pass(of, batch, which))
            if (Result.isSuccess(outcome)) {
              // What the relations say over again is one memory.
              const known = new Set(facts.map(({ text }) => text.toLowerCase()))
              facts.push(...outcome.success.facts.filter(({ text }) => !known.has(text.toLowerCase())))
              call = outcome.success.reply.key
              model = outcome.success.reply.model
              break
            }
            if (!isPassingFailure(outcome.failure) || attempt >= attempts) return { _tag: "Failed", attempts: attempt, error: outcome.failure.message } satisfies Extraction
            yield* Effect.sleep(500 * 2 ** attempt)
          }
        }
        return { _tag: "Done", facts, extractor: model, template: `${extractionTemplate} ${mode}`, call } satisfies Extraction
      })
    return { batchTokens, extract }
  })
