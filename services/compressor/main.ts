/** The compressor as a process of its own. */
import { runActor } from "#services/process"

runActor("compressor")
