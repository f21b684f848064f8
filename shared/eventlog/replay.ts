/**
 * Verification by reading everything again: are the stored commits what was appended, and is none missing between two of a subject?
 * Works on raw messages of any log or bundle and needs no schema of any event.
 */
import { Effect, Stream } from "effect"
import { CorruptCommit, decodeCommit, header, type RawMessage } from "./envelope.ts"

export interface Fault {
  /** `missing`: what it follows is not there; `extra`: it follows what something else follows already, or begins a subject that has begun. */
  readonly kind: "checksum" | "missing" | "extra"
  readonly subject: string
  readonly sequence: number
  readonly message: string
}

export interface Verification {
  /** Messages read, sound or not. */
  readonly commits: number
  /** Events in the sound ones. */
  readonly events: number
  /** Messages whose content does not fit their checksum, or that are no commits at all. */
  readonly checksumErrors: number
  /** Commits that do not follow the one before them on their subject: something was removed, added or put in another order. */
  readonly brokenChains: number
  /** The first of both, in the order read. */
  readonly faults: ReadonlyArray<Fault>
}

const faultLimit = 100

/**
 * Reads to the end and never fails on what it finds.
 *
 * @param messages in order, from the start of each of their subjects
 */
export const verifyCommits = <E, R>(messages: Stream.Stream<RawMessage, E, R>): Effect.Effect<Verification, E, R> =>
  Effect.suspend(() => {
    /** Checksum of the last commit of each subject, and what that one follows. */
    const last = new Map<string, { readonly checksum: string; readonly previous: string }>()
    const faults: Array<Fault> = []
    const counts = { commits: 0, events: 0, checksumErrors: 0, brokenChains: 0 }
    const fault = (kind: Fault["kind"], { sequence, subject }: RawMessage, message: string): void => {
      counts[kind === "checksum" ? "checksumErrors" : "brokenChains"] += 1
      if (faults.length < faultLimit) faults.push({ kind, subject, sequence, message })
    }
    const look = (raw: RawMessage): void => {
      counts.commits += 1
      try {
        const { checksum, events, previousChecksum } = decodeCommit(raw)
        counts.events += events.length
        const before = last.get(raw.subject)
        last.set(raw.subject, { checksum, previous: previousChecksum })
        if (previousChecksum === (before?.checksum ?? "")) return
        if (before === undefined) fault("missing", raw, "its subject begins in the middle: earlier commits are missing")
        else if (previousChecksum === "" || previousChecksum === before.previous) fault("extra", raw, "it follows what another commit of its subject follows already")
        else fault("missing", raw, "it does not follow the commit before it on its subject")
      } catch (error) {
        if (!(error instanceof CorruptCommit)) throw error
        fault("checksum", raw, error.message)
        // What follows is judged by what this one claims to be, so that one fault is told once.
        last.set(raw.subject, { checksum: raw.headers[header.checksum] ?? "", previous: raw.headers[header.previous] ?? "" })
      }
    }
    return messages.pipe(
      Stream.runForEachArray((some) => Effect.sync(() => some.forEach(look))),
      Effect.map(() => ({ ...counts, faults }))
    )
  })
