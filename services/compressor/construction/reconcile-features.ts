/**
 * What can be told about two statements of one user without understanding them: which words, names and numbers they share, where they
 * differ, and the small words that announce a change, an addition or an exception. The evidence that `reconcile-rules.ts` weighs.
 */
import { createRequire } from "node:module"
import { pattern } from "#shared/domain/pattern"

// The package is CommonJS without types.
const stem = createRequire(import.meta.url)("wink-porter2-stemmer") as (word: string) => string

const numbers = new Map<string, string>(
  [
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty",
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
  ].flatMap((line) => line.split(" ").map((word, i): [string, string] => [word, String(i)]))
)
const empty = new Set(
  ("a an the of to in on at for with by from as into onto upon about and or but if because so that this these those which who whom whose it its i me my mine we us our ours you your he him his she her hers they them their user " +
    "is are was were be been being am do does did has have had will would can could should may might must shall here there then than up out over off just very really quite please " +
    "think thinks thinking thought plan plans planning look looks looking try trying start starting get gets getting got go going make making need needs want wants feel feels consider considering find finding good great actually also " +
    "definitely heard using recently lately sometime option options idea while more most some any other others able sure lot new way thing things something").split(" ")
)
const weekdays = /^(?:mon|tues|wednes|thurs|fri|satur|sun)days?$/
const months = /^(?:january|february|march|april|may|june|july|august|september|october|november|december|spring|summer|autumn|winter|weekdays?|weekends?)$/

const changeCue = pattern("i")`
  \b(?:no longer|not any ?more|any ?more|instead|now|moved|moving|changed|switched|replaced|cancel(?:led|ed)|called off|sold|stole|stolen|stopped|quit
  |gave up|given up|gave .{1,30} back|get back|is back|are over|is over|has gone|has closed|used up|paid .{0,30} back|retired|started|starting
  |from today|since the|put off|postponed|timetable|mistyped|had it wrong|by mistake|wrong|never|without them|only .{1,30} left|installed|new|flooded
  |ill|know about|transferred|went on|again)\b
`
const endedCue = /\b(?:no longer|any ?more|used to|gave up|given up|stopped|was|were|had|sold|cancelled|ended|last (?:year|summer|winter)|in (?:19|20)\d\d|before the)\b/i
const additionCue = /\b(?:also|too|as well|another|in addition|besides|again|further|each further|both)\b/i
const exceptionCue = /\b(?:today|this time|for the week|on (?:friday|monday|tuesday|wednesday|thursday|saturday|sunday) i|stood in|all afternoon|because of the|because of a|once|until)\b/i
const correctionCue = /\b(?:mistyped|had it wrong|i was wrong|correction|i meant|meant to say|actually|in fact|rather|never was|it was never)\b/i
const negation = /\b(?:not|no|never|none|nobody|nothing|neither|nor|cannot|can't|won't|don't|doesn't|didn't|isn't|aren't|wasn't|weren't|haven't|hasn't|hadn't|without|stopped|gave up|given up)\b/i
const eventVerb = pattern("i")`
  \b(?:bought|paid|sold|ran|visited|went|walked|drove|got|read|sent|beat|broke|took|had|lost|saw|met|made|attended|watched|was repaired|were|promised
  |cancelled|changed|gave|won|repaired|flew|wrote|told|came|ate|slept)\b
`
const openVerb = pattern("i")`
  \b(?:likes?|loves?|hates?|enjoys?|wants?|wish(?:es)?|would like|i'd like|promised|bought|speaks?|visited|learning|good at|good|eat|afraid|own
  |(?:have|has) an?|bringing|takes tablets|takes drops|allergic|thinks?|thinking|planning|looking (?:for|to|into)|trying|considering|excited|hoping
  |heard|interested|needs?|going to|(?:i|we|they|user|i'll|we'll) will|feels?|enjoying|has been|have been|plays? (?:football|tennis)|gave up|cancelled
  |plans?)\b
`
const stateVerb = pattern("i")`
  \b(?:is|are|am|lives?|works?|costs?|uses?|use|rent|keeps?|keep|goes|takes?|take|sleeps?|trains?|leaves|lands|arrives|close|closes|belongs|weighs?
  |favourite|charging|reading|studying|insured|led|prefers?|plays?|drink|has|have|owe|teaches|stays?|starts?|opens?|runs?)\b
`
const kin = new Set(
  ("mother father mum dad sister brother son daughter wife husband aunt uncle cousin grandmother grandfather friend partner girlfriend boyfriend neighbour parents children manager boss colleague doctor sister-in-law brother-in-law").split(" ")
)

const kinStems = new Set([...kin].map((word) => stem(word)))

/** Characters of a statement that are looked at; facts are sentences. */
const statementLimit = 1_000

