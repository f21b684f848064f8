/**
 * One embedding worker: tokenises, runs the encoder on its own core, pools. It answers one batch at a time and ends by itself
 * when told to close, because a worker killed during a run takes the whole process with it.
 */
import { Tokenizer } from "@huggingface/tokenizers"
import { readFileSync } from "node:fs"
import { constants, getPriority, setPriority } from "node:os"
import { join } from "node:path"
import { parentPort, workerData } from "node:worker_threads"
import * as ort from "onnxruntime-node"
import type { WorkerReply, WorkerRequest, WorkerStart } from "./embeddings-pool.ts"

/** Tokens of a text that count, with the two special ones. */
const tokensMax = 256
/** Characters beyond this cannot be among the first 256 tokens of any ordinary text, and a 5 MB text would block the worker. */
const charactersMax = 16_384
/** Padded tokens in one run; larger runs are no faster on one core and make questions wait longer. */
const runTokensMax = 1_024

const port = parentPort
if (port === null) throw new Error("started outside a worker thread")
const reply = (message: WorkerReply): void => port.postMessage(message)

const { dir, isInBackground, threads } = workerData as WorkerStart
/** How far a worker in the background stands back, of some 20 steps. */
const standsBack = 5
/** On Linux alone it is this thread that does, and not the whole process. A machine that does not let it, lets it embed all the same. */
const standBack = (): void => {
  if (process.platform !== "linux") return
  try {
    setPriority(Math.min(constants.priority.PRIORITY_LOW, getPriority() + standsBack))
  } catch {
    // It keeps the priority it has.
  }
}
if (isInBackground) standBack()

const open = async () => {
  const tokenizer = new Tokenizer(JSON.parse(readFileSync(join(dir, "tokenizer.json"), "utf8")), {})
  const session = await ort.InferenceSession.create(join(dir, "model.onnx"), {
    // More of them change no bit of a vector.
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // A plan for each shape of input would be kept for ever, and there are thousands of shapes.
    enableMemPattern: false,
    extra: { session: { intra_op: { allow_spinning: "0" } } }
  })
  const end = tokenizer.encode("").ids.at(-1) ?? 0
  /** Ids of a text cut to the limit with its end token kept; the tokenizer ignores its own truncation setting. */
  const encode = (text: string): ReadonlyArray<number> => {
    const { ids } = tokenizer.encode(text.slice(0, charactersMax).toWellFormed())
    return ids.length <= tokensMax ? ids : [...ids.slice(0, tokensMax - 1), end]
  }
  return { session, encode }
}
const opened = open()

const run = async (rows: ReadonlyArray<ReadonlyArray<number>>): Promise<ReadonlyArray<Float32Array>> => {
  const { session } = await opened
  const width = Math.max(...rows.map((ids) => ids.length))
  const size = rows.length * width
  const ids = new BigInt64Array(size)
  const mask = new BigInt64Array(size)
  rows.forEach((row, at) =>
    row.forEach((id, column) => {
      ids[at * width + column] = BigInt(id)
      mask[at * width + column] = 1n
    })
  )
  const shape = [rows.length, width]
  const feeds: Record<string, ort.Tensor> = {
    input_ids: new ort.Tensor("int64", ids, shape),
    attention_mask: new ort.Tensor("int64", mask, shape)
  }
  if (session.inputNames.includes("token_type_ids")) feeds["token_type_ids"] = new ort.Tensor("int64", new BigInt64Array(size), shape)
  const results = await session.run(feeds)
  const hidden = results["last_hidden_state"] ?? results[session.outputNames[0] ?? ""]
  if (hidden === undefined || !(hidden.data instanceof Float32Array) || hidden.dims.length !== 3) {
    throw new Error("the model gives no float32 output of shape texts × tokens × dimensions")
  }
  const states = hidden.data
  const dimensions = hidden.dims[2] ?? 0
  return rows.map((row, at) => {
    const mean = new Float32Array(dimensions)
    for (let column = 0; column < row.length; column++) {
      const start = (at * width + column) * dimensions
      for (let n = 0; n < dimensions; n++) mean[n] = (mean[n] ?? 0) + (states[start + n] ?? 0)
    }
    return mean.map((value) => value / row.length)
  })
}

/** Embeds texts in runs of near-equal length; the vectors come back in the order asked. */
const embed = async (texts: ReadonlyArray<string>): Promise<ReadonlyArray<Float32Array>> => {
  const { encode } = await opened
  const rows = texts.map((text, at) => ({ at, ids: encode(text) })).sort((a, b) => a.ids.length - b.ids.length)
  const vectors: Array<Float32Array> = []
  for (let from = 0; from < rows.length;) {
    let through = from + 1
    while (through < rows.length && (through + 1 - from) * (rows[through]?.ids.length ?? 0) <= runTokensMax) through++
    const group = rows.slice(from, through)
    const means = await run(group.map(({ ids }) => ids))
    group.forEach(({ at }, n) => {
      const mean = means[n]
      if (mean !== undefined) vectors[at] = mean
    })
    from = through
  }
  return vectors
}

/** Requests are answered in the order they came. */
let before: Promise<void> = Promise.resolve()

port.on("message", (request: WorkerRequest) => {
  before = before.then(async () => {
    if (request.kind === "close") {
      await opened.then(({ session }) => session.release()).catch(() => undefined)
      port.close()
      return
    }
    try {
      reply({ kind: "vectors", vectors: await embed(request.texts) })
    } catch (error) {
      reply({ kind: "failed", message: error instanceof Error ? error.message : String(error) })
    }
  })
})
opened.catch((error: unknown) => reply({ kind: "unusable", message: error instanceof Error ? error.message : String(error) }))
