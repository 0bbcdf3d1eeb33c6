"""The old CipherChat relay, as deployed: part 2 of the protocol, the blind relay.

    cipherchat_relay.py [PORT]        else the environment variable PORT, else 12345; 0 takes a free one

It has no key: what one client sends goes to all others, in pieces of at most 1024 bytes, as it comes.
Faults reproduced on purpose:
- a piece is whatever recv(1024) returned: half a token, or two;
- a client that left is read from for ever (the old relay burns a core, this one pauses a little), and
  its removal, once a write fails, happens inside the loop over the list, so the next client is skipped;
- one client that does not read stops the write to it, and with it the relay, for everybody.
"""

import os
import signal
import socket
import sys
import threading
import time

clients = []
sending = threading.Lock()


def relay(sender):
    while True:
        piece = sender.recv(1024)
        if not piece:
            time.sleep(0.02)
            continue
        with sending:
            for client in clients:
                if client is not sender:
                    try:
                        client.sendall(piece)
                    except OSError:
                        clients.remove(client)


def serve(client):
    try:
        relay(client)
    except OSError as error:
        sys.stderr.write("client: %r\n" % error)


def main():
    port = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PORT", "12345"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(128)
    print("listening on %s:%d" % listener.getsockname(), flush=True)
    while True:
        client, _ = listener.accept()
        clients.append(client)
        threading.Thread(target=serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
