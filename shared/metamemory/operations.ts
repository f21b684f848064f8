/**
 * Operations on a list of principles: ids, application with lineage, and refusals that say why. A principle's text is taken as the
 * proposer wrote it, but for outer white space: nothing here rewords.
 */
import type { Operation, Principle } from "#shared/domain/principle"
import type { PrincipleScope } from "#shared/domain/scope"
import { digest } from "./random.ts"

/** Most words of a principle. */
export const wordLimit = 30

/** Words as a reader would count them: runs without white space. */
export const wordCount = (text: string): number => text.split(/\s+/).filter((word) => word !== "").length

/** Where an operation stands: `index` counts the operations of a step from 0. Ids are derived from it and from nothing else. */
export interface OperationKey {
  readonly runSeed: string
  readonly step: number
  readonly index: number
}

const suffix = (what: string, key: OperationKey): string => `${key.step}-${key.index + 1}-${digest(what, key.runSeed, key.step, key.index).slice(0, 3)}`
/** Id of the operation at a place, e.g. `O7-2-c41`. */
export const operationId = (key: OperationKey): string => `O${suffix("operation", key)}`
/** Id of the principle an `add` at a place creates, e.g. `P7-2-0be`; stays with it for life. */
export const principleId = (key: OperationKey): string => `P${suffix("principle", key)}`

/** Why an operation was not applied. */
export type Refusal =
  | { readonly reason: "UnknownId"; readonly id: string }
  | { readonly reason: "MissingId" }
  | { readonly reason: "MissingContent" }
  | { readonly reason: "TooManyWords"; readonly words: number; readonly limit: number }
  | { readonly reason: "DuplicateText"; readonly id: string }
  | { readonly reason: "TooManyPrinciples"; readonly limit: number }
  | { readonly reason: "AlreadyChanged"; readonly id: string }

/** A refusal as a sentence a model can act on when it is asked again. */
export const refusalText = (refusal: Refusal): string => {
  switch (refusal.reason) {
    case "UnknownId":
      return `there is no principle with the id ${refusal.id}`
    case "MissingId":
      return "an update or delete has to name the id of a principle"
    case "MissingContent":
      return "the content is empty"
    case "TooManyWords":
      return `the content has ${refusal.words} words; at most ${refusal.limit} are allowed`
    case "DuplicateText":
      return `principle ${refusal.id} says the same in the same scope`
    case "TooManyPrinciples":
      return `a scope holds at most ${refusal.limit} principles; delete or update one instead`
    case "AlreadyChanged":
      return `principle ${refusal.id} was changed by an earlier operation of the same step`
  }
}

/** One operation that took effect, with the principle before and after it. */
export interface AppliedOperation {
  readonly id: string
  readonly index: number
  readonly operation: Operation["operation"]
  readonly scope: PrincipleScope
  readonly before?: Principle
  readonly after?: Principle
}

export interface RefusedOperation {
  readonly index: number
  readonly operation: Operation
  readonly refusal: Refusal
}

export interface ApplyOptions {
  readonly runSeed: string
  readonly step: number
  /** Number of the generation that would hold the result. */
  readonly generation: number
  /** Most principles a question can be shown: those of one class with those of `all`. */
  readonly maxInScope: number
  /** Index of the first operation within the step, where only some of a step's operations are applied; default 0. */
  readonly indices?: ReadonlyArray<number>
}

export interface Application {
  readonly principles: ReadonlyArray<Principle>
  readonly applied: ReadonlyArray<AppliedOperation>
  readonly refused: ReadonlyArray<RefusedOperation>
}

const same = (a: string, b: string): boolean => plainText(a) === plainText(b)
/** Lower case, single spaces, no punctuation at the ends: what "the same text" means. */
export const plainText = (text: string): string => text.toLowerCase().replace(/\s+/g, " ").replace(/^[\s\p{P}]+|[\s\p{P}]+$/gu, "")

/** Ids come back from models with the brackets they were shown in. Undefined = none. */
const bareId = (id: string | undefined): string | undefined => {
  const bare = id?.trim().replace(/^\[(.*)\]$/, "$1").trim()
  return bare === "" ? undefined : bare
}

/** The operation with its id as principles have it, so that whoever looks for the principle finds it. */
export const withBareId = <O extends Operation>(operation: O): O => {
  const id = bareId(operation.id)
  return id === undefined || id === operation.id ? operation : { ...operation, id }
}

