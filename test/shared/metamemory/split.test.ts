import { test } from "uvu"
import * as assert from "uvu/assert"
import { pythonRandom } from "#shared/metamemory/mersenne"
import { drawByType, groupsOf, mixOf, plainSplit, referenceSplit, stratifiedSplit, type Splittable, typeOf } from "#shared/metamemory/split"

const numbers = (n: number): Array<number> => Array.from({ length: n }, (_, i) => i)

test("shuffles agree with Python's at seed 42", () => {
  const drawn = pythonRandom(42).shuffled(numbers(500))
  assert.equal(drawn.slice(0, 10), [164, 383, 45, 156, 53, 72, 315, 209, 74, 333])
  assert.equal(drawn.slice(100, 103), [230, 362, 237])
  const epochs = pythonRandom(42)
  assert.equal(epochs.shuffled(numbers(350)).slice(0, 5), [133, 219, 203, 65, 88])
  assert.equal(epochs.shuffled(numbers(350)).slice(0, 5), [8, 146, 266, 16, 39])
})

test("seeds above 32 bits use both words", () => {
  const random = pythonRandom(2 ** 40 + 7)
  assert.equal([random.bits(32), random.bits(32), random.bits(32)], [2635837658, 3209733218, 3500038837])
  assert.throws(() => pythonRandom(-1), RangeError)
  assert.throws(() => random.below(0), RangeError)
})

test("reference folds have 350, 50 and 100 items and disjoint test parts", () => {
  const folds = referenceSplit(numbers(500))
  assert.is(folds.length, 5)
  for (const { train, val, test: tested } of folds) {
    assert.equal([train.length, val.length, tested.length], [350, 50, 100])
    assert.is(new Set([...train, ...val, ...tested]).size, 500)
  }
  assert.is(new Set(folds.flatMap((fold) => fold.test)).size, 500)
  assert.equal(folds[0]!.test.slice(0, 3), [164, 383, 45])
  assert.equal(folds[0]!.val.slice(0, 3), [230, 362, 237])
  assert.equal(folds[4]!.val, folds[1]!.val)
})

test("with fewer items every reference fold still has a test part; with far too few it is refused", () => {
  const folds = referenceSplit(numbers(320))
  assert.equal(folds.map((fold) => fold.test.length), [64, 64, 64, 64, 64])
  assert.is(folds[0]!.val.length, 32)
  assert.throws(() => referenceSplit(numbers(4)), RangeError)
  assert.throws(() => referenceSplit(numbers(500), { folds: 6 }), RangeError)
})

const types = ["a", "b", "c", "d", "e", "f"]
const items = (n: number): Array<Splittable> => numbers(n).map((i) => ({ id: `q${i}`, type: types[i % 6]!, bonds: [`cluster ${Math.floor(i / 3)}`] }))
const ids = (part: ReadonlyArray<Splittable>): Set<string> => new Set(part.map((item) => item.id))
const bondsOf = (part: ReadonlyArray<Splittable>): Set<string> => new Set(part.flatMap((item) => item.bonds))

test("stratified folds test every item once, validate on disjoint parts and let no group cross", () => {
  const all = items(300)
  const folds = stratifiedSplit(all, { seed: "s", folds: 5 })
  assert.is(new Set(folds.flatMap((fold) => [...ids(fold.test)])).size, 300)
  assert.is(folds.reduce((sum, fold) => sum + fold.val.length, 0), new Set(folds.flatMap((fold) => [...ids(fold.val)])).size)
  for (const { train, val, test: tested } of folds) {
    assert.is(train.length + val.length + tested.length, 300)
    for (const bond of bondsOf(tested)) assert.not(bondsOf(train).has(bond) || bondsOf(val).has(bond))
    for (const bond of bondsOf(val)) assert.not(bondsOf(train).has(bond))
    for (const type of types) {
      const count = tested.filter((item) => item.type === type).length
      assert.ok(count >= 8 && count <= 12, `${type}: ${count}`)
      assert.ok(val.some((item) => item.type === type))
    }
  }
})

test("questions that are nearly the same stay together", () => {
  const loose = numbers(40).map((i) => ({ id: `q${i}`, type: "a", bonds: [] }))
  const pairs = numbers(20).map((i) => [`q${i}`, `q${i + 20}`] as const)
  const { train, val, test: tested } = plainSplit(loose, { seed: "s", similar: pairs })
  for (const [a, b] of pairs) assert.ok([train, val, tested].some((part) => ids(part).has(a) && ids(part).has(b)))
})

test("groups join over chains of bonds and ignore unknown ids", () => {
  const chained = [
    { id: "1", type: "t", bonds: ["x"] },
    { id: "2", type: "t", bonds: ["y"] },
    { id: "3", type: "t", bonds: ["y", "x"] },
    { id: "4", type: "t", bonds: [] }
  ]
  assert.equal(groupsOf(chained, [["4", "unknown"]]).map((group) => group.map((item) => item.id)), [["1", "2", "3"], ["4"]])
})

test("the plain split comes near 50, 30 and 20 per cent and is the same for the same seed", () => {
  const split = plainSplit(items(120), { seed: "s" })
  assert.ok(Math.abs(split.train.length - 60) <= 6 && Math.abs(split.val.length - 36) <= 6 && Math.abs(split.test.length - 24) <= 6)
  assert.equal(plainSplit(items(120), { seed: "s" }), split)
  assert.not.equal(plainSplit(items(120), { seed: "t" }), split)
})

test("a draw takes twenty of a type where there are that many, and the rest by share", () => {
  const pool = [["often", 300], ["rare", 30], ["few", 5]].flatMap(([type, count]) => numbers(Number(count)).map((i) => ({ id: `${type}${i}`, type: String(type) })))
  const drawn = drawByType(pool, 120, "s")
  assert.equal(mixOf(drawn.map(({ type }) => type)), { few: 5, often: 95, rare: 20 })
  assert.equal(drawn, pool.filter((item) => drawn.includes(item)), "in the order given")
  assert.equal(drawByType(pool, 120, "s"), drawn)
  assert.not.equal(drawByType(pool, 120, "t"), drawn)
  // Where not even twenty of each fit, none is left out.
  assert.equal(mixOf(drawByType(pool, 12, "s").map(({ type }) => type)), { few: 4, often: 4, rare: 4 })
  // With room, shares decide.
  assert.equal(mixOf(drawByType(pool, 300, "s").map(({ type }) => type)), { few: 5, often: 268, rare: 27 })
  assert.equal(drawByType(pool, 335, "s"), pool)
})

test("what cannot be answered is a type of its own", () => {
  assert.equal([typeOf({ type: "time", abstention: false }), typeOf({ type: "time", abstention: true })], ["time", "time (abstention)"])
  assert.equal(mixOf([]), {})
})

test("more folds than groups are refused", () => {
  assert.throws(() => stratifiedSplit(items(6), { seed: "s", folds: 3 }), RangeError)
  assert.throws(() => stratifiedSplit(items(60), { seed: "s", folds: 1 }), RangeError)
})

test.run()
