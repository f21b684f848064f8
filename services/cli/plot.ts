/** A plot of accuracy by generation or step as SVG: points with 95 % intervals, readable in print and on screen. */

export interface PlotPoint {
  readonly n: number
  readonly accuracy: number
  readonly interval: readonly [number, number]
}

const width = 640
const height = 360
const margin = { left: 56, right: 20, top: 40, bottom: 44 }

const escape = (text: string): string => text.replace(/[<>&"]/g, (character) => ({ "<": "&lt;", ">": "&gt;", "&": "&amp;", "\"": "&quot;" })[character] ?? character)

/** @param points in the order of their numbers; accuracy and interval are shares in [0, 1] @param axis what the numbers count */
export const accuracyPlot = (points: ReadonlyArray<PlotPoint>, title: string, axis = "generation"): string => {
  const x = (index: number): number => margin.left + ((index + 0.5) * (width - margin.left - margin.right)) / Math.max(points.length, 1)
  const y = (share: number): number => margin.top + (1 - share) * (height - margin.top - margin.bottom)
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${margin.left}" y="22" font-size="15">${escape(title)}</text>`,
    ...ticks.map((tick) =>
      `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(tick)}" y2="${y(tick)}" stroke="#ddd"/><text x="${margin.left - 8}" y="${y(tick) + 4}" text-anchor="end">${Math.round(tick * 100)} %</text>`),
    ...(points.length > 1 ? [`<polyline fill="none" stroke="#8aa" points="${points.map((point, index) => `${x(index)},${y(point.accuracy)}`).join(" ")}"/>`] : []),
    ...points.map((point, index) =>
      `<line x1="${x(index)}" x2="${x(index)}" y1="${y(point.interval[0])}" y2="${y(point.interval[1])}" stroke="#256" stroke-width="2"/><circle cx="${x(index)}" cy="${y(point.accuracy)}" r="5" fill="#256"/><text x="${x(index)}" y="${height - margin.bottom + 18}" text-anchor="middle">${point.n}</text>`),
    `<text x="${(width + margin.left) / 2}" y="${height - 8}" text-anchor="middle">${escape(axis)}</text>`,
    "</svg>",
    ""
  ].join("\n")
}
