/**
 * A world in which principles help, harm or do nothing, so that what a run has learnt can be told exactly. Questions are of six classes and
 * of very different difficulty; rules act on one class or on all when one of their three wordings is shown. Which text is which rule is
 * drawn by seed, so that nothing can be guessed from the words.
 */
import type { SingleOperation } from "#shared/domain/principle"
import type { PrincipleScope } from "#shared/domain/scope"
import { stream } from "#shared/metamemory/random"
import { inScope, routedClasses } from "#shared/metamemory/router"

export const kinds = ["friendly", "hostile", "null", "shifted", "random-judge"] as const
export type Kind = (typeof kinds)[number]
type Class = (typeof routedClasses)[number]

export interface WorldQuestion {
  readonly id: string
  readonly type: Class
  readonly abstention: boolean
  readonly cluster: string
  /** Log-odds of a right answer without any principle. */
  readonly ease: number
}

interface Rule {
  readonly number: number
  /** On its class; on every question; on abstention questions; on none. */
  readonly acts: "helps" | "harms" | "harms all" | "helps abstention" | "harms abstention" | "nothing"
  readonly type: Class | undefined
  readonly wordings: readonly [string, string, string]
  /** Acts only beside this rule; not beside those. */
  needs: number | undefined
  readonly against: Set<number>
}

/** Shares of lessons that name a rule that helps, and one that harms; share of verdicts that are wrong. */
const mixes: Readonly<Record<Kind, { readonly helps: number; readonly harms: number; readonly misjudged: number }>> = {
  friendly: { helps: 0.3, harms: 0.3, misjudged: 0.05 },
  hostile: { helps: 0.2, harms: 0.6, misjudged: 0.05 },
  null: { helps: 0, harms: 0.3, misjudged: 0.05 },
  shifted: { helps: 0.3, harms: 0.3, misjudged: 0.05 },
  "random-judge": { helps: 0.3, harms: 0.3, misjudged: 0.5 }
}
/** Mean ease of each class, in the order of the router's. */
const meanEase = [2.4, 2.4, 0.9, 0.9, 0.4, 2.4]
/** How often each class is asked in the test part of the shifted world. */
const shiftedMix = [1, 1, 2, 4, 4, 2]
const effects = { helps: 1.3, harms: -1.6, "harms all": -0.45, "helps abstention": 1.3, "harms abstention": -3, nothing: 0 } as const
/** Sentences a reader takes in without losing sight of any, and what each further one costs. */
const freeSentences = 12
const crowding = 0.05

/** A fast hash of named parts to [0, 1). */
export const draw = (...parts: ReadonlyArray<string | number>): number => {
  let [a, b] = [0xdeadbeef, 0x41c6ce57]
  for (const byte of Buffer.from(parts.join("\u001f"))) {
    a = Math.imul(a ^ byte, 2654435761)
    b = Math.imul(b ^ byte, 1597334677)
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909)
  return (a >>> 0) / 4294967296
}
const normal = (...parts: ReadonlyArray<string | number>): number => Math.sqrt(-2 * Math.log(draw(...parts, "radius") + 1e-12)) * Math.cos(2 * Math.PI * draw(...parts, "angle"))
const picked = <A>(list: ReadonlyArray<A>, ...parts: ReadonlyArray<string | number>): A => {
  const found = list[Math.floor(draw(...parts) * list.length)]
  if (found === undefined) throw new RangeError("nothing to pick from")
  return found
}

type Shown = ReadonlyArray<{ readonly text: string; readonly scope: PrincipleScope }>

