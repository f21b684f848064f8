/** What is asked of runs, carried out: opened, told of, adopted, taken in, and recorded beside. */
import { Effect } from "effect"
import type { Entity } from "#shared/actor/entity"
import { badRequest } from "#shared/actor/requests"
import { canonicalJson } from "#shared/domain/canonical-json"
import type { EventLog } from "#shared/eventlog/event-log"
import { formatPosition } from "#shared/eventlog/position"
import { adoptedSubject, resultSubject, type RunAddress, runSubject } from "#shared/eventlog/subjects"
import type { GenerationAdopted } from "#shared/metamemory/events"
import { judgeTemplateHash } from "#shared/metamemory/judging"
import { templateHashes } from "#shared/metamemory/prompts"
import { smallAnswerTemplate } from "#shared/metamemory/small-answer-prompt"
import type { QuestionRef, Questions } from "#shared/metamemory/questions"
import { digest } from "#shared/metamemory/random"
import type { Models } from "#shared/model/models"
import type { Role } from "#shared/model/roles"
import type { AdoptionCommand, AdoptionState } from "./adoption.ts"
import { type Progress, readResult, type Runs } from "./driver.ts"
import { lookFor } from "./looks.ts"
import { algorithmVersion, type RunParameters, runQuestionOf, type RunRequest } from "./parameters.ts"
import {
  type AdoptRequest, type CompareReply, type CompareRequest, type ImportReply, type ImportRequest, NoSuchGeneration, NoSuchRun, NotWaitedFor,
  type OpenReply, type OpenRequest, type RecordReply, type RecordRequest, type ReportReply, type ReportRequest, type RetryReply, type RetryRequest, type RunStatus, type TestReply, type TestRequest, type WhatIfReply, type WhatIfRequest
} from "./protocol.ts"
import { causeOf } from "./stages.ts"
import { statusOf } from "./status.ts"
import { comparisonLike } from "./comparisons.ts"
import { whatIfLike } from "./what-ifs.ts"

/** Most names of models told in a message. */
const namesMax = 8
const someOf = (names: ReadonlyArray<string>): string => `${names.slice(0, namesMax).join(", ")}${names.length > namesMax ? ` and ${names.length - namesMax} more` : ""}`

export type Adoptions = Entity<AdoptionState, AdoptionCommand, GenerationAdopted, never>

export interface RunRequestParts {
  readonly runs: Runs
  readonly adoptions: Adoptions
  readonly log: EventLog["Service"]
  readonly models: Models["Service"]
  readonly questions: Questions
  /** Who judges and who reflects where a run does not say. */
  readonly by: Pick<RunParameters, "judge" | "reflector">
  /** Whether rollouts are answered with the short prompt of small models. */
  readonly isSmallPrompt: boolean
  /** Has this process drive the run, if nobody does. */
  readonly pickUp: (subject: string) => Effect.Effect<void>
  /** Of the runs that this process drives, by subject. */
  readonly progress: ReadonlyMap<string, Progress>
}

