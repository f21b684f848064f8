import { suite } from "uvu"
import * as assert from "uvu/assert"
import { findJson, visibleSoFar, withoutReasoning } from "#shared/model/reply-text"
import { processorMs } from "#test/support/processor-time"

const test = suite("reply text")

test("reasoning blocks are taken out, whatever they are called", () => {
  assert.is(withoutReasoning("<think>\na < b\n</think>\n\nyes"), "yes")
  assert.is(withoutReasoning("<thinking>x</thinking>1<reasoning>y</reasoning>2"), "12")
})
test("a block whose opening tag was cut off is taken out", () => assert.is(withoutReasoning("so it is\n</think>\nno"), "no"))
test("a block that never ends leaves no reply", () => assert.is(withoutReasoning("<think>and then"), undefined))
test("angle brackets that are no reasoning stay", () => assert.is(withoutReasoning(" a <b> c "), "a <b> c"))

test("JSON is found bare, fenced and within prose", () => {
  assert.equal(findJson(' {"a": 1} '), { a: 1 })
  assert.equal(findJson('Sure:\n```json\n{"a": [1, 2]}\n```\nDone.'), { a: [1, 2] })
  assert.equal(findJson('``` json\n[1]\n```'), [1])
  assert.equal(findJson('The set {x} gives {"a": "} \\" {"} as said'), { a: '} " {' })
})
test("text without whole JSON has none", () => {
  assert.is(findJson('{"a": [1, 2'), undefined)
  assert.is(findJson("yes"), undefined)
  assert.is(findJson("12"), undefined)
  assert.is(findJson(`{${" ".repeat(100_000)}`), undefined)
})
test("a text of nothing but brackets is given up quickly", () => {
  assert.ok(processorMs(() => assert.is(findJson("{[".repeat(50_000)), undefined)) < 500)
})

test("a reply that is still coming shows no reasoning and no half of a tag", () => {
  assert.is(visibleSoFar("<thi"), "")
  assert.is(visibleSoFar("<think>so"), "")
  assert.is(visibleSoFar("<think>so</think>\n It"), "It")
  assert.is(visibleSoFar("It is <"), "It is ")
  assert.is(visibleSoFar("1 < 2 and"), "1 < 2 and")
})

test.run()
