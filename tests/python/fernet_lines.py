"""Seals and opens with Python's own Fernet, line by line, so that one process serves a whole test.

    fernet_lines.py KEY        then on stdin: `seal HEX` or `open TOKEN`

Each line is answered by one: the token, or the text in hexadecimal, or `refused` for a token that does not open.
"""

import sys

from cryptography.fernet import Fernet, InvalidToken


def answer(fernet, word, content):
    if word == "seal":
        return fernet.encrypt(bytes.fromhex(content)).decode()
    try:
        return fernet.decrypt(content.encode()).hex()
    except InvalidToken:
        return "refused"


fernet = Fernet(sys.argv[1])
for line in sys.stdin:
    word, _, content = line.rstrip("\n").partition(" ")
    print(answer(fernet, word, content), flush=True)
