/**
 * Golden files: what the code wrote once and must still write and read. A missing one is written with `METAMEM_GOLDEN=write`; one that
 * differs is never overwritten, since stored data has to stay readable: a change that is meant deletes the file first.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"

const folder = join(import.meta.dirname, "../golden")

const textOf = (value: unknown): string => (typeof value === "string" ? value : `${JSON.stringify(value, null, 2)}\n`)

/** Where the first difference is, with a little of both sides. */
const difference = (wanted: string, got: string): string => {
  let at = 0
  while (at < wanted.length && wanted[at] === got[at]) at++
  const around = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 30), at + 50))
  return `they differ at character ${at}: the file has …${around(wanted)}…, the code gives …${around(got)}…`
}

/**
 * Compares a value with its file, to the byte.
 *
 * @param name path below `test/golden`, with its ending
 * @param value text as it is, anything else as indented JSON
 * @throws Error when the file is missing or differs
 */
export const golden = (name: string, value: unknown): void => {
  const path = join(folder, name)
  const got = textOf(value)
  if (!existsSync(path)) {
    if (process.env["METAMEM_GOLDEN"] !== "write") throw new Error(`test/golden/${name} is missing: run this test once with METAMEM_GOLDEN=write and look at what it wrote`)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, got)
    return
  }
  const wanted = readFileSync(path, "utf8")
  if (wanted !== got) throw new Error(`test/golden/${name}: ${difference(wanted, got)}. If the change is meant, delete the file and write it anew; stored data needs a new version instead.`)
}

/** What stands in a golden JSON file, for tests that read old data. */
export const readGolden = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), "utf8"))
