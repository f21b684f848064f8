/** House rules that a machine can check, on every file of the repository. What is allowed against a rule stands here with its reason. */
import { spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, posix, relative } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"

const test = suite("house rules")
const root = join(import.meta.dirname, "..")

/** Tracked files; in an unpacked archive without a history, all but what is installed. */
const files: ReadonlyArray<string> = (() => {
  const listed = spawnSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8", maxBuffer: 64_000_000 })
  const tracked = listed.status === 0
    ? listed.stdout.split("\0").filter((path) => path !== "")
    : readdirSync(root, { recursive: true, encoding: "utf8" })
      .map((path) => relative(root, join(root, path)).replaceAll("\\", "/"))
      .filter((path) => !/(^|\/)(node_modules|\.metamem|\.scratch[^/]*|\.git)(\/|$)/.test(path))
  return tracked.filter((path) => existsSync(join(root, path)) && statSync(join(root, path)).isFile())
})()
const textOf = (path: string): string => readFileSync(join(root, path), "utf8")
const code = files.filter((path) => /\.(ts|mts|mjs)$/.test(path))
const self = "test/tidy.test.ts"

/** Fails with all findings at once, one a line. */
const none = (findings: ReadonlyArray<string>): void => {
  assert.equal(findings, [], `\n${findings.join("\n")}\n`)
}

