/** The root command with the flags that every command shares, and how results are printed: data on stdout, talk on stderr. */
import { Console, Effect, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { Name, nameLimitBytes } from "#shared/domain/name"

const named = Flag.filter(Schema.is(Name), (name: string) => (name === "" ? "a name (this one is empty)" : `a name of at most ${nameLimitBytes} bytes, without control characters`))

export const root = Command.make("metamem").pipe(
  Command.withDescription("Long-term memory for language-model agents that learns how to use its memory, and can prove how it learnt"),
  Command.withSharedFlags({
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print one JSON document on stdout"), Flag.withDefault(false)),
    home: Flag.String("home").pipe(
      Flag.withDescription("Folder with everything metamem keeps (default: .metamem, or METAMEM_HOME)"),
      Flag.optional
    ),
    nats: Flag.String("nats").pipe(
      Flag.withDescription("URL of a running nats-server (default: the home's own, or METAMEM_NATS_URL)"),
      Flag.optional
    ),
    tenant: Flag.String("tenant").pipe(Flag.withDescription("Whose data it is (default: local)"), named, Flag.withDefault("local"))
  })
)

/** `--user`; one that is empty is a variable that was not set, and must not look like somebody who has nothing. */
export const userFlag = (description: string) => Flag.String("user").pipe(Flag.withDescription(description), named)

/** A command did not do what was asked; the message says why and what to do. Exit code 1. */
export class CommandFailed extends Schema.TaggedError<CommandFailed>()("CommandFailed", { message: Schema.String }) {}

/** The call itself makes no sense. Exit code 2. */
export class WrongUsage extends Schema.TaggedError<WrongUsage>()("WrongUsage", { message: Schema.String }) {}

/** Prints the result: the JSON document with `--json`, else lines for people. */
export const emit = <A>(value: A, human: (value: A) => string) =>
  Effect.gen(function*() {
    const { json } = yield* root
    yield* Console.log(json ? JSON.stringify(value, null, 2) : human(value))
  })

/** One line of talk on stderr; never part of the data. */
export const say = (line: string): Effect.Effect<void> => Effect.sync(() => void process.stderr.write(`${line}\n`))

/** A line that replaces itself on a terminal, and is printed at most every 10 s elsewhere. */
export const progressLine = () => {
  let last = 0
  const terminal = process.stderr.isTTY
  return {
    update: (line: string): void => {
      const now = performance.now()
      if (terminal) process.stderr.write(`\r\u001b[2K${line}`)
      else if (now - last > 10_000) {
        last = now
        process.stderr.write(`${line}\n`)
      }
    },
    end: (): void => {
      if (terminal) process.stderr.write("\r\u001b[2K")
    }
  }
}

/** Signs that turn the direction of what follows: in a table they would show other people's columns in another order. */
const directions = /[\u202a-\u202e\u2066-\u2069]/g
/** Signs as wide as two on a terminal. */
const wide = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff01-\uff60\p{Emoji_Presentation}]/gu
/** Signs that take no room. */
const none = /[\p{M}\u200b-\u200f\ufeff]/gu
const countOf = (text: string, signs: RegExp): number => text.match(signs)?.length ?? 0
const widthOf = (text: string): number => [...text].length + countOf(text, wide) - countOf(text, none)

/** Plain table: columns padded to their widest cell, two spaces between. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const shown = rows.map((row) => row.map((cell) => cell.replace(directions, "")))
  const widths: Array<number> = []
  for (const row of shown) row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, widthOf(cell)))
  return shown.map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell + " ".repeat(Math.max(0, (widths[i] ?? 0) - widthOf(cell))))).join("  ").trimEnd()).join("\n")
}
