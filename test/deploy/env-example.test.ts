import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { settingList } from "#shared/model/roles"

const root = join(import.meta.dirname, "../..")
const test = suite("env.example")

const example = new Map(
  readFileSync(join(root, "deploy/env.example"), "utf8").split("\n").flatMap((line) => {
    const found = /^# (METAMEM_[A-Z_]+)=(.*)$/.exec(line)
    return found === null ? [] : [[found[1] ?? "", found[2] ?? ""] as const]
  })
)

const sources = ["services", "shared"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => readFileSync(join(root, folder, path), "utf8"))
)

/** Settings as modules declare them: name and default, "" where there is none. */
const declared = new Map(
  sources.flatMap((text) =>
    [...text.matchAll(/Config\.\w+\((?:(?:\[[^\]]*\]|\w+), )?"(METAMEM_[A-Z_]+)"\)((?:\.pipe\([^\n]*)?)/g)].map(([, name = "", piped = ""]) => {
      const given = /withDefault\(("?)([^")]*?)\1(?: as const)?\)/.exec(piped)?.[2] ?? ""
      return [name, /^[\d_]+$/.test(given) ? given.replaceAll("_", "") : given] as const
    })
  )
)

test("every setting of the code stands in env.example with its default", () => {
  assert.ok(declared.size > 20)
  for (const [name, value] of declared) assert.is(example.get(name), value, name)
  for (const { default: value, name } of settingList) assert.is(example.get(name), value, name)
})

test("env.example names no setting that the code does not know", () => {
  const known = new Set([...declared.keys(), ...settingList.map(({ name }) => name), "METAMEM_CACHE"])
  assert.equal([...example.keys()].filter((name) => !known.has(name)), [])
})

test.run()
