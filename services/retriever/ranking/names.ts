/** Which participants a question names, though many names are words of their own and some scripts put no blanks around them. */

/** A letter or digit that would make the name part of a longer word; Chinese, Japanese and Korean words stand side by side. */
const letter = "[[\\p{L}\\p{N}]--[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Hangul}]]"
const escaped = (name: string): string => name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")
const matching = (name: string, flags: string): RegExp => new RegExp(`(?<!${letter})${escaped(name)}(?!${letter})`, `v${flags}`)

/** Given names that are everyday words: in lower case they are no names. */
const everyday = new Set(
  ("angel april art august autumn bill buddy chance chase cliff daisy dawn dean drew faith frank gene glory grace grant guy harmony heather holly hope hunter iris ivy jasmine " +
    "joy june king lily major mark max may melody mercy miles olive patience penny pepper poppy prince ray rich rocky rose ruby rusty sage sandy sky star stone storm sue summer sunny tiger van violet ward will willow winter").split(" ")
)
/** "Will Ana come?", "May I ask?": the verb that opens a question. */
const opensQuestion = /^\W*(?:[Ww]ill|[Mm]ay) (?:(?:[Ii]|you|he|she|it|we|they|the|there|this|that|these|those|my|your|his|her|our|their|any|some)\b|\p{Lu})/u

const isNamed = (form: string, question: string): boolean => {
  // A chat may have hundreds of participants; a pattern for each would take longer than all else.
  if (!question.toLowerCase().includes(form.toLowerCase())) return false
  if (!everyday.has(form.toLowerCase())) return matching(form, "i").test(question)
  const plain = /^(?:will|may)$/i.test(form) && opensQuestion.test(question) ? question.replace(/^\W*\p{L}+/u, "") : question
  return matching(`${form[0]?.toUpperCase() ?? ""}${form.slice(1)}`, "").test(plain)
}

/** Shorter, such a name is part of too many words. */
const unspacedMin = 2
const unspaced = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]+$/u

/** Participants a question names, by full name or first name. */
export const namedIn = (question: string, participants: ReadonlyArray<string>): ReadonlyArray<string> =>
  participants.filter((name) =>
    [name, name.split(/\s+/)[0] ?? name].some((form) => form !== "" && !(unspaced.test(form) && [...form].length < unspacedMin) && isNamed(form, question)))

/** The question with participants' names as pronouns, because a name pulls its vector towards every turn that holds it. */
export const withPronouns = (question: string, names: ReadonlyArray<string>): string =>
  names.filter((name) => !unspaced.test(name)).reduce(
    (text, name) => {
      const flags = everyday.has(name.toLowerCase()) ? "vg" : "vgi"
      const form = `(?<!${letter})${escaped(name)}`
      return text.replace(new RegExp(`${form}['’]s?(?!${letter})`, flags), "their").replace(new RegExp(`${form}(?!${letter})`, flags), "they")
    },
    question
  )

const months = new Set(["april", "may", "june", "august", "jan", "july"])

/** The question with participants called like a month taken out, except where the month is meant: "in May". */
export const withoutMonthNames = (question: string, participants: ReadonlyArray<string>): string =>
  participants.map((name) => name.split(/\s+/)[0] ?? name).filter((name) => months.has(name.toLowerCase())).reduce(
    (text, name) => text.replace(new RegExp(`(?<!\\b(?:in|during|since|until|till|last|this|early|mid|late|of|\\d(?:st|nd|rd|th)?) )(?<!${letter})${escaped(name)}(?!${letter}| \\d)`, "vgi"), "they"),
    question
  )
