/** Pieces of text are given as soon as they cannot become a stop text any more. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { makeTextOut } from "#services/localmodel/text-out"

test("without stop texts everything passes at once", () => {
  const out = makeTextOut([])
  assert.equal(out.push("a\n"), { text: "a\n", stopped: false })
  assert.is(out.rest(), "")
})

test("a stop text spread over pieces is not given, nor what follows", () => {
  const out = makeTextOut(["\n\nQ:"])
  assert.equal(out.push("yes\n"), { text: "yes", stopped: false })
  assert.equal(out.push("\nQ"), { text: "", stopped: false })
  assert.equal(out.push(": more"), { text: "", stopped: true })
  assert.is(out.rest(), "")
})

test("what only began like a stop text is given after all", () => {
  const out = makeTextOut(["END"])
  assert.is(out.push("an EN").text, "an ")
  assert.is(out.push("D").stopped, true)
  const other = makeTextOut(["END"])
  assert.is(other.push("an EN").text + other.push("Emy").text + other.rest(), "an ENEmy")
  const last = makeTextOut(["END"])
  assert.is(last.push("an EN").text + last.rest(), "an EN")
})

test("the first of several stop texts counts", () => {
  assert.equal(makeTextOut(["b", "a"]).push("xab"), { text: "x", stopped: true })
})

test.run()
