/**
 * General principles on using memories, with the kind of question each is for and what an attempt that lacks it looks like. The
 * rule-based proposer draws from them; none is ever in force without having passed the gate.
 */
import type { PrincipleScope } from "#shared/domain/scope"
import type { Feature } from "./attempt-features.ts"

export interface CataloguePrinciple {
  readonly scope: PrincipleScope
  readonly text: string
  /** Speaks for this principle when seen in a wrong attempt. */
  readonly triggers: ReadonlyArray<Feature>
}

export const catalogue: ReadonlyArray<CataloguePrinciple> = [
  { scope: "all", triggers: ["abstained", "answer-in-evidence"], text: "Before saying that something is not known, go through every memory once more and look for the answer in other words." },
  { scope: "all", triggers: ["wordy", "partial"], text: "Give the answer itself in the last sentence, complete and without alternatives." },
  { scope: "all", triggers: ["many-memories"], text: "Leave out memories that share only a word with the question and rely on those that are about its subject." },
  { scope: "all", triggers: ["answer-in-evidence", "partial"], text: "Take names, numbers and titles from the memory letter by letter instead of describing them." },
  { scope: "not-known", triggers: ["answered-unanswerable"], text: "If no memory speaks of the very person, thing or event in the question, say that it was never mentioned." },
  { scope: "not-known", triggers: ["answered-unanswerable"], text: "Check that the subject of the memory and the subject of the question are the same before using it; a similar one is not enough." },
  { scope: "single-fact", triggers: ["answer-in-evidence"], text: "Find the one memory that states the detail asked for and answer with its own words." },
  { scope: "single-fact", triggers: ["abstained"], text: "A detail may be mentioned in passing while talking of something else; treat such a remark as a full answer." },
  { scope: "single-fact", triggers: ["many-conversations"], text: "When several memories look alike, choose the one whose person, place and occasion all agree with the question." },
  { scope: "single-fact", triggers: ["partial"], text: "Answer exactly what is asked, with its unit or qualifier, and add nothing from other memories." },
  { scope: "assistant-said", triggers: ["answer-by-assistant"], text: "The answer is in what the assistant said; search its messages and not only those of the user." },
  { scope: "assistant-said", triggers: ["partial"], text: "When the assistant gave a list, count its entries in the order given and name the one asked for." },
  { scope: "assistant-said", triggers: ["abstained", "answer-missing"], text: "Repeat what was recommended then; do not make up a new recommendation in its place." },
  { scope: "assistant-said", triggers: ["many-memories"], text: "Use the user's own request to find the right conversation, then read the reply that followed it." },
  { scope: "preference", triggers: ["answer-missing", "wordy"], text: "Base each suggestion on a taste, possession or habit that the user has mentioned, and name it." },
  { scope: "preference", triggers: ["abstained"], text: "A request for advice needs no stored answer; use what is known of the user to give one." },
  { scope: "preference", triggers: ["partial"], text: "Mention what the user dislikes or avoids and keep it out of the suggestions." },
  { scope: "preference", triggers: ["many-conversations"], text: "Prefer what the user said of their own experience over general advice given in the conversation." },
  { scope: "multi-evidence", triggers: ["number-too-low", "many-conversations"], text: "List every memory that adds to the count, one a line with its occasion, and only then count." },
  { scope: "multi-evidence", triggers: ["number-too-high"], text: "Before counting, merge memories that speak of the same thing or occasion." },
  { scope: "multi-evidence", triggers: ["answer-spread", "partial"], text: "Collect the figures from all conversations first, then calculate step by step and state the result with its unit." },
  { scope: "multi-evidence", triggers: ["number-too-high"], text: "Count only what was done or owned; plans, wishes and examples do not count." },
  { scope: "multi-evidence", triggers: ["number-missing", "abstained"], text: "A total need not be stated anywhere; work it out from the single mentions." },
  { scope: "time", triggers: ["relative-dates"], text: "Turn words such as yesterday or last week into a calendar date, counting from the date of that message." },
  { scope: "time", triggers: ["number-too-low", "number-too-high"], text: "Write down the date of each event, then subtract the earlier from the later and state the unit asked for." },
  { scope: "time", triggers: ["number-missing", "abstained"], text: "When an interval is asked for and no memory states it, compute it from the dates of the messages." },
  { scope: "time", triggers: ["partial", "many-conversations"], text: "To put events in order, compare the dates on which they happened and not the order in which they were told." },
  { scope: "time", triggers: ["number-too-high"], text: "For how long ago something was, count from the date of the question." },
  { scope: "latest-value", triggers: ["older-value-used"], text: "When memories give different values for the same thing, the newest one holds." },
  { scope: "latest-value", triggers: ["answer-in-evidence"], text: "Look for a later memory that changes the value before giving it." },
  { scope: "latest-value", triggers: ["number-too-high", "number-too-low"], text: "A counter told again replaces the earlier figure; do not add the two." },
  { scope: "latest-value", triggers: ["partial"], text: "If the question asks for a former state, give the value before the change, otherwise the one after it." }
]
