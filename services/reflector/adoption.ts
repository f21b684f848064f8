/** Which generation guides a tenant's live answers: the last one adopted. Adopting it again changes nothing. */
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import { adoptionCodec, type GenerationAdopted } from "#shared/metamemory/events"

export interface AdoptionState {
  adopted: GenerationAdopted | undefined
}

export type AdoptionCommand = { readonly _tag: "Adopt"; readonly event: GenerationAdopted }

export const adoption: Behaviour<AdoptionState, AdoptionCommand, GenerationAdopted, never> = {
  codec: adoptionCodec,
  initial: () => ({ adopted: undefined }),
  decide: (state, { event }) => Result.succeed(state.adopted?.run === event.run && state.adopted.generation === event.generation && state.adopted.hash === event.hash ? [] : [event]),
  evolve: (state, event) => {
    state.adopted = event
    return state
  }
}
