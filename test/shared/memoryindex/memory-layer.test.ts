import { test } from "uvu"
import { layer } from "#shared/memoryindex/memory-layer"
import { memoryIndexConformance } from "#test/conformance/memory-index"

memoryIndexConformance(test, () => layer(8))

test.run()
