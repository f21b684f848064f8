import { suite } from "uvu"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { eventLogConformance } from "#test/conformance/event-log"
import { eventLogReadingConformance, filledForReading } from "#test/conformance/event-log-reading"

const test = suite("event log in memory")
eventLogConformance(test as never, MemoryLog.layer)
eventLogReadingConformance(test as never, filledForReading(MemoryLog.layer))
test.run()
