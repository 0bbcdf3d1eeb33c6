"""The old PyChat client, as deployed: part 1 of the protocol, sections "Joining" to "Files", client side.

    pychat_client.py HOST PORT [switches]        then on stdin: user name, group name, and what is typed

Faults reproduced on purpose (those of reading and writing frames are in pychat_wire.py):
- the keyboard thread and the listening thread both write, without a lock;
- the frame after an echo is taken for the answer, whatever it is;
- a token, and a file's body too, is read with one recv(L): what has not arrived by then is lost, the stream
  is out of step, and the listening thread dies of it while the rest lives on;
- a connection that just closes kills the listening thread and nothing else: the program never ends;
- commands go out as they are typed, answered or not; a message whose text is still due holds the keyboard,
  so /proceed (which wants a line from the keyboard) then locks everything up for good;
- any other text than the three of step 5 leaves it hanging, and a waiting client understands two words only;
- after /accepted nothing is read until Enter is pressed, after /kicked the program ends at the next Enter;
- a received file is written to whatever path the server named.
Unlike the old client it waits without burning a core, and it ends when stdin ends.
The switches make rare faults certain; all are off by default.
"""

import argparse
import os
import pickle
import queue
import socket
import sys
import threading
import time

from cryptography.fernet import InvalidToken
from pychat_wire import SPIN, Wire, say

WORDS = {
    "/1": "/viewRequests",
    "/2": "/approveRequest",
    "/3": "/disconnect",
    "/4": "/allMembers",
    "/5": "/onlineMembers",
    "/6": "/changeAdmin",
    "/7": "/whoAdmin",
    "/8": "/kickMember",
    "/9": "/fileTransfer",
}
ASK_A_NAME = ("/approveRequest", "/changeAdmin", "/kickMember")
STUCK = 3.0  # seconds after the end of stdin in which no line was taken: the keyboard thread hangs
PASTED = 0.2  # seconds within which the next line counts as pasted together with this one


def leave(code=0):
    """Ends the program although a thread may still sit in a read."""
    sys.stdout.flush()
    os._exit(code)


class Lines:
    """The lines of stdin. When they have ended, so does the program, however stuck it is."""

    def __init__(self):
        self.lines = queue.Queue()
        self.taken = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in sys.stdin:
            self.lines.put(line.rstrip("\r\n"))
        self.lines.put(None)
        before = -1
        while self.taken != before:
            before = self.taken
            time.sleep(STUCK)
        leave()

    def next(self, timeout=None):
        line = self.lines.get(timeout=timeout)
        self.taken += 1
        if line is None:
            leave()
        return line


