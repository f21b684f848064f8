/**
 * The thread of `onnx-classifier.ts`: opens the model, answers one request at a time, ends when told to. Rows are padded to the longest
 * of a run; runs are bounded in padded tokens.
 */
import { join } from "node:path"
import { parentPort, workerData } from "node:worker_threads"
import * as ort from "onnxruntime-node"
import type { ClassifierReply, ClassifierRequest } from "./onnx-classifier.ts"

/** Padded tokens of one run: eight rows of the longest kind. */
const runTokensMax = 4_096
/** Attention of this many last layers is averaged; in a model of twelve these are layers 8 to 11. */
const attentionLayers = 4

const port = parentPort
if (port === null) throw new Error("started outside a worker thread")
const reply = (message: ClassifierReply): void => port.postMessage(message)
const said = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const { folder } = workerData as { readonly folder: string }
const open = ort.InferenceSession.create(join(folder, "model.onnx"), {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  extra: { session: { intra_op: { allow_spinning: "0" } } }
})
const attentionNames = (names: ReadonlyArray<string>): ReadonlyArray<string> => names.filter((name) => /attention/i.test(name)).slice(-attentionLayers)

const run = (session: ort.InferenceSession, rows: ReadonlyArray<ReadonlyArray<number>>, outputs: ReadonlyArray<string>) => {
  const width = Math.max(...rows.map((row) => row.length))
  const ids = new BigInt64Array(rows.length * width)
  const mask = new BigInt64Array(rows.length * width)
  rows.forEach((row, at) =>
    row.forEach((id, column) => {
      ids[at * width + column] = BigInt(id)
      mask[at * width + column] = 1n
    })
  )
  const shape = [rows.length, width]
  const inputs: Record<string, BigInt64Array> = { input_ids: ids, attention_mask: mask, token_type_ids: new BigInt64Array(ids.length) }
  const feeds = Object.fromEntries(
    session.inputNames.flatMap((name) => (inputs[name] === undefined ? [] : [[name, new ort.Tensor("int64", inputs[name], shape)]]))
  )
  return session.run(feeds, outputs)
}

const floats = (tensor: ort.Tensor | undefined, name: string): Float32Array => {
  if (tensor?.data instanceof Float32Array) return tensor.data
  throw new Error(`output ${name} is not float32`)
}

const keep = async (session: ort.InferenceSession, rows: ReadonlyArray<ReadonlyArray<number>>): Promise<ReadonlyArray<Float32Array>> => {
  const name = session.outputNames.find((output) => output === "logits") ?? session.outputNames[0] ?? ""
  const found: Array<Float32Array> = []
  for (let from = 0; from < rows.length;) {
    let until = from
    let width = 0
    while (until < rows.length && (until === from || Math.max(width, rows[until]?.length ?? 0) * (until - from + 1) <= runTokensMax)) {
      width = Math.max(width, rows[until]?.length ?? 0)
      until += 1
    }
    const part = rows.slice(from, until)
    const output = (await run(session, part, [name]))[name]
    const logits = floats(output, name)
    const [count, columns, labels] = output?.dims ?? []
    if (count !== part.length || columns !== width || labels !== 2) throw new Error(`output ${name} has shape [${output?.dims.join(", ")}], not rows × tokens × 2 labels`)
    part.forEach((row, at) => {
      // Softmax of two labels, label 1 = keep.
      found.push(Float32Array.from(row, (_, column) => {
        const start = (at * width + column) * 2
        return 1 / (1 + Math.exp((logits[start] ?? 0) - (logits[start + 1] ?? 0)))
      }))
    })
    from = until
  }
  return found
}

/** Mean over layers and heads of one row's attention. */
const attend = async (session: ort.InferenceSession, row: ReadonlyArray<number>): Promise<{ readonly size: number; readonly values: Float32Array }> => {
  const names = attentionNames(session.outputNames)
  const outputs = await run(session, [row], names)
  const size = row.length
  const values = new Float32Array(size * size)
  for (const name of names) {
    const output = outputs[name]
    const data = floats(output, name)
    const heads = output?.dims[1] ?? 0
    if (output?.dims.length !== 4 || output.dims[2] !== size) throw new Error(`output ${name} has shape [${output?.dims.join(", ")}], not rows × heads × tokens × tokens`)
    for (let head = 0; head < heads; head++) {
      for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) + (data[head * size * size + i] as number) / (heads * names.length)
    }
  }
  return { size, values }
}

const answer = async (request: ClassifierRequest): Promise<void> => {
  if (request.kind === "close") {
    await open.then((session) => session.release(), () => undefined)
    port.close()
    return
  }
  try {
    const session = await open
    if (request.kind === "keep") reply({ kind: "keep", rows: await keep(session, request.rows) })
    else reply({ kind: "attend", matrix: await attend(session, request.rows[0] ?? []) })
  } catch (error) {
    reply({ kind: "failed", reason: "run failed", message: said(error) })
  }
}

// Requests are answered in turn; the main side sends the next one only after the answer.
let last: Promise<void> = Promise.resolve()
port.on("message", (request: ClassifierRequest) => {
  last = last.then(() => answer(request))
})

open.then(
  (session) =>
    session.inputNames.includes("input_ids")
      ? reply({ kind: "ready", hasAttention: attentionNames(session.outputNames).length > 0 })
      : reply({ kind: "failed", reason: "unsuitable", message: `model.onnx takes ${session.inputNames.join(", ")}, not input_ids` }),
  (error) => reply({ kind: "failed", reason: "unsuitable", message: `model.onnx could not be opened: ${said(error)}` })
)
