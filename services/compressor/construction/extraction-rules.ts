/**
 * Facts from turns without any model: sentences somebody says about themselves, rewritten so that they stand alone, with the dates they
 * speak of resolved; and what the assistant recommended, in short. Neighbours: `sentences.ts` splits, `third-person.ts` rewrites,
 * `meant-time.ts` resolves. Questions, requests, suppositions and small talk give nothing: a missed fact still stands in its turn,
 * a wrong one misleads.
 */
import { pattern } from "#shared/domain/pattern"
import type { Turn } from "#shared/domain/turn"
import { meantTime } from "./meant-time.ts"
import { sentencesOf } from "./sentences.ts"
import { inThirdPerson, irregularPast } from "./third-person.ts"

/** A fact before it has an id. Fields as in a memory of kind `fact`. */
export interface ExtractedFact {
  readonly text: string
  readonly speaker: string
  readonly time: string
  readonly meant?: string
  readonly turns: readonly [string, ...Array<string>]
}

/** Most facts taken from one turn; more means pasted material. */
export const factsPerTurnLimit = 24
const sentenceLimit = 400
const joinedLimit = 320
const talkLimit = 1500

const softLead = pattern("i")`
  ^(?:and|but|so|also|plus|by the way|btw|anyway|actually|honestly|besides|in fact|to be honest|speaking of which|oh,? and|and also|i mean|because
  |recently|lately|funny enough|on another note|as for me|not to mention)[,:]?\s+
`
const hardLead = pattern("iu")`
  ^(?:yes|yeah|yep|yup|no|nope|well|oh|ah|wow|haha|lol|hey|hi|hello|sure|okay|ok|great|awesome|nice|cool|right|true|absolutely|definitely|exactly
  |thanks|thank you|good (?:morning|evening|afternoon))(?: [\p{L}' ]{1,40})?[,!:–—-]+\s*
`
const keptLead = /^(?:recently|lately)\b/i

const announcement = /^I(?: just)? wanted to (?:let you know|tell you|mention|add|say)(?: that)? /i
/** "Please remember that I'm allergic": asks for nothing but that the fact be kept. "Remember my birthday" states none. */
const toBeKept = pattern("i")`
  ^(?:please )?(?:remember|note|keep in mind|bear in mind|don't forget|do not forget|be aware|for the record|for your information|fyi
  |I (?:need|want) you to (?:know|remember))(?:[:,]| that)?\s+
  (?=(?:I|we)\b|(?:my|our)\b.*\b(?:is|isn't|are|aren't|was|were|has|have|hasn't|will|won't|can|can't|lives?|works?|likes?|hates?|needs?)\b)
`

const questionStart = pattern("i")`
  ^(?:(?:what|which|who|whom|whose|when|where|why|how)(?! (?:i|we|my|our)\b)|can|could|would|will|should|shall|do|does|did|is|are|am|was|were|have you
  |has|any (?:idea|tips|advice|suggestions|recommendations|thoughts)|may i|might)\b
`
const questionTail = pattern("i")`
  (?:[,;]|\s[-–—]+|\.\.\.)\s+(?:(?:so|and|but|or|then)\s+)?(?=(?:can|could|do|does|did|is|are|was|were|would|should|will|what|which|how|when|where|who
  |why|any|have you|might|may|if you)\b)|\s+and (?=(?:can|could|do|would|what|which|how|where) )
`
const requestTail = pattern("i")`
  (?:,|;|\s[-–—])?\s+(?:and|so|but)?\s*(?:(?:I|we)(?:'m| am| was|'re| are| were)?(?: just| also| now| really)? (?:wondering|curious
  |hoping (?:you|to get|for some)|wanted to (?:ask|know|check|see if)|want to know|would like to know|'d like to know
  |need (?:some )?(?:help|advice|tips)|looking for (?:some |any )?(?:advice|tips|recommendations|suggestions|ideas))|(?:can|could|would|do) you|please
  |let me know)\b.*$
`

