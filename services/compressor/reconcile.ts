/**
 * Reconciling: what becomes of pairs of facts that may be about the same thing. Decided by rule or by the model of the role reconcile,
 * recorded on the conversation of the later fact, reversible, and never across users. The pairs come from whoever owns an index.
 */
import { createHash } from "node:crypto"
import { Config, Effect } from "effect"
import type { Entity, EntityError } from "#shared/actor/entity"
import type { Memory } from "#shared/domain/memory"
import { isOlder, settlePairs } from "#shared/domain/reconcile-pairs"
import { memorySubject } from "#shared/eventlog/subjects"
import { Positive } from "#shared/home/setting-values"
import { Models } from "#shared/model/models"
import type { CompressorState } from "./behaviour.ts"
import { promptTemplate, reconcileMessages } from "./construction/reconcile-prompt.ts"
import { decideReconcile, type ReconcileAction, reconcileTemplate } from "./construction/reconcile-rules.ts"
import type { CompressorCommand, CompressorEvent, FactPair, PairedFact, ReconcileReply, ReconcileRequest, UnknownMemory } from "./protocol.ts"

export const settings = Config.all({
  /** Who decides: `rules` without a token, or the `model` of the role reconcile. */
  reconciler: Config.Literals(["rules", "model"], "METAMEM_RECONCILER").pipe(Config.withDefault("rules" as const)),
  /** Pairs put to the model at once. */
  concurrency: Config.schema(Positive, "METAMEM_RECONCILER_CONCURRENCY").pipe(Config.withDefault(4))
})

interface Decision {
  readonly action: ReconcileAction
  readonly text?: string
  readonly reason: string
  readonly extractor: string
  readonly template: string
  readonly call: string | undefined
}
type Decided = FactPair & Decision

/** Longest merged text taken from a model; beyond it the pair is kept. */
const mergedCharacters = 600

const byRules = ({ cosine, earlier, later }: FactPair): Decision => ({
  ...decideReconcile(earlier, later, cosine),
  extractor: "rules",
  template: reconcileTemplate,
  call: undefined
})

const byModel = (models: Models["Service"], of: { readonly tenant: string; readonly user: string }, pair: FactPair) =>
  models.call({
    role: "reconcile",
    messages: reconcileMessages(pair),
    parameters: { temperature: 0 },
    tenant: of.tenant,
    scope: of.user,
    templateVersion: promptTemplate,
    inputs: [pair.earlier.id, pair.later.id]
  }).pipe(
    Effect.map(({ key, model, value }): Decision => {
      const own = { extractor: model, template: promptTemplate, call: key }
      if (value.action === "merge" && (value.text ?? "").length > mergedCharacters) return { action: "keep", reason: `${model}: the merged text is too long`, ...own }
      return { action: value.action, reason: `${model}: ${value.action}`, ...(value.action === "merge" && value.text !== undefined ? { text: value.text.trim() } : {}), ...own }
    })
  )

interface Change {
  readonly action: "supersede" | "merge"
  readonly replaced: ReadonlyArray<string>
  readonly by: string
  readonly text: string
  readonly reason: string
  readonly conversation: string
  readonly cause: string
  readonly command: CompressorCommand
}

/** One memory for a fact and the earlier wordings that were found to say the same. */
const merged = (later: PairedFact, pairs: readonly [Decided, ...Array<Decided>]): Change => {
  const members = [...pairs.map(({ earlier }) => earlier), later].toSorted((a, b) => (isOlder(a, b) ? -1 : 1))
  // The fullest of the wordings proposed; the later fact's own where they are equally long.
  const text = pairs.map((pair) => pair.text ?? later.text).reduce((best, one) => (one.length > best.length ? one : best))
  const meant = members.find((member) => member.text === text)?.meant ?? later.meant ?? members[0]?.meant
  const [first, ...rest] = new Set(members.flatMap(({ turns }) => turns))
  const id = createHash("sha256").update(["merged", text, ...members.map((member) => member.id)].join("\n")).digest("hex").slice(0, 32)
  const memory: Memory = { id, kind: "fact", text, speaker: later.speaker, time: later.time, ...(meant === undefined ? {} : { meant }), turns: [first ?? id, ...rest] }
  const replaced = members.map((member) => member.id)
  const [{ call, extractor, reason, template }] = pairs
  return {
    action: "merge",
    replaced,
    by: id,
    text,
    reason,
    conversation: later.conversation,
    cause: `merge ${replaced.join(" ")}`,
    command: { _tag: "Merge", memory, replaces: replaced, extractor, template, reason, call }
  }
}

/**
 * What settled decisions change. A fact that is itself replaced in this pass takes in no other wording: the pass after it finds what
 * stands then, so that no fact is merged twice at once.
 */
export const changesOf = (decided: ReadonlyArray<Decided>): ReadonlyArray<Change> => {
  const settled = settlePairs(decided)
  const replaced = new Set(settled.map(({ earlier }) => earlier.id))
  const changes = settled.filter(({ action }) => action === "supersede").map(({ earlier, later, reason }): Change => ({
    action: "supersede",
    replaced: [earlier.id],
    by: later.id,
    text: later.text,
    reason,
    conversation: later.conversation,
    cause: `reconcile ${earlier.id} ${later.id}`,
    command: { _tag: "Supersede", memory: earlier.id, by: later.id, reason }
  }))
  const merges = Map.groupBy(settled.filter(({ action, later }) => action === "merge" && !replaced.has(later.id)), ({ later }) => later.id)
  for (const [first, ...rest] of merges.values()) if (first !== undefined) changes.push(merged(first.later, [first, ...rest]))
  return changes
}

export type Reconciler = (request: ReconcileRequest) => Effect.Effect<ReconcileReply, EntityError | UnknownMemory>

/** The reconciler in force over the compressor's own conversations. */
export const makeReconciler = (conversations: Entity<CompressorState, CompressorCommand, CompressorEvent, UnknownMemory>) =>
  Effect.gen(function*() {
    const { concurrency, reconciler } = yield* settings
    const models = yield* Models
    const reconcile: Reconciler = Effect.fnUntraced(function*(request) {
      const errors: Array<string> = []
      const decided = (yield* Effect.forEach(
        request.pairs.filter(({ earlier, later }) => isOlder(earlier, later)),
        (pair): Effect.Effect<ReadonlyArray<Decided>> =>
          reconciler === "rules"
            ? Effect.sync(() => [{ ...pair, ...byRules(pair) }])
            : byModel(models, request, pair).pipe(
              Effect.map((decision) => [{ ...pair, ...decision }]),
              Effect.catch((error) => Effect.sync(() => {
                errors.push(`${pair.earlier.id} and ${pair.later.id}: ${error.message}`)
                return []
              }))
            ),
        { concurrency }
      )).flat()
      const changes = yield* Effect.forEach(changesOf(decided), ({ cause, command, conversation, ...change }) =>
        request.dryRun
          ? Effect.succeed({ ...change, fresh: true })
          : Effect.map(
            conversations.execute(memorySubject({ tenant: request.tenant, user: request.user, conversation }, "compressor"), command, { cause, seen: request.seen }),
            ({ fresh }) => ({ ...change, fresh })
          ))
      const count = (action: ReconcileAction) => decided.filter((one) => one.action === action).length
      return { counts: { keep: count("keep"), supersede: count("supersede"), merge: count("merge"), failed: errors.length }, changes, errors: errors.slice(0, 20) }
    })
    return reconcile
  })
