/** Runs a body as if the machine stood elsewhere: most test machines stand in UTC, where local time is no mistake. */
export const elsewhere = ["America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "Asia/Kolkata"] as const

export const inZone = (zone: string, body: () => void): void => {
  const before = process.env["TZ"]
  process.env["TZ"] = zone
  try {
    body()
  } finally {
    if (before === undefined) delete process.env["TZ"]
    else process.env["TZ"] = before
  }
}
