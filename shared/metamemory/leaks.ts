/**
 * The leak check: a principle says how to use memories, so nothing of a training question's answer or evidence may stand in it.
 * It looks for digits, dates, proper names, rare words and word runs of the training material, and planted canary strings.
 */
import { plainText } from "./operations.ts"

/** Words of talk about memories, questions and answers: never a leak, however rare they are in the training material. */
const plainWords = new Set(
  `about above account across action actions actual add adding advice after again against ago aim all along already also although always amount amounts anchor
been am could would might shall cannot let go going gone got many much per via yours ours mine hers himself herself themselves anyone everyone everybody nobody anywhere everywhere
nowhere upon toward among amid beyond within besides despite except like unlike whereas whereby thus hence therefore instead meanwhile moreover perhaps maybe quite rather too very
almost nearly hardly barely mostly partly wholly simply merely
another answer answers any anything appear appears apply approach around ask asked asking asks assistant assume assumed attempt attention avoid avoided away back base based
because before begin beginning being below best between beyond both build calculate calendar called candidate careful carefully carry case cases category cautious certain chance change
changed changes chat chats check checked checking choice choose chosen cite claim clear clearly close closest collect combine combined come comes common compare comparing complete
completely concise conclude concrete condition conditions confirm conflict conflicts connect consider consistent contain contains content context continue contradict contradicts conversation
conversations copy correct corrected correction count counted counting counts course current currently date dated dates day days decide decision deduce definite describe described
description detail detailed details determine different differ differs direct directly disagree discuss discussed distinct distinguish do does double draw drop dropped duplicate duplicates
during each earlier earliest early either else emphasis empty end enough ensure entries entry enumerate error especially establish estimate even event events ever every everything evidence exact
exactly example examples exchange exchanges exclude exclusive exist explain explicit explicitly express expressed extract fact facts fail fall few figure figures final find finish first fit
fits fits focus follow form former found frame from full further gap gaps gather gathered gave general generic give given gives giving goes group guess habit habits happen
happened has have held help hint hold holds hour hours how however identify ignore imply implied implies important inclusive include included includes indicate indirect indirectly individual infer
inferring information instance instead intent interest interpret interval into isolated item items itself judge just keep keeps kept kind know known label last later latest lead lean
learned least leave left less like likely list listed listing lists literal little long longer look looking looks loose main make makes many mark match matches matching matter matters
may mean means meaning measure member memories memory mention mentioned mentions merge message messages might minute minutes miss missed missing moment month months more most much must name
named names narrow nature near need needed needs neither never new newer newest next none note notes nothing now number numbers object occasion occasions occur occurred of off
offer offered often old older oldest omit once one only open opinion option options order ordered ordering orders original other others otherwise out outdated over overlap own owned pair part parts
partial particular pass passage past pay people per period person personal phrase phrased piece pieces place places plain plainly plan planned plans plausible please point points position possible
practice precise precisely prefer preference preferences prefers present previous prior priority proof propose proper provide provided purpose put question questions quote quoting quantity range
rank ranked rather read reader reading real really reason reasoning reasons recall recency recent recently recommend recommendation record recorded refer reference refers refuse regard related
relation relative relevant reliable rely remark remarks remember remind remove repeat repeated replace replaced replies reply report request requests require required requires resolve respond response
rest restate result results return reveal review right round rule said same say says scan scope search second section see seem seems segment select sense sentence sentences separate
separately sequence series session sessions set settle several short should show shown side similar simple simply since single situation skip small some someone somebody something sometimes sort source
sources span speak speaker speakers speaks specific specifically spelling stand stands start started state stated statement statements states stay step steps still stop story strict subject
subtract such suggest suggested suggestion suggestions suit sum summarise summarize support supported supports sure system take taken takes taste tastes tell tells tense term terms than that the their them then
there these they thing things think those though thread through throughout tie tied ties time times title together told topic total totals towards trace track treat true trust try turn
turns type under understand unique unit units unknown unless unlikely until update updated updates upon usage use used useful user uses using usual usually vague value values verbatim verify
version versions very view visit want wanted wants was way ways week weeks weigh weight well what when whenever where whether which while who whole whose why will with within without word worded
wording words work works write written wrong year years yes yesterday yet today tomorrow you your accept attach bring call clue consult contrast cross definite edge effect effort enthusiasm expand experience familiar firm gain gist guide hear hide honest hunt
imagine improve inspect interest jump land large late learn length level list live local locate loud mind mistake mix move natural notice number occur pass pause pick piece plenty press pretend probe proceed process prove quick quiet rare reach ready
rebuild remain rephrase round rush save seek serve settle shape shift sign skim slow solid solve spot spread stage stick stretch strong structure style surprise switch tone touch transfer treat truth twice uncertain useless valid vary vivid wait walk weak whenever wide wild wonder worth`
    .split(/\s+/)
    .filter((word) => word !== "")
)

