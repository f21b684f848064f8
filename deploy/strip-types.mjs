/** Loads this package's TypeScript below `node_modules`, where Node refuses to strip types by itself. Preloaded by `metamem.mjs`. */
import { readFileSync } from "node:fs"
import { registerHooks, stripTypeScriptTypes } from "node:module"
import { dirname } from "node:path"
import { pathToFileURL } from "node:url"

const root = `${pathToFileURL(dirname(import.meta.dirname))}/`

registerHooks({
  load: (url, context, next) =>
    url.startsWith(root) && url.endsWith(".ts") ? { format: "module", shortCircuit: true, source: stripTypeScriptTypes(readFileSync(new URL(url), "utf8")) } : next(url, context)
})
