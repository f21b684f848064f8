/**
 * What was said in an imported run, kept as a run's own replies are: each text in the call store under the user it is of, with a settled
 * result that names it. So erasing a user takes it along, and `verify`, `blame` and bundles find it.
 */
import { Effect, Result, Schema } from "effect"
import { jobCodec } from "#shared/actor/jobs"
import { EventLog } from "#shared/eventlog/event-log"
import { resultSubject, type RunAddress } from "#shared/eventlog/subjects"
import { digest } from "#shared/metamemory/random"
import type { StoredCall } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import type { ReadText } from "./reference-step.ts"
import { CommandFailed } from "./root.ts"
import { runResults } from "./runs.ts"

const roles = { rollout: "answer", reflection: "reflect", proposal: "propose" } as const
const atOnce = 32

/** What a result of an imported run says; it holds no text. */
export const ImportedData = Schema.Struct({ user: Schema.NonEmptyString, callKey: Schema.NonEmptyString })
type ImportedData = typeof ImportedData.Type
const decodeData = Schema.decodeUnknownResult(ImportedData)

const storedCall = ({ kind, step, text }: ReadText, run: string, key: string): StoredCall => ({
  version: 1, key, role: roles[kind], model: "", schema: "imported", templateVersion: "imported", inputs: [], tags: { run, step }, text, truncated: false,
  usage: { promptTokens: 0, completionTokens: 0, estimated: true }, latencyMs: 0, requests: 0
})

/** Keeps the texts of a run that is not there yet. An import that was broken off is gone on with; one of another folder is refused before anything is written. @param userOf whose text it is, by question */
export const keepTexts = ({ run, tenant }: RunAddress, texts: ReadonlyArray<ReadText>, userOf: (question: string) => string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const store = yield* CallStore
    const named = texts.map((one) => ({
      ...one,
      callKey: digest("imported", one.kind, one.question, one.text),
      subject: resultSubject({ tenant, run, step: one.step, kind: one.kind, key: one.key })
    }))
    const keys = new Map(named.map(({ callKey, subject }) => [subject, callKey]))
    const others = new CommandFailed({ message: `texts of another folder stand under ${run}, of an import that was broken off: choose another name.` })
    for (const { address, settled } of yield* runResults(tenant, run)) {
      const data = decodeData(settled.data)
      if (Result.isFailure(data) || keys.get(resultSubject(address)) !== data.success.callKey) return yield* others
    }
    yield* Effect.forEach(
      named,
      ({ callKey, subject, ...one }) =>
        Effect.gen(function*() {
          const user = userOf(one.question)
          yield* store.put(tenant, user, callKey, storedCall(one, run, callKey))
          const data: ImportedData = { user, callKey }
          const settled = jobCodec.encode({ _tag: "JobSettled", status: "done", data, error: "", attempts: 1, worker: "imported" })
          yield* log.append({ subject, cause: `imported ${callKey}`, correlation: run, events: [settled] }, 0, "").pipe(Effect.catchTag("SequenceConflict", () => Effect.fail(others)))
        }),
      { concurrency: atOnce, discard: true }
    )
  })
