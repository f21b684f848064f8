/**
 * Generations: their hash, and what can be read from a list of sealed ones without asking a model: differences, where a principle
 * came from, what became of it.
 */
import { createHash } from "node:crypto"
import { canonicalJson } from "#shared/domain/canonical-json"
import type { Principle } from "#shared/domain/principle"
import type { PrincipleScope } from "#shared/domain/scope"
import type { AppliedOperation } from "./operations.ts"

/** Whole numbers a gate decided by; the answers behind them are in the run's results. */
export interface GateCounts {
  readonly questions: number
  /** Samples a question and arm. */
  readonly samples: number
  readonly incumbentCorrect: number
  readonly candidateCorrect: number
  readonly incumbentErrors: number
  readonly candidateErrors: number
}

/** What the gate said of one group of operations of one scope. */
export interface GateRecord {
  readonly scope: PrincipleScope
  readonly policy: string
  readonly decision: string
  /** Ids of the operations decided on, in order. */
  readonly operations: ReadonlyArray<string>
  readonly counts: GateCounts
}

/** What a generation's hash covers. */
export interface GenerationContent {
  /** From 0, the empty generation sealed with the run's opening. */
  readonly number: number
  readonly principles: ReadonlyArray<Principle>
  /** Records of the step that sealed it, in the order decided; empty for generation 0. */
  readonly gate: ReadonlyArray<GateRecord>
}

/** SHA-256 in hex over the canonical JSON of number, principles and gate. No time, position, cost or attempt enters. */
export const generationHash = (content: GenerationContent): string => {
  const covered = {
    number: content.number,
    principles: content.principles.map(({ id, text, scope, parents }) => ({ id, text, scope, parents })),
    gate: content.gate.map(({ scope, policy, decision, operations, counts }) => ({ scope, policy, decision, operations, counts }))
  }
  return createHash("sha256").update(canonicalJson(covered)).digest("hex")
}

export interface Change {
  readonly id: string
  readonly before: Principle
  readonly after: Principle
}

export interface GenerationDiff {
  readonly added: ReadonlyArray<Principle>
  readonly removed: ReadonlyArray<Principle>
  readonly changed: ReadonlyArray<Change>
  /** Of those added, the ids of the removed ones that they were merged from. */
  readonly merged: ReadonlyArray<{ readonly into: string; readonly from: ReadonlyArray<string> }>
  readonly kept: number
}

/** Whether a principle was merged from another one, as their lineage tells: it holds all that made the other what it is. */
export const isMergedFrom = (principle: Pick<Principle, "id" | "parents">, other: Pick<Principle, "id" | "parents">): boolean =>
  principle.id !== other.id && other.parents.length > 0 && other.parents.every((operation) => principle.parents.includes(operation))

/** How to get from one list of principles to another, by id; each part in the order of the list it stands in. */
export const diffGenerations = (from: ReadonlyArray<Principle>, to: ReadonlyArray<Principle>): GenerationDiff => {
  const [old, now] = [new Map(from.map((p) => [p.id, p])), new Map(to.map((p) => [p.id, p]))]
  const changed = to.flatMap((after) => {
    const before = old.get(after.id)
    return before !== undefined && (before.text !== after.text || before.scope !== after.scope) ? [{ id: after.id, before, after }] : []
  })
  const [added, removed] = [to.filter((p) => !old.has(p.id)), from.filter((p) => !now.has(p.id))]
  return {
    added,
    removed,
    changed,
    merged: added.flatMap((principle) => {
      const parts = removed.filter((other) => isMergedFrom(principle, other)).map(({ id }) => id)
      return parts.length === 0 ? [] : [{ into: principle.id, from: parts }]
    }),
    kept: to.filter((p) => old.has(p.id)).length - changed.length
  }
}

/** A generation as the log gives it. */
export interface SealedGeneration {
  readonly number: number
  readonly step: number
  readonly principles: ReadonlyArray<Principle>
  readonly hash: string
}

/** An operation the run decided on, with what it was derived from and how the gate ruled. */
export interface DecidedOperation extends AppliedOperation {
  /** In which the gate decided. */
  readonly step: number
  /** From whose attempts it was proposed; the gate may take several steps to decide. */
  readonly proposed: number
  readonly decision: string
  readonly reason: string
  /** Mean difference to the incumbent as a share, over the questions asked; selection, not evidence. Null when none was asked. */
  readonly difference: number | null
  readonly asked: number
  /** Questions, rollouts and judgements that led to it, by id. */
  readonly sources: ReadonlyArray<string>
}

export interface Blame {
  readonly principle: Principle
  /** The accepted operations that made it what it is, oldest first; of a merged one also those that made what it was merged from. */
  readonly operations: ReadonlyArray<DecidedOperation>
  /** Operations named in its lineage that the log does not hold, e.g. of an imported run. */
  readonly unknown: ReadonlyArray<string>
}

/** Where a principle of a generation came from; undefined when the generation does not hold it. */
export const blame = (generation: SealedGeneration, operations: ReadonlyArray<DecidedOperation>, id: string): Blame | undefined => {
  const principle = generation.principles.find((p) => p.id === id)
  if (principle === undefined) return undefined
  const byId = new Map(operations.map((operation) => [operation.id, operation]))
  return {
    principle,
    operations: principle.parents.flatMap((parent) => byId.get(parent) ?? []),
    unknown: principle.parents.filter((parent) => !byId.has(parent))
  }
}

/** One thing that happened to a principle. */
export interface HistoryEntry extends Pick<DecidedOperation, "step" | "proposed" | "decision" | "reason" | "sources" | "difference" | "asked"> {
  readonly kind: DecidedOperation["operation"]
  readonly what: "added" | "updated" | "deleted" | "merged" | "refused by the gate"
  readonly text: string
  /** Only of a merge: of which principles, and into which. */
  readonly merge?: { readonly from: ReadonlyArray<string>; readonly into: string }
  readonly operation: string
}

export interface History {
  readonly entries: ReadonlyArray<HistoryEntry>
  /** Numbers of the generations that hold it, ascending. */
  readonly generations: ReadonlyArray<number>
}

const happened = { add: "added", update: "updated", delete: "deleted", merge: "merged" } as const

/**
 * What became of a principle over a run, in order of step: accepted and refused operations on it, and the generations that hold it. A merge
 * belongs to the principles it took together and to the one that came of it.
 */
export const history = (generations: ReadonlyArray<SealedGeneration>, operations: ReadonlyArray<DecidedOperation>, id: string): History => ({
  entries: operations
    .filter(({ after, before, merged = [] }) => [before ?? after, ...merged].some((principle) => principle?.id === id))
    .toSorted((a, b) => a.step - b.step || a.index - b.index)
    .map((operation) => ({
      step: operation.step,
      proposed: operation.proposed,
      kind: operation.operation,
      what: operation.decision === "accepted" ? happened[operation.operation] : "refused by the gate",
      text: (operation.after ?? operation.before)!.text,
      ...(operation.merged === undefined || operation.after === undefined ? {} : { merge: { from: operation.merged.map(({ id }) => id), into: operation.after.id } }),
      operation: operation.id,
      decision: operation.decision,
      reason: operation.reason,
      sources: operation.sources,
      difference: operation.difference,
      asked: operation.asked
    })),
  generations: generations.filter((g) => g.principles.some((p) => p.id === id)).map((g) => g.number)
})
