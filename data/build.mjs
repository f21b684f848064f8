/**
 * Makes questions.json, in LongMemEval's own array format, from conversations.jsonl and question-table.jsonl.
 *
 *     node data/build.mjs            writes questions.json
 *     node data/build.mjs --check    writes nothing; ends with code 1 when the file is not what it should be
 *
 * A row of the table names its evidence as `conversation#n`, n being the turn's place in that conversation, counted
 * from 1. The haystack of a question is every conversation of the user its id begins with, in order of time. Rows that
 * cannot be right (unknown turn, evidence of another user, wrong weekday, a question asked before its haystack ends)
 * stop the build. Plain JavaScript, so that it runs on any Node from 20.11 on.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const folder = import.meta.dirname
const target = join(folder, "questions.json")
const weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]

/** The parsed lines of a JSONL file of this folder. */
const readLines = (name) =>
  readFileSync(join(folder, name), "utf8").split("\n").filter((line) => line !== "").map((line, index) => {
    try {
      return JSON.parse(line)
    } catch {
      throw new Error(`${name}, line ${index + 1}: not JSON`)
    }
  })

/** `2026-03-02T18:04:00Z` as `2026/03/02 (Mon) 18:04`, in UTC. */
const longMemEvalDate = (iso) => {
  const weekday = weekdays[new Date(iso).getUTCDay()]
  return `${iso.slice(0, 10).replaceAll("-", "/")} (${weekday}) ${iso.slice(11, 16)}`
}

/** `2026/03/02 (Mon) 18:04` as `2026-03-02T18:04:00Z`; refuses a weekday that does not belong to the date. */
const isoDate = (text) => {
  const iso = `${text.slice(0, 10).replaceAll("/", "-")}T${text.slice(-5)}:00Z`
  if (longMemEvalDate(iso) !== text) throw new Error(`"${text}" is not a date with its own weekday`)
  return iso
}

/** Conversations of each user, by id, in the order in which they began; turns in order of time. */
const conversationsByUser = new Map()
for (const turn of readLines("conversations.jsonl").sort((a, b) => Date.parse(a.time) - Date.parse(b.time))) {
  const conversations = conversationsByUser.get(turn.user) ?? new Map()
  conversationsByUser.set(turn.user, conversations)
  conversations.set(turn.conversation, [...(conversations.get(turn.conversation) ?? []), turn])
}

const question = (row) => {
  const refuse = (why) => {
    throw new Error(`question-table.jsonl, ${row.id}: ${why}`)
  }
  const conversations = conversationsByUser.get(row.id.slice(0, row.id.indexOf("-"))) ?? refuse("no such user")
  const isEvidence = new Set(row.evidence)
  for (const place of row.evidence) {
    const [id, number] = place.split("#")
    if (conversations.get(id)?.[Number(number) - 1] === undefined) refuse(`the user has no turn ${place}`)
  }
  for (const id of row.near ?? []) if (!conversations.has(id)) refuse(`the user has no conversation ${id}`)
  const answerSessions = row.near ?? [...new Set(row.evidence.map((place) => place.split("#")[0]))]
  const lastTime = [...conversations.values()].at(-1).at(-1).time
  if (Date.parse(isoDate(row.date)) <= Date.parse(lastTime)) refuse("asked before its conversations end")
  return {
    question_id: row.id,
    question_type: row.type,
    question: row.question,
    answer: row.answer,
    question_date: row.date,
    answer_session_ids: answerSessions,
    haystack_dates: [...conversations.values()].map(([first]) => longMemEvalDate(first.time)),
    haystack_session_ids: [...conversations.keys()],
    haystack_sessions: [...conversations].map(([id, turns]) =>
      turns.map(({ speaker, text }, index) => {
        const turn = { role: speaker, content: text }
        return answerSessions.includes(id) ? { ...turn, has_answer: isEvidence.has(`${id}#${index + 1}`) } : turn
      })
    )
  }
}

// One question a line keeps the file readable for `git diff` without making it larger.
const text = `[\n${readLines("question-table.jsonl").map((row) => JSON.stringify(question(row))).join(",\n")}\n]\n`

if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text) {
    console.error("data/questions.json is out of date: run node data/build.mjs")
    process.exitCode = 1
  }
} else {
  writeFileSync(target, text)
}