export const makeRunRequests = ({ adoptions, by, isSmallPrompt, log, models, pickUp, progress, questions, runs }: RunRequestParts) => {
  const known = Effect.fnUntraced(function*(tenant: string, refs: ReadonlyArray<QuestionRef>) {
    return yield* Effect.forEach(refs, (ref) => Effect.map(questions.load(tenant, ref), runQuestionOf), { concurrency: 16 })
  })

  /** The model that plays a role in a run: of the name asked for, where somebody plays the role and has such a model. */
  const playerOf = Effect.fnUntraced(function*(role: Role, name: string | undefined) {
    if (name === undefined) return yield* models.identity(role)
    const offered = yield* models.offered(role)
    if (offered.length > 0 && !offered.includes(name)) return yield* badRequest(`the endpoint of the role ${role} has no model ${name}, but ${someOf(offered)}`)
    return name
  })

  const parametersOf = Effect.fnUntraced(function*(tenant: string, { guard, models: asked, test, train, validation, ...chosen }: RunRequest) {
    const [firstTrain, ...moreTrain] = yield* known(tenant, train)
    const [firstValidation, ...moreValidation] = yield* known(tenant, validation)
    if (firstTrain === undefined || firstValidation === undefined) return yield* badRequest("a run needs questions to train on and questions to validate on")
    const chosenBy = { judge: chosen.judge ?? by.judge, reflector: chosen.reflector ?? by.reflector }
    const playing: ReadonlyArray<Role> = ["answer", ...(chosenBy.judge === "model" ? ["judge" as const] : []), ...(chosenBy.reflector === "rules" ? [] : (["reflect", "propose", "consolidate"] as const))]
    const names = yield* Effect.forEach(playing, (role) => Effect.map(playerOf(role, asked?.[role]), (name) => [role, name] as const))
    const questions = { train: [firstTrain, ...moreTrain] as const, validation: [firstValidation, ...moreValidation] as const, guard: yield* known(tenant, guard), test: yield* known(tenant, test) }
    return {
      ...chosen,
      ...chosenBy,
      ...questions,
      // Named even where nothing was asked for: what a run was opened with is never guessed later.
      mix: chosen.mix ?? {},
      patience: chosen.patience ?? 0,
      algorithm: algorithmVersion,
      models: Object.fromEntries(names),
      // An answer's limit is the run's own parameter.
      tokenLimits: Object.fromEntries(playing.flatMap((role) => (role === "answer" ? [] : [[role, models.casting(role)?.maxTokens ?? 0]]))),
      templates: { ...templateHashes, ...(isSmallPrompt ? { answer: smallAnswerTemplate } : {}), judge: judgeTemplateHash(Object.values(questions).flat().map(({ type }) => type)) },
      memoryPosition: chosen.branch?.memoryPosition ?? (yield* log.head("MEMORY"))
    } satisfies RunParameters as RunParameters
  })

  const open = Effect.fnUntraced(function*({ request, run, tenant }: OpenRequest) {
    const subject = runSubject({ tenant, run })
    const parameters = yield* parametersOf(tenant, request)
    const command = { _tag: "OpenRun", parameters } as const
    // Named by what is asked, so that asking for something else is decided and not taken for a repetition.
    const cause = `${causeOf(command)} ${digest(canonicalJson({ ...parameters, memoryPosition: 0 }))}`
    const { folded, fresh } = yield* runs.execute(subject, command, { cause, correlation: run })
    yield* pickUp(subject)
    const { budget, expectedCalls, parameters: standing, undersized } = folded.state
    return { opened: fresh, budget, expectedCalls, undersized, judge: standing?.judge ?? by.judge, reflector: standing?.reflector ?? by.reflector } satisfies OpenReply
  })

  const loaded = Effect.fnUntraced(function*(address: RunAddress) {
    const folded = yield* runs.load(runSubject(address))
    if (folded.state.generations.length === 0) return yield* new NoSuchRun({ run: address.run, message: `there is no run ${address.run}; \`metamem train --run ${address.run}\` starts one` })
    return folded
  })

  const status = Effect.fnUntraced(function*(address: RunAddress) {
    const { state } = yield* loaded(address)
    const own = progress.get(runSubject(address))
    return statusOf(state, address, own) satisfies RunStatus
  })

  const adopt = Effect.fnUntraced(function*({ generation, run, tenant }: AdoptRequest) {
    const { state } = yield* loaded({ tenant, run })
    const found = state.generations.find(({ number }) => number === generation)
    if (found === undefined) {
      return yield* new NoSuchGeneration({ run, generation, message: `the run ${run} has generations 0 to ${state.generations.length - 1}, and no ${generation}` })
    }
    const subject = adoptedSubject(tenant)
    const before = yield* adoptions.load(subject)
    yield* adoptions.execute(
      subject,
      { _tag: "Adopt", event: { _tag: "GenerationAdopted", run, generation, hash: found.hash, principles: found.principles } },
      { cause: `${run}/${generation} after ${before.sequence}`, correlation: run }
    )
    return { tenant, run, generation }
  })

  const take = Effect.fnUntraced(function*({ run, tenant, ...record }: ImportRequest) {
    const digested = digest(canonicalJson(record.generations))
    const { folded, fresh } = yield* runs.execute(runSubject({ tenant, run }), { _tag: "ImportRun", record, digest: digested }, { cause: `ImportRun ${digested}${record.contents === undefined ? "" : ` ${record.contents}`}`, correlation: run })
    return { generations: folded.state.generations.length, fresh } satisfies ImportReply
  })

  const record = Effect.fnUntraced(function*({ calibration, run, tenant }: RecordRequest) {
    yield* loaded({ tenant, run })
    const event = { _tag: "JudgeCalibrated", ...calibration } as const
    const { folded, fresh } = yield* runs.execute(runSubject({ tenant, run }), { _tag: "RecordCalibration", event }, { cause: `RecordCalibration ${digest(canonicalJson(calibration))}`, correlation: run })
    return { recorded: fresh, position: formatPosition({ log: "metamem", sequence: folded.sequence }) } satisfies RecordReply
  })

  const retry = Effect.fnUntraced(function*({ run, tenant, ...job }: RetryRequest) {
    const subject = runSubject({ tenant, run })
    const last = yield* log.last(resultSubject({ tenant, run, ...job }))
    if (last === undefined) return yield* new NotWaitedFor({ message: `the run ${run} has no outcome of this job, so that it is still to be done, or was erased` })
    const settled = readResult(last)
    if (settled?.result.status === "done") return { again: false } satisfies RetryReply
    const command = { _tag: "RetryJob", ...job, outcome: last.checksum } as const
    yield* runs.execute(subject, command, { cause: `RetryJob ${last.checksum}`, correlation: run })
    yield* pickUp(subject)
    return { again: true } satisfies RetryReply
  })

  const openTest = Effect.fnUntraced(function*({ generation, questions, run, tenant }: TestRequest) {
    yield* loaded({ tenant, run })
    const command = { _tag: "OpenTest", generation, questions, memoryPosition: yield* log.head("MEMORY") } as const
    const { folded } = yield* runs.execute(runSubject({ tenant, run }), command, { cause: `OpenTest ${generation} ${digest(...questions.toSorted())}`, correlation: run })
    const opened = lookFor(folded.state, command)
    if (opened === undefined) return yield* Effect.die(new Error(`the look at the test split of ${run} was not recorded`))
    return { look: opened.look, memoryPosition: opened.memoryPosition } satisfies TestReply
  })

  const reportTest = Effect.fnUntraced(function*({ look, outcomes, run, tenant }: ReportRequest) {
    yield* loaded({ tenant, run })
    const command = { _tag: "ReportTest", look, outcomes } as const
    const { folded } = yield* runs.execute(runSubject({ tenant, run }), command, { cause: `ReportTest ${look} ${digest(canonicalJson(outcomes))}`, correlation: run })
    const report = folded.state.tests.find((one) => one.look === look)?.report
    if (report === undefined) return yield* Effect.die(new Error(`look ${look} at the test split of ${run} was not reported`))
    return report satisfies ReportReply
  })

  const recordWhatIf = Effect.fnUntraced(function*({ found, run, tenant }: WhatIfRequest) {
    yield* loaded({ tenant, run })
    const { folded } = yield* runs.execute(runSubject({ tenant, run }), { _tag: "RecordWhatIf", found }, { cause: `RecordWhatIf ${digest(canonicalJson(found))}`, correlation: run })
    const standing = whatIfLike(folded.state, found)
    if (standing === undefined) return yield* Effect.die(new Error(`the what-if about ${run} was not recorded`))
    return { number: standing.number } satisfies WhatIfReply
  })

  const compare = Effect.fnUntraced(function*({ found, run, tenant }: CompareRequest) {
    yield* loaded({ tenant, run })
    const { folded } = yield* runs.execute(runSubject({ tenant, run }), { _tag: "RecordComparison", found }, { cause: `RecordComparison ${digest(canonicalJson(found))}`, correlation: run })
    const standing = comparisonLike(folded.state, found)
    if (standing === undefined) return yield* Effect.die(new Error(`the comparison of branches of ${run} was not recorded`))
    return { position: formatPosition({ log: "metamem", sequence: standing.sequence }) } satisfies CompareReply
  })

  return { open, status, adopt, take, record, retry, openTest, reportTest, recordWhatIf, compare }
}
