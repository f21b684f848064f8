/** The reflector as a process of its own. */
import { runActor } from "#services/process"

runActor("reflector")
