import { Effect } from "effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { readBenchDataset, readDataset } from "#shared/datasets/read-dataset"
import { effect } from "#test/support/effect"

const folder = mkdtempSync(join(tmpdir(), "metamem-datasets-"))
test.after(() => rmSync(folder, { recursive: true }))
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
const refusal = (path: string) => Effect.flip(readDataset(path))

const turn = (role: string, content: string, gold = false) => ({ role, content, has_answer: gold })
const row = {
  question_id: "q1",
  question_type: "single-session-user",
  question: "How many cats?",
  answer: 3,
  question_date: "2023/06/01 (Thu) 09:30",
  answer_session_ids: ["answer_1"],
  haystack_dates: ["2023/05/30 (Tue) 23:40", "2023/05/02 (Tue) 08:00", "2023/05/02 (Tue) 08:00"],
  haystack_session_ids: ["answer_1", "twice", "twice"],
  haystack_sessions: [[turn("user", "I have three cats", true), turn("assistant", "Nice")], [turn("user", "first")], [turn("user", "second"), turn("assistant", "  ")]]
}

effect(test, "LongMemEval sessions are dated, sorted, numbered by place and free of gold", () =>
  Effect.gen(function*() {
    const { dataset, gold } = yield* readBenchDataset(file("lme.json", JSON.stringify([row])))
    assert.is(dataset.set, "longmemeval")
    const [user] = dataset.users
    assert.is(user?.user, `${dataset.hash}-q1`)
    assert.match(dataset.hash, /^[0-9a-f]{12}$/)
    assert.equal(user?.conversations.map(({ turns }) => turns.map(({ text }) => text)), [["first"], ["second"], ["I have three cats", "Nice"]])
    assert.equal(user?.conversations.map(({ conversation }) => conversation), ["c0001", "c0002", "c0003"])
    assert.equal(user?.conversations[2]?.turns.map(({ time }) => time), ["2023-05-30T23:40:00.000Z", "2023-05-30T23:40:01.000Z"])
    assert.not.match(JSON.stringify(dataset.users), /answer_|has_answer/)
    assert.equal(dataset.questions[0], {
      id: "q1",
      text: "How many cats?",
      type: "single-session-user",
      answer: "3",
      date: "2023-06-01T09:30:00.000Z",
      abstention: false,
      user: `${dataset.hash}-q1`,
      cluster: dataset.questions[0]?.cluster
    })
    assert.equal(gold.get("q1"), { turns: ["c0003:1"], conversations: ["c0003"], mislabelled: false })
  }))

effect(test, "an abstention question is marked and has no gold", () =>
  Effect.gen(function*() {
    const { dataset, gold } = yield* readBenchDataset(file("abs.json", JSON.stringify([{ ...row, question_id: "q1_abs" }])))
    assert.is(dataset.questions[0]?.abstention, true)
    assert.equal(gold.get("q1_abs")?.turns, [])
  }))

effect(test, "questions with the same evidence sessions are one cluster, and its name tells none of them", () =>
  Effect.gen(function*() {
    const other = { ...row, question_id: "q3", answer_session_ids: ["twice"] }
    const { questions } = yield* readDataset(file("clusters.json", JSON.stringify([row, { ...row, question_id: "q2" }, other])))
    const clusters = questions.map(({ cluster }) => cluster)
    assert.is(clusters[0], clusters[1])
    assert.is.not(clusters[0], clusters[2])
    assert.not.match(clusters.join(), /answer_1|twice/)
  }))

effect(test, "only an id that ends so is of an abstention question, and questions of one text stay two", () =>
  Effect.gen(function*() {
    const ids = ["abs_1", "q_abs_2", "absent", "labs", "q_ABS"]
    const { questions } = yield* readDataset(file("ids.json", JSON.stringify(ids.map((question_id, at) => ({ ...row, question_id, answer: at })))))
    assert.equal(questions.map(({ abstention }) => abstention), ids.map(() => false))
    assert.equal(questions.map(({ answer, id, user }) => [id, answer, user.split("-")[1]]), ids.map((id, at) => [id, String(at), id]))
  }))

effect(test, "a field says that a question cannot be answered where its id does not", () =>
  Effect.gen(function*() {
    const { questions } = yield* readDataset(file("field.json", JSON.stringify([{ ...row, abstention: true }, { ...row, question_id: "q2_abs" }, { ...row, question_id: "q3", abstention: null }])))
    assert.equal(questions.map(({ abstention }) => abstention), [true, true, false])
  }))

