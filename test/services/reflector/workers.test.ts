import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { JobFailed } from "#shared/actor/jobs"
import type { Operation, Principle } from "#shared/domain/principle"
import { Models } from "#shared/model/models"
import type { Material } from "#services/reflector/material"
import { consolidate } from "#services/reflector/workers"
import { effect } from "../../support/effect.ts"

const test = suite("consolidation by a model")

const add = (content: string, scope: "all" | "time" = "all"): Operation => ({ operation: "add", content, scope })
const sentences = ["Prefer the newest memory.", "List every match before counting.", "Say so when nothing fits.", "Read the question twice.", "Keep the order of what was said.", "Compare the dates of two events."]
const long = add(Array.from({ length: 31 }, () => "word").join(" "))

const principle = (at: number): Principle => ({ id: `P${at}`, text: `Think ${at === 1 ? "once" : "twice"}.`, scope: "time", bornIn: 1, parents: [] })

/** What is consolidated of these proposals when the model replies so, one list after another, and the prompts it was given. */
const consolidated = (replies: ReadonlyArray<ReadonlyArray<Operation>>, proposals: ReadonlyArray<Operation> = sentences.map((sentence) => add(sentence)), more: object = {}) =>
  Effect.gen(function*() {
    const prompts: Array<string> = []
    const systems: Array<string> = []
    const call = ({ messages }: { readonly messages: ReadonlyArray<{ readonly content: string }> }) =>
      Effect.sync(() => {
        prompts.push(messages.at(-1)?.content ?? "")
        systems.push(messages[0]?.content ?? "")
        return { value: { operations: replies[prompts.length - 1] ?? [] }, model: "m", key: `k${prompts.length}`, usage: { promptTokens: 1, completionTokens: 1, estimated: false }, reused: false }
      })
    const question = (_: string, { id, user }: { readonly id: string; readonly user: string }) =>
      user === "erased" ? Effect.fail(new JobFailed({ message: "not registered", final: true })) : user === "unread" ? Effect.fail(new JobFailed({ message: "the log is away", final: false })) : Effect.succeed({ id, answer: "a boat", points: ["the crimson kayak"] })
    const material = { question } as unknown as Material
    const input = { by: "model", runSeed: 1, step: 1, proposals: proposals.map((operation) => ({ operation, sources: ["q"] })), principles: [], limit: 4, questions: [{ id: "q", user: "u" }], canaries: [], ...more }
    const job = { tenant: "t", run: "r", step: 1, kind: "consolidation", key: "all", input } as unknown as Parameters<ReturnType<typeof consolidate>>[0]
    const data = yield* consolidate(material)(job).pipe(Effect.provideService(Models, { call } as never))
    return { data, prompts, systems, contents: data.operations.map(({ operation }) => operation.content) }
  })

effect(test, "of more operations than wanted the first are taken, without asking again", () =>
  Effect.gen(function*() {
    const { contents, data, prompts } = yield* consolidated([sentences.map((sentence) => add(sentence))])
    assert.equal([prompts.length, contents, data.discarded], [1, sentences.slice(0, 4), { TooManyOperations: 2 }])
    assert.equal(data.calls, ["k1"])
  }))

effect(test, "longer principles are asked for again with what was wrong", () =>
  Effect.gen(function*() {
    const words = yield* consolidated([[add(sentences[0]!), long], [add(sentences[0]!), add(sentences[2]!)]])
    assert.match(words.prompts[1] ?? "", /31 words; at most 30/)
    assert.equal([words.contents, words.data.calls], [[sentences[0], sentences[2]], ["k1", "k2"]])
  }))

effect(test, "what is wrong again is left out and counted, and no good one is lost by asking", () =>
  Effect.gen(function*() {
    const still = yield* consolidated([[add(sentences[0]!), long], [add(sentences[0]!), long, long]])
    assert.equal([still.prompts.length, still.contents, still.data.discarded], [2, [sentences[0]], { TooManyWords: 2 }])
    const worse = yield* consolidated([[add(sentences[0]!), add(sentences[1]!), long], [long]])
    assert.equal(worse.contents, [sentences[0], sentences[1]])
    // What is in force already is left out without asking.
    const repeated = yield* consolidated([[add(principle(1).text, "time"), add(sentences[0]!)]], undefined, { principles: [principle(1)] })
    assert.equal([repeated.prompts.length, repeated.contents, repeated.data.discarded], [1, [sentences[0]], { DuplicateText: 1 }])
    const fine = yield* consolidated([[add(sentences[0]!)]])
    assert.equal([fine.prompts.length, fine.data.discarded], [1, {}])
  }))

effect(test, "a class that holds as many principles as a question is shown takes no further one", () =>
  Effect.gen(function*() {
    const full = { principles: [principle(1), principle(2)], maxInScope: 2 }
    const { contents, prompts } = yield* consolidated([[add(sentences[0]!, "time")], [{ operation: "update", id: "P1", content: sentences[0]! }]], undefined, full)
    assert.match(prompts[1] ?? "", /at most 2 principles; delete or update one instead/)
    assert.equal(contents, [sentences[0]])
    assert.is((yield* consolidated([[add(sentences[0]!, "time")]], undefined, { ...full, maxInScope: 3 })).prompts.length, 1)
  }))

