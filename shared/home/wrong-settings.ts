/** What is wrong with settings, in words for whoever set them: which, to what, and what it takes. */
import { Config, ConfigProvider, Effect, Result, Schema, SchemaIssue } from "effect"

/** A setting that cannot be worked with. */
export class WrongSetting extends Schema.TaggedError<WrongSetting>()("WrongSetting", { setting: Schema.String, message: Schema.String }) {}

export type Environment = Readonly<Record<string, string | undefined>>

const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

/** Longest value that is shown whole; a longer one may be a key in the wrong place. */
const shownMax = 24
/** A value as it may be shown: no user and password of an address, and no more than the beginning of what may be a key. */
const shownValue = (value: string): string => {
  const at = value.lastIndexOf("@")
  const bare = at === -1 ? value : `…${value.slice(at)}`
  return bare.length <= shownMax ? bare : `${bare.slice(0, 8)}…`
}

/** Undefined where the error is of no single setting. */
const wrongSetting = ({ cause }: Config.ConfigError, environment: Environment): WrongSetting | undefined => {
  if (!Schema.isSchemaError(cause)) return undefined
  const issue = issuesOf(cause.issue).issues[0]
  const name = issue?.path?.map(String).join("_")
  if (issue === undefined || name === undefined) return undefined
  const told = issue.message.replace(/^Expected /, "")
  const takes = told.startsWith("\"") ? `one of ${told.replaceAll("\"", "").replaceAll(" | ", ", ")}` : told
  const value = environment[name]
  return new WrongSetting({ setting: name, message: `the setting ${name} is ${value === undefined ? "missing" : `"${shownValue(value)}"`}; it takes ${takes}` })
}

/** An error as a command or a process ends with it: one of a setting says what the setting takes. */
export const settingInWords = <E>(error: E, environment: Environment = process.env): Exclude<E, Config.ConfigError> | WrongSetting =>
  error instanceof Config.ConfigError ? wrongSetting(error, environment) ?? new WrongSetting({ setting: "", message: `the settings cannot be read: ${error.message}` }) : error as Exclude<E, Config.ConfigError>

/** Everything that is wrong with these settings, also where one module has several wrong ones. @returns in the order of `all`; `rest` is the environment without them */
export const wrongSettings = Effect.fnUntraced(function*(all: ReadonlyArray<Config.Config<unknown>>, environment: Environment = process.env) {
  const rest: Record<string, string> = Object.fromEntries(Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
  const wrong: Array<WrongSetting> = []
  for (const config of all) {
    // Each turn takes one name out of the environment.
    for (;;) {
      const read = yield* Effect.result(config.parse(ConfigProvider.fromEnv({ env: rest })))
      if (Result.isSuccess(read)) break
      const found = settingInWords(read.failure, rest)
      wrong.push(found)
      if (!(found.setting in rest)) break
      delete rest[found.setting]
    }
  }
  return { wrong, rest }
})
