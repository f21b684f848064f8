/** What happens in evolution from live feedback, in words: one line an event, for the log of a process and for `metamem online history`. */
import type { GenerationRef } from "#shared/domain/evidence"
import type { OnlineEvent } from "./online-protocol.ts"

/** A share in percent; `?` where there is none yet. */
export const shareInPercent = (share: number | null | undefined): string => (share === null || share === undefined ? "?" : `${(100 * share).toFixed(1)} %`)

/** A generation by name; `run` "" = none was ever adopted. */
export const generationName = ({ generation, run }: GenerationRef): string => (run === "" ? "no principles" : `generation ${generation} of ${run}`)

/** A generation that guides live answers, and whether it holds anything: one numbered 0 is not always empty, since a run may go on from another. */
export const guidedBy = (ref: GenerationRef, principles: number): string => `${generationName(ref)}${ref.run === "" ? "" : principles === 0 ? ", which holds no principles" : `, ${principles} ${principles === 1 ? "principle" : "principles"}`}`

export const onlineLine = (event: OnlineEvent): string => {
  switch (event._tag) {
    case "OnlineSwitched":
      return `evolution from live feedback was switched ${event.on ? "on" : "off"}`
    case "OnlineRunOpened":
      return `${event.run} began, to do better than ${generationName(event.from)}: feedback on ${event.questions} answers from ${event.conversations} conversations of ${event.users} users`
    case "OnlineRunEnded":
      return `${event.run} ended: ${event.reason}`
    case "ShadowStarted":
      return `${generationName(event)} answers ${shareInPercent(event.share)} of live questions with feedback in shadow, beside ${generationName(event.from)}`
    case "ShadowLooked":
      return `${event.run} in shadow: ${event.candidateCorrect} right against ${event.incumbentCorrect} of ${event.pairs} questions of ${event.users} users: ${event.decision}, ${event.reason}`
    case "ShadowEnded":
      return `${generationName(event)} is ${event.decision}: ${event.reason}`
    case "WatchLooked":
      return `${generationName(event)} watched: ${shareInPercent(event.now.mean)} right by ${event.feedback} feedbacks of ${event.users} users, before it ${shareInPercent(event.before?.mean)}: ${event.decision}`
    case "WatchEnded":
      return `${generationName(event)} is watched no longer: ${event.reason === "kept" ? "it did no worse and is kept" : "another generation was adopted"}`
    case "RolledBack":
      return `${generationName(event)} is rolled back to ${generationName(event.to)}: ${event.reason}`
  }
}
