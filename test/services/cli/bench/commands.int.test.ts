import { NodeServices } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { readdirSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { BuildKillsResult } from "#services/cli/bench/build-kills"
import type { BenchResult } from "#services/cli/bench/load"
import { benchCommand } from "#services/cli/bench/commands"
import type { StreamResult } from "#services/cli/bench/stream"
import { root } from "#services/cli/root"
import { effect } from "#test/support/effect"
import { setUpHome } from "#test/support/nats"
import { scriptedModel } from "#test/support/scripted-model"

const test = suite("metamem bench")

/** What a bench prints with `--json`. */
const printed = (...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const quiet: Console.Console = Object.assign(Object.create(console), { log: (line: string) => void lines.push(line) })
    yield* Command.runWith(Command.withSubcommands(root, [benchCommand]), { version: "test" })(["bench", ...args, "--json", "--home", setUpHome]).pipe(
      Effect.provide(NodeServices.layer),
      Effect.provideService(Console.Console, quiet)
    )
    return JSON.parse(lines.join("\n")) as Record<string, unknown>
  })
const homes = () => readdirSync(tmpdir()).filter((name) => name.startsWith("metamem-bench-"))
const before = homes()

effect(test, "ingest acknowledges turns and says how fast, and leaves nothing behind", () =>
  Effect.gen(function*() {
    const { figures, seconds, unit } = (yield* printed("ingest", "--seconds", "1", "--batch", "50", "--rate", "50")) as { figures: Record<string, number>; seconds: number; unit: string }
    assert.ok((figures["batchTurnsPerSecond"] ?? 0) > 0 && (figures["singleP99Ms"] ?? 0) >= (figures["singleP50Ms"] ?? 0))
    assert.ok(seconds > 0 && unit !== "")
    assert.equal(homes(), before)
  }), 90_000)

effect(test, "replay reads a run back, and every decision of it follows from its results", () =>
  Effect.gen(function*() {
    const { figures } = (yield* printed("replay", "--steps", "3", "--questions", "8", "--samples", "3", "--validation", "24")) as { figures: Record<string, number> }
    assert.ok((figures["eventsPerSecond"] ?? 0) > 0 && (figures["events"] ?? 0) > (figures["commits"] ?? 0))
  }), 90_000)

effect(test, "train does a step against an endpoint and counts its calls by role", () =>
  Effect.gen(function*() {
    const { requests, url } = yield* scriptedModel()
    const figures = (yield* printed("train", "--endpoint", url, "--questions", "4", "--samples", "3", "--warm-up", "0", "--latency-ms", "10", "--slots", "4", "--processes", "2")) as {
      calls: number
      byRole: Record<string, number>
      wallSeconds: number
      failed: number
      cpuMsPerCall: number
      firstStepCpuMsPerCall: number
      startCpuMs: number
      evaluation: Readonly<Record<"eval" | "infer", { readonly stageSeconds: number; readonly wholeSeconds: number }>>
    }
    assert.is(figures.byRole["answer"], 12)
    assert.ok(figures.cpuMsPerCall > 0 && figures.startCpuMs > 0)
    assert.is(figures.firstStepCpuMsPerCall, figures.cpuMsPerCall, "with nothing before it the first step is the one measured")
    assert.is(figures.calls, Object.values(figures.byRole).reduce((sum, calls) => sum + calls, 0))
    // Equal answers to one question are judged by one call; the endpoint sees no more than is counted, and what eval and infer ask for four questions each.
    const evaluated = 2 * 4
    assert.ok(requests.filter(({ role }) => role === "answer").length === 12 + evaluated && requests.length <= figures.calls + 2 * evaluated + 2, `${requests.length} requests, ${figures.calls} calls`)
    for (const { stageSeconds, wholeSeconds } of Object.values(figures.evaluation).filter((one) => typeof one === "object")) assert.ok(stageSeconds > 0 && wholeSeconds > stageSeconds)
    assert.ok(figures.wallSeconds > 0 && figures.failed === 0)
  }), 120_000)

effect(test, "stream finds every acknowledged turn once, says after how long, and watches every process", () =>
  Effect.gen(function*() {
    const result = (yield* printed("stream", "--minutes", "0.1", "--rate", "8", "--conversations", "6", "--compressors", "1", "--embedders", "2", "--burst-seconds", "1", "--burst-rate", "20", "--memories", "200")) as unknown as StreamResult
    assert.ok(result.ok, JSON.stringify(result.check))
    assert.equal([result.steady.acknowledged, result.burst?.acknowledged, result.check.acknowledged], [48, 20, 68])
    assert.ok(result.steady.lag.words.samples > 0 && result.steady.lag.vectors.p95Ms > 0)
    assert.ok(result.check.facts.recorded > 0 && result.check.byVector.asked > 20 && result.check.byWord.asked === 68)
    assert.equal(result.memory.processes.length, 6 + 1 + 2)
    assert.ok(result.memory.processes.every(({ startMb }) => startMb > 10) && result.memory.modelShareMb > 10)
    assert.ok((result.questions?.asked ?? 0) > 0)
  }), 240_000)

effect(test, "a haystack is built, and the share of its embedding is told", () =>
  Effect.gen(function*() {
    const { figures } = (yield* printed("build", "--data", join(import.meta.dirname, "../../../../data/questions.json"), "--limit", "1")) as unknown as BenchResult
    assert.is(figures["haystacks"], 1)
    assert.is(figures["failed"], 0)
    assert.ok(Number(figures["turns"]) > 0 && Number(figures["embeddingShare"]) > 0)
  }), 180_000)

effect(test, "a build killed with its server ends equal to one that ran through", () =>
  Effect.gen(function*() {
    const result = (yield* printed("build-kills", "--data", join(import.meta.dirname, "../../../../data/questions.json"), "--limit", "2", "--kills", "1")) as unknown as BuildKillsResult
    assert.ok(result.ok, JSON.stringify(result))
    assert.ok(result.content.turns.same > 10 && result.content.vectors.same > 10 && result.killedAfterSeconds.length === 1)
  }), 240_000)

test.run()
