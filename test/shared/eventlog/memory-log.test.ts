import { suite } from "uvu"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { eventLogConformance } from "#test/conformance/event-log"

const test = suite("event log in memory")
eventLogConformance(test as never, MemoryLog.layer)
test.run()
