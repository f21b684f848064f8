/** Numbers that settings may have: what is out of range is refused when a process starts, with its name, instead of being worked with. */
import { Schema } from "effect"

const most = 10_000_000

/** A number, and in words what it has to be. */
export const numberThat = (isRight: (value: number) => boolean, words: string) => Schema.NumberFromString.check(Schema.makeFilter((value: number) => (isRight(value) ? undefined : words)))

/** Whole, at least 1: sizes, tries, how many at once. */
export const Positive = numberThat((value) => Number.isInteger(value) && value >= 1 && value <= most, `a whole number from 1 to ${most}`)
/** Whole, at least 0, where 0 has a meaning of its own. */
export const NotNegative = numberThat((value) => Number.isInteger(value) && value >= 0 && value <= most, `a whole number from 0 to ${most}`)
/** More than 0, at most 1. */
export const Share = numberThat((value) => value > 0 && value <= 1, "a number above 0 and at most 1")
