/**
 * The roles a language model plays, and the settings that say which endpoint plays each. A role without a setting of its own
 * follows another role, and at last `LLM`. Nothing else reads these names from the environment.
 */
import { Config, type Redacted, Schema } from "effect"
import { numberThat, Positive } from "#shared/home/setting-values"

export const roles = ["extract", "reconcile", "answer", "judge", "reflect", "propose", "consolidate"] as const
export const Role = Schema.Literals(roles)
export type Role = typeof Role.Type

/** Who a role follows before `LLM`. */
export const follows: Readonly<Partial<Record<Role, Role>>> = { reconcile: "extract", propose: "reflect", consolidate: "reflect" }

/** One model behind one or more addresses, as a role uses it. */
export interface RoleSettings {
  readonly role: Role
  /** Base addresses of replicas that serve the same model; empty = no endpoint was set for this role. */
  readonly urls: ReadonlyArray<string>
  /** Name of the setting they were set with; the role's own where there is none. */
  readonly urlSetting: string
  /** Undefined = the first model the endpoint lists. */
  readonly model: string | undefined
  readonly key: Redacted.Redacted<string> | undefined
  /** Most requests in flight from this process. */
  readonly concurrency: number
  /** Limit for one request, in milliseconds. */
  readonly timeoutMs: number
  /** Most tokens of a reply, where a request does not say. */
  readonly maxTokens: number
  /** Most requests sent for one call because of passing failures. */
  readonly tries: number
  /** Money for a million tokens, in and out; the currency is the reader's. */
  readonly price: { readonly in: number; readonly out: number }
}

const maxTokens: Readonly<Record<Role, number>> = {
  extract: 4_096,
  reconcile: 512,
  answer: 1_024,
  judge: 512,
  reflect: 1_024,
  propose: 2_048,
  consolidate: 4_096
}

const suffixes = {
  URL: { unit: "addresses, comma-separated", default: "", meaning: "replicas of an OpenAI-compatible endpoint" },
  MODEL: { unit: "name", default: "", meaning: "model at that endpoint; empty = the first it lists" },
  KEY: { unit: "secret", default: "", meaning: "bearer token of that endpoint" },
  CONCURRENCY: { unit: "requests", default: "32", meaning: "most in flight from one process; lowered by itself when the endpoint is overloaded" },
  TIMEOUT_MS: { unit: "milliseconds", default: "120000", meaning: "limit for one request" },
  MAX_TOKENS: { unit: "tokens", default: "", meaning: "most tokens of a reply" },
  TRIES: { unit: "requests", default: "5", meaning: "most sent for one call because of passing failures" },
  PRICE_IN: { unit: "per million tokens", default: "0", meaning: "price of tokens sent" },
  PRICE_OUT: { unit: "per million tokens", default: "0", meaning: "price of tokens received" }
} as const

type Suffix = keyof typeof suffixes
const levels = [...roles.map((role) => role.toUpperCase()), "LLM"]

/** Every setting of this module, for documentation: name, unit, default (empty = none) and meaning. */
export const settingList: ReadonlyArray<{ readonly name: string; readonly unit: string; readonly default: string; readonly meaning: string }> = levels.flatMap((level) =>
  Object.entries(suffixes).map(([suffix, about]) => ({
    name: `METAMEM_${level}_${suffix}`,
    ...about,
    default: suffix === "MAX_TOKENS" && level !== "LLM" ? String(maxTokens[level.toLowerCase() as Role]) : about.default
  }))
)

/** Blank counts as not set, as lines such as `NAME=` in an environment file mean it. */
const ifSet = <A>(name: string, read: (name: string) => Config.Config<A>): Config.Config<A | undefined> =>
  Config.flatMap(Config.withDefault(Config.String(name), ""), (text): Config.Config<A | undefined> => (text.trim() === "" ? Config.succeed(undefined) : read(name)))

