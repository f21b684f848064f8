/**
 * The router: which class a question belongs to, told from its text alone, and so which principles it is shown.
 * A data set's label never reaches it. Cues are general wording, tried in a fixed order; the first that fits decides.
 */
import type { Principle } from "#shared/domain/principle"
import type { QuestionClass } from "#shared/domain/scope"

const speech =
  "say|said|tell|told|mention|mentioned|recommend|recommended|suggest|suggested|describe|described|give|gave|given|provide|provided|list|listed|create|created|write|wrote|written|explain|explained|advise|advised|name|named|propose|proposed|outline|outlined|share|shared"
const unit = "(?:second|minute|hour|day|week|month|year)s?"
const month = "january|february|march|april|june|july|august|september|october|november|december"
const weekday = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"

/** Something the assistant said is asked back. */
const assistantSaid = [
  new RegExp(`\\bdid you (?:\\w+ )?(?:${speech})\\b`),
  /\byou (?:once |previously |earlier |already |just |had |have |also )?(?:said|told|mentioned|recommended|suggested|described|gave|provided|listed|created|wrote|explained|advised|named|proposed|outlined|shared)\b/,
  /\bremind me\b/,
  /\bour (?:\w+ )?(?:conversation|chat|discussion|exchange)\b/,
  /\byour (?:\w+ )?(?:pick|suggestion|recommendation|advice|list|answer|reply|explanation|proposal)\b/,
  /\bwe (?:\w+ )?(?:discussed|talked|decided|agreed|spoke)\b/
]

/** Advice or ideas are wanted, so taste decides. */
const preference = [
  /\b(?:can|could|would|will) you (?:please |also )?(?:suggest|recommend|help me|advise|give me|propose|come up)\b/,
  /\bany (?:\w+ ){0,4}(?:tips?|ideas?|advice|suggestions?|recommendations?)\b/,
  /\b(?:what|which|where|how|when|who)\b[^.?!]{0,60}\bshould i\b/,
  /\bshould i (?:\w+ ){1,8}\bor\b/,
  /\bdo you (?:have|know)\b[^.?!]{0,30}\b(?:tips|ideas|advice|suggestions|recommendations|thoughts)\b/,
  /\bwould (?:suit|be a (?:good|nice|great|suitable)|work (?:well )?for me|fit me)\b/,
  /\b(?:what do you think|do you think|your thoughts|could there be a reason|why might)\b/
]

/** Several statements have to be gathered: sums, counts of different things, comparisons of amounts. */
const gathered = [
  /\b(?:in total|altogether|all together|combined|in all|overall|on average|average)\b/,
  /\btotal (?:number|amount|cost|distance|time|weight|price|sum|hours|days|count)\b/,
  /\b(?:add|adding|added|sum|summing|count|counting|taking)\b[^.?!]{0,24}\b(?:up|together|all|everything|every)\b/,
  /\b(?:how many|number of|count of) different\b/,
  /\b(?:across|over|during) (?:all |both |the |my |our )*(?:visits|chats|conversations|sessions|trips|meetings|occasions)\b/,
  /\b(?:come|comes|came|amount|amounts|add) to\?/,
  /\b(?:went|gone|goes|go|put) into\b/,
  /\bwhat (?:distance|sum|amount)\b/,
  /\b(?:which|what) number of\b/,
  /\bhow (?:much|many) (?:more|less|fewer|faster|older|younger|earlier|later|cheaper)\b/,
  /\bhow many\b[^.?!]{0,70}\b(?:in|over|during|within) (?:the )?(?:last|past)\b/,
  new RegExp(`\\bhow (?:many|much)\\b[^.?!]{0,70}\\bdid i\\b[^.?!]{0,80}\\b(?:in|during|this|last) (?:the )?(?:month of )?(?:${month}|month|year|week|summer|winter|spring|autumn|fall)\\b`),
  new RegExp(`\\bhow many (?!${unit})[^.?!]{0,60}\\bdid i (?:buy|acquire|attend|visit|replace|fix|service|watch|re-watch|read|view)\\b`),
  /\b(?:what percentage|minimum amount|maximum amount|in a typical week)\b/,
  /\bspend\b[^.?!]{0,60}\b(?:and|attending)\b/
]

