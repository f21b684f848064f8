import { test } from "uvu"
import * as assert from "uvu/assert"
import { queryTerms, WordIndex } from "#shared/memoryindex/word-index"
import { terms } from "#shared/memoryindex/words"
import { stream } from "#shared/metamemory/random"

/** BM25 as its formula says, over the rows that stand. */
const plainScores = (texts: ReadonlyArray<string>, query: string, stands: (row: number) => boolean): ReadonlyArray<number> => {
  const all = texts.map(terms)
  const standing = [...all.keys()].filter(stands)
  const meanLength = standing.reduce((sum, row) => sum + (all[row]?.length ?? 0), 0) / standing.length
  return all.map((own, row) => {
    if (!stands(row)) return 0
    let score = 0
    for (const [term, weight] of queryTerms(query)) {
      const holding = standing.filter((other) => all[other]?.includes(term)).length
      const count = own.filter((one) => one === term).length
      if (count > 0) score += (weight * Math.log(1 + (standing.length - holding + 0.5) / (holding + 0.5)) * count * 2.2) / (count + 1.2 * (0.25 + (0.75 * own.length) / meanLength))
    }
    return score
  })
}

const draw = stream("word index", 1)
const vocabulary = Array.from({ length: 300 }, (_, n) => `word${n}`)
const text = (): string => Array.from({ length: 1 + Math.floor(draw() * 30) }, () => vocabulary[Math.floor(draw() ** 2 * vocabulary.length)] ?? "").join(" ")

test("scores are those of the formula, whether entries have been sorted or only noted", () => {
  const index = new WordIndex()
  const texts: Array<string> = []
  // Some searches find everything noted, some everything sorted, some a part of both.
  for (const size of [1, 40, 700, 705, 1_500]) {
    while (texts.length < size) {
      texts.push(text())
      index.add(texts.at(-1) ?? "")
    }
    const standing = Uint8Array.from(texts, (_, row) => (row % 7 === 3 ? 0 : 1))
    for (const query of ["word0 word1 word0", "word250 word17", "unheard word5", "unheard"]) {
      const found = index.scores(queryTerms(query), index.standing(standing))
      const wanted = plainScores(texts, query, (row) => standing[row] === 1)
      assert.is(found.length, size)
      wanted.forEach((score, row) => assert.ok(Math.abs(score - (found[row] ?? NaN)) <= 1e-5 * Math.max(1, score), `${query} in row ${row} of ${size}: ${found[row]} is not ${score}`))
    }
  }
})

test("rows without words, and an index without rows, score nothing", () => {
  const index = new WordIndex()
  assert.equal([...index.scores(queryTerms("word"), index.standing(new Uint8Array(0)))], [])
  index.add("the of … 🎉")
  assert.equal([...index.scores(queryTerms("word"), index.standing(Uint8Array.of(1)))], [0])
  index.add("word")
  assert.ok((index.scores(queryTerms("words"), index.standing(Uint8Array.of(1, 1)))[1] ?? 0) > 0)
})

test("a term first seen after others were sorted is found, and one that only hidden rows hold is not", () => {
  const index = new WordIndex()
  for (let n = 0; n < 600; n++) index.add(`${vocabulary.slice(n % 200, (n % 200) + 20).join(" ")}`)
  const standing = new Uint8Array(602).fill(1)
  index.scores(queryTerms("word3"), index.standing(standing))
  index.add("quillon and word3")
  index.add("zebra")
  standing[601] = 0
  const found = index.scores(queryTerms("quillon zebra"), index.standing(standing))
  assert.equal([...found.keys()].filter((row) => (found[row] ?? 0) > 0), [600])
})

test.run()