const request = pattern("i")`
  \b(?:(?:want|need|like) you to|wondering (?:if|whether|what|how|about)|(?:can|could|would|will) you|please|let me know|tell me|remind me
  |give me (?:a|an|some|the)|act as|act like|your (?:task|job|role) is|i will (?:give|provide|send|ask)|i am going to (?:give|provide|send|ask) you
  |thanks for|thank you for)\b
`
const imperative = pattern("i")`
  ^(?:write|give|help|tell|show|make|create|explain|suggest|recommend|let|list|generate|provide|describe|compare|summari[sz]e|translate|rewrite|imagine
  |pretend|consider|find|continue|add|change|use|answer|respond|keep|remember|do not|don't)\b
`
/** What claims to be said by the machine is said by nobody. */
const roleLabel = /^(?:system|developer|assistant|tool)(?: (?:prompt|message|note))?\s*:/i
const filler = pattern("i")`
  ^(?:been a while\b|sounds\b|congrat\w*\b|(?:no|way) (?:worries|to go)\b|of course\b|anytime\b
  |(?:i|we)(?:'m|'d| am| do| would| really| totally| completely| just| also)* (?:see(?: what you mean)?[.!,]?$|understand\b|agree\b
  |think (?:so|that's|that is|it's|you)|hope (?:so|this|that|you|it)|guess (?:so|you)|know,? right|appreciate\b|apologi[sz]e|bet\b|hear you|get it\b
  |got it\b|don't know\b|do not know\b|have no idea|have (?:a|one|another|some|a few) (?:more )?questions?
  |(?:so )?(?:glad|happy|sorry|excited) (?:you|to hear|that you|it|for you|to help|i could help|we could help)|not sure\b|love (?:it|that|this)[.!]*$
  |will (?:try|check|definitely|give|look|keep|do)\b(?:.{0,40})$)|(?:my|our) (?:pleasure|bad|apologies|question|next question)\b|got it\b|me too\b
  |same here\b)
`
const praise = pattern("i")`
  ^(?:that|this|it|those|these|they|there)(?:'s|'re| is| are| was| were| all)?(?: sounds?| looks?| makes?| would be| will be| seems?)?(?: like)?(?: so
  | such| really| very| a| an| truly| pretty| quite)* (?:great|good|helpful|useful|awesome|amazing|perfect|sense|wonderful|interesting|fantastic|nice
  |cool|fun|exciting|true|exactly|lovely|delicious|beautiful|brilliant|incredible|inspiring)\b.{0,80}$
`
const supposition = /\b(?:if (?:i|we) (?:were|was|had|could|did)|i wish|imagine|suppose|let's say|hypothetically|what if|as if)\b|^if\b/i
const anaphor = /^(?:it|it's|he|he's|she|she's|they|they're|that|that's|this|these|those|there)\b/i
const elidedPast = /^(?:(?:just|finally|recently|already)\s+)?(\p{L}+)\b/iu
const elidedDoing = /^(?:currently |still |also |just )?(?:thinking|trying|planning|working|looking forward|hoping|going|moving|starting|learning|reading|training|studying|considering|saving)\b/i
const stop = new Set(
  ("i i'm i've i'd i'll me my mine we our us you your he she it its they them their this that these those a an the and or but so of in on at to for from with by as is am are was were be been being have has had " +
    "do does did not no yes very really just also too more some any all can could will would should may might must there here what which who when where how why if then than about into out up down over " +
    "think know want like get got make thing things something lot bit well good great nice much many sure it's that's don't user").split(" ")
)

/** Takes greetings, connectives and calls by name off the front and calls by name off the end. */
const strip = (sentence: string, names: ReadonlyArray<string>): string => {
  let text = sentence.replace(/^[^\p{L}\p{N}"'([$€£]+/u, "")
  for (const name of names) {
    if (text.startsWith(name) && /^[,!]\s/.test(text.slice(name.length))) text = text.slice(name.length + 1).trimStart()
    const called = text.lastIndexOf(`, ${name}`)
    if (called > 0 && /^[.!?]*$/.test(text.slice(called + name.length + 2))) text = text.slice(0, called) + text.slice(called + name.length + 2)
  }
  for (let i = 0; i < 4; i++) {
    const next = keptLead.test(text) ? text : text.replace(hardLead, "").replace(softLead, "").replace(announcement, "").replace(toBeKept, "")
    if (next === text || next === "") break
    text = next
  }
  return text
}

const contentCount = (sentence: string): number => {
  const words = new Set<string>()
  for (const word of sentence.toLowerCase().match(/[\p{L}\p{N}][\p{L}\p{N}'-]*/gu) ?? []) if (!stop.has(word)) words.add(word)
  return words.size
}

/** The statement in front of a question or a request, or undefined when there is none. */
const statement = (sentence: string): string | undefined => {
  let text = sentence.replace(/\s*\([^)]*\?\)/g, "")
  if (/\?["')\]]*$/.test(text)) {
    const cut = questionTail.exec(text)
    if (cut === null || cut.index < 12) return undefined
    text = text.slice(0, cut.index)
  }
  const tail = requestTail.exec(text)
  if (tail !== null && tail.index >= 12) text = text.slice(0, tail.index)
  if (questionStart.test(text) || imperative.test(text) || request.test(text) || supposition.test(text) || filler.test(text) || praise.test(text)) return undefined
  if (/^["']/.test(text) || roleLabel.test(text)) return undefined
  text = text.replace(/[\s,;:–—-]+$/, "")
  return /[.!…]["')\]]*$/.test(text) ? text.replace(/!+(?=["')\]]*$)/, ".") : `${text}.`
}

const withSubject = (sentence: string): string => {
  if (/^(?:got it|based|given|bored)\b/i.test(sentence)) return sentence
  const first = elidedPast.exec(sentence)
  const word = first?.[1]?.toLowerCase() ?? ""
  const adverbed = first !== null && first[0].length > word.length
  const small = sentence[0]?.toLowerCase() + sentence.slice(1)
  if (irregularPast.has(word) || (adverbed && /\p{L}{2,}ed$/u.test(word))) return /^(?:said|left|found|built|broke|held|led|laid|was|were|did|had)$/.test(word) && !adverbed ? sentence : `I ${small}`
  if (word === "been") return `I have ${small}`
  if (/^haven't\b/i.test(sentence)) return `I ${small}`
  if (elidedDoing.test(sentence)) return `I am ${small}`
  return sentence
}

const annotated = (text: string, phrase: string, meant: string): string => {
  const at = text.indexOf(phrase)
  const end = at + phrase.length
  if (at < 0 || meant === phrase || text[end] === "'") return text
  return `${text.slice(0, end)} (${meant.replace("/", " to ")})${text.slice(end)}`
}

const concrete = (sentence: string): boolean => /\d/.test(sentence) || /(?<=[\p{L},'] )\p{Lu}\p{Ll}/u.test(sentence)

interface Draft {
  text: string
  key: string
  meant?: string
}

const draft = (text: string, sentence: string, time: string): Draft => {
  const meant = meantTime(sentence, time)
  return meant === undefined
    ? { text, key: text }
    : { text: annotated(text, meant.phrase, meant.meant), key: text, meant: meant.meant }
}

const factsOfPerson = (turn: Turn, subject: string, other: string | undefined, names: ReadonlyArray<string>): ReadonlyArray<Draft> => {
  const facts: Array<Draft> = []
  const isTalk = turn.text.length <= talkLimit
  let joinable: Draft | undefined
  for (const raw of sentencesOf(turn.text)) {
    if (facts.length >= factsPerTurnLimit) break
    if (raw.length > sentenceLimit) {
      joinable = undefined
      continue
    }
    const said = statement(strip(raw, names))
    if (said === undefined || contentCount(said) < 2) {
      joinable = undefined
      continue
    }
    const rewritten = inThirdPerson(withSubject(said), subject, other)
    if (rewritten !== undefined && !anaphor.test(said)) {
      joinable = draft(rewritten, said, turn.time)
      facts.push(joinable)
    } else if (joinable !== undefined && anaphor.test(said) && joinable.text.length + said.length < joinedLimit) {
      // "It cost 40 dollars." means nothing alone; it goes on where the thing was named.
      const more = draft(rewritten === undefined ? said : rewritten, said, turn.time)
      joinable.text += ` ${more.text}`
      joinable.key += ` ${more.key}`
      if (joinable.meant === undefined && more.meant !== undefined) joinable.meant = more.meant
    } else if (rewritten !== undefined) {
      joinable = draft(rewritten, said, turn.time)
      facts.push(joinable)
    } else if (isTalk && concrete(names.reduce((text, name) => text.replaceAll(name, ""), said)) && contentCount(said) >= 3 && !anaphor.test(said)) {
      joinable = draft(`${subject} said: ${said}`, said, turn.time)
      facts.push(joinable)
    } else {
      joinable = undefined
    }
  }
  return facts
}

const recommends = pattern("i")`
  \b(?:I(?:'d| would)?(?: highly| strongly)? (?:recommend|suggest|advise)|my (?:recommendation|suggestion|advice)
  |you (?:could|should|might want to|may want to) (?:try|consider|check out|visit|look into|go with|start with))\b
`
const recommendationLimit = 4
const listLimit = 2
const headLimit = 12

/** List items' heads: `1. **Nike**: …`, `- **Visit the museum** - …`. */
const listHeads = (text: string): ReadonlyArray<{ readonly intro: string; readonly heads: ReadonlyArray<string> }> => {
  const lists: Array<{ intro: string; heads: Array<string> }> = []
  let intro = ""
  let open: { intro: string; heads: Array<string> } | undefined
  for (const line of text.slice(0, 20_000).split(/\r?\n/)) {
    const item = /^\s*(?:[-*•]|\d{1,3}[.)])\s+(?:\*\*([^*\n]{2,80}?):?\*\*|([\p{Lu}"][^:\n]{1,60}):\s)/u.exec(line)
    if (item !== null) {
      if (open === undefined) lists.push(open = { intro, heads: [] })
      open.heads.push((item[1] ?? item[2] ?? "").trim())
    } else if (line.trim() !== "" && !/^\s*(?:[-*•+]|\d{1,3}[.)])\s/.test(line) && !/^\s{2,}/.test(line)) {
      open = undefined
      intro = line.replace(/[*#`]/g, "").trim()
    }
  }
  return lists
}

const factsOfAssistant = (turn: Turn): ReadonlyArray<Draft> => {
  const facts: Array<Draft> = []
  const seen = new Set<string>()
  for (const { intro, heads: all } of listHeads(turn.text)) {
    // Headings that come again under every item ("Price", "Size") describe the items and are no recommendation.
    const heads = [...new Set(all)].filter((head) => !seen.has(head))
    for (const head of heads) seen.add(head)
    if (heads.length < 2 || facts.length >= listLimit) continue
    const about = sentencesOf(intro).at(-1)?.replace(/[:.!?]+$/, "").slice(0, 160) ?? ""
    const text = `The assistant listed${about === "" ? "" : ` (${about})`}: ${heads.slice(0, headLimit).join(", ")}.`
    facts.push({ text, key: text })
  }
  for (const sentence of sentencesOf(turn.text)) {
    if (facts.length >= recommendationLimit) break
    if (sentence.length > 220 || /[?:]$/.test(sentence) || !recommends.test(sentence) || contentCount(sentence) < 4) continue
    const text = `The assistant recommended: ${sentence}`
    facts.push({ text, key: text })
  }
  return facts
}

/**
 * Facts of one segment's turns, in the order they were said. A statement made twice is one fact with both turns. The same turns always
 * give the same facts.
 */
export const extractFacts = (turns: ReadonlyArray<Turn>): ReadonlyArray<ExtractedFact> => {
  const names = [...new Set(turns.map(({ speaker }) => speaker))].filter((speaker) => speaker !== "user" && speaker !== "assistant")
  const found = new Map<string, { fact: ExtractedFact; turns: [string, ...Array<string>] }>()
  for (const turn of turns) {
    const other = names.length === 2 && names.includes(turn.speaker) ? names.find((name) => name !== turn.speaker) : undefined
    const drafts = turn.speaker === "assistant"
      ? factsOfAssistant(turn)
      : factsOfPerson(turn, turn.speaker === "user" ? "The user" : turn.speaker, other, names)
    for (const { text, key, meant } of drafts) {
      const same = `${turn.speaker}\n${key.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim()}\n${meant ?? ""}`
      const before = found.get(same)
      if (before === undefined) {
        const ids: [string, ...Array<string>] = [turn.id]
        found.set(same, {
          turns: ids,
          fact: { text, speaker: turn.speaker, time: turn.time, ...(meant === undefined ? {} : { meant }), turns: ids }
        })
      } else if (!before.turns.includes(turn.id)) before.turns.push(turn.id)
    }
  }
  return [...found.values()].map(({ fact }) => fact)
}
