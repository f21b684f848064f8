/** A go-between before an endpoint that remembers which process sent which call, so that what is sent twice can be told from what had to be. */
import { Agent, createServer, request as forward } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, type Scope } from "effect"

export interface SentCall {
  /** By which equal calls are known: the key, and which correction of the reply it asks for where it does. */
  readonly call: string
  readonly sender: string
  readonly role: string
}

export interface CallMeter {
  /** Base address of the endpoint for one sender, ending in `/v1`. */
  readonly api: (sender: string) => string
  /** In the order received. */
  readonly sent: ReadonlyArray<SentCall>
}

/** The key under which a call's reply is kept. */
export const keyOf = (call: string): string => call.split(".")[0] ?? call

/** Calls sent more than once: how often each was sent beyond the first time. */
export const repeats = (sent: ReadonlyArray<SentCall>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const { call } of sent) counts.set(call, (counts.get(call) ?? -1) + 1)
  return new Map([...counts].filter(([, again]) => again > 0))
}

/** @param target address of the endpoint, without `/v1`; plain HTTP */
export const callMeter = (target: string): Effect.Effect<CallMeter, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const sent: Array<SentCall> = []
        const agent = new Agent({ keepAlive: true })
        const server = createServer((asked, reply) => {
          const [, sender = "", ...path] = (asked.url ?? "").split("/")
          const { "x-metamem-call": call, "x-metamem-role": role } = asked.headers
          if (asked.method === "POST") sent.push({ call: String(call), sender: decodeURIComponent(sender), role: String(role) })
          const { host: _, ...headers } = asked.headers
          const onward = forward(new URL(`/${path.join("/")}`, target), { agent, headers, ...(asked.method === undefined ? {} : { method: asked.method }) }, (answer) => {
            reply.writeHead(answer.statusCode ?? 502, answer.headers)
            answer.pipe(reply)
          })
          onward.once("error", (error) => {
            if (!reply.headersSent) reply.writeHead(502, { "content-type": "text/plain" })
            reply.end(`the endpoint does not answer: ${error.message}`)
          })
          asked.pipe(onward)
        })
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        return { agent, server, sent, port: (server.address() as AddressInfo).port }
      }),
      ({ agent, server }) =>
        Effect.promise(() =>
          new Promise<void>((resolve) => {
            server.close(() => resolve())
            server.closeAllConnections()
            agent.destroy()
          }))
    ),
    ({ port, sent }) => ({ sent, api: (sender) => `http://127.0.0.1:${port}/${encodeURIComponent(sender)}/v1` })
  )
