/** A merge of standing principles through a whole run: gate, sealing, replay, and what is read from the log. */
import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Operation, Principle } from "#shared/domain/principle"
import { blameReport, historyReport } from "#services/cli/lineage"
import { replayGeneration } from "#services/reflector/analysis"
import { reflectorCodec } from "#services/reflector/run-events"
import type { RunJob } from "#services/reflector/stages"
import { helpful, parameters, simulate, spent, useless } from "./simulation.ts"

const test = suite("a merge in a run")

const principle = (at: number, text: string, scope: Principle["scope"] = "single-fact"): Principle => ({ id: `P1-${at}-abc`, text, scope, bornIn: 1, parents: [`O1-${at}-abc`] })
const begun = [principle(1, "Look at dates."), principle(2, "Read twice."), principle(3, "Mind who spoke.", "preference"), principle(4, "Look at the newest date.")]
const branch = { run: "earlier", generation: 1, step: 1, change: "none", principles: begun, memoryPosition: 5 }
const ids = ["P1-4-abc", "P1-1-abc"]
const merge = (content: string): Operation => ({ operation: "merge", ids, content })

/** A run that goes on from these principles, and its consolidations come to such operations. @param seen is told every job */
const merging = (content: string, more: { readonly harms?: boolean; readonly others?: ReadonlyArray<Operation>; readonly seen?: (job: RunJob) => void } = {}) =>
  simulate(parameters({ steps: 3, branch }), (job) => {
    more.seen?.(job)
    if (more.harms === true && job.kind === "judgement" && job.key.startsWith("O2-1-")) return { kind: job.kind, key: job.key, status: "done", data: { verdict: "incorrect" }, checksum: "j" }
    return job.kind !== "consolidation" ? undefined : {
      kind: job.kind, key: job.key, status: "done", checksum: "c",
      data: { by: "m", operations: [merge(content), ...(more.others ?? [])].map((operation) => ({ operation, sources: job.input.proposals.flatMap(({ sources }) => sources).slice(0, 1) })), discarded: {}, ...spent }
    }
  })

test("what helps is accepted as one operation, stands where the first of them stood, and replays to the hash it was sealed with", () => {
  const { commits, state } = merging(helpful)
  const sealed = state.generations.find(({ step }) => step === 2)
  assert.ok(sealed !== undefined)
  const [merged, ...others] = sealed.principles
  assert.equal(others.map(({ id }) => id), ["P1-2-abc", "P1-3-abc"])
  assert.equal([merged?.text, merged?.scope, merged?.bornIn], [helpful, "single-fact", sealed.number])
  const [decision] = sealed.decisions
  assert.equal(merged?.parents, ["O1-1-abc", "O1-4-abc", decision?.operation])
  assert.equal([decision?.kind, decision?.before, decision?.after, decision?.merged], ["merge", undefined, merged, [begun[0], begun[3]]])
  for (const { hash, number, principles } of state.generations) {
    assert.is(replayGeneration(state, number)?.hash, hash)
    assert.equal(replayGeneration(state, number)?.principles, principles)
  }
  for (const stored of commits.flatMap(({ events }) => events)) assert.equal(JSON.parse(JSON.stringify(reflectorCodec.encode(Result.getOrThrow(reflectorCodec.decode(stored))))), stored)
})

test("the gate asks questions of its scope alone, with the one in the place of the others", () => {
  const asked: Array<ReadonlyArray<string>> = []
  const { state } = merging(helpful, {
    seen: (job) => {
      if (job.kind === "rollout" && job.step === 2 && job.key.startsWith("O2-1-")) asked.push(job.input.principles.map(({ text }) => text))
    }
  })
  assert.ok(asked.length > 0)
  assert.ok(asked.every((texts) => texts.join() === [helpful, "Read twice."].join()), JSON.stringify(asked[0]))
  assert.equal(state.operations.filter(({ operation }) => operation === "merge").map(({ scope }) => scope), ["single-fact"], "it spreads to no other class")
})

