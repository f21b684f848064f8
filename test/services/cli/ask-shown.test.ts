import { suite } from "uvu"
import * as assert from "uvu/assert"
import { evidenceText, shownAnswer } from "#services/cli/memory"

const test = suite("an answer shown while it is written")

const shown = (parts: ReadonlyArray<unknown>, marked: string) => {
  const written: Array<string> = []
  const answer = shownAnswer((text) => void written.push(text))
  for (const part of parts) answer.part(part)
  return [written.join(""), answer.rest(marked)] as const
}

test("what was shown whole is not printed again", () => {
  assert.equal(shown([{ text: "Nine mar" }, { text: "bles [3]. " }], "Nine marbles [3]."), ["Nine marbles [3]. ", ""])
  assert.equal(shown([{ text: "Ni" }, { restarted: true }, { text: "Nine" }], "Nine"), ["Ni\n(begun again)\nNine", ""])
})

test("an answer that was not shown, or came out otherwise, is printed, and the difference is said", () => {
  assert.equal(shown([], "Nine"), ["", "Nine"])
  const [, rest] = shown([{ text: "Nin" }], "(no reader: it is too slow) The best evidence: …")
  assert.match(rest, /broke off[^]*no reader/)
})

test("what is no part is passed over", () => {
  assert.equal(shown(["x", null, { other: 1 }, { text: 5 }], "Nine"), ["", "Nine"])
})

test("of much evidence the cited and the best are shown, each with its number, in the order of time", () => {
  const evidence = Array.from({ length: 20 }, (_, n) => ({ memoryId: `m${n}`, kind: "turn" as const, text: `text ${n}`, time: `2026-03-${10 + n}T10:00:00.000Z`, speaker: "user", conversation: "c", turns: [`m${n}`], score: n }))
  const numbers = (citations: ReadonlyArray<number>) =>
    [...evidenceText({ evidence, citations: citations.map((number) => ({ number, memoryId: `m${number - 1}`, turns: [], by: "reader" as const })) }).matchAll(/^.{2}\[(\d+)\].*text (\d+)$/gm)].map(([, number, text]) => [Number(number), Number(text)])
  assert.equal(numbers([2]), [2, 13, 14, 15, 16, 17, 18, 19, 20].map((number) => [number, number - 1]))
  assert.is(numbers([]).length, 8)
})

test.run()
