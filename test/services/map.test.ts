/** The maps in `services/README.md` and `shared/README.md` name what is there: every folder, and the events each actor records. */
import { Schema } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { IngestRequest } from "#services/ingestor/protocol"
import { AskRequest } from "#services/retriever/protocol"

const test = suite("maps of the folders")
const root = join(import.meta.dirname, "../..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")
const foldersOf = (path: string): ReadonlyArray<string> => readdirSync(join(root, path), { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name)

/** Cells of a row of the first table whose header begins so. */
const rowsOf = (text: string, header: string): ReadonlyArray<ReadonlyArray<string>> =>
  (text.split(`\n| ${header} |`)[1] ?? "").split("\n\n")[0]!.split("\n").slice(2).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()))

const map = read("services/README.md")
const actors = rowsOf(map, "actor").map(([name = "", wakes = "", records = "", algorithm = ""]) => ({ name: /\[(\w+)\]/.exec(name)?.[1] ?? "", wakes, records, algorithm }))
const definedIn = (path: string): ReadonlyArray<string> => [...read(path).matchAll(/defineEvent\("(\w+)"/g)].map(([, name = ""]) => name)
const namesIn = (cell: string): ReadonlyArray<string> => [...cell.matchAll(/`([A-Z]\w+)`/g)].map(([, name = ""]) => name)

test("every actor names the events it records, and no other", () => {
  const own: Readonly<Record<string, ReadonlyArray<string>>> = {
    ingestor: definedIn("services/ingestor/protocol.ts"),
    compressor: definedIn("services/compressor/protocol.ts"),
    embedder: definedIn("services/embedder/protocol.ts"),
    retriever: definedIn("services/retriever/protocol.ts"),
    evaluator: definedIn("shared/metamemory/questions.ts"),
    // The rest of a run's events is "everything of a run".
    reflector: [...definedIn("shared/metamemory/events.ts"), ...definedIn("services/reflector/online-protocol.ts")]
  }
  assert.equal(actors.map(({ name }) => name), Object.keys(own))
  for (const { name, records } of actors) assert.equal([...namesIn(records)].sort(), [...(own[name] ?? [])].sort(), name)
})

test("folders named in the map exist, where it says", () => {
  for (const { algorithm, name } of actors) {
    for (const [, shared, folder = ""] of algorithm.matchAll(/`(#)?([\w/-]+?)\/?`/g)) {
      const path = shared === undefined ? `services/${name}/${folder}` : folder
      assert.ok([path, `${path}.ts`].some((one) => readdirSync(join(root, one, "..")).includes(one.split("/").at(-1) ?? "")), `${name}: ${path}`)
    }
  }
  for (const folder of foldersOf("services")) assert.ok(map.includes(`[${folder}](${folder})`) || map.includes(`\`${folder}/\``), folder)
})

test("the requests shown are ones the actors take", () => {
  const shown = new Map([...map.matchAll(/nats req .*?request\.(\S+) '(.*)'$/gm)].map(([, subject = "", body = ""]) => [subject, JSON.parse(body) as unknown] as const))
  const takers = { "ingestor.receive": Schema.decodeUnknownSync(IngestRequest), "retriever.ask": Schema.decodeUnknownSync(AskRequest) }
  assert.equal([...shown.keys()], Object.keys(takers))
  for (const [subject, take] of Object.entries(takers)) take(shown.get(subject))
})

test("every folder of shared/ is in its map", () =>
  assert.equal(rowsOf(read("shared/README.md"), "folder").map(([cell = ""]) => cell.replaceAll(/[`/]/g, "")).sort(), [...foldersOf("shared")].sort()))

test.run()
