/**
 * Where topics end in a conversation: by words and silences, by vectors, or by a classifier's attention. Whatever decides, boundaries are a
 * pure function of the ordered turns and of explicit ends. Without the embedding model the work waits; a classifier that breaks while it
 * runs is said aloud, and vectors decide alone, as they do where attention was never to be had.
 */
import { Config, Effect, Option } from "effect"
import type { Turn } from "#shared/domain/turn"
import { type EmbeddingError, Embeddings } from "#shared/model/embeddings"
import { tokensOf } from "#shared/model/tokens"
import { isNamed, settings as classifierSettings } from "./classifier.ts"
import { ClassifierFailed, type OnnxClassifier } from "./construction/onnx-classifier.ts"
import { emptySensory, flushSensory, pushSensory, type SensoryState, type SensoryTools } from "./construction/segmentation.ts"
import { defaultSegmenterSettings, flushSegmenter, initialSegmenter, pushTurn, type SegmenterState, type SegmenterStep, type SizedTurn } from "./construction/segmenter.ts"

export const settings = Config.all({
  /** What ends a topic: `words` and silences, `vectors` of neighbouring rounds, or the classifier's `attention` with vectors; `auto` = attention where a classifier is named, else words. */
  segmentation: Config.Literals(["auto", "words", "vectors", "attention"], "METAMEM_SEGMENTATION").pipe(Config.withDefault("auto" as const))
})
export type SegmentationChoice = Config.Success<typeof settings>["segmentation"]

/** Whether the compressor may need the embedding model, by the settings alone. */
export const mayNeedVectors = Effect.gen(function*() {
  const { segmentation } = yield* settings
  return segmentation === "vectors" || segmentation === "attention" || (segmentation === "auto" && isNamed(yield* classifierSettings))
})

/** A conversation's open end. A value: pushing gives a new one, and the old one stays as it was. */
export interface Cutter {
  /** Takes turns in the conversation's order; however they are portioned, the segments are the same. */
  readonly push: (turns: ReadonlyArray<Turn>) => Effect.Effect<Cut, EmbeddingError>
  /** Ends what is open; nothing stays behind. */
  readonly flush: Effect.Effect<Cut, EmbeddingError>
}

export interface Cut {
  /** Segments that ended, in order; none is empty. */
  readonly segments: ReadonlyArray<ReadonlyArray<Turn>>
  readonly next: Cutter
}

type Embed = Embeddings["Service"]["embed"]

/** By words and silences, or by vectors and silences. */
const talkCutter = (embed: Embed | undefined, state: SegmenterState = initialSegmenter): Cutter => {
  const cut = (steps: ReadonlyArray<SegmenterStep>): Cut => ({
    segments: steps.flatMap(({ segments }) => segments.map(({ turns }) => turns)),
    next: talkCutter(embed, steps.at(-1)?.state ?? state)
  })
  return {
    push: (turns) =>
      Effect.map(embed === undefined ? Effect.succeed([]) : embed(turns.map(({ text }) => text)), (vectors) => {
        const steps: Array<SegmenterStep> = []
        turns.forEach((turn, at) => {
          const sized: SizedTurn = { ...turn, tokens: tokensOf(turn.text) }
          steps.push(pushTurn(steps.at(-1)?.state ?? state, sized, defaultSegmenterSettings, vectors[at]))
        })
        return cut(steps)
      }),
    flush: Effect.sync(() => cut([flushSegmenter(state)]))
  }
}

/** By attention between the users' messages of a full buffer, where vectors of rounds agree. */
const attentionCutter = (tools: SensoryTools, state: SensoryState = emptySensory): Cutter => {
  // The tools reject with nothing else: what a classifier says of itself is caught where it is asked.
  const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, EmbeddingError> => Effect.tryPromise({ try: run, catch: (error) => error as EmbeddingError })
  return {
    push: (turns) =>
      Effect.gen(function*() {
        const segments: Array<ReadonlyArray<Turn>> = []
        let at = state
        for (const turn of turns) {
          const step = yield* attempt(() => pushSensory(at, turn, tools))
          segments.push(...step.segments)
          at = step.state
        }
        return { segments, next: attentionCutter(tools, at) }
      }),
    flush: Effect.map(attempt(() => flushSensory(state, tools)), (step) => ({ segments: step.segments, next: attentionCutter(tools, step.state) }))
  }
}

/** Begin and end of the classifier's input. */
const specialPieces = 2

/** Looks at a busy classifier, at most, and milliseconds between two. */
const busy = { looks: 100, everyMs: 100 }

/** Attention boundaries; undefined when the classifier cannot give them. */
const patient = (coarse: NonNullable<OnnxClassifier["coarse"]>): NonNullable<SensoryTools["coarse"]> => async (texts) => {
  for (let look = 1;; look++) {
    try {
      return await coarse(texts)
    } catch (error) {
      if (error instanceof ClassifierFailed && error.reason === "busy" && look < busy.looks) {
        await new Promise((resolve) => setTimeout(resolve, busy.everyMs))
        continue
      }
      await Effect.runPromise(Effect.logWarning("the classifier gave no attention; topics end by vectors alone", error))
      return undefined
    }
  }
}

/** How conversations are cut from their first turn on. @param classifier undefined where none is open */
export const cutterOf = Effect.fnUntraced(function*(segmentation: SegmentationChoice, classifier: OnnxClassifier | undefined) {
  const coarse = segmentation === "auto" || segmentation === "attention" ? classifier?.coarse : undefined
  if (segmentation === "attention" && coarse === undefined) {
    yield* Effect.logWarning("METAMEM_SEGMENTATION is attention, but no classifier is open that gives attentions (see METAMEM_LLMLINGUA_DIR); topics end by vectors instead")
  }
  if (segmentation === "words" || (segmentation === "auto" && coarse === undefined)) return talkCutter(undefined)
  const embeddings = yield* Effect.serviceOption(Embeddings)
  if (Option.isNone(embeddings)) return yield* Effect.die(new Error("topics are to end by vectors, and the compressor was started without an embedding model"))
  const { embed } = embeddings.value
  if (coarse === undefined || classifier === undefined) return talkCutter(embed)
  const { tokenizer } = classifier
  return attentionCutter({
    coarse: patient(coarse),
    tokenCount: (text) => tokenizer.words(text).reduce((sum, { pieces }) => sum + pieces.length, specialPieces),
    embed: (texts) => Effect.runPromise(embed(texts))
  })
})
