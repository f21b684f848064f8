/**
 * Generations in the published system's form, `{"M0": text, …}`, and its way of applying operations, mended: for import of its runs.
 * Mended are: an id that is new never overwrites an entry, an id in brackets is understood, a fresh id cannot be guessed by a later
 * operation of the same list, and what has no effect is reported.
 */
import type { Operation } from "#shared/domain/principle"

/** Entries in their order. */
export type ReferenceGeneration = Readonly<Record<string, string>>

export interface ReferenceApplication {
  /** Renumbered M0, M1, … in order. */
  readonly generation: ReferenceGeneration
  /** Under the ids used while applying, before the renumbering. */
  readonly named: ReferenceGeneration
  /** New id of each old one that is left, and of each added one. */
  readonly renumbered: ReadonlyMap<string, string>
  readonly ignored: ReadonlyArray<{ readonly operation: Operation; readonly why: "unknown id" | "empty content" }>
}

/** Applies operations to entries of a reference generation. */
export const applyReferenceOperations = (generation: ReferenceGeneration, operations: ReadonlyArray<Operation>): ReferenceApplication => {
  const entries = new Map(Object.entries(generation))
  const known = new Set(entries.keys())
  const numbers = [...known].map((id) => Number(/^M(\d+)$/.exec(id)?.[1] ?? -1))
  let next = Math.max(entries.size, ...numbers.map((n) => n + 1))
  const ignored: Array<ReferenceApplication["ignored"][number]> = []
  for (const operation of operations) {
    const content = operation.content?.trim() ?? ""
    const id = operation.id?.trim().replace(/^\[(.*)\]$/, "$1") ?? ""
    const exists = known.has(id) && entries.has(id)
    if (operation.operation !== "add" && !exists) ignored.push({ operation, why: "unknown id" })
    else if (operation.operation !== "delete" && content === "") ignored.push({ operation, why: "empty content" })
    else if (operation.operation === "add") entries.set(`M${next++}`, content)
    else if (operation.operation === "update") entries.set(id, content)
    else entries.delete(id)
  }
  const renumbered = new Map([...entries.keys()].map((id, i) => [id, `M${i}`]))
  return {
    generation: Object.fromEntries([...entries.values()].map((text, i) => [`M${i}`, text])),
    named: Object.fromEntries(entries),
    renumbered,
    ignored
  }
}
