/**
 * Reading a stream in order, many messages at a time: a consumer of the reader's own, asked for a bounded batch as the reader takes what
 * came. The client's own ordered consumer hands over one message at a time and asks anew for every few, which made a run's replay slow.
 */
import { AckPolicy, DeliverPolicy } from "@nats-io/jetstream"
import { createInbox, type Msg, type MsgHdrs, type Subscription } from "@nats-io/transport-node"
import { Array as Arrays, Cause, Effect, Stream } from "effect"
import type { RawMessage } from "./envelope.ts"
import { attemptRead, LogUnavailable, maxMessageBytes, type Nats, reasonOf } from "./nats.ts"

/** Messages of one request; the next is sent when half of them have come. */
const batchSize = 1_000
/** Bytes of one request, since commits differ a thousandfold; more than one message may have. Two requests are under way at most. */
const batchBytes = maxMessageBytes + 1024 * 1024
/** How long a request stands. A read asks only while something is there: where a request runs out, it looks anew at what there is. */
const expiresMs = { read: 3_000, follow: 10_000 }
/** The server's sign of life to a reader; two missed make the reader begin anew where it was. */
const heartbeatMs = 1_500
/** The server forgets a consumer that nobody asks for this long; the reader then makes another. */
const forgottenMs = 60_000
/** A read that was under way waits this long for a server that went away; a follow waits for ever. */
const awayMaxMs = 20_000

export const headersOf = (headers: MsgHdrs | undefined): Record<string, string> => {
  const record: Record<string, string> = {}
  if (headers !== undefined) for (const [name, values] of headers) record[name] = values[0] ?? ""
  return record
}

/**
 * A message's headers, read from its bytes where the client shows them: it checks and files each name and value anew, which took a fifth
 * of a read. Commits are written by this project, with single lines of ASCII for values.
 */
const headersIn = (message: Msg): Record<string, string> => {
  const { _msg, _rdata } = message as { readonly _msg?: { readonly hdr?: unknown }; readonly _rdata?: unknown }
  if (typeof _msg?.hdr !== "number" || _msg.hdr <= 0 || !(_rdata instanceof Uint8Array)) return headersOf(message.headers)
  const text = Buffer.prototype.latin1Slice.call(_rdata, 0, _msg.hdr)
  const record: Record<string, string> = {}
  // The first line names the protocol, and an empty one ends the block.
  for (let from = text.indexOf("\r\n") + 2; from > 1;) {
    const to = text.indexOf("\r\n", from)
    const colon = text.indexOf(":", from)
    if (to === -1 || colon === -1 || colon > to) break
    record[text.slice(from, colon)] ??= text.slice(colon + 1, to).trim()
    from = to + 2
  }
  return record
}

/** What the server says of a delivery in the reply subject: `$JS.ACK.{stream}.{consumer}.{tries}.{sequence}.{delivery}.{nanoseconds}.{pending}`, with domain and account before the stream in a newer form. */
const deliveryOf = (reply: string) => {
  const tokens = reply.split(".")
  const at = tokens.length > 9 ? 7 : 5
  return { sequence: Number(tokens[at]), delivery: Number(tokens[at + 1]), timeMs: Math.floor(Number(tokens[at + 2]) / 1e6), pending: Number(tokens[at + 3]) }
}

interface Reading {
  /** What came since the last call, at least one message; none when a read is through. Not to be called before the last call settled. */
  readonly next: () => Promise<ReadonlyArray<RawMessage>>
  readonly close: () => Promise<void>
}

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

