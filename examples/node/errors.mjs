// A failed call in words: its code, and the reason, field and pause that the service gave with it.

import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const messages = protoLoader.loadSync(fileURLToPath(new URL("errors.proto", import.meta.url)), {
  keepCase: true,
  longs: Number,
  defaults: true,
});

/** `{ code, reason, domain, field, retryAfterSeconds, message }`; without details the reason is the code. */
export function readError(error) {
  const code = grpc.status[error.code];
  const found = { code, reason: code, message: error.details };
  for (const { type_url, value } of detailsOf(error)) {
    const name = type_url.slice(type_url.lastIndexOf("/") + 1);
    const detail = messages[name]?.deserialize(value);
    if (name === "google.rpc.ErrorInfo") {
      found.reason = detail.reason;
      found.domain = detail.domain;
    } else if (name === "google.rpc.BadRequest") {
      found.field = detail.field_violations[0]?.field;
    } else if (name === "google.rpc.RetryInfo") {
      found.retryAfterSeconds = detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9;
    }
  }
  return found;
}

function detailsOf(error) {
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  return packed ? messages["google.rpc.Status"].deserialize(packed).details : [];
}
