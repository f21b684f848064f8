import { readFileSync } from "node:fs"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { unknownSettings } from "#shared/home/settings"

const test = suite("settings")

test("names that look like settings and are none are told", () => {
  const example = readFileSync(join(import.meta.dirname, "../../../deploy/env.example"), "utf8")
  assert.equal(unknownSettings(example, { METAMEM_LLM_URL: "x", METAMEM_HOME: "x", METAMEM_LLM_TIMEOUT_SECONDS: "1", PATH: "x", METAMEM_ANSWER_MODLE: "x" }), ["METAMEM_ANSWER_MODLE", "METAMEM_LLM_TIMEOUT_SECONDS"])
})

test.run()
