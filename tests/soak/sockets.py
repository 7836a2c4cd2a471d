#!/usr/bin/env python3
"""Sockets for a long time: connections that move between shards, are cut off, are killed or are left
lying, beside deliveries and IDLE. Every answer is checked and has to come within PATIENCE_S; at the
end the server must have let go of every descriptor.

    tests/soak/sockets.py --seconds 3600 [--share 0.2] [--shards 2]

`--share` is the part of the time in which each client does something.
"""

import argparse
import collections
import os
import pathlib
import random
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server import Server  # noqa: E402

PATIENCE_S = 30
ACCOUNTS = 16
PASSWORD = "benchmark"


class Client:
    """A connection by hand: bytes go as they are told to."""

    def __init__(self, server, port):
        self.socket = socket.create_connection(("127.0.0.1", server.port(port)), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def say(self, text):
        self.socket.sendall(text.encode())

    def line(self, start):
        line = self.file.readline()
        assert line.startswith(start), f"{start!r} was awaited, {line!r} came"
        return line

    def until(self, start):
        """Lines up to and including the one that begins so."""
        lines = []
        while True:
            line = self.file.readline()
            assert line, f"the end came instead of {start!r}, after {lines[-3:]}"
            lines.append(line)
            if line.startswith(start):
                return lines

    def reset(self):
        """Goes away without a word: the kernel sends a reset, also for what was never read."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()


class Soak:
    def __init__(self, server, share, seconds):
        self.server, self.share = server, share
        self.end = time.monotonic() + seconds
        self.counts = collections.Counter()
        self.slowest_s = 0.0
        self.faults = []
        self.lock = threading.Lock()

    def name(self, chance):
        return f"u{chance.randrange(ACCOUNTS):03}@demo.example.org"

    def logged_in(self, chance, port="imap"):
        client = Client(self.server, port)
        client.line(b"* OK")
        client.say(f"a LOGIN {self.name(chance)} {PASSWORD}\r\n")
        client.until(b"a OK")
        return client

    def move(self, chance):
        """One command after the other: the login takes the connection to its account's shard."""
        client = self.logged_in(chance)
        client.say("b SELECT INBOX\r\n")
        client.until(b"b OK")
        for number in range(chance.randrange(5)):
            client.say(f"n{number} NOOP\r\n")
            client.until(f"n{number} OK".encode())
        client.say("z LOGOUT\r\n")
        client.until(b"z OK")
        assert client.file.read() == b""
        client.close()

    def pipeline(self, chance):
        """What was sent behind the login moves along, cut anywhere."""
        text = f"a LOGIN {self.name(chance)} {PASSWORD}\r\nb SELECT INBOX\r\n"
        text += "".join(f"n{number} NOOP\r\n" for number in range(40)) + "z LOGOUT\r\n"
        client = Client(self.server, "imap")
        cut = chance.randrange(len(text))
        client.say(text[:cut])
        time.sleep(chance.choice([0, 0, 0.001, 0.005]))
        client.say(text[cut:])
        for tag in ["a", "b", *(f"n{number}" for number in range(40)), "z"]:
            client.until(f"{tag} OK".encode())
        assert client.file.read() == b""
        client.close()

    def pop(self, chance):
        client = Client(self.server, "pop3")
        client.line(b"+OK")
        client.say(f"USER {self.name(chance)}\r\n")
        client.line(b"+OK")
        client.say(f"PASS {PASSWORD}\r\nSTAT\r\nNOOP\r\nQUIT\r\n")
        if not client.file.readline().startswith(b"-ERR [IN-USE]"):
            for _ in range(3):
                client.line(b"+OK")
        client.close()

    def cut_off(self, chance):
        """The client goes away at any moment of a login that moves."""
        text = f"a LOGIN {self.name(chance)} {PASSWORD}\r\nb SELECT INBOX\r\nc FETCH 1:* (FLAGS ENVELOPE)\r\n"
        client = Client(self.server, "imap")
        client.say(text[: chance.randrange(len(text) + 1)])
        time.sleep(chance.choice([0, 0, 0.0005, 0.002, 0.01]))
        if chance.random() < 0.5:
            client.reset()
        else:
            client.close()

    def kill(self, chance):
        """A whole process with many connections is killed."""
        child = os.fork()
        if child == 0:
            try:
                held = [Client(self.server, "imap") for _ in range(20)]
                for client in held:
                    client.say(f"a LOGIN {self.name(chance)} {PASSWORD}\r\nb SELECT INBOX\r\nc IDLE\r\n")
                time.sleep(60)
            finally:
                os._exit(0)
        time.sleep(chance.random() * 0.3)
        os.kill(child, 9)
        os.waitpid(child, 0)

    def deaf(self, chance):
        """Asks for much and reads little of it: the answer stands still, and then its reader is gone."""
        client = self.logged_in(chance)
        client.say("b SELECT INBOX\r\n" + "c FETCH 1:* (BODY.PEEK[])\r\n" * 20)
        client.until(b"b OK")
        client.file.read1(chance.randrange(1, 5000))
        time.sleep(chance.random() * 0.1)
        client.reset()

    def idle(self, chance):
        """A delivery, from any shard, is told to who waits for it on the account's own."""
        name = self.name(chance)
        client = Client(self.server, "imap")
        client.line(b"* OK")
        client.say(f"a LOGIN {name} {PASSWORD}\r\nb SELECT INBOX\r\nc IDLE\r\n")
        client.until(b"b OK")
        client.until(b"+ ")
        self.deliver(chance, name)
        while b"EXISTS" not in client.file.readline():
            pass
        client.say("DONE\r\n")
        client.until(b"c OK")
        client.say("d STORE 1:* +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\nz LOGOUT\r\n")
        client.until(b"z OK")
        client.close()

    def deliver(self, chance, name=None):
        client = Client(self.server, "smtp")
        client.line(b"220")
        client.say("EHLO soak.example\r\n")
        client.until(b"250 ")
        recipient = name or self.name(chance)
        client.say(f"MAIL FROM:<a@example.net>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n")
        for code in [b"250", b"250", b"354"]:
            client.line(code)
        body = "x" * chance.choice([10, 3000, 200_000])
        client.say(f"Subject: soak\r\nFrom: a@example.net\r\n\r\n{body}\r\n.\r\nQUIT\r\n")
        client.line(b"250")
        client.line(b"221")
        client.close()

    def run_one(self, action, seed):
        chance = random.Random(seed)
        while time.monotonic() < self.end and not self.faults:
            begin = time.monotonic()
            try:
                action(chance)
            except Exception as error:  # noqa: BLE001 - whatever it is, the soak has found something
                with self.lock:
                    self.faults.append(f"{action.__name__}: {error!r}")
                return
            took = time.monotonic() - begin
            with self.lock:
                self.counts[action.__name__] += 1
                self.slowest_s = max(self.slowest_s, took)
            time.sleep(min(took * (1 / self.share - 1), 1))

    def run(self):
        actions = [self.move, self.move, self.pipeline, self.pop, self.cut_off, self.cut_off, self.deaf, self.idle, self.idle, self.kill]
        threads = [threading.Thread(target=self.run_one, args=(action, seed)) for seed, action in enumerate(actions)]
        for thread in threads:
            thread.start()
        looked = 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            looked += 1
            if looked % 60:
                continue
            with self.lock:
                print(f"{time.strftime('%X')} {dict(self.counts)} slowest {self.slowest_s:.2f} s", flush=True)
        print(f"{dict(self.counts)} slowest {self.slowest_s:.2f} s", flush=True)
        return self.faults


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def settled(server, most):
    """The server notices ends of connections after the clients; a bounded wait."""
    for _ in range(300):
        if descriptors(server.pid) <= most:
            return True
        time.sleep(0.1)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--shards", type=int, default=2)
    arguments = parser.parse_args()
    with Server(shards=arguments.shards, accounts=ACCOUNTS, password=PASSWORD) as server:
        # Once each, for what is opened at the first use.
        warm = Soak(server, 1.0, 60)
        for action in [warm.move, warm.pop, warm.idle, warm.deliver]:
            action(random.Random(1))
        time.sleep(1)
        before = descriptors(server.pid)
        rss = server.rss_kb()
        faults = Soak(server, arguments.share, arguments.seconds).run()
        # Segments of the log that are open for reading stay so.
        if not faults and not settled(server, before + 64):
            faults.append(f"{descriptors(server.pid)} descriptors are open, {before} were before")
        print(f"descriptors {before} then {descriptors(server.pid)}, resident {rss} then {server.rss_kb()} KiB")
        if faults:
            print("\n".join(faults), server.log_text(), sep="\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
