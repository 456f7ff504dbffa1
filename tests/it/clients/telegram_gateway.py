"""Sends by telegram-gateway-verification to the simulated Gateway, holds what that reports against its own check of
signatures, and has the program take what it signs.

Arguments: the server's URL, the program's URL for webhooks, the account's token.
"""
import json
import queue
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from telegram_gateway_verification import (
    RequestStatus,
    TelegramGatewayAPIError,
    TelegramGatewayClient,
    compute_signature,
    verify_callback_signature,
)

server, webhooks, token = sys.argv[1:]
heard = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        heard.put((body, self.headers.get("X-Request-Timestamp"), self.headers.get("X-Request-Signature")))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()

session = requests.Session()
session.trust_env = False


class Client(TelegramGatewayClient):
    """The same calls, with a URL for reports that is not https: nothing else here is, either."""

    def _call(self, method, body):
        if method == "sendVerificationMessage":
            body = {**body, "callback_url": f"http://127.0.0.1:{receiver.server_port}/"}
        return super()._call(method, body)


client = Client(token, base_url=server, session=session)


def told():
    body, timestamp, signature = heard.get(timeout=20)
    given = {"timestamp_header": timestamp, "signature_header": signature}
    assert verify_callback_signature(api_token=token, raw_body=body, **given), body
    assert not verify_callback_signature(api_token="another", raw_body=body, **given), body
    assert not verify_callback_signature(api_token=token, raw_body=body + b" ", **given), body
    return RequestStatus.from_dict(json.loads(body))


granted = client.check_send_ability(phone_number="+447700900010")
sent = client.send_verification_message(
    phone_number="+447700900010", code="271828", ttl=60, payload="ours", request_id=granted.request_id
)
assert sent.payload == "ours" and sent.request_cost > 0, sent
for status in ["delivered", "read"]:
    report = told()
    assert (report.request_id, report.payload) == (sent.request_id, "ours"), report
    assert report.delivery_status.status == status, report
assert client.revoke_verification_message(request_id=sent.request_id)
assert client.check_verification_status(request_id=sent.request_id).delivery_status.status == "read"

expired = client.send_verification_message(phone_number="+447700900013", code="2718")
report = told()
assert (report.request_id, report.delivery_status.status, report.is_refunded) == (expired.request_id, "expired", True)

slow = client.send_verification_message(phone_number="+447700900014", code="2718")
assert client.revoke_verification_message(request_id=slow.request_id)
assert client.check_verification_status(request_id=slow.request_id).delivery_status.status == "revoked"

for wrong, error in [
    (lambda: client.send_verification_message(phone_number="+447700900012", code="2718"), "PHONE_NUMBER_NOT_AVAILABLE"),
    (lambda: client.send_verification_message(phone_number="+49", code="2718"), "PHONE_NUMBER_INVALID"),
    (lambda: client.check_verification_status(request_id="nobody's"), "REQUEST_ID_INVALID"),
    (lambda: Client("another", base_url=server).check_send_ability(phone_number="+447700900010"), "ACCESS_TOKEN_INVALID"),
]:
    try:
        wrong()
        raise SystemExit(f"{error} was taken")
    except TelegramGatewayAPIError as refused:
        assert refused.error == error, refused

# What it signs, the program takes, however long ago.
body = json.dumps(
    {
        "request_id": sent.request_id, "phone_number": "+447700900010", "request_cost": 0.01,
        "delivery_status": {"status": "delivered", "updated_at": 1}, "payload": "Zażółć – 漢字",
    },
    ensure_ascii=False,
).encode()


def post(body, signature, timestamp):
    headers = {"content-type": "application/json", "x-request-timestamp": timestamp, "x-request-signature": signature}
    return session.post(webhooks, data=body, headers=headers, timeout=20).status_code


for timestamp in [str(int(time.time())), "1700000000"]:
    signature = compute_signature(token, timestamp, body)
    assert post(body, signature, timestamp) == 200
    assert post(body + b" ", signature, timestamp) == 401
    assert post(body, signature, timestamp + "0") == 401
assert post(body, compute_signature("another", "1", body), "1") == 401

print("all told")
