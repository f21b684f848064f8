/** `metamem infer`: answers under one generation of a run, judged and written to a file. */
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { readDataset } from "#shared/datasets/read-dataset"
import type { Verdict } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { answerPrompt } from "#shared/metamemory/prompts"
import { smallAnswerPrompt, smallAnswerTemplate } from "#shared/metamemory/small-answer-prompt"
import { CallStore } from "#shared/model/call-store"
import { type AnswerLine, standingAnswers } from "./answers-file.ts"
import { askedAtOnce } from "./asking.ts"
import { dataFlag, ensureBuilt, limited, limitFlag } from "./build.ts"
import { correctedAccuracy, judgedByType } from "./calibrate.ts"
import { withActors } from "./home.ts"
import { answerAndJudge, judgeOf, judgingActors, otherPlayers, playersIn, secondsAnswering, someJudged } from "./judged-answers.ts"
import { refuseElsewhere } from "./memory-here.ts"
import { CommandFailed, emit, progressLine, root } from "./root.ts"
import { runFlag, seenNote } from "./run-notes.ts"
import { foldRun, generationMeant, replayAll } from "./runs.ts"
import { percent, share, some } from "./shown.ts"
import { shownMemories } from "./shown-memories.ts"
import { openLook, refuseLookElsewhere } from "./test-split.ts"

export const infer = Command.make(
  "infer",
  {
    data: dataFlag,
    run: runFlag,
    generation: Flag.Int("generation").pipe(Flag.withDescription("Which generation guides the answers (default: the one the run recommends)"), Flag.optional),
    out: Flag.String("out").pipe(Flag.withDescription("JSONL file to write, a line a question; an unfinished one is gone on with")),
    limit: limitFlag
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const whole = yield* readDataset(input.data)
      const dataset = limited(whole, Option.getOrUndefined(input.limit))
      const writing = (write: () => void) => Effect.try({ try: write, catch: (error) => new CommandFailed({ message: `${input.out} cannot be written: ${(error as Error).message}` }) })
      yield* writing(() => mkdirSync(dirname(input.out), { recursive: true }))
      const result = yield* Effect.gen(function*() {
        const state = yield* foldRun(tenant, input.run)
        const meant = yield* generationMeant(state, input.run, input.generation)
        const generation = (yield* replayAll(tenant, input.run)).find((candidate) => candidate.generation === meant)
        if (generation === undefined) return yield* new CommandFailed({ message: `the run ${input.run} has generations 0 to ${state.generations.length - 1}, and no ${meant}` })
        const of = { run: input.run, generation: generation.generation }
        const standing = yield* standingAnswers(input.out, of, whole.questions)
        yield* refuseLookElsewhere(input.run, state, dataset.questions, meant)
        yield* ensureBuilt(dataset)
        const asked = new Map(dataset.questions.map((question) => [question.id, question]))
        yield* writing(() => writeFileSync(input.out, [...standing.values()].map((line) => `${JSON.stringify(line)}\n`).join("")))
        const judge = yield* judgeOf(state)
        const due = dataset.questions.filter(({ id }) => !standing.has(id))
        // Whoever reads these answers has seen the test split: it counts as a look, the same that `eval` would take, but for the paired test.
        const look = yield* openLook(input.run, state, dataset.questions, generation.generation)
        const progress = progressLine()
        const log = yield* EventLog
        const memoryPosition = look?.memoryPosition ?? (yield* log.head("MEMORY"))
        if (look !== undefined) yield* refuseElsewhere(input.run, memoryPosition)
        let done = 0
        const started = performance.now()
        const answers = yield* Effect.forEach(
          due,
          (question) =>
            Effect.gen(function*() {
              const answer = yield* answerAndJudge(input.run, state, judge, question, generation.principles, memoryPosition)
              const found = yield* shownMemories(tenant, question.user, new Set(answer.evidenceIds))
              const evidence = answer.evidenceIds.flatMap((id) => found.get(id) ?? [])
              const principles = generation.principles.filter(({ id }) => answer.principles.includes(id))
              const line: AnswerLine = {
                question_id: question.id,
                prompt: (answer.template === smallAnswerTemplate ? smallAnswerPrompt : answerPrompt)({ question: question.text, date: question.date, evidence, principles }).map(({ content }) => content).join("\n\n"),
                problem: question.text,
                memories: evidence.map(({ text, time }) => `${time} ${text}`),
                memory_ids: answer.evidenceIds,
                principles: answer.principles,
                groundtruth: question.answer,
                task: question.type,
                response: answer.response,
                reward: answer.verdict === "error" ? null : answer.verdict === "correct" ? 1 : 0,
                verdict: answer.verdict,
                reason: answer.reason,
                ...(answer.reader === undefined ? {} : { reader: answer.reader }),
                ...(answer.judgedBy === undefined ? {} : { judged_by: answer.judgedBy }),
                ...of
              }
              yield* writing(() => appendFileSync(input.out, `${JSON.stringify(line)}\n`))
              progress.update(`${++done} of ${due.length} answered`)
              return line
            }),
          { concurrency: yield* askedAtOnce }
        )
        const seconds = secondsAnswering(started)
        progress.end()
        const all = [...[...standing.values()].filter(({ question_id }) => asked.has(question_id)), ...answers]
        const count = (verdict: Verdict) => all.filter((one) => one.verdict === verdict).length
        yield* someJudged(all, `${input.out} holds a line with the reason for each, and the same command asks again`)
        const [correct, incorrect, error] = [count("correct"), count("incorrect"), count("error")]
        const corrected = correctedAccuracy(state.calibrations, judge, judgedByType(all.flatMap(({ question_id, verdict }) => {
          const question = asked.get(question_id)
          return question === undefined ? [] : [{ question, verdict }]
        })))
        const by = playersIn(all.map(({ judged_by, reader }) => ({ ...(reader === undefined ? {} : { reader }), ...(judged_by === undefined ? {} : { judgedBy: judged_by }) })))
        const notes = [...otherPlayers(input.run, state, by), ...seenNote(state, dataset.questions)]
        return {
          generation: meant, by, notes, total: all.length, correct, incorrect, error, accuracy: share(correct, correct + incorrect), ...(corrected === undefined ? {} : { corrected }), judge,
          look: look?.look ?? null,
          /** Whether that look's paired test was made. */
          reported: state.tests.some((one) => one.look === look?.look && one.report !== undefined),
          undersized: state.undersized, seconds
        }
      }).pipe(Effect.provide(CallStore.layerJetStream), withActors(judgingActors))
      yield* emit(result, ({ accuracy, correct, corrected, error, generation, reported, judge, look, notes, total, undersized }) =>
        [
          `generation ${generation} of ${input.run}: ${correct} of ${total} correct (${percent(accuracy)} % of those judged, ${judge} judge${corrected === undefined ? "" : `; ${percent(corrected)} corrected for its errors`}), ${some(error, "error")}; written to ${input.out}`,
          ...notes,
          ...(undersized ? ["the run was too small to mean much"] : []),
          ...(look === null ? [] : [`some of these questions were announced for the run's test, so this is look ${look} at them${reported ? ", whose paired test stands" : `; \`metamem eval --data ${input.data} --run ${input.run} --generations ${generation}\` makes its paired test`}`])
        ].join("\n"))
    })
).pipe(Command.withDescription("Answer a data set under one generation and write the answers as JSONL; on announced questions, it counts as a look at the run's test"))
