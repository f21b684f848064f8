/** Signals that a process has and has not acknowledged, whether they wait or are worked on: while it lives no other gets them, and when it stops others get them at once. */
import type { JsMsg } from "@nats-io/jetstream"
import { Effect, Schedule } from "effect"
import { Nats } from "../eventlog/nats.ts"

export const makeUnacknowledged = Effect.fnUntraced(function*(ackWaitSeconds: number) {
  const { nc } = yield* Nats
  const messages = new Set<JsMsg>()
  yield* Effect.sync(() => {
    for (const message of messages) message.working()
  }).pipe(Effect.repeat(Schedule.spaced((ackWaitSeconds * 1_000) / 3)), Effect.forkScoped)
  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      for (const message of messages) message.nak()
      if (!nc.isClosed()) await nc.flush().catch(() => undefined)
    })
  )
  return {
    add: (message: JsMsg) => void messages.add(message),
    ack: (message: JsMsg) => {
      messages.delete(message)
      message.ack()
    },
    /** Gives it back, to be delivered again after so long. */
    nak: (message: JsMsg, delayMs: number) => {
      messages.delete(message)
      // A fraction of a millisecond would be delivered again at once.
      message.nak(Math.round(delayMs))
    }
  }
})
export type Unacknowledged = Effect.Success<ReturnType<typeof makeUnacknowledged>>
