/** What work costs this process, whatever else the machine is doing. */

/** Milliseconds of processor time that `work` takes. */
export const processorMs = (work: () => unknown): number => {
  const before = process.cpuUsage()
  work()
  const { system, user } = process.cpuUsage(before)
  return (system + user) / 1_000
}
