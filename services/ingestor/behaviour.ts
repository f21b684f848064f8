/** Which turns of a request are new. A conversation's state is the set of its turn ids; sending a turn again adds nothing. */
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import type { Turn } from "#shared/domain/turn"
import { type IngestorCommand, type IngestorEvent, ingestorCodec } from "./protocol.ts"

export interface IngestorState {
  readonly turnIds: Set<string>
  lastTurn: string | undefined
  /** What came last: turns still open, or an end that holds until the next turn. */
  ended: "open" | "idle" | "closed"
}

export const behaviour: Behaviour<IngestorState, IngestorCommand, IngestorEvent, never> = {
  codec: ingestorCodec,
  initial: () => ({ turnIds: new Set(), lastTurn: undefined, ended: "open" }),
  decide: (state, command) => {
    switch (command._tag) {
      case "ReceiveTurns": {
        const seen = new Set<string>()
        const fresh = command.turns.filter((turn) => !state.turnIds.has(turn.id) && !seen.has(turn.id) && seen.add(turn.id))
        const [first, ...rest] = fresh
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
        for (const turn of event.turns) state.turnIds.add(turn.id)
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
