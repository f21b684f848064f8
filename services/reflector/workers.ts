/**
 * The work of learning: what one attempt teaches, what one question's attempts suggest, and one short list out of all suggestions. Each
 * is done by the model, or by rule at no tokens, and says by which.
 */
import { Effect, Option, Schema } from "effect"
import { callFailed, type Job, JobFailed } from "#shared/actor/jobs"
import type { Operation, SingleOperation } from "#shared/domain/principle"
import type { Question } from "#shared/domain/question"
import { likeness, nearlySame, triedBefore } from "#shared/metamemory/ledger"
import { plainText, targetsOf } from "#shared/metamemory/operations"
import { consolidatePrompt, proposePrompt, reflectPrompt, templateHashes, withinBudget } from "#shared/metamemory/prompts"
import type { QuestionRef } from "#shared/metamemory/questions"
import { ruleBased, ruleConsolidation, ruleLesson, ruleMerge, ruleProposals } from "#shared/metamemory/rules"
import type { CallTags } from "#shared/model/call"
import type { ModelError } from "#shared/model/errors"
import { type ModelReply, Models } from "#shared/model/models"
import { replySchemas } from "#shared/model/reply-schemas"
import { tokensOf } from "#shared/model/tokens"
import { type Checked, checked, forbiddenIn, type Limits, summed } from "./checks.ts"
import { type ConsolidationData, ConsolidationInput, consolidationTokens, type ProposalData, ProposalInput, type ReflectionData, ReflectionInput } from "./job-data.ts"
import type { Material } from "./material.ts"
import type { SourcedOperation } from "./run-events.ts"

/** Operations one question may suggest. */
const proposalsPerQuestion = 3

/** A reply that cannot be used comes out the same when asked again: these calls are not sampled. */
const failed = (error: ModelError) => (error.reason._tag === "BadReply" ? new JobFailed({ message: error.message, final: true }) : callFailed(error))

const input = <A>(schema: Schema.Codec<A, unknown>, what: string) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (job: Job) => decode(job.input).pipe(Effect.mapError((error) => new JobFailed({ message: `not a ${what}: ${error.message}`, final: true })))
}

interface Spent {
  readonly promptTokens: number
  readonly completionTokens: number
  readonly reused: number
  readonly calls: ReadonlyArray<string>
}
const nothingSpent: Spent = { promptTokens: 0, completionTokens: 0, reused: 0, calls: [] }
const spentOn = (replies: ReadonlyArray<Pick<ModelReply<unknown>, "usage" | "reused" | "key">>): Spent => ({
  promptTokens: replies.reduce((sum, { usage }) => sum + usage.promptTokens, 0),
  completionTokens: replies.reduce((sum, { usage }) => sum + usage.completionTokens, 0),
  reused: replies.filter(({ reused }) => reused).length,
  calls: replies.map(({ key }) => key)
})

/** What a principle may not repeat of a question. */
const answersOf = ({ answer, points }: Pick<Question, "answer" | "points">): ReadonlyArray<string> => [answer, ...(points ?? [])]

const tagsOf = (job: Job): CallTags => ({ run: job.run, step: job.step })

const named = (model: string | undefined) => (model === undefined ? {} : { model })

const decodeReflection = input(ReflectionInput, "reflection")
export const reflect = (material: Material) => (job: Job) =>
  Effect.gen(function*() {
    const { attempt, by, model, principles, question: ref } = yield* decodeReflection(job)
    const question = yield* material.question(job.tenant, ref)
    const judged = yield* material.attempt(job, question, attempt.key, attempt.correct)
    const byRule = (): ReflectionData => {
      const { lesson, scope } = ruleLesson(judged)
      return { by: ruleBased, lesson, scope, ...nothingSpent }
    }
    if (by === "rules") return byRule()
    const models = yield* Models
    return yield* models
      .call({
        role: "reflect",
        ...named(model),
        messages: reflectPrompt({ ...judged, principles }),
        parameters: { temperature: 0 },
        tenant: job.tenant,
        scope: question.user,
        templateVersion: templateHashes.reflect,
        inputs: [question.id, attempt.key],
        tags: tagsOf(job)
      })
      .pipe(
        Effect.map((reply): ReflectionData => ({ by: reply.model, scope: reply.value.scope, ...spentOn([reply]) })),
        Effect.mapError(failed),
        // Where the model cannot, and trying again will not help, the rule does.
        Effect.catch((error) => (by === "both" && error.final ? Effect.succeed(byRule()) : Effect.fail(error)))
      )
  })

const decodeLesson = Schema.decodeUnknownOption(Schema.Struct({ lesson: Schema.optionalKey(Schema.String), calls: Schema.Array(Schema.String) }))

