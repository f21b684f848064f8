/** What benches in a simulated world share: its data set read as any other, the settings by which actors ask it, and a run on it. */
import { Effect } from "effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Dataset } from "#shared/datasets/dataset"
import { readDataset } from "#shared/datasets/read-dataset"
import type { Question } from "#shared/domain/question"
import { presets, type RunRequest } from "#services/reflector/parameters"
import { CommandFailed } from "../root.ts"

export const fetched = (url: URL, body?: unknown): Effect.Effect<unknown, CommandFailed> =>
  Effect.tryPromise({
    try: async (signal) => {
      const reply = await fetch(url, body === undefined ? { signal } : { signal, method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
      if (!reply.ok) throw new Error(`status ${reply.status}: ${(await reply.text()).slice(0, 200)}`)
      return (await reply.json()) as unknown
    },
    catch: (error) => new CommandFailed({ message: `the world at ${url.origin} does not give ${url.pathname}: ${error instanceof Error ? error.message : String(error)}` })
  })

/**
 * A split of the world's data set, written to the folder and read back.
 *
 * @param world its address, without `/v1`
 * @param n questions wanted; as many as the world has where absent
 */
export const worldSplit = (world: string, folder: string, name: "train" | "val" | "test", n?: number): Effect.Effect<Dataset, CommandFailed> =>
  Effect.gen(function*() {
    const rows = yield* fetched(new URL(`/world/dataset?split=${name}${n === undefined ? "" : `&n=${n}`}`, world))
    mkdirSync(folder, { recursive: true })
    const file = join(folder, `${name}.json`)
    writeFileSync(file, JSON.stringify(rows))
    return yield* readDataset(file).pipe(Effect.mapError(({ message }) => new CommandFailed({ message })))
  })

/**
 * Settings under which an endpoint answers, judges, reflects and proposes. Facts by rule: the world's readers look at principles, and its
 * extractor adds nothing to that.
 *
 * @param api base address, ending in `/v1`
 */
export const askedOf = (api: string, concurrency: number): Readonly<Record<string, string>> => ({
  ...Object.fromEntries(["ANSWER", "JUDGE", "REFLECT"].flatMap((role) => [[`METAMEM_${role}_URL`, api], [`METAMEM_${role}_CONCURRENCY`, String(concurrency)]])),
  METAMEM_JUDGE: "model",
  METAMEM_REFLECTOR: "model"
})

/** First and last part of a list; clusters of the world follow one another, so that none stands in both when `first` is a multiple of their size. */
export const cut = <A>(items: ReadonlyArray<A>, first: number): readonly [ReadonlyArray<A>, ReadonlyArray<A>] => [items.slice(0, first), items.slice(first)]

export interface WorldParts {
  readonly train: Dataset
  readonly validation: ReadonlyArray<Question>
  readonly guard: ReadonlyArray<Question>
}

/** A run on the world's questions with the published settings, but for what is chosen. */
export const worldRun = ({ guard, train, validation }: WorldParts, chosen: Pick<RunRequest, "seed" | "steps" | "batch" | "samples" | "gate">): Effect.Effect<RunRequest, CommandFailed> =>
  Effect.gen(function*() {
    const refs = (questions: ReadonlyArray<Question>) => questions.map(({ id, user }) => ({ id, user }))
    const [first, ...rest] = refs(train.questions)
    const [firstValidation, ...moreValidation] = refs(validation)
    if (first === undefined || firstValidation === undefined) return yield* new CommandFailed({ message: "the world gives no questions" })
    return {
      ...presets.metamem,
      ...chosen,
      datasetHash: train.hash,
      evidenceTokens: 300,
      anyway: true,
      train: [first, ...rest],
      validation: [firstValidation, ...moreValidation],
      guard: refs(guard),
      test: []
    }
  })
