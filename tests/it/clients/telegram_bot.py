"""Sends by python-telegram-bot to the simulated Bot API. Arguments: the server's URL, the bot's token."""
import asyncio
import sys

from telegram import Bot
from telegram.error import BadRequest, Forbidden, InvalidToken, RetryAfter
from telegram.request import HTTPXRequest

server, token = sys.argv[1:]


def bot(token):
    return Bot(token, base_url=f"{server}/bot", request=HTTPXRequest(httpx_kwargs={"trust_env": False}))


async def refused(error, call):
    try:
        await call
    except error as refused:
        return refused
    raise SystemExit(f"{error} was taken")


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
    await refused(InvalidToken, bot("123456789:another").initialize())
    print("all told")


asyncio.run(main())
