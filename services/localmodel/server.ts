/**
 * An OpenAI-compatible endpoint over one small model on the processor, so that a laptop and the GPU containers take the same path.
 * Same messages, parameters and seed give the same text, whatever ran before or runs beside it.
 */
import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, type Scope, Stream } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { ApiError, badRequest, errorBody } from "./api-error.ts"
import { type Chat, commonName, makeChat } from "./chat.ts"
import { type Dispatch, makeDispatch } from "./dispatch.ts"
import type { Lane } from "./lane.ts"
import { type LoadedModel, loadModel } from "./model.ts"
import { bodyLimitBytes, readChatRequest } from "./request.ts"
import { loadLimitMs, type Served, type ServeOptions } from "./settings.ts"
import { LocalModelUnavailable } from "./unavailable.ts"

const tooLarge = new ApiError({ status: 413, code: "request_too_large", message: `a request holds at most ${bodyLimitBytes} bytes` })

/** The body's text; nothing beyond the limit is kept. */
const readBody = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<string, ApiError> =>
  Effect.gen(function*() {
    if (Number(request.headers["content-length"] ?? 0) > bodyLimitBytes) return yield* tooLarge
    const chunks: Array<Uint8Array> = []
    let bytes = 0
    yield* Stream.runForEach(request.stream, (chunk) => {
      bytes += chunk.length
      chunks.push(chunk)
      return bytes > bodyLimitBytes ? Effect.fail(tooLarge) : Effect.void
    }).pipe(Effect.catchTag("HttpServerError", () => Effect.fail(badRequest("body_unreadable", "the request's body ended early"))))
    return Buffer.concat(chunks).toString("utf8")
  })

const refuse = (error: ApiError) =>
  HttpServerResponse.jsonUnsafe(errorBody(error), {
    status: error.status,
    headers: {
      ...(error.retryAfterSeconds === undefined ? {} : { "retry-after": String(error.retryAfterSeconds) }),
      // What a refused body still sends is not to be read as the next request.
      ...(error.status === 413 ? { connection: "close" } : {})
    }
  })

const completions = (chat: Chat) =>
  Effect.gen(function*() {
    const request = yield* Effect.fromResult(readChatRequest(yield* readBody(yield* HttpServerRequest.HttpServerRequest)))
    const started = yield* chat.start(request)
    if (!request.stream) return HttpServerResponse.jsonUnsafe(yield* chat.whole(started))
    return HttpServerResponse.stream(chat.stream(started, request.includeUsage), {
      contentType: "text/event-stream; charset=utf-8",
      headers: { "cache-control": "no-cache" }
    })
  })

const routes = (model: LoadedModel, dispatch: Dispatch<Lane>) => {
  const chat = completions(makeChat(model, dispatch))
  const models = ["", commonName].map((name) => ({ id: name || model.name, object: "model", created: 0, owned_by: "metamem", max_model_len: model.contextTokens }))
  return Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const path = request.url.split("?")[0]
    switch (`${request.method} ${path}`) {
      case "POST /v1/chat/completions":
        return yield* chat
      case "GET /v1/models":
        return HttpServerResponse.jsonUnsafe({ object: "list", data: models })
      case "GET /health":
        return HttpServerResponse.jsonUnsafe({ status: "ok", model: model.name, pid: process.pid, ...dispatch.load() })
      default:
        return yield* new ApiError({ status: 404, code: "not_found", message: `${request.method} ${path} is not served here; POST /v1/chat/completions, GET /v1/models and GET /health are` })
    }
  }).pipe(
    Effect.catchTag("ApiError", (error) => Effect.succeed(refuse(error))),
    // The server runs handlers uninterruptibly unless told; who hangs up ends what was generated for them.
    Effect.interruptible
  )
}

const inTime = (modelPath: string) =>
  Effect.timeoutOrElse({
    duration: loadLimitMs,
    orElse: () =>
      Effect.fail(new LocalModelUnavailable({
        path: modelPath,
        reason: "time-limit",
        message: `the model file ${modelPath} was not loaded within ${loadLimitMs / 1000} s; name a smaller one in METAMEM_LOCAL_MODEL, or an endpoint in METAMEM_LLM_URL`
      }))
  })

/** Serves the model from this process until the scope ends. `spawn` (`child.ts`) does it from one of its own, which is what actors want. */
export const serve = (options: ServeOptions): Effect.Effect<Served, LocalModelUnavailable, Scope.Scope> =>
  Effect.gen(function*() {
    const model = yield* loadModel(options.modelPath, options.contextTokens, options.threads).pipe(inTime(options.modelPath))
    const server = yield* NodeHttpServer.make(createServer, { host: options.host, port: options.port, gracefulShutdownTimeout: 500 }).pipe(
      Effect.mapError(({ cause }) => {
        const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause)
        return new LocalModelUnavailable({
          path: options.modelPath,
          reason: "port-in-use",
          message: `the local model cannot listen on ${options.host}:${options.port} (${code}); leave the port to it, or stop what uses it`
        })
      })
    )
    yield* server.serve(routes(model, makeDispatch(model.lanes, options.waiting)))
    const port = server.address._tag === "InetAddressV4" || server.address._tag === "InetAddressV6" ? server.address.port : options.port
    return { url: `http://${options.host}:${port}/v1`, model: model.name, fingerprint: model.fingerprint, contextTokens: model.contextTokens }
  })
