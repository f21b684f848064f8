/**
 * The event log as a service: append with an expected sequence, load one subject, read and follow many. Layers: in memory
 * (`memory-log.ts`), on JetStream (`jetstream-log.ts`), a read-only bundle file (`bundle.ts`); one conformance suite for all.
 */
import { Context, Schema } from "effect"
import type { Effect, Stream } from "effect"
import type { Commit, CommitDraft, CorruptCommit, RawMessage } from "./envelope.ts"
import type { LogUnavailable } from "./nats.ts"

/** Somebody else appended to this subject after the expected sequence, and it was not this same commit. Load again and decide anew. */
export class SequenceConflict extends Schema.TaggedError<SequenceConflict>()("SequenceConflict", {
  subject: Schema.String,
  expected: Schema.Int,
  actual: Schema.Int
}) {
  override get message(): string {
    return `${this.subject} was expected to end at ${this.expected} and ends at ${this.actual}: load it again and decide anew.`
  }
}

/** A commit is larger than one message may be; split the decision. */
export class CommitTooLarge extends Schema.TaggedError<CommitTooLarge>()("CommitTooLarge", {
  subject: Schema.String,
  bytes: Schema.Int,
  limitBytes: Schema.Int
}) {
  override get message(): string {
    return `a commit of ${this.bytes} bytes for ${this.subject} is more than one message may have (${this.limitBytes}): split the decision.`
  }
}

/** This log can only be read. */
export class ReadOnlyLog extends Schema.TaggedError<ReadOnlyLog>()("ReadOnlyLog", { message: Schema.String }) {}

export type AppendError = SequenceConflict | CommitTooLarge | ReadOnlyLog | LogUnavailable | CorruptCommit
export type ReadError = LogUnavailable | CorruptCommit

export interface Appended {
  readonly sequence: number
  readonly checksum: string
  /** True when this very commit was in the log already: a retry after a lost acknowledgement, or the same decision by another process. */
  readonly already: boolean
}

export interface ReadOptions {
  /** Only commits after this sequence; 0 = from the start. */
  readonly after?: number
}

export class EventLog extends Context.Service<EventLog, {
  /**
   * Appends one commit. `expected` is the sequence of the subject's last commit (0 = none) and `previousChecksum` its checksum ("" = none).
   * Acknowledged = kept by the log as durably as `doctor` says. Passing failures are retried with the same id for at least 15 s.
   */
  readonly append: (draft: CommitDraft, expected: number, previousChecksum: string) => Effect.Effect<Appended, AppendError>
  /**
   * All commits of one exact subject after `after`, in order. With `minimum` the load is repeated until it reaches that sequence of the
   * stream or the log says that the subject ends below it for certain; it never returns less than what is known to exist.
   */
  readonly load: (subject: string, options?: ReadOptions & { readonly minimum?: number }) => Effect.Effect<ReadonlyArray<Commit>, ReadError>
  /** The subject's last commit. */
  readonly last: (subject: string) => Effect.Effect<Commit | undefined, ReadError>
  /** Commits of all subjects that match any filter (`*` one token, `>` the rest), in the stream's order, up to what is there now. Filters are of one stream. */
  readonly read: (filters: ReadonlyArray<string>, options?: ReadOptions) => Stream.Stream<Commit, ReadError>
  /** Like `read`, then goes on with what is appended, until interrupted. Survives reconnects without loss or repetition. */
  readonly follow: (filters: ReadonlyArray<string>, options?: ReadOptions) => Stream.Stream<Commit, ReadError>
  /** Messages as stored, for bundles and verification: nothing is decoded. */
  readonly readRaw: (filters: ReadonlyArray<string>, options?: ReadOptions) => Stream.Stream<RawMessage, LogUnavailable>
  /** Sequence of the stream's last message of any subject; 0 = empty. */
  readonly head: (stream: "MEMORY" | "METAMEM") => Effect.Effect<number, LogUnavailable>
}>()("metamem/eventlog/EventLog") {}

/** True when a subject matches a filter of the same stream. */
export const matches = (filter: string, subject: string): boolean => {
  const wanted = filter.split(".")
  const tokens = subject.split(".")
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === ">") return tokens.length > i
    if (tokens[i] === undefined || (wanted[i] !== "*" && wanted[i] !== tokens[i])) return false
  }
  return wanted.length === tokens.length
}
