/**
 * The samples in data/: shapes, counts, order, and that every question can be answered from the turns it names.
 * What the files mean is described in data/README.md.
 */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"

interface Turn {
  readonly user: string
  readonly conversation: string
  readonly speaker: string
  readonly time: string
  readonly text: string
}

interface Row {
  readonly id: string
  readonly type: string
  readonly check: string
  readonly question: string
  readonly answer: string
  readonly date: string
  readonly evidence: ReadonlyArray<string>
  readonly near?: ReadonlyArray<string>
}

interface Question {
  readonly question_id: string
  readonly question_type: string
  readonly question: string
  readonly answer: string
  readonly question_date: string
  readonly answer_session_ids: ReadonlyArray<string>
  readonly haystack_dates: ReadonlyArray<string>
  readonly haystack_session_ids: ReadonlyArray<string>
  readonly haystack_sessions: ReadonlyArray<ReadonlyArray<{ role: string; content: string; has_answer?: boolean }>>
}

interface Pair {
  readonly id: string
  readonly earlier: { readonly text: string; readonly time: string }
  readonly later: { readonly text: string; readonly time: string }
  readonly label: string
  readonly note: string
}

const folder = join(import.meta.dirname, "../../data")
const read = (name: string): string => readFileSync(join(folder, name), "utf8")
const lines = (name: string): ReadonlyArray<unknown> =>
  read(name).trimEnd().split("\n").map((line): unknown => JSON.parse(line))

const turns = lines("conversations.jsonl") as ReadonlyArray<Turn>
const rows = lines("question-table.jsonl") as ReadonlyArray<Row>
const questions = JSON.parse(read("questions.json")) as ReadonlyArray<Question>
const pairs = lines("reconcile-pairs.jsonl") as ReadonlyArray<Pair>

const types = [
  "single-session-user",
  "single-session-assistant",
  "single-session-preference",
  "multi-session",
  "temporal-reasoning",
  "knowledge-update"
]
const isAbstention = (id: string): boolean => id.endsWith("_abs")
const count = <A>(values: ReadonlyArray<A>, has: (value: A) => boolean): number => values.filter(has).length
const keys = (value: object): string => Object.keys(value).join()
const isUtcSecond = (time: string): boolean =>
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(time) && new Date(time).toISOString() === time.replace("Z", ".000Z")
const weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]

/** Milliseconds since the epoch of `2026/03/02 (Mon) 18:04`; throws when the weekday is not the date's own. */
const millis = (date: string): number => {
  const parts = /^(\d{4})\/(\d\d)\/(\d\d) \((\w{3})\) (\d\d):(\d\d)$/.exec(date)
  assert.ok(parts !== null, `${date} is written like 2026/03/02 (Mon) 18:04`)
  const [year, month, day, hour, minute] = [1, 2, 3, 5, 6].map((index) => Number(parts[index]))
  const time = Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute)
  assert.is(parts[4], weekdays[new Date(time).getUTCDay()], `the weekday in ${date}`)
  return time
}

/** Lower case, only letters and digits, single spaces, a space at each end so that containment respects words. */
const normalised = (text: string): string => ` ${text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim()} `

const conversation = (id: string): ReadonlyArray<Turn> => turns.filter((turn) => turn.conversation === id)
const turnAt = (place: string): Turn | undefined => {
  const [id = "", number] = place.split("#")
  return conversation(id)[Number(number) - 1]
}
const conversationsOf = (row: Row): ReadonlyArray<string> => [...new Set(row.evidence.map((place) => place.split("#")[0] ?? ""))]

const conversations = suite("conversations.jsonl")

conversations("a turn has user, conversation, speaker, time and text, and nothing else", () => {
  for (const turn of turns) {
    assert.is(keys(turn), "user,conversation,speaker,time,text")
    assert.ok(["user", "assistant"].includes(turn.speaker), turn.speaker)
    assert.ok(isUtcSecond(turn.time), turn.time)
    assert.ok(turn.text === turn.text.trim() && turn.text.length >= 20, turn.text)
  }
})

