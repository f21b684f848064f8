/**
 * A benchmark data set as the project sees it: what was said per user, and the questions. The gold evidence stands apart in
 * `GoldEvidence`, which only benches ask for; nothing of it is in the conversations, their ids or the order of either.
 */
import { Schema } from "effect"
import type { Question } from "#shared/domain/question"

export interface DatasetTurn {
  /** Unique within the user; says nothing but the place. */
  readonly clientId: string
  /** `user`, `assistant` or a participant's name. */
  readonly speaker: string
  readonly text: string
  /** UTC, ISO; turns of one conversation are a second apart from its start, in the order said. */
  readonly time: string
}

export interface DatasetConversation {
  /** Numbered by its place in time; a file's own ids can give an answer away. */
  readonly conversation: string
  readonly turns: ReadonlyArray<DatasetTurn>
}

export interface DatasetUser {
  readonly user: string
  /** In the order of time. */
  readonly conversations: ReadonlyArray<DatasetConversation>
}

export interface Dataset {
  readonly set: "longmemeval" | "locomo" | "beam"
  /** First 12 hex digits of the SHA-256 of the file's bytes. */
  readonly hash: string
  readonly users: ReadonlyArray<DatasetUser>
  readonly questions: ReadonlyArray<Question>
  /** By question that has any: what keeps it in one part of a split with others that have the same. Digests of the sessions its answer stands in, which say nothing of where. */
  readonly bonds: ReadonlyMap<string, ReadonlyArray<string>>
}

/** Where the answer to one question stands, for measuring retrieval and nothing else. */
export interface GoldEvidence {
  /** Client ids of the turns. */
  readonly turns: ReadonlyArray<string>
  readonly conversations: ReadonlyArray<string>
  /** Known to be cited wrongly; such questions are left out of figures. */
  readonly mislabelled: boolean
}

/** A data set with its gold evidence by question id; only `readBenchDataset` gives one. */
export interface BenchDataset {
  readonly dataset: Dataset
  readonly gold: ReadonlyMap<string, GoldEvidence>
}

/** A data set file cannot be used: which row (counted from 1, 0 = the file as a whole), why, and what would mend it. */
export class DatasetError extends Schema.TaggedError<DatasetError>()("DatasetError", {
  file: Schema.String,
  row: Schema.Int,
  reason: Schema.Literals(["FileMissing", "FormatUnknown", "RowInvalid", "AnswerMissing"]),
  message: Schema.String
}) {}

/** One row after reading: its users, questions and gold evidence. */
export interface DatasetRow {
  readonly user: DatasetUser
  readonly questions: ReadonlyArray<Question>
  readonly gold: ReadonlyArray<readonly [question: string, gold: GoldEvidence]>
  readonly bonds?: ReadonlyArray<readonly [question: string, bonds: ReadonlyArray<string>]>
}

/** A reader's refusal of one row; the file and row number are added where it is read. */
export class RowRefusal extends Schema.TaggedError<RowRefusal>()("RowRefusal", {
  reason: Schema.Literals(["RowInvalid", "AnswerMissing"]),
  message: Schema.String
}) {}

/** A schema's complaint as part of a sentence. */
export const oneLine = (message: string): string => message.replace(/\s*\n\s*/g, " ")

/** A turn's time: its conversation's start and one second for each turn before it. */
export const turnTime = (startMs: number, place: number): string => new Date(startMs + place * 1_000).toISOString()

/** Conversation name by its place, counted from 1 and padded so that names sort as numbers. */
export const conversationName = (place: number): string => `c${String(place).padStart(4, "0")}`

/** Months as data sets write them, January = 0; -1 for anything else. */
export const monthNumber = (name: string): number =>
  ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"].indexOf(name.slice(0, 3).toLowerCase())

/** Milliseconds of a date that exists, in UTC; nothing for 31 February, month 13 or hour 25. */
export const checkedTime = (year: number, month: number, day: number, hour = 0, minute = 0): number | undefined => {
  const time = new Date(Date.UTC(year, month, day, hour, minute))
  const same = time.getUTCFullYear() === year && time.getUTCMonth() === month && time.getUTCDate() === day && time.getUTCHours() === hour && time.getUTCMinutes() === minute
  return same ? time.getTime() : undefined
}
