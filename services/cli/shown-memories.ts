/** The memories that answers were shown, read from the log: a reply in the log names them by id alone. */
import { Effect, Stream } from "effect"
import type { EvidenceItem } from "#shared/domain/evidence"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter } from "#shared/eventlog/subjects"
import { livesFold } from "./history.ts"

/** Memories that attempts were shown, of one user. */
export const shownMemories = (tenant: string, user: string, ids: ReadonlySet<string>) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const fold = livesFold()
    yield* log.read([memoryFilter({ tenant, user, actor: "ingestor" }), memoryFilter({ tenant, user, actor: "compressor" })]).pipe(
      Stream.runForEach((commit) => Effect.fromResult(fold.add(commit)))
    )
    const found = new Map<string, Pick<EvidenceItem, "time" | "speaker" | "text">>()
    for (const [id, { memory }] of fold.lives) if (memory !== undefined && ids.has(id)) found.set(id, memory)
    return found
  })
