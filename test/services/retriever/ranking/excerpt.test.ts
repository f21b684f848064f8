import { test } from "uvu"
import * as assert from "uvu/assert"
import { tokensOf } from "#shared/model/tokens"
import { excerpt } from "#services/retriever/ranking/excerpt"

test("a text that fits is shown whole", () => {
  assert.is(excerpt("The kettle is blue. It whistles.", "kettle", 50), "The kettle is blue. It whistles.")
})

test("of a long text the sentences about the question are shown, with marks where something is left out", () => {
  const text = `${"The weather was mild that day. ".repeat(40)}My parrot Quillon eats walnuts. ${"Nothing else happened then. ".repeat(40)}`
  const shown = excerpt(text, "What does the parrot Quillon eat?", 40)
  assert.match(shown, "Quillon eats walnuts")
  assert.match(shown, "…")
  assert.ok(tokensOf(shown) <= 40)
})

test("sentences end at the marks of other scripts", () => {
  for (const [filler, told, question] of [
    ["كان الطقس معتدلا اليوم؟", " اشتريت دراجة خضراء؟", "دراجة"],
    ["मौसम अच्छा था।", " मैंने साइकिल खरीदी।", "साइकिल"],
    ["今天天气很好。", "我买了「绿色的自行车。」", "自行车"]
  ] as const) {
    const shown = excerpt(`${filler.repeat(60)}${told}${filler.repeat(60)}`, question, 60)
    assert.ok(shown.includes(told.trim()), shown)
    // Cut at sentences, not within.
    for (const piece of shown.split("…")) assert.ok(piece.trim() === "" || (filler.repeat(200) + told + filler.repeat(200)).includes(piece.trim()), piece)
    for (const piece of shown.split("…").map((piece) => piece.trim()).filter((piece) => piece !== "")) assert.match(piece, /[。؟।」]$/, piece)
  }
})

for (const [name, part] of [
  ["Chinese without a full stop", "我喜欢在北京的公园散步"],
  ["Hebrew without a full stop", "אני אוהב קפה מאוד "],
  ["one endless word", "abcdefghij"],
  ["emoji", "😀"],
  ["words without a full stop", "and then, "]
] as const) {
  test(`a long text of ${name} is shown in part within a small limit`, () => {
    const shown = excerpt(part.repeat(2_000), "anything", 60)
    assert.ok(tokensOf(shown) > 10 && tokensOf(shown) <= 60, `${tokensOf(shown)} tokens`)
    assert.ok(shown.isWellFormed())
  })
}

test.run()
