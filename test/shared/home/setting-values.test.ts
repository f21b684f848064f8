import { ConfigProvider, Effect, Result } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { settings as compressor } from "#services/compressor/actor"
import { settings as extraction } from "#services/compressor/extraction"
import { settings as compression } from "#services/compressor/pre-compression"
import { settings as embedder } from "#services/embedder/actor"
import { settings as ingestor } from "#services/ingestor/actor"
import { settings as evaluator } from "#services/evaluator/actor"
import { settings as reflector } from "#services/reflector/actor"
import { settings as retriever } from "#services/retriever/actor"

const read = (name: string, value: string) =>
  Effect.runSync(
    Effect.gen(function*() {
      return [yield* compressor, yield* extraction, yield* compression, yield* embedder, yield* ingestor, yield* evaluator, yield* reflector, yield* retriever]
    }).pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ [name]: value }))), Effect.result)
  )

// With a size of 0 a loop would never end, with 0 at once nothing would ever be done.
for (const [name, right, ...wrong] of [
  ["METAMEM_EMBEDDER_COMMIT_SIZE", "3", "0", "-1", "1.5", "many"],
  ["METAMEM_COMPRESSOR_COMMIT_SIZE", "3", "0", "-1"],
  ["METAMEM_COMPRESSOR_CONCURRENCY", "3", "0"],
  ["METAMEM_EXTRACT_ATTEMPTS", "1", "0"],
  ["METAMEM_EXTRACT_BATCH_TOKENS", "0", "-1"],
  ["METAMEM_COMPRESSION_RATE", "0.8", "0", "1.1", "-0.5", "NaN"],
  ["METAMEM_INGESTOR_IDLE_SECONDS", "1", "0"],
  ["METAMEM_EVIDENCE_TOKENS", "600", "0"],
  ["METAMEM_JUDGEMENT_ATTEMPTS", "1", "0"],
  ["METAMEM_REFLECTOR_RUNS", "1", "0", "-1"],
  ["METAMEM_REFLECTOR_SCAN_SECONDS", "1", "0"],
  ["METAMEM_OUTAGE_SECONDS", "0", "-1"]
] as const) test(`${name} is ${right} or the like, and not ${wrong.join(", ")}`, () => {
  assert.ok(Result.isSuccess(read(name, right)))
  for (const value of wrong) {
    const result = read(name, value)
    assert.ok(Result.isFailure(result), value)
    assert.match(String(result.failure), name)
  }
})

test.run()
