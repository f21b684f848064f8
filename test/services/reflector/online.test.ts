import { ConfigProvider, Effect, Exit, Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Principle } from "#shared/domain/principle"
import type { Question } from "#shared/domain/question"
import { eraseCause, type Commit } from "#shared/eventlog/envelope"
import { retrieverCodec, type RetrieverEvent } from "#services/retriever/protocol"
import { behaviour as runBehaviour } from "#services/reflector/behaviour"
import { settings } from "#services/reflector/online"
import { cameToNothingByErrors, onlineRequest } from "#services/reflector/online-run"
import { compareShadow, onlineBehaviour, type OnlineCommand, type OnlineState, type Pair, shadowDays, shareRight } from "#services/reflector/online-behaviour"
import { batchOf, capOf, type Feedback, offered, receivedFrom, usedUp, weightsOf } from "#services/reflector/online-feedback"
import { onlineCodec, type OnlineEvent, shadowAddress } from "#services/reflector/online-protocol"
import { shadowed, shadowJobs, shadowPairs } from "#services/reflector/online-shadow"
import type { JobResult } from "#services/reflector/protocol"
import { initialState, type RunState } from "#services/reflector/state"
import { spec } from "#test/support/behaviour"
import { goldenEvents } from "#test/support/golden-events"
import { questions, runRequest } from "./stage.ts"

const test = suite("evolution from live feedback")
const { fold, given } = spec(onlineBehaviour)

const none = { run: "", generation: 0 }
const question = (id: string, user: string, changed: Partial<Question> = {}): Question => ({ id, text: `What of ${id}?`, type: "live", answer: "A", abstention: false, user, cluster: user, asOf: 1, ...changed })
const feedback = (at: number, user: string, changed: Partial<Feedback> = {}): Feedback => ({
  answer: `a${at}`, user, conversation: `c${at}`, correct: true, generation: none, isRead: true, sequence: at + 1, question: question(`live-${at}`, user), ...changed
})
const many = (count: number, user: (at: number) => string, changed: (at: number) => Partial<Feedback> = () => ({})): ReadonlyArray<Feedback> =>
  Array.from({ length: count }, (_, at) => feedback(at, user(at), changed(at)))
const shareOf = (users: ReadonlyArray<string>, user: string): number => {
  const weights = weightsOf(users) ?? []
  const total = weights.reduce((a, b) => a + b, 0)
  return users.reduce((sum, one, at) => sum + (one === user ? (weights[at] ?? 0) : 0), 0) / total
}

// Weights -------------------------------------------------------------------------------------------------------------------------------

test("nobody has more than a tenth of the weight, whatever they wrote", () => {
  for (const counts of [[100, ...Array.from({ length: 20 }, () => 1)], [50, 50, 50, ...Array.from({ length: 9 }, () => 2)], Array.from({ length: 10 }, (_, at) => at + 1), [7, ...Array.from({ length: 9 }, () => 300)]]) {
    const users = counts.flatMap((count, at) => Array.from({ length: count }, () => `u${at}`))
    for (const at of counts.keys()) assert.ok(shareOf(users, `u${at}`) <= 0.1 + 1e-9, `${counts}: u${at} has ${shareOf(users, `u${at}`)}`)
  }
})

test("those who wrote little keep their whole weight, and with nine users nothing can be weighed", () => {
  assert.is(capOf(Array.from({ length: 20 }, () => 3)), Number.POSITIVE_INFINITY)
  const weights = weightsOf([...Array.from({ length: 100 }, () => "noisy"), ...Array.from({ length: 18 }, (_, at) => `u${at}`)]) ?? []
  assert.equal([...new Set(weights)].map((weight) => Math.round(weight * 100) / 100), [0.02, 1])
  assert.is(capOf([5, 5, 5, 5, 5, 5, 5, 5, 5]), 0)
  assert.is(weightsOf(["a", "b"]), undefined)
})

// Batches -------------------------------------------------------------------------------------------------------------------------------

test("thirty conversations of thirty users are a batch, twenty-nine are not", () => {
  const batch = batchOf(many(30, (at) => `u${at}`), "s")
  assert.ok(batch._tag === "Ready")
  assert.equal([batch.train.length, batch.validation.length, batch.guard.length, batch.conversations], [10, 10, 10, 30])
  const short = batchOf(many(29, (at) => `u${at}`), "s")
  assert.ok(short._tag === "Short" && /29 of 30/.test(short.lacks))
  // Many answers about one conversation are one conversation.
  assert.is(batchOf(many(90, (at) => `u${at % 29}`, () => ({ conversation: "c" })), "s")._tag, "Short")
})

test("feedback of fewer than ten users is no batch, however much it is", () => {
  const short = batchOf(many(300, (at) => `u${at % 9}`), "s")
  assert.ok(short._tag === "Short" && /9 of 10 users/.test(short.lacks))
})

