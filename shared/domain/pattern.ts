/** Regular expressions too long for a line. */

/** One written over several lines: a line break and the indent after it are no part of it, all else is as in a literal. @param flags as after a literal */
export const pattern = (flags: string) => ({ raw: [source = ""] }: TemplateStringsArray): RegExp => new RegExp(source.replace(/\n */g, ""), flags)
