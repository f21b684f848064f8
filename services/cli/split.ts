/** `metamem split`: a data set's questions divided into training, validation and test, as files that the other commands take. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import type { Dataset } from "#shared/datasets/dataset"
import { readDataset } from "#shared/datasets/read-dataset"
import type { Question } from "#shared/domain/question"
import { type Fold, groupsOf, plainSplit, referenceSplit, referenceSplitDefaults, type SimilarPairs, type Splittable, stratifiedSplit, typeOf } from "#shared/metamemory/split"
import { dataFlag } from "./build.ts"
import { CommandFailed, emit, say } from "./root.ts"
import { similarPairs } from "./similar.ts"

type Bonds = Dataset["bonds"]

/** A question as a split sees it: what belongs to one user or one cluster, or has an evidence session in common, stays in one part. */
export const splittable = (question: Question, bonds?: Bonds): Splittable & { readonly question: Question } => ({
  id: question.id,
  type: typeOf(question),
  bonds: [`user ${question.user}`, `cluster ${question.cluster}`, ...(bonds?.get(question.id) ?? []).map((bond) => `evidence ${bond}`)],
  question
})

type Questions = Pick<Dataset, "bonds" | "questions">

/**
 * A data set's questions as a split into so many parts sees them. Evidence sessions may chain them, each to the next, into fewer groups than there
 * are parts; then `chained` says so, and only questions that have all of them in common stay together.
 */
export const itemsFor = (parts: number, { bonds, questions }: Questions, similar: SimilarPairs) => {
  const bound = questions.map((question) => splittable(question, bonds))
  const loose = questions.map((question) => splittable(question))
  const chained = groupsOf(bound, similar).length < parts && groupsOf(loose, similar).length >= parts
  return { items: chained ? loose : bound, chained }
}

/** Told wherever `chained` is. */
export const chainedText = "evidence sessions chain these questions into too few groups to divide; questions that share some of their sessions, but not all, may stand in different parts"

/** Told where folds tested together leave questions out, as the published cuts do with all numbers but 500. */
export const untestedText = (parts: ReadonlyArray<Pick<Fold<Question>, "test">>, questions: number): string | undefined => {
  const untested = questions - new Set(parts.flatMap(({ test }) => test)).size
  return untested === 0 ? undefined : `${untested} of ${questions} questions stand in no fold's test part: the published cuts take at most 500, in folds of one size; --mode stratified tests each question once`
}

/** 50/30/20 by type, for runs without a validation file. */
export const defaultSplit = (data: Questions, seed: string, similar: SimilarPairs): Fold<Question> & { readonly chained: boolean } => {
  const { chained, items } = itemsFor(3, data, similar)
  const { test, train, val } = plainSplit(items, { seed, similar })
  const only = (part: typeof train) => part.map(({ question }) => question)
  return { test: only(test), train: only(train), val: only(val), chained }
}

/**
 * Rows of a split file: LongMemEval's fields without the haystack, because the conversations are remembered already; `metamem_user` names
 * whose memory is asked, so that the questions find it whatever file they stand in.
 */
export const splitRows = (questions: ReadonlyArray<Question>, bonds?: Bonds): ReadonlyArray<Record<string, unknown>> =>
  questions.map((question) => ({
    question_id: question.id,
    question_type: question.type,
    question: question.text,
    answer: question.answer,
    ...(question.date === undefined ? {} : { question_date: question.date }),
    metamem_user: question.user,
    metamem_cluster: question.cluster,
    metamem_abstention: question.abstention,
    ...(question.points === undefined ? {} : { metamem_points: question.points }),
    ...(bonds?.has(question.id) === true ? { metamem_bonds: bonds.get(question.id) } : {}),
    haystack_dates: [],
    haystack_session_ids: [],
    haystack_sessions: []
  }))

const write = (path: string, rows: ReadonlyArray<unknown>) =>
  Effect.try({
    try: () => writeFileSync(path, `${JSON.stringify(rows, null, 1)}\n`),
    catch: (error) => new CommandFailed({ message: `${path} cannot be written: ${(error as Error).message}` })
  })

/** Folds of either mode. @throws RangeError where the questions are too few for them */
export const foldsOf = (dataset: Questions, mode: "reference" | "stratified", folds: number, seed: number, similar: SimilarPairs): { readonly parts: ReadonlyArray<Fold<Question>>; readonly chained: boolean } => {
  if (mode === "reference") return { parts: referenceSplit(dataset.questions, { folds, seed }), chained: false }
  const { chained, items } = itemsFor(folds, dataset, similar)
  const parts = stratifiedSplit(items, { folds, seed: String(seed), similar }).map(({ test, train, val }) => ({
    test: test.map(({ question }) => question),
    train: train.map(({ question }) => question),
    val: val.map(({ question }) => question)
  }))
  return { parts, chained }
}

export const split = Command.make(
  "split",
  {
    data: dataFlag,
    out: Flag.String("out").pipe(Flag.withDescription("Folder for fold_1_train.json, fold_1_val.json, fold_1_test.json, …")),
    mode: Flag.Literals("mode", ["stratified", "reference"]).pipe(
      Flag.withDescription("stratified: by type, groups together, disjoint validation; reference: the published shuffle and cuts (default: stratified)"),
      Flag.withDefault("stratified")
    ),
    folds: Flag.Int("folds").pipe(Flag.withDescription("Number of folds (default 5)"), Flag.withDefault(referenceSplitDefaults.folds)),
    seed: Flag.Int("seed").pipe(Flag.withDescription("Seed of the shuffle (default 42)"), Flag.withDefault(referenceSplitDefaults.seed))
  },
  ({ data, folds, mode, out, seed }) =>
    Effect.gen(function*() {
      const dataset = yield* readDataset(data)
      const similar = mode === "reference" ? [] : yield* similarPairs(dataset.questions)
      const { chained, parts } = yield* Effect.try({
        try: () => foldsOf(dataset, mode, folds, seed, similar),
        catch: (error) => new CommandFailed({ message: `the data set cannot be split so: ${(error as Error).message}${mode === "reference" ? "" : "; take fewer folds, or --mode reference, which keeps nothing together"}` })
      })
      if (chained) yield* say(chainedText)
      const untested = untestedText(parts, dataset.questions.length)
      if (untested !== undefined) yield* say(untested)
      yield* Effect.try({
        try: () => mkdirSync(out, { recursive: true }),
        catch: (error) => new CommandFailed({ message: `${out} cannot be made: ${(error as Error).message}` })
      })
      const files = yield* Effect.forEach(parts, (fold, index) =>
        Effect.gen(function*() {
          const paths = { train: "", val: "", test: "" }
          for (const part of ["train", "val", "test"] as const) {
            paths[part] = join(out, `fold_${index + 1}_${part}.json`)
            yield* write(paths[part], splitRows(fold[part], dataset.bonds))
          }
          return paths
        }))
      yield* emit({ folds: files, chained, counts: parts.map(({ test, train, val }) => ({ train: train.length, val: val.length, test: test.length })) }, ({ counts }) =>
        counts.map((count, i) => `fold ${i + 1}: ${count.train} train, ${count.val} validation, ${count.test} test`).join("\n"))
    })
).pipe(Command.withDescription("Divide a data set's questions into folds of training, validation and test"))
