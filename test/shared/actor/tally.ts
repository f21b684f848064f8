/**
 * A small actor for tests of the kit: an entity that collects numbers, and a worker that collects what an ingestor's subject says into a
 * compressor's. It keeps no record of the numbers it saw, only the water mark it decided on, so a number collected twice shows.
 */
import { Effect, Result, Schema } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import { makeEntity } from "#shared/actor/entity"
import type { SignalWorker } from "#shared/actor/signals"
import { defineEvent, eventCodec, type EventOf } from "#shared/eventlog/event"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, memorySubject, parseMemorySubject } from "#shared/eventlog/subjects"

export const Collected = defineEvent("Collected", { version: 1, payload: Schema.Struct({ numbers: Schema.Array(Schema.Int), by: Schema.String }) })
/** Nothing is collected after it until it is opened again. */
export const Closed = defineEvent("Closed", { version: 1, payload: Schema.Struct({}) })
export const Opened = defineEvent("Opened", { version: 1, payload: Schema.Struct({}) })
export const tallyCodec = eventCodec([Collected, Closed, Opened])
export type TallyEvent = EventOf<typeof Collected> | EventOf<typeof Closed> | EventOf<typeof Opened>

export type TallyCommand =
  /** `after`: the water mark the numbers were read from; refused when another has moved it since. */
  | { readonly _tag: "Collect"; readonly numbers: ReadonlyArray<number>; readonly by: string; readonly after?: number }
  | { readonly _tag: "Close" }
  | { readonly _tag: "Open" }

export class IsClosed extends Schema.TaggedError<IsClosed>()("IsClosed", { message: Schema.String }) {}

export class Outdated extends Schema.TaggedError<Outdated>()("Outdated", { after: Schema.Int, through: Schema.Int }) {}

export interface Tally {
  readonly numbers: Array<number>
  readonly by: Array<string>
  closed: boolean
  through: number
}

export const tally: Behaviour<Tally, TallyCommand, TallyEvent, IsClosed | Outdated> = {
  codec: tallyCodec,
  initial: () => ({ numbers: [], by: [], closed: false, through: 0 }),
  decide: (state, command) => {
    switch (command._tag) {
      case "Collect":
        if (state.closed) return Result.fail(new IsClosed({ message: "open it first" }))
        if (command.after !== undefined && command.after !== state.through) return Result.fail(new Outdated({ after: command.after, through: state.through }))
        return Result.succeed([{ _tag: "Collected", numbers: command.numbers, by: command.by }])
      case "Close":
        return Result.succeed(state.closed ? [] : [{ _tag: "Closed" }])
      case "Open":
        return Result.succeed(state.closed ? [{ _tag: "Opened" }] : [])
    }
  },
  evolve: (state, event, place): Tally => {
    state.through = Math.max(state.through, place.inputThrough)
    switch (event._tag) {
      case "Collected":
        state.numbers.push(...event.numbers)
        state.by.push(event.by)
        return state
      case "Closed":
        state.closed = true
        return state
      case "Opened":
        state.closed = false
        return state
    }
  }
}

export const source = (conversation: string): string => memorySubject({ tenant: "t", user: "u", conversation }, "ingestor")
export const target = (conversation: string): string => memorySubject({ tenant: "t", user: "u", conversation }, "compressor")

/** Appends one commit with one number to a conversation's source; returns its sequence. */
export const say = (conversation: string, number: number) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const subject = source(conversation)
    const last = yield* log.last(subject)
    const { sequence } = yield* log.append(
      { subject, cause: `say ${number}`, events: [tallyCodec.encode({ _tag: "Collected", numbers: [number], by: "source" })] },
      last?.sequence ?? 0,
      last?.checksum ?? ""
    )
    return sequence
  })

const numbersIn = (subject: string, options: { readonly after?: number; readonly minimum?: number } = {}) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const numbers: Array<number> = []
    const by: Array<string> = []
    let through = options.after ?? 0
    for (const commit of yield* log.load(subject, options)) {
      for (const stored of commit.events) {
        const event = Result.getOrThrow(tallyCodec.decode(stored))
        if (event._tag !== "Collected") continue
        numbers.push(...event.numbers)
        by.push(event.by)
      }
      through = commit.sequence
    }
    return { numbers, by, through }
  })

/** What was collected for a conversation, in order, and by whom. */
export const collected = (conversation: string) => numbersIn(target(conversation))

/** Repeats `look` until it yields true; at most `limitMs`. */
export const until = <E, R>(look: Effect.Effect<boolean, E, R>, limitMs: number, what: string): Effect.Effect<void, E | Error, R> =>
  Effect.gen(function*() {
    for (let waited = 0; waited < limitMs; waited += 50) {
      if (yield* look) return
      yield* Effect.sleep(50)
    }
    return yield* Effect.fail(new Error(`${what}: not within ${limitMs} ms`))
  })

/**
 * Collects what the source says.
 *
 * @param before runs between reading and committing: a place to be slow, to fail or to be killed
 */
export const tallyWorker = <E, R>(
  by: string,
  concurrency: number,
  before: (subject: string, numbers: ReadonlyArray<number>) => Effect.Effect<void, E, R>
) =>
  Effect.map(makeEntity(tally, 10_000), (entity) => {
    const handle = Effect.fnUntraced(function*(subject: string, minimum: number) {
      // Bounded by the other workers: each refusal means that one of them has moved on.
      for (let tries = 0; tries < 20; tries++) {
        const folded = yield* entity.load(subject)
        if (folded.inputThrough >= minimum) return folded.inputThrough
        const after = folded.inputThrough
        const pending = yield* numbersIn(memorySubject(parseMemorySubject(subject), "ingestor"), { after, minimum })
        yield* before(subject, pending.numbers)
        const outcome = yield* Effect.result(
          entity.execute(subject, { _tag: "Collect", numbers: pending.numbers, by, after }, { cause: `${after}-${pending.through} by ${by}`, inputThrough: pending.through })
        )
        if (Result.isSuccess(outcome)) return outcome.success.folded.inputThrough
        if (outcome.failure._tag !== "Outdated") return yield* Effect.fail(outcome.failure)
      }
      return yield* Effect.die(new Error("outdated twenty times"))
    })
    return {
      actor: "compressor",
      filters: [memoryFilter({ actor: "ingestor" })],
      target: (subject: string) => memorySubject(parseMemorySubject(subject), "compressor"),
      handle,
      concurrency
    } satisfies SignalWorker<unknown, unknown>
  })
