/** What of a memory is put into words; its vector is of its text alone. */

/** Roles of a chat between a person and an assistant; every other speaker is a participant with a name. */
export const isRole = (speaker: string): boolean => speaker === "user" || speaker === "assistant"

/** The text a memory is found by its words with: a participant's name goes before what they said, since questions name people. */
export const indexedText = (memory: { readonly speaker: string; readonly text: string }): string =>
  isRole(memory.speaker) ? memory.text : `${memory.speaker}: ${memory.text}`
