import { suite } from "uvu"
import { jetStreamLayer } from "#test/support/nats"
import { eventLogConformance } from "#test/conformance/event-log"
import { eventLogReadingConformance, filledForReading } from "#test/conformance/event-log-reading"

const test = suite("event log on JetStream")
eventLogConformance(test as never, jetStreamLayer)
eventLogReadingConformance(test as never, filledForReading(jetStreamLayer))
test.run()
