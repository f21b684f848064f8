/**
 * A scripted OpenAI-compatible endpoint. A reply depends on the role, the prompt and the request's `seed` and nothing else, so that runs
 * that were killed, resumed, scaled out or done twice can be compared. It can be made to fail in every way endpoints do.
 *
 * By default a question's chance of a right answer is drawn from its text and moved by the principles in the prompt, so that samples
 * of one question come out both ways and a gate has something to decide. A right answer holds the reference where `gold` knows it.
 */
import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, type Scope } from "effect"
import { type Role, roles } from "#shared/model/roles"

export interface ScriptedRequest {
  readonly role: Role
  /** System and user texts of the messages, joined by blank lines. */
  readonly prompt: string
  readonly seed: number
  /** How often this call (header `x-metamem-call`) was sent before. */
  readonly repeats: number
  readonly call: string
  /** The request's body, as it came. */
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, string>>
  /** Whole number in [0, bound) from prompt, seed and a word. */
  readonly draw: (word: string, bound: number) => number
}

/** Text of a reply; an object is sent as JSON. */
export type Script = (request: ScriptedRequest) => string | object

/** How a request goes wrong instead of being answered. */
export type Fault =
  | { readonly _tag: "Status"; readonly status: number; readonly message?: string; readonly retryAfter?: string; readonly code?: string }
  | { readonly _tag: "Hang" }
  | { readonly _tag: "Disconnect" }
  | { readonly _tag: "Html" }
  /** A body that is cut in the middle. */
  | { readonly _tag: "HalfJson" }
  | { readonly _tag: "Refusal" }
  /** The reply, changed: this text instead of it, or around it. */
  | { readonly _tag: "Text"; readonly change: (reply: string) => string; readonly finish?: "stop" | "length" }
  /** The reply filed under `reasoning_content`. */
  | { readonly _tag: "Misfiled" }

export const faults = {
  error500: { _tag: "Status", status: 500, message: "the server has a fault" },
  fenced: { _tag: "Text", change: (reply: string) => `Here it is:\n\`\`\`json\n${reply}\n\`\`\`` },
  reasoned: { _tag: "Text", change: (reply: string) => `<think>\nLet me see: {"not": "this"}\n</think>\n${reply}` },
  endlessReasoning: { _tag: "Text", change: () => "<think>\nLet me see", finish: "length" },
  prose: { _tag: "Text", change: () => "I could not find anything that fits." },
  cut: { _tag: "Text", change: (reply: string) => reply.slice(0, Math.ceil(reply.length / 2)), finish: "length" },
  empty: { _tag: "Text", change: () => "" },
  spaces: { _tag: "Text", change: () => `{${" \n".repeat(2_000)}`, finish: "length" }
} as const satisfies Record<string, Fault>

export interface ScriptedOptions {
  /** Replies of roles that do not follow the usual script. */
  readonly scripts?: Partial<Record<Role, Script>>
  /** Reference answers by question text; a right answer contains the reference. */
  readonly gold?: ReadonlyMap<string, string>
  readonly latencyMs?: number
  /** Members of a request it answers with status 400, as an older server would. */
  readonly unknown?: ReadonlyArray<"json_schema" | "json_object" | "chat_template_kwargs" | "max_tokens" | "stream" | "stream_options">
  /** Answers whole to whoever asks for a stream. */
  readonly neverStreams?: boolean
  /** Milliseconds between two pieces of a streamed reply. */
  readonly pieceMs?: number
  /** Names it lists; the first is used where none is set. */
  readonly models?: ReadonlyArray<string>
  /** False = counts no tokens. */
  readonly countsTokens?: boolean
}

export interface ScriptedModel {
  /** Base address, ending in `/v1`. */
  readonly url: string
  /** Requests received, in order of arrival. */
  readonly requests: Array<ScriptedRequest>
  /** Requests in work now and the most there were at once. */
  readonly inFlight: { now: number; most: number }
  /** Decides for each request whether and how it fails; undefined = it does not. */
  setFault: (fault: ((request: ScriptedRequest) => Fault | undefined) | undefined) => void
}

/** Sentences on offer to the proposer; the first third helps, the second harms, the last does nothing. */
export const scriptedPrinciples: ReadonlyArray<string> = [
  "Prefer the newest memory when two of them disagree.",
  "List every matching memory before counting.",
  "Name the memory an answer rests on.",
  "Always answer with the first memory shown.",
  "Never say that something is unknown.",
  "Guess when the memories are silent.",
  "Write in full sentences.",
  "Keep names as they were written.",
  "Read the question once more before answering."
]
const kindOf = (sentence: number): "helps" | "harms" | "neither" => (sentence < 3 ? "helps" : sentence < 6 ? "harms" : "neither")

