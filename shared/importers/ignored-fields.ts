/** Fields of metamem's own turn format that nothing reads, counted for whoever sent them: a misspelt `time` would else date a turn to its arrival unsaid. */
import { Schema } from "effect"

export const IgnoredField = Schema.Struct({
  field: Schema.String,
  /** Turns that had it. */
  turns: Schema.Int,
  /** The field that is likely meant, where a turn lacked it. */
  meant: Schema.optionalKey(Schema.String)
})
export type IgnoredField = typeof IgnoredField.Type

/** Fields told at most; names counted at most, and their characters: a stream may bring new ones without end. */
const toldMax = 12
const countedMax = 256
const nameMax = 80

/** Other names of what a turn may go without, in small letters and without signs between them. */
const meantBy: Readonly<Record<string, ReadonlyArray<string>>> = {
  time: ["time", "timestamp", "at", "date", "dateandtime", "datetime", "createdat", "created", "occurredat", "postedat", "saidat", "sentat", "ts", "when"],
  user: ["user", "userid", "username"],
  conversation: ["chat", "chatid", "conversation", "conversationid", "session", "sessionid", "thread", "threadid"],
  id: ["id", "messageid", "msgid", "turnid", "uuid"]
}
const meantOf = new Map(Object.entries(meantBy).flatMap(([meant, names]) => names.map((name) => [name, meant] as const)))

export const ignoredFields = () => {
  const counted = new Map<string, { turns: number; meant: string | undefined }>()
  return {
    /** @param unread names of a turn's fields that were not read */
    note: (unread: ReadonlyArray<string>, turn: Readonly<Record<string, unknown>>): void => {
      for (const name of unread) {
        const field = name.slice(0, nameMax)
        const meant = meantOf.get(field.toLowerCase().replace(/[^a-z]/g, ""))
        const lacked = meant !== undefined && turn[meant] === undefined ? meant : undefined
        const before = counted.get(field)
        if (before !== undefined) {
          before.turns += 1
          before.meant ??= lacked
        } else if (counted.size < countedMax) counted.set(field, { turns: 1, meant: lacked })
      }
    },
    /** The likely misspelt first, then by how many turns had them. */
    told: (): ReadonlyArray<IgnoredField> =>
      [...counted]
        .map(([field, { meant, turns }]) => ({ field, turns, ...(meant === undefined ? {} : { meant }) }))
        .sort((a, b) => Number("meant" in b) - Number("meant" in a) || b.turns - a.turns || (a.field < b.field ? -1 : 1))
        .slice(0, toldMax),
    /** Whether there were more than are told. */
    more: (): boolean => counted.size > toldMax
  }
}
