/** Turns what somebody said in the first person into a sentence about them, which stands without its conversation. */

export const irregularPast = new Set(
  ("went got saw made took came bought thought found told said had did was were knew felt left kept began brought ran met paid sent spent lost won wrote gave ate drank drove " +
    "flew rode sold taught caught fell grew heard held led sat slept spoke stood swam understood woke wore built broke chose became forgot hid lent hung sang shook shot struck " +
    "threw tore bent bit blew dealt drew dug fed fought forgave froze learnt laid lit meant overcame rose sought stuck stole swept undertook withdrew").split(" ")
)
const sameInPast = new Set("put cut set hit let read cost hurt quit spread bet shut split upset fit".split(" "))
const modal = new Set("can could will would should may might must shall cannot can't couldn't won't wouldn't shouldn't mustn't ought used".split(" "))
const baseInEd = new Set("need feed bleed speed succeed proceed exceed embed weed heed breed".split(" "))
const adverb = /^(?:really|always|usually|also|just|still|often|never|actually|even|only|mostly|sometimes|already|now|then|both|all|almost|once|first|ever|soon|seldom|rather|quite|\w{3,}ly)$/i
/** Adverbs of two words. */
const adverbPair = /^(?:no longer|no more|kind of|sort of)$/i
const lyVerbs = new Set(["apply", "rely", "reply", "supply", "imply", "comply", "multiply", "fly"])