test("all that a batch lacks is told at once", () => {
  const short = batchOf(many(12, (at) => `u${at % 4}`), "s")
  assert.ok(short._tag === "Short" && /12 of 30 distinct conversations; .*4 of 10 users/.test(short.lacks), JSON.stringify(short))
})

test("a noisy user has at most a tenth of each part, and no conversation stands in two", () => {
  const batch = batchOf([...many(60, (at) => `u${at % 40}`), ...many(100, () => "noisy").map((one, at) => ({ ...one, answer: `n${at}`, conversation: `n${at}`, question: question(`noisy-${at}`, "noisy") }))], "s")
  assert.ok(batch._tag === "Ready")
  for (const part of [batch.train, batch.validation, batch.guard]) {
    assert.ok(part.filter(({ user }) => user === "noisy").length <= part.length / 10, `${part.filter(({ user }) => user === "noisy").length} of ${part.length}`)
  }
  const two = batchOf(many(90, (at) => `u${at % 30}`, (at) => ({ conversation: `c${at % 3}` })), "s")
  assert.ok(two._tag === "Ready")
  const parts = [two.train, two.validation, two.guard].map((part) => new Set(part.map(({ id }) => Number(id.slice(5))).map((at) => `u${at % 30} c${at % 3}`)))
  for (const [a, b] of [[0, 1], [0, 2], [1, 2]] as const) assert.equal([...(parts[a] ?? [])].filter((one) => parts[b]?.has(one)), [])
})

test("what only says that an answer was wrong counts for watching and never for learning", () => {
  const bare = many(40, (at) => `u${at}`).map(({ question: _, ...one }) => one)
  assert.is(batchOf(bare, "s")._tag, "Short")
})

test("a run over the smallest batch is one that may be opened, and goes on from what is in force", () => {
  const batch = batchOf(many(30, (at) => `u${at}`), "s")
  assert.ok(batch._tag === "Ready")
  const plain = onlineRequest(batch, { seed: 1, isRemote: true, branch: undefined, ledger: [] })
  assert.equal([plain?.gate, plain?.steps, plain?.batch, plain?.samples, plain?.guardSamples, plain?.anyway], ["likely", 3, 10, 5, 9, true])
  const branch = { run: "r", generation: 2, step: 5, change: "live feedback", principles: [], memoryPosition: 9 }
  const request = onlineRequest(batch, { seed: 1, isRemote: false, branch, ledger: [] })
  assert.equal([request?.steps, request?.batch, request?.branch], [8, 10, branch])
})

test("what a batch leaves out is offered to the next, and nothing twice", () => {
  const noisy = many(40, () => "noisy", (at) => ({ answer: `n${at}`, conversation: `n${at}`, sequence: at + 1, question: question(`noisy-${at}`, "noisy") }))
  const others = (name: string, from: number) => many(30, (at) => `u${at}`, (at) => ({ conversation: `${name}${at}`, sequence: from + at, question: question(`${name}-${at}`, `u${at}`) }))
  const ids = (batch: ReturnType<typeof batchOf>) => (batch._tag === "Ready" ? [...batch.train, ...batch.validation, ...batch.guard].map(({ id }) => id) : [])
  const all = [...noisy, ...others("a", 100)]
  const first = ids(batchOf(offered(all, 0, []), "s"))
  assert.is(first.length, 33)
  assert.is(first.filter((id) => id.startsWith("noisy")).length, 3)
  const later = [...all, ...others("b", 200)]
  const left = offered(later, 0, [new Set(first)])
  assert.is(left.length, 37 + 30)
  const second = ids(batchOf(left, "t"))
  assert.equal([second.filter((id) => id.startsWith("noisy")).length, second.filter((id) => first.includes(id))], [3, []])
  assert.is(offered(later, 0, [new Set(first), new Set(second)]).length, 34)
  assert.equal(offered(later, 40, [new Set(first)]).map(({ sequence }) => sequence > 40), Array.from({ length: 30 }, () => true), "up to where nothing is offered any more")
  assert.is(offered(many(3, () => "u").map(({ question: _, ...one }) => one), 0, []).length, 0)
})

test("what errors kept one run from deciding on is offered to one more, and no further", () => {
  const run = (isVoid: boolean, ...ids: ReadonlyArray<string>) => ({ ids: new Set(ids), isVoid })
  const used = (...runs: ReadonlyArray<ReturnType<typeof run>>) => [...new Set(usedUp(runs).flatMap((ids) => [...ids]))].sort()
  assert.equal(used(run(true, "a", "b")), [])
  assert.equal(used(run(true, "a", "b"), run(true, "b", "c")), ["b"])
  assert.equal(used(run(true, "a", "b"), run(false, "a")), ["a"])
})

