/** What a client of the memory actors asks, with short deadlines and decoded replies. */
import { Effect, Schedule, Schema } from "effect"
import { request } from "#shared/actor/requests"
import { requestSubject } from "#shared/eventlog/subjects"
import { IngestReply, type IngestRequest } from "#services/ingestor/protocol"
import { AskReply, type AskRequest, MemoriesReply, RetrieveReply, type RetrieveRequest } from "#services/retriever/protocol"

const decodeIngest = Schema.decodeUnknownEffect(IngestReply)
const decodeRetrieve = Schema.decodeUnknownEffect(RetrieveReply)
const decodeAsk = Schema.decodeUnknownEffect(AskReply)
const decodeMemories = Schema.decodeUnknownEffect(MemoriesReply)

/** Waits until ingestor and retriever answer, at most 20 s. */
export const ready = Effect.forEach(
  ["ingestor", "retriever"] as const,
  (actor) => request(requestSubject(actor, "ping"), {}, 1_000).pipe(Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo({ times: 400 })))),
  { discard: true }
)

export const receive = (payload: Omit<IngestRequest, "tenant"> & { readonly tenant?: string }) =>
  Effect.flatMap(request(requestSubject("ingestor", "receive"), { tenant: "local", ...payload }, 60_000), decodeIngest)

export const retrieve = (payload: Pick<RetrieveRequest, "user" | "question"> & Partial<RetrieveRequest>) =>
  Effect.flatMap(request(requestSubject("retriever", "retrieve"), { tenant: "local", deadlineMs: 10_000, ...payload }, 30_000), decodeRetrieve)

export const ask = (payload: Pick<AskRequest, "user" | "question"> & Partial<AskRequest>, onPart?: (part: unknown) => void) =>
  Effect.flatMap(request(requestSubject("retriever", "ask"), { tenant: "local", deadlineMs: 10_000, ...payload }, 30_000, onPart), decodeAsk)

export const memories = (user: string, tenant = "local") =>
  Effect.map(Effect.flatMap(request(requestSubject("retriever", "memories"), { tenant, user, limit: 10_000 }, 20_000), decodeMemories), (reply) => reply.memories)

export const change = (
  of: { readonly tenant?: string; readonly user: string; readonly conversation: string },
  command: { readonly _tag: "Forget" | "Restore"; readonly memory: string } | { readonly _tag: "Supersede"; readonly memory: string; readonly by: string; readonly reason: string },
  cause: string
) => request(requestSubject("compressor", "change"), { tenant: "local", ...of, command, cause }, 10_000) as Effect.Effect<{ readonly changed: boolean; readonly position: number }, unknown, never>
