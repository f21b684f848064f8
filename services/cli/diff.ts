/** `metamem diff`: what two generations of a run differ in. */
import { Effect } from "effect"
import { Argument, Command } from "effect/cli"
import { diffGenerations } from "#shared/metamemory/generation"
import { logLayer } from "./home.ts"
import { emit, root } from "./root.ts"
import { runFlag } from "./run-notes.ts"
import { replayRun } from "./runs.ts"

export const diff = Command.make(
  "diff",
  { run: runFlag, from: Argument.Int("from").pipe(Argument.withDescription("Generation to start from")), to: Argument.Int("to").pipe(Argument.withDescription("Generation to get to")) },
  ({ from, run, to }) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const [old, now] = [yield* replayRun(tenant, run, from), yield* replayRun(tenant, run, to)]
      yield* emit({ run, from, to, ...diffGenerations(old.principles, now.principles), modelCalls: 0 }, ({ added, changed, kept, merged, removed }) => {
        const wentInto = new Map(merged.flatMap((one) => one.from.map((id) => [id, ` → ${one.into}`])))
        const cameFrom = new Map(merged.map((one) => [one.into, ` (merged from ${one.from.join(", ")})`]))
        return [
          `generation ${from} → ${to} of ${run}: ${added.length} added, ${removed.length} removed, ${changed.length} changed, ${kept} kept`,
          ...removed.map(({ id, scope, text }) => `- ${id}${wentInto.get(id) ?? ""} [${scope}] ${text}`),
          ...added.map(({ id, scope, text }) => `+ ${id} [${scope}] ${text}${cameFrom.get(id) ?? ""}`),
          ...changed.map(({ after, before, id }) => `~ ${id} [${after.scope}] ${before.text}\n  → ${after.text}`)
        ].join("\n")
      })
    }).pipe(Effect.provide(logLayer))
).pipe(Command.withDescription("What two generations of a run differ in; no model is asked"))