/** Code without comments, so that prose may name what code may not do. */
const withoutComments = (text: string): string => text.replace(/\/\*[^]*?\*\//g, "").replace(/(^|[\s;{}(,])\/\/.*$/gm, "$1")

// Imports -------------------------------------------------------------------------------------------------------------------------------

const flow = ["ingestor", "compressor", "embedder", "retriever", "evaluator", "reflector"]
const faces = ["cli", "gateway", "client"]

/** Beyond the rule, each with its reason. */
const importsAllowed: ReadonlyArray<readonly [from: string, to: string]> = [
  // An actor's own process stands on the same layers as all of them together.
  ["services/process.ts", "services/all.ts"],
  // The settings of a run, pure, which the command line turns its flags into.
  ["services/cli/", "services/reflector/parameters.ts"],
  // What a run records, which the command line reads from the log.
  ["services/cli/", "services/reflector/run-events.ts"],
  // The answer of the reflector on evolution from live feedback.
  ["services/cli/", "services/reflector/online-protocol.ts"],
  // What its events say, pure, in words that the reflector logs and the command line prints.
  ["services/cli/", "services/reflector/online-words.ts"],
  // What the log says of a run, pure, which the command line prints.
  ["services/cli/", "services/reflector/analysis.ts"],
  // Whether a test was looked at or a what-if asked before, pure.
  ["services/cli/", "services/reflector/looks.ts"],
  ["services/cli/", "services/reflector/what-ifs.ts"],
  // The jobs of a run and what they are told, pure, which `verify` holds replies against.
  ["services/cli/", "services/reflector/stages.ts"],
  ["services/cli/", "services/reflector/job-data.ts"],
  // The benches measure the rules, the projection and the run's stages themselves.
  ["services/cli/bench/", "services/compressor/construction/"],
  ["services/cli/bench/", "services/retriever/"],
  ["services/cli/bench/", "services/reflector/"]
]

/** Specifiers of static and dynamic imports, and of modules started as workers or processes. */
const specifiersOf = (text: string): ReadonlyArray<string> =>
  [...withoutComments(text).matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\(\s*|\bnew URL\(\s*)(["'])([^"'\n]+)\1/g)].map((match) => match[2] ?? "")

/** The file of this repository that a specifier names; undefined for packages. */
const targetOf = (file: string, specifier: string): string | undefined => {
  if (specifier.startsWith("#")) return `${specifier.slice(1)}.ts`
  if (specifier.startsWith(".")) return posix.normalize(posix.join(dirname(file), specifier))
  return undefined
}

const mayImport = (from: string, to: string): boolean => {
  if (importsAllowed.some(([a, b]) => from.startsWith(a) && to.startsWith(b))) return true
  const [area = "", folder = ""] = from.split("/")
  const [toArea = "", toFolder = "", toFile = ""] = to.split("/")
  const own = toArea === area && toFolder === folder
  switch (area) {
    case "test":
      return true
    case "shared":
      return folder === "domain" ? own : toArea === "shared"
    case "services": {
      if (toArea === "shared" || own) return true
      if (toArea !== "services") return false
      if (from === "services/all.ts") return true
      if (flow.includes(folder)) {
        if (to === "services/process.ts") return from === `services/${folder}/main.ts`
        return toFile === "protocol.ts" && flow.indexOf(toFolder) < flow.indexOf(folder) && flow.includes(toFolder)
      }
      if (faces.includes(folder)) return to === "services/all.ts" || to === "services/process.ts" || toFile === "protocol.ts" || toFile === "behaviour.ts"
      return false
    }
    default:
      return own || toArea === area
  }
}

test("imports follow the rule of the layout, relative ones and dynamic ones too", () => {
  none(
    code.flatMap((file) =>
      specifiersOf(textOf(file)).flatMap((specifier) => {
        const to = targetOf(file, specifier)
        return to === undefined || mayImport(file, to) ? [] : [`${file} must not import ${to}`]
      })
    )
  )
})

test("the import rule refuses what it is there for", () => {
  for (
    const [from, to] of [
      ["shared/actor/entity.ts", "services/ingestor/protocol.ts"],
      ["shared/domain/turn.ts", "shared/eventlog/event.ts"],
      ["services/compressor/actor.ts", "services/embedder/protocol.ts"],
      ["services/compressor/actor.ts", "services/ingestor/behaviour.ts"],
      ["services/retriever/answering.ts", "services/process.ts"],
      ["services/cli/memory.ts", "services/ingestor/actor.ts"],
      ["services/localmodel/chat.ts", "services/ingestor/protocol.ts"],
      ["deploy/setup.mjs", "shared/home/server.ts"],
      ["shared/model/models.ts", "test/support/effect.ts"]
    ] as const
  ) assert.not.ok(mayImport(from, to), `${from} → ${to}`)
  assert.equal(specifiersOf(`import { a } from "#shared/a"\nconst b = await import("../b.ts") // from "c"\nnew URL("./w.ts", import.meta.url)`), ["#shared/a", "../b.ts", "./w.ts"])
  assert.is(targetOf("services/cli/main.ts", "../all.ts"), "services/all.ts")
})

test("what is imported exists, and dynamic imports name their module", () => {
  none(
    code.filter((file) => file !== self).flatMap((file) => [
      ...specifiersOf(textOf(file)).flatMap((specifier) => {
        const to = targetOf(file, specifier)
        return to === undefined || existsSync(join(root, to)) ? [] : [`${file} names ${specifier}, which does not exist`]
      }),
      ...(!file.startsWith("test/") && /\bimport\(\s*[^"'\s]/.test(withoutComments(textOf(file))) ? [`${file} imports a module it does not name`] : [])
    ])
  )
})

test("no file passes on what another defines", () => {
  none(code.filter((file) => file !== self && (/^export\s+(\*|\{[^}]*\})\s+from\b/m.test(withoutComments(textOf(file))) || /(^|\/)index\.ts$/.test(file))))
})

// Files ---------------------------------------------------------------------------------------------------------------------------------

test("files have at most 500 lines and begin by saying what they are for", () => {
  none([
    ...code.flatMap((file) => {
      const count = textOf(file).split("\n").length - 1
      return count > 500 ? [`${file} has ${count} lines`] : []
    }),
    ...code.filter((file) => /^(services|shared|deploy)\//.test(file) && !/^(#!.*\n)?(\/\*\*|\/\/)/.test(textOf(file))).map((file) => `${file} has no header`)
  ])
})

test("lines of code have at most 300 characters", () => {
  none(code.flatMap((file) => textOf(file).split("\n").flatMap((line, i) => (line.length > 300 ? [`${file}:${i + 1} has ${line.length} characters`] : []))))
})

test("the top level holds what the layout names", () => {
  const named = [".ci", ".gitignore", ".npmrc", "CHANGELOG.md", "LICENSE", "README.md", "data", "deploy", "package-lock.json", "package.json", "services", "shared", "test", "tsconfig.json"]
  none([...new Set(files.map((file) => file.split("/")[0] ?? ""))].filter((name) => !named.includes(name)))
})

test("every actor has its four files", () => {
  none(
    flow.filter((actor) => files.some((file) => file.startsWith(`services/${actor}/`))).flatMap((actor) =>
      ["protocol.ts", "behaviour.ts", "actor.ts", "main.ts"].map((name) => `services/${actor}/${name}`).filter((file) => !files.includes(file))
    )
  )
})

test("every test file runs its suite as its last line", () => {
  none(files.filter((file) => file.endsWith(".test.ts") && !/\.run\(\)$/.test(textOf(file).trimEnd())))
})

test("every decision record has its number and its four sections", () => {
  const records = files.filter((file) => /^shared\/decisions\/.*\.md$/.test(file)).sort()
  assert.ok(records.length > 0)
  none(
    records.flatMap((file, i) => {
      const text = textOf(file)
      const number = i + 1
      return [
        ...(file.startsWith(`shared/decisions/${String(number).padStart(4, "0")}-`) && text.startsWith(`# ${number}. `) ? [] : [`${file} is not number ${number}`]),
        ...["Context", "Options", "Decision", "What it costs"].filter((title) => !text.includes(`\n## ${title}\n`)).map((title) => `${file} lacks "${title}"`)
      ]
    })
  )
})

// Words ---------------------------------------------------------------------------------------------------------------------------------

const undecided = /\bDate\.now\b|\bMath\.random\b|\bnew Date\(\)|\bperformance\.now\b|\brandomUUID\b|\brandomBytes\b|\bfetch\(|\bsetTimeout\b/
const words = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].join("|")})\\b`)
const paths = /(?<![\w.~:/<-])\/(?:work|root|tmp|home\/[a-z]\w*|Users\/\w+)\/[\w.-]/
const hosts = new RegExp(["registry\\.npm", "npmjs\\.(com|org)", "pypi\\.org", "pythonhosted", "proxy\\.golang", "artifactory", "jfrog"].join("|"))

test("the searches find what they are for", () => {
  assert.ok(["Date.now()", "Math.random()", "new Date()", "fetch(url)"].every((text) => undecided.test(text)))
  assert.not.ok(undecided.test("new Date(turn.time)"))
  assert.ok(["TO" + "DO: later", "// FIX" + "ME"].every((text) => words.test(text)))
  assert.ok(["see /tmp/x", "\"/root/.cache\"", "/home/somebody/a"].every((text) => paths.test(text)))
  assert.not.ok(["./tmp/x", "#shared/home/server", "https://a.b/tmp/x", "cache:/root/.cache"].some((text) => paths.test(text)))
  assert.ok(hosts.test("https://registry." + "npmjs.org/x"))
  assert.is(withoutComments("a // b\n/* c */ d").trim(), "a \n d")
})

test("what decides reads no clock, no chance, no network", () => {
  none(code.filter((file) => /^services\/[^/]+\/behaviour\.ts$|^shared\/(metamemory|domain)\//.test(file) && undecided.test(withoutComments(textOf(file)))))
})

test("dates in text are found in one place, which no zone of a machine changes", () => {
  none(code.filter((file) => !["shared/domain/dates-in-text.ts", self].includes(file) && textOf(file).includes('"chrono-node"')))
})

test("only settings read the environment", () => {
  const allowed = [
    // The PATH, to find a server's binary; the home's settings.
    "shared/home/",
    // A switch of LanceDB that has to be set before the library is loaded.
    "shared/memoryindex/lancedb-slot.ts",
    "services/cli/index-commands.ts",
    // Plain JavaScript that runs before anything is installed.
    "deploy/",
    "test/"
  ]
  none(code.filter((file) => !allowed.some((one) => file.startsWith(one)) && /\bprocess\.env\b/.test(withoutComments(textOf(file)))))
})

test("no connection goes without its certificate being checked", () => {
  none(code.filter((file) => file !== self && /rejectUnauthorized|NODE_TLS_REJECT|checkServerIdentity/.test(textOf(file))))
})

test("nothing is left to do later", () => {
  none(files.filter((file) => file !== "package-lock.json" && words.test(textOf(file))))
})

test("no file names a machine's paths or a registry", () => {
  const allowed: ReadonlyArray<readonly [file: string, text: RegExp]> = [
    // A made-up path in messages.
    ["test/deploy/setup.test.ts", /\/home\/x/g]
  ]
  none(
    files.filter((file) => file !== self).flatMap((file) => {
      const excused = allowed.filter(([one]) => one === file)
      return excused.reduce((text, [, excuse]) => text.replace(excuse, ""), textOf(file)).split("\n").flatMap((line, i) =>
        paths.test(line) || hosts.test(line) ? [`${file}:${i + 1}: ${line.trim().slice(0, 120)}`] : []
      )
    })
  )
})

test("dependencies are named by exact version", () => {
  const manifest = JSON.parse(textOf("package.json")) as { dependencies: Record<string, string>; devDependencies: Record<string, string> }
  // Types only: the lockfile pins them.
  const allowed = ["@types/node"]
  none(
    Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
      .filter(([name, version]) => !allowed.includes(name) && !/^(npm:[@a-z0-9/-]+@)?\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
      .map(([name, version]) => `${name} ${version}`)
  )
})

test.run()
