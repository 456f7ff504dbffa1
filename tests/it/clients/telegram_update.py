"""Tells the program of an update that python-telegram-bot wrote: a person quotes a message of the bot's.

Arguments: the program's URL for webhooks, the secret, the bot's id, the person's chat, the number of the quoted message.
"""
import sys
import urllib.error
import urllib.request
from datetime import datetime, timezone

from telegram import Chat, Message, Update, User

url, secret, bot, chat, number = sys.argv[1:]
here, now = Chat(int(chat), Chat.PRIVATE), datetime.now(timezone.utc)
ours = Message(int(number), now, here, from_user=User(int(bot), "Acme", True), text="Your table is ready.")
person = User(int(chat), "Ana", False)
answer = Message(900, now, here, from_user=person, text="Zażółć – 漢字", reply_to_message=ours)
update = Update(271828, message=answer).to_json().encode()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def tell(secret):
    headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": secret}
    try:
        return opener.open(urllib.request.Request(url, update, headers)).status
    except urllib.error.HTTPError as refused:
        return refused.code


assert tell(secret + "x") == 401
assert tell(secret) == 200
print("all told")
