"""The old PyChat server, as deployed: part 1 of the protocol, sections "Joining" to "Files", server side.

    pychat_server.py HOST PORT [switches]        PORT 0 takes a free one

Faults reproduced on purpose (those of reading and writing frames are in pychat_wire.py):
- whoever speaks writes to all others from his own thread, also into the middle of their dialogues;
- a write to a dead member raises: those after it in the list hear nothing, the thread that wrote ends,
  and the dead one stays in the list;
- joining enters the list, or announces the request, before step 5 is sent;
- rights are checked for the admin's commands only: waiting and kicked users may speak, list and upload;
- /whoAdmin with another group's name moves the session into that group;
- a second login under the same name takes over;
- an unknown command gets no answer;
- an uploaded file is held in memory and written to whatever path the client named;
- all deliveries share one condition: any client's answer may release any delivery, and an answer
  that comes before the wait begins is missed, for ever.
The switches make rare faults certain; all are off by default.
"""

import argparse
import itertools
import pickle
import signal
import socket
import sys
import threading

from cryptography.fernet import Fernet
from pychat_wire import Wire, say

ADMIN_ONLY = "Only the admin of this group may do that."


class Group:
    def __init__(self, admin, wire):
        self.admin = admin
        self.members = {admin}
        self.online = {admin: wire}  # in order of joining; nothing but /disconnect and /kickMember removes
        self.requests = set()
        self.waiting = {}

    def broadcast(self, sender, text):
        for name, wire in list(self.online.items()):
            if name != sender:
                wire.send("%s: %s" % (sender, text))


class Server:
    def __init__(self, switches):
        self.switches = switches
        self.key = Fernet.generate_key()
        self.groups = {}
        self.answered = threading.Condition()
        self.chatter, self.torn, self.torn_bodies = itertools.count(1), itertools.count(1), itertools.count(1)

    def log(self, text):
        if self.switches.log:
            say(text)

    def step(self, wire, content):
        """Sends one frame of a dialogue, with whatever faults the switches ask for."""
        if self.switches.chatter:
            wire.send("PyChat: chatter %d" % next(self.chatter))
        if not self.switches.torn:
            return wire.send(content)
        turn = next(self.torn)
        step, line = wire.frame(content), wire.frame("PyChat: torn %d" % turn)
        # L1 L2 T1 T2, then L1 L2 T2 T1; then both again with the chat line's length first.
        first, second = (step, line) if turn % 4 in (1, 2) else (line, step)
        if turn % 2:
            wire.write(first[0], second[0], first[1], second[1])
        else:
            wire.write(first[0], second[0], second[1], first[1])

    def deliver(self, wire, name, data):
        token = wire.seal(data)
        self.step(wire, "/receiveFile")
        self.await_answer()
        self.step(wire, name)
        self.await_answer()
        self.step(wire, str(len(token)))
        if self.switches.chatter:
            wire.send("PyChat: chatter %d" % next(self.chatter))
        if not self.switches.torn_body:
            return wire.write(token)
        turn = next(self.torn_bodies)
        wire.write_mixed(token, wire.frame("PyChat: torn body %d" % turn), torn=turn % 2 == 0)

    def await_answer(self):
        if not self.switches.eager_delivery:
            with self.answered:
                self.answered.wait()


