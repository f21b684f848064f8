/** Which generation guides a tenant's live answers: the last one adopted. Adopting it again changes nothing. */
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import { adoptionCodec, type GenerationAdopted } from "#shared/metamemory/events"

export interface AdoptionState {
  adopted: GenerationAdopted | undefined
  /** Sequence of the commit that says so; 0 = none. */
  sequence: number
}

/** @property after adopt only while the last adoption is the one of this sequence; absent = whatever was adopted last */
export type AdoptionCommand = { readonly _tag: "Adopt"; readonly event: GenerationAdopted; readonly after?: number }

const isInForce = ({ adopted }: AdoptionState, event: GenerationAdopted): boolean =>
  adopted?.run === event.run && adopted.generation === event.generation && adopted.hash === event.hash

export const adoption: Behaviour<AdoptionState, AdoptionCommand, GenerationAdopted, never> = {
  codec: adoptionCodec,
  initial: () => ({ adopted: undefined, sequence: 0 }),
  decide: (state, { after, event }) => Result.succeed(isInForce(state, event) || (after !== undefined && after !== state.sequence) ? [] : [event]),
  evolve: (state, event, { sequence }) => {
    state.adopted = event
    state.sequence = sequence
    return state
  }
}
