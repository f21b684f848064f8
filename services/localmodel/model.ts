/** The loaded model: its file checked, its weights in memory once, and as many lanes as threads. */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { type ChatHistoryItem, type ChatWrapper, getLlama, JinjaTemplateChatWrapper, type Llama, type LlamaModel, LlamaLogLevel, resolveChatWrapper, type Token } from "node-llama-cpp"
import { Effect, type Scope } from "effect"
import { type ApiError, badRequest } from "./api-error.ts"
import { checkModelFile, modelName } from "./gguf.ts"
import { type Lane, makeLane, sequencesPerLane } from "./lane.ts"
import { chunkTokens } from "./prefix.ts"
import type { ChatMessage } from "./request.ts"
import { LocalModelUnavailable } from "./unavailable.ts"

export interface LoadedModel {
  /** Lower case, from the file's own name for itself. */
  readonly name: string
  /** The first 16 hex digits of the file's SHA-256: what identifies the weights. */
  readonly fingerprint: string
  readonly contextTokens: number
  readonly lanes: ReadonlyArray<Lane>
  /** The prompt in the model's own chat template. What a message says never becomes markup. */
  readonly promptOf: (messages: ReadonlyArray<ChatMessage>) => Effect.Effect<ReadonlyArray<Token>, ApiError>
}

const fingerprintOf = async (path: string, signal: AbortSignal): Promise<string> => {
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal })) hash.update(chunk as Buffer)
  return hash.digest("hex").slice(0, 16)
}

/** The file's template where it has one; the library's guess reads the start token of this family twice. */
const wrapperOf = (model: LlamaModel): ChatWrapper => {
  const template: unknown = model.fileInfo.metadata.tokenizer?.chat_template
  return typeof template === "string" ? new JinjaTemplateChatWrapper({ template, tokenizer: model.tokenizer }) : resolveChatWrapper(model)
}

const asHistory = ({ role, text }: ChatMessage): ChatHistoryItem => (role === "assistant" ? { type: "model", response: [text] } : { type: role, text })
/** The reply that is to come. */
const open: ChatHistoryItem = { type: "model", response: [] }

const notLoadable = (path: string, error: unknown): LocalModelUnavailable =>
  new LocalModelUnavailable({
    path,
    reason: "not-loadable",
    message: `the model file ${path} cannot be loaded: ${error instanceof Error ? error.message : String(error)}. ` +
      "Fetch it again with `npm run setup`, or name another GGUF chat model in METAMEM_LOCAL_MODEL; with little memory, lower METAMEM_LOCAL_CONTEXT_TOKENS."
  })

/**
 * Loads a model for as long as the scope lives.
 *
 * @param contextTokens of prompt and reply together
 * @param threads lanes: each generates one reply at a time with one processor thread. Splitting one reply over threads was slower, and
 *   far slower while others used the processors.
 */
export const loadModel = (path: string, contextTokens: number, threads: number): Effect.Effect<LoadedModel, LocalModelUnavailable, Scope.Scope> =>
  Effect.gen(function*() {
    const header = yield* checkModelFile(path)
    const attempt = <A>(work: (signal: AbortSignal) => Promise<A>) => Effect.tryPromise({ try: work, catch: (error) => notLoadable(path, error) })
    const llama: Llama = yield* Effect.acquireRelease(
      attempt(() =>
        getLlama({
          gpu: false,
          build: "never",
          skipDownload: true,
          maxThreads: threads,
          logLevel: LlamaLogLevel.error,
          logger: (_level, message) => void process.stderr.write(`llama.cpp: ${message.trimEnd()}\n`)
        })
      ),
      (llama) => Effect.promise(() => llama.dispose())
    )
    const [model, fingerprint] = yield* Effect.all([
      attempt((signal) => llama.loadModel({ modelPath: path, loadSignal: signal })),
      attempt((signal) => fingerprintOf(path, signal))
    ], { concurrency: 2 })
    const tokens = Math.min(contextTokens, model.trainContextSize)
    const lanes: Array<Lane> = []
    for (let lane = 0; lane < threads; lane++) {
      const context = yield* attempt((signal) =>
        model.createContext({
          contextSize: tokens,
          sequences: sequencesPerLane,
          batchSize: chunkTokens,
          threads: 1,
          flashAttention: true,
          createSignal: signal
        })
      )
      lanes.push(makeLane(model, context))
    }
    const wrapper = yield* Effect.try({ try: () => wrapperOf(model), catch: (error) => notLoadable(path, error) })
    return {
      name: modelName(path, header),
      fingerprint,
      contextTokens: tokens,
      lanes,
      promptOf: (messages) =>
        Effect.try({
          try: () => wrapper.generateContextState({ chatHistory: [...messages.map(asHistory), open] }).contextText.tokenize(model.tokenizer),
          catch: (error) => badRequest("invalid_messages", `the model's chat template refuses these messages: ${error instanceof Error ? error.message : String(error)}`)
        })
    }
  })