conversations("two users have 60 to 100 turns each, over at least six weeks and six conversations", () => {
  const users = [...new Set(turns.map(({ user }) => user))]
  assert.equal(users.sort(), ["mira", "tomas"])
  for (const user of users) {
    const own = turns.filter((turn) => turn.user === user)
    assert.ok(own.length >= 60 && own.length <= 100, `${user}: ${own.length} turns`)
    assert.ok(new Set(own.map((turn) => turn.conversation)).size >= 6)
    const spanMs = Date.parse(own.at(-1)?.time ?? "") - Date.parse(own[0]?.time ?? "")
    assert.ok(spanMs >= 42 * 86_400_000, `${user}: ${spanMs} ms`)
  }
})

conversations("time only moves forward, over the whole file", () => {
  for (const [index, turn] of turns.slice(1).entries()) {
    assert.ok(Date.parse(turn.time) > Date.parse(turns[index]?.time ?? ""), `${turn.time} comes after the turn before it`)
  }
})

conversations("a conversation belongs to one user, begins with the user and is not interrupted by another of theirs", () => {
  for (const user of ["mira", "tomas"]) {
    const own = turns.filter((turn) => turn.user === user).map((turn) => turn.conversation)
    const begun = own.filter((id, index) => id !== own[index - 1])
    assert.is(new Set(begun).size, begun.length)
    for (const id of begun) {
      assert.is(conversation(id)[0]?.speaker, "user")
      assert.ok(conversation(id).every((turn) => turn.user === user))
    }
  }
})

conversations("no turn is said twice", () => {
  assert.is(new Set(turns.map(({ text }) => normalised(text))).size, turns.length)
})

conversations("a weekday written beside a date is that date's weekday in 2026", () => {
  const written = [...turns.map(({ text }) => text).join("\n").matchAll(/\b(\w{3})\w*day (\d{1,2}) (March|April|May)\b/g)]
  assert.ok(written.length >= 6, `${written.length} dates with a weekday`)
  for (const [text, weekday, day, month] of written) {
    const time = Date.UTC(2026, ["March", "April", "May"].indexOf(month ?? "") + 2, Number(day))
    assert.is(weekday, weekdays[new Date(time).getUTCDay()], text)
  }
})

const table = suite("question-table.jsonl")

table("there are at least 20 questions a user, five of every type and five abstentions", () => {
  assert.is(new Set(rows.map(({ id }) => id)).size, rows.length)
  assert.is(new Set(rows.map(({ question }) => question)).size, rows.length)
  for (const user of ["mira", "tomas"]) assert.ok(count(rows, ({ id }) => id.startsWith(`${user}-`)) >= 20)
  assert.ok(rows.every(({ type }) => types.includes(type)))
  for (const type of types) assert.ok(count(rows, (row) => row.type === type && !isAbstention(row.id)) >= 5, type)
  assert.ok(count(rows, ({ id }) => isAbstention(id)) >= 5)
})

table("every evidence turn exists and belongs to the user who asks", () => {
  for (const row of rows) {
    assert.is(new Set(row.evidence).size, row.evidence.length, row.id)
    for (const place of row.evidence) assert.ok(row.id.startsWith(`${turnAt(place)?.user}-`), `${row.id}: ${place}`)
  }
})

table("a verbatim answer stands in an evidence turn and is short, and its question does not give it away", () => {
  for (const row of rows.filter(({ check }) => check === "verbatim")) {
    const answer = normalised(row.answer)
    assert.ok(row.evidence.some((place) => normalised(turnAt(place)?.text ?? "").includes(answer)), row.id)
    assert.ok(row.answer.split(" ").length <= 4, row.id)
    assert.not(normalised(row.question).includes(answer), row.id)
  }
})

table("a computed answer stands in no evidence turn", () => {
  for (const row of rows.filter(({ check }) => check === "computed")) {
    for (const place of row.evidence) assert.not(normalised(turnAt(place)?.text ?? "").includes(normalised(row.answer)), row.id)
  }
})

