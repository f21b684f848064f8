import { test } from "uvu"
import * as assert from "uvu/assert"
import { table } from "#services/cli/root"

test("columns stand below each other, also behind signs of double width and accents", () => {
  assert.equal(table([["ab", "1"], ["小明", "2"], ["e\u0301", "3"], ["민수", "4"]]).split("\n"), ["ab    1", "小明  2", "e\u0301     3", "민수  4"])
})

test("what turns the direction of writing is left out", () => {
  assert.is(table([["\u202eevil", "x"], ["plain", "y"]]), "evil   x\nplain  y")
})

test("rows of other lengths and no rows do no harm", () => {
  assert.is(table([]), "")
  assert.is(table([["a"], ["b", "c"]]), "a\nb  c")
  assert.is(table([["a", "long", "x"], ["b", "c", "y"], ["d"]]), "a  long  x\nb  c     y\nd")
})

test.run()
