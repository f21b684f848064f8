/** How a command asks actors for many answers: how long it waits for one, and how many it asks for at once. */
import { Effect } from "effect"
import { settings } from "#shared/model/roles"

/** Longest wait for one answer, in milliseconds: it may stand behind many others at a small model. */
export const answerDeadlineMs = 600_000

/** At once where the model of this machine reads: it is the limit, and what waits for it must not pass its deadline. */
const atOnceLocally = 16

/** Answers to ask for at once: as many as reader and judge work on together, so that neither waits for the command. */
export const askedAtOnce = Effect.map(settings, ({ answer, judge }) => (answer.urls.length === 0 ? atOnceLocally : answer.concurrency + judge.concurrency))
