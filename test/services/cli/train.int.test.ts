import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Option, Result, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { request } from "#shared/actor/requests"
import { readDataset } from "#shared/datasets/read-dataset"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, requestSubject } from "#shared/eventlog/subjects"
import { mixOf, typeOf } from "#shared/metamemory/split"
import { partsOf } from "#services/cli/question-parts"
import { chosenParameters } from "#services/cli/train-options"
import { presets, type RunRequest } from "#services/reflector/parameters"
import { openRun, register } from "../reflector/stage.ts"
import { given } from "./given-options.ts"
import { onRunStage } from "./run-stage.ts"

const test = suite("training by command")

/** Commits of the memory log about users of these files. */
const remembered = (...names: ReadonlyArray<string>) =>
  Effect.flatMap(EventLog, (log) =>
    log.read([memoryFilter({ tenant: "t" })]).pipe(Stream.runFold(() => 0, (sum: number, { subject }) => sum + Number(names.some((name) => subject.includes(`${name}-`))))))

const row = (id: string) => ({
  question_id: id, question_type: "single-session-user", question: `What colour is the boat of ${id}?`, answer: "red",
  haystack_dates: ["2023/05/30 (Tue) 23:40"], haystack_sessions: [[{ role: "user", content: `The boat of ${id} is red.` }]]
})

const fileIn = (home: string) => (name: string, count: number): string => {
  const path = join(home, `${name}.json`)
  writeFileSync(path, JSON.stringify(Array.from({ length: count }, (_, at) => row(`${name}-${at}`))))
  return path
}

onRunStage(test, "a run too small to tell anything is refused before anything is remembered or asked", 1, ({ asked, home, run }) =>
  Effect.gen(function*() {
    const file = fileIn(home)
    const before = asked()
    const given = ["train", "--data", file("train", 30), "--val", file("val", 12), "--run", "small", "--preset", "metamem"] as const
    const { error } = yield* run(...given, "--steps", "2", "--batch", "10")
    assert.match(error, /calls/)
    assert.match(error, /raise the batch to 17/)
    assert.match(error, /2 steps fit; at least 3/)
    assert.match(error, /validation set of 12 questions x 3 samples shows only effects above/)
    assert.match(error, /--anyway/)
    assert.equal([yield* remembered("train", "val"), asked() - before], [0, 0])
  }))

onRunStage(test, "a name under which another run stands is refused before anything is remembered, and the difference is told", 1, ({ home, run }) =>
  Effect.gen(function*() {
    const [trainFile, valFile] = [fileIn(home)("train", 30), fileIn(home)("val", 12)]
    const train = (name: string, ...more: ReadonlyArray<string>) => run("train", "--data", trainFile, "--val", valFile, "--run", name, "--preset", "laptop", "--steps", "1", ...more)
    yield* request(requestSubject("reflector", "import"), { tenant: "t", run: "elsewhere", origin: "folder", generations: [{ step: 1, principles: ["Prefer the latest value."], updates: [] }] }, 10_000)
    assert.match((yield* train("elsewhere")).error, /the record of a run imported from folder stands under this name/)

    // Opened as the command would, but for the judge, which follows the settings where no option says so.
    const [data, val] = [yield* readDataset(trainFile), yield* readDataset(valFile)]
    const parts = partsOf(data, { val }, 42, 12)
    const refs = (part: "train" | "validation" | "guard") => parts[part].map(({ id, user }) => ({ id, user }))
    const chosen = Result.getOrThrow(chosenParameters(given({ steps: Option.some(1), judge: Option.some("lexical") }), presets.laptop, parts.train.length))
    yield* register([...data.questions, ...val.questions])
    yield* openRun("stands", { ...chosen, datasetHash: data.hash, mix: mixOf(data.questions.map(typeOf)), train: refs("train"), validation: refs("validation"), guard: refs("guard"), test: [] } as unknown as RunRequest)
    const before = yield* remembered("train", "val")
    assert.match((yield* train("stands")).error, /the run was opened with judge lexical, not model.*models\.judge nothing, not scripted/)
    assert.match((yield* train("stands", "--seed", "7")).error, /seed 42, not 7/)
    assert.is(yield* remembered("train", "val"), before)
  }))

test.run()
