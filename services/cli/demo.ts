/** `metamem demo`: the whole loop on embedded defaults — remember a conversation, ask, evolve, replay — told as it happens. */
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { Console, Effect, Fiber, Result, Schema, Stream } from "effect"
import { Command } from "effect/cli"
import { request } from "#shared/actor/requests"
import { readDataset } from "#shared/datasets/read-dataset"
import type { Question } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, requestSubject } from "#shared/eventlog/subjects"
import { compressorCodec } from "#services/compressor/protocol"
import { presets, type RunRequest } from "#services/reflector/parameters"
import { AskReply } from "#services/retriever/protocol"
import { registerQuestions, waitUntilSearchable } from "./build.ts"
import { withActors } from "./home.ts"
import { sendTurns } from "./ingest.ts"
import { root } from "./root.ts"
import { replayAll } from "./runs.ts"
import { splittable } from "./split.ts"
import { plainSplit } from "#shared/metamemory/split"
import { runToEnd } from "./run-to-end.ts"

const dataFolder = resolve(import.meta.dirname, "../../data")
const run = "demo"
/** The same again with everything accepted: what the small model learns too little for the gate to let through is seen here. */
const ungated = "demo-always"

interface SampleTurn {
  readonly user: string
  readonly conversation: string
  readonly speaker: string
  readonly time: string
  readonly text: string
}

const heading = (text: string) => Console.log(`\n── ${text} ${"─".repeat(Math.max(2, 76 - text.length))}`)
const short = (text: string, width: number): string => {
  const line = text.replace(/\s+/g, " ")
  return line.length > width ? `${line.slice(0, width - 1)}…` : line
}

const sampleTurns = (): ReadonlyArray<SampleTurn> =>
  readFileSync(join(dataFolder, "conversations.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line) as SampleTurn)

/** The sample questions, each asked of the user whose conversations it is about. */
const sampleQuestions = Effect.map(readDataset(join(dataFolder, "questions.json")), ({ hash, questions }) => {
  const rows = JSON.parse(readFileSync(join(dataFolder, "questions.json"), "utf8")) as ReadonlyArray<{ readonly question_id: string; readonly haystack_session_ids: ReadonlyArray<string> }>
  const owner = new Map(rows.map(({ haystack_session_ids, question_id }) => [question_id, haystack_session_ids[0]?.split("-")[0] ?? ""]))
  return { hash, questions: questions.map((question): Question => ({ ...question, user: owner.get(question.id) ?? question.user })) }
})

/** Sends the turns one by one, as they would come, and tells the facts as they are recorded. */
const remember = Effect.gen(function*() {
  const { tenant } = yield* root
  const log = yield* EventLog
  const turns = sampleTurns()
  const before = yield* log.head("MEMORY")
  let facts = 0
  const telling = yield* log.follow([memoryFilter({ tenant, actor: "compressor" })], { after: before }).pipe(
    Stream.runForEach((commit) =>
      Effect.gen(function*() {
        for (const stored of commit.events) {
          const event = compressorCodec.decode(stored)
          if (Result.isFailure(event) || event.success._tag !== "MemoriesRecorded") continue
          for (const memory of event.success.memories) {
            facts += 1
            if (facts % 12 === 1) yield* Console.log(`    remembered (${event.success.extractor}): ${short(memory.text, 90)}`)
          }
        }
      })
    ),
    Effect.ignore,
    Effect.forkChild
  )
  const acknowledged: Array<number> = []
  let known = 0
  let conversation = ""
  for (const [index, turn] of turns.entries()) {
    if (turn.conversation !== conversation) {
      conversation = turn.conversation
      yield* Console.log(`  ${turn.time.slice(0, 10)}  ${conversation}  ${turn.speaker}: ${short(turn.text, 70)}`)
    }
    const started = performance.now()
    const isLast = !turns.slice(index + 1).some((later) => later.conversation === turn.conversation)
    const reply = yield* sendTurns({ tenant, turns: [turn], close: isLast })
    acknowledged.push(performance.now() - started)
    if (reply.turns[0]?.status === "duplicate") known += 1
  }
  const conversations = [...new Map(turns.map(({ conversation, user }) => [conversation, { tenant, user, conversation }])).values()]
  yield* waitUntilSearchable(conversations, () => undefined)
  yield* Fiber.interrupt(telling)
  acknowledged.sort((a, b) => a - b)
  yield* Console.log(
    known === turns.length
      ? `  all ${turns.length} turns were in the log already: nothing was repeated`
      : `  ${turns.length} turns in the log on disk, each acknowledged in ${acknowledged[Math.floor(turns.length / 2)]?.toFixed(1)} ms (median); ${facts} facts extracted by rule, all embedded and searchable`
  )
})

const decodeAsk = Schema.decodeUnknownEffect(AskReply)

const ask = (questions: ReadonlyArray<Question>) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const types = [...new Set(questions.map(({ abstention, type }) => (abstention ? "not answerable" : type)))]
    for (const type of types) {
      const question = questions.find((candidate) => (candidate.abstention ? "not answerable" : candidate.type) === type)
      if (question === undefined) continue
      const reply = yield* request(
        requestSubject("retriever", "ask"),
        { tenant, user: question.user, question: question.text, deadlineMs: 60_000, ...(question.date === undefined ? {} : { at: question.date }) },
        65_000
      ).pipe(Effect.flatMap(decodeAsk))
      const best = [...reply.evidence].sort((a, b) => b.score - a.score).slice(0, 2)
      yield* Console.log(`  ${question.user}: ${question.text}  (${type})`)
      yield* Console.log(`    → ${short(reply.answer, 100)}   [expected: ${short(question.answer, 50)}]`)
      for (const item of best) yield* Console.log(`      evidence ${item.time.slice(0, 10)} ${item.speaker}, turn ${item.turns[0]?.slice(0, 8)} of ${item.conversation}: ${short(item.text, 70)}`)
      yield* Console.log(`      ${reply.latencyMs} ms${reply.behind.length > 0 ? `, behind: ${reply.behind.join(", ")}` : ""}`)
    }
  })

