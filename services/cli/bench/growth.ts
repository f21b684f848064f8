/** Memory of processes over time: looked at again and again while a bench runs, and summed up as start, end and slope. */
import { fork } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { CommandFailed } from "../root.ts"
import { processUsage, rounded } from "./load.ts"

export interface Watched {
  readonly name: string
  /** Asked at every look, since a killed process is replaced by another. */
  readonly pid: () => number
}

export interface Growth {
  readonly name: string
  readonly startMb: number
  readonly endMb: number
  readonly maxMb: number
  /** Of a straight line through the second half of the looks. */
  readonly slopeMbPerHour: number
  /** Of a straight line through the same looks over what came in meanwhile: where it is of the size of one turn's memories, growth is data. 0 where nothing came. */
  readonly bytesPerTurn: number
  /** Processor time over all looks, as a share of one core. */
  readonly cores: number
}

/** Megabytes of a process with pages that others use too shared out among them, so that a sum counts each once; 0 where the system does not tell. */
export const proportionalMb = (pid: number): number => {
  try {
    return rounded((Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0) * 1_024) / 1e6)
  } catch {
    return 0
  }
}

/** Least-squares slope of values over times; 0 of fewer than two times. */
export const slopeOf = (points: ReadonlyArray<{ readonly at: number; readonly value: number }>): number => {
  const mean = (of: (point: (typeof points)[number]) => number) => points.reduce((sum, point) => sum + of(point), 0) / points.length
  const [at, value] = [mean((point) => point.at), mean((point) => point.value)]
  const spread = points.reduce((sum, point) => sum + (point.at - at) ** 2, 0)
  return spread > 0 ? points.reduce((sum, point) => sum + (point.at - at) * (point.value - value), 0) / spread : 0
}

interface Look {
  readonly atMs: number
  readonly turns: number
  readonly rssMb: ReadonlyArray<number>
  readonly cpuMs: ReadonlyArray<number>
}

/** @param turns all that came in so far, asked at every look */
export const watchGrowth = (watched: ReadonlyArray<Watched>, turns: () => number = () => 0) => {
  const looks: Array<Look> = []
  return {
    look: (): void => {
      const usages = watched.map(({ pid }) => processUsage(pid()))
      looks.push({ atMs: performance.now(), turns: turns(), rssMb: usages.map(({ rssMb }) => rssMb), cpuMs: usages.map(({ cpuMs }) => cpuMs) })
    },
    /** Of all looks so far, one process each. */
    growth: (): ReadonlyArray<Growth> =>
      watched.map(({ name }, n) => {
        const points = looks.map(({ atMs, rssMb, turns }) => ({ at: atMs / 3_600_000, turns, value: rssMb[n] ?? 0 }))
        const secondHalf = points.slice(Math.floor(points.length / 2))
        const [first, last] = [looks[0], looks.at(-1)]
        const elapsedMs = (last?.atMs ?? 0) - (first?.atMs ?? 0)
        return {
          name,
          startMb: points[0]?.value ?? 0,
          endMb: points.at(-1)?.value ?? 0,
          maxMb: Math.max(0, ...points.map(({ value }) => value)),
          slopeMbPerHour: rounded(slopeOf(secondHalf)),
          bytesPerTurn: Math.round(slopeOf(secondHalf.map(({ turns, value }) => ({ at: turns, value }))) * 1e6),
          // A process that replaced another began its own count.
          cores: elapsedMs > 0 && (last?.cpuMs[n] ?? 0) >= (first?.cpuMs[n] ?? 0) ? rounded(((last?.cpuMs[n] ?? 0) - (first?.cpuMs[n] ?? 0)) / elapsedMs, 3) : 0
        }
      })
  }
}

/** Resident megabytes that the embedding model adds to a process with one thread for it, measured in a process that does nothing else. */
export const modelShareMb = (folder: string): Effect.Effect<number, CommandFailed> =>
  Effect.callback<number, CommandFailed>((resume) => {
    const child = fork(join(import.meta.dirname, "model-share.ts"), [folder], { stdio: ["ignore", "ignore", "inherit", "ipc"] })
    child.once("message", (share) => resume(Effect.succeed(Number(share))))
    child.once("exit", () => resume(Effect.fail(new CommandFailed({ message: "the process that measures the embedding model ended; its message stands above" }))))
    return Effect.sync(() => void child.kill())
  }).pipe(Effect.timeoutOrElse({ duration: "120 seconds", orElse: () => Effect.fail(new CommandFailed({ message: "the embedding model did not load within 120 s" })) }))
