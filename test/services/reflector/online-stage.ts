/** Live answers, what people say of them, and a reader whom one sentence helps, for evolution from live feedback as a whole. */
import { Effect, Result, Stream } from "effect"
import { makeEntity } from "#shared/actor/entity"
import type { GenerationRef } from "#shared/domain/evidence"
import { EventLog } from "#shared/eventlog/event-log"
import { adoptedSubject, memorySubject, onlineSubject } from "#shared/eventlog/subjects"
import { adoptionCodec } from "#shared/metamemory/events"
import { onlineCodec, type OnlineEvent } from "#services/reflector/online-protocol"
import { behaviour as retrieverBehaviour } from "#services/retriever/behaviour"
import { answersConversation } from "#services/retriever/protocol"
import type { ScriptedOptions } from "#test/support/scripted-model"
import { gold, makeQuestion } from "./stage.ts"

/** The one sentence that helps; whoever reads it is right nearly always. */
export const good = "List every matching memory before counting."
export const none: GenerationRef = { run: "", generation: 0 }

/** A reader that follows the good sentence, and a proposer that knows no other. */
export const onlineModel = {
  gold,
  scripts: {
    answer: ({ draw, prompt }) => {
      const question = /^Question: (.*)$/m.exec(prompt)?.[1]?.trim() ?? ""
      // Questions differ in how hard they are, or the gate would not believe the judge.
      const ease = [5, 45, 85][Math.floor(Number(/(\d+)\?$/.exec(question)?.[1]) / 3) % 3] ?? 0
      const isRight = draw("answer", 100) < (prompt.includes(good) ? 95 : ease)
      return isRight ? `${gold.get(question) ?? "So it was"} (ref 000000-1)` : "Something else (ref 000000-0)"
    },
    propose: () => ({ operations: [{ operation: "add", id: null, content: good, scope: "all" }] })
  }
} satisfies ScriptedOptions

export const onlineEvents = Effect.gen(function*() {
  const log = yield* EventLog
  return (yield* log.load(onlineSubject("t"))).flatMap(({ events }) => events.map((event): OnlineEvent => Result.getOrThrow(onlineCodec.decode(event))))
})

/** Waits until it is recorded. */
export const until = (tag: OnlineEvent["_tag"]) =>
  Effect.flatMap(EventLog, (log) =>
    log.follow([onlineSubject("t")]).pipe(
      Stream.flatMap((commit) => Stream.fromIterable(commit.events.map((event) => Result.getOrThrow(onlineCodec.decode(event))))),
      Stream.takeUntil(({ _tag }) => _tag === tag),
      Stream.runDrain
    ))

/** Waits until so many commits stand under a filter. */
export const standing = (filter: string, count: number) => Effect.flatMap(EventLog, (log) => log.follow([filter]).pipe(Stream.take(count), Stream.runDrain))

export const adoptions = Effect.gen(function*() {
  const log = yield* EventLog
  return (yield* log.load(adoptedSubject("t"))).flatMap(({ events }) => events.map((event) => Result.getOrThrow(adoptionCodec.decode(event))))
})
/** Waits until so many generations were adopted, one after another. */
export const adopted = (count: number) => Effect.flatMap(EventLog, (log) => log.follow([adoptedSubject("t")]).pipe(Stream.take(count), Stream.runDrain))

/** Records live answers, each to another person, and what that person says of it. */
export const makeLive = Effect.map(makeEntity(retrieverBehaviour), (answers) => (name: string, at: number, generation: GenerationRef, isRight: boolean) =>
  Effect.gen(function*() {
    const { answer, text } = makeQuestion(at)
    const subject = memorySubject({ tenant: "t", user: `person${at}`, conversation: answersConversation }, "retriever")
    const id = `${name}${at}`
    yield* answers.execute(subject, {
      _tag: "RecordAnswer",
      event: {
        _tag: "AnswerGiven", answer: id, question: text, askedAt: "2026-03-02T18:04:00.000Z", text: isRight ? answer : "Something else", evidence: [], generation,
        principles: [], model: "scripted", call: "k", usage: { promptTokens: 1, completionTokens: 1, estimated: false }, behind: []
      }
    }, { cause: id })
    yield* answers.execute(subject, { _tag: "RecordFeedback", answer: id, verdict: isRight ? "correct" : "incorrect", comment: isRight ? "" : answer }, { cause: `feedback ${id}` })
  }))

export const people = (count: number) => Array.from({ length: count }, (_, at) => at)
