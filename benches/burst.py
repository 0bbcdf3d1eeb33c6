"""How long a pause between two tokens keeps a Python reader alive: one that takes what one recv(1024) brings for one token.

    burst.py FERNCHAT [RUNS]

For each pause, bursts of 20 and of 100 tokens go through `fernchat relay --pause MS` to three readers, each a process that opens and
prints every token, as the Python client does. A reader that gets two tokens at once is deaf from then on. Printed is how many
readers heard the whole burst, over all runs, and how long the slowest of the last run took.
"""

import socket
import subprocess
import sys
import threading
import time

from cryptography.fernet import Fernet

READER = """
import socket, sys
from cryptography.fernet import Fernet
fernet = Fernet(sys.argv[2].encode())
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("connected", flush=True)
while True:
    print(fernet.decrypt(peer.recv(1024)).decode(), flush=True)
"""
READERS = 3


def burst(fernchat, pause, size):
    """Sends one burst. Returns for each reader that heard all of it how long that took."""
    key = Fernet.generate_key()
    tokens = [Fernet(key).encrypt(b"[10:20:30] bob: message %d" % n) for n in range(size)]
    command = [fernchat, "relay", "127.0.0.1", "0", "--pause", str(pause)]
    relay = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"RUST_LOG": "debug"})
    port = relay.stdout.readline().split("listening on 127.0.0.1:")[1].split(",")[0]
    command = [sys.executable, "-c", READER, port, key.decode()]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(READERS)]
    sender = socket.create_connection(("127.0.0.1", int(port)))
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for reader in readers:
        reader.stdout.readline()
    seated = 0
    while seated < READERS + 1:
        seated += "takes its place" in relay.stderr.readline()
    start, took = time.time(), []

    def listen(reader):
        if sum(1 for _ in zip(range(size), reader.stdout)) == size:
            took.append(time.time() - start)

    threads = [threading.Thread(target=listen, args=(reader,), daemon=True) for reader in readers]
    for thread in threads:
        thread.start()
    for token in tokens:
        sender.send(token)
    for thread in threads:
        thread.join(2 + size * pause / 1000)
    for process in readers + [relay]:
        process.kill()
        process.wait()
    return took


def main():
    fernchat, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    print("pause  burst  heard it whole  took")
    for pause in (0, 1, 2, 3, 5):
        for size in (20, 100):
            results = [burst(fernchat, pause, size) for _ in range(runs)]
            heard = sum(map(len, results))
            took = max(results[-1], default=float("0"))
            print(f"{pause:2d} ms  {size:5d}  {heard:6d} of {runs * READERS:3d}  {took:.2f} s", flush=True)


main()