const contractions: ReadonlyArray<readonly [RegExp, string]> = [
  [/\bI'm\b/gi, "I am"],
  [/\bI've\b/gi, "I have"],
  [/\bI'll\b/gi, "I will"],
  [/\bI'd (?=(?:\w+ly |just |never |always |already |also )?(?:been|had|gone|done|seen|made|taken|got|gotten|\w{3,}ed)\b)/gi, "I had "],
  [new RegExp(`\\bI'd (?=(?:${[...irregularPast].join("|")})\\b)`, "gi"), "I had "],
  [/\bI'd\b/gi, "I would"],
  [/\bwe're\b/gi, "we are"],
  [/\bwe've\b/gi, "we have"],
  [/\bwe'll\b/gi, "we will"],
  [/\bwe'd\b/gi, "we would"]
]

const spread = (sentence: string): string => contractions.reduce((text, [from, to]) => text.replace(from, to), sentence)

const third = (verb: string): string => {
  const lower = verb.toLowerCase()
  if (lower === "am") return "is"
  if (lower === "are") return verb
  if (lower === "have") return "has"
  if (lower === "haven't") return "hasn't"
  if (lower === "do") return "does"
  if (lower === "don't") return "doesn't"
  if (
    modal.has(lower) || irregularPast.has(lower) || sameInPast.has(lower) || lower.endsWith("n't") ||
    (lower.endsWith("ed") && !baseInEd.has(lower)) || !/^[a-z]+$/.test(lower)
  ) {
    return verb
  }
  if (/(?:s|sh|ch|x|z|o)$/.test(lower)) return `${verb}es`
  if (/[^aeiou]y$/.test(lower)) return `${verb.slice(0, -1)}ies`
  return `${verb}s`
}

/** `The user live in …` → `The user lives in …`: bends the first verb after the subject, past adverbs and commas. */
const agree = (afterSubject: string): string => {
  const words = afterSubject.split(" ")
  for (let i = 0; i < Math.min(words.length, 5); i++) {
    const word = words[i] as string
    if (word === "") continue
    if (adverbPair.test(`${word} ${words[i + 1]}`)) {
      i++
      continue
    }
    if (adverb.test(word) && !lyVerbs.has(word.toLowerCase())) continue
    const end = /[^\p{L}']+$/u.exec(word)?.[0] ?? ""
    words[i] = third(end === "" ? word : word.slice(0, -end.length)) + end
    break
  }
  return words.join(" ")
}

/** Everything after the first mention speaks of the person as "they", which needs no bending. */
const later = (text: string): string =>
  text
    .replace(/\bI am\b/g, "they are")
    .replace(/\bI was\b/g, "they were")
    .replace(/\bI wasn't\b/g, "they weren't")
    .replace(/\b(?:I|we)\b/g, "they")
    .replace(/\bWe\b/g, "They")
    .replace(/\b(?:am)\b(?= I\b)/g, "are")
    .replace(/\b(?:my|our)\b/g, "their")
    .replace(/\b(?:My|Our)\b/g, "Their")
    .replace(/\b(?:mine|ours)\b/gi, "theirs")
    .replace(/\b(?:myself|ourselves)\b/gi, "themselves")
    .replace(/\b(?:me|us)\b/g, "them")

/** Speakers named in the text as "you", where a conversation has exactly two named speakers. */
const named = (text: string, other: string | undefined): string =>
  other === undefined
    ? text
    : text
      .replace(/(^|, |\. )you know,\s/gi, "$1")
      .replace(/\b[Yy]ou(?:'re| are)\b/g, `${other} is`)
      .replace(/\b[Yy]ou(?:'ve| have)\b/g, `${other} has`)
      .replace(/\b[Yy]ou were\b/g, `${other} was`)
      .replace(/\b[Yy]our\b/g, `${other}'s`)
      .replace(/\b[Yy]ou\b/g, other)

/** "Tom and I", "neither Tom nor I": the verb stays plural. */
const joinedNames = /^(?:Neither |Both )?\p{Lu}[\p{L}'-]*(?: \p{Lu}[\p{L}'-]*)*,? (?:and|nor) $/u

const quotation = /"[^"]*"|“[^”]*”|«[^»]*»/g
/** "My boss told me: I am moving": what follows the colon is the other's own "I". */
const reported = /^(?!I\b)[^:"]*\b(?:said|says|told|tells|wrote|writes|texted|replied|answered)\b[^:"]*: (\S.*)$/s
const standIn = "\uE000"

/** A sentence whose quotations, in which "I" is somebody else, are set aside, and what puts them back. */
const withoutQuotations = (sentence: string): readonly [text: string, back: (text: string) => string] => {
  if (sentence.includes(standIn)) return [sentence, (text) => text]
  const own = reported.exec(sentence)?.[1]
  const quoted: Array<string> = []
  const aside = (text: string): string => {
    quoted.push(text)
    return standIn
  }
  const text = own === undefined ? sentence.replace(quotation, aside) : sentence.slice(0, -own.length) + aside(own)
  return [text, (rewritten) => rewritten.replaceAll(standIn, () => quoted.shift() ?? "")]
}

const capital = (text: string): string => (text === "" ? text : text[0]?.toUpperCase() + text.slice(1))

/**
 * Rewrites a first-person sentence about `subject` ("The user", or a name). The first mention names the subject, later ones become
 * "they"; quotations stay as they are. Undefined when the sentence does not speak in the first person.
 */
export const inThirdPerson = (sentence: string, subject: string, other?: string): string | undefined => {
  const [own, back] = withoutQuotations(sentence)
  const text = spread(named(own, other))
  const first = /\b(?:I|[Ww]e|[Mm]y|[Oo]ur|me|us)\b/.exec(text)
  if (first === null) return undefined
  const before = text.slice(0, first.index)
  const after = text.slice(first.index + first[0].length)
  const inside = /^\s*$/.test(before) ? subject : subject.replace(/^The /, "the ")
  switch (first[0].toLowerCase()) {
    case "i":
      return capital(back(`${later(before)}${inside}${later(joinedNames.test(before) ? after : agree(after))}`))
    case "we":
      return capital(back(`${later(before)}${inside} and others${later(after)}`))
    case "me":
    case "us":
      return capital(back(`${later(before)}${inside}${later(after)}`))
    default:
      return capital(back(`${later(before)}${inside}'s${later(after)}`))
  }
}
