import { test } from "uvu"
import * as assert from "uvu/assert"
import { inScope, principlesFor, routeQuestion } from "#shared/metamemory/router"

const routes: ReadonlyArray<readonly [string, string]> = [
  ["Which florist did I choose for the ceremony?", "single-fact"],
  ["What was the name of the hotel we stayed at before flying home?", "single-fact"],
  ["Which soup did you recommend for my cold?", "assistant-said"],
  ["Can you remind me of the third item on the packing list you gave me?", "assistant-said"],
  ["Could you suggest a film for tonight?", "preference"],
  ["I have a free afternoon, any ideas?", "preference"],
  ["What should I bake for my neighbours?", "preference"],
  ["How many different lakes did I swim in?", "multi-evidence"],
  ["How much did I spend on repairs altogether?", "multi-evidence"],
  ["How many days passed between the interview and the offer?", "time"],
  ["Which happened first, the move or the promotion?", "time"],
  ["How many weeks ago did I start the course?", "time"],
  ["Where do I keep my spare keys now?", "latest-value"],
  ["How often do I water the ferns?", "latest-value"],
  ["What is my personal best on the rowing machine?", "latest-value"]
]

test("a question's class is told from its wording", () => {
  for (const [text, expected] of routes) assert.is(routeQuestion(text), expected, text)
})

test("case, curly quotes and line breaks do not change the class", () =>
  assert.is(routeQuestion("HOW MANY DAYS\npassed between Ann’s visit and mine?"), routeQuestion("how many days passed between Ann's visit and mine?")))

test("a question without any cue is a single fact, and an empty one too", () => {
  assert.is(routeQuestion("Her maiden name?"), "single-fact")
  assert.is(routeQuestion(""), "single-fact")
})

test("a principle for all or for unknown answers is in scope everywhere, others only in their class", () => {
  assert.ok(inScope({ scope: "all" }, "time"))
  assert.ok(inScope({ scope: "not-known" }, "preference"))
  assert.ok(inScope({ scope: "time" }, "time"))
  assert.not(inScope({ scope: "time" }, "preference"))
})

test("a question is shown its principles in their order", () => {
  const principles = [{ scope: "time", n: 1 }, { scope: "preference", n: 2 }, { scope: "all", n: 3 }] as const
  assert.equal(principlesFor("How many days ago did I call?", principles).map((p) => p.n), [1, 3])
})

test.run()
