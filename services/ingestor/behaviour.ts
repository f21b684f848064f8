/** Which turns of a request are new. A conversation's state is what was said under each turn id; sending a turn again adds nothing. */
import { hash } from "node:crypto"
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import { noteTime, type SessionTimes, spaceTime } from "#shared/domain/time"
import type { Turn } from "#shared/domain/turn"
import { type IngestorCommand, type IngestorEvent, ingestorCodec } from "./protocol.ts"

/** What was said by whom, in short: tells a turn that is sent again from another one under the same id. */
export const printOf = ({ speaker, text }: Pick<Turn, "speaker" | "text">): string => hash("sha1", `${speaker}\n${text}`, "base64").slice(0, 12)

export interface IngestorState {
  /** Prints by turn id. */
  readonly turns: Map<string, string>
  readonly times: SessionTimes
  lastTurn: string | undefined
  /** What came last: turns still open, or an end that holds until the next turn. */
  ended: "open" | "idle" | "closed"
}

export const behaviour: Behaviour<IngestorState, IngestorCommand, IngestorEvent, never> = {
  codec: ingestorCodec,
  initial: () => ({ turns: new Map(), times: new Map(), lastTurn: undefined, ended: "open" }),
  decide: (state, command) => {
    switch (command._tag) {
      case "ReceiveTurns": {
        const seen = new Set<string>()
        const fresh = command.turns.filter((turn) => !state.turns.has(turn.id) && !seen.has(turn.id) && seen.add(turn.id))
        const times: SessionTimes = new Map(state.times)
        // Times of arrival are as they are: turns of one request came at once.
        const [first, ...rest] = fresh.map((turn) => (command.arrived?.has(turn.id) === true ? turn : { ...turn, time: spaceTime(times, turn.time) }))
        return Result.succeed(first === undefined ? [] : [{ _tag: "TurnsReceived", turns: [first, ...rest] as readonly [Turn, ...Array<Turn>] }])
      }
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
