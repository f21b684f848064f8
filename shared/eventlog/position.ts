/** Positions: one opaque string for a place in a log, `{log}:{epoch}:{shard}:{sequence}`, built, parsed and compared only here. */

export interface Position {
  readonly log: "memory" | "metamem"
  readonly epoch: number
  readonly shard: number
  readonly sequence: number
}

export const formatPosition = (position: Pick<Position, "log" | "sequence"> & Partial<Position>): string =>
  `${position.log}:${position.epoch ?? 0}:${position.shard ?? 0}:${position.sequence}`

/** @returns undefined when the text is not a position of these logs, which have one epoch and one shard each */
export const parsePosition = (text: string): Position | undefined => {
  const parts = /^(memory|metamem):0:0:(\d+)$/.exec(text)
  return parts === null ? undefined : { log: parts[1] as Position["log"], epoch: 0, shard: 0, sequence: Number(parts[2]) }
}

/** Why a text that is written like a position is none of these logs; undefined where it is one, or is not written like one. */
export const positionProblem = (text: string): string | undefined => {
  const [, log = "", epoch = "", shard = "", sequence = ""] = /^([a-z]+):(\d+):(\d+):(\d+)$/.exec(text) ?? []
  if (log === "" || parsePosition(text) !== undefined) return undefined
  if (log !== "memory" && log !== "metamem") return `${text} is a position of a log "${log}", which there is not`
  return `${text} is a position in epoch ${epoch} and shard ${shard}; this log has epoch 0 and shard 0 alone, as in ${formatPosition({ log, sequence: Number(sequence) })}`
}
