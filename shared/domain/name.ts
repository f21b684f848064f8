/** Names that people and programs give: of a tenant, a user, a conversation. Each becomes a token of subjects, whose length the server limits. */
import { Schema } from "effect"

/** Longest name in UTF-8 bytes: four of them, encoded at three characters a byte, still fit a subject. A longer one would end the connection. */
export const nameLimitBytes = 256

const control = /[\u0000-\u001f\u007f-\u009f]/

export const Name = Schema.NonEmptyString.check(
  Schema.makeFilter((name) =>
    Buffer.byteLength(name) > nameLimitBytes
      ? `a name of at most ${nameLimitBytes} bytes, not ${Buffer.byteLength(name)}`
      : control.test(name) || !name.isWellFormed()
      ? "a name without control characters and half surrogate pairs"
      : undefined)
)
