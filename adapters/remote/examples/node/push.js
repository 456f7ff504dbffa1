// Push messages to the app of the house: an adapter for Dispatch, which knows no such channel. See README.md.
"use strict";
const { createHmac, timingSafeEqual } = require("node:crypto");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const protos = path.resolve(__dirname, "../../../../proto"); // where adapter.proto is
const loaded = loader.loadSync("dispatch/adapter/v1/adapter.proto", { includeDirs: [protos], keepCase: true, enums: String, oneofs: true });
const { AdapterService } = grpc.loadPackageDefinition(loaded).dispatch.adapter.v1;

const device = [{ pattern: { name: "device", wanted: "an id: dev_ and 12 letters or digits", prefix: "dev_", min_chars: 16, max_chars: 16, allowed_chars: "abcdefghijklmnopqrstuvwxyz0123456789" } }];
const description = {
  provider: "push",
  reads_webhooks: true,
  settings: [
    { name: "base_url", description: "where the push service is", required: true, url: true },
    { name: "token", description: "what calls are authorised with", required: true, secret: true },
    { name: "signature_secret", description: "what webhooks are signed with", required: true, secret: true },
  ],
  channels: [{
    name: "push",
    condition_statuses: ["STATUS_SUBMITTED", "STATUS_DELIVERED", "STATUS_READ"],
    content_kinds: ["CONTENT_KIND_TEXT", "CONTENT_KIND_CODE"],
    max_text_chars: 500,
    sender_forms: [{ common: "COMMON_FORM_ID" }],
    recipient_forms: device,
    correlates_by_attempt_id: true,
    recalls: true,
  }],
};

function request({ settings, secrets }, method, where, body, deadline) {
  return fetch(settings.base_url + where, {
    method,
    headers: { authorization: `Bearer ${secrets.token}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
    redirect: "manual",
    signal: AbortSignal.timeout(Math.max(1, deadline - Date.now())),
  });
}

const failures = {
  404: { kind: "FAILURE_KIND_INVALID_RECIPIENT", fault: "FAULT_RECIPIENT", retry: "RETRY_PERMANENT" },
  429: { kind: "FAILURE_KIND_THROTTLED", fault: "FAULT_PROVIDER", retry: "RETRY_TEMPORARY" },
  ECONNREFUSED: { kind: "FAILURE_KIND_UNREACHABLE", fault: "FAULT_PROVIDER", retry: "RETRY_TEMPORARY" },
};

async function send({ account, attempt_id, recipient, content, callback_url }, deadline) {
  const push = { to: recipient.id, text: content.text ?? content.code.spoken, reference: attempt_id, callback_url };
  let answer;
  try {
    answer = await request(account, "POST", "/pushes", push, deadline);
  } catch (error) {
    if (failures[error.cause?.code]) return { failure: failures[error.cause.code] };
    throw error; // of unknown outcome
  }
  if (failures[answer.status]) return { failure: { ...failures[answer.status], code: String(answer.status) } };
  const { id } = await answer.json();
  return id ? { accepted: { provider_message_ids: [id] } } : {}; // {}: of unknown outcome
}

async function recall({ account, provider_message_id }, deadline) {
  const { status } = await request(account, "DELETE", `/pushes/${provider_message_id}`, undefined, deadline);
  if (status === 409) return { too_late: {} };
  if (status !== 204) throw new Error("nobody knows");
  return { recalled: {} };
}

async function readWebhook({ account, headers = [], body = Buffer.alloc(0) }) {
  const given = headers.find(({ name }) => name === "x-signature")?.value ?? Buffer.alloc(0);
  const wanted = Buffer.from(createHmac("sha256", account.secrets.signature_secret).update(body).digest("hex"));
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return { verdict: "VERDICT_FORGED" };
  let told;
  try {
    told = JSON.parse(body);
  } catch {
    return { verdict: "VERDICT_NOT_UNDERSTOOD" };
  }
  const report = { delivered: { reached: "STATUS_DELIVERED" }, opened: { reached: "STATUS_READ" }, gone: { failed: "MESSAGE_FAILURE_UNDELIVERABLE" } }[told?.state];
  if (!report) return { verdict: "VERDICT_NOT_UNDERSTOOD" };
  return { verdict: "VERDICT_UNDERSTOOD", inbound: [{ receipt: { attempt_id: told.reference, ...report } }] };
}

// An answer, or an error: that counts as of unknown outcome.
const served = (handle) => (call, callback) =>
  Promise.resolve(handle(call.request, Number(call.getDeadline()))).then((answer) => callback(null, answer), () => callback({ code: grpc.status.UNKNOWN }));

const server = new grpc.Server();
server.addService(AdapterService.service, {
  Describe: served(() => description),
  Send: served(send),
  Recall: served(recall),
  ReadWebhook: served(readWebhook),
});
server.bindAsync(process.argv[2], grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
