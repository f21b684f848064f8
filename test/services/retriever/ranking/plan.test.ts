import { test } from "uvu"
import * as assert from "uvu/assert"
import { planQuestion } from "#services/retriever/ranking/plan"

const roles = new Set(["user", "assistant"])
const people = new Set(["Ana", "Ben Lee"])

test("the kind of chat is read from who speaks", () => {
  assert.is(planQuestion("Who?", roles).isBetweenPeople, false)
  assert.is(planQuestion("Who?", people).isBetweenPeople, true)
  assert.is(planQuestion("Who?", new Set()).isBetweenPeople, false)
})

test("the user's turns are preferred unless the assistant is asked about its own words", () => {
  assert.is(planQuestion("What is my cat called?", roles).speaker, "user")
  assert.is(planQuestion("Which book did you recommend?", roles).speaker, "assistant")
  assert.is(planQuestion("Remind me what the recipe was", roles).speaker, "assistant")
  assert.is(planQuestion("Can you list the order in which I mentioned trips in our conversations?", roles).speaker, "user")
})

test("one person named is preferred and becomes a pronoun in what is embedded; two are not", () => {
  const one = planQuestion("What is Ana's dog called?", people)
  assert.is(one.speaker, "Ana")
  assert.equal(one.vectorQueries, ["What is their dog called?"])
  assert.is(one.topic, "What is Ana's dog called?")
  assert.is(planQuestion("What does ben like?", people).speaker, "Ben Lee")
  assert.is(planQuestion("What do Ana and Ben Lee share?", people).speaker, undefined)
})

test("a name inside another word is no name, and signs in names do no harm", () => {
  assert.is(planQuestion("Is an Anaconda a snake?", people).speaker, undefined)
  assert.is(planQuestion("What does A.(b like?", new Set(["A.(b", "Ben"])).speaker, "A.(b")
})

test("questions about an order or a summary are looked up by their topic", () => {
  const order = planQuestion("Can you list the order in which I brought up different aspects of my garden plan throughout our conversations, in order? Mention ONLY five items.", roles)
  assert.is(order.asksOrder, true)
  assert.is(order.topic.replace(/\W+$/, ""), "my garden plan")
  const summary = planQuestion("Can you give me a clear summary of how my garden plan has grown over time?", roles)
  assert.is(summary.asksOverview, true)
  assert.is(summary.topic, "my garden plan has grown over time?")
  assert.is(planQuestion("Give me a summary.", roles).topic, "Give me a summary.")
})

test("an order asked for by its ends is looked up by its topic too", () => {
  const order = planQuestion("What is the order of the five hikes I did, starting from the earliest to the latest?", roles)
  assert.is(order.asksOrder, true)
  assert.is(order.topic.replace(/\W+$/, ""), "the five hikes I did")
  assert.is(planQuestion("Which hike did I do first?", roles).topic, "Which hike did I do first?")
})

test("questions about what the asker did are told from others", () => {
  for (const question of ["Which bike did I buy?", "How many lamps have I repaired?", "What was the name of the dog I met?", "How long have we lived here?"]) assert.ok(planQuestion(question, roles).asksOwnPast, question)
  for (const question of ["Can you suggest a bike?", "What is my cat called?", "What did Ana buy?"]) assert.not(planQuestion(question, roles).asksOwnPast, question)
})

test("when-questions are known by how they begin", () => {
  assert.is(planQuestion("When did Ana move?", people).asksWhen, true)
  assert.is(planQuestion("What does Ana do when it rains?", people).asksWhen, false)
})

test.run()