table("most answers can be judged by containment", () => {
  assert.ok(count(rows, ({ check }) => check === "verbatim") > rows.length / 2)
  for (const { id, type, check } of rows) {
    assert.ok(["verbatim", "computed", "preference", "absent"].includes(check), id)
    assert.is(check === "preference", type === "single-session-preference", id)
    assert.is(check === "absent", isAbstention(id), id)
  }
})

table("evidence comes from one conversation for single-session questions and from several for multi-session ones", () => {
  for (const row of rows.filter(({ id }) => !isAbstention(id))) {
    const spread = conversationsOf(row).length
    if (row.type.startsWith("single-session")) assert.is(spread, 1, row.id)
    else if (row.type === "multi-session" || row.type === "knowledge-update") assert.ok(spread > 1, row.id)
    else assert.ok(spread > 0, row.id)
  }
})

table("the evidence of a single-session-assistant question was said by the assistant, every other by the user", () => {
  for (const row of rows) {
    const speaker = row.type === "single-session-assistant" ? "assistant" : "user"
    for (const place of row.evidence) assert.is(turnAt(place)?.speaker, speaker, `${row.id}: ${place}`)
  }
})

table("an updated answer stands in the latest evidence and not in the earliest", () => {
  for (const row of rows.filter(({ type, id }) => type === "knowledge-update" && !isAbstention(id))) {
    const texts = row.evidence.map((place) => turnAt(place)).sort((a, b) => ((a?.time ?? "") < (b?.time ?? "") ? -1 : 1))
    assert.not(normalised(texts[0]?.text ?? "").includes(normalised(row.answer)), row.id)
    assert.ok(texts.slice(1).some((turn) => normalised(turn?.text ?? "").includes(normalised(row.answer))), row.id)
  }
})

table("an abstention question names no evidence, only conversations that come near", () => {
  for (const row of rows) {
    assert.is(row.evidence.length === 0, isAbstention(row.id), row.id)
    assert.is(row.near !== undefined, isAbstention(row.id), row.id)
  }
})

const generated = suite("questions.json")

generated("is what build.mjs makes of the conversations and the table", () => {
  const { status, stderr } = spawnSync(process.execPath, [join(folder, "build.mjs"), "--check"], { encoding: "utf8" })
  assert.is(status, 0, stderr)
})

generated("has LongMemEval's fields, and three haystack arrays of one length", () => {
  assert.is(questions.length, rows.length)
  for (const question of questions) {
    assert.is(
      keys(question),
      "question_id,question_type,question,answer,question_date,answer_session_ids,haystack_dates,haystack_session_ids,haystack_sessions"
    )
    assert.is(question.haystack_dates.length, question.haystack_session_ids.length)
    assert.is(question.haystack_sessions.length, question.haystack_session_ids.length)
    assert.is(new Set(question.haystack_session_ids).size, question.haystack_session_ids.length)
  }
})

generated("dates carry their own weekday, rise, and lie before the question", () => {
  for (const question of questions) {
    const times = [...question.haystack_dates, question.question_date].map(millis)
    for (const [index, time] of times.slice(1).entries()) assert.ok(time > (times[index] ?? Infinity), question.question_id)
  }
})

generated("a haystack is all conversations of the user who asks, turn for turn", () => {
  for (const question of questions) {
    const user = question.question_id.split("-")[0] ?? ""
    const own = turns.filter((turn) => turn.user === user)
    assert.equal(question.haystack_session_ids, [...new Set(own.map((turn) => turn.conversation))])
    assert.equal(
      question.haystack_sessions.flat().map(({ role, content }) => ({ role, content })),
      own.map(({ speaker, text }) => ({ role: speaker, content: text }))
    )
  }
})