test("one that does not help is refused, stays in the ledger of consolidations, and is not tried again; no proposer sees it", () => {
  const [ledgers, tried]: readonly [Array<ReadonlyArray<string>>, Array<unknown>] = [[], []]
  const { commits, state } = merging(useless, {
    harms: true,
    seen: (job) => {
      if (job.kind === "proposal") ledgers.push(job.input.ledger.map(({ operation }) => operation))
      if (job.kind === "consolidation") tried.push(job.input.triedMerges?.map(({ ids, operation }) => ({ ids, operation })))
    }
  })
  const merges = state.operations.filter(({ operation }) => operation === "merge")
  assert.equal(merges.map(({ decision }) => decision === "accepted"), [false])
  assert.equal(merges[0]?.merged?.map(({ id }) => id), ["P1-1-abc", "P1-4-abc"])
  assert.equal(tried, [[], [{ operation: "merge", ids }]])
  assert.ok(ledgers.length > 0 && ledgers.every((kinds) => !kinds.includes("merge")))
  const consolidated = commits.flatMap(({ events }) => events).filter(({ type }) => type === "OperationsConsolidated").map(({ data }) => data as { readonly refused: ReadonlyArray<{ readonly reason: string }> })
  assert.match(consolidated[1]?.refused[0]?.reason ?? "", /nearly the same was tried as O2-1-/)
  const past = historyReport(state, "P1-1-abc")
  assert.equal(past?.entries.map(({ kind, merge, what }) => [kind, what, merge?.from]), [["merge", "refused by the gate", ["P1-1-abc", "P1-4-abc"]]])
})

test("blame of a merged principle lists the operations of all it was merged from, and history tells where each went", () => {
  const first = { operation: "add", content: "Quote the memory.", scope: "single-fact" } as const
  const second = { operation: "add", content: "Name the speaker.", scope: "single-fact" } as const
  const texts = new Map<string, string>()
  const { state } = simulate(parameters({ steps: 3, gate: "always" }), (job) => {
    if (job.kind !== "consolidation") return undefined
    for (const { id, text } of job.input.principles) texts.set(text, id)
    const held = [first, second].flatMap(({ content }) => texts.get(content) ?? [])
    const operations: ReadonlyArray<Operation> = job.step === 1 ? [first, second] : job.step === 2 ? [{ operation: "update", id: held[0] ?? "", content: "Quote the memory first." }] : [{ operation: "merge", ids: held, content: helpful }]
    return { kind: job.kind, key: job.key, status: "done", checksum: "c", data: { by: "m", operations: operations.map((operation) => ({ operation, sources: ["t1"] })), discarded: {}, ...spent } }
  })
  const [merged] = state.generations.at(-1)?.principles ?? []
  const [one, other] = [texts.get(first.content) ?? "", texts.get(second.content) ?? ""]
  assert.equal([merged?.text, state.generations.at(-1)?.principles.length], [helpful, 1])
  const report = blameReport(state, [], merged?.id ?? "")
  assert.equal(report?.operations.map(({ operation, step }) => [step, operation]), [[1, "add"], [1, "add"], [2, "update"], [3, "merge"]])
  assert.equal([report?.unknown, report?.operations.at(-1)?.merged?.map(({ id }) => id)], [[], [one, other]])
  assert.equal(historyReport(state, one)?.entries.map(({ what }) => what), ["added", "updated", "merged"])
  assert.equal(historyReport(state, other)?.entries.map(({ merge, what }) => [what, merge]), [["added", undefined], ["merged", { from: [one, other], into: merged?.id }]])
  assert.equal([historyReport(state, other)?.generations, historyReport(state, merged?.id ?? "")?.generations], [[1, 2], [3]])
  assert.equal(historyReport(state, merged?.id ?? "")?.entries.map(({ what }) => what), ["merged"])
})

test("what else is on its way to the gate about a principle that left is obsolete", () => {
  const { state } = merging(helpful, { others: [{ operation: "update", id: "P1-1-abc", content: "Look at dates and days." }, { operation: "update", id: "P1-2-abc", content: "Read three times." }] })
  assert.equal(state.trials.trials.filter(({ step }) => step === 2).map(({ operation, state }) => [operation.id ?? operation.ids?.join(), state === "obsolete"]), [[ids.join(), false], ["P1-1-abc", true], ["P1-2-abc", false]])
})

test.run()
