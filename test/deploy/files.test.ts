/** The files an operator starts from say what the code and the published setting need. */
import { StorageType } from "@nats-io/jetstream"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { streams } from "#shared/eventlog/nats"

const test = suite("deployment files")
const deploy = join(import.meta.dirname, "../../deploy")
const read = (name: string): string => readFileSync(join(deploy, name), "utf8")

/** One service of the compose file: its lines, and the items of its command. */
const service = (name: string): { readonly block: string; readonly command: ReadonlyArray<string> } => {
  const services = read("sglang.compose.yaml").split(/^services:\n/m)[1] ?? ""
  const block = new RegExp(`^  ${name}:\\n((?:    .*\\n|\\n|  #.*\\n)*)`, "m").exec(services)?.[1] ?? ""
  const list = /^    command:\n((?:      - .*\n)+)/m.exec(block)?.[1] ?? ""
  const command = list.trimEnd().split("\n").map((line) => line.replace(/^ *- /, "").replace(/^(["'])(.*)\1$/, "$2"))
  return { block, command }
}

const option = (command: ReadonlyArray<string>, name: string): string | undefined => (command.includes(name) ? command[command.indexOf(name) + 1] : undefined)

test("the reader is served as published: model, name, port, two cards, 85 % of their memory", () => {
  const { block, command } = service("reader")
  assert.equal(command.slice(0, 3), ["python3", "-m", "sglang.launch_server"])
  assert.is(option(command, "--model-path"), "Qwen/Qwen3-30B-A3B-Instruct-2507")
  assert.is(option(command, "--served-model-name"), "qwen3-30b")
  assert.is(option(command, "--port"), "29001")
  assert.is(option(command, "--tp"), "2")
  assert.is(Number(option(command, "--mem-fraction-static")), 0.85)
  assert.match(block, '"127.0.0.1:29001:29001"')
  assert.match(block, 'device_ids: ["0", "1"]')
})

test("the judge is served as published: model, name, port, four cards of its own, thinking off", () => {
  const { block, command } = service("judge")
  assert.is(option(command, "--model-path"), "Qwen/Qwen3-235B-A22B")
  assert.is(option(command, "--served-model-name"), "qwen3-235b")
  assert.is(option(command, "--port"), "29002")
  assert.is(option(command, "--tp"), "4")
  assert.equal(JSON.parse(option(command, "--default-chat-template-kwargs") ?? "{}"), { enable_thinking: false })
  assert.match(block, '"127.0.0.1:29002:29002"')
  assert.match(block, 'device_ids: ["2", "3", "4", "5"]')
})

test("the settings the compose file names point each role at a model and a port it serves", () => {
  const text = read("sglang.compose.yaml")
  const set = (name: string) => new RegExp(`${name}=(\\S+)`).exec(text)?.[1]
  for (const [role, container] of [["ANSWER", "reader"], ["EXTRACT", "reader"], ["REFLECT", "reader"], ["JUDGE", "judge"]] as const) {
    const { command } = service(container)
    assert.is(set(`METAMEM_${role}_URL`), `http://127.0.0.1:${option(command, "--port")}/v1`)
    assert.is(set(`METAMEM_${role}_MODEL`), option(command, "--served-model-name"))
  }
})

test("both nats-server configurations keep acknowledged commits on disk, allow commits of 8 MB, and leave room for the leases in memory", () => {
  const inMemory = streams(3).filter(({ storage }) => storage === StorageType.Memory).map(({ name }) => name)
  assert.equal(inMemory, ["LEASE"])
  for (const name of ["nats.conf", "nats-cluster.conf"]) {
    assert.match(read(name), /^ {2}sync_interval: always$/m, name)
    assert.match(read(name), /^max_payload: 8MB$/m, name)
    assert.match(read(name), /^ {2}max_memory_store: [1-9]\d*MB$/m, name)
  }
  assert.match(read("nats.conf"), /^listen: "127\.0\.0\.1:4222"$/m)
})

test("every file in the folder is explained in its README", () => {
  const readme = read("README.md")
  for (const name of ["setup.mjs", "setup-lib.mjs", "setup-parts.mjs", "setup-fetch.mjs", "nats.conf", "nats-cluster.conf", "sglang.compose.yaml", "env.example"]) {
    assert.ok(readme.includes(`\`${name}\``), name)
  }
})

test.run()