effect(test, "questions that share one of several evidence sessions have a bond in common, which tells none of them", () =>
  Effect.gen(function*() {
    const rows = [{ ...row, answer_session_ids: ["answer_1", "twice"] }, { ...row, question_id: "q2", answer_session_ids: ["twice"] }, { ...row, question_id: "q3", answer_session_ids: ["else"] }]
    const { bonds } = yield* readDataset(file("bonds.json", JSON.stringify(rows)))
    const common = (a: string, b: string): number => (bonds.get(a) ?? []).filter((bond) => bonds.get(b)?.includes(bond)).length
    assert.equal([common("q1", "q2"), common("q1", "q3"), common("q2", "q3")], [1, 0, 0])
    assert.not.match(JSON.stringify([...bonds]), /answer_1|twice|else/)
  }))

effect(test, "a question moved to another file by a split keeps its user and cluster", () =>
  Effect.gen(function*() {
    const moved = { ...row, metamem_user: "0123456789ab-q1", metamem_cluster: "k", metamem_abstention: true }
    const { questions, users } = yield* readDataset(file("moved.json", JSON.stringify([moved])))
    assert.equal([users[0]?.user, questions[0]?.user, questions[0]?.cluster, questions[0]?.abstention], ["0123456789ab-q1", "0123456789ab-q1", "k", true])
  }))

effect(test, "lines, gzipped lines and sessions by reference give what the array gives", () =>
  Effect.gen(function*() {
    const plain = yield* readDataset(file("a.json", JSON.stringify([row])))
    const { haystack_sessions, ...rest } = row
    const lines = [
      ...haystack_sessions.map((turns, at) => ({ kind: "session", ref: `r${at}`, turns })),
      { kind: "question", ...rest, haystack_session_refs: ["r0", "r1", "r2"] }
    ].map((line) => JSON.stringify(line)).join("\n")
    const referred = yield* readDataset(file("b.jsonl.gz", gzipSync(lines)))
    const lined = yield* readDataset(file("c.jsonl", `${JSON.stringify(row)}\n\n`))
    assert.equal(referred.users[0]?.conversations, plain.users[0]?.conversations)
    assert.equal(lined.users[0]?.conversations, plain.users[0]?.conversations)
    assert.is.not(referred.hash, plain.hash)
  }))

effect(test, "a blank or missing answer is refused with its row", () =>
  Effect.gen(function*() {
    for (const answer of ["  ", null, undefined]) {
      const error = yield* refusal(file("blank.json", JSON.stringify([row, { ...row, question_id: "q2", answer }])))
      assert.equal([error.reason, error.row], ["AnswerMissing", 2])
      assert.match(error.message, /q2 has no answer/)
    }
  }))

effect(test, "files that are missing, no JSON, damaged, empty or of another form are told apart", () =>
  Effect.gen(function*() {
    assert.is((yield* refusal(join(folder, "nowhere.json"))).reason, "FileMissing")
    const notJson = yield* refusal(file("bad.jsonl", `${JSON.stringify(row)}\n{oops`))
    assert.equal([notJson.reason, notJson.row], ["FormatUnknown", 2])
    assert.is((yield* refusal(file("torn.jsonl.gz", gzipSync("{}").subarray(0, 12)))).reason, "FormatUnknown")
    assert.is((yield* refusal(file("empty.json", ""))).reason, "FormatUnknown")
    assert.is((yield* refusal(file("other.json", `[{"a":1}]`))).reason, "FormatUnknown")
  }))

effect(test, "rows with impossible dates, uneven lists, unknown references or repeated ids are refused", () =>
  Effect.gen(function*() {
    const bad = [
      [{ ...row, haystack_dates: ["2023/02/31 (Tue) 23:40", ...row.haystack_dates.slice(1)] }, /2023\/02\/31/],
      [{ ...row, haystack_dates: row.haystack_dates.slice(1) }, /3 sessions but 2/],
      [{ ...row, haystack_sessions: undefined, haystack_session_refs: ["zz"] }, /session zz/],
      [{ ...row, question: "" }, /question/],
      [{ ...row, haystack_sessions: [[{ role: "user" }], [], []] }, /content/]
    ] as const
    for (const [one, message] of bad) {
      const error = yield* refusal(file("row.json", JSON.stringify([one])))
      assert.is(error.reason, "RowInvalid")
      assert.match(error.message, message)
    }
    assert.match((yield* refusal(file("twice.json", JSON.stringify([row, row])))).message, /stands twice/)
  }))

