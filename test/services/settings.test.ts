import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { allSettings } from "#services/all"
import { wrongSettings } from "#shared/home/wrong-settings"
import { settingList } from "#shared/model/roles"
import { effect } from "#test/support/effect"

const test = suite("settings of all parts")
const root = join(import.meta.dirname, "../..")

/** Settings that cannot have every value, as modules declare them. */
const restricted = [
  ...["services", "shared"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .flatMap((path) => [...readFileSync(join(root, folder, path), "utf8").matchAll(/Config\.(?!String|Redacted)\w+\((?:(?:\[[^\]]*\]|\w+), )?"(METAMEM_[A-Z_]+)"\)/g)].map(([, name = ""]) => name))
  ),
  ...settingList.map(({ name }) => name).filter((name) => !/_(?:MODEL|KEY)$/.test(name))
]

effect(test, "every setting that some part would refuse is found wrong, by its name, though all are wrong at once", () =>
  Effect.gen(function*() {
    const names = [...new Set(restricted)].sort()
    assert.ok(names.length > 60)
    const { rest, wrong } = yield* wrongSettings(yield* allSettings, { PATH: "/bin", ...Object.fromEntries(names.map((name) => [name, "-no-such-"])) })
    assert.equal([...new Set(wrong.map(({ setting }) => setting))].sort(), names)
    assert.equal(rest, { PATH: "/bin" })
    for (const { message, setting } of wrong) assert.match(message, new RegExp(`^the setting ${setting} is "-no-such-"; it takes (?:one of \\w+, |a (?:whole )?number |addresses )`))
  }))

for (
  const [name, value, message] of [
    ["METAMEM_REFLECTOR", "wizard", "is \"wizard\"; it takes one of auto, rules, model, both"],
    ["METAMEM_ROLLOUT_ATTEMPTS", "-2", "is \"-2\"; it takes a whole number from 1 to 10000000"],
    ["METAMEM_COMPRESSION_RATE", "1.5", "is \"1.5\"; it takes a number above 0 and at most 1"],
    ["METAMEM_LLM_URL", "http://me:hidden@host/v1", "is \"…@host/v1\"; it takes addresses like http://host:port/v1, separated by commas, without a user or password in them; a key goes into …_KEY"],
    ["METAMEM_LLM_URL", "sk-0123456789abcdef0123456789", "is \"sk-01234…\"; it takes addresses like http://host:port/v1, separated by commas, without a user or password in them; a key goes into …_KEY"]
  ] as const
) {
  effect(test, `${name}=${value.slice(0, 9)} is told in words`, () =>
    Effect.gen(function*() {
      const { wrong } = yield* wrongSettings(yield* allSettings, { [name]: value })
      assert.equal(wrong.map((found) => found.message), [`the setting ${name} ${message}`])
    }))
}

effect(test, "settings that are right, or blank, are not found wrong", () =>
  Effect.gen(function*() {
    const { rest, wrong } = yield* wrongSettings(yield* allSettings, { METAMEM_REFLECTOR: "both", METAMEM_JUDGE: "", METAMEM_LLM_TRIES: "3", METAMEM_EXTRACT_BATCH_TOKENS: "0" })
    assert.equal(wrong, [])
    assert.is(rest["METAMEM_LLM_TRIES"], "3")
  }))

test.run()