effect(test, "principles of one scope are merged where the model says so; a merge that was tried takes no place", () =>
  Effect.gen(function*() {
    const merge = (ids: ReadonlyArray<string>, content: string): Operation => ({ operation: "merge", ids, content })
    const held = { principles: [principle(1), principle(2), { ...principle(3), text: "Think of time." }], reader: "m" }
    const tried = { id: "O1", step: 1, operation: "merge", scope: "time", text: "Think.", ids: ["P1", "P2"], outcome: "rejected", reader: "m" }
    const proposals = [add(sentences[0]!), { operation: "update", id: "P3", content: sentences[2]! } as const]
    const reply = [merge(["P1", "P2"], "Think."), merge(["[P1]", "P3"], "Think of time once."), ...sentences.slice(0, 4).map((sentence) => add(sentence))]
    const { data, prompts, systems } = yield* consolidated([reply], proposals, { ...held, triedMerges: [tried] })
    assert.equal([prompts.length, data.discarded], [1, { TriedBefore: 1, TooManyOperations: 1 }])
    assert.equal([data.operations.length, data.operations[0]], [4, { operation: merge(["P1", "P3"], "Think of time once."), sources: ["q"] }])
    assert.match(systems[0] ?? "", /Of one kind are P1, P2, P3 \(time\)\. These merges did not help: P1 with P2\./)
    // Nobody proposed anything about these two, nor does another reader's ledger count.
    const fresh = yield* consolidated([[merge(["P1", "P2"], "Think.")]], proposals, { ...held, reader: "n", triedMerges: [tried] })
    assert.equal(fresh.data.operations, [{ operation: merge(["P1", "P2"], "Think."), sources: [] }])
  }))

effect(test, "by rule, what says nearly the same in one scope is merged after all that was proposed, where there is room", () =>
  Effect.gen(function*() {
    const held = [{ ...principle(1), text: "Compare the days whenever dates differ." }, { ...principle(2), text: "When dates differ, compare the days." }]
    const ruled = (limit: number, triedMerges: ReadonlyArray<object> = []) => consolidated([], [add(sentences[0]!), add(sentences[2]!)], { by: "rules", principles: held, limit, reader: "m", triedMerges })
    assert.equal((yield* ruled(3)).data.operations.map(({ operation }) => ("ids" in operation ? operation.ids : operation.content)), [sentences[0], sentences[2], ["P1", "P2"]])
    assert.equal((yield* ruled(2)).contents, [sentences[0], sentences[2]])
    assert.equal((yield* ruled(3, [{ id: "O1", step: 1, operation: "merge", scope: "time", text: "x", ids: ["P1", "P2"], outcome: "undecided", reader: "m" }])).contents, [sentences[0], sentences[2]])
  }))

effect(test, "what repeats a point of an answer is left out", () =>
  Effect.gen(function*() {
    const { contents } = yield* consolidated([[add("Mention the crimson kayak whenever travel comes up."), add(sentences[0]!)]])
    assert.equal(contents, [sentences[0]])
  }))

effect(test, "a user erased meanwhile leaves the rest to be consolidated; a log that cannot be read does not", () =>
  Effect.gen(function*() {
    const replies = [[add("Mention the crimson kayak whenever travel comes up."), add(sentences[0]!)]]
    const asked = (user: string) => consolidated(replies, undefined, { questions: [{ id: "gone", user }, { id: "q", user: "u" }] })
    assert.equal((yield* asked("erased")).contents, [sentences[0]])
    assert.is((yield* Effect.flip(asked("unread"))).message, "the log is away")
  }))

effect(test, "proposals beyond one request's budget are taken in parts, and the parts together", () =>
  Effect.gen(function*() {
    const many = Array.from({ length: 900 }, (_, at) => add(`${sentences[at % sentences.length]} Mind what was said before and after it, and by whom it was said.`))
    // One part proposes what leaks, which the last one never sees.
    const { contents, data, prompts } = yield* consolidated([[add(sentences[0]!), add("Remember the 27th of May.")], [add(sentences[1]!)], [add(sentences[2]!)], [add(sentences[0]!), add(sentences[2]!)]], many)
    const listed = prompts.map((prompt) => prompt.split("\n").filter((line) => line.startsWith("{")).length)
    assert.ok(prompts.length >= 3, `${prompts.length} requests`)
    assert.is(listed.slice(0, -1).reduce((sum, n) => sum + n, 0), 900)
    assert.ok((listed.at(-1) ?? 0) <= prompts.length - 1, "the last one sees what the parts came to")
    assert.is(data.calls.length, prompts.length)
    assert.ok(contents.length > 0)
    assert.ok(Object.values(data.discarded).reduce((sum, n) => sum + n, 0) >= 1, "what a part threw away is counted")
  }))

test.run()
