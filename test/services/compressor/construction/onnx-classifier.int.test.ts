import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { compress, strictCompression } from "#services/compressor/construction/llmlingua"
import { ClassifierFailed, openClassifier } from "#services/compressor/construction/onnx-classifier"
import { passThroughModel, tokenizerOf, writeClassifier } from "./tiny-classifier.ts"

const test = suite("a token classifier by ONNX")
const folder = mkdtempSync(join(tmpdir(), "metamem-classifier-"))
test.after(() => rmSync(folder, { recursive: true, force: true }))
const keep = { the: 0.1, cat: 0.9, sat: 0.8, on: 0.2, mat: 0.7, ".": 0.95, play: 0.9, "##ing": 0.3, old: 0.4 }
const refusal = async (run: () => Promise<unknown>): Promise<ClassifierFailed> => {
  try {
    await run()
  } catch (error) {
    if (error instanceof ClassifierFailed) return error
    throw error
  }
  throw new Error("did not fail")
}

test("its probabilities decide what stays", async () => {
  writeClassifier(join(folder, "a"), keep)
  const classifier = await openClassifier(join(folder, "a"))
  try {
    const [row] = await classifier.classify([[2, 5, 6, 3], [2, 7, 3]])
    assert.equal(Array.from(row ?? [], (p) => Math.round(p * 100) / 100), [0.5, 0.1, 0.9, 0.5])
    assert.is(await compress("the cat sat on the mat.", classifier.tokenizer, classifier.classify, { ...strictCompression, rate: 0.6 }), "cat sat mat.")
  } finally {
    await classifier.close()
  }
})

test("a row's probabilities are the same alone and in a batch of many lengths", async () => {
  writeClassifier(join(folder, "a"), keep)
  const classifier = await openClassifier(join(folder, "a"))
  try {
    const rows = Array.from({ length: 60 }, (_, i) => [2, ...Array.from({ length: 1 + ((i * 37) % 500) }, (_, j) => 5 + ((i + j) % 9)), 3])
    const together = await classifier.classify(rows)
    assert.equal(together.map(({ length }) => length), rows.map(({ length }) => length))
    assert.equal(Array.from((await classifier.classify([rows[17] ?? []]))[0] ?? []), Array.from(together[17] ?? []))
  } finally {
    await classifier.close()
  }
})

test("attention gives boundaries where the model exports it and is absent where not", async () => {
  writeClassifier(join(folder, "a"), keep)
  writeClassifier(join(folder, "b"), keep, false)
  const withAttention = await openClassifier(join(folder, "a"))
  const without = await openClassifier(join(folder, "b"))
  try {
    assert.not("coarse" in without)
    const boundaries = await withAttention.coarse?.(["cat cat", "cat cat", "the the", "cat cat", "cat cat", "the the", "cat cat"])
    assert.ok(Array.isArray(boundaries) && boundaries.length > 0)
    assert.ok(boundaries?.every((at) => at >= 1 && at <= 4))
  } finally {
    await withAttention.close()
    await without.close()
  }
})

test("missing and foreign files are refused with the mend", async () => {
  const gone = await refusal(() => openClassifier(join(folder, "nothing")))
  assert.is(gone.reason, "missing")
  assert.match(gone.message, /model\.onnx is not in/)
  for (const [name, model, tokenizer] of [
    ["garbage", "not a model", JSON.stringify(tokenizerOf(["a"]))],
    ["other", passThroughModel(), JSON.stringify(tokenizerOf(["a"]))],
    ["bpe", passThroughModel(), `{"model": {"type": "BPE"}}`],
    ["broken", passThroughModel(), "{"]
  ] as const) {
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, "model.onnx"), model)
    writeFileSync(join(folder, name, "tokenizer.json"), tokenizer)
    assert.is((await refusal(() => openClassifier(join(folder, name)))).reason, "unsuitable", name)
  }
})

test("too many waiting calls are refused as busy, closing waits for the run and refuses later calls", async () => {
  writeClassifier(join(folder, "a"), keep)
  const classifier = await openClassifier(join(folder, "a"), { waitingMax: 2, runTimeoutMs: 10_000 })
  const row = [2, ...Array.from({ length: 500 }, () => 6), 3]
  const runs = Promise.allSettled([classifier.classify([row]), classifier.classify([row])])
  assert.is((await refusal(() => classifier.classify([row]))).reason, "busy")
  await classifier.close()
  const settled = await runs
  assert.is(settled[0]?.status, "fulfilled")
  assert.is((await refusal(() => classifier.classify([row]))).reason, "closed")
})

test("a token id outside the vocabulary fails that call and no other", async () => {
  writeClassifier(join(folder, "a"), keep)
  const classifier = await openClassifier(join(folder, "a"))
  try {
    assert.is((await refusal(() => classifier.classify([[2, 9999, 3]]))).reason, "run failed")
    assert.is((await classifier.classify([[2, 6, 3]])).length, 1)
  } finally {
    await classifier.close()
  }
})

test.run()
