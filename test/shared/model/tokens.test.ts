import { countTokens } from "gpt-tokenizer/encoding/o200k_base"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { tokensOf } from "#shared/model/tokens"
import { processorMs } from "#test/support/processor-time"

test("ordinary text is counted as the tokenizer counts it", () => {
  const text = "On March 3rd I bought a red bicycle, second-hand, for 40 dollars; it squeaks. ".repeat(60) + "That's all, isn't it?\n\n  - one\n  - two\n"
  assert.is(tokensOf(text), countTokens(text))
  assert.is(tokensOf(""), 0)
})

test("code and lists, where nothing but a new line or a sign parts words, are counted as the tokenizer counts them", () => {
  const text = "        self.max_len = box\\_height\n\n5. Photolithographically\n\t+ [Time] - [Event/Commitment]\n".repeat(40)
  assert.is(tokensOf(text), countTokens(text))
})

test("special tokens written out are text", () => {
  assert.ok(tokensOf("<|endoftext|>") > 3)
})

for (const [name, part] of [["one letter", "a"], ["spaces", " "], ["an emoji", "😀"], ["Chinese without a full stop", "我喜欢在北京的公园散步"], ["quotes", "'\""]] as const) {
  test(`five million bytes of ${name} are counted at once`, () => {
    const text = part.repeat(5_000_000 / Buffer.byteLength(part))
    let tokens = 0
    assert.ok(processorMs(() => (tokens = tokensOf(text))) < 2_000)
    const sample = part.repeat(50)
    const expected = (countTokens(sample) / sample.length) * text.length
    assert.ok(Math.abs(tokens - expected) < 0.15 * expected + (name === "spaces" ? 200_000 : 0), `${tokens} for about ${expected}`)
  })
}

test.run()