const months = "January|February|March|April|June|July|August|September|October|November|December|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
const weekdays = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
const dateWords = new RegExp(`\\b(?:${months}|${weekdays})\\b|\\bMay\\b(?! (?:be|have|not)\\b)(?<=[a-z,] May)`)

/** Capitalised words that name nobody. */
const plainCapitals = new Set(["I", "I'm", "I've", "I'd", "I'll", "If", "When", "The", "A", "UTC", "AM", "PM", "ID", "OK", "FAQ", "AI", "User", "Assistant"])

/** The training material in the form the check needs. */
export interface Forbidden {
  /** Lower-case words too rare to be general. */
  readonly rareWords: ReadonlySet<string>
  /** In lower case: words written with a capital in the middle of a sentence, and never without one. */
  readonly names: ReadonlySet<string>
  /** Runs of words that stand in training answers, joined by spaces. */
  readonly answerRuns: ReadonlySet<string>
  readonly canaries: ReadonlyArray<string>
}

export interface TrainingMaterial {
  readonly answers: ReadonlyArray<string>
  readonly evidence: ReadonlyArray<string>
  /** Planted strings that must never pass. */
  readonly canaries?: ReadonlyArray<string>
  /** Number of documents (sessions, questions' haystacks) each lower-case word occurs in. */
  readonly documentFrequency: ReadonlyMap<string, number>
  readonly documents: number
  /** Knows words of general language, e.g. by a tokenizer's vocabulary; without it only the built-in list counts. */
  readonly isGeneral?: (word: string) => boolean
}