test("a run came to nothing by errors when its guard test or all its gates were void, or most of its attempts had no verdict", () => {
  const state = (changed: Partial<RunState>): RunState => ({ ...initialState(), phase: { _tag: "Finished" }, recommended: 0, ...changed })
  const step = (...verdicts: ReadonlyArray<string>): RunState["steps"][number] => ({ step: 1, generation: 0, attempts: verdicts.map((verdicts, at) => ({ question: `q${at}`, verdicts })) as never })
  const operation = (decision: string) => ({ decision }) as RunState["operations"][number]
  const guard = (decision: string) => ({ decision }) as NonNullable<RunState["guard"]>
  assert.is(cameToNothingByErrors(state({})), false)
  assert.is(cameToNothingByErrors(state({ guard: guard("void") })), true)
  assert.is(cameToNothingByErrors(state({ guard: guard("rejected") })), false)
  assert.is(cameToNothingByErrors(state({ operations: [operation("void"), operation("void")] })), true)
  assert.is(cameToNothingByErrors(state({ operations: [operation("void"), operation("rejected")] })), false)
  assert.is(cameToNothingByErrors(state({ steps: [step("eee", "eec")] })), true)
  assert.is(cameToNothingByErrors(state({ steps: [step("eic", "eec")] })), false)
  assert.is(cameToNothingByErrors(state({ steps: [step("eee")], recommended: 2 })), false)
  assert.is(cameToNothingByErrors({ ...state({ steps: [step("eee")] }), phase: { _tag: "Between", step: 2 } }), false)
})

test("the questions of eight runs are looked through; what was left out before them is closed", () => {
  const state = (runs: number): OnlineState =>
    fold(Array.from({ length: runs }, (_, at): ReadonlyArray<OnlineEvent> => [
      { _tag: "OnlineRunOpened", run: `online-${at + 1}`, from: none, through: (at + 1) * 10, questions: 30, conversations: 30, users: 30 },
      { _tag: "OnlineRunEnded", run: `online-${at + 1}`, recommended: 0, outcome: "nothing better", reason: "no" }
    ]).flat())
  assert.equal([state(8).runs.length, state(8).closed, state(8).through], [8, 0, 80])
  assert.equal([state(9).runs.map(({ run }) => run).slice(0, 2), state(9).runs.length, state(9).closed], [["online-2", "online-3"], 8, 10])
  assert.equal([state(30).runs.length, state(30).closed, state(30).number], [8, 220, 30])
})

// The log -------------------------------------------------------------------------------------------------------------------------------

const commit = (sequence: number, ...events: ReadonlyArray<RetrieverEvent>): Commit => ({
  id: `${sequence}`, subject: "memory.t.u.answers.retriever", sequence, time: "2026-01-01T00:00:00.000Z",
  cause: events.length === 0 ? eraseCause("00000000-0000-4000-8000-000000000000") : `${sequence}`,
  correlation: "", inputThrough: 0, checksum: "", previousChecksum: "", epoch: 0, binary: new Uint8Array(0), events: events.map((event) => retrieverCodec.encode(event))
}) as Commit
const given1 = (answer: string, changed: object = {}): RetrieverEvent => ({
  _tag: "AnswerGiven", answer, question: "Where is the piano?", askedAt: "2026-03-02T18:04:00.000Z", text: "In the hall.", evidence: [{ memory: "m1", score: 0.1 }, { memory: "m2", score: 0.9 }],
  generation: { run: "r", generation: 3 }, principles: [], model: "m", call: "k", usage: { promptTokens: 1, completionTokens: 1, estimated: false }, behind: [], ...changed
})
const said = (answer: string, verdict: "correct" | "incorrect", comment = ""): RetrieverEvent => ({ _tag: "FeedbackReceived", answer, verdict, comment })
const received = (...commits: ReadonlyArray<Commit>) => Result.getOrThrow(receivedFrom("u", commits))

test("a right answer is its own reference, a correction is the reference of a wrong one, a bare no is none", () => {
  const [right, corrected, bare] = received(commit(3, given1("a")), commit(4, given1("b")), commit(5, given1("c")), commit(7, said("a", "correct")), commit(8, said("b", "incorrect", " In the attic. ")), commit(9, said("c", "incorrect")))
  assert.equal([right?.question?.answer, right?.question?.asOf, right?.best, right?.sequence, right?.generation.generation], ["In the hall.", 3, "m2", 7, 3])
  assert.equal([corrected?.question?.answer, corrected?.correct, corrected?.question?.date], ["In the attic.", false, "2026-03-02T18:04:00.000Z"])
  assert.equal([bare?.question, bare?.correct], [undefined, false])
})

