/** What a model wrote, freed of what surrounds the reply: reasoning blocks, fences, talk before and after. */

/** Text without reasoning blocks; undefined when a block was opened and never closed, so that the reply itself is missing. */
export const withoutReasoning = (text: string): string | undefined => {
  if (!text.includes("<")) return text.trim()
  const closed = text.replace(/<(think|thinking|reasoning)>[\s\S]*?<\/\1>/gi, "")
  if (/<(?:think|thinking|reasoning)>/i.test(closed)) return undefined
  // Some servers cut the opening tag off.
  const tail = /<\/(?:think|thinking|reasoning)>([\s\S]*)$/i.exec(closed)
  return (tail?.[1] ?? closed).trim()
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
const isContainer = (value: unknown): value is object => typeof value === "object" && value !== null

/** End of the bracketed value that starts at `start`, mindful of strings; -1 when it is cut. */
const endOf = (text: string, start: number): number => {
  let depth = 0
  let quoted = false
  for (let i = start; i < text.length; i++) {
    const character = text[i]
    if (quoted) {
      if (character === "\\") i += 1
      else if (character === '"') quoted = false
    } else if (character === '"') quoted = true
    else if (character === "{" || character === "[") depth += 1
    else if (character === "}" || character === "]") {
      depth -= 1
      if (depth === 0) return i + 1
    }
  }
  return -1
}

/** Starts tried before giving up, so that a long text of brackets costs no more than a few passes. */
const startsMax = 20

/** The first JSON object or list in a reply: the whole of it, a fenced block, or one within prose; undefined when there is none. */
export const findJson = (text: string): object | undefined => {
  const whole = parsed(text)
  if (isContainer(whole)) return whole
  for (const [, block] of text.matchAll(/```[ \t]*\w*[ \t]*\r?\n([\s\S]*?)```/g)) {
    const value = parsed(block ?? "")
    if (isContainer(value)) return value
  }
  let start = -1
  for (let tries = 0; tries < startsMax; tries++) {
    const next = text.slice(start + 1).search(/[{[]/)
    if (next === -1) return undefined
    start += next + 1
    const end = endOf(text, start)
    if (end === -1) continue
    const value = parsed(text.slice(start, end))
    if (isContainer(value)) return value
  }
  return undefined
}

/** What of a reply that is still coming may be shown: no reasoning, and no piece of a tag that may become one. */
export const visibleSoFar = (text: string): string => {
  if (!text.includes("<")) return text.trimStart()
  const closed = text.replace(/<(think|thinking|reasoning)>[\s\S]*?<\/\1>/gi, "")
  const tail = /<\/(?:think|thinking|reasoning)>([\s\S]*)$/i.exec(closed)?.[1] ?? closed
  const opened = tail.search(/<(?:think|thinking|reasoning)>/i)
  return (opened === -1 ? tail.replace(/<[a-z/]{0,10}$/i, "") : tail.slice(0, opened)).trimStart()
}
