// The AutoGLM services as a Node program calls them. The .proto files are read as they are; nothing is generated.

import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

export { readError } from "./errors.mjs";

const TIMEOUT_SECONDS = 30;
const CHANNEL_OPTIONS = { "grpc.max_receive_message_length": 64 * 1024 * 1024 };

const definition = protoLoader.loadSync(
  ["vision", "speech", "llm"].map((name) => `autoglm/${name}/v1/${name}.proto`),
  {
    includeDirs: [fileURLToPath(new URL("../../protos", import.meta.url))],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  },
);
const { vision, speech, llm } = grpc.loadPackageDefinition(definition).autoglm;

export const connectVision = (target) => connect(vision.v1.VisionService, target);
export const connectSpeech = (target) => connect(speech.v1.SpeechService, target);
export const connectLLM = (target) => connect(llm.v1.LLMService, target);

function connect(Client, target) {
  return new Client(target, grpc.credentials.createInsecure(), CHANNEL_OPTIONS);
}

/** Options of a call that may take this long. No call should wait for ever. */
export function within(seconds = TIMEOUT_SECONDS) {
  return { deadline: new Date(Date.now() + seconds * 1000) };
}

/** One request, one response. */
export function ask(client, method, request = {}) {
  return new Promise((resolve, reject) => {
    client[method](request, within(), (error, response) => (error ? reject(error) : resolve(response)));
  });
}

/** A picture file as an embedding that `Generate` takes in its stead. */
export async function encodeImage(client, image) {
  let header;
  const rows = [];
  for await (const part of client.EncodeImage({ image }, within())) {
    if (part.header) {
      header = part.header.embedding;
    } else {
      rows.push(part.chunk.data);
    }
  }
  const { data_type, shape } = header;
  return { header, tensor: { data_type, shape, data: Buffer.concat(rows) } };
}
