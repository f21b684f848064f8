/** Commands that run and look after the machinery: `up`, `run`, `doctor`, `log`, `dead`. */
import { Effect, Layer } from "effect"
import { Argument, Command } from "effect/cli"
import { actors } from "#shared/eventlog/subjects"
import { takeActorStart } from "#shared/home/actor-flags"
import { benchCommand } from "./bench/commands.ts"
import { doctor } from "./doctor.ts"
import { homeFolder, logLayer } from "./home.ts"
import { deadCommand, logCommand } from "./log-commands.ts"
import { emit } from "./root.ts"
import { Nats } from "#shared/eventlog/nats"

/** Runs actors until Ctrl-C or SIGTERM; what they hold is handed back and the server stops with the last process of the home. */
const keepRunning = (names: ReadonlyArray<(typeof actors)[number]>) =>
  Effect.scoped(
    Effect.gen(function*() {
      const home = yield* homeFolder
      const { url } = yield* Nats
      const { actorsLayer } = yield* Effect.promise(() => import("#services/all"))
      yield* Layer.build(actorsLayer(home, names))
      yield* emit({ running: names, nats: url, home }, () => `${names.join(", ")} running on ${url}; Ctrl-C ends ${names.length === 1 ? "it" : "them"}`)
      return yield* Effect.never
    })
  ).pipe(Effect.provide(logLayer))

const up = Command.make("up", {}, () => keepRunning(actors)).pipe(Command.withDescription("Run the server and all six actors in one process, until Ctrl-C"))

const run = Command.make("run", { actor: Argument.Literals("actor", actors).pipe(Argument.withDescription(`Which actor: ${actors.join(", ")}`)) }, ({ actor }) =>
  Effect.andThen(Effect.sync(takeActorStart), keepRunning([actor]))).pipe(Command.withDescription("Run one more of one actor, until Ctrl-C"))

export const operationCommands = [up, run, doctor, logCommand, deadCommand, benchCommand] as const
