/** What an operation must pass before it reaches a run: length, known ids, and that nothing of the training material stands in it. */
import type { Operation, Principle, SingleOperation } from "#shared/domain/principle"
import { asAttempt, type LedgerEntry } from "#shared/metamemory/ledger"
import { type Forbidden, forbiddenFrom, leaks, leakText } from "#shared/metamemory/leaks"
import { applyOperations, refusalText, withBareIds } from "#shared/metamemory/operations"
import { tokensOf } from "#shared/model/tokens"

/** A word of general language is one token of the o200k vocabulary; names and made-up words are mostly not. */
const isGeneral = (word: string): boolean => tokensOf(` ${word}`) === 1

/** What may not stand in a principle, from these questions' answers and the memories around them. */
export const forbiddenIn = (answers: ReadonlyArray<string>, evidence: ReadonlyArray<string>, canaries: ReadonlyArray<string>): Forbidden =>
  forbiddenFrom({ answers, evidence, canaries, documentFrequency: new Map(), documents: 0, isGeneral })

export interface Checked<O extends Operation = Operation> {
  readonly operations: ReadonlyArray<O>
  /** By reason. */
  readonly discarded: Readonly<Record<string, number>>
  /** What to tell a model; undefined when nothing was wrong but that there were more than are wanted. Repeats no training material. */
  readonly complaint: string | undefined
}

export interface Limits {
  /** Operations wanted at most. */
  readonly operations: number
  /** Principles a question is shown at most; a class that holds as many takes no further one. */
  readonly inScope: number
}
const unlimited: Limits = { operations: Number.POSITIVE_INFINITY, inScope: Number.POSITIVE_INFINITY }

/** The operations that pass, ids without the brackets they were shown in, an update of a ledger's entry turned into an add; those above the limit, the last ones, do not. */
export const checked = <O extends Operation>(
  operations: ReadonlyArray<O>, principles: ReadonlyArray<Principle>, ledger: ReadonlyArray<Pick<LedgerEntry, "id">>, forbidden: Forbidden, limits: Limits = unlimited
): Checked<O | SingleOperation> => {
  const passed: Array<O | SingleOperation> = []
  const discarded: Record<string, number> = {}
  const complaints: Array<string> = []
  const discard = (reason: string, ...complaint: ReadonlyArray<string>): void => {
    discarded[reason] = (discarded[reason] ?? 0) + 1
    complaints.push(...complaint)
  }
  for (const proposed of operations) {
    const operation = asAttempt(withBareIds(proposed), ledger)
    const found = operation.operation === "delete" ? [] : leaks(operation.content ?? "", forbidden)
    // What is for all questions is tried class by class, and some class may have room.
    const maxInScope = (operation.scope ?? "all") === "all" ? Number.POSITIVE_INFINITY : limits.inScope
    const [refused] = applyOperations(principles, [operation], { runSeed: "", step: 0, generation: 0, maxInScope }).refused
    if (refused !== undefined) discard(refused.refusal.reason, refusalText(refused.refusal))
    else if (found.length > 0) discard(`leak: ${found[0]?.kind ?? ""}`, leakText(found))
    // Asking again for fewer would hold up the whole step.
    else if (passed.length >= limits.operations) discard("TooManyOperations")
    else passed.push(operation)
  }
  return { operations: passed, discarded, complaint: complaints.length === 0 ? undefined : [...new Set(complaints)].join("; ") }
}

/** Counts by reason, of all together. */
export const summed = (list: ReadonlyArray<Readonly<Record<string, number>>>): Readonly<Record<string, number>> => {
  const sums: Record<string, number> = {}
  for (const name of [...new Set(list.flatMap(Object.keys))].sort()) sums[name] = list.reduce((sum, counts) => sum + (counts[name] ?? 0), 0)
  return sums
}
