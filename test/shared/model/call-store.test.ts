import { suite } from "uvu"
import { CallStore } from "#shared/model/call-store"
import { callStoreConformance } from "#test/conformance/call-store"

const test = suite("call store in memory")
callStoreConformance(test as never, CallStore.layerMemory)
test.run()
