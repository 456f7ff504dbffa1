// The application calls of the old Node client, against the host and port given as arguments. Each
// answer is checked as a program of the time would read it.
"use strict";

const assert = require("assert");
const Nexmo = require("nexmo");

const [host, port] = process.argv.slice(2);
const nexmo = new Nexmo(
  { apiKey: "abcd1234", apiSecret: "abcdefghij123456" },
  { apiHost: host, port: Number(port) },
);

const call = (name, ...args) =>
  new Promise((resolve, reject) =>
    nexmo.applications[name](...args, (error, answer) => (error ? reject(error) : resolve(answer))),
  );

const refused = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it was not refused");
};

const webhooks = {
  inbound_url: { address: "https://example.com/webhooks/inbound", http_method: "POST" },
  status_url: { address: "https://example.com/webhooks/status", http_method: "POST" },
};

(async () => {
  const created = await call("create", { name: "From Node", capabilities: { messages: { webhooks } } });
  assert.match(created.id, /^[0-9a-f-]{36}$/);
  assert.match(created.keys.private_key, /^-----BEGIN PRIVATE KEY-----\n/);
  // The key is one that the client can sign with.
  const token = Nexmo.generateJwt(Buffer.from(created.keys.private_key), { application_id: created.id });
  assert.strictEqual(token.split(".").length, 3);

  // The older form of the call.
  const urls = { inbound_url: webhooks.inbound_url.address, status_url: webhooks.status_url.address };
  const older = await call("create", "Older form", "messages", undefined, undefined, urls);
  assert.deepStrictEqual(older.messages.webhooks[1], {
    endpoint_type: "status_url",
    endpoint: urls.status_url,
    http_method: "POST",
  });
  const voice = await call("create", "Voice", "voice", "https://example.com/a", "https://example.com/e", {});
  assert.strictEqual(voice.voice.webhooks[0].http_method, "GET");

  const shown = await new Promise((resolve, reject) =>
    nexmo.applications.get(created.id, (error, answer) => (error ? reject(error) : resolve(answer)), true),
  );
  assert.deepStrictEqual(shown.capabilities.messages.webhooks, webhooks);
  assert.strictEqual(shown.keys.private_key, undefined);

  const listed = await call("get", { page_size: 2, page: 1 });
  assert.strictEqual(listed.count, 3);
  assert.strictEqual(listed._embedded.applications.length, 2);
  assert.strictEqual((await call("get", {}))._embedded.applications.length, 3);

  const updated = await call("update", created.id, { name: "Renamed", capabilities: {} });
  assert.strictEqual(updated.name, "Renamed");
  assert.strictEqual(updated.keys.public_key, created.keys.public_key);

  const wrong = await refused(call("create", { capabilities: {} }));
  assert.strictEqual(wrong.body.invalid_parameters[0].name, "name");
  await call("delete", created.id);
  const gone = await refused(call("delete", created.id));
  assert.strictEqual(gone.body.title, "Not Found");
  console.log("all calls answered");
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
