"""The old CipherChat client, as deployed: part 2 of the protocol, the blind relay.

    cipherchat_client.py HOST PORT KEYFILE NAME        then on stdin: one message a line

Each line becomes one bare token, of the text "[HH:MM:SS] NAME: TEXT", sent in one go.
Faults reproduced on purpose:
- what one recv(1024) returns is taken for one token: of two that arrive together the second is lost if the
  first ends in "=" (the base64 decoder stops there);
- anything that does not open (two tokens without that "=", a token above 1024 bytes, a foreign key, the end
  of the stream) ends receiving for good; sending goes on.
"""

import os
import socket
import sys
import threading
import time

from cryptography.fernet import Fernet, InvalidToken


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def listen(sock, fernet):
    try:
        while True:
            say(fernet.decrypt(sock.recv(1024)).decode())
    except (InvalidToken, ValueError, OSError):
        say("receiving ended")


def main():
    host, port, key_file, name = sys.argv[1:]
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8")
    with open(key_file) as file:
        fernet = Fernet(file.read().strip())
    sock = socket.create_connection((host, int(port)))
    say("connected")
    threading.Thread(target=listen, args=(sock, fernet), daemon=True).start()
    for line in sys.stdin:
        text = "[%s] %s: %s" % (time.strftime("%H:%M:%S"), name, line.rstrip("\r\n"))
        sock.sendall(fernet.encrypt(text.encode()))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
