/** What an actor decides: pure functions over a state folded from its own events. No clock, no randomness, no network. */
import type { Result } from "effect"
import type { Commit } from "../eventlog/envelope.ts"
import type { EventCodec } from "../eventlog/event.ts"

/** Where an event stands, for folds that keep positions or read packed vectors. */
export type CommitPlace = Pick<Commit, "id" | "sequence" | "cause" | "inputThrough" | "binary">

export interface Behaviour<State, Command, Event extends { readonly _tag: string }, Refusal> {
  readonly codec: EventCodec<Event>
  /** A fresh state; the fold may change it in place, since nobody else holds it. */
  readonly initial: () => State
  /** Refuses or yields the events of one commit; deciding a second time on the state that follows yields none or refuses. */
  readonly decide: (state: State, command: Command) => Result.Result<ReadonlyArray<Event>, Refusal>
  /** Only copies what the event says; never fails. */
  readonly evolve: (state: State, event: Event, place: CommitPlace) => State
}
