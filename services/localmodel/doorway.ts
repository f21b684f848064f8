/**
 * The local model's address before there is a model: its process is started by the first connection, and every connection is passed on to
 * it. Most commands ask no model, and loading one takes longer than all else they do.
 */
import { connect, createServer, type Server, type Socket } from "node:net"
import { Deferred, Effect, Result, type Scope } from "effect"
import { ApiError, errorBody } from "./api-error.ts"
import { spawn } from "./child.ts"
import { checkModelFile, modelName } from "./gguf.ts"
import type { Served, ServeOptions } from "./settings.ts"
import type { LocalModelUnavailable } from "./unavailable.ts"

/** What a connection gets when the model cannot be loaded. */
const refusal = ({ message }: LocalModelUnavailable): string => {
  const body = JSON.stringify(errorBody(new ApiError({ status: 503, code: "model_not_loaded", message })))
  return `HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
}

/** Joins two connections; what ends or breaks the one ends the other. */
const join = (from: Socket, to: Socket): void => {
  for (const [one, other] of [[from, to], [to, from]] as const) {
    one.pipe(other)
    one.once("close", () => other.destroy())
  }
  to.on("error", () => to.destroy())
}

const listening = (host: string, pass: (socket: Socket) => void): Effect.Effect<Server, never, Scope.Scope> => {
  const open = new Set<Socket>()
  return Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer((socket) => {
        open.add(socket)
        socket.once("close", () => open.delete(socket))
        socket.on("error", () => socket.destroy())
        pass(socket)
      })
      server.once("error", (error) => resume(Effect.die(error)))
      server.listen(0, host, () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of open) socket.destroy()
      })
  )
}

/**
 * Holds the model's place until the scope ends. Fails at once where the file is no model; where a model does not load, requests are refused
 * with 503 and the reason, which is logged once.
 *
 * @param isAskedAtOnce starts the process now, not with the first connection
 */
export const openDoorway = (options: ServeOptions, isAskedAtOnce: boolean): Effect.Effect<Pick<Served, "url" | "model">, LocalModelUnavailable, Scope.Scope> =>
  Effect.gen(function*() {
    const header = yield* checkModelFile(options.modelPath)
    const asked = yield* Deferred.make<void>()
    const ask = (): void => void Deferred.doneUnsafe(asked, Effect.void)
    let outcome: Result.Result<Served, LocalModelUnavailable> | undefined
    // Bounded by what the roles ask at once: each request in flight has one.
    const waiting: Array<Socket> = []
    const pass = (socket: Socket): void => {
      if (outcome === undefined) {
        waiting.push(socket)
        ask()
      } else if (Result.isFailure(outcome)) socket.end(refusal(outcome.failure))
      else join(socket, connect(Number(new URL(outcome.success.url).port), options.host))
    }
    const server = yield* listening(options.host, pass)
    const serve = Effect.gen(function*() {
      yield* Deferred.await(asked)
      const spawned = yield* Effect.result(spawn(options))
      if (Result.isFailure(spawned)) yield* Effect.logWarning(`no local model: ${spawned.failure.message}`)
      outcome = spawned
      waiting.splice(0).filter((socket) => !socket.destroyed).forEach(pass)
      return yield* Effect.never
    })
    // The process lives in the fiber's own scope: ended while it loads, it is not taken for one that cannot.
    yield* Effect.forkScoped(Effect.scoped(serve))
    if (isAskedAtOnce) ask()
    const address = server.address()
    const port = address !== null && typeof address === "object" ? address.port : 0
    return { url: `http://${options.host}:${port}/v1`, model: modelName(options.modelPath, header) }
  })