/** Principles a question of this scope's class is shown: for `all`, the fullest class decides. */
const crowd = (principles: ReadonlyArray<Principle>, scope: PrincipleScope): number => {
  const everywhere = principles.filter((p) => p.scope === "all" || p.scope === "not-known").length
  const counts = new Map<PrincipleScope, number>()
  for (const p of principles) if (p.scope !== "all" && p.scope !== "not-known") counts.set(p.scope, (counts.get(p.scope) ?? 0) + 1)
  return everywhere + (scope === "all" || scope === "not-known" ? Math.max(0, ...counts.values()) : (counts.get(scope) ?? 0))
}

/**
 * Applies operations in order. The list keeps its order: an update stays in place, an add goes to the end. An update keeps the
 * principle's scope whatever scope it names, since the gate decides by scope. A principle is changed at most once a step.
 */
export const applyOperations = (principles: ReadonlyArray<Principle>, operations: ReadonlyArray<Operation>, options: ApplyOptions): Application => {
  let current = [...principles]
  const applied: Array<AppliedOperation> = []
  const refused: Array<RefusedOperation> = []
  const changed = new Set<string>()

  operations.forEach((operation, at) => {
    const index = options.indices?.[at] ?? at
    const key = { runSeed: options.runSeed, step: options.step, index }
    const refuse = (refusal: Refusal): void => void refused.push({ index, operation, refusal })
    const text = operation.content?.trim() ?? ""
    const wantedId = bareId(operation.id)
    const target = current.find((principle) => principle.id === wantedId)

    if (operation.operation !== "add") {
      if (wantedId === undefined) return refuse({ reason: "MissingId" })
      if (changed.has(wantedId)) return refuse({ reason: "AlreadyChanged", id: wantedId })
      if (target === undefined) return refuse({ reason: "UnknownId", id: wantedId })
    }
    if (operation.operation !== "delete") {
      if (text === "") return refuse({ reason: "MissingContent" })
      const words = wordCount(text)
      if (words > wordLimit) return refuse({ reason: "TooManyWords", words, limit: wordLimit })
    }
    const scope = target !== undefined && operation.operation !== "add" ? target.scope : (operation.scope ?? "all")
    if (operation.operation !== "delete") {
      const twin = current.find((principle) => same(principle.text, text) && (principle.scope === scope || principle.scope === "all"))
      if (twin !== undefined) return refuse({ reason: "DuplicateText", id: twin.id })
    }

    const id = operationId(key)
    switch (operation.operation) {
      case "add": {
        if (crowd(current, scope) >= options.maxInScope) return refuse({ reason: "TooManyPrinciples", limit: options.maxInScope })
        const after: Principle = { id: principleId(key), text, scope, bornIn: options.generation, parents: [id] }
        current = [...current, after]
        changed.add(after.id)
        applied.push({ id, index, operation: "add", scope, after })
        return
      }
      case "update": {
        const before = target!
        const after: Principle = { ...before, text, parents: [...before.parents, id] }
        current = current.map((principle) => (principle.id === before.id ? after : principle))
        changed.add(before.id)
        applied.push({ id, index, operation: "update", scope, before, after })
        return
      }
      case "delete": {
        const before = target!
        current = current.filter((principle) => principle.id !== before.id)
        changed.add(before.id)
        applied.push({ id, index, operation: "delete", scope, before })
        return
      }
    }
  })
  return { principles: current, applied, refused }
}

/** A proposed operation with where it came from (ids of reflections or questions). */
export interface Proposed {
  readonly operation: Operation
  readonly sources: ReadonlyArray<string>
}

/** One operation that stands for several equal proposals, with all their sources. */
export interface MergedOperation extends Proposed {
  /** Distinct sources. */
  readonly support: number
}

/**
 * Equal proposals (same kind, target, scope and text but for case and outer punctuation) merged, the most supported first, then in
 * the order proposed; the wording of the first stands.
 */
export const mergeProposals = (proposals: ReadonlyArray<Proposed>, limit: number): ReadonlyArray<MergedOperation> => {
  const merged = new Map<string, { operation: Operation; sources: Set<string> }>()
  for (const { operation, sources } of proposals) {
    const key = JSON.stringify([operation.operation, bareId(operation.id) ?? "", plainText(operation.content ?? ""), operation.scope ?? ""])
    const entry = merged.get(key) ?? { operation, sources: new Set<string>() }
    for (const source of sources) entry.sources.add(source)
    merged.set(key, entry)
  }
  return [...merged.values()]
    .map(({ operation, sources }) => ({ operation, sources: [...sources], support: sources.size }))
    .sort((a, b) => b.support - a.support)
    .slice(0, limit)
}