type OperationsAsked<O extends Operation> = ModelReply<{ readonly operations: ReadonlyArray<O> }>

/**
 * Asks for operations, and once again with what was wrong when some cannot be used; the second list is taken unless it is empty, or is no
 * better and has fewer that pass.
 *
 * @param reasons that are worth asking again; absent = every one
 */
const askedTwice = <O extends Operation, E, R>(
  ask: (complaint: string | undefined) => Effect.Effect<OperationsAsked<O>, E, R>, check: (operations: ReadonlyArray<O>) => Checked<O | SingleOperation>, reasons?: ReadonlySet<string>
) =>
  Effect.gen(function*() {
    const first = yield* ask(undefined)
    const before = check(first.value.operations)
    const isWorth = before.complaint !== undefined && (reasons === undefined || Object.keys(before.discarded).some((reason) => reasons.has(reason)))
    const second = isWorth ? yield* Effect.option(ask(before.complaint)) : Option.none<OperationsAsked<O>>()
    if (Option.isNone(second)) return { best: before, replies: [first] as const }
    const after = check(second.value.value.operations)
    const isClean = after.complaint === undefined && after.operations.length > 0
    return { best: isClean || after.operations.length >= before.operations.length ? after : before, replies: [first, second.value] as const }
  })

const decodeProposal = input(ProposalInput, "proposal")
export const propose = (material: Material) => (job: Job) =>
  Effect.gen(function*() {
    const { attempts, by, canaries, ledger, maxInScope, model, principles, question: ref, reader, runSeed, step } = yield* decodeProposal(job)
    const limits: Limits = { operations: proposalsPerQuestion, inScope: maxInScope ?? Number.POSITIVE_INFINITY }
    const question = yield* material.question(job.tenant, ref)
    const judged = yield* Effect.forEach(attempts, ({ correct, key }) => material.attempt(job, question, key, correct), { concurrency: 4 })
    const forbidden = forbiddenIn(answersOf(question), judged.flatMap(({ evidence }) => evidence.map(({ text }) => text)), canaries)
    const byRule = (spent: Spent, before: Readonly<Record<string, number>>): ProposalData => {
      const proposals = ruleProposals({ runSeed: String(runSeed), step, attempts: judged, principles, ledger, reader })
      const { discarded, operations } = checked(proposals.map(({ operation }) => operation), principles, ledger, forbidden, limits)
      return { by: ruleBased, operations, discarded: { ...before, ...discarded }, ...spent }
    }
    if (by === "rules") return byRule(nothingSpent, {})
    const models = yield* Models
    const lessons = yield* Effect.forEach(attempts, ({ correct, key }) =>
      Effect.gen(function*() {
        const reflection = Option.getOrUndefined(decodeLesson(yield* material.result(job, "reflection", key)))
        const call = reflection?.calls.at(-1)
        if (reflection?.lesson !== undefined || call === undefined) return { lesson: reflection?.lesson ?? "", correct }
        const reply = replySchemas.reflect.decode(yield* material.said(job.tenant, question.user, call))
        return { lesson: reply._tag === "Success" ? reply.success.lesson : "", correct }
      }))
    const ask = (complaint: string | undefined) =>
      models.call({
        role: "propose",
        ...named(model),
        messages: proposePrompt({ question, lessons: lessons.filter(({ lesson }) => lesson !== ""), principles, tried: ledger, ...(complaint === undefined ? {} : { complaint }) }),
        parameters: { temperature: 0 },
        tenant: job.tenant,
        scope: question.user,
        templateVersion: templateHashes.propose,
        inputs: [question.id, ...attempts.map(({ key }) => key)],
        tags: tagsOf(job)
      })
    const byModel = Effect.gen(function*() {
      const { best, replies } = yield* askedTwice(ask, (operations) => checked(operations, principles, ledger, forbidden, limits))
      return { by: replies[0].model, operations: best.operations, discarded: best.discarded, ...spentOn(replies) } satisfies ProposalData
    }).pipe(Effect.mapError(failed))
    if (by === "model") return yield* byModel
    const proposed = yield* byModel.pipe(Effect.catch((error) => (error.final ? Effect.succeed(byRule(nothingSpent, {})) : Effect.fail(error))))
    return proposed.operations.length > 0 || proposed.by === ruleBased ? proposed : byRule(proposed, proposed.discarded)
  })

