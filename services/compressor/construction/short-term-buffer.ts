/**
 * Gathers segments until they fill a token budget, then releases them as one batch for one extraction call. A fold: the same segments
 * and flushes give the same batches.
 */

/** Tokens (o200k) of one batch unless set otherwise; LightMem's value. */
const shortTermBudget = 512

export interface ShortTermState<Segment> {
  readonly segments: ReadonlyArray<Segment>
  readonly tokens: number
}
export const emptyShortTerm: ShortTermState<never> = { segments: [], tokens: 0 }

export interface ShortTermStep<Segment> {
  readonly state: ShortTermState<Segment>
  /** Batches released by this step; each holds at least one segment. */
  readonly batches: ReadonlyArray<ReadonlyArray<Segment>>
}

/** Adds a segment of `tokens` tokens. A segment larger than the budget is a batch of its own, released when the next one comes or on flush. */
export const pushSegment = <Segment>(
  state: ShortTermState<Segment>,
  segment: Segment,
  tokens: number,
  budget = shortTermBudget
): ShortTermStep<Segment> =>
  state.segments.length > 0 && state.tokens + tokens > budget
    ? { state: { segments: [segment], tokens }, batches: [state.segments] }
    : { state: { segments: [...state.segments, segment], tokens: state.tokens + tokens }, batches: [] }

/** Releases what is left as a last batch. */
export const flushSegments = <Segment>(state: ShortTermState<Segment>): ShortTermStep<Segment> => ({
  state: emptyShortTerm,
  batches: state.segments.length === 0 ? [] : [state.segments]
})
