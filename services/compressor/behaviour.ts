/** What a conversation's memories have become: which turns are segmented, which facts stand, which were replaced or forgotten. */
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import { compressorCodec, type CompressorCommand, type CompressorEvent, UnknownMemory } from "./protocol.ts"

export interface CompressorState {
  readonly segmentedTurns: Set<string>
  /** Segments whose extraction has ended, well or not. */
  readonly settledSegments: Set<string>
  /** Those whose extraction was given up, with their turns. */
  readonly failedSegments: Map<string, ReadonlyArray<string>>
  readonly closedSegments: Set<string>
  /** Facts of this conversation, and turns that were replaced or forgotten. */
  readonly memories: Set<string>
  readonly supersededBy: Map<string, string>
  readonly forgotten: Set<string>
}

const isNew = (state: CompressorState, event: CompressorEvent): boolean => {
  switch (event._tag) {
    case "SegmentClosed":
      return !state.closedSegments.has(event.segment)
    case "MemoriesRecorded":
    case "ExtractionFailed":
      return event.segments.some((segment) => !state.settledSegments.has(segment))
    default:
      return true
  }
}

export const behaviour: Behaviour<CompressorState, CompressorCommand, CompressorEvent, UnknownMemory> = {
  codec: compressorCodec,
  initial: () => ({
    segmentedTurns: new Set(),
    settledSegments: new Set(),
    failedSegments: new Map(),
    closedSegments: new Set(),
    memories: new Set(),
    supersededBy: new Map(),
    forgotten: new Set()
  }),
  decide: (state, command) => {
    switch (command._tag) {
      case "RecordExtraction":
        return Result.succeed(command.events.filter((event) => isNew(state, event)))
      case "RecordSecondTry":
        return Result.succeed(command.event.segments.every((segment) => state.failedSegments.has(segment)) ? [command.event] : [])
      case "Supersede":
        if (state.supersededBy.get(command.memory) === command.by) return Result.succeed([])
        if (command.memory === command.by) {
          return Result.fail(new UnknownMemory({ memory: command.memory, message: "a memory cannot replace itself" }))
        }
        return Result.succeed([{ _tag: "MemorySuperseded", memory: command.memory, by: command.by, reason: command.reason }])
      case "Merge": {
        const { call, extractor, memory, reason, replaces, template } = command
        if (state.memories.has(memory.id)) return Result.succeed([])
        if (replaces.includes(memory.id)) return Result.fail(new UnknownMemory({ memory: memory.id, message: "a memory cannot replace itself" }))
        return Result.succeed([
          { _tag: "MemoriesRecorded", segments: [`merged ${memory.id}`], memories: [memory], extractor, template, ...(call === undefined ? {} : { call }) },
          ...replaces.map((replaced): CompressorEvent => ({ _tag: "MemorySuperseded", memory: replaced, by: memory.id, reason }))
        ])
      }
      case "Forget":
        return Result.succeed(state.forgotten.has(command.memory) ? [] : [{ _tag: "MemoryForgotten", memory: command.memory }])
      case "Restore":
        return Result.succeed(
          state.forgotten.has(command.memory) || state.supersededBy.has(command.memory) ? [{ _tag: "MemoryRestored", memory: command.memory }] : []
        )
    }
  },
  evolve: (state, event): CompressorState => {
    switch (event._tag) {
      case "SegmentClosed":
        state.closedSegments.add(event.segment)
        for (const turn of event.turns) state.segmentedTurns.add(turn)
        return state
      case "MemoriesRecorded":
        for (const segment of event.segments) {
          state.settledSegments.add(segment)
          state.failedSegments.delete(segment)
        }
        for (const memory of event.memories) state.memories.add(memory.id)
        return state
      case "ExtractionFailed":
        for (const segment of event.segments) {
          state.settledSegments.add(segment)
          state.failedSegments.set(segment, event.turns)
        }
        return state
      case "MemorySuperseded":
        state.supersededBy.set(event.memory, event.by)
        return state
      case "MemoryForgotten":
        state.forgotten.add(event.memory)
        return state
      case "MemoryRestored":
        state.forgotten.delete(event.memory)
        state.supersededBy.delete(event.memory)
        return state
    }
  }
}
