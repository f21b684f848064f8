/**
 * The token classifier of LLMLingua-2, opened once for all that use it: pre-compression, and boundaries by attention. Its files stand in a
 * folder that is named, or are fetched from a model hub into the home.
 */
import { createHash } from "node:crypto"
import { basename, join } from "node:path"
import { Config, Context, Effect, Option, Result, type Scope } from "effect"
import { type ClassifierFailed, type OnnxClassifier, openClassifier } from "./construction/onnx-classifier.ts"
import { type FetchLimits, fetchFile, fetchLimits, parseFiles } from "./weights.ts"

export const settings = Config.all({
  /** Folder with `model.onnx` and `tokenizer.json` of the token classifier. */
  dir: Config.String("METAMEM_LLMLINGUA_DIR").pipe(Config.option),
  /** Address below which a model hub serves these files; fetched once into the home where no folder is named. */
  url: Config.String("METAMEM_LLMLINGUA_URL").pipe(Config.option),
  /** Paths below that address, each with `@` and its SHA-256 where it is to be checked. */
  files: Config.String("METAMEM_LLMLINGUA_FILES").pipe(Config.withDefault("model.onnx,tokenizer.json"))
})
export type ClassifierChoice = Config.Success<typeof settings>

/** Folder below which fetched models are kept; the home's, where a home is known. */
export const ModelFolder = Context.Reference<string>("metamem/compressor/ModelFolder", { defaultValue: () => join(".metamem", "models") })

/** Blank counts as not set. */
const given = (setting: Option.Option<string>): string | undefined => Option.getOrUndefined(Option.filter(setting, (text) => text.trim() !== ""))

/** Whether a classifier is named at all. */
export const isNamed = ({ dir, url }: ClassifierChoice): boolean => given(dir) !== undefined || given(url) !== undefined

/** The folder of the classifier's files, fetched where they are not there yet; the failure is what to say. */
const folderOf = Effect.fnUntraced(function*({ dir, files, url }: ClassifierChoice, limits: FetchLimits): Effect.fn.Return<string | undefined, { readonly message: string }> {
  const named = given(dir)
  if (named !== undefined) return named
  const base = given(url)?.replace(/\/+$/, "")
  if (base === undefined) return undefined
  const protocol = URL.parse(base)?.protocol
  if (protocol !== "http:" && protocol !== "https:") return yield* Effect.fail({ message: `METAMEM_LLMLINGUA_URL is "${base}", which is no address such as https://hub.example/org/model/resolve/main` })
  const wanted = parseFiles(files)
  if (Result.isFailure(wanted)) return yield* Effect.fail({ message: `METAMEM_LLMLINGUA_FILES: ${wanted.failure}` })
  // Another address, or other files of it, is another model.
  const folder = join(yield* ModelFolder, "llmlingua", createHash("sha256").update(`${base}\n${files}`).digest("hex").slice(0, 16))
  for (const { path, sha256 } of wanted.success) {
    const place = join(folder, basename(path))
    const { fetched, sha256: sum } = yield* fetchFile({ url: `${base}/${path.split("/").map(encodeURIComponent).join("/")}`, path: place, sha256 }, limits).pipe(
      Effect.mapError(({ message }) => ({ message: `${message}. See that the hub can be reached and that METAMEM_LLMLINGUA_URL and METAMEM_LLMLINGUA_FILES are right, or put the files into a folder and its path into METAMEM_LLMLINGUA_DIR` }))
    )
    if (fetched) yield* Effect.logInfo(`${basename(path)} of the token classifier was fetched into ${folder}; its SHA-256 is ${sum}${sha256 === undefined ? `, believed this first time: METAMEM_LLMLINGUA_FILES with ${path}@${sum} insists on it everywhere` : ", as it should be"}`)
  }
  return folder
})

/** Opens the classifier where one is named. One that cannot be used is said aloud and done without. */
export const openNamed = (choice: ClassifierChoice, limits: FetchLimits = fetchLimits): Effect.Effect<OnnxClassifier | undefined, never, Scope.Scope> =>
  Effect.gen(function*() {
    const folder = yield* folderOf(choice, limits)
    if (folder === undefined) return undefined
    return yield* Effect.acquireRelease(
      Effect.tryPromise({ try: () => openClassifier(folder), catch: (error) => error as ClassifierFailed }),
      (classifier) => Effect.promise(() => classifier.close())
    )
  }).pipe(Effect.catch(({ message }) => Effect.as(Effect.logWarning(`LLMLingua-2 cannot be used, and is done without: ${message}`), undefined)))