const numberFrom = (...parts: ReadonlyArray<string | number>): number => createHash("sha256").update(parts.join("\u0000")).digest().readUInt32BE(0)

const questionOf = (prompt: string): string => /^Question: (.*)$/m.exec(prompt)?.[1]?.trim() ?? prompt.slice(-200)

/** Percent, from the question alone: a fifth are always wrong, a fifth always right, the others in between. */
const easeOf = (question: string): number => {
  const drawn = numberFrom("ease", question) % 100
  return drawn < 20 ? 0 : drawn >= 80 ? 100 : 25 + ((drawn - 20) * 50) / 60
}

const answer = (gold: ReadonlyMap<string, string>): Script => ({ draw, prompt }) => {
  const question = questionOf(prompt)
  const moved = scriptedPrinciples.reduce((sum, sentence, at) => {
    const kind = prompt.includes(sentence) ? kindOf(at) : "neither"
    return kind === "helps" ? sum + 25 : kind === "harms" ? sum - 25 : sum
  }, easeOf(question))
  const isRight = draw("answer", 100) < moved
  const reference = gold.get(question)
  const mark = `(ref ${draw("mark", 0xff_ffff).toString(16).padStart(6, "0")}-${isRight ? 1 : 0})`
  return isRight ? `${reference ?? "As was said before"}. ${mark}` : `Perhaps it was something else. ${mark}`
}

const operations: Script = ({ draw, prompt }) => {
  const sentence = draw("sentence", scriptedPrinciples.length)
  const ids = [...prompt.matchAll(/^\[([\w:.-]+)\] /gm)].map(([, id]) => id ?? "")
  const add = { operation: "add", id: null, content: scriptedPrinciples[sentence], scope: "all" }
  if (ids.length === 0 || draw("kind", 10) < 7) return { operations: [add] }
  const id = ids[draw("id", ids.length)]
  return { operations: draw("kind", 10) < 9 ? [{ operation: "update", id, content: scriptedPrinciples[sentence], scope: null }] : [{ operation: "delete", id, content: null, scope: null }] }
}

/** The proposals in the prompt, one JSON object a line, each once and at most four. */
const consolidation: Script = ({ prompt }) => {
  const lines = new Set(prompt.split("\n").filter((line) => /^\{.*"operation".*\}$/.test(line.trim())))
  return { operations: [...lines].slice(0, 4).map((line) => JSON.parse(line) as object) }
}

const usual = (gold: ReadonlyMap<string, string>): Record<Role, Script> => ({
  extract: ({ prompt }) => ({
    facts: [...prompt.matchAll(/^\s*\[?(\d+)\]?\W.*?\buser\b[^:]*: (.+)$/gim)].map(([, turn, text]) => ({ turns: [Number(turn)], fact: `The user said: ${text}`, time: null }))
  }),
  reconcile: () => ({ action: "keep", text: null }),
  answer: answer(gold),
  judge: ({ prompt }) => ({ reason: "The mark in the response says so.", verdict: /\(ref [0-9a-f]{6}-1\)/.test(prompt) ? "yes" : "no" }),
  reflect: ({ draw }) => ({ lesson: scriptedPrinciples[draw("lesson", scriptedPrinciples.length)], scope: "all" }),
  propose: operations,
  consolidate: consolidation
})

const textOf = (content: unknown): string => (typeof content === "string" ? content : "")

const readBody = async (request: IncomingMessage): Promise<Record<string, unknown>> => {
  const parts: Array<Buffer> = []
  for await (const part of request) parts.push(part as Buffer)
  return parts.length === 0 ? {} : (JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>)
}

const json = (response: ServerResponse, status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): void => {
  response.writeHead(status, { "content-type": "application/json", ...headers })
  response.end(JSON.stringify(value))
}
const refuse = (response: ServerResponse, status: number, message: string, code?: string, headers?: Readonly<Record<string, string>>): void =>
  json(response, status, { error: { message, type: "scripted", code: code ?? null } }, headers)