const locomo = {
  sample_id: "conv-1",
  conversation: {
    speaker_a: "Ana",
    speaker_b: "Ben",
    session_2_date_time: "12:05 am on 9 May, 2023",
    session_2: [{ speaker: "Ben", dia_id: "D2:1", text: "Look", blip_caption: "a red kite" }],
    session_1_date_time: "1:56 pm on 8 May, 2023",
    session_1: [{ speaker: "Ana", dia_id: "D1:1", text: "Hello" }, { speaker: "Ben", dia_id: "D1:2", text: "Hi" }]
  },
  qa: [
    { question: "What did Ben show?", answer: "a kite", evidence: ["D2:01; D1:2", "D"], category: 1 },
    { question: "When?", answer: 2022, evidence: ["D1:1"], category: 2 },
    { question: "Adversarial?", adversarial_answer: "x", evidence: ["D1:1"], category: 5 }
  ]
}

effect(test, "LoCoMo chats keep names, captions and times; citations are read however written; adversarial ones are left out", () =>
  Effect.gen(function*() {
    const errors = file("errors.json", JSON.stringify([{ question: "When?", golden_answer: "2022" }]))
    const { dataset, gold } = yield* readBenchDataset(file("locomo.json", JSON.stringify([locomo])), errors)
    assert.equal(dataset.users[0]?.conversations.map(({ turns }) => turns.map(({ speaker, text, time }) => [speaker, text, time])), [
      [["Ana", "Hello", "2023-05-08T13:56:00.000Z"], ["Ben", "Hi", "2023-05-08T13:56:01.000Z"]],
      [["Ben", "Look [image: a red kite]", "2023-05-09T00:05:00.000Z"]]
    ])
    assert.equal(dataset.questions.map(({ id, type }) => [id, type]), [["conv-1-q1", "multi-hop"], ["conv-1-q2", "temporal"]])
    assert.equal(gold.get("conv-1-q1"), { turns: ["c0002:1", "c0001:2"], conversations: ["c0002", "c0001"], mislabelled: false })
    assert.is(gold.get("conv-1-q2")?.mislabelled, true)
  }))

effect(test, "BEAM chats lose the plan index and find evidence in any nest; abstention has none", () =>
  Effect.gen(function*() {
    const beam = {
      chat_id: "100K/1",
      batches: [{ batch_number: 1, time_anchor: null, turns: [[{ role: "user", id: 0, time_anchor: "March-15-2024", content: "Plan it ->-> 1,2" }, { role: "assistant", id: 1, content: "Sure" }]] }],
      probing_questions: {
        knowledge_update: [{ question: "What?", answer: "x", source_chat_ids: { original: [0], updated: [[1]] }, rubric: ["LLM response should state: March 29", " Core functionality "] }],
        abstention: [{ question: "Who?", ideal_response: "unknown", source_chat_ids: [0], rubric: ["no information"] }]
      }
    }
    const { dataset, gold } = yield* readBenchDataset(file("beam.jsonl", JSON.stringify(beam)))
    assert.equal(dataset.users[0]?.conversations[0]?.turns.map(({ text, time }) => [text, time]), [["Plan it", "2024-03-15T00:00:00.000Z"], ["Sure", "2024-03-15T00:00:01.000Z"]])
    assert.equal(gold.get("100K/1-knowledge_update-1")?.turns, ["c0001:1", "c0001:2"])
    assert.equal(gold.get("100K/1-abstention-1")?.turns, [])
    assert.is(dataset.questions[1]?.abstention, true)
    // The points that a judge goes by; that nothing is known is judged by a rule of its own.
    assert.equal(dataset.questions.map(({ points }) => points), [["March 29", "Core functionality"], undefined])
  }))

effect(test, "an empty file says so, and a row's fault is told in one line without the schema's own words for it", () =>
  Effect.gen(function*() {
    for (const [name, content] of [["void.json", ""], ["none.json", "[]"]] as const) assert.match((yield* refusal(file(name, content))).message, /is empty: it holds no row/)
    const { haystack_sessions, ...bare } = row
    assert.match((yield* refusal(file("bare.json", JSON.stringify([row, bare])))).message, /bare.json row 2: Missing key at \["haystack_sessions"\]$/)
  }))

test.run()
