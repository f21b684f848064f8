/** Whether a text speaks of what its speaker did or had: most of what a user later asks about was told in such a sentence. */

/** Each word fits one alternative only: a word that fitted two would be tried in all ways where it is repeated. */
const between = "(?:(?:\\p{L}+ly|just|also|even|already|once|first) )*"
/** Regular past forms without what only looks like one, and the irregular ones that everyday talk is made of. */
const past =
  "(?:(?!(?:need|feed|bleed|breed|speed|(?:pro|suc|ex)ceed)\\b)\\p{L}+ed|got|bought|went|had|took|made|began|came|saw|met|won|lost|sold|found|gave|spent|read|ran|wrote|ate|left|kept|paid|sent|built|drove|flew|rode|slept|taught|wore|fell|felt|did|was|were)"
const telling = `\\b(?:I|we) ${between}${past}\\b|\\b(?:I|we)(?:['’]ve| have)\\b`

const told = new RegExp(`(?:${telling})(?=[^.!?\\n]*(?:[.!\\n]|$))`, "iu")
const asked = new RegExp(`\\b(?:did|have|had|was|were) (?:I|we)\\b|${telling}`, "iu")

/** A statement, not a question, of what the speaker did or had. */
export const tellsOwnPast = (text: string): boolean => told.test(text)

/** A question that speaks of what the one who asks did or had. */
export const asksOwnPast = (question: string): boolean => asked.test(question)
