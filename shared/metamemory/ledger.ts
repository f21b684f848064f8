/**
 * The ledger of what was tried: operations a gate rejected or left undecided. The proposer is shown it, and what is nearly the same
 * in the same scope is not put to the gate again unless the reader changed.
 */
import { Schema } from "effect"
import { type Operation, OperationKind, type SingleOperation } from "#shared/domain/principle"
import { PrincipleScope } from "#shared/domain/scope"
import { haveSameTargets, plainText, targetsOf } from "./operations.ts"

export const LedgerEntry = Schema.Struct({
  /** Id of the operation. */
  id: Schema.String,
  step: Schema.Int,
  operation: OperationKind,
  scope: PrincipleScope,
  /** Text proposed; for a delete, the text that would have gone. */
  text: Schema.String,
  /** Only of a merge: the principles it would have made one. */
  ids: Schema.optionalKey(Schema.Array(Schema.String)),
  outcome: Schema.Literals(["rejected", "undecided"]),
  /** Identity of the reader the gate asked; another reader may be helped by what failed with this one. */
  reader: Schema.String
})
export type LedgerEntry = typeof LedgerEntry.Type

const directionOf = (operation: Operation["operation"]): "delete" | "merge" | "say" => (operation === "delete" || operation === "merge" ? operation : "say")

/** Entries that a run takes over from others at most; the newest stay. */
const inheritedMax = 200

/** What a run takes over from those before it, oldest first: of entries that say the same, the last. */
export const inherited = (ledgers: ReadonlyArray<ReadonlyArray<LedgerEntry>>): ReadonlyArray<LedgerEntry> => {
  const all = ledgers.flat()
  const said = (entry: LedgerEntry): unknown => (entry.operation === "merge" ? targetsOf(entry).toSorted() : plainText(entry.text))
  const last = new Map(all.map((entry) => [JSON.stringify([entry.reader, entry.scope, directionOf(entry.operation), said(entry)]), entry]))
  const kept = new Set(last.values())
  return all.filter((entry) => kept.has(entry)).slice(-inheritedMax)
}

const fillers = new Set(
  "a an the and or but if when whenever then than that this these those it its is are be to of in on for with from by at as into not do does one any each every your you best should must always".split(" ")
)

/** Content words, cut to their stem roughly enough that inflected forms meet. */
const contentWords = (text: string): ReadonlySet<string> =>
  new Set(
    plainText(text)
      .split(/[^\p{L}\p{N}]+/u)
      .filter((word) => word !== "" && !fillers.has(word))
      .map((word) => word.replace(/(?:ing|ed|es|s)$/, "").slice(0, 7))
  )

/** Share of content words two texts have in common (Jaccard), 0 … 1; word order and frame do not count. */
export const likeness = (a: string, b: string): number => {
  const [x, y] = [contentWords(a), contentWords(b)]
  if (x.size === 0 || y.size === 0) return plainText(a) === plainText(b) ? 1 : 0
  const shared = [...x].filter((word) => y.has(word)).length
  return shared / (x.size + y.size - shared)
}

/** From this likeness on, two principles are nearly the same. */
export const nearlySame = 0.75

export interface Attempt {
  readonly operation: Operation["operation"]
  readonly scope: PrincipleScope
  readonly text: string
  readonly ids?: ReadonlyArray<string>
}

/** Whether both would say something, both take something away, or both make one of several. */
export const haveSameDirection = (a: Operation["operation"], b: Operation["operation"]): boolean => directionOf(a) === directionOf(b)

/**
 * The entry that already answers an attempt: same direction, same reader, same scope and nearly the same text; of a merge the same
 * principles, whatever the words.
 */
export const triedBefore = (attempt: Attempt, ledger: ReadonlyArray<LedgerEntry>, reader: string): LedgerEntry | undefined =>
  ledger.find(
    (entry) =>
      entry.reader === reader &&
      haveSameDirection(entry.operation, attempt.operation) &&
      (attempt.operation === "merge" ? haveSameTargets(entry, attempt) : entry.scope === attempt.scope && likeness(entry.text, attempt.text) >= nearlySame)
  )

/** An update of something the ledger lists is a new attempt at it and becomes an add: the entry was never in force. Others are left as they are. */
export const asAttempt = <O extends Operation>(operation: O, ledger: ReadonlyArray<Pick<LedgerEntry, "id">>): O | SingleOperation => {
  const { content, id, scope } = operation
  const bare = id?.trim().replace(/^\[(.*)\]$/, "$1")
  return operation.operation === "update" && ledger.some((entry) => entry.id === bare)
    ? { operation: "add", ...(content === undefined ? {} : { content }), ...(scope === undefined ? {} : { scope }) }
    : operation
}

/** The part of a ledger a proposer is shown: entries of the scopes at hand, the newest last, at most `limit`. */
export const ledgerFor = (ledger: ReadonlyArray<LedgerEntry>, scopes: ReadonlySet<PrincipleScope>, limit: number): ReadonlyArray<LedgerEntry> => {
  const seen = new Set<string>()
  return ledger
    .filter((entry) => scopes.has(entry.scope))
    .toReversed()
    .filter((entry) => {
      const key = `${entry.scope}\n${plainText(entry.text)}`
      return !seen.has(key) && seen.add(key) !== undefined
    })
    .slice(0, limit)
    .toReversed()
}
