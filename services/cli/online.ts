/** `metamem online`: where evolution from live feedback is, what has become of it so far, and switching it on and off. */
import { Effect, Schema } from "effect"
import { Command } from "effect/cli"
import { request } from "#shared/actor/requests"
import type { Commit } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { formatPosition } from "#shared/eventlog/position"
import { adoptedSubject, onlineSubject, requestSubject } from "#shared/eventlog/subjects"
import { adoptionCodec } from "#shared/metamemory/events"
import { onlineCodec, OnlineStatus } from "#services/reflector/online-protocol"
import { generationName, guidedBy, onlineLine, shareInPercent } from "#services/reflector/online-words"
import { logLayer, withActors } from "./home.ts"
import { emit, root, table } from "./root.ts"
import { some, toSecond } from "./shown.ts"

const decodeStatus = Schema.decodeUnknownEffect(OnlineStatus)

/** When something is looked at next, and from whom: a look waits for conversations and users beside the number. */
const nextLook = ({ conversations, needed, users }: { readonly needed: number; readonly conversations: number; readonly users: number }): string =>
  `the next look is at ${needed}, from ten conversations and ten users at least (so far ${conversations} and ${users})`

/** What the next run waits for; empty where nothing is in its way but the next look, seconds away. */
const waitsFor = ({ on, run, shadow, watch }: OnlineStatus): string =>
  !on ? ", which begins when it is switched on" : run !== null ? ", which begins after this one" : shadow !== null ? ", which begins after the shadow" : watch !== null && watch.lastLook === null ? ", which begins after the first look at what was adopted" : ""

/** The status in lines for people. */
export const onlineLines = (of: OnlineStatus): string => {
  const { adopted, feedback, held, lastOutcome, needed, on, principles, rollbacks, run, shadow, watch } = of
  return [
    `evolution from live feedback of ${of.tenant} is ${on ? "on" : "off"}: ${of.because}`,
    `live answers are guided by ${guidedBy(adopted ?? { run: "", generation: 0 }, principles)}`,
    `feedback: ${some(feedback.standing, "answer")}, ${feedback.fresh} of them with a right answer and new, from ${some(feedback.conversations, "conversation")} of ${some(feedback.users, "user")}`,
    needed.lacks === undefined ? `  enough for the next run${waitsFor(of)}` : `  not enough for a run yet: ${needed.lacks}`,
    ...(run === null ? [] : [`run ${run.run}: ${run.stage}, step ${run.step} of ${run.steps} (\`metamem curve --run ${run.run}\`)${on ? "" : "; it goes on to its end, and nothing comes of it while this is off"}`]),
    ...(shadow === null ? [] : [
      `in shadow: ${generationName(shadow)}, on ${shareInPercent(shadow.share)} of the live questions with a right answer`,
      `  ${shadow.pairs} answered by both sides${shadow.unjudged === 0 ? "" : `, ${shadow.unjudged} of them without a verdict`}, ${shadow.waiting} ${on ? "on their way" : "wait until this is on"}; ${nextLook(shadow)}`,
      ...(shadow.lastLook === null ? [] : [`  last look: ${shadow.lastLook.candidateCorrect} right against ${shadow.lastLook.incumbentCorrect} of ${shadow.lastLook.pairs}: ${shadow.lastLook.decision}, ${shadow.lastLook.reason}`])
    ]),
    ...held.map(({ kind, message }) => `  ${kind} jobs wait: ${message}`),
    ...(watch === null ? [] : [
      `watched: ${generationName(watch)}, ${watch.feedback} feedbacks; ${nextLook(watch)}`,
      ...(watch.lastLook === null ? [] : [`  last look: ${shareInPercent(watch.lastLook.now.mean)} right, before ${shareInPercent(watch.lastLook.before?.mean)}: ${watch.lastLook.decision}`])
    ]),
    ...(lastOutcome === null ? [] : [`last: ${lastOutcome}; \`metamem online history\` tells all`]),
    ...rollbacks.map((one) => `rolled back: ${generationName(one)} to ${generationName(one.to)}, ${one.reason}`)
  ].join("\n")
}

const ask = (verb: string, payload: object) => request(requestSubject("reflector", verb), payload, 60_000).pipe(Effect.flatMap(decodeStatus))

const switchTo = (name: "on" | "off", description: string) =>
  Command.make(name, {}, () =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      yield* emit(yield* ask("online-switch", { tenant, on: name === "on" }), onlineLines)
    }).pipe(withActors(["reflector"]))).pipe(Command.withDescription(description))

const entry = <E extends { readonly _tag: string }>({ sequence, time }: Commit, event: E, line: string) => ({ position: formatPosition({ log: "metamem", sequence }), sequence, time, what: line, event })

/** What happened, oldest first, each with its place in the log: of evolution from live feedback, and every adoption, whoever asked for it. */
export const onlineEntries = (tenant: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const decided = yield* Effect.forEach(yield* log.load(onlineSubject(tenant)), (commit) =>
      Effect.forEach(commit.events, (stored) => Effect.map(Effect.fromResult(onlineCodec.decode(stored)), (event) => entry(commit, event, onlineLine(event)))))
    const adopted = yield* Effect.forEach(yield* log.load(adoptedSubject(tenant)), (commit) =>
      Effect.forEach(commit.events, (stored) =>
        Effect.map(Effect.fromResult(adoptionCodec.decode(stored)), (event) => entry(commit, event, `live answers are guided by ${guidedBy(event, event.principles.length)}`))))
    return [...decided.flat(), ...adopted.flat()].toSorted((a, b) => a.sequence - b.sequence).map(({ sequence: _, ...one }) => one)
  })

const history = Command.make("history", {}, () =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    yield* emit({ tenant, entries: yield* onlineEntries(tenant) }, ({ entries }) =>
      entries.length === 0 ? "nothing has happened yet" : table(entries.map(({ position, time, what }) => [toSecond(time), position, what])))
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("What has happened so far: runs, shadows, adoptions and rollbacks, from the log; no actor is asked"))

export const onlineCommand = Command.make("online", {}, () =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    yield* emit(yield* ask("online", { tenant }), onlineLines)
  }).pipe(withActors(["reflector"]))).pipe(
    Command.withDescription("What feedback on live answers has come to: collected, in a run, in shadow, adopted, rolled back"),
    Command.withSubcommands([
      history,
      switchTo("on", "Let feedback on live answers evolve what guides them"),
      switchTo("off", "No run is begun from feedback, and nothing adopted or rolled back by itself; a run under way goes to its end. Switched on again it goes on")
    ])
  )
