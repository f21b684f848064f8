/** Small facts about UTC dates. */

const names = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const

/** `Mon` to `Sun` of an instant, in UTC. */
export const weekdayName = (time: string): (typeof names)[number] => names[new Date(time).getUTCDay()] as (typeof names)[number]
