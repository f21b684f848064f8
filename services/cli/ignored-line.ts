/** What `ingest` says of fields that nothing reads. */
import type { IgnoredField } from "#shared/importers/ignored-fields"
import { some } from "./shown.ts"

/** Undefined where everything was read. */
export const ignoredLine = (told: ReadonlyArray<IgnoredField>, more: boolean): string | undefined =>
  told.length === 0
    ? undefined
    : `not read: ${told.map(({ field, meant, turns }) => `${JSON.stringify(field)} in ${some(turns, "turn")}${meant === undefined ? "" : ` (meant is "${meant}"?)`}`).join(", ")}${more ? " and others" : ""}`