class Session:
    """One client's thread."""

    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.wire = Wire(sock, server.key, reads_tokens_whole=True)
        self.name = "?"

    @property
    def group(self):
        return self.server.groups[self.group_name]

    def run(self):
        try:
            self.sock.sendall(self.server.key)
            self.join()
            while self.command(self.receive()):
                pass
            self.sock.close()
        except Exception as error:  # the old thread ends with a traceback and leaves the lists as they are
            sys.stderr.write("session of %s: %r\n" % (self.name, error))
            self.server.log("lost %s" % self.name)

    def step(self, content):
        self.server.step(self.wire, content)

    def receive(self):
        text = self.wire.receive()
        self.server.log("<- %s: %s" % (self.name, text))
        return text

    def join(self):
        self.name = self.receive()
        self.step("/sendGroupname")
        self.group_name = self.receive()
        answer = self.enter()
        if not self.server.switches.no_step5:
            self.step(answer)

    def enter(self):
        if self.group_name not in self.server.groups:
            self.server.groups[self.group_name] = Group(self.name, self.wire)
            return "/adminReady"
        group = self.group
        if self.name in group.members:
            group.online[self.name] = self.wire
            return "/ready"
        group.waiting[self.name] = self.wire
        if self.name not in group.requests:
            group.requests.add(self.name)
            group.broadcast("PyChat", "%s has requested to join the group." % self.name)
        return "/wait"

    def command(self, word):
        """Runs one command; False when the session is over."""
        if word in ("/sendFilename", "/sendFile"):
            with self.server.answered:
                self.server.answered.notify()
            return True
        dialogue = DIALOGUES.get(word)
        if dialogue is None or word in self.server.switches.no_answer:
            return True
        self.step(word)
        dialogue(self)
        self.server.log("done %s: %s" % (self.name, word))
        if word == "/disconnect":
            self.server.log("gone %s" % self.name)
        return word not in ("/disconnect", "/waitDisconnect")

    def view_requests(self):
        self.receive()
        if self.name != self.group.admin:
            return self.step(ADMIN_ONLY)
        self.step("/sendingData")
        self.receive()
        self.step(pickle.dumps(self.group.requests))

    def disconnect(self):
        self.receive()
        self.group.online.pop(self.name, None)

    def wait_disconnect(self):
        self.group.waiting.pop(self.name, None)

    def all_members(self):
        self.receive()
        self.step(pickle.dumps(self.group.members))

    def online_members(self):
        self.receive()
        self.step(pickle.dumps(set(self.group.online)))

    def who_admin(self):
        self.group_name = self.receive()
        self.step("Admin: %s" % self.group.admin)

    def message_send(self):
        text = self.receive()
        self.group.broadcast(self.name, text)

    def about_user(self, act):
        """What /approveRequest, /changeAdmin and /kickMember have in common."""
        self.receive()
        if self.name != self.group.admin:
            return self.step(ADMIN_ONLY)
        self.step("/proceed")
        self.step(act(self.group, self.receive()))

    def approve_request(self):
        def approve(group, name):
            if name not in group.requests:
                return "%s has not asked to join." % name
            group.requests.remove(name)
            group.members.add(name)
            if name in group.waiting:
                group.waiting[name].send("/accepted")
                group.online[name] = group.waiting.pop(name)
            return "%s is now a member of the group." % name

        self.about_user(approve)

    def change_admin(self):
        def hand_over(group, name):
            if name not in group.members:
                return "%s is not a member of the group." % name
            group.admin = name
            return "%s is now the admin of the group." % name

        self.about_user(hand_over)

    def kick_member(self):
        def kick(group, name):
            if name not in group.members:
                return "%s is not a member of the group." % name
            group.members.remove(name)
            if name in group.online:
                group.online[name].send("/kicked")
                del group.online[name]
            return "%s has been kicked out of the group." % name

        self.about_user(kick)

    def file_transfer(self):
        name = self.receive()
        if name == "~error~":
            return
        self.step("/sendFile")
        size = int(self.receive())
        data = self.wire.fernet.decrypt(self.wire.read_whole(size))
        with open(name, "wb") as file:
            file.write(data)
        for member, wire in list(self.group.online.items()):
            if member != self.name:
                self.server.deliver(wire, name, data)
        self.step("%s has been sent to all online members." % name)


DIALOGUES = {
    "/viewRequests": Session.view_requests,
    "/approveRequest": Session.approve_request,
    "/disconnect": Session.disconnect,
    "/waitDisconnect": Session.wait_disconnect,
    "/allMembers": Session.all_members,
    "/onlineMembers": Session.online_members,
    "/changeAdmin": Session.change_admin,
    "/whoAdmin": Session.who_admin,
    "/kickMember": Session.kick_member,
    "/fileTransfer": Session.file_transfer,
    "/messageSend": Session.message_send,
}


def main():
    parser = argparse.ArgumentParser(description="The old PyChat server, faults included.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--torn", action="store_true", help="tear every step frame with a chat line")
    parser.add_argument("--torn-body", action="store_true", help="put a chat line inside every delivered body")
    parser.add_argument("--chatter", action="store_true", help="send a chat line before every step")
    parser.add_argument("--no-step5", action="store_true", help="never send step 5 of joining")
    parser.add_argument("--no-answer", metavar="WORD", action="append", default=[], help="never answer this command")
    parser.add_argument("--eager-delivery", action="store_true", help="deliver without waiting for answers")
    parser.add_argument("--log", action="store_true", help="print what is received and what is done")
    server = Server(parser.parse_args())
    sys.stdout.reconfigure(encoding="utf-8")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((server.switches.host, server.switches.port))
    listener.listen(128)
    say("listening on %s:%d" % listener.getsockname())
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=Session(server, sock).run, daemon=True).start()


if __name__ == "__main__":
    main()