export const makeWorld = (seed: number, kind: Kind) => {
  const mix = mixes[kind]
  const random = stream("rules", seed)
  const mixed = <A>(list: ReadonlyArray<A>): Array<A> => list.map((item) => [random(), item] as const).sort(([a], [b]) => a - b).map(([, item]) => item)

  const rules: Array<Rule> = []
  const word = (): string => Array.from({ length: 3 }, () => `${"bdfgklmnprstvz"[Math.floor(random() * 14)]}${"aeiou"[Math.floor(random() * 5)]}`).join("")
  const add = (acts: Rule["acts"], type?: Class): Rule => {
    const [when, what] = [[word(), word(), word()].join(" "), [word(), word(), word(), word()].join(" ")]
    const rule: Rule = { number: rules.length, acts, type, wordings: [`When ${when}, ${what}.`, `Always ${what} whenever ${when}.`, `If ${when}, it is best to ${what}.`], needs: undefined, against: new Set() }
    rules.push(rule)
    return rule
  }
  const good = new Map<Class, ReadonlyArray<Rule>>()
  for (const type of routedClasses) good.set(type, mixed(["helps", "helps", "harms", "nothing", "nothing"] as const).map((acts) => add(acts, type)).filter(({ acts }) => acts === "helps"))
  const of = (at: number, which: 0 | 1): Rule => good.get(order[at % 6] as Class)?.[which] as Rule
  const order = mixed(routedClasses)
  // Three act only beside another, the third beside one of another class; two pairs of different classes cancel each other.
  of(0, 1).needs = of(0, 0).number
  of(1, 1).needs = of(1, 0).number
  of(2, 1).needs = of(3, 0).number
  for (const [a, b] of [[of(3, 1), of(4, 0)], [of(4, 1), of(5, 0)]] as const) {
    a.against.add(b.number)
    b.against.add(a.number)
  }
  for (let i = 0; i < 5; i++) add("harms all")
  for (let i = 0; i < 66; i++) add("nothing")
  add("helps abstention")
  add("harms abstention")
  const ruleOf = new Map(rules.flatMap((rule) => rule.wordings.map((text) => [text, rule] as const)))
  const acting = (acts: Rule["acts"], type?: Class): ReadonlyArray<Rule> => rules.filter((rule) => rule.acts === acts && (type === undefined || rule.type === type))

  /** Four questions share a cluster, and .3 of how easy they are. */
  const questions = (part: "train" | "held" | "test", count: number): ReadonlyArray<WorldQuestion> =>
    Array.from({ length: count }, (_, at): WorldQuestion => {
      const isShifted = kind === "shifted" && part === "test"
      const wheel = isShifted ? shiftedMix.flatMap((times, of) => Array<number>(times).fill(of)) : [0, 1, 2, 3, 4, 5]
      const type = isShifted ? picked(wheel, seed, part, at, "type") : at % 6
      const cluster = `${part}-${Math.floor(at / 4)}`
      const spread = 3 * (Math.sqrt(0.3) * normal(seed, cluster) + Math.sqrt(0.7) * normal(seed, part, at))
      return { id: `${part}${at}`, type: routedClasses[type] as Class, abstention: draw(seed, part, at, "abstention") < 0.06, cluster, ease: (meanEase[type] ?? 0) - (isShifted ? 0.5 : 0) + spread }
    })
  const parts = { train: questions("train", 350), held: questions("held", 220), test: questions("test", 200) }
  const byId = new Map([...parts.train, ...parts.held, ...parts.test].map((question) => [question.id, question]))

  const chance = (question: WorldQuestion, texts: ReadonlyArray<string>): number => {
    const present = new Set(texts.flatMap((text) => ruleOf.get(text) ?? []))
    const has = (number: number): boolean => [...present].some((rule) => rule.number === number)
    let odds = question.ease - crowding * Math.max(0, new Set(texts).size - freeSentences)
    for (const { acts, against, needs, number, type } of present) {
      const bears = acts.includes("abstention") ? question.abstention : type === undefined || type === question.type
      if (bears && (needs === undefined || has(needs)) && ![...against].some(has)) odds += effects[acts]
      odds += 0.25 * normal(seed, question.id, "rule", number)
    }
    if (present.size > 0) odds += 0.35 * normal(seed, question.id, "set", ...[...present].map(({ number }) => number).sort((a, b) => a - b))
    return 1 / (1 + Math.exp(-odds))
  }
  const shownTo = (question: WorldQuestion, principles: Shown): ReadonlyArray<string> => principles.filter((principle) => inScope(principle, question.type)).map(({ text }) => text)
  const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / values.length

  /** What a lesson from an attempt at a question says: a rule, for another class one time in four. */
  const lesson = (question: WorldQuestion, ...key: ReadonlyArray<string | number>): string => {
    const at = [seed, kind, question.id, ...key]
    const [which, how] = [draw(...at, "which"), draw(...at, "how")]
    const type = draw(...at, "mistaken") < 0.25 ? picked(routedClasses.filter((other) => other !== question.type), ...at, "other") : question.type
    const pool = which < mix.helps
      ? question.abstention && how < 0.5 ? acting("helps abstention") : acting("helps", type)
      : which < mix.helps + mix.harms
        ? question.abstention && how < 0.3 ? acting("harms abstention") : how < 0.5 ? acting("harms", type) : [...acting("harms all"), ...acting("harms abstention")]
        : how < 0.3 ? acting("nothing", type) : acting("nothing").filter((rule) => rule.type === undefined)
    return picked(picked(pool, ...at, "rule").wordings, ...at, "wording")
  }

  return {
    ...parts,
    question: (id: string): WorldQuestion => byId.get(id) as WorldQuestion,
    lesson,
    /** How an attempt is judged. The same key is the same attempt. */
    isJudgedRight: (question: WorldQuestion, texts: ReadonlyArray<string>, ...key: ReadonlyArray<string | number>): boolean => {
      const at = [seed, question.id, ...key, ...texts]
      return (draw(...at, "answer") < chance(question, texts)) !== (draw(...at, "judge") < mix.misjudged)
    },
    shownTo,
    /** Chance of a right answer over the test questions. */
    accuracy: (principles: Shown): number => mean(parts.test.map((question) => chance(question, shownTo(question, principles)))),
    /** The same under the best list for each class. */
    optimum: (): number => {
      const best = parts.test.map((question) => question.type).filter((type, at, all) => all.indexOf(type) === at).map((type) => {
        const own = parts.test.filter((question) => question.type === type)
        const useful = [...new Set([...acting("helps", type).flatMap(({ needs, number }) => (needs === undefined ? [number] : [number, needs])), ...acting("helps abstention").map(({ number }) => number)])]
        const sums = Array.from({ length: 2 ** useful.length }, (_, subset) => {
          const texts = useful.filter((_, bit) => (subset >> bit) % 2 === 1).map((number) => rules[number]?.wordings[0] ?? "")
          return own.reduce((sum, question) => sum + chance(question, texts), 0)
        })
        return Math.max(...sums)
      })
      return best.reduce((sum, value) => sum + value, 0) / parts.test.length
    },
    /** One or two operations from the lessons of a question; what is known already is mostly left alone. */
    propose: (question: WorldQuestion, lessons: ReadonlyArray<string>, known: ReadonlyArray<{ readonly id: string; readonly text: string }>, ...key: ReadonlyArray<string | number>): ReadonlyArray<SingleOperation> => {
      const at = [seed, question.id, ...key]
      const familiar = new Set(known.map(({ text }) => ruleOf.get(text)))
      const news = lessons.filter((text) => !familiar.has(ruleOf.get(text)))
      const from = news.length > 0 ? news : lessons
      return Array.from({ length: draw(...at, "two") < 0.35 ? 2 : 1 }, (_, n): SingleOperation => {
        const text = picked(from, ...at, n, "lesson")
        const rule = ruleOf.get(text)
        const content = rule !== undefined && draw(...at, n, "reword") < 0.3 ? picked(rule.wordings, ...at, n, "wording") : text
        const scope = draw(...at, n, "scope") < 0.15 ? "all" : question.type
        const [id, kind] = [known.length === 0 ? undefined : picked(known, ...at, n, "id").id, draw(...at, n, "kind")]
        if (id !== undefined && kind < 0.04) return { operation: "delete", id }
        return id !== undefined && kind < 0.12 ? { operation: "update", id, content, scope } : { operation: "add", content, scope }
      })
    }
  }
}
export type World = ReturnType<typeof makeWorld>