const beginReading = async ({ jsm, nc }: Nats["Service"], stream: string, filters: ReadonlyArray<string>, after: number, live: boolean): Promise<Reading> => {
  let last = after
  let buffer: Array<RawMessage> = []
  let consumer: { readonly name: string; readonly inbox: string; readonly subscription: Subscription } | undefined
  let delivery = 0
  /** Messages asked for that have not come. */
  let wanted = 0
  /** Messages of a read that have not come. */
  let left = Infinity
  let heardMs = 0
  let failure: unknown
  let isClosed = false
  let wake = (): void => {}

  const drop = (): void => {
    const standing = consumer
    consumer = undefined
    wanted = 0
    if (standing === undefined) return
    standing.subscription.unsubscribe()
    void jsm.consumers.delete(stream, standing.name).catch(() => false)
  }

  const told = ({ headers }: Msg): void => {
    const code = headers?.code ?? 0
    if (code === 100) {
      // More was delivered than came: it is lost, and a follow might not learn so before another comes.
      if (Number(headers?.get("Nats-Last-Consumer") ?? 0) <= delivery) return
      drop()
      return wake()
    }
    if (code === 400) failure = new Error(headers?.description ?? "bad request")
    wanted -= Number(headers?.get("Nats-Pending-Messages") ?? 0)
    // A read that was told nothing in time may wait for what was purged meanwhile.
    if (code === 503 || (code === 408 && !live) || (code === 409 && /deleted|leadership|shutdown/i.test(headers?.description ?? ""))) drop()
    wake()
  }

  const arrived = (message: Msg): void => {
    const at = deliveryOf(message.reply ?? "")
    // One is missing: begin anew behind the last that came.
    if (at.delivery !== delivery + 1) {
      drop()
      return wake()
    }
    delivery = at.delivery
    last = at.sequence
    wanted -= 1
    if (left <= 0) return
    buffer.push({ subject: message.subject, sequence: at.sequence, time: new Date(at.timeMs).toISOString(), headers: headersIn(message), payload: message.data })
    // What others append or purge in the meantime neither keeps a read going nor makes it wait.
    if (!live) left = at.pending === 0 ? 0 : left - 1
    wake()
  }

  const open = async (): Promise<void> => {
    const { name, num_pending } = await jsm.consumers.add(stream, {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: last + 1,
      filter_subjects: [...filters],
      inactive_threshold: forgottenMs * 1e6,
      mem_storage: true,
      num_replicas: 1
    })
    // Closed while the server was waited for.
    if (isClosed) return void jsm.consumers.delete(stream, name).catch(() => false)
    const inbox = createInbox()
    const subscription = nc.subscribe(inbox, {
      callback: (error, message) => {
        if (consumer?.inbox !== inbox) return
        heardMs = performance.now()
        if (error !== null) {
          failure = error
          return wake()
        }
        if (message.subject === inbox) told(message)
        else arrived(message)
      }
    })
    delivery = 0
    wanted = 0
    heardMs = performance.now()
    if (!live) left = Math.min(left, num_pending)
    consumer = { name, inbox, subscription }
  }

  const openAgain = async (): Promise<void> => {
    const giveUpAt = live ? Infinity : performance.now() + awayMaxMs
    for (let tries = 0; !isClosed; tries++) {
      try {
        return await open()
      } catch (error) {
        if (nc.isClosed() || performance.now() > giveUpAt) throw error
        await pause(Math.min(100 * 2 ** tries, 2_000))
      }
    }
  }

  const ask = (): void => {
    if (consumer === undefined || wanted > batchSize / 2) return
    wanted += batchSize
    const request = { batch: batchSize, max_bytes: batchBytes, expires: (live ? expiresMs.follow : expiresMs.read) * 1e6, idle_heartbeat: heartbeatMs * 1e6 }
    nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer.name}`, JSON.stringify(request), { reply: consumer.inbox })
  }

  const somethingHappens = (): Promise<void> =>
    new Promise((resolve) => {
      const silence = setTimeout(() => {
        if (performance.now() - heardMs >= 2 * heartbeatMs) drop()
        wake()
      }, 2 * heartbeatMs)
      wake = () => {
        clearTimeout(silence)
        wake = () => {}
        resolve()
      }
    })

  await open()
  return {
    next: async () => {
      for (;;) {
        if (isClosed) return []
        if (failure !== undefined) throw failure
        if (buffer.length > 0) {
          const batch = buffer
          buffer = []
          if (left > 0) ask()
          return batch
        }
        if (consumer === undefined && left > 0) await openAgain()
        if (left <= 0) return []
        ask()
        if (buffer.length === 0) await somethingHappens()
      }
    },
    close: async () => {
      isClosed = true
      const standing = consumer
      consumer = undefined
      standing?.subscription.unsubscribe()
      wake()
      if (standing !== undefined && !nc.isClosed()) await jsm.consumers.delete(stream, standing.name).catch(() => false)
    }
  }
}

/**
 * Messages after a sequence whose subjects match any filter, in the order of the stream. A read ends with what was there when it began;
 * with `live` it goes on until interrupted. Goes on where it was after the connection or the server was lost, without loss or repetition.
 */
export const readStream = (nats: Nats["Service"], stream: string, filters: ReadonlyArray<string>, after: number, live: boolean): Stream.Stream<RawMessage, LogUnavailable> =>
  Stream.unwrap(
    Effect.gen(function*() {
      const what = `read ${filters.join(", ")}`
      const reading = yield* Effect.acquireRelease(
        attemptRead(what, () => beginReading(nats, stream, filters, after, live)),
        (reading) => Effect.promise(reading.close)
      )
      const next = Effect.tryPromise({ try: reading.next, catch: (error) => new LogUnavailable({ operation: "read", message: `${what}: ${reasonOf(error)}` }) })
      return Stream.fromPull(Effect.succeed(Effect.flatMap(next, (batch) => (Arrays.isReadonlyArrayNonEmpty(batch) ? Effect.succeed(batch) : Cause.done()))))
    })
  )
