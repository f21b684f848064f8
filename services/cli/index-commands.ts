/** Looking after the index: what is kept of it in the home, and `metamem index verify|rebuild`, done by the retriever that owns it. */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"

/**
 * How far the most advanced index folder of a home has folded the memory log; 0 when there is none that can be read. For when no retriever
 * runs, which knows better.
 */
export const storedCheckpoint = (home: string): Effect.Effect<number> =>
  Effect.promise(async () => {
    const folder = join(home, "index")
    if (!existsSync(folder)) return 0
    process.env["LANCEDB_LOG"] ??= "error"
    // Loaded only here: most commands need no index.
    const [{ connect }, { readCheckpoint }] = await Promise.all([import("@lancedb/lancedb"), import("#shared/memoryindex/lancedb-rows")])
    const found = await Promise.all(
      readdirSync(folder).filter((name) => /^\d+$/.test(name)).map(async (slot) => {
        try {
          return (await readCheckpoint(await (await connect(join(folder, slot))).openTable("changes"))).checkpoint
        } catch {
          // Damaged or half made: its owner fills it again from the log.
          return 0
        }
      })
    )
    return Math.max(0, ...found)
  })
