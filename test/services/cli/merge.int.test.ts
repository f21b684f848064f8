import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { evolutionCommands } from "#services/cli/evolution"
import { commandRunner } from "#test/support/commands"
import { temporaryFolder, testServer } from "#test/support/nats"
import { faults, scriptedPrinciples, type ScriptedRequest } from "#test/support/scripted-model"
import { finished, openRun, questions, runRequest, stateOf, verification } from "../reflector/stage.ts"
import { onRunStage } from "./run-stage.ts"

const test = suite("principles merged by a model")

const [first = "", second = "", third = ""] = scriptedPrinciples
/** Ids of principles by their texts, as a prompt shows them. */
const idsIn = (prompt: string): ReadonlyMap<string, string> => new Map([...prompt.matchAll(/^\[([^\]]+)\] (.+)$/gm)].map(([, id = "", text = ""]) => [text, id]))

/** Adds two that help; when both are in force, makes one of them that helps more, once. */
const consolidation = ({ prompt }: ScriptedRequest): object => {
  const ids = idsIn(prompt)
  const [one, other] = [ids.get(first), ids.get(second)]
  const add = (content: string) => ({ operation: "add", id: null, ids: null, content, scope: "single-fact" })
  if (one === undefined || other === undefined) return { operations: ids.size === 0 ? [add(first), add(second)] : [] }
  return { operations: [{ operation: "merge", id: null, ids: [`[${one}]`, other], content: `${first} ${second} ${third}`, scope: null }] }
}

const readJson = (...path: ReadonlyArray<string>): any => JSON.parse(readFileSync(join(...path), "utf8"))
const ok = (outcome: { readonly error: string; readonly json: any }): any => {
  assert.is(outcome.error, "")
  return outcome.json
}

onRunStage(test, "a consolidation's merge passes the gate, is sealed, replayed, traced to all it was made of, and exported", 117, ({ run, setFault }) =>
  Effect.gen(function*() {
    setFault((request) => (request.role === "consolidate" ? { ...faults.prose, change: () => JSON.stringify(consolidation(request)) } : undefined))
    yield* openRun("a", runRequest(questions(117), { steps: 4, batch: 16, samples: 4 }))
    yield* finished("a")
    const state = yield* stateOf("a")
    const merge = state.operations.find(({ operation }) => operation === "merge")
    assert.ok(merge?.after !== undefined && merge.merged !== undefined, JSON.stringify(state.operations))
    assert.is(merge.decision, "accepted", merge.reason)
    const [one, other] = merge.merged.map(({ id }) => id)
    const merged = merge.after.id
    const sealed = state.generations.find(({ principles }) => principles.some(({ id }) => id === merged))
    assert.equal(sealed?.principles.map(({ id }) => id), [merged])
    assert.equal((yield* verification("a")).differing, [])

    const n = sealed?.number ?? 0
    const replayed = ok(yield* run("replay", "--run", "a", "--generation", String(n)))
    assert.equal([replayed.hash, replayed.principles], [sealed?.hash, [{ id: merged, text: `${first} ${second} ${third}`, scope: "single-fact", bornIn: n, parents: merge.after.parents }]])
    assert.is(ok(yield* run("verify", "--run", "a")).ok, true)
    const blamed = ok(yield* run("blame", "--run", "a", merged))
    assert.equal(blamed.operations.map(({ id, operation }: any) => [operation, id]), [["add", merge.after.parents[0]], ["add", merge.after.parents[1]], ["merge", merge.id]])
    assert.equal([blamed.unknown, blamed.operations.at(-1).merged.map(({ id }: any) => id)], [[], [one, other]])
    assert.ok(blamed.counts.rollouts > 0)
    const past = ok(yield* run("history", "--run", "a", one ?? ""))
    assert.equal(past.entries.map(({ merge, what }: any) => [what, merge?.into]), [["added", undefined], ["merged", merged]])
    assert.ok(!past.generations.includes(n))
    const diff = ok(yield* run("diff", "--run", "a", String(n - 1), String(n)))
    assert.equal([diff.added.map(({ id }: any) => id), diff.removed.map(({ id }: any) => id), diff.merged], [[merged], [one, other], [{ into: merged, from: [one, other] }]])
    const { effects } = ok(yield* run("effect", "--run", "a"))
    assert.equal(effects.filter(({ id }: any) => id === one || id === other).map(({ mergedInto }: any) => mergedInto), [merged, merged])
    ok(yield* run("generations", "--run", "a"))

    const folder = yield* temporaryFolder
    const out = join(folder, "reference")
    ok(yield* run("export", "--run", "a", "--out", out, "--format", "reference"))
    const operations: ReadonlyArray<any> = readJson(out, `step_${merge.proposed - 1}/applied_updates.json`).all_operations
    assert.equal(operations.map(({ content, id, operation }) => ({ operation, id, content })), [{ operation: "update", id: "M0", content: merge.after.text }, { operation: "delete", id: "M1", content: undefined }])
    assert.equal(readJson(out, `step_${sealed?.step}/meta_memories.json`), { M0: merge.after.text })
    const taken = ok(yield* run("import", "--reference", out, "--run", "copy"))
    const copied = ok(yield* run("replay", "--run", "copy", "--generation", String(taken.generations.length - 1))).principles
    assert.equal(copied.map(({ text }: any) => text), [merge.after.text])
    const bundle = join(folder, "a.bundle")
    ok(yield* run("export", "--run", "a", "--out", bundle))
    const elsewhere = yield* testServer
    const there = commandRunner(evolutionCommands, elsewhere.home, elsewhere.url)
    assert.equal(ok(yield* there("import", bundle, "--tenant", "t")).generations, state.generations.map(({ hash }) => hash))

    const pinned = ok(yield* run("whatif", "--run", "a", "--from", String(n), "--pin", one ?? "", "--samples", "1"))
    const reworded = ok(yield* run("whatif", "--run", "a", "--from", String(n), "--reword", merged, "Guess.", "--samples", "1"))
    assert.ok(pinned.inScope > 0 && reworded.inScope > 0)
  }))

test.run()
