/** Positions: one opaque string for a place in a log, `{log}:{epoch}:{shard}:{sequence}`, built, parsed and compared only here. */

export interface Position {
  readonly log: "memory" | "metamem"
  readonly epoch: number
  readonly shard: number
  readonly sequence: number
}

export const formatPosition = (position: Pick<Position, "log" | "sequence"> & Partial<Position>): string =>
  `${position.log}:${position.epoch ?? 0}:${position.shard ?? 0}:${position.sequence}`

/** @returns undefined when the text is not a position */
export const parsePosition = (text: string): Position | undefined => {
  const parts = /^(memory|metamem):(\d+):(\d+):(\d+)$/.exec(text)
  if (parts === null) return undefined
  return { log: parts[1] as "memory" | "metamem", epoch: Number(parts[2]), shard: Number(parts[3]), sequence: Number(parts[4]) }
}
