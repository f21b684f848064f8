import { suite } from "uvu"
import * as assert from "uvu/assert"
import { type CallRequest, callKey, seedOf } from "#shared/model/call"
import { proposeReply, replySchemas } from "#shared/model/reply-schemas"

const test = suite("call keys")

const request: CallRequest<"answer"> = {
  role: "answer",
  messages: [{ role: "user", content: "Question: when?" }],
  parameters: { temperature: 0.7 },
  tenant: "local",
  scope: "u1",
  templateVersion: "a1",
  sample: { runSeed: 1, purpose: "rollout", draw: 0, question: "q1", sample: 0 },
  tags: { run: "r", step: 1 }
}
const key = (changes: Partial<CallRequest<"answer">> = {}, model = "m", maxTokens = 100) => callKey({ ...request, ...changes }, model, replySchemas.answer, maxTokens)

test("the key is stable, in hex, and independent of the order of members", () => {
  assert.is(key(), "9a79c223ba3b74f9b5dd950279fb555c767867b1fa871fc5b342d37373e8d15b")
  assert.is(key({ sample: { sample: 0, question: "q1", draw: 0, purpose: "rollout", runSeed: 1 } }), key())
})

test("what determines the reply changes the key", () => {
  const sample = request.sample!
  const others = [
    key({ messages: [{ role: "system", content: "Question: when?" }] }),
    key({ messages: [{ role: "user", content: "Question: when? " }] }),
    key({ parameters: { temperature: 0 } }),
    key({ parameters: { temperature: 0.7, topP: 0.5 } }),
    key({ parameters: { temperature: 0.7, stop: ["\n"] } }),
    key({ sample: { ...sample, runSeed: 2 } }),
    key({ sample: { ...sample, purpose: "gate" } }),
    key({ sample: { ...sample, draw: 1 } }),
    key({ sample: { ...sample, question: "q2" } }),
    key({ sample: { ...sample, sample: 1 } }),
    key({}, "other"),
    key({}, "m", 101),
    callKey({ ...request, role: "propose" } as CallRequest, "m", replySchemas.propose, 100),
    callKey({ ...request, role: "propose" } as CallRequest, "m", proposeReply(["all"]), 100),
    callKey(request, "m", { ...replySchemas.answer, version: 2 }, 100)
  ]
  assert.is(new Set([key(), ...others]).size, others.length + 1)
})

test("what does not determine the reply leaves the key alone", () => {
  assert.is(key({ tags: { run: "branch", step: 9, principle: "p" } }), key())
  assert.is(key({ tenant: "other", scope: "r1", templateVersion: "a2", inputs: ["m1"] }), key())
  assert.is(key({ parameters: { temperature: 0.7, maxTokens: 100 } }, "m", 5), key())
})

test("the seed fits in 31 bits and differs when a reply is asked for again", () => {
  assert.is(seedOf("ffffffff00", 0), 0x7fff_ffff)
  assert.is(seedOf("ffffffff00", 1), 0)
  assert.is(seedOf("0000000a", 0), 10)
})

test.run()
