import { suite } from "uvu"
import { jetStreamLayer } from "#test/support/nats"
import { eventLogConformance } from "#test/conformance/event-log"

const test = suite("event log on JetStream")
eventLogConformance(test as never, jetStreamLayer)
test.run()
