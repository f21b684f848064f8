/**
 * One line of generation: a context of its own, one processor thread, a few sequences whose evaluated prompts are kept for the next
 * request. What a lane generates depends on the request alone, not on what ran before or beside it (why: `prefix.ts`).
 */
import { type LlamaContext, type LlamaContextSequence, type LlamaModel, type Token, LlamaGrammarEvaluationState } from "node-llama-cpp"
import { Effect } from "effect"
import { ApiError, badRequest } from "./api-error.ts"
import { bodyLength, chunkEnd, type HeldPrompt, reusableTokens } from "./prefix.ts"
import { makeTextOut } from "./text-out.ts"

/** Sequences a lane keeps; each holds a context's worth of state (47 MB for the model of the set-up at 2,048 tokens). */
export const sequencesPerLane = 2

export interface Generation {
  readonly prompt: ReadonlyArray<Token>
  /** Of the reply; together with the prompt at most the context. */
  readonly maxTokens: number
  readonly temperature: number
  readonly topP: number
  /** 32 bits. */
  readonly seed: number
  readonly stops: ReadonlyArray<string>
  /** GBNF. */
  readonly grammar: string | undefined
}

export interface Generated {
  readonly text: string
  /** `stop`: the model or a stop text ended it; `length`: the limit did. */
  readonly finishReason: "stop" | "length"
  readonly promptTokens: number
  /** Tokens of the prompt that needed no evaluation. */
  readonly cachedTokens: number
  readonly replyTokens: number
}

export interface Lane {
  /** Tokens of the prompt that would need no evaluation here, counting the prompt now worked on as evaluated. */
  readonly reusable: (prompt: ReadonlyArray<number>) => number
  /** Generates one reply; `onText` gets its text in pieces as it becomes settled. Interrupting ends the work within one chunk. */
  readonly generate: (generation: Generation, onText: (piece: string) => void) => Effect.Effect<Generated, ApiError>
}

interface Slot {
  readonly sequence: LlamaContextSequence
  held: HeldPrompt
  lastUsed: number
}

const nothing: HeldPrompt = { tokens: [], evaluated: 0 }

/** Bytes of a letter may be spread over tokens; what is not yet a whole letter reads as U+FFFD. Four bytes are the longest letter. */
const unfinished = (text: string, tokens: number): boolean => text.endsWith("\uFFFD") && tokens < 4

export const makeLane = (model: LlamaModel, context: LlamaContext): Lane => {
  const slots: ReadonlyArray<Slot> = Array.from({ length: sequencesPerLane }, () => ({ sequence: context.getSequence(), held: nothing, lastUsed: 0 }))
  let uses = 0
  let current: HeldPrompt = nothing

  /** A sequence never used, else the one with the longest prefix, else the one least recently used. */
  const choose = (prompt: ReadonlyArray<number>): Slot => {
    const rank = (slot: Slot) => {
      const reuse = reusableTokens(slot.held, prompt)
      return [reuse === bodyLength(prompt) ? 2 : slot.held === nothing ? 1 : 0, reuse, -slot.lastUsed] as const
    }
    return slots.reduce((best, slot) => {
      const a = rank(slot)
      const b = rank(best)
      const differing = a.findIndex((value, at) => value !== b[at])
      return differing >= 0 && (a[differing] ?? 0) > (b[differing] ?? 0) ? slot : best
    })
  }

  const evaluateBody = async (slot: Slot, prompt: ReadonlyArray<Token>, signal: AbortSignal): Promise<number> => {
    const { sequence } = slot
    const reused = reusableTokens(slot.held, prompt)
    slot.held = { tokens: prompt, evaluated: 0 }
    if (reused === 0) await sequence.clearHistory()
    else if (sequence.nextTokenIndex > reused) await sequence.eraseContextTokenRanges([{ start: reused, end: sequence.nextTokenIndex }])
    slot.held = { tokens: prompt, evaluated: reused }
    for (let at = reused; at < bodyLength(prompt); at = slot.held.evaluated) {
      signal.throwIfAborted()
      const end = chunkEnd(at, prompt)
      await sequence.evaluateWithoutGeneratingNewTokens(prompt.slice(at, end))
      slot.held = { tokens: prompt, evaluated: end }
    }
    return reused
  }

  const run = async (slot: Slot, generation: Generation, grammarState: LlamaGrammarEvaluationState | undefined, onText: (piece: string) => void, signal: AbortSignal): Promise<Generated> => {
    const { prompt } = generation
    const cachedTokens = await evaluateBody(slot, prompt, signal)
    const out = makeTextOut(generation.stops)
    let text = ""
    const give = (piece: string) => {
      text += piece
      if (piece !== "") onText(piece)
    }
    let finishReason: Generated["finishReason"] = "stop"
    const before: Array<Token> = prompt.slice(-4)
    let pending: Array<Token> = []
    let replyTokens = 0
    const tokens = slot.sequence.evaluate(prompt.slice(bodyLength(prompt)), {
      temperature: generation.temperature,
      topP: generation.topP,
      // Null leaves the sampler out; undefined would be its default.
      topK: null as unknown as number,
      seed: generation.seed,
      ...(grammarState === undefined ? {} : { grammarEvaluationState: grammarState })
    })
    for await (const token of tokens) {
      signal.throwIfAborted()
      replyTokens += 1
      pending.push(token)
      const piece = model.detokenize(pending, false, before)
      if (!unfinished(piece, pending.length)) {
        before.push(...pending)
        before.splice(0, before.length - 4)
        pending = []
        const { stopped, text: settled } = out.push(piece)
        give(settled)
        if (stopped) break
      }
      if (replyTokens >= generation.maxTokens) {
        finishReason = "length"
        break
      }
    }
    if (pending.length > 0) give(out.push(model.detokenize(pending, false, before)).text)
    give(out.rest())
    return { text, finishReason, promptTokens: prompt.length, cachedTokens, replyTokens }
  }

  const grammarOf = (grammar: string): Effect.Effect<LlamaGrammarEvaluationState, ApiError> =>
    Effect.tryPromise({
      try: async () => new LlamaGrammarEvaluationState({ model, grammar: await model.llama.createGrammar({ grammar }) }),
      catch: () => badRequest("unsupported_schema", "response_format.json_schema.schema refers to itself in a way no grammar can follow")
    })

  return {
    reusable: (prompt) => Math.max(reusableTokens(current, prompt), ...slots.map((slot) => reusableTokens(slot.held, prompt))),
    generate: Effect.fnUntraced(function*(generation: Generation, onText: (piece: string) => void) {
      const grammarState = generation.grammar === undefined ? undefined : yield* grammarOf(generation.grammar)
      const slot = choose(generation.prompt)
      slot.lastUsed = ++uses
      current = { tokens: generation.prompt, evaluated: bodyLength(generation.prompt) }
      return yield* Effect.callback<Generated, ApiError>((resume) => {
        const ending = new AbortController()
        const running = run(slot, generation, grammarState, onText, ending.signal).then(
          (generated) => resume(Effect.succeed(generated)),
          (error) => {
            if (ending.signal.aborted) return
            // Whatever the sequence holds now is not known.
            slot.held = nothing
            resume(Effect.fail(new ApiError({ status: 500, code: "generation_failed", message: `the local model failed: ${error instanceof Error ? error.message : String(error)}` })))
          }
        )
        // The lane is free for another only when the native work has ended.
        return Effect.andThen(Effect.sync(() => ending.abort()), Effect.promise(() => running))
      }).pipe(Effect.ensuring(Effect.sync(() => (current = nothing))))
    })
  }
}