const evolve = (hash: string, questions: ReadonlyArray<Question>) =>
  Effect.gen(function*() {
    // Small enough for a few minutes on two cores. A real run keeps questions of one user together; this one has two users.
    // Kinds that the small model can answer at all, or nothing would come out both ways.
    const within = questions.filter(({ type }) => ["single-session-user", "single-session-assistant", "knowledge-update"].includes(type))
    const { test, train, val } = plainSplit(within.map((question) => splittable(question)).map((item) => ({ ...item, bonds: [`question ${item.id}`] })), { seed: "demo", shares: [0.65, 0.22, 0.13] })
    const refs = (items: typeof train) => items.map(({ question: { id, user } }) => ({ id, user }))
    const [firstTrain, ...otherTrain] = refs(train)
    const [firstValidation, ...otherValidation] = refs(val)
    if (firstTrain === undefined || firstValidation === undefined) return yield* Effect.die(new RangeError("the sample has too few questions"))
    const gated: RunRequest = {
      ...presets.laptop,
      datasetHash: hash,
      seed: 11,
      steps: 2,
      batch: 8,
      maxTokens: 20,
      operationsPerStep: 2,
      validationSamples: 1,
      guardSamples: 1,
      train: [firstTrain, ...otherTrain],
      validation: [firstValidation, ...otherValidation],
      guard: refs(test),
      test: []
    }
    const tell = (line: string) => Console.log(line.replace(/^/gm, "  "))
    const result = yield* runToEnd(run, gated, tell)
    yield* Console.log(`  ${result.calls} answers of the model in this run, ${result.errors} errors`)
    yield* heading("4. What if everything proposed were accepted, as in the original?")
    yield* Console.log("  Attempts and answers that were made before in the same way are read from the log and not asked again.")
    // What was chosen has been told above.
    const always = yield* runToEnd(ungated, { ...gated, gate: "always" }, (line) => (line.startsWith("run opened") ? Effect.void : tell(line)))
    yield* Console.log(`  ${always.calls} answers of the model in this run, ${always.cost.reusedCalls} more from the log, ${always.errors} errors`)
  })

export const demo = Command.make("demo", {}, () =>
  Effect.gen(function*() {
    const started = performance.now()
    const { tenant } = yield* root
    yield* Console.log("metamem on embedded defaults: its own nats-server, a small local model, six actors in one process")
    yield* Effect.gen(function*() {
      const { hash, questions } = yield* sampleQuestions
      yield* heading("1. A conversation comes in, turn by turn")
      yield* remember
      yield* heading("2. Questions, answered from memory by the small local model")
      yield* ask(questions)
      yield* heading("3. Evolution: what helps to use memories")
      yield* Console.log("  A rule judges (by words), reflects and proposes here: the small model cannot. It answers every rollout.")
      yield* registerQuestions(tenant, questions)
      yield* evolve(hash, questions)
      yield* heading("5. Replay from the log")
      const replayed = [run, ungated].map((name) => replayAll(tenant, name).pipe(Effect.map((generations) => generations.map((one) => ({ ...one, name })))))
      const generations = (yield* Effect.all(replayed)).flat()
      for (const { generation, hash: replayedHash, identical, name, principles } of generations) {
        yield* Console.log(`  ${name}, generation ${generation}: ${principles.length} principles, ${replayedHash.slice(0, 24)} ${identical ? "identical" : "DIFFERS FROM WHAT WAS SEALED"}`)
        for (const { scope, text } of principles) yield* Console.log(`    [${scope}] ${text}`)
      }
      const identical = generations.filter((one) => one.identical).length
      yield* Console.log(`\nreplayed ${generations.length} generations, ${identical === generations.length ? "identical" : `${identical} identical`}, 0 model calls`)
    }).pipe(withActors(["ingestor", "compressor", "embedder", "retriever", "evaluator", "reflector"], true))
    yield* Console.log(`done in ${Math.round((performance.now() - started) / 1000)} s. Where to go next:`)
    yield* Console.log([
      "  npm run -s metamem -- ask \"Which plot is my allotment?\" --user tomas",
      "  npm run -s metamem -- memories list --user mira --kind fact",
      "  npm run -s metamem -- generations --run demo",
      "  npm run -s metamem -- diff 0 2 --run demo-always",
      "  npm run -s metamem -- doctor          (and README.md: your own models, your own data)"
    ].join("\n"))
  })).pipe(Command.withDescription("Show the whole loop on embedded defaults: remember, ask, evolve, replay"))

