/** `metamem online`: where evolution from live feedback is, and switching it on and off. */
import { Effect, Schema } from "effect"
import { Command } from "effect/cli"
import { request } from "#shared/actor/requests"
import { requestSubject } from "#shared/eventlog/subjects"
import { OnlineStatus } from "#services/reflector/online-protocol"
import { withActors } from "./home.ts"
import { emit, root } from "./root.ts"

const decodeStatus = Schema.decodeUnknownEffect(OnlineStatus)

const percent = (share: number | null | undefined): string => (share === null || share === undefined ? "?" : `${(100 * share).toFixed(1)} %`)
const generation = ({ generation, run }: { readonly run: string; readonly generation: number }): string => `generation ${generation} of ${run}`

/** The status in lines for people. */
export const onlineLines = (of: OnlineStatus): string => {
  const { adopted, feedback, lastOutcome, needed, rollbacks, run, shadow, watch } = of
  return [
    `evolution from live feedback of ${of.tenant} is ${of.on ? "on" : "off"}: ${of.because}`,
    `live answers are guided by ${adopted === null ? "no principles" : generation(adopted)}`,
    `feedback: ${feedback.standing} answers, ${feedback.fresh} of them with a right answer and new, from ${feedback.conversations} conversations of ${feedback.users} users`,
    needed.lacks === undefined ? "  enough for the next run" : `  not enough for a run yet: ${needed.lacks}`,
    ...(run === null ? [] : [`run ${run.run}: ${run.stage}, step ${run.step} of ${run.steps} (\`metamem curve --run ${run.run}\`)`]),
    ...(shadow === null ? [] : [
      `in shadow: ${generation(shadow)}, ${shadow.pairs} live questions answered by both sides, ${shadow.waiting} on their way; the next look is at ${shadow.needed}`,
      ...(shadow.lastLook === null ? [] : [`  last look: ${shadow.lastLook.candidateCorrect} right against ${shadow.lastLook.incumbentCorrect} of ${shadow.lastLook.pairs}: ${shadow.lastLook.decision}, ${shadow.lastLook.reason}`])
    ]),
    ...(watch === null ? [] : [
      `watched: ${generation(watch)}, ${watch.feedback} feedbacks; the next look is at ${watch.needed}`,
      ...(watch.lastLook === null ? [] : [`  last look: ${percent(watch.lastLook.now.mean)} right, before ${percent(watch.lastLook.before?.mean)}: ${watch.lastLook.decision}`])
    ]),
    ...(lastOutcome === null ? [] : [`last: ${lastOutcome}`]),
    ...rollbacks.map((one) => `rolled back: ${generation(one)} to ${generation(one.to)}, ${one.reason}`)
  ].join("\n")
}

const ask = (verb: string, payload: object) => request(requestSubject("reflector", verb), payload, 60_000).pipe(Effect.flatMap(decodeStatus))

const switchTo = (name: "on" | "off", description: string) =>
  Command.make(name, {}, () =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      yield* emit(yield* ask("online-switch", { tenant, on: name === "on" }), onlineLines)
    }).pipe(withActors(["reflector"]))).pipe(Command.withDescription(description))

export const onlineCommand = Command.make("online", {}, () =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    yield* emit(yield* ask("online", { tenant }), onlineLines)
  }).pipe(withActors(["reflector"]))).pipe(
    Command.withDescription("What feedback on live answers has come to: collected, in a run, in shadow, adopted, rolled back"),
    Command.withSubcommands([
      switchTo("on", "Let feedback on live answers evolve what guides them"),
      switchTo("off", "Nothing is learnt from feedback by itself, and nothing adopted or rolled back; switched on again it goes on")
    ])
  )
