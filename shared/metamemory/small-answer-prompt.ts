/** The reader's prompt for models below a billion parameters: short, by example; the evidence budget keeps it within what such a model can hold. */
import { type AnswerInput, asData, principleLines, speakerName } from "./prompts.ts"

export const smallAnswerTemplate = "answer-small/4"

const note = ({ speaker, text, time }: { readonly speaker: string; readonly text: string; readonly time: string }): string =>
  `- ${time.slice(0, 10)} ${speakerName(speaker)}: ${asData(text).replace(/\s+/g, " ")}`

const ask = (notes: string, question: string): string => `Notes:\n${notes}\nQuestion: ${question}\nShort answer:`

/** Principles in scope stand verbatim above the notes; without any the line is left out and nothing else changes. */
export const smallAnswerPrompt = (input: AnswerInput): ReadonlyArray<{ readonly role: "system" | "user" | "assistant"; readonly content: string }> => [
  { role: "system", content: "You answer questions from the notes, in a few words. If the notes do not tell, say: I do not know." },
  { role: "user", content: ask("- 2001-01-05 user: My parrot is called Quillon.\n- 2001-01-09 assistant: Marbles roll best on slate.", "Who repaired my kite?") },
  { role: "assistant", content: "I do not know" },
  { role: "user", content: ask("- 2001-01-03 user: I swapped my tin drum for nine marbles.\n- 2001-01-05 user: My parrot is called Quillon.", "What did I get for the tin drum?") },
  { role: "assistant", content: "nine marbles" },
  { role: "user", content: ask("- 2001-01-09 assistant: Marbles roll best on slate.\n- 2001-01-12 user: The slate is from Odrin's quarry.", "What did you say marbles roll best on?") },
  { role: "assistant", content: "slate" },
  {
    role: "user",
    content: `${input.principles.length === 0 ? "" : `Principles:\n${principleLines(input.principles)}\n`}${
      ask(input.evidence.length === 0 ? "(none)" : input.evidence.map(note).join("\n"), `${input.date === undefined ? "" : `(asked ${input.date.slice(0, 10)}) `}${asData(input.question)}`)
    }`
  }
]