const isAddress = (text: string): boolean => {
  const url = URL.parse(text)
  return url !== null && (url.protocol === "http:" || url.protocol === "https:") && url.username === "" && url.password === ""
}
const Addresses = Schema.String.check(
  Schema.makeFilter((text) =>
    text.split(",").every((part) => isAddress(part.trim())) ? undefined : "addresses like http://host:port/v1, separated by commas, without a user or password in them; a key goes into …_KEY"
  )
)
const Price = numberThat((value) => value >= 0 && value < Infinity, "a number of at least 0")

/** An address without a path means the usual `/v1`; no slash at the end. */
const baseUrl = (text: string): string => {
  const url = new URL(text.trim())
  if (url.pathname === "/" || url.pathname === "") url.pathname = "/v1"
  return url.toString().replace(/\/+$/, "")
}

const count = (name: string) => ifSet(name, (name) => Config.schema(Positive, name))
const price = (name: string) => ifSet(name, (name) => Config.schema(Price, name))

const levelSettings = (level: string) => {
  const name = (suffix: Suffix) => `METAMEM_${level}_${suffix}`
  return Config.all({
    urls: ifSet(name("URL"), (name) => Config.map(Config.schema(Addresses, name), (text) => text.split(",").map(baseUrl))),
    model: ifSet(name("MODEL"), Config.String),
    key: ifSet(name("KEY"), Config.Redacted),
    concurrency: count(name("CONCURRENCY")),
    timeoutMs: count(name("TIMEOUT_MS")),
    maxTokens: count(name("MAX_TOKENS")),
    tries: count(name("TRIES")),
    priceIn: price(name("PRICE_IN")),
    priceOut: price(name("PRICE_OUT"))
  })
}
type Level = Config.Success<ReturnType<typeof levelSettings>>

const chainOf = (role: Role): ReadonlyArray<string> => {
  const followed = follows[role]
  return [role.toUpperCase(), ...(followed === undefined ? [] : [followed.toUpperCase()]), "LLM"]
}

/**
 * What holds for one role. Model, key and price are taken no further along the chain than the address, so that a key never travels
 * to an endpoint it was not set for; limits are taken from the whole chain.
 */
const resolve = (role: Role, all: Readonly<Record<string, Level>>): RoleSettings => {
  const levels = chainOf(role)
  const chain = levels.map((level) => all[level]!)
  const at = chain.findIndex(({ urls }) => urls !== undefined)
  const near = at === -1 ? chain : chain.slice(0, at + 1)
  const first = <A>(of: ReadonlyArray<Level>, get: (level: Level) => A | undefined): A | undefined => of.map(get).find((value) => value !== undefined)
  return {
    role,
    urls: chain[at]?.urls ?? [],
    urlSetting: `METAMEM_${levels[at] ?? role.toUpperCase()}_URL`,
    model: first(near, ({ model }) => model),
    key: first(near, ({ key }) => key),
    concurrency: first(chain, ({ concurrency }) => concurrency) ?? Number(suffixes.CONCURRENCY.default),
    timeoutMs: first(chain, ({ timeoutMs }) => timeoutMs) ?? Number(suffixes.TIMEOUT_MS.default),
    maxTokens: first(chain, ({ maxTokens }) => maxTokens) ?? maxTokens[role],
    tries: first(chain, ({ tries }) => tries) ?? Number(suffixes.TRIES.default),
    price: { in: first(near, ({ priceIn }) => priceIn) ?? 0, out: first(near, ({ priceOut }) => priceOut) ?? 0 }
  }
}

/** Settings of every role. */
export const settings: Config.Config<Readonly<Record<Role, RoleSettings>>> = Config.map(
  Config.all(Object.fromEntries(levels.map((level) => [level, levelSettings(level)]))),
  (all) => Object.fromEntries(roles.map((role) => [role, resolve(role, all)])) as Record<Role, RoleSettings>
)

/** Setting that a message should name: the role's own. */
export const settingOf = (role: Role, suffix: Suffix): string => `METAMEM_${role.toUpperCase()}_${suffix}`