generated("exactly the evidence turns are marked, and none in an abstention question", () => {
  for (const [index, question] of questions.entries()) {
    const row = rows[index]
    assert.is(question.question_id, row?.id)
    const marked = question.haystack_sessions.flatMap((session, at) =>
      session.flatMap((turn, number) =>
        turn.has_answer === true ? [`${question.haystack_session_ids[at]}#${number + 1}`] : [])
    )
    assert.equal([...marked].sort(), [...(row?.evidence ?? [])].sort(), question.question_id)
    const wanted = isAbstention(question.question_id) ? row?.near : conversationsOf(row as Row)
    assert.equal([...question.answer_session_ids].sort(), [...(wanted ?? [])].sort())
    for (const id of question.answer_session_ids) assert.ok(question.haystack_session_ids.includes(id), id)
  }
})

const reconcile = suite("reconcile-pairs.jsonl")

reconcile("a pair has two dated texts, a label and a note, and the later is later", () => {
  for (const pair of pairs) {
    assert.is(keys(pair), "id,earlier,later,label,note")
    assert.is(keys(pair.earlier), "text,time")
    assert.is(keys(pair.later), "text,time")
    assert.ok(["keep", "supersede", "merge"].includes(pair.label), pair.id)
    assert.ok(isUtcSecond(pair.earlier.time) && isUtcSecond(pair.later.time), pair.id)
    assert.ok(Date.parse(pair.earlier.time) < Date.parse(pair.later.time), pair.id)
    for (const text of [pair.earlier.text, pair.later.text]) assert.match(text, /^\p{Lu}.{8,}[.!?]$/u)
    assert.ok(pair.note.length > 0, pair.id)
  }
})

reconcile("ids and pairs are unique, and there are at least 160", () => {
  assert.ok(pairs.length >= 160)
  assert.is(new Set(pairs.map(({ id }) => id)).size, pairs.length)
  assert.is(new Set(pairs.map(({ earlier, later }) => normalised(`${earlier.text} ${later.text}`))).size, pairs.length)
})

reconcile("about a third supersede, a fifth merge, and the labels are mixed through the file", () => {
  const share = (label: string, among: ReadonlyArray<Pair> = pairs) => count(among, (pair) => pair.label === label) / among.length
  assert.ok(Math.abs(share("supersede") - 1 / 3) < 0.05)
  assert.ok(Math.abs(share("merge") - 1 / 5) < 0.05)
  for (const half of [pairs.slice(0, pairs.length / 2), pairs.slice(pairs.length / 2)]) {
    for (const label of ["keep", "supersede", "merge"]) assert.ok(Math.abs(share(label, half) - share(label)) < 0.1, label)
  }
})

reconcile("neither word overlap nor words of change decide the label", () => {
  const words = (text: string): ReadonlySet<string> => new Set(normalised(text).trim().split(" "))
  const overlap = ({ earlier, later }: Pair): number => {
    const [a, b] = [words(earlier.text), words(later.text)]
    const shared = count([...a], (word) => b.has(word))
    return shared / (a.size + b.size - shared)
  }
  const orders = [
    ["supersede", "keep", "merge"], ["keep", "supersede", "merge"], ["supersede", "merge", "keep"],
    ["keep", "merge", "supersede"], ["merge", "keep", "supersede"], ["merge", "supersede", "keep"]
  ]
  let best = 0
  for (let low = 0; low <= 20; low++) {
    for (let high = low; high <= 20; high++) {
      for (const order of orders) {
        const right = count(pairs, (pair) => {
          const value = overlap(pair) * 20
          return order[value < low ? 0 : value < high ? 1 : 2] === pair.label
        })
        best = Math.max(best, right / pairs.length)
      }
    }
  }
  assert.ok(best < 0.6, `word overlap alone reaches ${best.toFixed(3)}`)
  const change = /\b(now|no longer|instead|moved|since|any more|changed|cancelled|gave up|stopped|again|new)\b/i
  const hinted = pairs.filter(({ later }) => change.test(later.text))
  assert.ok(count(hinted, ({ label }) => label === "supersede") < hinted.length * 0.6, `${hinted.length} pairs hold a word of change`)
})

for (const part of [conversations, table, generated, reconcile]) part.run()
