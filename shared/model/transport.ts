/**
 * HTTP for the model clients: Node's own client with kept-alive connections. It costs half the processor time of the global `fetch`,
 * and has no limit of its own on how long a model may think before it answers.
 */
import http from "node:http"
import https from "node:https"
import { Readable } from "node:stream"

/** Idle connections kept per address, and how long: servers close them after 5 s, and a request on one just closed is lost. */
const idle = { maxFreeSockets: 256, timeout: 4_000 }
/** A reply beyond this is not one: 32 MiB. */
const bodyMaxBytes = 32 * 1024 * 1024

const plain = new http.Agent({ keepAlive: true, ...idle })
const secure = new https.Agent({ keepAlive: true, ...idle })

const send = (url: string, init: RequestInit): Promise<Response> =>
  new Promise((resolve, reject) => {
    const headers: Record<string, string> = {}
    new Headers(init.headers).forEach((value, name) => {
      headers[name] = value
    })
    const body = typeof init.body === "string" ? init.body : undefined
    if (body !== undefined) headers["content-length"] = String(Buffer.byteLength(body))
    const isSecure = url.startsWith("https:")
    const request = (isSecure ? https : http).request(url, { method: init.method ?? "GET", headers, agent: isSecure ? secure : plain })
    const abort = () => request.destroy(new DOMException("aborted", "AbortError"))
    init.signal?.addEventListener("abort", abort, { once: true })
    const settled = () => init.signal?.removeEventListener("abort", abort)
    request.on("error", (error) => {
      settled()
      reject(error)
    })
    request.on("response", (message) => {
      const status = message.statusCode ?? 0
      const replyHeaders = new Headers()
      for (let i = 0; i < message.rawHeaders.length; i += 2) replyHeaders.append(message.rawHeaders[i]!, message.rawHeaders[i + 1]!)
      if (message.headers["content-type"]?.startsWith("text/event-stream")) {
        message.on("close", settled)
        resolve(new Response(Readable.toWeb(message) as ReadableStream, { status, headers: replyHeaders }))
        return
      }
      const parts: Array<Buffer> = []
      let bytes = 0
      message.on("data", (part: Buffer) => {
        bytes += part.length
        if (bytes > bodyMaxBytes) request.destroy(new Error(`the reply is longer than ${bodyMaxBytes} bytes`))
        else parts.push(part)
      })
      message.on("error", (error) => {
        settled()
        reject(error)
      })
      message.on("end", () => {
        settled()
        resolve(new Response(status === 204 || status === 304 ? null : Buffer.concat(parts), { status: status < 200 ? 502 : status, headers: replyHeaders }))
      })
    })
    if (init.signal?.aborted) abort()
    else request.end(body)
  })

/** A `fetch` for string bodies. Rejects when the connection fails, the body ends early, or the signal aborts. */
export const keptAliveFetch = (input: string | URL | Request, init?: RequestInit): Promise<Response> =>
  send(typeof input === "string" ? input : input instanceof URL ? input.href : input.url, init ?? {})
