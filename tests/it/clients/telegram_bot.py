"""Sends by python-telegram-bot to the simulated Bot API, says where updates go, and reads what is posted there.

Arguments: the server's URL, the bot's token.
"""
import asyncio
import json
import queue
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from telegram import Bot, Update
from telegram.error import BadRequest, Forbidden, InvalidToken, RetryAfter
from telegram.request import HTTPXRequest

server, token = sys.argv[1:]
heard = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        heard.put((self.headers.get("X-Telegram-Bot-Api-Secret-Token"), json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def says(chat, text, **fields):
    """A person writes."""
    body = json.dumps({"chat_id": chat, "text": text, **fields}).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(f"{server}/sandbox/telegram_bot/messages", body).status


def bot(token):
    return Bot(token, base_url=f"{server}/bot", request=HTTPXRequest(httpx_kwargs={"trust_env": False}))


async def refused(error, call):
    try:
        await call
    except error as refused:
        return refused
    raise SystemExit(f"{error} was taken")


async def hears(ours, sent):
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{receiver.server_port}/updates"
    await refused(BadRequest, ours.set_webhook(url, secret_token="not one"))
    assert (await ours.get_webhook_info()).url == ""
    assert await ours.set_webhook(url, secret_token="a_Secret-1", allowed_updates=["message"])
    info = await ours.get_webhook_info()
    assert (info.url, info.allowed_updates, info.pending_update_count) == (url, ("message",), 0), info
    says(sent.chat.id, "At eight, please.", reply_to_message_id=sent.message_id)
    secret, update = heard.get(timeout=10)
    message = Update.de_json(update, ours).message
    assert secret == "a_Secret-1", secret
    assert (message.chat.type, message.from_user.id, message.text) == ("private", 2718281828, "At eight, please.")
    quoted = message.reply_to_message
    assert (quoted.from_user.id, quoted.message_id) == (ours.id, sent.message_id), quoted
    assert message.message_id != sent.message_id, message
    assert await ours.delete_webhook()
    assert (await ours.get_webhook_info()).url == ""


async def main():
    async with bot(token) as ours:
        assert ours.username == "acme_bot", ours
        sent = await ours.send_message(2718281828, "Your table is ready & warm: Zażółć – 漢字")
        assert (sent.chat.id, sent.text) == (2718281828, "Your table is ready & warm: Zażółć – 漢字"), sent
        await refused(Forbidden, ours.send_message(1, "Hello"))
        await refused(BadRequest, ours.send_message(2, "Hello"))
        await refused(BadRequest, ours.send_message("@nobody", "Hello"))
        await refused(BadRequest, ours.send_message(2718281828, "x" * 4097))
        wait = await refused(RetryAfter, ours.send_message(3, "Hello"))
        assert int(getattr(wait, "_retry_after", None).total_seconds()) == 3, wait
        await hears(ours, sent)
    await refused(InvalidToken, bot("123456789:another").initialize())
    print("all told")


asyncio.run(main())
