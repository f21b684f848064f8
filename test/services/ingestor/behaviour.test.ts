import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Turn } from "#shared/domain/turn"
import { behaviour } from "#services/ingestor/behaviour"
import { ingestorCodec, type IngestorEvent } from "#services/ingestor/protocol"
import { spec } from "#test/support/behaviour"
import { goldenEvents } from "#test/support/golden-events"

const { given, survivesRestart } = spec(behaviour)
/** Each at a second of its own. */
const turn = (id: string): Turn => ({ id, speaker: "user", text: `text of ${id}`, time: `2026-03-02T18:04:${String(id.charCodeAt(0) - 97).padStart(2, "0")}.000Z` })
const received = (first: string, ...rest: ReadonlyArray<string>): IngestorEvent => ({ _tag: "TurnsReceived", turns: [turn(first), ...rest.map(turn)] })
const receive = (...ids: ReadonlyArray<string>) => ({ _tag: "ReceiveTurns" as const, turns: ids.map(turn) })
const closed: IngestorEvent = { _tag: "ConversationClosed" }
const close = { _tag: "CloseConversation" } as const

test("turns are recorded in the order sent", () => given().when(receive("b", "a")).then(received("b", "a")))
test("turns sent before are left out, new ones among them are taken", () => given(received("a", "b")).when(receive("b", "c", "a")).then(received("c")))
test("a turn twice in one request is one", () => given().when(receive("a", "a")).then(received("a")))
test("no turns are nothing", () => given().when(receive()).then())

const at = (id: string, time: string): Turn => ({ id, speaker: "user", text: id, time: `2023-05-20T02:${time}Z` })
test("turns sent with one time stand half a second apart, over requests too; times of arrival stay as they are", () => {
  given()
    .when({ _tag: "ReceiveTurns", turns: [at("a", "21:00.000"), at("b", "21:00.000"), at("c", "25:00.000")] })
    .then({ _tag: "TurnsReceived", turns: [at("a", "21:00.000"), at("b", "21:00.500"), at("c", "25:00.000")] })
  given({ _tag: "TurnsReceived", turns: [at("a", "21:00.000"), at("b", "21:00.500"), at("c", "25:00.000")] })
    .when({ _tag: "ReceiveTurns", turns: [at("a", "21:00.000"), at("late", "21:00.000"), at("d", "25:00.000"), at("e", "25:00.500")] })
    .then({ _tag: "TurnsReceived", turns: [at("late", "21:01.000"), at("d", "25:00.500"), at("e", "25:00.500")] })
  given()
    .when({ _tag: "ReceiveTurns", turns: [at("a", "21:00.000"), at("b", "21:00.000")], arrived: new Set(["a", "b"]) })
    .then({ _tag: "TurnsReceived", turns: [at("a", "21:00.000"), at("b", "21:00.000")] })
})

test("turns without a time stand in the order they came, though the clock is put back; a clock that was days ahead is not followed", () => {
  const on = (id: string, day: number, hour = 10): Turn => ({ id, speaker: "user", text: id, time: new Date(Date.UTC(2026, 2, day, hour)).toISOString() })
  const arrive = (...turns: ReadonlyArray<Turn>) => ({ _tag: "ReceiveTurns" as const, turns, arrived: new Set(turns.map(({ id }) => id)) })
  const recorded = (first: Turn, ...rest: ReadonlyArray<Turn>): IngestorEvent => ({ _tag: "TurnsReceived", turns: [first, ...rest] })
  given(recorded(on("a", 2, 10))).when(arrive(on("b", 2, 9), on("c", 2, 9))).then(recorded(on("b", 2, 10), on("c", 2, 10)))
  // Also behind a late turn of long ago.
  given(recorded(on("a", 2, 10)), recorded(on("late", 1))).when(arrive(on("b", 2, 9))).then(recorded(on("b", 2, 10)))
  // A year ahead, then right, then put back by an hour.
  given(recorded(on("wrong", 365)), recorded(on("a", 2, 10))).when(arrive(on("b", 2, 9))).then(recorded(on("b", 2, 10)))
  given(recorded(on("wrong", 365))).when(arrive(on("a", 2), on("b", 2))).then(recorded(on("a", 2), on("b", 2)))
  // A turn that says its own time keeps it.
  given(recorded(on("a", 2, 10))).when({ _tag: "ReceiveTurns", turns: [on("own", 2, 9)], arrived: new Set() }).then(recorded(on("own", 2, 9)))
})

test("turns that stood in another log keep the times they had there, in whatever order, and known ones are left out", () => {
  const [a, b, c] = [at("a", "21:00.000"), at("b", "21:00.500"), at("c", "09:00.000")]
  const recorded = (first: Turn, ...rest: ReadonlyArray<Turn>): IngestorEvent => ({ _tag: "TurnsReceived", turns: [first, ...rest] })
  const record = (...turns: ReadonlyArray<Turn>) => ({ _tag: "RecordTurns" as const, turns })
  given().when(record(b, a, c, a)).then(recorded(b, a, c))
  // Beside turns of this log: earlier ones, and ones at the very time of another.
  given(recorded(b)).when(record(a, b, c)).then(recorded(a, c))
  given(recorded(at("own", "21:00.000"))).when(record(a, b)).then(recorded(a, b))
  // A clock that was put back by more than is followed, and by less.
  given(recorded({ ...a, time: "2024-05-20T02:21:00.000Z" })).when(record(b, c)).then(recorded(b, c))
  survivesRestart(record(b, a), receive("d"), record(c, a))
})

test("an open conversation is closed once", () => given(received("a")).when(close).then(closed))
test("a conversation without turns cannot be closed", () => given().when(close).then())
test("a turn after the end opens the conversation again", () => given(received("a"), closed, received("b")).when(close).then(closed))
test("an idle conversation can still be closed", () => given(received("a"), { _tag: "ConversationIdle", throughTurn: "a" }).when(close).then(closed))

test("silence after the last turn is noted once", () =>
  given(received("a")).when({ _tag: "NoteIdle", throughTurn: "a" }).then({ _tag: "ConversationIdle", throughTurn: "a" }))
test("silence after a turn that is no longer the last is not noted", () => given(received("a", "b")).when({ _tag: "NoteIdle", throughTurn: "a" }).then())
test("silence after the close is not noted", () => given(received("a"), closed).when({ _tag: "NoteIdle", throughTurn: "a" }).then())

test("a restart changes nothing", () => {
  const events = survivesRestart(receive("a", "b"), receive("a"), { _tag: "NoteIdle", throughTurn: "b" }, receive("c"), close, close)
  assert.equal(events.map(({ _tag }) => _tag), ["TurnsReceived", "ConversationIdle", "TurnsReceived", "ConversationClosed"])
})

goldenEvents(test, "services/ingestor", ingestorCodec, [
  { _tag: "TurnsReceived", turns: [turn("a"), { id: "c:7", speaker: "Zoë 🎈", text: "Line one.\nשלום 猫 'quoted'; DROP TABLE", time: "1999-12-31T23:59:59.999Z" }] },
  closed,
  { _tag: "ConversationIdle", throughTurn: "a" }
])

test.run()
