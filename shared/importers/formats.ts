/**
 * The formats turns come in, told apart by what a value holds, and how each becomes raw turns. What only machines wrote for machines
 * (system prompts, tool calls, hidden messages) is left out; of conversations with several branches the one last shown is taken.
 */
import { createHash } from "node:crypto"

export type ImportFormat = "turn" | "openai" | "chatgpt" | "claude"
export type DatasetFormat = "longmemeval" | "locomo" | "beam"

type Fields = Readonly<Record<string, unknown>>
const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null && !Array.isArray(value)
const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {})
const listOf = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value as ReadonlyArray<unknown> : [])
const textOf = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined)

/** What a value is, or undefined. The order matters: exports carry `messages`-like fields of their own. */
export const formatOf = (value: unknown): ImportFormat | DatasetFormat | undefined => {
  if (!isFields(value)) return undefined
  if ("haystack_sessions" in value || "haystack_session_refs" in value || (value["kind"] === "session" && "ref" in value)) return "longmemeval"
  if (isFields(value["conversation"]) && ("speaker_a" in value["conversation"] || "session_1" in value["conversation"])) return "locomo"
  if ("probing_questions" in value || ("batches" in value && "chat_id" in value)) return "beam"
  if (isFields(value["mapping"])) return "chatgpt"
  if (Array.isArray(value["chat_messages"])) return "claude"
  if (Array.isArray(value["messages"])) return "openai"
  if (("role" in value || "speaker" in value) && ("content" in value || "text" in value)) return "turn"
  return undefined
}

/** Text of a message's content: a string, or the text parts of a list; undefined when it holds none (images, tool calls). */
const contentText = (content: unknown): string | undefined => {
  if (typeof content === "string") return content
  const parts = listOf(content).flatMap((part) => {
    if (typeof part === "string") return [part]
    const fields = fieldsOf(part)
    return typeof fields["text"] === "string" && (fields["type"] === undefined || /^(?:text|input_text|output_text)$/.test(String(fields["type"]))) ? [fields["text"]] : []
  })
  return parts.length === 0 ? undefined : parts.join("\n")
}

const machineRole = (role: unknown): boolean => typeof role === "string" && /^(?:system|developer|tool|function)$/i.test(role)

const defined = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null))

/** A turn of metamem's own JSONL, or a bare message. */
const ownTurn = (value: Fields): ReadonlyArray<Fields> => {
  if (machineRole(value["role"]) && value["speaker"] === undefined) return []
  const content = value["text"] ?? value["content"]
  const text = Array.isArray(content) ? contentText(content) : content
  // A message without words (a tool call, an image) is no turn.
  if (text === undefined || text === null) return "role" in value ? [] : [value]
  const time = value["time"] ?? value["timestamp"] ?? value["created_at"] ?? value["created"]
  return [defined({ user: value["user"], conversation: value["conversation"], speaker: value["speaker"], role: value["role"], text, time, id: value["id"] })]
}

const ownFields: ReadonlySet<string> = new Set(["user", "conversation", "speaker", "role", "text", "content", "time", "timestamp", "created_at", "created", "id"])

/** Fields of one of metamem's own turns that hold something and are read by nobody; other formats have theirs for other programs. */
export const unreadIn = (format: ImportFormat, value: unknown): ReadonlyArray<string> =>
  format === "turn" ? Object.entries(fieldsOf(value)).flatMap(([name, held]) => (ownFields.has(name) || held === null ? [] : [name])) : []

const openai = (value: Fields): ReadonlyArray<Fields> => {
  const messages = listOf(value["messages"])
  const conversation = textOf(value["conversation"]) ?? textOf(value["conversation_id"]) ?? textOf(value["id"]) ??
    `openai-${createHash("sha256").update(JSON.stringify(messages)).digest("hex").slice(0, 16)}`
  const time = value["created_at"] ?? value["created"] ?? value["timestamp"] ?? value["time"]
  const user = textOf(value["user"])
  return messages.flatMap((message) => {
    if (!isFields(message)) return [{ malformed: message }]
    return ownTurn(message).map((turn) => defined({ user, time, ...turn, conversation }))
  })
}

