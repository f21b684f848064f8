/**
 * Whether evolution learns, in a simulated world that grades exactly: a run with each gate policy on the world's data set, end to end
 * through the real actors, from conversations taken in to the generation recommended. The world scores what each question is shown.
 * Beside the product's policies stands one for comparison, of `evolve-whole-list.ts`.
 */
import { Effect, Schema, Stream } from "effect"
import { join } from "node:path"
import { request } from "#shared/actor/requests"
import type { Principle } from "#shared/domain/principle"
import type { Question } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { actors, requestSubject, type RunAddress, runSubject } from "#shared/eventlog/subjects"
import { principlesFor } from "#shared/metamemory/router"
import { algorithmVersion, type RunParameters, type RunRequest, runQuestionOf } from "#services/reflector/parameters"
import { buildMemory } from "../build.ts"
import { costOfRun, foldRun } from "../runs.ts"
import { CommandFailed, progressLine, root, say } from "../root.ts"
import { learnAsWhole, settleByActors, wholeList } from "./evolve-whole-list.ts"
import { actorProcess, benchHome, logOn, rounded, secondsSince, untilAnswers } from "./load.ts"
import { askedOf, cut, fetched, worldRun, worldSplit } from "./world.ts"

export type Policy = RunRequest["gate"] | typeof wholeList

export interface EvolveOptions {
  /** Address of the world, without `/v1`. */
  readonly world: string
  readonly policies: ReadonlyArray<Policy>
  /** Seeds of the runs; the world's own is its own. */
  readonly seeds: ReadonlyArray<number>
  readonly steps: number
  readonly batch: number
  readonly samples: number
  /** Validation questions, and those of the guard test; both are asked of the world as one split. */
  readonly validation: number
  readonly guard: number
  readonly score: boolean
}

type Shown = Pick<Principle, "text" | "scope">

/** What the world made of a list, by its own reckoning. */
const Score = Schema.Struct({ accuracy: Schema.Finite, start: Schema.Finite, optimum: Schema.Finite, gapShare: Schema.NullOr(Schema.Finite) })
export type Score = typeof Score.Type
const decodeScore = Schema.decodeUnknownEffect(Score)

export interface EvolvedPolicy {
  readonly policy: Policy
  readonly seed: number
  readonly run: string
  /** The one recommended after the guard test, or the last one where the gate has none; its principles follow. */
  readonly generation: number
  readonly principles: ReadonlyArray<Shown>
  readonly routed: Readonly<Record<string, ReadonlyArray<string>>>
  /** The last one sealed, whatever the guard test said of it. */
  readonly incumbent: { readonly generation: number; readonly principles: ReadonlyArray<Shown>; readonly score?: Score }
  readonly score?: Score
  /** The generation of all that the world scores highest on the validation questions: what choosing afterwards, without a gate, would give at best. */
  readonly bestOfAll?: { readonly generation: number; readonly score: Score }
  readonly calls: number
  readonly errors: number
  readonly seconds: number
}

export interface EvolveResult {
  readonly policies: ReadonlyArray<EvolvedPolicy>
  /** What each test question is shown by the first policy's recommendation. */
  readonly routed: Readonly<Record<string, ReadonlyArray<string>>>
  readonly seconds: number
}

/** Texts of the principles each question is shown; the router reads nothing but the question's text. */
export const routedTo = (questions: ReadonlyArray<Pick<Question, "id" | "text">>, principles: ReadonlyArray<Shown>): Readonly<Record<string, ReadonlyArray<string>>> =>
  Object.fromEntries(questions.map(({ id, text }) => [id, principlesFor(text, principles).map((principle) => principle.text)]))

/** Longest a run may take, in seconds. */
const runLimit = 7_200

/** What a run sealed, in order, generation 0 first; and which of it is recommended. */
interface Learnt {
  readonly lists: ReadonlyArray<ReadonlyArray<Shown>>
  readonly recommended: number
}