export interface Statement {
  /** Normalised tokens in order, function words included. */
  readonly tokens: ReadonlyArray<string>
  readonly content: ReadonlySet<string>
  readonly names: ReadonlySet<string>
  readonly numbers: ReadonlySet<string>
  readonly days: ReadonlySet<string>
  readonly text: string
}

/** Reads one statement: numbers in digits, other words as stems, names as written. */
export const statementOf = (text: string): Statement => {
  const plain = text.slice(0, statementLimit).replaceAll("’", "'").replace(/(\d),(\d{3})\b/g, "$1$2").replace(/\b(\d{1,2}) ?(a|p)\.?m\.?/gi, (_, hour: string, half: string) =>
    String(half.toLowerCase() === "p" && Number(hour) < 12 ? Number(hour) + 12 : Number(hour)))
  const raw = plain.match(/\d+(?:[.:]\d+)*|[\p{L}][\p{L}'-]*/gu) ?? []
  const tokens: Array<string> = []
  const names = new Set<string>()
  const found = new Set<string>()
  const days = new Set<string>()
  const content = new Set<string>()
  raw.forEach((word, i) => {
    const base = word.replace(/'s$|'$/, "")
    const lower = base.toLowerCase()
    const number = numbers.get(lower) ?? (/^\d/.test(base) ? base.replace(/:00$/, "").replace(/(\d)(?:st|nd|rd|th)$/, "$1") : undefined)
    const token = number ?? (/^[a-z'-]{1,40}$/.test(lower) ? stem(lower) : lower)
    tokens.push(token)
    if (number !== undefined) {
      // "one" is mostly a pronoun.
      if (lower !== "one") found.add(number)
    } else if (weekdays.test(lower) || (months.test(lower) && (lower !== "may" || base === "May"))) days.add(token)
    else if (/^\p{Lu}/u.test(base) && i > 0 && base !== "I" && !/^I'/.test(base)) names.add(base)
    if (number === undefined && !empty.has(lower)) content.add(token)
  })
  // A capital at the beginning is a name when the word is none of the common openers.
  const first = raw[0]?.replace(/'s$/, "")
  if (
    first !== undefined && /^\p{Lu}\p{Ll}{2,}$/u.test(first) && !empty.has(first.toLowerCase()) && !kin.has(first.toLowerCase()) &&
    /^(?:is|are|was|has|had|does|did|doesn't|isn't|plays?|works?|lives?|likes?|hates?|wants?|goes|'s|\p{L}+s|\p{L}+ed|says|and|instead|and)$/u.test(raw[1] ?? "")
  ) names.add(first)
  if (first !== undefined && /'s$/.test(raw[0] ?? "") && /^\p{Lu}/u.test(first)) names.add(first)
  return { tokens, content, names, numbers: found, days, text: plain }
}

const shared = <A>(a: ReadonlySet<A>, b: ReadonlySet<A>): number => [...a].filter((one) => b.has(one)).length
const bit = (value: boolean): number => (value ? 1 : 0)

const commonPrefix = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): number => {
  let n = 0
  while (n < a.length && n < b.length && a[n] === b[n]) n++
  return n
}

/** The words up to the first verb, roughly: who or what the statement is about. */
const subjectOf = (statement: Statement): ReadonlySet<string> => {
  const words = statement.text.match(/\d+(?:[.:]\d+)*|[\p{L}][\p{L}'-]*/gu) ?? []
  const at = words.findIndex((word, i) => i > 0 && (stateVerb.test(word) || eventVerb.test(word) || /^(?:was|were|will|can|can't|could|isn't|aren't|doesn't|don't|didn't|used|paid|gave|haven't|hasn't|'ll|usually)$/i.test(word)))
  return new Set((at < 0 ? statement.tokens.slice(0, 3) : statement.tokens.slice(0, at)).filter((token) => !["the", "a", "an", "my", "our", "i", "we", "user"].includes(token)))
}

/** Words that say outright that something before no longer holds. */
const outright = pattern("i")`
  \b(?:no longer|any ?more|instead|cancel(?:led|ed)|called off|changed|moved|switched|replaced|stopped|quit|gave up|given up|sold|stolen|stole|put off
  |postponed|mistyped|had it wrong|never was|it was never|is over|are over|is back|has gone|has closed|used up|transferred|gave .{1,20} back
  |paid .{1,20} back)\b
`

/** True when the later statement announces a change in so many words. */
export const saysChange = (later: Statement): boolean => outright.test(later.text)
/** True for wishes, plans and opinions, which add up instead of replacing each other. */
export const isOpen = (statement: Statement): boolean => openVerb.test(statement.text)

/** Share of the earlier statement's content words that the later one names too, [0, 1]. */
export const coverage = (earlier: Statement, later: Statement): number =>
  earlier.content.size === 0 ? 0 : shared(earlier.content, later.content) / earlier.content.size

/** False for statements about the user alone. */
export const hasSubject = (statement: Statement): boolean => subjectOf(statement).size > 0

/** True when all that the earlier statement is about, beyond the user, is named in the later one. */
export const subjectStays = (earlier: Statement, later: Statement): boolean => {
  const subject = [...subjectOf(earlier)]
  return subject.length > 0 && subject.every((token) => later.tokens.includes(token))
}

export const featureNames = [
  "overlap", "contained", "sameNames", "otherNames", "sameNumbers", "otherNumbers", "newNumbers", "otherDays", "polarity", "change", "changeWithOverlap",
  "ended", "addition", "exception", "correction", "sameSubject", "otherSubject", "prefix", "suffix", "stateFrame", "openFrame", "eventFrame", "bothEvents", "otherKin", "reordered",
  "polarityAlone", "stateValue", "changeSameSubject"
] as const
export type FeatureName = (typeof featureNames)[number]
export type Features = Readonly<Record<FeatureName, number>>

/** All in [0, 1]. */
export const featuresOf = (earlier: Statement, later: Statement): Features => {
  const common = shared(earlier.content, later.content)
  const union = earlier.content.size + later.content.size - common
  const overlap = union === 0 ? 1 : common / union
  const contained = common / Math.max(1, Math.min(earlier.content.size, later.content.size))
  const sharedNames = shared(earlier.names, later.names)
  const sharedNumbers = shared(earlier.numbers, later.numbers)
  const prefix = commonPrefix(earlier.tokens, later.tokens)
  const suffix = commonPrefix(earlier.tokens.toReversed(), later.tokens.toReversed())
  const shortest = Math.max(1, Math.min(earlier.tokens.length, later.tokens.length))
  const a = subjectOf(earlier)
  const b = subjectOf(later)
  const sameSubject = a.size === b.size && shared(a, b) === a.size
  const framed = prefix >= 2 && prefix / shortest >= 0.34 && contained > 0
  const isEvent = (one: Statement): boolean => eventVerb.test(one.text) && !/\b(?:is|are|am|has gone|lives|works)\b/i.test(one.text)
  const kinOf = (one: Statement): ReadonlySet<string> => new Set(one.tokens.filter((token) => kinStems.has(token)))
  const change = changeCue.test(later.text)
  return {
    overlap,
    contained,
    sameNames: bit(sharedNames > 0),
    otherNames: bit(earlier.names.size > sharedNames && later.names.size > sharedNames),
    sameNumbers: bit(sharedNumbers > 0 && sharedNumbers === Math.min(earlier.numbers.size, later.numbers.size)),
    otherNumbers: bit(earlier.numbers.size > sharedNumbers && later.numbers.size > sharedNumbers),
    newNumbers: bit(earlier.numbers.size === 0 && later.numbers.size > 0),
    otherDays: bit(earlier.days.size > 0 && later.days.size > 0 && shared(earlier.days, later.days) === 0),
    polarity: bit(negation.test(earlier.text) !== negation.test(later.text)),
    change: bit(change),
    changeWithOverlap: change ? Math.max(contained, sharedNames > 0 ? 0.5 : 0) : 0,
    ended: bit(endedCue.test(earlier.text)),
    addition: bit(additionCue.test(later.text)),
    exception: bit(exceptionCue.test(later.text)),
    correction: bit(correctionCue.test(later.text)),
    sameSubject: bit(sameSubject),
    otherSubject: bit(!sameSubject && a.size > 0 && b.size > 0 && shared(a, b) < Math.max(a.size, b.size)),
    prefix: prefix / shortest,
    suffix: suffix / shortest,
    stateFrame: bit(framed && sameSubject && stateVerb.test(earlier.text) && !isEvent(earlier) && !openVerb.test(earlier.text)),
    openFrame: bit(framed && openVerb.test(earlier.text)),
    eventFrame: bit(framed && isEvent(earlier)),
    bothEvents: bit(isEvent(earlier) && isEvent(later)),
    otherKin: bit((() => {
      const x = kinOf(earlier)
      const y = kinOf(later)
      return (x.size > 0 || y.size > 0) && (shared(x, y) < x.size || shared(x, y) < y.size)
    })()),
    reordered: bit(overlap > 0.99 && prefix < shortest),
    polarityAlone: bit(negation.test(earlier.text) !== negation.test(later.text) && contained > 0.99),
    stateValue: bit(sameSubject && overlap < 0.99 && stateVerb.test(earlier.text) && !isEvent(earlier) && !isEvent(later) && !openVerb.test(earlier.text) && suffix > 0),
    changeSameSubject: bit(change && (sameSubject || (a.size > 0 && shared(a, b) === a.size)))
  }
}
