/** A training folder as the published system writes it: booleans for rewards, `Error: …` and 0 for what failed, caches in the order of completion. */
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"

const row = (runid: number, question: number, response: string, reward: unknown) => ({
  runid, prompt: `p${question}`, question_id: `q${question}`, problem: `Problem ${question}?`, memories: ["2023-05-20 I keep bees."], groundtruth: "bees", task: "multi-session", retry_count: 0, response, reward
})
export const lines = (rows: ReadonlyArray<unknown>): string => rows.map((one) => `${JSON.stringify(one)}\n`).join("")
export const rows = [row(0, 1, "bees", true), row(1, 2, "bees", true), row(2, 3, "Error: timeout", 0), row(3, 1, "cats", false), row(4, 2, "bees", true), row(5, 3, "", 0)]
const summary = (question: number, response: string, reward: boolean, text: string) => ({ problem: `Problem ${question}?`, response, reward, summary: text })
const statsOf = (epoch: number) => ({ epoch, batch: 0, rollout: { avg_reward: 0.5, num_samples: 6 }, complete: true })

/** Two steps; the generation between them has an entry without text. */
export const publishedFolder: Readonly<Record<string, string>> = {
  "stats.json": JSON.stringify({ 0: statsOf(0), 1: statsOf(1) }),
  "step_0/rollout.jsonl": lines(rows),
  "step_0/trajectory_summaries.json": JSON.stringify({ "Problem 1?": [summary(1, "cats", false, "went wrong"), summary(1, "bees", true, "went right")] }),
  "step_0/proposed_updates.json": JSON.stringify([
    { problem: "Problem 1?", operations: [{ operation: "add", content: "Prefer bees." }, { operation: "MOD", id: "M0", experience: "x" }, "add", { operation: "delete" }], reasoning: "bees were right" }
  ]),
  "step_0/applied_updates.json": JSON.stringify({ all_operations: [{ operation: "add", content: "Prefer bees. " }, { operation: "add", content: "Be brief." }], new_meta_memories: {} }),
  "step_1/meta_memories.json": JSON.stringify({ M0: "Prefer bees.", M1: " ", M2: "Be brief." }),
  "step_1/rollout.jsonl": lines(rows),
  "step_1/trajectory_summaries.json": JSON.stringify({ "Problem 1?": [summary(1, "bees", true, "again")] }),
  "step_1/proposed_updates.json": JSON.stringify([{ problem: "Problem 1?", operations: [{ operation: "update", id: "[M2]", content: "Be very brief." }], reasoning: "" }]),
  "step_1/applied_updates.json": JSON.stringify({
    all_operations: [{ operation: "update", id: "[M2]", content: "Be very brief.", source_problem: "Problem 1?" }, { operation: "delete", id: "M7" }], new_meta_memories: {}
  }),
  "step_2/meta_memories.json": JSON.stringify({ M0: "Prefer bees.", M1: "Be very brief." }),
  "step_2/eval_results.json": JSON.stringify({ total: 50, correct: 30, accuracy: 0.6, task_accuracy: { "multi-session": 0.6 }, num_meta_memories: 2 })
}

/** Writes it below a folder. @param changes files of another content; undefined = without it */
export const writeFolder = (folder: string, changes: Readonly<Record<string, string | undefined>> = {}): void => {
  for (const [name, text] of Object.entries({ ...publishedFolder, ...changes })) {
    if (text === undefined) continue
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
}
