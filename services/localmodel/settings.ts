/** What the local model is served with, and how it is known: apart from the library behind it, which takes long to import. */
import { Config } from "effect"
import { Positive } from "#shared/home/setting-values"

/** Reading, checking and loading a model file, in milliseconds. */
export const loadLimitMs = 120_000

export const settings = Config.all({
  /** Tokens of prompt and reply together. */
  contextTokens: Config.schema(Positive, "METAMEM_LOCAL_CONTEXT_TOKENS").pipe(Config.withDefault(2_048)),
  /** Replies generated at once, each by one thread. */
  threads: Config.schema(Positive, "METAMEM_LOCAL_THREADS").pipe(Config.withDefault(2)),
  /** Requests that wait for a thread; one more is refused with 429. */
  waiting: Config.schema(Positive, "METAMEM_LOCAL_WAITING").pipe(Config.withDefault(64))
})

export interface ServeOptions {
  /** A GGUF chat model. */
  readonly modelPath: string
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly contextTokens: number
  readonly threads: number
  readonly waiting: number
}

export interface Served {
  /** What an OpenAI client takes as its base URL: it ends in `/v1`. */
  readonly url: string
  /** The model's name, to be sent as `model`. */
  readonly model: string
  /** Identifies the weights, the same in every reply's `system_fingerprint`. */
  readonly fingerprint: string
  readonly contextTokens: number
}
