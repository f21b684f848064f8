/**
 * The reader's prompt for models below a billion parameters: short and without examples. Measured with the packaged model on the sample
 * questions: examples do not pay, an example that abstains makes it abstain always, and short evidence matters most.
 */
import type { AnswerInput } from "#shared/metamemory/prompts"
import { asData } from "#shared/metamemory/prompts"

export const smallAnswerTemplate = "answer-small/3"

const note = ({ speaker, text, time }: { readonly speaker: string; readonly text: string; readonly time: string }): string =>
  `- ${time.slice(0, 10)}, ${asData(speaker)}: ${asData(text).replace(/\s+/g, " ")}`

/** Principles in scope stand verbatim above the memories; without any the block is left out and nothing else changes. */
export const smallAnswerPrompt = (input: AnswerInput): ReadonlyArray<{ readonly role: "system" | "user"; readonly content: string }> => [
  {
    role: "system",
    content: "You answer a user's question from memories of earlier conversations with that user. If they do not hold the answer, say that you do not know. Answer in one short sentence."
  },
  {
    role: "user",
    content: [
      ...(input.principles.length === 0 ? [] : [`<principles>\n${input.principles.map(({ id, text }) => `[${id}] ${text}`).join("\n")}\n</principles>\n`]),
      `<memories>\n${input.evidence.length === 0 ? "(none)" : input.evidence.map(note).join("\n")}\n</memories>\n`,
      `Question${input.date === undefined ? "" : `, asked on ${input.date.slice(0, 10)}`}: ${asData(input.question)}`
    ].join("\n")
  }
]