/** An order, a distance in time, or a moment is asked for. */
const time = [
  new RegExp(`\\b(?:how many|how much|number of) (?:${unit}|time)\\b[^?]*\\b(?:ago|pass|passed|between|before|after|since|elapsed|until|apart)\\b`),
  new RegExp(`\\b(?:gap|interval|difference|distance) (?:in|of) (?:${unit}|time)\\b`),
  /\bhow long (?:after|before|ago|since|until|had|have|has|did it take|did i take|was it between|between)\b/,
  /\b(?:in what|in which|what is the|what was the) (?:\w+ )?order\b/,
  /\bbefore or after\b|\bafter or before\b/,
  /\b(?:came|come|comes|happened|happen|occurred|started|arrived|took place) (?:first|last|earlier|later|earliest|before)\b/,
  /\b(?:which|what|who)\b[^?]*\b(?:first|earlier|earliest|latest|most recently|last)\b[,:]?[^?]*\bor\b/,
  /\b(?:which|who|what)\b[^?]*\bdid (?:i|we|\w+)\b[^?]*\b(?:first|most recently)\b/,
  /\bgraduated first\b|\bfirst, second\b|\bmost recently\?/,
  new RegExp(`\\b(?:a|an|one|two|three|four|five|six|seven|eight|nine|ten|\\d+|few|couple of) ${unit} ago\\b`),
  new RegExp(`\\b(?:last|past|this past) (?:${weekday})\\b|\\blast (?:week|month|year)\\b`),
  /\b(?:on what|what|which|the) (?:date|day) (?:on which|did|was|of the)\b/,
  /\bhow old (?:was|were|will)\b|\bhow many years will\b/,
  /\bwhen did\b|\bon (?:valentine|christmas|easter|new year)/,
  /\bfrom (?:the )?earliest\b|\bstarting from the earliest\b/
]

/** A state that may have changed: present tense, records, running counts, the last word on something. */
const latest = [
  /\b(?:current|currently|now|nowadays|these days|at the moment|at present|still|latest|most recent|recent|recently|any ?more|so far|up to date)\b/,
  /\b(?:previous|previously|initially|used to|formerly)\b/,
  /\b(?:personal best|record|highest score|best time|high score)\b/,
  /\bhow often\b|\bhow frequently\b/,
  /\blast (?:tell|told|say|said|mention|mentioned|report|reported|hear|heard)\b/,
  /\bhow (?:many|much)\b[^?]*\bhave (?:i|we)\b/,
  /\b(?:what|which|where|who|how|whose|whom|when)\b[^?]*?\b(?:do|does)\b/,
  /^who (?:\w+(?:[^s\W]s)) /
]

const cues: ReadonlyArray<readonly [QuestionClass, ReadonlyArray<RegExp>]> = [
  ["assistant-said", assistantSaid],
  ["preference", preference],
  ["multi-evidence", gathered],
  ["time", time],
  ["latest-value", latest]
]

/** Classes the router can pick. `not-known` is none of them: that a memory is missing cannot be seen in the question. */
export const routedClasses = ["single-fact", "assistant-said", "preference", "multi-evidence", "time", "latest-value"] as const

/** The class of a question by wording cues in its text; `single-fact` where no cue fits. */
export const routeQuestion = (text: string): QuestionClass => {
  const plain = text.toLowerCase().replace(/[’‘]/g, "'").replace(/\s+/g, " ").trim()
  return cues.find(([, patterns]) => patterns.some((pattern) => pattern.test(plain)))?.[0] ?? "single-fact"
}

/**
 * Whether a principle is shown with questions of a class. Scope `all` always is, and so is `not-known`: any question may turn
 * out to be unanswerable, so such a principle guards them all.
 */
export const inScope = (principle: Pick<Principle, "scope">, questionClass: QuestionClass): boolean =>
  principle.scope === "all" || principle.scope === "not-known" || principle.scope === questionClass

/** The principles a question is shown, in the order given. */
export const principlesFor = <P extends Pick<Principle, "scope">>(text: string, principles: ReadonlyArray<P>): ReadonlyArray<P> => {
  const questionClass = routeQuestion(text)
  return principles.filter((principle) => inScope(principle, questionClass))
}