test("the last word on an answer counts, and a new correction is a new question", () => {
  const first = received(commit(1, given1("a")), commit(2, said("a", "incorrect", "In the attic.")))
  const second = received(commit(1, given1("a")), commit(2, said("a", "incorrect", "In the attic.")), commit(3, said("a", "incorrect", "At my sister's.")))
  assert.is(second.length, 1)
  assert.is.not(second[0]?.question?.id, first[0]?.question?.id)
  assert.is(second[0]?.sequence, 3)
})

test("an answer that no reader gave is no reference, and that something is not known is an abstention", () => {
  const [unread] = received(commit(1, given1("a", { model: "" })), commit(2, said("a", "correct")))
  assert.equal([unread?.question, unread?.isRead], [undefined, false])
  assert.is(received(commit(1, given1("a")), commit(2, said("a", "correct")))[0]?.isRead, true)
  assert.is(received(commit(1, given1("a")), commit(2, said("a", "incorrect", "I do not know.")))[0]?.question?.abstention, true)
})

test("feedback of an erased user is gone, and what is said afterwards counts", () => {
  assert.equal(received(commit(1, given1("a")), commit(2, said("a", "correct")), commit(3)), [])
  assert.equal(received(commit(3), commit(4, given1("b")), commit(5, said("b", "correct"))).map(({ answer }) => answer), ["b"])
})

// Shadow --------------------------------------------------------------------------------------------------------------------------------

const start: Principle = { id: "p0", text: "Prefer the newest memory.", scope: "all", bornIn: 0, parents: [] }
const added: Principle = { id: "p1", text: "List every matching memory before counting.", scope: "all", bornIn: 1, parents: [] }
const opened: OnlineEvent = { _tag: "OnlineRunOpened", run: "online-1", from: none, through: 50, questions: 30, conversations: 30, users: 30 }
const begun: ReadonlyArray<OnlineEvent> = [
  opened,
  { _tag: "OnlineRunEnded", run: "online-1", recommended: 2, outcome: "candidate", reason: "generation 2 passed gate and guard test" },
  { _tag: "ShadowStarted", run: "online-1", generation: 2, hash: "h", from: none, after: 60, share: 0.2, startedAt: "2026-01-01T00:00:00.000Z" }
]
const nothing = { ref: none, sequence: 0 }
const later = "2026-01-02T00:00:00.000Z"
/** Of `count` pairs each by another of `users` users, the first `gained` right with the candidate only and the next `lost` without it only. */
const pairs = (count: number, gained: number, lost: number, users = count): ReadonlyArray<Pair> =>
  Array.from({ length: count }, (_, at) => ({
    question: `q${at}`, user: `u${at % users}`, conversation: `c${at}`, abstention: false,
    incumbent: at < gained ? "incorrect" : "correct", candidate: at >= gained && at < gained + lost ? "incorrect" : "correct"
  }))
const look = (own: ReadonlyArray<Pair>, changed: Partial<Extract<OnlineCommand, { _tag: "LookShadow" }>> = {}): OnlineCommand => ({ _tag: "LookShadow", run: "online-1", pairs: own, inForce: nothing, at: later, ...changed })
const decided = (events: ReadonlyArray<OnlineEvent>, command: OnlineCommand): ReadonlyArray<OnlineEvent> => Result.getOrThrow(onlineBehaviour.decide(fold(events), command))
const after = (events: ReadonlyArray<OnlineEvent>, ...commands: ReadonlyArray<OnlineCommand>): ReadonlyArray<OnlineEvent> =>
  commands.reduce<ReadonlyArray<OnlineEvent>>((all, command) => [...all, ...decided(all, command)], events)

test("a candidate that is better on twenty live questions is adopted, one that is not is dropped", () => {
  const adopted = decided(begun, look(pairs(20, 5, 0)))
  assert.equal(adopted.map(({ _tag }) => _tag), ["ShadowLooked", "ShadowEnded"])
  assert.ok(adopted[1]?._tag === "ShadowEnded" && adopted[1].decision === "adopted")
  const dropped = decided(begun, look(pairs(20, 2, 2)))
  assert.ok(dropped[1]?._tag === "ShadowEnded" && dropped[1].decision === "dropped" && /not better/.test(dropped[1].reason))
  assert.equal(fold([...begun, ...adopted]).due, { to: { run: "online-1", generation: 2 }, after: 0 })
  assert.is(fold([...begun, ...dropped]).due, undefined)
  given(...begun).when(look(pairs(20, 5, 0))).then(...adopted)
})

test("nothing is decided on nineteen pairs, on nine conversations or on nine users", () => {
  assert.equal(decided(begun, look(pairs(19, 19, 0))), [])
  assert.equal(decided(begun, look(pairs(20, 20, 0).map((pair, at) => ({ ...pair, user: "u", conversation: `c${at % 9}` })))), [])
  assert.equal(decided(begun, look(pairs(27, 27, 0, 9))), [])
})