export const benchEvolve = (options: EvolveOptions) =>
  Effect.scoped(
    Effect.gen(function*() {
      const started = performance.now()
      const { tenant } = yield* root
      const { env, home, url } = yield* benchHome
      const split = (name: "train" | "val" | "test", n?: number) => worldSplit(options.world, join(home, "world"), name, n)
      const train = yield* split("train")
      const held = yield* split("val", options.validation + options.guard)
      const test = yield* split("test")
      const [validation, guard] = cut(held.questions, options.validation)

      const api = new URL("/v1", options.world).href
      yield* actorProcess({
        home,
        url,
        actors,
        settings: { ...env, ...askedOf(api, 64) }
      })

      const parts = { train, validation, guard }
      const sizes = { steps: options.steps, batch: options.batch, samples: options.samples }

      const byProduct = Effect.fnUntraced(function*(gate: RunRequest["gate"], seed: number, address: RunAddress, onStep: (step: number) => void) {
        const log = yield* EventLog
        const ask = yield* worldRun(parts, { ...sizes, seed, gate })
        yield* request(requestSubject("reflector", "open"), { ...address, request: ask }, 120_000)
        yield* log.follow([runSubject(address)]).pipe(
          Stream.tap(({ events }) => Effect.sync(() => {
            for (const { data, type } of events) if (type === "StepEnded") onStep((data as { readonly step: number }).step)
          })),
          Stream.takeUntil(({ events }) => events.some(({ type }) => type === "RunFinished")),
          Stream.runDrain
        )
        const state = yield* foldRun(tenant, address.run)
        return { lists: state.generations.map(({ principles }) => principles), recommended: state.recommended ?? 0 } satisfies Learnt as Learnt
      })

      /** With the same settings, but for the guard test, and for ending early, which goes by the product's trials. */
      const byWholeList = Effect.fnUntraced(function*(seed: number, address: RunAddress, onStep: (step: number) => void) {
        const ask = yield* worldRun(parts, { ...sizes, seed, gate: "likely" })
        const known = new Map([...train.questions, ...validation].map((question) => [question.id, runQuestionOf(question)]))
        const ofRun = ([first, ...rest]: RunRequest["train"]): RunParameters["train"] => [known.get(first.id)!, ...rest.map(({ id }) => known.get(id)!)]
        const parameters: RunParameters = {
          ...ask, patience: 0, train: ofRun(ask.train), validation: ofRun(ask.validation), guard: [], test: [],
          algorithm: algorithmVersion, judge: "model", reflector: "model", models: {}, templates: {}, memoryPosition: yield* (yield* EventLog).head("MEMORY")
        }
        const lists = yield* learnAsWhole(parameters, address, yield* settleByActors(address), onStep)
        return { lists, recommended: lists.length - 1 } satisfies Learnt as Learnt
      })

      const evolved = (policy: Policy, seed: number) =>
        Effect.gen(function*() {
          const from = performance.now()
          const run = `world-${policy}-${seed}`
          const address = { tenant, run }
          const progress = progressLine()
          const onStep = (step: number): void => progress.update(`${policy}, seed ${seed}: step ${step} of ${options.steps}, ${secondsSince(from)} s`)
          const { lists, recommended } = yield* (policy === wholeList ? byWholeList(seed, address, onStep) : byProduct(policy, seed, address, onStep)).pipe(
            Effect.scoped,
            Effect.timeoutOrElse({ duration: runLimit * 1_000, orElse: () => Effect.fail(new CommandFailed({ message: `the run ${run} was not through after ${runLimit} s` })) })
          )
          progress.end()
          const shown = (generation: number): ReadonlyArray<Shown> => (lists[generation] ?? []).map(({ scope, text }) => ({ text, scope }))
          const scoreOn = (split: "val" | "test", questions: ReadonlyArray<Question>, principles: ReadonlyArray<Shown>) =>
            fetched(new URL("/world/score", options.world), { split, routed: routedTo(questions, principles) }).pipe(
              Effect.flatMap(decodeScore),
              Effect.mapError((error) => new CommandFailed({ message: error.message }))
            )
          const scored = (principles: ReadonlyArray<Shown>) =>
            options.score ? Effect.map(scoreOn("test", test.questions, principles), (score) => ({ score })) : Effect.succeed({})
          const bestOfAll = Effect.gen(function*() {
            let best = { generation: 0, accuracy: -1 }
            for (const generation of lists.keys()) {
              const { accuracy } = yield* scoreOn("val", validation, shown(generation))
              if (accuracy > best.accuracy) best = { generation, accuracy }
            }
            return { bestOfAll: { generation: best.generation, score: yield* scoreOn("test", test.questions, shown(best.generation)) } }
          })
          const last = lists.length - 1
          const rows = yield* costOfRun(tenant, run)
          return {
            policy, seed, run, generation: recommended,
            principles: shown(recommended),
            routed: routedTo(test.questions, shown(recommended)),
            incumbent: { generation: last, principles: shown(last), ...(yield* scored(shown(last))) },
            ...(yield* scored(shown(recommended))),
            ...(options.score ? yield* bestOfAll : {}),
            calls: rows.reduce((sum, { calls }) => sum + calls, 0),
            errors: rows.reduce((sum, { failed }) => sum + failed, 0),
            seconds: rounded((performance.now() - from) / 1_000)
          } satisfies EvolvedPolicy
        })

      return yield* Effect.gen(function*() {
        yield* Effect.forEach(["ingestor", "retriever", "evaluator", "reflector"] as const, untilAnswers, { discard: true })
        const known = [...train.users, ...held.users]
        yield* say(`remembering the conversations of ${known.length} questions`)
        const built = yield* buildMemory({ ...train, users: known, questions: [...train.questions, ...held.questions] })
        if (built.failed.length > 0) return yield* new CommandFailed({ message: `${built.failed.length} conversations could not be remembered, e.g. ${built.failed[0]?.error}` })
        yield* say(`${built.turns} turns in ${built.seconds} s`)
        const results: Array<EvolvedPolicy> = []
        for (const seed of options.seeds) for (const policy of options.policies) results.push(yield* evolved(policy, seed))
        return { policies: results, routed: results[0]?.routed ?? {}, seconds: secondsSince(started) } satisfies EvolveResult
      }).pipe(Effect.provide(logOn(url)))
    })
  )

const points = (score: Score | undefined): string =>
  score === undefined ? "" : `${score.accuracy.toFixed(3)} (start ${score.start.toFixed(3)}, optimum ${score.optimum.toFixed(3)}, gap ${score.gapShare === null ? "–" : score.gapShare.toFixed(2)})`

/** One line a run. */
export const evolveRows = ({ policies }: EvolveResult): ReadonlyArray<ReadonlyArray<string>> => [
  ["policy", "seed", "recommended", "principles", "score", "last sealed", "its score", "best of all by validation", "calls", "errors", "seconds"],
  ...policies.map(({ bestOfAll, calls, errors, generation, incumbent, policy, principles, score, seconds, seed }) => [
    policy, String(seed), String(generation), String(principles.length), points(score), String(incumbent.generation), points(incumbent.score), bestOfAll === undefined ? "" : `${bestOfAll.generation}: ${points(bestOfAll.score)}`, String(calls), String(errors), String(seconds)
  ])
]
