/** A plot of accuracy by generation or step, as SVG or PNG: points with 95 % intervals, readable in print and on screen. */
import { Effect } from "effect"
import { Flag } from "effect/cli"
import { writeFileSync } from "node:fs"
import { extname } from "node:path"
import { fileURLToPath } from "node:url"
import { CommandFailed } from "./root.ts"

export interface PlotPoint {
  readonly n: number
  readonly accuracy: number
  readonly interval: readonly [number, number]
}

const width = 640
const height = 360
const margin = { left: 56, right: 20, top: 46, bottom: 44 }

const escape = (text: string): string => text.replace(/[<>&"]/g, (character) => ({ "<": "&lt;", ">": "&gt;", "&": "&amp;", "\"": "&quot;" })[character] ?? character)

/** Room that a number below the picture takes, and its distance to the next, in the picture's units. */
const labelWidth = (n: number): number => 7.7 * String(n).length + 6

/** @param points in the order of their numbers; accuracy and interval are shares in [0, 1] @param of what the numbers count, and whether the sample is too small to tell much, which the picture then says */
export const accuracyPlot = (points: ReadonlyArray<PlotPoint>, title: string, of: { readonly axis: string; readonly undersized: boolean }): string => {
  const x = (index: number): number => margin.left + ((index + 0.5) * (width - margin.left - margin.right)) / Math.max(points.length, 1)
  const y = (share: number): number => margin.top + (1 - share) * (height - margin.top - margin.bottom)
  // Numbers that would run into one another are left out, alike over the whole axis.
  const every = Math.ceil((Math.max(0, ...points.map(({ n }) => labelWidth(n))) * points.length) / (width - margin.left - margin.right))
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${margin.left}" y="20" font-size="15">${escape(title)}</text>`,
    `<text x="${margin.left}" y="34" font-size="10" fill="#555">with 95 % intervals${of.undersized ? "; too small a sample to mean much" : ""}</text>`,
    ...ticks.map((tick) =>
      `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(tick)}" y2="${y(tick)}" stroke="#ddd"/><text x="${margin.left - 8}" y="${y(tick) + 4}" text-anchor="end">${Math.round(tick * 100)} %</text>`),
    ...(points.length > 1 ? [`<polyline fill="none" stroke="#8aa" points="${points.map((point, index) => `${x(index)},${y(point.accuracy)}`).join(" ")}"/>`] : []),
    ...points.map((point, index) =>
      `<line x1="${x(index)}" x2="${x(index)}" y1="${y(point.interval[0])}" y2="${y(point.interval[1])}" stroke="#256" stroke-width="2"/>` +
      `<circle cx="${x(index)}" cy="${y(point.accuracy)}" r="5" fill="#256"/>` +
      (index % every === 0 ? `<text x="${x(index)}" y="${height - margin.bottom + 18}" text-anchor="middle">${point.n}</text>` : "")),
    `<text x="${(width + margin.left) / 2}" y="${height - 8}" text-anchor="middle">${escape(of.axis)}</text>`,
    "</svg>",
    ""
  ].join("\n")
}

const endings = [".svg", ".png"]

/** Where a plot goes; refused before any work is done when the file's ending is none that can be written. */
export const plotFlag = (what: string) =>
  Flag.String("plot").pipe(
    Flag.withDescription(`Write a plot of ${what} to this .svg or .png file`),
    Flag.mapTryCatch(
      (path) => {
        if (!endings.includes(extname(path).toLowerCase())) throw new Error(`a plot is written to a .svg or .png file, and ${path} is neither`)
        return path
      },
      (error) => (error as Error).message
    ),
    Flag.optional
  )

/** Loaded when it is needed: most commands draw nothing. The letters come with a package, so that the image is alike on every machine. */
const imageOf = async (svg: string): Promise<Uint8Array> => {
  const { Resvg } = await import("@resvg/resvg-js")
  const letters = fileURLToPath(import.meta.resolve("dejavu-fonts-ttf/ttf/DejaVuSans.ttf"))
  return new Resvg(svg, { fitTo: { mode: "zoom", value: 2 }, font: { loadSystemFonts: false, fontFiles: [letters], defaultFontFamily: "DejaVu Sans" } }).render().asPng()
}

/** Writes a plot as SVG, or to a `.png` file as an image of twice the size. Fails when the file cannot be written. */
export const writePlot = (path: string, svg: string): Effect.Effect<void, CommandFailed> =>
  Effect.tryPromise({
    try: async () => writeFileSync(path, extname(path).toLowerCase() === ".png" ? await imageOf(svg) : svg),
    catch: (error) => new CommandFailed({ message: `${path} cannot be written: ${error instanceof Error ? error.message : String(error)}` })
  })
