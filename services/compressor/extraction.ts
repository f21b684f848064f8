/** Facts of one segment, by rules or by a model. A failure is told, never an empty success. */
import { Config, Effect, Result } from "effect"
import type { Memory } from "#shared/domain/memory"
import type { Turn } from "#shared/domain/turn"
import type { ConversationAddress } from "#shared/eventlog/subjects"
import { isPassingFailure } from "#shared/model/errors"
import { Models } from "#shared/model/models"
import { type ExtractionPass, extractionMessages, extractionTemplate, parseExtraction, passesOf } from "./construction/extraction-prompts.ts"
import { extractFacts } from "./construction/extraction-rules.ts"
import { numberBatch } from "./construction/numbering.ts"
import type { PreCompressor } from "./pre-compression.ts"

export const settings = Config.all({
  /** Who extracts facts: `rules` without a token, or the `model` of the role extract. */
  extractor: Config.Literals(["rules", "model"], "METAMEM_EXTRACTOR").pipe(Config.withDefault("rules" as const)),
  /** `flat` = facts; `event` = facts and, in a second call, relations. */
  mode: Config.Literals(["flat", "event"], "METAMEM_EXTRACT_MODE").pipe(Config.withDefault("flat" as const)),
  /** Tries of one segment before it is recorded as failed. */
  attempts: Config.Int("METAMEM_EXTRACT_ATTEMPTS").pipe(Config.withDefault(3))
})
export type ExtractionSettings = Config.Success<typeof settings>

/** Version of the rules, recorded with what they found. */
export const rulesTemplate = "rules/1"

type Fact = Pick<Memory, "text" | "speaker" | "time" | "meant" | "turns">

export type Extraction =
  | { readonly _tag: "Done"; readonly facts: ReadonlyArray<Fact>; readonly extractor: string; readonly template: string; readonly call: string | undefined }
  | { readonly _tag: "Failed"; readonly attempts: number; readonly error: string }

export type Extractor = (of: ConversationAddress, turns: ReadonlyArray<Turn>) => Effect.Effect<Extraction>

/** The extractor in force. One segment is one batch, so a failed call never takes another segment's facts with it. */
export const extractorOf = ({ attempts, extractor, mode }: ExtractionSettings, shorten: PreCompressor = Effect.succeed): Effect.Effect<Extractor, never, Models> =>
  Effect.map(Models, (models) => {
    if (extractor === "rules") {
      return (_, turns) => Effect.sync(() => ({ _tag: "Done", facts: extractFacts(turns), extractor: "rules", template: rulesTemplate, call: undefined }))
    }
    const small = models.casting("extract")?.isLocal === true
    const pass = (of: ConversationAddress, turns: ReadonlyArray<Turn>, which: ExtractionPass) =>
      Effect.gen(function*() {
        const shortened = yield* Effect.forEach(turns, (turn) => Effect.map(shorten(turn.text), (text) => ({ ...turn, text })))
        const batch = numberBatch([shortened], 1)
        const reply = yield* models.call({
          role: "extract",
          messages: extractionMessages(batch, which, small ? "small" : "large"),
          parameters: { temperature: 0 },
          tenant: of.tenant,
          scope: of.user,
          templateVersion: extractionTemplate,
          inputs: turns.map(({ id }) => id)
        })
        const parsed = parseExtraction(reply.text, batch)
        return { reply, parsed }
      })
    return (of, turns) =>
      Effect.gen(function*() {
        const facts: Array<Fact> = []
        let call: string | undefined
        let model = ""
        for (const which of passesOf(mode)) {
          for (let attempt = 1;; attempt++) {
            const outcome = yield* Effect.result(pass(of, turns, which))
            if (Result.isSuccess(outcome) && Result.isSuccess(outcome.success.parsed)) {
              facts.push(...outcome.success.parsed.success.facts)
              call = outcome.success.reply.key
              model = outcome.success.reply.model
              break
            }
            const error = Result.isFailure(outcome)
              ? outcome.failure.message
              : Result.isFailure(outcome.success.parsed) ? outcome.success.parsed.failure.message : ""
            const isFinal = Result.isSuccess(outcome) || !isPassingFailure(outcome.failure)
            if (isFinal || attempt >= attempts) return { _tag: "Failed", attempts: attempt, error } satisfies Extraction
            yield* Effect.sleep(500 * 2 ** attempt)
          }
        }
        return { _tag: "Done", facts, extractor: model, template: `${extractionTemplate} ${mode}`, call } satisfies Extraction
      })
  })