class Client:
    def __init__(self, switches):
        self.switches = switches
        self.lines = Lines()
        self.alive = False  # a member, chatting
        self.over = False
        self.typed = ""
        self.message_lock = threading.Lock()  # held from /messageSend until its text is sent
        self.asked = threading.Condition()
        self.asking = False  # the next line typed is an answer, not a message
        self.held = None  # --torn: a command that waits for a second one to be mixed with
        self.pairs = self.bodies = 0

    def run(self):
        sock = socket.create_connection((self.switches.host, self.switches.port))
        self.wire = Wire(sock, sock.recv(44), reads_tokens_whole=False, ahead=self.switches.future)
        name, self.group = self.lines.next(), self.lines.next()
        self.wire.send(name)
        self.wire.receive()
        self.wire.send(self.group)
        answer = self.wire.receive()
        if answer == "/wait":
            say("waiting")
            self.wait_for_approval()
        elif answer in ("/adminReady", "/ready"):
            say("joined as admin" if answer == "/adminReady" else "joined")
            self.alive = True
        else:
            while True:
                self.lines.next()
        if self.alive:
            self.chat()
        sock.close()

    def start(self, work):
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def start_listening(self, work):
        self.listening = None if self.switches.no_reading else self.start(work)

    # Waiting

    def wait_for_approval(self):
        keyboard = self.start(self.waiting_keyboard)
        self.start_listening(self.waiting_listener)
        while not self.alive and not self.over:
            time.sleep(SPIN)
        self.listening.join()
        if self.alive:
            keyboard.join()  # nothing is read from the socket until Enter

    def waiting_listener(self):
        while not self.alive and not self.over:
            word = self.wire.receive()
            if word == "/accepted":
                self.alive = True
                say("accepted")
            elif word == "/waitDisconnect":
                self.over = True
                say("disconnected")

    def waiting_keyboard(self):
        while not self.alive:
            if self.lines.next() == "/1" and not self.alive:
                self.wire.send("/waitDisconnect")
                return

    # Chatting

    def chat(self):
        keyboard = self.start(self.keyboard)
        self.start_listening(self.listener)
        while self.alive:
            time.sleep(SPIN)
        self.listening.join()
        self.wire.sock.close()
        keyboard.join()  # after /kicked: until Enter

    def keyboard(self):
        try:
            self.type_on()
        except OSError as error:
            sys.stderr.write("keyboard: %r\n" % error)
            while True:
                self.lines.next()

    def type_on(self):
        while self.alive:
            with self.message_lock:
                line = self.next_line()
            if not self.alive:
                return
            with self.asked:
                self.typed = line
                answers, self.asking = self.asking, False
                self.asked.notify()
            word = WORDS.get(line)
            if word is None and answers:
                continue
            if word is None:
                self.message_lock.acquire()
                word = "/messageSend"
            self.send_command(word)
            if word == "/disconnect":
                return

    def next_line(self):
        if self.held:
            try:
                return self.lines.next(PASTED)
            except queue.Empty:
                self.wire.send(self.held)
                self.held = None
        return self.lines.next()

    def send_command(self, word):
        if self.held:
            one, two = self.wire.frame(self.held), self.wire.frame(word)
            self.held = None
            self.pairs += 1
            tokens = (one[1], two[1]) if self.pairs % 2 else (two[1], one[1])
            self.wire.write(one[0], two[0], *tokens)
        elif self.switches.torn and word not in ("/messageSend", "/disconnect"):
            self.held = word
            return
        else:
            self.wire.send(word)
        if self.switches.log:
            sys.stderr.write("-> %s\n" % word)
            sys.stderr.flush()

    def ask(self, question):
        """Waits for a line from the keyboard thread."""
        with self.asked:
            self.asking = True
            say(question)
            while self.asking:
                self.asked.wait()
            return self.typed

    def listener(self):
        while self.alive:
            self.take(self.wire.receive())

    def take(self, word):
        send, receive = self.wire.send, self.wire.receive
        if word == "/viewRequests":
            send(".")
            answer = receive()
            if answer == "/sendingData":
                send("/readyForData")
                self.say_set()
            else:
                say(answer)
        elif word in ASK_A_NAME:
            send(".")
            answer = receive()
            if answer == "/proceed":
                send(self.ask("name?"))
                answer = receive()
            say(answer)
        elif word in ("/allMembers", "/onlineMembers"):
            send(".")
            self.say_set()
        elif word == "/whoAdmin":
            send(self.group)
            say(receive())
        elif word == "/messageSend":
            send(self.typed)
            self.message_lock.release()
        elif word == "/fileTransfer":
            self.upload()
        elif word == "/receiveFile":
            self.download()
        elif word == "/disconnect":
            send(".")
            self.alive = False
            say("disconnected")
        elif word == "/kicked":
            self.alive = False
            say("kicked")
        else:
            say(word)

    def say_set(self):
        say("set: %s" % sorted(pickle.loads(self.wire.receive_bytes())))

    def upload(self):
        name = self.ask("file?")
        try:
            with open(name, "rb") as file:
                data = file.read()
        except OSError:
            self.wire.send("~error~")
            return say("no such file")
        self.wire.send(name)
        self.wire.receive()  # /sendFile, or whatever stands in its place
        token = self.wire.seal(data)
        self.wire.send(str(len(token)))
        if self.switches.torn_body:
            self.bodies += 1
            self.wire.write_mixed(token, self.wire.frame("/onlineMembers"), torn=self.bodies % 2 == 0)
        else:
            self.wire.write(token)
        say(self.wire.receive())

    def download(self):
        self.wire.send("/sendFilename")
        name = self.wire.receive()
        self.wire.send("/sendFile")
        size = int(self.wire.receive())
        try:
            data = self.wire.fernet.decrypt(self.wire.sock.recv(size))
        except InvalidToken:
            return say("not received %s" % name)
        with open(name, "wb") as file:
            file.write(data)
        say("received %s %d bytes" % (name, len(data)))


def main():
    parser = argparse.ArgumentParser(description="The old PyChat client, faults included.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--torn", action="store_true", help="mix the frames of two commands pasted together")
    parser.add_argument("--torn-body", action="store_true", help="put a command inside every uploaded body")
    parser.add_argument("--future", metavar="SECONDS", type=int, default=0, help="stamp tokens that far ahead")
    parser.add_argument("--no-reading", action="store_true", help="read nothing after step 5")
    parser.add_argument("--log", action="store_true", help="say on stderr which command was sent")
    switches = parser.parse_args()
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8")
    try:
        Client(switches).run()
    except Exception as error:
        sys.stderr.write("error: %r\n" % error)
        leave(1)
    leave()


if __name__ == "__main__":
    main()
