/** `metamem bench`: what it costs in time and memory, measured on this machine. Each bench is loaded only when it is asked for. */
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { Effect, Layer, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { CallStore } from "#shared/model/call-store"
import { dataFlag } from "../build.ts"
import { homeFolder } from "../home.ts"
import { CommandFailed, emit, progressLine, table } from "../root.ts"
import { modelFolder, printFigures } from "./load.ts"

const count = (name: string, fallback: number, description: string) => Flag.Int(name).pipe(Flag.withDescription(`${description} (default ${fallback})`), Flag.withDefault(fallback))
const seedFlag = count("seed", 1, "Seed of everything synthetic; the same seed gives the same load")

const loaded = <A>(load: () => Promise<A>): Effect.Effect<A> => Effect.promise(load)

const plain = (value: unknown): string =>
  value !== null && typeof value === "object" ? Object.entries(value).map(([name, one]) => `${name} ${one !== null && typeof one === "object" ? `(${plain(one)})` : String(one)}`).join(", ") : String(value)

const retrieval = Command.make(
  "retrieval",
  {
    data: dataFlag,
    ranker: Flag.Literals("ranker", ["metamem", "bm25", "dense", "rrf"]).pipe(Flag.withDescription("metamem, or a plain one on the same index (default: metamem)"), Flag.withDefault("metamem")),
    facts: Flag.Boolean("facts").pipe(Flag.withDescription("Index facts taken by rule beside the turns"), Flag.withDefault(false)),
    limit: Flag.Int("limit").pipe(Flag.withDescription("Only the first N questions"), Flag.optional),
    labelErrors: Flag.String("label-errors").pipe(Flag.withDescription("Questions to leave out (default: the file beside the data that ends in _label_errors.json)"), Flag.optional)
  },
  ({ data, facts, labelErrors, limit, ranker }) => Effect.gen(function*() {
    const { benchRetrieval } = yield* loaded(() => import("./retrieval.ts"))
    const { layer } = yield* loaded(() => import("#shared/model/embeddings"))
    const progress = progressLine()
    const report = yield* benchRetrieval({
      file: data,
      ranker,
      facts,
      cache: join(yield* homeFolder, "cache"),
      onProgress: progress.update,
      ...(Option.isNone(limit) ? {} : { limit: limit.value }),
      ...(Option.isNone(labelErrors) ? {} : { labelErrors: labelErrors.value })
    }).pipe(Effect.provide(layer({ dir: yield* modelFolder, threads: availableParallelism() })))
    progress.end()
    yield* emit(report, ({ byType, overall, questions }) => {
      const names = Object.keys(overall) as Array<keyof typeof overall>
      const line = (name: string, count: number, figures: typeof overall) => [name, String(count), ...names.map((figure) => String(figures[figure]))]
      return table([["", "questions", ...names], ...Object.entries(byType).map(([type, figures]) => line(type, figures.questions, figures)), line("all", questions, overall)])
    })
  })
).pipe(Command.withDescription("How much of the gold evidence is found, without any language model"))

const reconcile = Command.make(
  "reconcile",
  {
    pairs: Flag.String("pairs").pipe(Flag.withDescription("Labelled pairs, one JSON object a line (default: the project's own)"), Flag.optional),
    model: Flag.Boolean("model").pipe(Flag.withDescription("Also ask the model of the role reconcile about each pair"), Flag.withDefault(false))
  },
  ({ model, pairs }) => Effect.gen(function*() {
    const { benchReconcile, benchReconcileModel } = yield* loaded(() => import("./reconcile.ts"))
    const file = Option.getOrUndefined(pairs)
    const byRule = yield* Effect.try({
      try: () => benchReconcile(file),
      catch: (error) => new CommandFailed({ message: `the pairs cannot be read: ${error instanceof Error ? error.message : String(error)}` })
    })
    const asked = Effect.gen(function*() {
      const { modelsLayer } = yield* loaded(() => import("#services/all"))
      const progress = progressLine()
      const figures = yield* benchReconcileModel(file, (done, of) => progress.update(`${done} of ${of} pairs asked`)).pipe(
        Effect.provide(modelsLayer(yield* homeFolder).pipe(Layer.provide(CallStore.layerMemory))),
        Effect.mapError(({ message }) => new CommandFailed({ message }))
      )
      progress.end()
      return { byModel: figures }
    })
    const result = { ...byRule, ...(model ? yield* asked : {}) }
    yield* emit(result, ({ byModel, crossValidated, inSample, pairs }) =>
      table([
        ["", "accuracy", "label", "precision", "recall", "pairs"],
        ...([
          ["by rule, cross-validated", crossValidated],
          ["by rule, as shipped", inSample],
          ...(byModel === undefined ? [] : [[`by ${byModel.model}${byModel.errors > 0 ? `, ${byModel.errors} without a reply` : ""}`, byModel.figures] as const])
        ] as const).flatMap(([name, { accuracy, byLabel }]) =>
          Object.entries(byLabel).map(([label, { pairs, precision, recall }]) => [name, accuracy.toFixed(3), label, precision.toFixed(3), recall.toFixed(3), String(pairs)])),
        [`${pairs} pairs`]
      ]))
  })
).pipe(Command.withDescription("Reconciliation on labelled pairs: by rule, cross-validated and as shipped, and by a model"))

const ingest = Command.make(
  "ingest",
  {
    batch: count("batch", 200, "Turns in one request of the first part"),
    rate: count("rate", 200, "Single turns a second in the second part"),
    seconds: count("seconds", 10, "Length of each part"),
    seed: seedFlag
  },
  (options) => Effect.gen(function*() {
    const { benchIngest } = yield* loaded(() => import("./ingest.ts"))
    yield* printFigures(yield* benchIngest(options))
  })
).pipe(Command.withDescription("Turns acknowledged, on disk: in batches, and one by one at a steady pace"))

const embed = Command.make(
  "embed",
  { texts: count("texts", 800, "Texts to embed"), threads: count("threads", 2, "Threads of either side"), seed: seedFlag },
  (options) => Effect.gen(function*() {
    const { benchEmbed } = yield* loaded(() => import("./embed.ts"))
    yield* printFigures(yield* benchEmbed(options))
  })
).pipe(Command.withDescription("The embedding service beside onnxruntime alone"))

/** @throws Error in words on anything that is no list of whole numbers above 0 */
export const wholeNumbers = (text: string): ReadonlyArray<number> => {
  const all = text.split(",").map(Number)
  if (!all.every((one) => Number.isInteger(one) && one > 0)) throw new Error(`"${text}" is no list of whole numbers above 0, such as 10000,100000`)
  return all
}

const numbersFlag = (name: string, fallback: string, description: string) =>
  Flag.String(name).pipe(Flag.withDescription(`${description} (default ${fallback})`), Flag.withDefault(fallback), Flag.mapTryCatch(wholeNumbers, (error) => (error as Error).message))

const retrieve = Command.make(
  "retrieve",
  {
    sizes: numbersFlag("sizes", "10000,100000", "Memories of the users asked, comma-separated"),
    rows: count("rows", 1_000_000, "Memories of all users together"),
    questions: count("questions", 200, "Questions asked a size"),
    seed: seedFlag
  },
  (options) => Effect.gen(function*() {
    const { benchRetrieve } = yield* loaded(() => import("./retrieve.ts"))
    yield* printFigures(yield* benchRetrieve(options))
  })
).pipe(Command.withDescription("From question to evidence, the question's embedding included"))

const rebuild = Command.make(
  "rebuild",
  { turns: count("turns", 20_000, "Turns with vectors in each of both parts"), seed: seedFlag },
  (options) => Effect.gen(function*() {
    const { benchRebuild } = yield* loaded(() => import("./rebuild.ts"))
    yield* printFigures(yield* benchRebuild(options))
  })
).pipe(Command.withDescription("The memory log projected into an empty index"))

const build = Command.make(
  "build",
  { data: dataFlag, limit: count("limit", 1, "Only the haystacks of the first N questions") },
  (options) => Effect.gen(function*() {
    const { benchBuild } = yield* loaded(() => import("./build.ts"))
    yield* printFigures(yield* benchBuild(options))
  })
).pipe(Command.withDescription("A haystack made into memories, beside the time its embedding alone takes"))

const replay = Command.make(
  "replay",
  {
    steps: count("steps", 35, "Steps of the run"),
    questions: count("questions", 50, "Questions a step"),
    samples: count("samples", 5, "Attempts a question"),
    validation: count("validation", 120, "Questions of the gate"),
    seed: seedFlag
  },
  (options) => Effect.gen(function*() {
    const { benchReplay } = yield* loaded(() => import("./replay.ts"))
    yield* printFigures(yield* benchReplay(options))
  })
).pipe(Command.withDescription("A run read, decoded and folded, and one of its generations replayed"))

const train = Command.make(
  "train",
  {
    endpoint: Flag.String("endpoint").pipe(Flag.withDescription("Base address of an OpenAI-compatible endpoint, e.g. http://127.0.0.1:29100/v1")),
    questions: count("questions", 20, "Questions of the step"),
    samples: count("samples", 5, "Attempts a question"),
    processes: count("processes", 1, "Processes, each with all six actors"),
    warmUp: Flag.Int("warm-up").pipe(Flag.withDescription("Steps before the one that is measured, which find all code cold (default: one a process)"), Flag.optional),
    latencyMs: count("latency-ms", 300, "Time the endpoint takes for a call, for the ideal; a simulated endpoint tells it itself"),
    slots: count("slots", 64, "Calls the endpoint serves at once, likewise"),
    seed: seedFlag
  },
  ({ warmUp, ...options }) =>
    Effect.gen(function*() {
      const { benchTrain } = yield* loaded(() => import("./train.ts"))
      yield* emit(yield* benchTrain({ ...options, warmUp: Option.getOrUndefined(warmUp) }), (figures) => table(Object.entries(figures).map(([name, value]) => [name, plain(value)])))
    })
).pipe(Command.withDescription("One training step, and an eval and infer of as many questions, against an endpoint, beside the ideal"))

/** Those of the product, and one that stands here for comparison only. */
const policies = ["likely", "always", "proven", "whole-list"] as const
const isPolicy = (name: string): name is (typeof policies)[number] => (policies as ReadonlyArray<string>).includes(name)

/** @throws Error in words on a name that is none */
export const policyNames = (text: string): ReadonlyArray<(typeof policies)[number]> =>
  text.split(",").map((name) => {
    if (!isPolicy(name)) throw new Error(`"${name}" is no policy of the gate; there are ${policies.join(", ")}`)
    return name
  })

/** The default first: what it shows to each question is what the bench tells as routed. */
const everyPolicy = "likely,always,proven"

const evolve = Command.make(
  "evolve",
  {
    world: Flag.String("world").pipe(Flag.withDescription("Address of the simulated world, e.g. http://127.0.0.1:29200")),
    policies: Flag.String("policies").pipe(
      Flag.withDescription(`Policies of the gate, comma-separated (default ${everyPolicy}); whole-list = a step's operations stand or fall together, a gate for comparison that no run has`),
      Flag.withDefault(everyPolicy),
      Flag.mapTryCatch(policyNames, (error) => (error as Error).message)
    ),
    seeds: numbersFlag("seeds", "1", "Seeds of the runs, comma-separated; a run each"),
    steps: count("steps", 35, "Steps of a run"),
    batch: count("batch", 12, "Questions a step"),
    samples: count("samples", 5, "Attempts a question"),
    validation: count("validation", 120, "Questions of the gate"),
    guard: count("guard", 100, "Questions of the guard test, beside those"),
    score: Flag.Boolean("score").pipe(Flag.withDescription("Let the world score the outcome here"), Flag.withDefault(false))
  },
  (options) => Effect.gen(function*() {
    const { benchEvolve, evolveRows } = yield* loaded(() => import("./evolve.ts"))
    yield* emit(yield* benchEvolve(options), (result) => table(evolveRows(result)))
  })
).pipe(Command.withDescription("Whole runs in a simulated world that grades exactly"))

const streamBench = Command.make(
  "stream",
  {
    minutes: Flag.Finite("minutes").pipe(Flag.withDescription("Length of the steady part (default 20)"), Flag.withDefault(20)),
    rate: count("rate", 30, "Single turns a second"),
    conversations: count("conversations", 200, "Conversations at a time that they are spread over; one of 100 turns is followed by one of another user"),
    compressors: count("compressors", 2, "Processes"),
    embedders: count("embedders", 2, "Processes"),
    retrievers: count("retrievers", 1, "Processes"),
    burstSeconds: count("burst-seconds", 20, "Length of the part above the embedders' rate; 0 = none"),
    burstRate: count("burst-rate", 200, "Single turns a second in it"),
    memories: count("memories", 0, "Memories of one more user, in the log before, who is asked all the while; others, of a thousand each, fill what retrievers hold"),
    kill: Flag.Boolean("kill").pipe(Flag.withDescription("End a compressor, an embedder and a retriever in the middle, and start others"), Flag.withDefault(false)),
    seed: seedFlag
  },
  (options) => Effect.gen(function*() {
    const { benchStream, streamTable } = yield* loaded(() => import("./stream.ts"))
    const result = yield* benchStream(options)
    yield* emit(result, streamTable)
    if (!result.ok) return yield* new CommandFailed({ message: "acknowledged turns are missing or doubled; the counts stand above" })
  })
).pipe(Command.withDescription("A long stream of turns: how soon each is found, whether memory grows, and that all is found once"))

const buildKills = Command.make(
  "build-kills",
  { data: dataFlag, limit: count("limit", 5, "Only the first N questions"), kills: count("kills", 3, "Times the build is killed, with its server"), seed: seedFlag },
  (options) => Effect.gen(function*() {
    const { benchBuildKills, buildKillsTable } = yield* loaded(() => import("./build-kills.ts"))
    const result = yield* benchBuildKills(options)
    yield* emit(result, buildKillsTable)
    if (!result.ok) return yield* new CommandFailed({ message: "the killed build remembers something else; the counts stand above" })
  })
).pipe(Command.withDescription("A build that is killed and begun again, beside one that ran through: equal by content"))

const kills = Command.make(
  "kills",
  {
    world: Flag.String("world").pipe(Flag.withDescription("Address of the simulated world, e.g. http://127.0.0.1:29200")),
    kills: count("kills", 10, "Times something is killed: each actor and the server once before any a second time"),
    steps: count("steps", 12, "Steps of the run"),
    batch: count("batch", 12, "Questions a step"),
    samples: count("samples", 3, "Attempts a question"),
    validation: count("validation", 60, "Questions of the gate"),
    guard: count("guard", 40, "Questions of the guard test, beside those"),
    concurrency: count("concurrency", 16, "Calls at once a role and process"),
    seed: seedFlag
  },
  (options) => Effect.gen(function*() {
    const { benchKills, killsTable } = yield* loaded(() => import("./kills.ts"))
    const result = yield* benchKills(options)
    yield* emit(result, killsTable)
    if (!result.ok) return yield* new CommandFailed({ message: "the killed run is not as the other, or paid again for more than was in flight; the figures stand above" })
  })
).pipe(Command.withDescription("A run in a simulated world with every actor and the server killed at random, beside one that ran through"))

export const benchCommand = Command.make("bench").pipe(
  Command.withDescription("Measure speed, size and learning"),
  Command.withSubcommands([retrieval, reconcile, ingest, embed, retrieve, rebuild, build, replay, train, evolve, kills, streamBench, buildKills])
)
