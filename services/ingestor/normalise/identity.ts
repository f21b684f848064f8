/** Content-addressed turn ids: what was sent decides the id, so that sending it again is recognised and changes nothing. */
import { createHash } from "node:crypto"
import type { ConversationRef } from "#shared/domain/turn"

/** What a client sent of one turn, as far as it decides the turn's identity. */
export interface SentTurn {
  readonly speaker: string
  /** The time as written by the client, "" when none was sent; never a time assigned on arrival, which differs on a retry. */
  readonly sentTime: string
  readonly text: string
  /** How many equal turns stood before it in the same request, from 0. */
  readonly occurrence: number
}

/**
 * 32 hexadecimal digits: the first 128 bits of SHA-256 over the parts, each preceded by its length, so that moving a character from one
 * part to the next gives another id.
 */
export const turnId = (of: ConversationRef, sent: SentTurn): string => {
  const hash = createHash("sha256")
  for (const part of [of.tenant, of.user, of.conversation, sent.speaker, sent.sentTime, sent.text, String(sent.occurrence)]) {
    hash.update(`${Buffer.byteLength(part)}:`)
    hash.update(part)
  }
  return hash.digest("hex").slice(0, 32)
}
