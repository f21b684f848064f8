/** Where the home is and which server it uses: the settings that every process reads first. */
import { Config } from "effect"
import { Positive } from "./setting-values.ts"

export const settings = Config.all({
  /** Folder with everything metamem keeps. */
  home: Config.String("METAMEM_HOME").pipe(Config.withDefault(".metamem")),
  /** A running nats-server; unset = the home's own, started when needed. */
  natsUrl: Config.String("METAMEM_NATS_URL").pipe(Config.option),
  /** Path of the nats-server binary; unset = the home's own, then the PATH. */
  natsServer: Config.String("METAMEM_NATS_SERVER").pipe(Config.option),
  /** Copies of each stream: 1 on a single server, 3 on a cluster. */
  natsReplicas: Config.schema(Positive, "METAMEM_NATS_REPLICAS").pipe(Config.withDefault(1))
})

/** Names in the environment that look like settings and are none of those that `example`, the text of deploy/env.example, lists. */
export const unknownSettings = (example: string, environment: Readonly<Record<string, string | undefined>> = process.env): ReadonlyArray<string> => {
  const known = new Set(example.match(/\bMETAMEM_[A-Z_]+(?==)/g))
  return Object.keys(environment).filter((name) => name.startsWith("METAMEM_") && !known.has(name)).sort()
}
