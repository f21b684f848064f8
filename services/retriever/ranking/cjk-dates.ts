/** Times in Chinese and Japanese questions, put into the English words that are read elsewhere; the rest of the text stays as it is. */

const digits = "一二三四五六七八九十"
const count = "(\\d+|[一二两兩三四五六七八九十]{1,3}|几|幾|数)"

/** 1 to 99 in either writing. */
const numberOf = (text: string): string => {
  if (/^\d+$/.test(text)) return text
  if (/[几幾数]/.test(text)) return "a few"
  const [tens, ones] = text.includes("十") ? text.split("十") : ["", text]
  const digit = (sign: string | undefined, otherwise: number): number => (sign === undefined || sign === "" ? otherwise : /[两兩]/.test(sign) ? 2 : digits.indexOf(sign) + 1)
  return String(text.includes("十") ? 10 * digit(tens, 1) + digit(ones, 0) : digit(text, 1))
}

const weekdays = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
const weekdayOf = (sign: string): string => weekdays[/[日天]/.test(sign) ? 0 : Math.max(0, "月火水木金土".indexOf(sign) + 1 || "一二三四五六".indexOf(sign) + 1)] ?? ""
const months = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
const monthOf = (text: string): string => months[Number(numberOf(text)) - 1] ?? ""
const seasons: Readonly<Record<string, string>> = { 春: "spring", 夏: "summer", 秋: "autumn", 冬: "winter" }

const phrases: ReadonlyArray<readonly [RegExp, (...found: ReadonlyArray<string>) => string]> = [
  [/((?:19|20)\d{2})年\s*(\d{1,2})月\s*(\d{1,2})[日号號]/g, (_, year = "", month = "", day = "") => `on ${day} ${monthOf(month)} ${year}`],
  [/((?:19|20)\d{2})年\s*(\d{1,2})月/g, (_, year = "", month = "") => `in ${monthOf(month)} ${year}`],
  [/((?:19|20)\d{2})年/g, (_, year = "") => `in ${year}`],
  [new RegExp(`${count}\\s*(?:天|日)(?:之?前|以前)`, "g"), (_, number = "") => `${numberOf(number)} days ago`],
  [new RegExp(`${count}\\s*(?:周|週|週間|个?星期|個?星期|个?礼拜)(?:之?前|以前)`, "g"), (_, number = "") => `${numberOf(number)} weeks ago`],
  [new RegExp(`${count}\\s*(?:个月|個月|か月|ヶ月|カ月)(?:之?前|以前)`, "g"), (_, number = "") => `${numberOf(number)} months ago`],
  [new RegExp(`${count}\\s*年(?:之?前|以前)`, "g"), (_, number = "") => `${numberOf(number)} years ago`],
  [new RegExp(`(?<!\\d)(\\d{1,2}|[${digits}]{1,2})月\\s*(\\d{1,2}|[${digits}]{1,3})[日号號]`, "g"), (_, month = "", day = "") => `on ${numberOf(day)} ${monthOf(month)}`],
  [new RegExp(`(?<![\\d个個か])(\\d{1,2}|[${digits}]{1,2})月(?!前)`, "g"), (_, month = "") => `in ${monthOf(month)}`],
  [/(?:上|上个|上個)(?:周|週|星期|礼拜)([一二三四五六日天])|先週の([月火水木金土日])曜日?/g, (_, chinese, japanese) => `last ${weekdayOf(chinese ?? japanese ?? "")}`],
  [/上(?:个|個)?(?:周末|週末)|先週末/g, () => "last weekend"],
  [/上(?:个|個)?(?:周|週|星期|礼拜)|先週/g, () => "last week"],
  [/(?:这|這|本)(?:个|個)?(?:周|週|星期)|今週/g, () => "this week"],
  [/上(?:个|個)?月|先月/g, () => "last month"],
  [/(?:这个|這個|本)月|今月/g, () => "this month"],
  [/(去年|今年|昨年)(?:的|の)?([春夏秋冬])/g, (_, which = "", season = "") => `${which === "今年" ? "this" : "last"} ${seasons[season] ?? ""}`],
  [/去年|昨年/g, () => "last year"],
  [/今年/g, () => "this year"],
  [/前天|一昨日|おととい/g, () => "the day before yesterday"],
  [/昨天|昨日|昨晚|昨夜/g, () => "yesterday"],
  [/今天|今日|今晚|今朝/g, () => "today"]
]

const han = /[\p{Script=Han}\p{Script=Hiragana}]/u

export const inEnglish = (question: string): string =>
  han.test(question) ? phrases.reduce((text, [phrase, english]) => text.replace(phrase, (...found: ReadonlyArray<string>) => ` ${english(...found)} `), question) : question
