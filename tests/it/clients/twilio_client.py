"""Sends by Twilio's own client to the simulated server, holds what that tells against Twilio's own validator,
and has the program take what this validator signs.

Arguments: the server's URL, the program's URL for webhooks, the account's SID, its auth token.
"""
import hashlib
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode

import requests
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

server, webhooks, account, token = sys.argv[1:]
heard = queue.Queue()
plain = requests.Session()
plain.trust_env = False


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        heard.put((self.path, body, self.headers.get("X-Twilio-Signature")))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
host = f"http://127.0.0.1:{receiver.server_port}"


class Here(TwilioHttpClient):
    """The same paths, at the simulated server."""

    def request(self, method, url, **more):
        return super().request(method, url.replace("https://api.twilio.com", server), **more)


client = Client(account, token, http_client=Here())
validator = RequestValidator(token)


def send(number, channel="", **more):
    return client.messages.create(
        to=f"{channel}+{number}",
        from_=f"{channel}+447700900001",
        status_callback=f"{host}/status?attempt=a%20b&n={number}#rc=5&rp=all",
        **more,
    )


def told(count):
    """So many statuses, each as Twilio's validator takes it, by message."""
    statuses = {}
    for _ in range(count):
        path, body, signature = heard.get(timeout=20)
        fields = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
        assert validator.validate(host + path, fields, signature), (path, body)
        assert not validator.validate(host + path, {**fields, "To": "+1"}, signature), body
        assert not validator.validate(host + path + "x", fields, signature), body
        statuses.setdefault(fields["MessageSid"], []).append(fields)
    return statuses


person = "447700900010"
sent = [
    send(person, body="Your table is ready & warm: Zażółć – 漢字"),
    send(person, body="Look", media_url=["https://example.com/a.jpg?a=1&b=2"]),
    send(person, "whatsapp:", body="Hello", validity_period=60),
    send(person, "whatsapp:", content_sid="HX0123456789abcdef0123456789abcdef", content_variables='{"1":"x"}'),
]
assert [message.sid[:2] for message in sent] == ["SM", "MM", "SM", "SM"], sent
assert all(message.status == "queued" and len(message.sid) == 34 for message in sent), sent
statuses = told(2 * len(sent))
for message in sent:
    assert sorted(fields["MessageStatus"] for fields in statuses[message.sid]) == ["delivered", "sent"], statuses

undelivered = send("447700900013", body="Hello")
[fields] = told(1)[undelivered.sid]
assert (fields["MessageStatus"], fields["ErrorCode"]) == ("undelivered", "30003"), fields

for wrong, code in [
    (lambda: send("447700900012", body="Hello"), 21211),
    (lambda: send("1", body="Hello"), 21211),
    (lambda: send(person), 21619),
    (lambda: send(person, body="x" * 1601), 21617),
]:
    try:
        wrong()
        raise SystemExit(f"{code} was taken")
    except TwilioRestException as error:
        assert (error.status, error.code) == (400, code), error

slow = send("447700900014", body="Hello")
assert client.messages(slow.sid).update(status="canceled").status == "canceled"
try:
    client.messages(sent[0].sid).update(status="canceled")
    raise SystemExit("a delivered message was canceled")
except TwilioRestException as error:
    assert error.code == 30409, error

# What Twilio's validator signs, the program takes.
FORM = {"content-type": "application/x-www-form-urlencoded"}
attempt = "0198c0ffee007000800000000000beef.1"
fields = {
    "MessageSid": sent[0].sid, "SmsSid": sent[0].sid, "MessageStatus": "delivered", "To": "+447700900010",
    "ErrorMessage": "Zażółć – 漢字 & +", "Empty": "", "AccountSid": account,
}


def post(url, body, signature, headers):
    answer = plain.post(url, data=body, headers={**headers, "x-twilio-signature": signature}, timeout=20)
    return answer.status_code


url = f"{webhooks}?attempt={attempt}"
without_port = url.replace(f":{webhooks.split(':')[2].split('/')[0]}", "")
for signed in [url, without_port]:
    # `compute_signature` signs a URL as it is; which URL is signed, with its port or without, is Twilio's mood.
    signature = validator.compute_signature(signed, fields)
    assert post(url, urlencode(fields), signature, FORM) == 200, signed
    more = urlencode({**fields, "More": "1"})
    assert post(url, more, signature, FORM) == 401, signed
    assert post(url + "1", urlencode(fields), signature, FORM) == 401, signed

body = '[{"type":"com.twilio.messaging.message.delivered","data":{"messageSid":"%s","messageStatus":"delivered"}}]'
body %= sent[0].sid
hashed = f"{webhooks}?bodySHA256={hashlib.sha256(body.encode()).hexdigest()}"
signature = validator.compute_signature(hashed, {})
assert validator.validate(hashed, body, signature)
assert post(hashed, body, signature, {"content-type": "application/json"}) == 200
assert post(hashed, body + " ", signature, {"content-type": "application/json"}) == 401

print("all told")
