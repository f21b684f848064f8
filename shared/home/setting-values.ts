/** Numbers that settings may have: what is out of range is refused when a process starts, with its name, instead of being worked with. */
import { Schema } from "effect"

/** Whole, at least 1: sizes, tries, how many at once. */
export const Positive = Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 10_000_000 }))
/** Whole, at least 0, where 0 has a meaning of its own. */
export const NotNegative = Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: 10_000_000 }))
/** More than 0, at most 1. */
export const Share = Schema.FiniteFromString.check(Schema.isGreaterThan(0), Schema.isLessThanOrEqualTo(1))
