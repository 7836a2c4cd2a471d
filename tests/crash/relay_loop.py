#!/usr/bin/env python3
"""kill -9 while mail goes through, again and again: every message that got `250` must come out at least once, none that
was not sent may, and one may come out twice only if a kill, or the end of its connection, fell between its last byte and
the note of its answer.

    tests/crash/relay_loop.py --rounds 1000

The receiver is the other mail system: it lives through the kills, and ends connections of its own at random.
"""

import argparse
import collections
import json
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from receiver import EXTENSIONS, Receiver  # noqa: E402
from server import Server  # noqa: E402

CONNECTIONS = 4
# What may be between its last byte and the note of its answer when the kill comes: as many as three shards try at the
# same time for one destination. Each connection that the receiver ends has one more.
DOUBTFUL_MAX = 3 * 32
# Between the last byte of what came twice and the kill, or the end of a connection, that made it come again: the time
# in which its answer is read and noted, on a loaded machine.
DOUBT_S_MAX = 2
ENDS_KEPT_MAX = 10_000
NUMBER = re.compile(rb"\r\nSubject: (r\d+\.\d+\.\d+)\r\n")


class Load:
    """Clients that send until their server dies; remembers what was begun, and what was acknowledged."""

    def __init__(self, server, round_, seed):
        self.server, self.round, self.seed = server, round_, seed
        self.begun, self.acknowledged = set(), set()
        self.threads = [threading.Thread(target=self.until_dead, args=(at,), daemon=True) for at in range(CONNECTIONS)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def join(self):
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs although its server is dead"

    def until_dead(self, index):
        try:
            self.send(index)
        except (OSError, EOFError):
            return  # the server was killed: that is the test

    def send(self, index):
        chance = random.Random(self.seed * 100 + index)
        sock = socket.create_connection(("127.0.0.1", self.server.port("smtp")), timeout=20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = sock.makefile("rb")

        def reply():
            line = file.readline()
            while line[3:4] == b"-":
                line = file.readline()
            if len(line) < 4:
                raise EOFError
            return line

        reply()
        sock.sendall(b"EHLO client.example.net\r\n")
        reply()
        for count in range(1_000_000):
            name = f"r{self.round}.{index}.{count}"
            body = b".x" * chance.choice([10, 300, 3000, 30_000])
            commands = f"MAIL FROM:<>\r\nRCPT TO:<{name}@far.example>\r\nDATA\r\n".encode()
            sock.sendall(commands)
            answers = [reply(), reply(), reply()]
            assert answers[2].startswith(b"354"), answers
            self.begun.add(name)
            sock.sendall(f"From: x\r\nSubject: {name}\r\n\r\n".encode() + body + b"x\r\n.\r\n")
            answer = reply()
            assert answer.startswith(b"250"), answer
            self.acknowledged.add(name)


def queue(server, *arguments):
    done = subprocess.run([server.arguments[0], "--json", "queue", *arguments, "--data", str(server.folder)],
                          capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the queue cannot be asked: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def listed(server):
    return queue(server, "list", "--limit", "1")


class Arrived:
    """What has come, of all rounds: what was in doubt in one may come in a later one."""

    def __init__(self, receiver):
        self.receiver, self.counts = receiver, collections.Counter()
        # When each came last, when it came again, and what may have made it.
        self.came, self.again, self.ends = {}, [], []

    def look(self):
        with self.receiver.changed:
            messages, self.receiver.messages[:] = list(self.receiver.messages), []
            self.receiver.commands.clear()
        for message in messages:
            name = NUMBER.search(message.content)[1].decode()
            if message.rcpts != [f"RCPT TO:<{name}@far.example>"] or not message.content.endswith(b"x\r\n"):
                raise SystemExit(f"{name} came to {message.rcpts}, {len(message.content)} bytes")
            self.counts[name] += 1
            if name in self.came:
                self.again.append((name, self.came[name], message.at))
            self.came[name] = message.at
        return self.counts

    def twice(self):
        return sum(count - 1 for count in self.counts.values())

    def doubt_s(self):
        """The longest time between the last byte of something that came again and the end that made it."""
        longest = 0
        for name, first, second in self.again:
            # The receiver may read what lies in its socket after the sender has been killed.
            near = [abs(end - first) for end in self.ends if end <= second]
            if not near or min(near) > DOUBT_S_MAX:
                raise SystemExit(f"{name} came twice, and nothing ended when it was in doubt: {first}, {second}, {self.ends[-5:]}")
            longest = max(longest, min(near))
        self.again.clear()
        del self.ends[:-ENDS_KEPT_MAX]
        return longest


def drain(server, arrived, wanted, is_all=False):
    """Waits until all that is wanted has come, or all there is."""
    deadline = time.monotonic() + 60
    next_retry = 0
    while True:
        missing = wanted - arrived.look().keys()
        if not missing and not (is_all and listed(server)):
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"lost: {sorted(missing)[:5]}, {len(missing)} in all; {server.folder} is kept")
        if time.monotonic() > next_retry:
            # What waits for its next try is tried now.
            queue(server, "retry", "--all")
            next_retry = time.monotonic() + 1
        time.sleep(0.02)


class Unrest:
    """Ends connections of the receiver at random, now and then with an answer that never comes."""

    def __init__(self, receiver, chance, ends):
        self.receiver, self.chance, self.ended, self.ends = receiver, chance, 0, ends
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.is_over.wait(self.chance.uniform(0.01, 0.15)):
            connections = list(self.receiver.open)
            for connection in self.chance.sample(connections, len(connections) // 3):
                self.ended += 1
                self.ends.append(time.monotonic())
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def stop(self):
        self.is_over.set()
        self.thread.join()


def check(server):
    done = subprocess.run([server.arguments[0], "--json", "check", "--data", str(server.folder)],
                          capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise SystemExit(f"check is not clean:\n{done.stdout}\n{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--rounds-per-store", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    chance = random.Random(arguments.seed)
    totals = dict.fromkeys(["rounds", "acknowledged", "arrived", "twice", "connections_ended", "doubt_ms_max"], 0)
    receiver = Receiver()
    arrived, begun = Arrived(receiver), set()
    folder = server = None
    began = time.monotonic()
    for round_ in range(arguments.rounds):
        if round_ % arguments.rounds_per_store == 0:
            if folder:
                drain(server, arrived, set(), is_all=True)
                server.stop()
                shutil.rmtree(folder)
            folder = tempfile.mkdtemp(prefix="angarium-relay-")
            server = Server(folder=folder, smarthost=receiver.place).start()
        # Half of the time without CHUNKING: then the doubt is after the last dot alone.
        extensions = EXTENSIONS if round_ % 2 else tuple(name for name in EXTENSIONS if name != "CHUNKING")
        receiver.script.extensions = extensions
        before = arrived.twice()
        load = Load(server, round_, arguments.seed + round_)
        unrest = Unrest(receiver, random.Random(arguments.seed + round_), arrived.ends) if round_ % 3 == 0 else None
        load.start()
        time.sleep(chance.uniform(0.05, 0.3))
        server.kill()
        arrived.ends.append(time.monotonic())
        load.join()
        ended = 0
        if unrest:
            unrest.stop()
            ended = unrest.ended
        if round_ % 10 == 0:
            check(server)
        shards = chance.choice([1, 2, 2, 3])
        server.arguments[server.arguments.index("--shards") + 1] = str(shards)
        server.start()
        drain(server, arrived, load.acknowledged)
        begun |= load.begun
        # What got no answer may come or not; what was never begun may not.
        stray = arrived.counts.keys() - begun
        if stray:
            raise SystemExit(f"round {round_}: never sent: {sorted(stray)[:5]}")
        totals["twice"] = arrived.twice()
        again = totals["twice"] - before
        bound = DOUBTFUL_MAX + ended
        if again > bound:
            raise SystemExit(f"round {round_}: {again} came again, {bound} may have been in doubt")
        totals["rounds"] += 1
        totals["doubt_ms_max"] = max(totals["doubt_ms_max"], round(arrived.doubt_s() * 1000))
        totals["acknowledged"] += len(load.acknowledged)
        totals["arrived"] = arrived.counts.total()
        totals["connections_ended"] += ended
        if (round_ + 1) % 25 == 0:
            print(json.dumps({**totals, "seconds": round(time.monotonic() - began)}), flush=True)
    drain(server, arrived, set(), is_all=True)
    status = server.stop()
    receiver.stop()
    shutil.rmtree(folder)
    if status != 0:
        raise SystemExit(f"the server ended with {status}")
    print(json.dumps({**totals, "lost": 0, "seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
