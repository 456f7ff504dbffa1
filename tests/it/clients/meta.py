"""Sends by pywa to Meta's simulated server, and holds what that tells against pywa's own validator and types.

Arguments: the server's URL, the port at which its webhooks are waited for, a number's id, its token, the app's secret.
"""
import json
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from pywa import WhatsApp
from pywa.errors import WhatsAppError
from pywa.types import MessageStatus
from pywa.utils import webhook_updates_validator

server, port, number_id, token, secret = sys.argv[1:]
heard = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        heard.put((body, self.headers.get("X-Hub-Signature-256")))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


receiver = ThreadingHTTPServer(("127.0.0.1", int(port)), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()

session = httpx.Client(trust_env=False)
client = WhatsApp(phone_id=number_id, token=token, session=session)
session.base_url = f"{server}/v26.0"

person = "447700900010"
sent = {
    client.send_message(to=person, text="Hello", tracker="a").id: "a",
    client.send_message(to="US.13491208655302741918", text="Hello", tracker="b").id: "b",
    client.send_location(to=person, latitude=51.5, longitude=-0.1, name="Acme", tracker="c").id: "c",
}
assert all(message_id.startswith("wamid.") for message_id in sent), sent

seen = {}
while sum(len(statuses) for statuses in seen.values()) < 2 * len(sent):
    body, signature = heard.get(timeout=20)
    assert webhook_updates_validator(secret, body, signature), body
    assert not webhook_updates_validator("another", body, signature), body
    status = MessageStatus.from_update(client, json.loads(body))
    assert sent[status.id] == status.tracker, status
    assert status.metadata.phone_number_id == number_id, status
    seen.setdefault(status.id, []).append(status.status.value)
assert all(sorted(statuses) == ["delivered", "read"] for statuses in seen.values()), seen

try:
    client.send_message(to="447700900012", text="Hello")
    raise SystemExit("a message outside the window was taken")
except WhatsAppError as error:
    assert error.code == 131047, error

print("all told")