test("what is undecided is looked at again at twice the number, and dropped after two hundred", () => {
  const undecided = pairs(20, 4, 3)
  const first = decided(begun, look(undecided))
  assert.equal(first.map((event) => event._tag === "ShadowLooked" && event.decision), ["undecided"])
  assert.equal(decided([...begun, ...first], look(pairs(39, 39, 0))), [], "no look between")
  const all = after(begun, look(undecided), look(pairs(40, 7, 6)), look(pairs(80, 10, 9)), look(pairs(160, 20, 19)), look(pairs(200, 25, 24)))
  const last = all.at(-1)
  assert.ok(last?._tag === "ShadowEnded" && last.decision === "dropped" && /still undecided after 200/.test(last.reason))
  assert.is(all.filter(({ _tag }) => _tag === "ShadowLooked").length, 5)
})

test("a look that comes late finds what a prompt one would have: the first pairs that are due, and the later ones at their own look", () => {
  const all = pairs(45, 5, 0).map((pair, at): Pair => (at < 20 ? pair : { ...pair, candidate: "incorrect" }))
  assert.equal(decided(begun, look(all)), decided(begun, look(all.slice(0, 20))))
  const crowd = pairs(60, 20, 0).map((pair, at): Pair => (at < 30 ? { ...pair, user: "one", conversation: `d${at % 3}` } : pair))
  const late = decided(begun, look(crowd))
  assert.ok(late[0]?._tag === "ShadowLooked" && late[0].pairs === 39 && late[0].users === 10, "further ones until there are ten users")
})

test("a shadow ends after thirty days, and when somebody adopts something else", () => {
  const expired = decided(begun, look(pairs(5, 5, 0), { at: new Date(Date.parse("2026-01-01T00:00:00.000Z") + (shadowDays * 24 + 1) * 3_600_000).toISOString() }))
  assert.ok(expired[0]?._tag === "ShadowEnded" && /undecided after 30 days with 5 pairs/.test(expired[0].reason))
  const overtaken = decided(begun, look(pairs(20, 20, 0), { inForce: { ref: { run: "mine", generation: 1 }, sequence: 9 } }))
  assert.ok(overtaken[0]?._tag === "ShadowEnded" && overtaken[0].decision === "dropped" && /generation 1 of mine/.test(overtaken[0].reason))
})

test("a user who is right a hundred times for the candidate cannot carry it against the others", () => {
  const others = pairs(24, 1, 4)
  const noisy = pairs(100, 100, 0).map((pair, at) => ({ ...pair, user: "noisy", question: `n${at}`, conversation: `n${at}` }))
  assert.is(compareShadow([...noisy, ...others])?.decision, "rejected")
  const dropped = decided(begun, look([...noisy, ...others]))
  assert.ok(dropped.at(-1)?._tag === "ShadowEnded" && fold([...begun, ...dropped]).due === undefined)
})

test("one who says much takes no more than a tenth of what a shadow may ask, and ends none", () => {
  const noisy = many(400, () => "noisy", (at) => ({ answer: `n${at}`, sequence: 61 + at, question: question(`noisy-${at}`, "noisy") }))
  const others = many(60, (at) => `u${at % 12}`, (at) => ({ sequence: 600 + at }))
  const items = shadowed([...noisy, ...others], { run: "online-1", after: 60, share: 1 })
  assert.equal([items.length, items.filter(({ user }) => user === "noisy").length], [80, 20])
  const own = items.map(({ conversation, question, user }): Pair => ({ question: question.id, user, conversation, abstention: false, incumbent: "incorrect", candidate: "correct" }))
  const events = decided(begun, look(own))
  assert.ok(events[0]?._tag === "ShadowLooked" && events[0].users >= 10 && events.at(-1)?._tag === "ShadowEnded", JSON.stringify(events))
  // Before others came, nothing was decided by what was full of one.
  assert.equal(decided(begun, look(own.slice(0, 20))), [])
})

