/** The local model as roles know it before it is there: most commands ask no model, and loading one takes longer than all else they do. */
import { Deferred, Effect, Scope } from "effect"
import type { LocalModel } from "#shared/model/players"
import { spawn } from "./child.ts"
import { checkModelFile, modelName } from "./gguf.ts"
import type { Served, ServeOptions } from "./settings.ts"
import type { LocalModelUnavailable } from "./unavailable.ts"

/**
 * A model whose process is started by whoever needs it first, and ends with the scope. Fails at once where the file is no model. One that
 * does not load is not tried again, and is logged once.
 */
export const loadedWhenAsked = (options: ServeOptions): Effect.Effect<LocalModel, LocalModelUnavailable, Scope.Scope> =>
  Effect.gen(function*() {
    const header = yield* checkModelFile(options.modelPath)
    const scope = yield* Scope.Scope
    const served = yield* Deferred.make<Served, LocalModelUnavailable>()
    const serve = spawn(options).pipe(
      Effect.tap((one) => Deferred.succeed(served, one)),
      Effect.andThen(Effect.never),
      // The process lives in a scope of its own: ended while it loads, it is not taken for one that cannot.
      Effect.scoped,
      Effect.catch((error) => Effect.andThen(Effect.logWarning(`no local model: ${error.message}`), Deferred.fail(served, error)))
    )
    // Whoever waits may be interrupted; the load goes on for the next.
    const begun = yield* Effect.cached(Effect.forkIn(serve, scope))
    return {
      model: modelName(options.modelPath, header),
      concurrency: options.threads,
      url: begun.pipe(Effect.andThen(Deferred.await(served)), Effect.map(({ url }) => url))
    }
  })
