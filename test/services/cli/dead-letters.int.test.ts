import { join } from "node:path"
import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { bury, type DeadLetter, listDead, retryDead } from "#shared/actor/dead-letters"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import { memorySubject } from "#shared/eventlog/subjects"
import { evolutionCommands } from "#services/cli/evolution"
import { deadCommand } from "#services/cli/log-commands"
import { memoryCommands } from "#services/cli/memory"
import { runResults } from "#services/cli/runs"
import { noVectorAbout } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { commandRunner } from "#test/support/commands"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"
import { faults } from "#test/support/scripted-model"
import { until } from "../../shared/actor/tally.ts"
import { finished, makeQuestion, openRun, questions, runRequest, stateOf, verification, withReflector } from "../reflector/stage.ts"

const test = suite("dead letters by command")
const of = { tenant: "local", user: "mira", conversation: "c" }
const part = (from: number, to: number) => {
  const [first, ...more] = questions(117).slice(from, to).map(({ id, user }) => ({ id, user }))
  if (first === undefined) throw new RangeError("a part needs a question")
  return [first, ...more] as const
}

effect(test, "a letter that stands behind thousands is told of its turn, listed, shown and dropped", () =>
  Effect.gen(function*() {
    const { home, url } = yield* testServer
    const run = commandRunner([...memoryCommands, deadCommand], home, url)
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const letter: DeadLetter = { actor: "embedder", kind: "text", about: "", error: "the text has no token", tries: 1, mend: "Nothing." }
      yield* Effect.forEach(Array.from({ length: 1_100 }, (_, at) => at), (at) => bury({ ...letter, about: `another ${at}` }), { concurrency: 64, discard: true })
      const turns = [{ id: "turn", speaker: "user", text: "x", time: "2026-03-02T18:04:00.000Z" }] as never
      const { sequence } = yield* log.append({ subject: memorySubject(of, "ingestor"), cause: "test", events: [ingestorCodec.encode({ _tag: "TurnsReceived", turns })] }, 0, "")
      yield* log.append({ subject: memorySubject(of, "embedder"), cause: "test", inputThrough: sequence, events: [] }, 0, "")
      yield* bury({ ...letter, about: noVectorAbout(memorySubject(of, "embedder"), "turn") })

      assert.match((yield* run("status", "--user", "mira")).json.turns[0].error, /metamem dead show 1101/)
      assert.is((yield* run("dead", "list")).json.length, 1_000)
      assert.equal((yield* run("dead", "list", "--after", "1000")).json.map(({ sequence }: { readonly sequence: number }) => sequence), Array.from({ length: 101 }, (_, at) => 1_001 + at))
      assert.match((yield* run("dead", "show", "1101")).json.about, /memory turn$/)
      assert.is((yield* run("dead", "drop", "1101")).error, "")
      assert.match((yield* run("dead", "show", "1101")).error, /no dead letter 1101/)
    }).pipe(Effect.provide(JetStreamLog.layer.pipe(Layer.provideMerge(NatsConnection.layer({ url })))))
  }), 60_000)

effect(test, "a failed answer is done anew while its stage waits for others, with all of its tries, and not once the stage has counted it", () =>
  withReflector(({ home, model, url }) =>
    Effect.gen(function*() {
      const run = commandRunner([...evolutionCommands, deadCommand], home, url)
      const asked: Array<string> = []
      let failing: ReadonlyArray<"empty" | "hang"> = ["empty", "hang"]
      model.setFault(({ prompt, role }) => {
        const question = /^Question: (.*)$/m.exec(prompt)?.[1] ?? ""
        if (role !== "answer") return undefined
        if (!asked.includes(question)) asked.push(question)
        return question === asked[0] && failing.includes("empty") ? faults.empty : question === asked[1] && failing.includes("hang") ? { _tag: "Hang" } : undefined
      })
      yield* openRun("a", runRequest(questions(117), { validation: part(16, 40), steps: 1 }))
      const standing = (count: number) => until(Effect.map(listDead(), ({ length }) => length === count), 20_000, `${count} dead letters`)
      yield* standing(3)
      assert.match((yield* run("dead", "retry")).error, /the number of a letter, or --run/)
      assert.match((yield* run("dead", "retry", "--run", "b", "--tenant", "t")).error, /no dead letter is of the run b/)
      const [mine] = yield* listDead()
      assert.equal((yield* run("dead", "retry", "--run", "a", "--tenant", "t")).json, { run: "a", retried: 3, stay: [] })
      // Who asked for it at the same time was right too.
      assert.is(mine === undefined || (yield* retryDead(mine)), true)
      yield* until(Effect.map(listDead(), (letters) => letters.filter(({ tries }) => tries === 6).length === 3), 20_000, "they failed again, as other letters")
      const [first, second, third] = yield* listDead()
      failing = ["hang"]
      for (const letter of [first, second]) assert.equal((yield* run("dead", "retry", String(letter?.sequence))).error, "")
      assert.equal((yield* listDead()).map(({ sequence }) => sequence), [third?.sequence])
      assert.is((yield* stateOf("a")).phase._tag, "Rollouts", "it waited for the others all the time")
      failing = []
      yield* finished("a")

      const { questions: known, steps } = yield* stateOf("a")
      const attempts = steps[0]?.attempts.find(({ question }) => makeQuestion(Number(question.slice(1))).text === asked[0])
      assert.is(attempts?.verdicts.replaceAll(/[^e]/g, ""), "e", "only the one that nobody had done anew is an error")
      assert.ok(attempts !== undefined && known.has(attempts.question))
      const { differing, extra, missing } = yield* verification("a")
      assert.equal({ differing, extra, missing }, { differing: [], extra: [], missing: [] })
      // Two outcomes of one job are one attempt to whoever counts or follows them.
      const results = yield* runResults("t", "a")
      assert.is(new Set(results.map(({ address }) => JSON.stringify(address))).size, results.length)
      assert.equal(results.filter(({ address, settled }) => address.kind === "rollout" && settled.status === "failed").map(({ settled }) => settled.attempts), [6])
      const rows: ReadonlyArray<any> = (yield* run("cost", "--run", "a", "--tenant", "t")).json.rows
      assert.equal(rows.filter(({ kind, purpose }) => kind === "rollout" && purpose === "training").map(({ failed, jobs }) => [jobs, failed]), [[24, 1]])

      assert.match((yield* run("dead", "retry", String(third?.sequence))).error, new RegExp(`dead letter ${third?.sequence} stays: the run is over and has counted it`))
      assert.match((yield* run("dead", "retry", "--run", "a", "--tenant", "t")).error, /none of 1 dead letter of a was put back: the run is over/)
      assert.is((yield* listDead()).length, 1)

      // Elsewhere it is decided by the same outcomes.
      const file = join(home, "a.bundle.gz")
      assert.is((yield* run("export", "--run", "a", "--out", file, "--tenant", "t")).error, "")
      const elsewhere = yield* testServer
      const there = commandRunner(evolutionCommands, elsewhere.home, elsewhere.url)
      assert.is((yield* there("import", file, "--tenant", "t")).error, "")
      assert.is((yield* there("verify", "--run", "a", "--tenant", "t")).json.ok, true)
    }), { settings: { METAMEM_JUDGE: "lexical", METAMEM_REFLECTOR: "rules", METAMEM_ANSWER_TIMEOUT_MS: "3000" } }), 120_000)

test.run()
