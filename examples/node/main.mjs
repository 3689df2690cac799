// Encodes a picture, asks about its embedding, leaves an answer early, and reads errors.
//
//   npm ci && node main.mjs [picture] [--vision host:port] [--speech host:port] [--llm host:port]

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { ask, connectLLM, connectSpeech, connectVision, encodeImage, readError, within } from "./autoglm.mjs";

const { values: targets, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    vision: { type: "string", default: "127.0.0.1:50051" },
    speech: { type: "string", default: "127.0.0.1:50052" },
    llm: { type: "string", default: "127.0.0.1:50053" },
  },
});
const picture = positionals[0] ?? new URL("../photos/bananas.jpg", import.meta.url);
const [vision, speech, llm] = [
  connectVision(targets.vision),
  connectSpeech(targets.speech),
  connectLLM(targets.llm),
];

const say = (topic, text) => console.log(`${topic.padEnd(9)} ${text}`);
const question = (...parts) => ({ messages: [{ role: "ROLE_USER", parts }] });

async function describe(name, client) {
  const { model } = await ask(client, "GetModel");
  say(name, `${model.fingerprint} on ${model.device}, ${model.hidden_size} wide`);
}

async function encode() {
  const embedding = await encodeImage(vision, await readFile(picture));
  const { header, tensor } = embedding;
  say("encode", `${header.shape.join(" x ")} ${header.data_type}, ${tensor.data.length} bytes`);
  return embedding;
}

async function generate(embedding) {
  const request = question({ embedding }, { text: "描述这张图片。" });
  let [text, deltas] = ["", 0];
  for await (const { delta, finish } of llm.Generate({ ...request, sampling: { max_tokens: 64 } }, within())) {
    if (delta) {
      text += delta.text;
      deltas += 1;
    } else {
      const [{ source, token_count }] = finish.receipt.media;
      const [gate] = finish.gate_weights;
      say("generate", `${JSON.stringify(text)} in ${deltas} deltas, ${finish.reason}`);
      say("receipt", `${source}, ${token_count} tokens, ${finish.receipt.steps} steps`);
      say("gate", ["text", "image", "audio"].map((name) => `${name} ${gate[name].toFixed(3)}`).join(", "));
    }
  }
}

async function leaveEarly() {
  const call = llm.Generate(question({ text: "讲一个很长的故事。" }), within());
  let events = 0;
  try {
    for await (const _ of call) {
      events += 1;
      call.cancel();
    }
  } catch (error) {
    say("cancel", `${readError(error).code} after ${events} event`);
  }
}

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    const { code, reason, domain, field } = readError(error);
    say("refused", [code, reason, domain, field].filter(Boolean).join(" "));
  }
}

await describe("vision", vision);
await describe("llm", llm);
const embedding = await encode();
await generate(embedding);
await leaveEarly();
await refusal(() => encodeImage(vision, Buffer.from("not a picture")));
await refusal(() => ask(llm, "Tokenize", question({ image: { data: Buffer.from("not a picture") } })));
await refusal(() =>
  ask(llm, "Tokenize", question({ embedding: { ...embedding, header: { ...embedding.header, model_fingerprint: "other@0" } } })),
);
await refusal(() => ask(speech, "Transcribe", { audio: Buffer.from("RIFF") }));
