/** Which turns of a request are new. A conversation's state is what was said under each turn id; sending a turn again adds nothing. */
import { hash } from "node:crypto"
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import { noteTime, type SessionTimes, spaceTime } from "#shared/domain/time"
import type { Turn } from "#shared/domain/turn"
import { type IngestorCommand, type IngestorEvent, ingestorCodec } from "./protocol.ts"

/** What was said by whom, in short: tells a turn that is sent again from another one under the same id. */
export const printOf = ({ speaker, text }: Pick<Turn, "speaker" | "text">): string => hash("sha1", `${speaker}\n${text}`, "base64").slice(0, 12)

/**
 * How far a turn without a time of its own may be put ahead of the clock, so that it stands behind the one before it. A clock that is put
 * right by less keeps the order of the talk, and has caught up within a day. One that was wrong by more is not followed: what comes after
 * it was put right bears the right time, though it then stands before what came while it was wrong.
 */
const aheadMaxMs = 24 * 3_600_000

export interface IngestorState {
  /** Prints by turn id. */
  readonly turns: Map<string, string>
  readonly times: SessionTimes
  /** Times of the turn that came last and of the latest turn, in milliseconds. */
  lastAt: number
  latestAt: number
  lastTurn: string | undefined
  /** What came last: turns still open, or an end that holds until the next turn. */
  ended: "open" | "idle" | "closed"
}

/** The time of arrival, or that of a turn before it where the clock was put back: at one time turns stand in the order of the log. */
const arrivalTime = (clock: string, ...before: ReadonlyArray<number>): string => {
  const now = Date.parse(clock)
  const behind = before.find((at) => at > now && at - now <= aheadMaxMs)
  return behind === undefined ? clock : new Date(behind).toISOString()
}

/** Turns that are not known yet, each once. */
const newOf = (state: IngestorState, turns: ReadonlyArray<Turn>): ReadonlyArray<Turn> => {
  const seen = new Set<string>()
  return turns.filter((turn) => !state.turns.has(turn.id) && !seen.has(turn.id) && seen.add(turn.id))
}

const recorded = ([first, ...rest]: ReadonlyArray<Turn>): ReadonlyArray<IngestorEvent> => (first === undefined ? [] : [{ _tag: "TurnsReceived", turns: [first, ...rest] }])

export const behaviour: Behaviour<IngestorState, IngestorCommand, IngestorEvent, never> = {
  codec: ingestorCodec,
  initial: () => ({ turns: new Map(), times: new Map(), lastAt: -Infinity, latestAt: -Infinity, lastTurn: undefined, ended: "open" }),
  decide: (state, command) => {
    switch (command._tag) {
      case "ReceiveTurns": {
        const times: SessionTimes = new Map(state.times)
        let { lastAt, latestAt } = state
        // Turns of one request came at once, and bear one time of arrival.
        const turns = newOf(state, command.turns).map((turn) => {
          const time = command.arrived?.has(turn.id) === true ? arrivalTime(turn.time, latestAt, lastAt) : spaceTime(times, turn.time)
          lastAt = Date.parse(time)
          latestAt = Math.max(latestAt, lastAt)
          return { ...turn, time }
        })
        return Result.succeed(recorded(turns))
      }
      case "RecordTurns":
        return Result.succeed(recorded(newOf(state, command.turns)))
      case "CloseConversation":
        return Result.succeed(state.lastTurn === undefined || state.ended === "closed" ? [] : [{ _tag: "ConversationClosed" }])
      case "NoteIdle":
        return Result.succeed(
          state.lastTurn !== command.throughTurn || state.ended !== "open" ? [] : [{ _tag: "ConversationIdle", throughTurn: command.throughTurn }]
        )
    }
  },
  evolve: (state, event): IngestorState => {
    switch (event._tag) {
      case "TurnsReceived":
        for (const turn of event.turns) {
          state.turns.set(turn.id, printOf(turn))
          noteTime(state.times, turn.time)
          state.lastAt = Date.parse(turn.time)
          state.latestAt = Math.max(state.latestAt, state.lastAt)
        }
        state.lastTurn = event.turns.at(-1)?.id
        state.ended = "open"
        return state
      case "ConversationClosed":
        state.ended = "closed"
        return state
      case "ConversationIdle":
        state.ended = "idle"
        return state
    }
  }
}
