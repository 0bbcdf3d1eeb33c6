"""What both ends of the old PyChat share: tokens and frames (section "Tokens and frames").

A frame is a 4-byte big-endian length and one Fernet token; a file's body is a bare token.
Faults reproduced on purpose:
- length and token go out in two calls, with no lock, so frames of two threads can mix;
- the length is read with a single recv(4), however little that returns;
- a stream that ends between two frames is a frame that does not open (InvalidToken ends the thread);
- a stream that ends in the middle of a frame is waited on for ever (the old programs burn a core there).
"""

import sys
import time

from cryptography.fernet import Fernet

SPIN = 0.02  # seconds; stands where the old programs loop at full speed
LARGEST_READ = 1 << 24  # a misread length can be 2 GB; reserving that would only trouble the test machine


def say(text):
    """Prints one line, at once, in one piece."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Wire:
    """One connection and the key of the server run."""

    def __init__(self, sock, key, reads_tokens_whole, ahead=0):
        self.sock = sock
        self.fernet = Fernet(key)
        self.reads_tokens_whole = reads_tokens_whole
        self.ahead = ahead  # seconds by which tokens are stamped in the future

    def seal(self, data):
        return self.fernet.encrypt_at_time(data, int(time.time()) + self.ahead)

    def frame(self, content):
        """The two halves of a frame: length and token."""
        token = self.seal(content if isinstance(content, bytes) else content.encode())
        return len(token).to_bytes(4, "big"), token

    def write(self, *pieces):
        for piece in pieces:
            self.sock.sendall(piece)

    def send(self, content):
        self.write(*self.frame(content))

    def receive_bytes(self):
        size = int.from_bytes(self.sock.recv(4), "big")
        if self.reads_tokens_whole:
            return self.fernet.decrypt(self.read_whole(size))
        token = self.sock.recv(min(size, LARGEST_READ))
        while len(token) < size and not self.sock.recv(1):
            time.sleep(SPIN)
        return self.fernet.decrypt(token)

    def receive(self):
        return self.receive_bytes().decode()

    def read_whole(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(min(size - len(data), 65536))
            data += piece
            if not piece:
                time.sleep(SPIN)
        return data

    def write_mixed(self, body, frame, torn):
        """Writes a body with a frame in its middle: whole, or its token some bytes after its length."""
        half = len(body) // 2
        later = half + (17 if torn else 0)
        self.write(body[:half], frame[0], body[half:later], frame[1], body[later:])
