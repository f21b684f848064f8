/** Plots are written as SVG or PNG. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { accuracyPlot, writePlot } from "#services/cli/plot"

const test = suite("plots")
const svg = accuracyPlot([{ n: 0, accuracy: 0.5, interval: [0.4, 0.6] }, { n: 1, accuracy: 0.7, interval: [0.6, 0.8] }], "Accuracy <by> generation", { axis: "generation", undersized: false })

const inFolder = async (use: (folder: string) => Promise<void>) => {
  const folder = mkdtempSync(join(tmpdir(), "metamem-plot-"))
  try {
    await use(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test("a .png file holds an image of twice the plot's size, with letters in it", () =>
  inFolder(async (folder) => {
    const sizeOf = async (name: string, plot: string) => {
      const path = join(folder, name)
      await Effect.runPromise(writePlot(path, plot))
      const image = readFileSync(path)
      assert.is(image.subarray(1, 4).toString("latin1"), "PNG")
      assert.equal([image.readUInt32BE(16), image.readUInt32BE(20)], [1280, 720])
      return image.length
    }
    const whole = await sizeOf("whole.png", svg)
    const mute = await sizeOf("mute.PNG", svg.replace(/<text.*?<\/text>/g, ""))
    assert.ok(whole > mute * 1.5, `${whole} bytes with letters, ${mute} without`)
  }))

test("a plot of too small a sample says so", () => {
  assert.not.match(svg, /too small/)
  assert.match(accuracyPlot([{ n: 1, accuracy: 0.7, interval: [0.6, 0.8] }], "t", { axis: "step", undersized: true }), /too small a sample to mean much/)
})

test("of many steps as many numbers stand below as have room beside one another", () => {
  const numbersOf = (count: number) => {
    const plot = accuracyPlot(Array.from({ length: count }, (_, at) => ({ n: at + 1, accuracy: 0.5, interval: [0.4, 0.6] as const })), "t", { axis: "step", undersized: false })
    return [...plot.matchAll(/<text x="([\d.]+)" y="\d+" text-anchor="middle">(\d+)</g)].map(([, x, n]) => ({ x: Number(x), n: Number(n) }))
  }
  assert.is(numbersOf(12).length, 12)
  for (const count of [35, 60, 400]) {
    const numbers = numbersOf(count)
    assert.ok(numbers.length >= 15, String(numbers.length))
    for (const [at, { n, x }] of numbers.entries()) {
      const next = numbers[at + 1]
      if (next !== undefined) assert.ok(next.x - x > 7.7 * String(next.n).length, `${n} and ${next.n} of ${count}`)
    }
  }
})

test("an .svg file holds the plot itself, with the title's characters escaped", () =>
  inFolder(async (folder) => {
    await Effect.runPromise(writePlot(join(folder, "plot.svg"), svg))
    assert.is(readFileSync(join(folder, "plot.svg"), "utf8"), svg)
    assert.match(svg, "Accuracy &lt;by&gt; generation")
  }))

test("a file that cannot be written is a failure that names it", () =>
  inFolder(async (folder) => {
    const failure = await Effect.runPromise(Effect.flip(writePlot(join(folder, "absent", "plot.svg"), svg)))
    assert.match(failure.message, /absent.plot\.svg cannot be written/)
  }))

test.run()
