/**
 * The lexical judge: right or wrong by comparing words, for runs without a judge model. Its figures are its own and never stand
 * in one table with a model's.
 */
import { pattern } from "#shared/domain/pattern"
import type { Question, Verdict } from "#shared/domain/question"

const units: Readonly<Record<string, number>> = Object.fromEntries(
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(" ").map((word, n) => [word, n])
)
const tens: Readonly<Record<string, number>> = Object.fromEntries("twenty thirty forty fifty sixty seventy eighty ninety".split(" ").map((word, n) => [word, 20 + 10 * n]))
const ordinals: Readonly<Record<string, number>> = Object.fromEntries(
  "first second third fourth fifth sixth seventh eighth ninth tenth".split(" ").map((word, n) => [word, n + 1])
)
const monthNumber: Readonly<Record<string, string>> = Object.fromEntries(
  "jan feb mar apr may jun jul aug sep oct nov dec".split(" ").map((word, n) => [word, String(n + 1).padStart(2, "0")])
)
const monthPattern = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\\.?"
const day = "(\\d{1,2})(?:st|nd|rd|th)?"
const iso = (year: string, month: string, dayOfMonth: string): string => `${year}-${month.padStart(2, "0")}-${dayOfMonth.padStart(2, "0")}`

/** Dates in one form: `2023-05-20`, or `05-20` where the year is not said. */
const withDates = (text: string): string =>
  text
    .replace(/\b(\d{4})[/-](\d{1,2})[/-](\d{1,2})\b/g, (_, y: string, m: string, d: string) => iso(y, m, d))
    .replace(new RegExp(`\\b${day}(?: of)? ${monthPattern},? (\\d{4})\\b`, "g"), (_, d: string, m: string, y: string) => iso(y, monthNumber[m]!, d))
    .replace(new RegExp(`\\b${monthPattern} ${day},? (\\d{4})\\b`, "g"), (_, m: string, d: string, y: string) => iso(y, monthNumber[m]!, d))
    .replace(new RegExp(`\\b${monthPattern} ${day}\\b(?!:)`, "g"), (_, m: string, d: string) => `${monthNumber[m]!}-${d.padStart(2, "0")}`)
    .replace(new RegExp(`\\b${day}(?: of)? ${monthPattern}(?= |$|[.,;)])`, "g"), (_, d: string, m: string) => `${monthNumber[m]!}-${d.padStart(2, "0")}`)

const skipped = new Set(["a", "an", "the", "and", "my", "your", "of", "in", "on", "at", "to", "for", "with", "is", "was", "i", "you", "it"])

/** Articles and the like do not decide between answers. */
const articles = new Set(["a", "an", "the"])