/** Sources of a consolidated operation: those of the proposals it stands for; where none is like it, of all. No proposal merges: of a merge those on what it is of. */
const sourcesOf = (operation: Operation, proposals: ReadonlyArray<SourcedOperation>): ReadonlyArray<string> => {
  if (operation.operation === "merge") {
    const targets = new Set(targetsOf(operation))
    return [...new Set(proposals.filter(({ operation: { id } }) => id !== undefined && targets.has(id)).flatMap(({ sources }) => sources))]
  }
  const alike = proposals.filter(({ operation: other }) =>
    other.operation === operation.operation && (operation.id === undefined || other.id === operation.id) &&
    (operation.content === undefined || plainText(other.content ?? "") === plainText(operation.content) || likeness(other.content ?? "", operation.content) >= nearlySame))
  return [...new Set((alike.length > 0 ? alike : proposals).flatMap(({ sources }) => sources))]
}

/** What a consolidation is asked again for; a proposal it merely repeats, or that was passed already, is no reason. */
const limitsBroken: ReadonlySet<string> = new Set(["TooManyPrinciples", "TooManyWords"])

const decodeConsolidation = input(ConsolidationInput, "consolidation")
export const consolidate = (material: Material) => (job: Job) =>
  Effect.gen(function*() {
    const { by, canaries, limit, maxInScope, model, principles, proposals, questions, reader = "", triedMerges = [] } = yield* decodeConsolidation(job)
    const byRule = (spent: Spent, discarded: Readonly<Record<string, number>>): ConsolidationData => {
      const merge = ruleMerge(principles, triedMerges, reader)
      const kept = ruleConsolidation(proposals, limit).map(({ operation, sources }): ConsolidationData["operations"][number] => ({ operation, sources }))
      const operations = merge === undefined ? kept : [...kept, { operation: merge, sources: sourcesOf(merge, proposals) }].slice(0, limit)
      return { by: ruleBased, operations, discarded, ...spent }
    }
    if (by === "rules") return byRule(nothingSpent, {})
    // Of a user erased meanwhile no answer is left to repeat; what came of their attempts was held against it when it was proposed.
    const answersTo = (ref: QuestionRef) =>
      material.question(job.tenant, ref).pipe(Effect.map(answersOf), Effect.catch((error) => (error.final ? Effect.succeed([]) : Effect.fail(error))))
    const answers = yield* Effect.forEach(questions, answersTo, { concurrency: 16 })
    const forbidden = forbiddenIn(answers.flat(), [], canaries)
    const models = yield* Models
    const check = (operations: ReadonlyArray<Operation>): Checked => {
      const isTried = (operation: Operation): boolean =>
        operation.operation === "merge" && triedBefore({ ...operation, scope: operation.scope ?? "all", text: operation.content ?? "" }, triedMerges, reader) !== undefined
      const found = checked(operations.filter((operation) => !isTried(operation)), principles, [], forbidden, { operations: limit, inScope: maxInScope ?? Number.POSITIVE_INFINITY })
      const tried = operations.filter(isTried).length
      return tried === 0 ? found : { ...found, discarded: { ...found.discarded, TriedBefore: tried } }
    }
    const consolidated = (operations: ReadonlyArray<Operation>) =>
      askedTwice(
        (complaint) =>
          models.call({
            role: "consolidate",
            ...named(model),
            messages: consolidatePrompt({ proposals: operations, principles, limit, triedMerges: triedMerges.flatMap(({ ids }) => (ids === undefined ? [] : [ids])), ...(complaint === undefined ? {} : { complaint }) }),
            parameters: { temperature: 0 },
            tenant: job.tenant,
            scope: `run:${job.run}`,
            templateVersion: templateHashes.consolidate,
            tags: tagsOf(job)
          }),
        check,
        limitsBroken
      )
    const byModel = Effect.gen(function*() {
      const parts = withinBudget(proposals.map(({ operation }) => operation), consolidationTokens, (operation) => tokensOf(JSON.stringify(operation)))
      const ofParts = yield* Effect.forEach(parts, consolidated, { concurrency: 4 })
      const whole = ofParts.length === 1 ? ofParts : [...ofParts, yield* consolidated(ofParts.flatMap(({ best }) => best.operations))]
      const last = whole[whole.length - 1]
      return {
        by: last?.replies[0].model ?? ruleBased,
        operations: (last?.best.operations ?? []).map((operation) => ({ operation, sources: sourcesOf(operation, proposals) })),
        discarded: summed(whole.map(({ best }) => best.discarded)),
        ...spentOn(whole.flatMap(({ replies }) => replies))
      } satisfies ConsolidationData
    }).pipe(Effect.mapError(failed))
    if (by === "model") return yield* byModel
    const done = yield* byModel.pipe(Effect.catch((error) => (error.final ? Effect.succeed(byRule(nothingSpent, {})) : Effect.fail(error))))
    return done.operations.length > 0 ? done : byRule(done, done.discarded)
  })
