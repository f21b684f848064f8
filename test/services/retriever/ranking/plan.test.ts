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
  assert.is(planQuestion("Remind me when my dentist appointment is", roles).speaker, "user")
  assert.is(planQuestion("Remind me what you said about my dentist", roles).speaker, "assistant")
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

test("names that are everyday words are told from the words", () => {
  const team = new Set(["Will", "May", "Rose", "Grant Lee"])
  const speaker = (question: string) => planQuestion(question, team, "2026-04-05T10:00:00.000Z").speaker
  for (const question of ["When will they land?", "May I deploy?", "Will the keys still work?", "How did the price of a rose change?", "Which grant did we get?", "Will Ana come?"]) assert.is(speaker(question), undefined, question)
  assert.is(speaker("What did Will say about the backoff?"), "Will")
  assert.is(speaker("Will said what about it?"), "Will")
  assert.is(speaker("Will May come?"), "May")
  assert.is(speaker("What does Grant do?"), "Grant Lee")
  assert.is(speaker("what does grant lee do?"), "Grant Lee")
  assert.equal(planQuestion("When will Rose come, and will it rain?", team).vectorQueries, ["When will they come, and will it rain?"])
})

test("a participant called like a month is no month", () => {
  const windows = (question: string, name: string) => planQuestion(question, new Set([name, "Tom"]), "2026-08-05T10:00:00.000Z").windows.length
  assert.equal(["April", "Ana"].map((name) => windows("What did Tom get from April?", name)), [0, 1])
  assert.is(windows("What did May do in May?", "May"), 1)
  assert.is(windows("What did Tom do on May 3?", "May"), 1)
})

test("names are found in scripts without blanks", () => {
  const friends = new Set(["小明", "佳慧", "李", "Ana", "민수"])
  const speaker = (question: string) => planQuestion(question, friends).speaker
  assert.is(speaker("小明的自行车怎么了？"), "小明")
  assert.is(speaker("昨天佳慧去了哪里"), "佳慧")
  assert.is(speaker("Ana是谁？"), "Ana")
  assert.is(speaker("민수는 어디에 살아요?"), "민수")
  assert.is(speaker("行李在哪里？"), undefined)
  assert.is(speaker("小明和佳慧"), undefined)
  assert.equal(planQuestion("小明的自行车怎么了？", friends).vectorQueries, ["小明的自行车怎么了？"])
})

test("a question about nothing but a time is told from one about something then", () => {
  const alone = (question: string) => planQuestion(question, new Set(["Ana", "Tom"]), "2026-04-05T10:00:00.000Z").asksTimeAlone
  for (const question of ["What happened last Tuesday?", "What did Ana do on the 3rd of May 2025?", "What did we talk about two weeks ago?", "Anything new since January?"]) assert.ok(alone(question), question)
  for (const question of ["What did I plant last Tuesday?", "What happened?", "What did Ana do at the lake in May?", "In what order did things happen last week?"]) assert.not(alone(question), question)
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
