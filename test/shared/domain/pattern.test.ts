import { suite } from "uvu"
import * as assert from "uvu/assert"
import { pattern } from "#shared/domain/pattern"

const test = suite("patterns over several lines")

test("a pattern over several lines is the literal that its lines make", () => {
  const found = pattern("iu")`
    \b(?:no longer|any ?more
    |moved)\b
  `
  assert.equal([found.source, found.flags], [String.raw`\b(?:no longer|any ?more|moved)\b`, "iu"])
})

test("spaces within a line are kept", () =>
  assert.ok(pattern("")`
    ^a  b$
  `.test("a  b")))

test.run()