test("errors are no answers: a shadow with too many of them decides nothing", () => {
  const torn = pairs(20, 5, 0).map((pair, at): Pair => (at < 3 ? { ...pair, candidate: "error" } : pair))
  assert.equal(decided(begun, look(torn)).map((event) => event._tag === "ShadowLooked" && event.decision), ["void"])
  const broken = pairs(20, 5, 0).map((pair, at): Pair => (at < 5 ? { ...pair, candidate: "error", incumbent: "error" } : pair))
  const [looked, dropped] = decided(begun, look(broken))
  assert.ok(looked?._tag === "ShadowLooked" && looked.decision === "void")
  assert.ok(dropped?._tag === "ShadowEnded" && dropped.decision === "dropped" && /25\.0 % of an arm's samples are errors, too many to decide anything on 200/.test(dropped.reason), "five errors are more than 2 % of two hundred")
})

test("a shadow asks a drawn share of later feedback, both sides alike, and one side where both would be shown the same", () => {
  const parameters = Result.getOrThrow(runBehaviour.decide(runBehaviour.initial(), { _tag: "OpenRun", parameters: parametersOf() }))[0]
  assert.ok(parameters?._tag === "RunOpened")
  const items = shadowed(many(400, (at) => `u${at}`), { run: "online-1", after: 100, share: 0.2 })
  assert.ok(items.length > 35 && items.length < 85 && items.every(({ sequence }) => sequence > 100), `${items.length}`)
  const of = { address: shadowAddress("t", "online-1"), parameters: parameters.parameters, incumbent: [start], candidate: [start, { ...added, scope: "multi-evidence" as const }] }
  const two: ReturnType<typeof shadowed> = [feedback(1, "u1"), feedback(2, "u2", { question: question("live-2", "u2", { text: "How many times in total did I swim?" }) })].map((one) => ({ ...one, question: one.question ?? question("q", "u") }))
  const results = new Map<string, JobResult>()
  const rollouts = shadowJobs(of, two, results)
  assert.equal(rollouts.map(({ kind }) => kind), ["rollout", "rollout", "rollout"])
  assert.ok(rollouts.every((job) => job.kind === "rollout" && job.input.memoryPosition === 1 && job.input.purpose === "report"))
  const settle = (kind: string, key: string, data: unknown, status: "done" | "failed" = "done") => results.set(`${kind}/${key}`, { kind, key, status, data, checksum: "" })
  for (const { key } of rollouts) settle("rollout", key, { callKey: `call ${key}` })
  assert.equal(shadowJobs(of, two, results).map(({ kind }) => kind), ["judgement", "judgement", "judgement"])
  assert.equal(shadowPairs(of, two, results), [])
  for (const [at, { key }] of rollouts.entries()) settle("judgement", key, { verdict: at === 1 ? "incorrect" : "correct" }, at === 0 ? "failed" : "done")
  assert.equal(shadowJobs(of, two, results), [])
  assert.equal(shadowPairs(of, two, results).map(({ candidate, incumbent }) => [incumbent, candidate]), [["error", "error"], ["incorrect", "correct"]])
  results.delete(`judgement/${rollouts[0]?.key}`)
  assert.equal(shadowPairs(of, two, results), [], "the second waits for the first")
})

const parametersOf = () => {
  const { guard, test: tested, train, validation, ...chosen } = runRequest(questions(117))
  const known = (refs: ReadonlyArray<{ readonly id: string; readonly user: string }>) => {
    const [first, ...more] = refs.map(({ id, user }) => ({ id, user, hash: "h", type: "live", abstention: false, cluster: user, questionClass: "single-fact" as const }))
    if (first === undefined) throw new RangeError("a part needs a question")
    return [first, ...more] as const
  }
  return { ...chosen, judge: "lexical" as const, reflector: "rules" as const, train: known(train), validation: known(validation), guard: known(guard), test: known(tested), algorithm: 1, models: { answer: "m" }, templates: {}, memoryPosition: 5 }
}

// Runs ----------------------------------------------------------------------------------------------------------------------------------

const ended = (changed: Partial<Extract<OnlineCommand, { _tag: "EndRun" }>> = {}): OnlineCommand => ({
  _tag: "EndRun", run: "online-1", recommended: 2, hash: "h", principles: [start, added], start: [start], reader: "m", inForce: nothing, seen: 60, share: 0.2, at: "2026-01-01T00:00:00.000Z", ...changed
})

test("a run's recommendation goes into shadow; where it recommends what it began with, feedback collects again", () => {
  given(opened).when(ended()).then(...begun.slice(1))
  const better = decided([opened], ended({ recommended: 0 }))
  assert.ok(better.length === 1 && better[0]?._tag === "OnlineRunEnded" && better[0].outcome === "nothing better")
  const why = decided([opened], ended({ recommended: 0, tried: "nothing was accepted; of 2 changes tried 2 void" }))
  assert.ok(why[0]?._tag === "OnlineRunEnded" && why[0].reason === "the run recommends what it began with: nothing was accepted; of 2 changes tried 2 void")
  const other = decided([opened], ended({ inForce: { ref: { run: "mine", generation: 1 }, sequence: 9 } }))
  assert.ok(other.length === 1 && other[0]?._tag === "OnlineRunEnded" && other[0].outcome === "overtaken")
})

test("feedback is used up by a run, and no other begins beside it", () => {
  const take = (number: number, through: number): OnlineCommand => ({ _tag: "TakeRun", run: `online-${number}`, from: none, through, questions: 30, conversations: 30, users: 30 })
  given().when(take(1, 50)).then(opened)
  assert.equal(decided([opened], take(2, 90)), [])
  assert.equal(decided(begun, take(2, 90)), [])
  const dropped = after(begun, look(pairs(20, 2, 2)))
  assert.equal(decided(dropped, take(1, 90)), [], "the same run again")
  assert.is(decided(dropped, take(2, 90)).length, 1)
  assert.is(decided(dropped, take(2, 50)).length, 1, "of what the first left out")
  assert.equal(decided(after(begun, look(pairs(20, 5, 0))), take(2, 90)), [], "what was adopted has not been looked at")
})

// Watching ------------------------------------------------------------------------------------------------------------------------------

const adoptedThen = after(begun, look(pairs(20, 5, 0)))
const inForceNow = { ref: { run: "online-1", generation: 2 }, sequence: 77 }
const watch = (own: ReadonlyArray<Feedback>, changed: Partial<Extract<OnlineCommand, { _tag: "LookWatch" }>> = {}): OnlineCommand => ({
  _tag: "LookWatch", run: "online-1", feedback: own, inForce: inForceNow, principles: [start, added], start: [start], reader: "m", ...changed
})
const before = many(40, (at) => `u${at}`, (at) => ({ correct: at % 5 !== 0 }))
const under = (count: number, right: number, user: (at: number) => string = (at) => `v${at}`) => many(count, user, (at) => ({ correct: at < right, generation: inForceNow.ref, sequence: 100 + at }))

test("twenty feedbacks that are clearly worse roll back to what was before, and what was new does not come back", () => {
  const back = decided(adoptedThen, watch([...before, ...under(20, 8)]))
  assert.equal(back.map(({ _tag }) => _tag), ["WatchLooked", "RolledBack"])
  const rolled = back[1]
  assert.ok(rolled?._tag === "RolledBack")
  assert.equal([rolled.to, rolled.adoptedAfter, rolled.withdrawn], [{ run: "online-1", generation: 0 }, 77, [{ scope: "all", text: added.text }]])
  const all = [...adoptedThen, ...back]
  assert.equal(fold(all).due, { to: { run: "online-1", generation: 0 }, after: 77 })
  const next: OnlineEvent = { ...opened, run: "online-2", from: { run: "online-1", generation: 0 }, through: 200 }
  const command = ended({ run: "online-2", inForce: { ref: { run: "online-1", generation: 0 }, sequence: 78 }, principles: [start, { ...added, id: "p9", text: "Before counting, list every memory that matches." }] })
  const again = decided([...all, next], command)
  assert.ok(again.length === 1 && again[0]?._tag === "OnlineRunEnded" && again[0].outcome === "withdrawn before", JSON.stringify(again))
  assert.is(decided([...all, next], { ...command, reader: "another" } as OnlineCommand).length, 2, "another reader may be helped by it")
})

test("as good as before is kept, and looked at again at twice the number until the last look", () => {
  const fine = decided(adoptedThen, watch([...before, ...under(20, 16)]))
  assert.equal(fine.map((event) => event._tag === "WatchLooked" && event.decision), ["not worse"])
  assert.equal(decided([...adoptedThen, ...fine], watch([...before, ...under(39, 0)])), [])
  const all = after(adoptedThen, ...[20, 40, 80, 160, 320].map((count) => watch([...before, ...under(count, count * 0.8)])))
  assert.ok(all.at(-1)?._tag === "WatchEnded")
  assert.is(fold(all).watch, undefined)
})

test("feedback after the first that is due is left to the next look, whatever order it is told in", () => {
  const prompt = decided(adoptedThen, watch([...before, ...under(20, 8)]))
  const more = many(30, (at) => `u${at}`, (at) => ({ answer: `later${at}`, correct: false, sequence: 500 + at }))
  const late = decided(adoptedThen, watch([...more, ...under(39, 8).toReversed(), ...before]))
  assert.equal(late, prompt)
})

test("a noisy user's hundred feedbacks roll nothing back", () => {
  const noisy = under(100, 0, () => "noisy").map((one, at) => ({ ...one, answer: `n${at}`, conversation: `n${at}` }))
  assert.equal(decided(adoptedThen, watch([...before, ...noisy])), [], "alone they are nobody's majority")
  const mixed = decided(adoptedThen, watch([...before, ...under(24, 22), ...noisy]))
  assert.equal(mixed.map((event) => event._tag === "WatchLooked" && event.decision), ["not worse"])
  const share = shareRight([...under(24, 22), ...noisy])
  assert.ok(share !== undefined && share.mean > 0.8, `${share?.mean}`)
})

test("answers that no reader could be asked for roll nothing back", () => {
  const unread = under(40, 0).map((one) => ({ ...one, isRead: false }))
  assert.equal(decided(adoptedThen, watch([...before, ...unread])), [])
  const fine = decided(adoptedThen, watch([...before.map((one, at) => ({ ...one, isRead: at < 30 })), ...unread, ...under(20, 16, (at) => `w${at}`)]))
  assert.equal(fine.map((event) => event._tag === "WatchLooked" && [event.feedback, event.before?.mean]), [[20, 0.8]])
})

test("one who says much does not use up the looks at what was adopted", () => {
  const noisy = under(400, 400, () => "noisy").map((one, at) => ({ ...one, answer: `n${at}`, conversation: `n${at}` }))
  const others = under(12, 11).map((one, at) => ({ ...one, sequence: 1_000 + at }))
  const told = [...before, ...noisy, ...others]
  const all = after(adoptedThen, ...Array.from({ length: 6 }, () => watch(told)))
  assert.equal(all.slice(adoptedThen.length).map((event) => event._tag === "WatchLooked" && [event.feedback, event.decision]), [[41, "not worse"]])
  assert.ok(fold(all).watch !== undefined, "it is watched on")
})

test("what ends a watch is told as the last that happened", () => {
  const overtaken = after(adoptedThen, watch(before, { inForce: { ref: { run: "mine", generation: 1 }, sequence: 90 } }))
  assert.match(fold(overtaken).lastOutcome ?? "", /generation 2 of online-1 is watched no longer: another generation was adopted/)
  const kept = after(adoptedThen, ...[20, 40, 80, 160, 320].map((count) => watch([...before, ...under(count, count * 0.8)])))
  assert.match(fold(kept).lastOutcome ?? "", /is kept/)
})

test("nothing is rolled back before the adoption stands, without anything to compare with, or when somebody adopted another", () => {
  assert.equal(decided(adoptedThen, watch([...before, ...under(20, 0)], { inForce: nothing })), [])
  const alone = decided(adoptedThen, watch(under(20, 0)))
  assert.equal(alone.map((event) => event._tag === "WatchLooked" && event.decision), ["nothing to compare with"])
  given(...adoptedThen).when(watch([...before, ...under(20, 0)], { inForce: { ref: { run: "mine", generation: 1 }, sequence: 90 } })).then({ _tag: "WatchEnded", run: "online-1", generation: 2, reason: "overtaken" })
})

test("switching is recorded once, and what was undecided stays", () => {
  given().when({ _tag: "Switch", on: true }).then({ _tag: "OnlineSwitched", on: true })
  given({ _tag: "OnlineSwitched", on: true }).when({ _tag: "Switch", on: true }).then()
  const off: OnlineState = fold([...begun, { _tag: "OnlineSwitched", on: false }])
  assert.equal([off.on, off.phase._tag], [false, "Shadow"])
})

test("a share that lets no question into a shadow is refused", () => {
  const share = (value: string) => Effect.runSyncExit(settings.pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ METAMEM_ONLINE_SHADOW_SHARE: value })))))
  assert.equal(["0", "-1", "2", "much"].map((value) => Exit.isFailure(share(value))), [true, true, true, true])
  assert.equal(["0.01", "1"].map((value) => Exit.isSuccess(share(value))), [true, true])
})