/** Words, numbers and dates in one form: `Twenty-five` is `25`, `1,000` is `1000`, `$5` is `5 dollar`, `3rd` is `3`, plurals lose their s, articles go. */
export const answerTokens = (text: string): ReadonlyArray<string> => {
  const dated = withDates(text.toLowerCase().normalize("NFKC").replace(/[’‘]/g, "'"))
    .replace(/(\d),(?=\d{3}\b)/g, "$1")
    .replace(/\$\s*(\d+(?:\.\d+)?)/g, "$1 dollars")
    .replace(/€\s*(\d+(?:\.\d+)?)/g, "$1 euros")
    .replace(/(\d+)\s*%/g, "$1 percent")
    .replace(/(\d)(?:st|nd|rd|th)\b/g, "$1")
    .replace(/(\d+)\.0+\b/g, "$1")
  const raw = dated.match(/\d{4}-\d{2}-\d{2}|\d{2}-\d{2}(?!\d)|\d+(?:[.:]\d+)*|\p{L}[\p{L}\p{M}]*(?:'\p{L}+)?/gu) ?? []
  const tokens: Array<string> = []
  for (let i = 0; i < raw.length; i++) {
    const word = raw[i]!
    const next = raw[i + 1]
    if (word in tens) {
      const unit = next !== undefined && next in units && units[next]! > 0 && units[next]! < 10 ? units[next]! : undefined
      tokens.push(String(tens[word]! + (unit ?? 0)))
      if (unit !== undefined) i++
    } else if (word in units) tokens.push(String(units[word]))
    else if (word in ordinals) tokens.push(String(ordinals[word]))
    else if (!articles.has(word)) tokens.push(word.length > 3 && /[^s]s$/.test(word) ? word.replace(/'?s$/, "") : word.replace(/'s$/, ""))
  }
  return tokens
}

/** Whether one run of tokens stands in another. */
const holds = (whole: ReadonlyArray<string>, part: ReadonlyArray<string>): boolean => {
  if (part.length === 0 || part.length > whole.length) return false
  for (let start = 0; start + part.length <= whole.length; start++) {
    if (part.every((token, i) => whole[start + i] === token)) return true
  }
  return false
}

/** Token F1 of two texts, 0 … 1. Source: the measure of SQuAD (Rajpurkar et al. 2016). */
export const tokenF1 = (response: string, reference: string): number => {
  const [said, wanted] = [answerTokens(response), answerTokens(reference)]
  const left = new Map<string, number>()
  for (const token of wanted) left.set(token, (left.get(token) ?? 0) + 1)
  let shared = 0
  for (const token of said) {
    const count = left.get(token) ?? 0
    if (count > 0) {
      shared++
      left.set(token, count - 1)
    }
  }
  return shared === 0 ? 0 : (2 * shared) / (said.length + wanted.length)
}

const notKnown = [
  /\b(?:do|does|did|can|could|would)(?: not|n't) (?:know|find|recall|have (?:any |enough |that |this )?(?:information|record|memory|details?)|see|determine|tell|say|answer)\b/,
  /\b(?:not|n't) (?:mentioned|specified|stated|provided|known|given|recorded|available|discussed|included)\b/,
  /\b(?:no|not enough|insufficient|without) (?:\w+ )?(?:information|mention|record|evidence|memory|memories|details?)\b/,
  /\b(?:did|have|has)(?: not|n't) (?:\w+ )?(?:mention|mentioned|say|said|tell|told|share|shared|discuss|discussed|talk|talked)\b/,
  /\b(?:unknown|unanswerable|cannot be (?:answered|determined)|unable to (?:answer|determine|find|tell))\b/,
  /\bnever (?:mentioned|said|told|talked|discussed)\b/,
  /\bcan(?:not|'t) (?:be )?(?:answer|determine|find|tell|say|recall|know|answered|determined|found)\b/
]

/** The same in languages that people write to their models in, most of which answer in kind. */
const notKnownElsewhere = [
  // Spanish.
  pattern("u")`
    (?<!\p{L})no (?:(?:lo )?(?:sé|sabemos|recuerdo|consta)|se (?:sabe|menciona|dice|indica|especifica|mencionó|indicó|especificó)
    |(?:hay|tengo|dispongo de|se dispone de) (?:\S+ )?(?:información|datos?|registros?|constancia)
    |(?:(?:se|lo|me|me lo) )?(?:ha|has|han) (?:mencionado|dicho|indicado)|(?:lo )?mencionaste|(?:lo )?(?:puedo|se puede) (?:responder|determinar|saber)
    |está (?:claro|disponible))(?!\p{L})|(?<!\p{L})(?:(?:lo )?desconozco|se desconoce)(?!\p{L})
  `,
  // French.
  pattern("u")`
    (?<!\p{L})(?:je|on|nous) ne (?:le |l')?(?:sais|sait|savons) pas(?!\p{L})(?! \p{L}+er(?!\p{L}))
    |(?<!\p{L})(?:je|on|nous) ne (?:peux|peut|pouvons|dispose|trouve) pas (?:le |vous |te )?(?:savoir|répondre|déterminer|dire|d'informations?
    |de (?:cette |ces )?(?:informations?|mention))(?!\p{L})|(?<!\p{L})(?:je l'ignore|j'ignore)(?!\p{L})
    |(?<!\p{L})(?:n'|l'|me l')(?:est|a|ai|as|avez|ont|y a) (?:pas|jamais) (?:été )?(?:\S+ )?(?:mentionnée?s?|précisée?s?|indiquée?s?|dit
    |d'informations?)(?!\p{L})|(?<!\p{L})(?:aucune (?:information|mention|trace)|n'(?:ai|a|avons) pas (?:cette|ces|d')\s?informations?
    |(?:m'en |me )souviens pas|ne (?:le )?(?:précisent?|mentionnent?) pas)(?!\p{L})
  `,
  // German.
  pattern("u")`
    (?<!\p{L})(?:(?:ich|wir) wei(?:ß|ss)|wei(?:ß|ss) ich|wissen wir|das wei(?:ß|ss) ich) (?:es |das )?(?:leider )?nicht(?!\p{L})
    |(?<!\p{L})(?:nicht|nie) (?:bekannt|erwähnt|angegeben|genannt|gesagt|erzählt|bestimmen|beantworten|feststellen)(?!\p{L})
    |(?<!\p{L})geht (?:\S+ ){0,4}nicht hervor(?!\p{L})|(?<!\p{L})kann ich (?:\S+ )?nicht sagen(?!\p{L})|(?<!\p{L})erinnere ich mich nicht(?!\p{L})
    |(?<!\p{L})(?:ist|sind|bleibt|mir) unbekannt(?!\p{L})|^unbekannt(?!\p{L}| \p{L})
    |(?<!\p{L})(?:habe|haben|liegen|liegt|gibt|enthält|enthalten|finde|es) (?:\S+ ){0,3}keine (?:\S+ )?(?:angaben?|information(?:en)?|hinweise?
    |erinnerung(?:en)?)(?!\p{L})|^keine (?:angaben?|information(?:en)?)(?! \S+ nötig)(?!\p{L})
  `,
  // Portuguese.
  pattern("u")`
    (?<!\p{L})não (?:(?:o )?sei(?! \p{L}+[aei]r(?!\p{L}))|sabemos|se sabe|consta|(?:há|tenho) (?:\S+ )?(?:informaç(?:ão|ões)|dados|registros?)
    |(?:foi|é) (?:mencionad[oa]|dit[oa]|indicad[oa]|especificad[oa])|mencionou|mencionaste|me (?:lembro|disse|disseste)
    |posso (?:responder|determinar))(?!\p{L})|(?<!\p{L})desconheço(?!\p{L})
  `,
  // Italian.
  pattern("u")`
    (?<!\p{L})non (?:(?:lo )?so(?! \p{L}+[aei]re(?!\p{L}))(?!:)|sappiamo|si sa|ricordo|risulta
    |è (?:noto|specificat[oa]|stat[oa] (?:dett[oa]|menzionat[oa]|indicat[oa]|specificat[oa]))|(?:(?:me )?l'|lo )?hai (?:mai )?(?:menzionato|detto)
    |(?:ho|ci sono) (?:\S+ )?informazioni|posso (?:rispondere|determinare))(?!\p{L})|(?<!\p{L})nessuna informazione(?!\p{L})
  `,
  // Dutch.
  /(?<!\p{L})weet (?:ik )?(?:het |dat )?niet(?!\p{L})|(?<!\p{L})niet (?:bekend|vermeld|genoemd|gezegd|verteld)(?!\p{L})|(?<!\p{L})(?:geen informatie|is onbekend)(?!\p{L})/u,
  // Russian.
  pattern("u")`
    (?<!\p{L})(?:не (?:знаю|помню|известно|упомина\p{L}*|указан\p{L}*|могу (?:ответить|определить|сказать)
    |(?:говорил|сообщал)\p{L}*(?! (?:по-|на \p{L}+ом(?!\p{L}))))|неизвестно|нет (?:такой |этой )?(?:информации|сведений|данных)
    |информация отсутствует)(?!\p{L})
  `,
  // Chinese.
  pattern("u")`
    (?<!他|她|它)(?:不知道|不清楚)|不(?:太)?(?:确定|確定)(?!性)|不得而知|不(?:记|記)得|(?:無法|无法)(?:得知|确定|確定|回答|判断|判斷|确认|確認)
    |(?:没|沒)(?:有)?(?:任何|这方面的|這方面的)?(?:提到|提及|提過|提过|说过|說過|说明|說明|提供|找到|告诉|告訴|相关|相關|信息(?!卡)|資訊|记录|記錄)|未(?:提及|提到|说明|說明)|(?<!探索)未知(?!数|數|领|領|物|之|的)
  `,
  // Japanese.
  pattern("u")`
    (?:分か|わか)り(?:ません|かねます)|(?:分か|わか)らない|知りません(?!でした)|(?:確認|判断|特定)できません|(?:覚えて|述べられて|見当たり)(?:い)?ません|(?<!行方|消息|意識|意识|正体|下落|行踪|去向)不明(?:です|だ|。|$)
    |(?:情報|記録|記憶|言及)(?:が|は|も|に)?(?:ありません|ない(?!と)|見つかりません|されていません)|(?:答え|回答)(?:られません|できません)
  `,
  // Korean.
  /(?:잘 )?모르(?:겠|네)|(?<!줄 )모르고 있|모릅니다|모름|알 수 없(?!는)|알지 못합|기억나지 않|(?:확인할|찾을) 수 없|나와 있지 않|(?:언급|말씀)하지 않|(?:말한|말씀하신) 적이 없|(?:정보|기록|언급)(?:이|가|은|는)? ?(?:없|부족|되지 않|된 적)/u
]

/**
 * Whether a response says that the answer is not known, in English or one of ten other languages. A look at wording; a response that hedges
 * and then answers also counts.
 */
export const isAbstention = (response: string): boolean => {
  const plain = response.toLowerCase().normalize("NFC").replace(/[’‘]/g, "'")
  return notKnown.some((pattern) => pattern.test(plain)) || notKnownElsewhere.some((pattern) => pattern.test(plain))
}

/** The forms a reference answer allows: `7 days. 8 days (including the last day) is also acceptable.` allows two. */
export const acceptedForms = (reference: string): ReadonlyArray<string> => {
  const parts = /\b(?:also|is|are) acceptable\b/i.test(reference)
    ? reference.split(/(?<=[.;])\s+|\bor\b/i).map((part) => part.replace(/\b(?:is|are|would be)?\s*(?:also )?acceptable\b.*$/i, "").replace(/\([^)]*\)/g, ""))
    : [reference, reference.replace(/\([^)]*\)/g, "")]
  return [...new Set(parts.map((part) => part.trim().replace(/[.;]+$/, "")).filter((part) => part !== ""))]
}

export interface LexicalJudgement {
  readonly verdict: Verdict
  readonly reason: string
  /** Best token F1 over the accepted forms. */
  readonly f1: number
}

const spans = /^(\d+) (day|week|month|year|hour|minute)$/

/** A count of time may be off by one where the question is about time. */
const nearSpan = (said: ReadonlyArray<string>, wanted: ReadonlyArray<string>): boolean => {
  const span = spans.exec(wanted.join(" "))
  return span !== null && [-1, 1].some((by) => holds(said, [String(Number(span[1]) + by), span[2]!]))
}

/** Whether a question of this data set type asks about time. */
const isAboutTime = (type: string): boolean => /tempor|time/.test(type)

/** Words that turn a statement round: what says them is right only where the reference says them too. */
const negations = new Set(["no", "not", "never", "neither", "nor", "without", "cannot", "none"])
const isNegated = (tokens: ReadonlyArray<string>): boolean => tokens.some((token) => negations.has(token) || token.endsWith("n't"))
/** Words by which what stands before them bears on what follows: with the sides changed they say something else. */
const relations = new Set(["to", "from", "of", "by", "than", "then", "before", "after", "over", "under", "above", "below", "into", "more", "less", "fewer"])
const keepsRelations = (said: ReadonlyArray<string>, wanted: ReadonlyArray<string>): boolean =>
  wanted.every((token, at) => !relations.has(token) || at + 1 === wanted.length || holds(said, wanted.slice(at, at + 2)))
/** All words of a short reference, in another order that says the same; with two numbers the order tells what each is of. */
const isSaidInOtherOrder = (said: ReadonlyArray<string>, wanted: ReadonlyArray<string>): boolean =>
  wanted.length > 1 && wanted.length < 5 && wanted.every((token) => said.includes(token)) && wanted.filter((token) => /\d/.test(token)).length < 2 &&
  isNegated(said) === isNegated(wanted) && keepsRelations(said, wanted)
/** Token F1 from which a short reference in other order counts as said: the response is at most about three times as long. */
const shortF1 = 0.5

/**
 * Judges a response without a model. Right: an accepted form stands in it word for word; or, for references of two to four words, all its
 * words in another order at a token F1 of .5, where nothing such as "before" has its sides changed; or, for references of five words and
 * more, .8 of its content words with all its numbers; for rubrics of twelve words and more that describe a taste, .35 of them. An abstention question is right when the response says it is
 * not known. An empty response is an error.
 */
export const judgeLexically = (question: Pick<Question, "answer" | "abstention" | "type">, response: string): LexicalJudgement => {
  if (response.trim() === "") return { verdict: "error", reason: "empty response", f1: 0 }
  const forms = acceptedForms(question.answer)
  const f1 = Math.max(0, ...forms.map((form) => tokenF1(response, form)))
  if (question.abstention) {
    return isAbstention(response)
      ? { verdict: "correct", reason: "says that it is not known", f1 }
      : { verdict: "incorrect", reason: "answers what cannot be known", f1 }
  }
  const said = answerTokens(response)
  const saidSet = new Set(said)
  for (const form of forms) {
    const wanted = answerTokens(form)
    if (holds(said, wanted)) return { verdict: "correct", reason: `contains "${form}"`, f1 }
    if (isAboutTime(question.type) && nearSpan(said, wanted)) return { verdict: "correct", reason: "one off in a count of time", f1 }
    const content = [...new Set(wanted)].filter((token) => !skipped.has(token))
    const share = content.filter((token) => saidSet.has(token)).length / Math.max(1, content.length)
    if (isSaidInOtherOrder(said, wanted) && tokenF1(response, form) >= shortF1) return { verdict: "correct", reason: `has all words of "${form}"`, f1 }
    const numbersThere = wanted.filter((token) => /\d/.test(token)).every((token) => saidSet.has(token))
    const needed = question.type.includes("preference") && wanted.length >= 12 ? 0.35 : 0.8
    if (wanted.length >= 5 && numbersThere && share >= needed && !isAbstention(response)) {
      return { verdict: "correct", reason: `has ${Math.round(100 * share)} % of the reference's words`, f1 }
    }
  }
  return { verdict: "incorrect", reason: isAbstention(response) ? "says that it is not known" : "the reference answer is not in it", f1 }
}

