/**
 * Reads turns from a file or stream whose format is found out from its content: metamem JSONL, OpenAI chat JSON or JSONL, a ChatGPT
 * export, a Claude export. Gives raw turns one by one, for the ingestor to check, with the place they stood at.
 */
import { formatOf, turnsIn, unreadIn } from "./formats.ts"
import { RejectedTurn } from "./rejected-turn.ts"
import { type Chunks, NotImportable, readValues } from "./values.ts"

/** A raw turn and the line (JSONL) or element (JSON) it stood in, from 1. */
export interface ImportedTurn {
  readonly line: number
  readonly raw: unknown
  /** Fields that stood there and are not read, where it is a turn of metamem's own format. */
  readonly unread: ReadonlyArray<string>
}

const readable = "metamem JSONL, OpenAI chat JSON or JSONL, a ChatGPT export or a Claude export (conversations.json)"

/** True for the first line of a bundle, which holds commits and no turns. */
const isBundle = (value: unknown): boolean => typeof value === "object" && value !== null && "format" in value && value.format === "metamem-bundle"

/**
 * Values that cannot be read come as rejections in their place. Throws {@link NotImportable} when the whole cannot be: another kind of
 * file, a benchmark's data set, or JSON whose first value is nothing known. Lines of JSONL are judged one by one, as a stream may go on.
 *
 * @param isLive as in `readValues`
 */
export async function* importTurns(chunks: Chunks, isLive = false): AsyncGenerator<ImportedTurn | RejectedTurn> {
  let values = 0
  let known = 0
  for await (const placed of readValues(chunks, isLive)) {
    values += 1
    const line = placed.place
    if ("error" in placed) {
      if (placed.layout === "object") throw new NotImportable({ message: `${placed.error}; ${readable} can be read` })
      yield new RejectedTurn({ line, reason: "malformed", error: placed.error })
      continue
    }
    const format = formatOf(placed.value)
    if (format === "longmemeval" || format === "locomo" || format === "beam") {
      throw new NotImportable({ message: `this is a ${format} data set; build its memories with: metamem build --data FILE`, dataset: format })
    }
    if (values === 1 && isBundle(placed.value)) {
      throw new NotImportable({ message: "this is a bundle: `metamem users import` takes in one of a user, `metamem import` one of a run" })
    }
    if (format === undefined) {
      const error = `holds neither a turn nor a conversation; ${readable} can be read`
      if (known === 0 && placed.layout !== "lines") throw new NotImportable({ message: `the first element ${error}` })
      yield new RejectedTurn({ line, reason: "malformed", error: `${placed.layout === "lines" ? "the line" : "the element"} ${error}` })
      continue
    }
    known += 1
    const unread = unreadIn(format, placed.value)
    for (const raw of turnsIn(format, placed.value)) yield { line, raw, unread }
  }
  if (values === 0 && !isLive) throw new NotImportable({ message: "the file holds an empty list" })
}
