/**
 * Event definitions: a tag, a payload schema, a version, and the steps up from older versions. Stored payloads never change;
 * a reader that meets an older version lifts it step by step, and a reader that meets an unknown one stops.
 */
import { Result, Schema } from "effect"
import * as SchemaJITCompiler from "effect/schema/SchemaJITCompiler"

/**
 * A schema whose reading is compiled when it is first used, where what is read again and again costs too much otherwise: a tenth of the
 * time, with the same results and the same failures. Compiling costs about a millisecond.
 */
export const compiled = <S extends Schema.Top>(schema: S): S => {
  SchemaJITCompiler.enable(schema.ast)
  return schema
}

/** An event as it stands in a commit, before its payload is understood. */
export const StoredEvent = Schema.Struct({ type: Schema.NonEmptyString, version: Schema.Int, data: Schema.Unknown })
export type StoredEvent = typeof StoredEvent.Type

/** A stored event cannot be read by this code: unknown type, a version from the future, or a payload that does not fit its schema. */
export class UnreadableEvent extends Schema.TaggedError<UnreadableEvent>()("UnreadableEvent", {
  type: Schema.String,
  version: Schema.Int,
  message: Schema.String
}) {}

/** Schemas of payloads need no services, neither to read nor to write. */
export type PayloadSchema = Schema.Codec<any, any, never, never>

export interface EventDefinition<Tag extends string, S extends PayloadSchema> {
  readonly tag: Tag
  readonly version: number
  readonly payload: S
  /** Key n lifts a payload of version n to version n + 1. */
  readonly upcasts: Readonly<Record<number, (old: unknown) => unknown>>
}

/** The event as folds see it: the payload with its tag. */
export type EventOf<D> = D extends EventDefinition<infer Tag, infer S> ? { readonly _tag: Tag } & S["Type"] : never

export const defineEvent = <const Tag extends string, S extends PayloadSchema>(
  tag: Tag,
  definition: { readonly version: number; readonly payload: S; readonly upcasts?: Readonly<Record<number, (old: unknown) => unknown>> }
): EventDefinition<Tag, S> => ({ tag, upcasts: {}, ...definition })

/** One step up: reads the old payload by its own schema, so a damaged one fails here and not later. */
export const upcast = <S extends PayloadSchema>(old: S, lift: (payload: S["Type"]) => unknown): (stored: unknown) => unknown => {
  const decode = Schema.decodeUnknownSync(old)
  return (stored) => lift(decode(stored))
}

export interface EventCodec<E extends { readonly _tag: string }> {
  readonly encode: (event: E) => StoredEvent
  /** Fails on anything this code does not know how to read; never skips. */
  readonly decode: (stored: StoredEvent) => Result.Result<E, UnreadableEvent>
  readonly tags: ReadonlySet<string>
}

/** The codec of a family of events. Definitions are checked for gaps: version v needs steps 1 … v − 1. */
export const eventCodec = <const Ds extends ReadonlyArray<EventDefinition<string, any>>>(definitions: Ds): EventCodec<EventOf<Ds[number]>> => {
  const byTag = new Map(
    definitions.map((definition) => {
      for (let v = 1; v < definition.version; v++) {
        if (definition.upcasts[v] === undefined) throw new RangeError(`${definition.tag} has no step up from version ${v}`)
      }
      return [
        definition.tag,
        {
          definition,
          encode: Schema.encodeUnknownSync(definition.payload as PayloadSchema),
          decode: Schema.decodeUnknownResult(compiled(definition.payload as PayloadSchema))
        }
      ] as const
    })
  )
  return {
    tags: new Set(byTag.keys()),
    encode: (event) => {
      const entry = byTag.get(event._tag)
      if (entry === undefined) throw new RangeError(`no definition for the event ${event._tag}`)
      const { _tag, ...payload } = event as { readonly _tag: string }
      return { type: _tag, version: entry.definition.version, data: entry.encode(payload) }
    },
    decode: (stored) => {
      const entry = byTag.get(stored.type)
      const unreadable = (message: string) => Result.fail(new UnreadableEvent({ type: stored.type, version: stored.version, message }))
      if (entry === undefined) return unreadable(`unknown event type ${stored.type}: this code is older than the log`)
      if (stored.version > entry.definition.version) {
        return unreadable(`${stored.type} version ${stored.version} is newer than this code knows (${entry.definition.version})`)
      }
      let data = stored.data
      try {
        for (let v = stored.version; v < entry.definition.version; v++) data = entry.definition.upcasts[v]?.(data)
      } catch (error) {
        return unreadable(`${stored.type} version ${stored.version} does not fit its own schema: ${error instanceof Error ? error.message : String(error)}`)
      }
      const decoded = entry.decode(data)
      if (Result.isFailure(decoded)) return unreadable(`${stored.type} version ${stored.version}: ${String(decoded.failure)}`)
      return Result.succeed({ _tag: stored.type, ...(decoded.success as object) } as never)
    }
  }
}