/** Messages from the root to the message last shown; follows parents, so every other branch is left out. */
const shownBranch = (value: Fields): ReadonlyArray<Fields> => {
  const mapping = fieldsOf(value["mapping"])
  const branch: Array<Fields> = []
  const visited = new Set<string>()
  let at = textOf(value["current_node"])
  if (at === undefined || !isFields(mapping[at])) {
    // Without the mark, the newest of each node's answers leads to the end of the branch last shown.
    at = Object.keys(mapping).find((id) => !isFields(mapping[String(fieldsOf(mapping[id])["parent"])]))
    while (at !== undefined && !visited.has(at)) {
      visited.add(at)
      const next = textOf(listOf(fieldsOf(mapping[at])["children"]).at(-1))
      if (next === undefined || !isFields(mapping[next])) break
      at = next
    }
    visited.clear()
  }
  while (at !== undefined && isFields(mapping[at]) && !visited.has(at)) {
    visited.add(at)
    const node = fieldsOf(mapping[at])
    if (isFields(node["message"])) branch.push({ node: at, ...node["message"] })
    at = textOf(node["parent"])
  }
  return branch.reverse()
}

/** Text of a ChatGPT message's parts: what was typed, and what was spoken as it was written down. */
const partsText = (parts: unknown): string =>
  listOf(parts).flatMap((part) => {
    if (typeof part === "string") return [part]
    const { content_type: type, text } = fieldsOf(part)
    return type === "audio_transcription" && typeof text === "string" ? [text] : []
  }).join("\n")

const chatgpt = (value: Fields): ReadonlyArray<Fields> => {
  const conversation = textOf(value["conversation_id"]) ?? textOf(value["id"])
  let before = value["create_time"]
  return shownBranch(value).flatMap((message) => {
    // A message without a time was said right after the one before it, not when the conversation began.
    const time = message["create_time"] ?? before
    before = time
    const role = fieldsOf(message["author"])["role"]
    const content = fieldsOf(message["content"])
    if (role !== "user" && role !== "assistant") return []
    if (fieldsOf(message["metadata"])["is_visually_hidden_from_conversation"] === true) return []
    if (message["recipient"] !== undefined && message["recipient"] !== "all") return []
    if (content["content_type"] !== undefined && !/^(?:text|multimodal_text)$/.test(String(content["content_type"]))) return []
    const text = partsText(content["parts"])
    if (text.trim() === "") return []
    return [defined({ conversation, role, text, time, id: textOf(message["id"]) ?? message["node"] })]
  })
}

/**
 * Of messages that answer the same one, which is what an edit leaves, those that are not on the way to the message last shown, and what
 * answers them. A message whose parent the file does not hold is kept.
 */
const leftBranches = (value: Fields): ReadonlySet<Fields> => {
  const entries = listOf(value["chat_messages"]).filter(isFields)
  const byId = new Map(entries.flatMap((entry) => (textOf(entry["uuid"]) === undefined ? [] : [[entry["uuid"], entry] as const])))
  const parentOf = (entry: Fields): string | undefined => textOf(entry["parent_message_uuid"])
  const chosen = new Map(entries.flatMap((entry) => (parentOf(entry) === undefined ? [] : [[parentOf(entry), entry] as const])))
  const visited = new Set<Fields>()
  for (let at = byId.get(value["current_leaf_message_uuid"]) ?? entries.at(-1); at !== undefined && !visited.has(at); at = byId.get(parentOf(at))) {
    visited.add(at)
    if (parentOf(at) !== undefined) chosen.set(parentOf(at), at)
  }
  const left = new Set<Fields>()
  for (const entry of entries) {
    const parent = parentOf(entry)
    const above = byId.get(parent)
    if (parent !== undefined && (chosen.get(parent) !== entry || (above !== undefined && left.has(above)))) left.add(entry)
  }
  return left
}

const claude = (value: Fields): ReadonlyArray<Fields> => {
  const conversation = textOf(value["uuid"]) ?? textOf(value["id"])
  const left = leftBranches(value)
  let before = value["created_at"]
  return listOf(value["chat_messages"]).flatMap((entry) => {
    if (!isFields(entry)) return [{ malformed: entry }]
    if (left.has(entry)) return []
    const text = contentText(entry["content"]) ?? textOf(entry["text"])
    if (text === undefined || text.trim() === "") return []
    const time = entry["created_at"] ?? before
    before = time
    const sender = entry["sender"]
    return [defined({ conversation, role: sender === "human" ? "user" : sender, text, time, id: textOf(entry["uuid"]) })]
  })
}

/** Raw turns of one value, in the order they were said; to be checked like any other. */
export const turnsIn = (format: ImportFormat, value: unknown): ReadonlyArray<Fields> => {
  const fields = fieldsOf(value)
  switch (format) {
    case "turn":
      return ownTurn(fields)
    case "openai":
      return openai(fields)
    case "chatgpt":
      return chatgpt(fields)
    case "claude":
      return claude(fields)
  }
}
