/**
 * Operations on a list of principles: ids, application with lineage, and refusals that say why. A principle's text is taken as the
 * proposer wrote it, but for outer white space: nothing here rewords.
 */
import type { Operation, Principle, SingleOperation } from "#shared/domain/principle"
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
/** Id of the operation at a place, e.g. `O7-2-c41`, by which `oldestFirst` tells when it was proposed. */
export const operationId = (key: OperationKey): string => `O${suffix("operation", key)}`
/** Id of the principle an `add` or `merge` at a place creates, e.g. `P7-2-0be`; stays with it for life. */
export const principleId = (key: OperationKey): string => `P${suffix("principle", key)}`

/** Why an operation was not applied. */
export type Refusal =
  | { readonly reason: "UnknownId"; readonly id: string }
  | { readonly reason: "MissingId" }
  | { readonly reason: "TooFewIds" }
  | { readonly reason: "DifferentScopes"; readonly scopes: ReadonlyArray<PrincipleScope> }
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
    case "TooFewIds":
      return "a merge has to name the ids of at least two principles"
    case "DifferentScopes":
      return `a merge takes principles of one scope, not of ${refusal.scopes.join(" and ")}`
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

/** One operation that took effect, with the principle before and after it. A merge has no one before it, but those it took together. */
export interface AppliedOperation {
  readonly id: string
  readonly index: number
  readonly operation: Operation["operation"]
  readonly scope: PrincipleScope
  readonly before?: Principle
  readonly after?: Principle
  /** Only of a merge: those that left for the one after it, in the order they stood. */
  readonly merged?: ReadonlyArray<Principle>
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

const bareIds = (ids: ReadonlyArray<string> = []): ReadonlyArray<string> => [...new Set(ids.flatMap((id) => bareId(id) ?? []))]

/** The operation with its ids as principles have them, so that whoever looks for a principle finds it. */
export const withBareIds = <O extends Operation>(operation: O): O => {
  const id = bareId(operation.id)
  return { ...operation, ...(id === undefined ? {} : { id }), ...(operation.ids === undefined ? {} : { ids: bareIds(operation.ids) }) }
}

type Aimed = Pick<Operation, "operation" | "id" | "ids">
/** Ids of the principles an operation is about, each once; none where it adds one. */
export const targetsOf = ({ id, ids, operation }: Aimed): ReadonlyArray<string> =>
  operation === "add" ? [] : operation === "merge" ? bareIds(ids) : bareIds(id === undefined ? [] : [id])

/** Whether two operations are about the same principles, in whatever order they name them. */
export const haveSameTargets = (a: Aimed, b: Aimed): boolean => {
  const [of, other] = [targetsOf(a), new Set(targetsOf(b))]
  return of.length === other.size && of.every((id) => other.has(id))
}

/** The list with one principle in the place of the first of those it was merged from. */
export const withMerged = (principles: ReadonlyArray<Principle>, merged: ReadonlyArray<Pick<Principle, "id">>, after: Principle): ReadonlyArray<Principle> => {
  const gone = new Set(merged.map(({ id }) => id))
  const first = principles.find(({ id }) => gone.has(id))
  return principles.flatMap((principle) => (principle === first ? [after] : gone.has(principle.id) ? [] : [principle]))
}

/** Ids of operations in the order they were proposed, each once. */
const oldestFirst = (operations: ReadonlyArray<string>): ReadonlyArray<string> => {
  const place = (id: string): readonly [number, number] => {
    const [, step = 0, index = 0] = /^O(\d+)-(\d+)-/.exec(id) ?? []
    return [Number(step), Number(index)]
  }
  return [...new Set(operations)].sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1])
}

/** Principles a question of this scope's class is shown: for `all`, the fullest class decides. */
const crowd = (principles: ReadonlyArray<Principle>, scope: PrincipleScope): number => {
  const everywhere = principles.filter((p) => p.scope === "all" || p.scope === "not-known").length
  const counts = new Map<PrincipleScope, number>()
  for (const p of principles) if (p.scope !== "all" && p.scope !== "not-known") counts.set(p.scope, (counts.get(p.scope) ?? 0) + 1)
  return everywhere + (scope === "all" || scope === "not-known" ? Math.max(0, ...counts.values()) : (counts.get(scope) ?? 0))
}

/**
 * Applies operations in order. The list keeps its order: an update stays in place, an add goes to the end, a merge takes the place of the
 * first of those it is of. An update or merge keeps the principles' scope whatever scope it names, since the gate decides by scope. A principle is
 * changed at most once a step.
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
    const isMerge = operation.operation === "merge"
    const wanted = targetsOf(operation)
    const targets = current.filter(({ id }) => wanted.includes(id))
    const [target] = targets

    if (isMerge && wanted.length < 2) return refuse({ reason: "TooFewIds" })
    if (operation.operation !== "add" && wanted.length === 0) return refuse({ reason: "MissingId" })
    for (const id of wanted) {
      if (changed.has(id)) return refuse({ reason: "AlreadyChanged", id })
      if (!targets.some((one) => one.id === id)) return refuse({ reason: "UnknownId", id })
    }
    const scopes = [...new Set(targets.map((one) => one.scope))]
    if (scopes.length > 1) return refuse({ reason: "DifferentScopes", scopes })
    if (operation.operation !== "delete") {
      if (text === "") return refuse({ reason: "MissingContent" })
      const words = wordCount(text)
      if (words > wordLimit) return refuse({ reason: "TooManyWords", words, limit: wordLimit })
    }
    const scope = target?.scope ?? operation.scope ?? "all"
    if (operation.operation !== "delete") {
      const staying = isMerge ? current.filter((principle) => !targets.includes(principle)) : current
      const twin = staying.find((principle) => same(principle.text, text) && (principle.scope === scope || principle.scope === "all"))
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
      case "merge": {
        const parents = [...oldestFirst(targets.flatMap((one) => one.parents)), id]
        const after: Principle = { id: principleId(key), text, scope, bornIn: options.generation, parents }
        current = [...withMerged(current, targets, after)]
        for (const one of [...targets, after]) changed.add(one.id)
        applied.push({ id, index, operation: "merge", scope, after, merged: targets })
        return
      }
    }
  })
  return { principles: current, applied, refused }
}

/** A proposed operation with where it came from (ids of reflections or questions). */
export interface Proposed {
  readonly operation: SingleOperation
  readonly sources: ReadonlyArray<string>
}

/** One operation that stands for several equal proposals, with all their sources. */
export interface PooledOperation extends Proposed {
  /** Distinct sources. */
  readonly support: number
}

/**
 * Equal proposals (same kind, target, scope and text but for case and outer punctuation) as one, the most supported first, then in
 * the order proposed; the wording of the first stands.
 */
export const poolProposals = (proposals: ReadonlyArray<Proposed>, limit: number): ReadonlyArray<PooledOperation> => {
  const pooled = new Map<string, { operation: SingleOperation; sources: Set<string> }>()
  for (const { operation, sources } of proposals) {
    const key = JSON.stringify([operation.operation, bareId(operation.id) ?? "", plainText(operation.content ?? ""), operation.scope ?? ""])
    const entry = pooled.get(key) ?? { operation, sources: new Set<string>() }
    for (const source of sources) entry.sources.add(source)
    pooled.set(key, entry)
  }
  return [...pooled.values()]
    .map(({ operation, sources }) => ({ operation, sources: [...sources], support: sources.size }))
    .sort((a, b) => b.support - a.support)
    .slice(0, limit)
}
