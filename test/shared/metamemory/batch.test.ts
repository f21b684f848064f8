import { test } from "uvu"
import * as assert from "uvu/assert"
import { chooseBatch, type Tried } from "#shared/metamemory/batch"

const questions = Array.from({ length: 40 }, (_, i) => `q${i}`)

const play = (steps: number, mean: (question: string) => number | undefined, size = 10) => {
  const history: Array<Tried> = []
  const batches = []
  for (let step = 0; step < steps; step++) {
    const batch = chooseBatch({ runSeed: "r", step, size, questions, history })
    batches.push(batch)
    batch.questions.forEach((question, i) => {
      const value = mean(question)
      history.push({ step, question, fresh: i >= batch.repeated, ...(value !== undefined && { mean: value }) })
    })
  }
  return { batches, history }
}

test("a first batch is all fresh and holds no question twice", () => {
  const batch = chooseBatch({ runSeed: "r", step: 0, size: 10, questions, history: [] })
  assert.equal([batch.repeated, batch.fresh, batch.epoch], [0, 10, 0])
  assert.is(new Set(batch.questions).size, 10)
})

test("later batches take seven tenths from questions partly right", () => {
  const { batches } = play(4, () => 0.5)
  assert.equal(batches.slice(2).map((batch) => [batch.repeated, batch.fresh]), [[7, 3], [7, 3]])
})

test("questions always right or always wrong are not repeated, so an epoch meets each once", () => {
  const { batches } = play(5, (question) => (question.length % 2 === 0 ? 1 : 0))
  assert.is(new Set(batches.slice(0, 4).flatMap((batch) => batch.questions)).size, 40)
  assert.is(batches[4]!.epoch, 1)
  assert.is(batches[4]!.repeated, 0)
})

test("questions that only met errors are not counted as partly right", () => {
  const { batches } = play(3, () => undefined)
  assert.is(batches[2]!.repeated, 0)
})

test("the order of the history does not matter, nor what is recorded of the step itself", () => {
  const { history, batches } = play(4, () => 0.5)
  const again = chooseBatch({ runSeed: "r", step: 3, size: 10, questions, history: history.toReversed() })
  assert.equal(again, batches[3])
})

test("a process that starts anew in the second epoch deals that epoch's order, and no epoch repeats the one before", () => {
  const { batches, history } = play(3, () => 1, 40)
  const [first, second, third] = batches.map((batch) => batch.questions)
  assert.equal(batches.map(({ epoch }) => epoch), [0, 1, 2])
  assert.not.equal(second, first)
  assert.not.equal(third, second)
  assert.equal(chooseBatch({ runSeed: "r", step: 1, size: 40, questions, history: history.filter(({ step }) => step === 0) }).questions, second)
})

test("a question partly right rests for a step", () => {
  const { batches } = play(3, () => 0.5)
  assert.equal(batches.map(({ repeated }) => repeated), [0, 0, 7])
})

test("a batch is never larger than the training set", () =>
  assert.is(chooseBatch({ runSeed: "r", step: 0, size: 100, questions, history: [] }).questions.length, 40))

test.run()
