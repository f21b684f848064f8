/** The ingestor as a process of its own. */
import { runActor } from "#services/process"

runActor("ingestor")
