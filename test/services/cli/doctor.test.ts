import { readFileSync } from "node:fs"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { unknownSettings } from "#services/cli/doctor"

const test = suite("doctor")

test("names that look like settings and are none are told", () => {
  const example = readFileSync(join(import.meta.dirname, "../../../deploy/env.example"), "utf8")
  assert.equal(unknownSettings(["METAMEM_LLM_URL", "METAMEM_HOME", "METAMEM_LLM_TIMEOUT_SECONDS", "PATH", "METAMEM_ANSWER_MODLE"], example), ["METAMEM_ANSWER_MODLE", "METAMEM_LLM_TIMEOUT_SECONDS"])
})

test.run()