/** Serves on a free port of 127.0.0.1 until the scope closes. */
export const scriptedModel = (options: ScriptedOptions = {}): Effect.Effect<ScriptedModel, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const scripts = { ...usual(options.gold ?? new Map()), ...options.scripts }
        const models = options.models ?? ["scripted"]
        const model: ScriptedModel & { fault?: ((request: ScriptedRequest) => Fault | undefined) | undefined } = {
          url: "",
          requests: [],
          inFlight: { now: 0, most: 0 },
          setFault: (fault) => {
            model.fault = fault
          }
        }
        const sentBefore = new Map<string, number>()

        const answerChat = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
          const body = await readBody(request)
          const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
          const named = headers["x-metamem-role"]
          const role = roles.find((role) => role === named) ?? "answer"
          const call = headers["x-metamem-call"] ?? ""
          const messages = body["messages"] as ReadonlyArray<{ readonly content: unknown }>
          const prompt = messages.map(({ content }) => textOf(content)).join("\n\n")
          const seed = typeof body["seed"] === "number" ? body["seed"] : 0
          const repeats = sentBefore.get(call) ?? 0
          sentBefore.set(call, repeats + 1)
          const asked: ScriptedRequest = { role, prompt, seed, repeats, call, body, headers, draw: (word, bound) => numberFrom(role, prompt, seed, word) % bound }
          model.requests.push(asked)

          if (options.latencyMs !== undefined) await new Promise((resolve) => setTimeout(resolve, options.latencyMs))
          const format = (body["response_format"] as { readonly type?: string } | undefined)?.type
          const strange = options.unknown?.find((member) => member === format || member in body)
          if (strange !== undefined) {
            const message = strange === "max_tokens" ? "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead." : strange.startsWith("json") ? `response_format ${strange} is not supported` : `Unrecognized request argument supplied: ${strange}`
            return refuse(response, 400, message)
          }

          const fault = model.fault?.(asked)
          switch (fault?._tag) {
            case "Status":
              return refuse(response, fault.status, fault.message ?? `status ${fault.status}`, fault.code, fault.retryAfter === undefined ? {} : { "retry-after": fault.retryAfter })
            case "Hang":
              return
            case "Disconnect":
              request.socket.destroy()
              return
            case "Html":
              response.writeHead(200, { "content-type": "text/html" })
              response.end("<!doctype html><html><body>Welcome to nginx</body></html>")
              return
            case "HalfJson":
              response.writeHead(200, { "content-type": "application/json" })
              response.end('{"id": "x", "choices": [{"index": 0, "mess')
              return
          }

          const said = call === "probe" ? { ok: true } : scripts[role](asked)
          const plain = typeof said === "string" ? said : JSON.stringify(said)
          const text = fault?._tag === "Text" ? fault.change(plain) : plain
          const message = {
            role: "assistant",
            content: fault?._tag === "Refusal" || fault?._tag === "Misfiled" ? null : text,
            ...(fault?._tag === "Refusal" ? { refusal: "I cannot help with that." } : {}),
            ...(fault?._tag === "Misfiled" ? { reasoning_content: text } : {})
          }
          const finish = fault?._tag === "Text" ? (fault.finish ?? "stop") : "stop"
          const promptTokens = Math.ceil(prompt.length / 4)
          const completionTokens = Math.ceil(text.length / 4)
          const usage = options.countsTokens === false ? {} : { usage: { prompt_tokens: promptTokens, completion_tokens: completionTokens, total_tokens: promptTokens + completionTokens } }
          const base = { id: `chatcmpl-${call.slice(0, 12)}`, created: 0, model: body["model"] }
          if (body["stream"] !== true || options.neverStreams === true) {
            return json(response, 200, { ...base, object: "chat.completion", choices: [{ index: 0, finish_reason: finish, message }], ...usage })
          }
          response.writeHead(200, { "content-type": "text/event-stream" })
          const piece = (choices: ReadonlyArray<unknown>, more: object = {}) => response.write(`data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", choices, ...more })}\n\n`)
          for (let at = 0; at < text.length; at += 16) {
            piece([{ index: 0, delta: { content: text.slice(at, at + 16) }, finish_reason: null }])
            if (options.pieceMs !== undefined) await new Promise((resolve) => setTimeout(resolve, options.pieceMs))
          }
          piece([{ index: 0, delta: {}, finish_reason: finish }])
          piece([], usage)
          response.end("data: [DONE]\n\n")
        }

        const server = createServer((request, response) => {
          if (request.url?.endsWith("/models")) return json(response, 200, { object: "list", data: models.map((id) => ({ id, object: "model" })) })
          model.inFlight.now += 1
          model.inFlight.most = Math.max(model.inFlight.most, model.inFlight.now)
          let isCounted = true
          const done = () => {
            if (isCounted) model.inFlight.now -= 1
            isCounted = false
          }
          // Before the caller can have the reply, or when the caller went away.
          response.on("prefinish", done)
          response.on("close", done)
          answerChat(request, response).catch((error: unknown) => refuse(response, 500, String(error)))
        })
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        return { server, model: Object.assign(model, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` }) }
      }),
      ({ server }) =>
        Effect.promise(
          () =>
            new Promise<void>((resolve) => {
              server.close(() => resolve())
              server.closeAllConnections()
            })
        )
    ),
    ({ model }) => model
  )