/** Words of a text in lower case, apostrophes kept inside. */
export const wordsOf = (text: string): ReadonlyArray<string> => text.toLowerCase().replace(/[’‘]/g, "'").match(/\p{L}[\p{L}\p{M}]*(?:'\p{L}+)?/gu) ?? []

/** What a word may be inflected by, and what stands in its place in the word itself. */
const endings: ReadonlyArray<readonly [ending: RegExp, instead: string]> = [
  [/(?:'s|s)$/, ""], [/(?:ed|es|er|ly)$/, ""], [/(?:d|r)$/, ""], [/ing$/, ""], [/ing$/, "e"], [/ies$/, "y"], [/(\p{L})\1(?:ing|ed)$/u, "$1"]
]
/** Whether a word, or the word it is inflected from, is plain. */
const isPlain = (word: string): boolean => plainWords.has(word) || endings.some(([ending, instead]) => plainWords.has(word.replace(ending, instead)))

/** A word and what is left of it without the ending of a plural or of an owner: "Zorbin's" tells as much as "Zorbin". */
const formsOf = (word: string): ReadonlyArray<string> => [word, ...[/'s$/, /'$/, /s$/, /es$/].flatMap((ending) => (ending.test(word) ? [word.replace(ending, "")] : []))]

/** Length of a run of words that counts as copied. */
const runLength = 3

const runsOf = (text: string, length = runLength): ReadonlyArray<string> => {
  const words = wordsOf(text)
  return words.slice(0, Math.max(0, words.length - length + 1)).flatMap((_, i) => {
    const run = words.slice(i, i + length)
    return run.filter((word) => word.length > 3 && !isPlain(word)).length >= 2 ? [run.join(" ")] : []
  })
}

/** Words with a capital that does not open a sentence. */
const capitalised = /(?<=[^\s.!?:;"“'(]\s+["“'(]?)\p{Lu}[\p{L}\p{M}'’-]*/gu

const nameOf = (word: string): string => word.toLowerCase().replace(/['’]s?$/, "")

/** A word is rare when it occurs in at most this share of the documents, and never more than two documents where there are few. */
const rareShare = 0.005

/** What may not stand in a principle, from the training answers and their evidence. Of rare words those of three letters and fewer never count. */
export const forbiddenFrom = (material: TrainingMaterial): Forbidden => {
  const { documentFrequency, documents, isGeneral = () => false } = material
  const limit = Math.max(2, rareShare * documents)
  const rareWords = new Set<string>()
  const names = new Set<string>()
  const uncapitalised = new Set<string>()
  // Attempts at one question are shown much the same memories.
  const seen = new Set<string>()
  for (const text of new Set([...material.answers, ...material.evidence])) {
    for (const [word] of text.matchAll(capitalised)) names.add(nameOf(word))
    for (const [word] of text.matchAll(/(?<!\p{L})\p{Ll}[\p{L}\p{M}]*/gu)) uncapitalised.add(word)
    for (const word of wordsOf(text)) {
      if (seen.has(word)) continue
      seen.add(word)
      const isCommon = (form: string): boolean => form.length <= 3 || (documentFrequency.get(form) ?? 0) > limit || isPlain(form) || isGeneral(form)
      if (!isCommon(word)) for (const form of formsOf(word)) if (!isCommon(form)) rareWords.add(form)
    }
  }
  for (const name of names) if (name.length < 2 || uncapitalised.has(name) || isPlain(name)) names.delete(name)
  // An answer of two words is a run by itself.
  const runs = material.answers.flatMap((answer) => runsOf(answer, Math.min(runLength, Math.max(2, wordsOf(answer).length))))
  return { rareWords, names, answerRuns: new Set(runs), canaries: material.canaries ?? [] }
}

/** What was found, with the words at fault; `canary` is never shown back to a model. */
export interface Leak {
  readonly kind: "digit" | "date" | "name" | "rare-word" | "copied-words" | "canary"
  readonly found: string
}

const squeezed = (text: string): string => text.toLowerCase().normalize("NFKC").replace(/[^\p{L}\p{N}]+/gu, "")

/** All leaks in a text; empty means it may pass. */
export const leaks = (text: string, forbidden: Forbidden): ReadonlyArray<Leak> => {
  const found: Array<Leak> = []
  const digit = /[^\s]*\p{N}[^\s]*/u.exec(text)
  if (digit !== null) found.push({ kind: "digit", found: digit[0] })
  const date = dateWords.exec(text)
  if (date !== null) found.push({ kind: "date", found: date[0] })
  // A capital that opens a sentence says nothing of itself; elsewhere it marks a name.
  const named = new Set(Array.from(text.matchAll(capitalised), ([word]) => word).filter((word) => !plainCapitals.has(word)))
  for (const [word] of text.matchAll(/\p{Lu}[\p{L}\p{M}'’-]+/gu)) if (forbidden.names.has(nameOf(word))) named.add(word)
  for (const word of named) if (word !== date?.[0]) found.push({ kind: "name", found: word })
  for (const word of new Set(wordsOf(text))) if (formsOf(word).some((form) => forbidden.rareWords.has(form))) found.push({ kind: "rare-word", found: word })
  for (const run of [...runsOf(text), ...runsOf(text, 2)]) if (forbidden.answerRuns.has(run)) found.push({ kind: "copied-words", found: run })
  const bare = squeezed(text)
  for (const canary of forbidden.canaries) {
    const wanted = squeezed(canary)
    if (wanted !== "" && bare.includes(wanted)) found.push({ kind: "canary", found: plainText(canary) })
  }
  return found
}

/** Leaks as a sentence a model can act on, without repeating a canary. */
export const leakText = (found: ReadonlyArray<Leak>): string =>
  `the content must be general: ${found.map((leak) => (leak.kind === "canary" ? "it repeats training material" : `${leak.kind} "${leak.found}"`)).join("; ")}`
