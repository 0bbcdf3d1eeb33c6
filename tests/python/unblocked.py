"""Runs a program whose standard input and output do not wait, and reads nothing of it until a line has come to be passed on."""

import os
import subprocess
import sys
import threading

read_input, input = os.pipe()
output, write_output = os.pipe()
for descriptor in (read_input, write_output):
    os.set_blocking(descriptor, False)
program = subprocess.Popen(sys.argv[1:], stdin=read_input, stdout=write_output)
os.close(read_input)
os.close(write_output)


def show():
    while data := os.read(output, 65536):
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


# The first line of the output is the notice of waiting, the second the approval.
for _ in range(2):
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(output, 1)
    sys.stdout.buffer.write(line)
    sys.stdout.flush()
for line in sys.stdin.buffer:
    os.write(input, line)
    threading.Thread(target=show, daemon=True).start()
