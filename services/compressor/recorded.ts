/** The event of what extraction found. */
import { createHash } from "node:crypto"
import type { Memory } from "#shared/domain/memory"
import type { Extraction } from "./extraction.ts"
import type { CompressorEvent } from "./protocol.ts"

type MemoriesRecorded = Extract<CompressorEvent, { readonly _tag: "MemoriesRecorded" }>

/** Id of a fact: where it stands and what it says decide it. */
const factId = (target: string, fact: Pick<Memory, "text" | "turns">): string =>
  createHash("sha256").update([target, fact.text, ...fact.turns].join("\n")).digest("hex").slice(0, 32)

export const recordedOf = (target: string, segments: MemoriesRecorded["segments"], { call, extractor, facts, template }: Extract<Extraction, { readonly _tag: "Done" }>): MemoriesRecorded => ({
  _tag: "MemoriesRecorded",
  segments,
  memories: facts.map((fact): Memory => ({ id: factId(target, fact), kind: "fact", ...fact })),
  extractor,
  template,
  ...(call === undefined ? {} : { call })
})