goldenEvents(test, "services/reflector-online", onlineCodec, [
  { _tag: "OnlineSwitched", on: true },
  opened,
  { _tag: "OnlineRunEnded", run: "online-1", recommended: 2, outcome: "candidate", reason: "generation 2 passed gate and guard test" },
  { _tag: "ShadowStarted", run: "online-1", generation: 2, hash: "h", from: none, after: 60, share: 0.2, startedAt: "2026-01-01T00:00:00.000Z" },
  { _tag: "ShadowLooked", run: "online-1", pairs: 20, conversations: 18, users: 17, incumbentCorrect: 11, candidateCorrect: 15, decision: "accepted", reason: "better", figures: { mean: 0.2, standardError: null } },
  { _tag: "ShadowEnded", run: "online-1", generation: 2, decision: "adopted", reason: "better", adoptedAfter: 0 },
  { _tag: "WatchLooked", run: "online-1", generation: 2, feedback: 20, conversations: 15, users: 14, before: { mean: 0.8, standardError: 0.06 }, now: { mean: 0.5, standardError: 0.11 }, decision: "worse" },
  { _tag: "WatchEnded", run: "online-1", generation: 2, reason: "kept" },
  { _tag: "RolledBack", run: "online-1", generation: 2, to: { run: "online-1", generation: 0 }, reason: "30.0 points fewer", adoptedAfter: 77, withdrawn: [{ scope: "all", text: "List every matching memory before counting." }], reader: "m" }
])

test.run()
