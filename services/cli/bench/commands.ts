/** `metamem bench`: what it costs in time and memory, measured on this machine. Each bench is loaded only when it is asked for. */
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { emit, table } from "../root.ts"
import { printFigures } from "./load.ts"

const count = (name: string, fallback: number, description: string) => Flag.Int(name).pipe(Flag.withDescription(description), Flag.withDefault(fallback))
const seedFlag = count("seed", 1, "Seed of everything synthetic; the same seed gives the same load")

const loaded = <A>(load: () => Promise<A>): Effect.Effect<A> => Effect.promise(load)

const plain = (value: unknown): string =>
  value !== null && typeof value === "object" ? Object.entries(value).map(([name, one]) => `${name} ${String(one)}`).join(", ") : String(value)

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

const train = Command.make(
  "train",
  {
    endpoint: Flag.String("endpoint").pipe(Flag.withDescription("Base address of an OpenAI-compatible endpoint, e.g. http://127.0.0.1:29100/v1")),
    questions: count("questions", 20, "Questions of the step"),
    samples: count("samples", 5, "Attempts a question"),
    processes: count("processes", 1, "Processes a role; each has all six actors"),
    warmUp: count("warm-up", 1, "Steps before the one that is measured; the first finds all code cold"),
    latencyMs: count("latency-ms", 300, "Time the endpoint takes for a call, for the ideal; a simulated endpoint tells it itself"),
    slots: count("slots", 64, "Calls the endpoint serves at once, likewise"),
    seed: seedFlag
  },
  (options) =>
    Effect.gen(function*() {
      const { benchTrain } = yield* loaded(() => import("./train.ts"))
      yield* emit(yield* benchTrain(options), (figures) => table(Object.entries(figures).map(([name, value]) => [name, plain(value)])))
    })
).pipe(Command.withDescription("One training step against an endpoint, beside the ideal"))

export const benchCommand = Command.make("bench").pipe(
  Command.withDescription("Measure speed, size and learning"),
  Command.withSubcommands([ingest, embed, train])
)
