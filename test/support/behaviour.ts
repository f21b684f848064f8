/** Given, when, then for behaviours: what happened, what is asked, what is decided. Nothing here touches a log. */
import { Result } from "effect"
import * as assert from "uvu/assert"
import type { Behaviour, CommitPlace } from "#shared/actor/behaviour"

const place = (sequence: number): CommitPlace => ({ id: `commit ${sequence}`, sequence, cause: `cause ${sequence}`, inputThrough: 0, binary: new Uint8Array(0) })

export const spec = <State, Command, Event extends { readonly _tag: string }, Refusal extends { readonly _tag: string }>(behaviour: Behaviour<State, Command, Event, Refusal>) => {
  /** The state after events, folded the way a restart does: through their stored form. */
  const fold = (events: ReadonlyArray<Event>): State =>
    events.reduce((state, event, at) => {
      const stored = JSON.parse(JSON.stringify(behaviour.codec.encode(event))) as ReturnType<typeof behaviour.codec.encode>
      return behaviour.evolve(state, Result.getOrThrow(behaviour.codec.decode(stored)), place(at + 1))
    }, behaviour.initial())

  const given = (...events: ReadonlyArray<Event>) => ({
    when: (command: Command) => ({
      /** Also asks a second time, on the state that follows: nothing may be decided twice. */
      then: (...expected: ReadonlyArray<Event>): void => {
        const decided = Result.getOrThrow(behaviour.decide(fold(events), command))
        assert.equal(decided, expected)
        const again = behaviour.decide(fold([...events, ...decided]), command)
        assert.equal(Result.isFailure(again) ? [] : again.success, [])
      },
      thenFails: (tag: Refusal["_tag"]): void => {
        const decided = behaviour.decide(fold(events), command)
        assert.ok(Result.isFailure(decided), "it was not refused")
        assert.is(decided.failure._tag, tag)
      }
    })
  })

  /** Runs commands one after another and demands that the state folded from the stored events equals the state lived through. */
  const survivesRestart = (...commands: ReadonlyArray<Command>): ReadonlyArray<Event> => {
    let live = behaviour.initial()
    const all: Array<Event> = []
    for (const command of commands) {
      const decided = behaviour.decide(live, command)
      for (const event of Result.isSuccess(decided) ? decided.success : []) {
        all.push(event)
        live = behaviour.evolve(live, event, place(all.length))
      }
    }
    assert.equal(fold(all), live)
    return all
  }
  return { fold, given, survivesRestart }
}
