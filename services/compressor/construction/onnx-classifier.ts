/**
 * A token classifier from a folder with `model.onnx` and `tokenizer.json`, run in a worker thread of its own: a run blocks the thread it
 * stands on, and a worker ended during a run takes the process with it, so closing waits for the run. Its neighbour
 * `onnx-classifier-worker.ts` is the thread.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Worker } from "node:worker_threads"
import { Schema } from "effect"
import { attentionInput, type KeepClassifier, type PieceTokenizer } from "./llmlingua.ts"
import { type AttentionMatrix, coarseBoundaries } from "./segmentation.ts"
import { wordPieces } from "./word-pieces.ts"

const classifierFailures = ["missing", "unsuitable", "run failed", "timed out", "busy", "closed"] as const

export class ClassifierFailed extends Schema.TaggedError<ClassifierFailed>()("ClassifierFailed", {
  reason: Schema.Literals(classifierFailures),
  message: Schema.String
}) {}

export type ClassifierRequest =
  | { readonly kind: "keep" | "attend"; readonly rows: ReadonlyArray<ReadonlyArray<number>> }
  | { readonly kind: "close" }
export type ClassifierReply =
  | { readonly kind: "ready"; readonly hasAttention: boolean }
  | { readonly kind: "keep"; readonly rows: ReadonlyArray<Float32Array> }
  | { readonly kind: "attend"; readonly matrix: AttentionMatrix }
  | { readonly kind: "failed"; readonly reason: "unsuitable" | "run failed"; readonly message: string }

export interface OnnxClassifier {
  readonly tokenizer: PieceTokenizer
  readonly classify: KeepClassifier
  /** Attention boundaries of messages; absent when the model exports no attention. */
  readonly coarse?: (texts: ReadonlyArray<string>) => Promise<ReadonlyArray<number>>
  /** Waits for the run under way, then ends the worker. Further calls are refused. */
  readonly close: () => Promise<void>
}

export interface ClassifierSettings {
  /** Calls that may wait at once; more are refused as busy. */
  readonly waitingMax: number
  /** Milliseconds one run may take before its call fails; the worker is then not used again. */
  readonly runTimeoutMs: number
}
const defaults: ClassifierSettings = { waitingMax: 64, runTimeoutMs: 120_000 }

const failure = (reason: ClassifierFailed["reason"], message: string): ClassifierFailed => new ClassifierFailed({ reason, message })

const readTokenizer = (folder: string): PieceTokenizer => {
  for (const name of ["model.onnx", "tokenizer.json"]) {
    if (!existsSync(join(folder, name))) throw failure("missing", `${name} is not in ${folder}; put the classifier's model.onnx and tokenizer.json there`)
  }
  try {
    return wordPieces(JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8")))
  } catch (error) {
    throw failure("unsuitable", `${join(folder, "tokenizer.json")}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Opens the classifier; rejects with {@link ClassifierFailed} when files are missing or are no token classifier of two labels. */
export const openClassifier = async (folder: string, settings: ClassifierSettings = defaults): Promise<OnnxClassifier> => {
  const tokenizer = readTokenizer(folder)
  const worker = new Worker(new URL("./onnx-classifier-worker.ts", import.meta.url), { workerData: { folder } })
  let broken: ClassifierFailed | undefined
  let settle: ((reply: ClassifierReply | ClassifierFailed) => void) | undefined
  const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()))
  const stop = (why: ClassifierFailed): void => {
    broken ??= why
    settle?.(broken)
  }
  worker.on("message", (reply: ClassifierReply) => settle?.(reply))
  worker.on("error", (error) => stop(failure("run failed", error instanceof Error ? error.message : String(error))))
  worker.on("exit", () => stop(failure("closed", "the classifier's worker has ended")))

  /** One exchange with the worker; at most one at a time is under way. */
  const exchange = (send: () => void, wanted: ClassifierReply["kind"]): Promise<ClassifierReply> =>
    new Promise((resolve, reject) => {
      if (broken !== undefined) return reject(broken)
      const timer = setTimeout(() => {
        broken = failure("timed out", `a run took longer than ${settings.runTimeoutMs} ms`)
        settle?.(broken)
        // Asked, not killed: it ends when the run does.
        worker.postMessage({ kind: "close" } satisfies ClassifierRequest)
      }, settings.runTimeoutMs)
      settle = (reply) => {
        settle = undefined
        clearTimeout(timer)
        if (reply instanceof ClassifierFailed) reject(reply)
        else if (reply.kind === "failed") reject(failure(reply.reason, reply.message))
        else if (reply.kind !== wanted) reject(failure("run failed", `the worker answered ${reply.kind} to ${wanted}`))
        else resolve(reply)
      }
      return send()
    })

  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0
  const call = (request: Exclude<ClassifierRequest, { kind: "close" }>): Promise<ClassifierReply> => {
    if (broken !== undefined) return Promise.reject(broken)
    if (waiting >= settings.waitingMax) return Promise.reject(failure("busy", `${waiting} calls are waiting; ask again later`))
    waiting += 1
    const run = last.then(() => exchange(() => worker.postMessage(request), request.kind)).finally(() => (waiting -= 1))
    last = run.catch(() => undefined)
    return run
  }
  const close = async (): Promise<void> => {
    const under = last
    broken ??= failure("closed", "the classifier was closed")
    await under
    worker.postMessage({ kind: "close" } satisfies ClassifierRequest)
    await ended
  }

  let opened: ClassifierReply
  try {
    opened = await exchange(() => undefined, "ready")
  } catch (error) {
    await close()
    throw error
  }
  const classify: KeepClassifier = async (rows) => {
    const reply = await call({ kind: "keep", rows })
    return reply.kind === "keep" ? reply.rows : []
  }
  const coarse = async (texts: ReadonlyArray<string>): Promise<ReadonlyArray<number>> => {
    const { ids, spans } = attentionInput(texts, tokenizer)
    const reply = await call({ kind: "attend", rows: [ids] })
    return reply.kind === "attend" ? coarseBoundaries(reply.matrix, spans) : []
  }
  const hasAttention = opened.kind === "ready" && opened.hasAttention
  return { tokenizer, classify, close, ...(hasAttention ? { coarse } : {}) }
}
