import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Dataset } from "#shared/datasets/dataset"
import type { Question } from "#shared/domain/question"
import { mixOf, typeOf } from "#shared/metamemory/split"
import { partsOf } from "#services/cli/question-parts"

const test = suite("what a run is made of")

const questions = (prefix: string, counts: Readonly<Record<string, number>>): ReadonlyArray<Question> =>
  Object.entries(counts).flatMap(([type, count]) =>
    Array.from({ length: count }, (_, at): Question => ({ id: `${prefix}-${type}-${at}`, text: "?", type, answer: "a", abstention: false, user: `u-${prefix}-${type}-${at}`, cluster: `c-${prefix}-${type}-${at}` })))
const dataset = (all: ReadonlyArray<Question>) => ({ hash: "h", questions: all, users: [] }) as unknown as Dataset
const types = (all: ReadonlyArray<Question>) => mixOf(all.map(typeOf))

test("validation is drawn by type up to its size, and what is left over is in no part", () => {
  const data = dataset(questions("d", { often: 400, rare: 80 }))
  const parts = partsOf(data, {}, 42, 60)
  assert.equal([parts.validation.length, types(parts.validation)["rare"]], [60, 20])
  assert.ok(parts.left.length > 60)
  const all = [...parts.train, ...parts.validation, ...parts.guard, ...parts.test, ...parts.left].map(({ id }) => id)
  assert.equal([all.length, new Set(all).size], [480, 480])
  assert.equal(partsOf(data, {}, 42, 1_000).left, [])
})

test("questions that ask nearly the same, or share an evidence session, are in one part", () => {
  const own = questions("d", { a: 60 })
  const id = (at: number): string => own[at]!.id
  const pairs = Array.from({ length: 15 }, (_, at) => [id(at), id(at + 15)] as const)
  const bonds = new Map<string, ReadonlyArray<string>>()
  for (let at = 0; at < 15; at++) bonds.set(id(at + 30), [`e${at}`]).set(id(at + 45), [`e${at}`, `of its own ${at}`])
  const parts = partsOf({ ...dataset(own), bonds }, { guard: dataset([]) }, 42, 60, pairs)
  const partOf = (question: string): number => [parts.train, parts.validation, parts.test].findIndex((part) => part.some((one) => one.id === question))
  for (let at = 0; at < 15; at++) {
    assert.is(partOf(id(at)), partOf(id(at + 15)), `similar ${at}`)
    assert.is(partOf(id(at + 30)), partOf(id(at + 45)), `evidence ${at}`)
  }
  assert.ok(parts.train.length > 20 && parts.validation.length > 10 && parts.test.length > 5)
})

test("a validation file is drawn from too, and the guard is a fifth of the training data", () => {
  const parts = partsOf(dataset(questions("d", { often: 50 })), { val: dataset(questions("v", { often: 90, rare: 30 })) }, 42, 60)
  assert.equal([types(parts.validation), parts.left.length, parts.guard.length, parts.train.length], [{ often: 40, rare: 20 }, 60, 10, 40])
})

test("the guard shares no conversation with training or test", () => {
  const own = Array.from({ length: 200 }, (_, at): Question => ({ id: `q${at}`, text: "?", type: "t", answer: "a", abstention: false, user: `u${at % 8}`, cluster: `c${at % 8}` }))
  const usersOf = (part: ReadonlyArray<Question>) => new Set(part.map(({ user }) => user))
  for (const parts of [partsOf(dataset(own), { val: dataset(questions("v", { often: 90 })) }, 42, 60), partsOf(dataset(own), {}, 42, 60)]) {
    assert.ok(parts.guard.length >= 20, String(parts.guard.length))
    for (const part of [parts.train, parts.test]) assert.equal(part.filter(({ user }) => usersOf(parts.guard).has(user)), [])
  }
  // A group larger than a fifth is better than none; one conversation alone is divided.
  const four = own.map((question) => ({ ...question, user: `u${Number(question.id.slice(1)) % 4}`, cluster: "c" + (Number(question.id.slice(1)) % 4) }))
  const fours = partsOf(dataset(four), { val: dataset([]) }, 42, 60)
  assert.equal([fours.guard.length, fours.train.length], [50, 150])
  const one = partsOf(dataset(own.map((question) => ({ ...question, user: "u", cluster: "c" }))), { val: dataset([]) }, 42, 60)
  assert.equal([one.guard.length, one.train.length], [40, 160])
})

test.run()
