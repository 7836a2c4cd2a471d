#!/usr/bin/env python3
"""kill -9 under load, again and again: every message that got `250` (SMTP, LMTP) or `OK` (IMAP
APPEND) must be there after the restart, once; no message twice; `angarium check` clean each time.

    tests/crash/kill_loop.py --rounds 1000
"""

import argparse
import imaplib
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
from server import Server  # noqa: E402

DOMAIN = "demo.example.org"
ACCOUNTS = 8


class Load:
    """Clients that send until their server dies; remembers what was acknowledged."""

    def __init__(self, server, round_, seed):
        self.server, self.round, self.seed = server, round_, seed
        self.acknowledged, self.sent = [], 0
        self.lock = threading.Lock()
        self.threads = []

    def start(self):
        for i in range(4):
            self.spawn(self.smtp, i, "smtp", "HELO x")
        self.spawn(self.smtp, 4, "lmtp", "LHLO x")
        self.spawn(self.imap, 5)

    def spawn(self, target, *args):
        thread = threading.Thread(target=self.until_dead, args=(target, args), daemon=True)
        self.threads.append(thread)
        thread.start()

    def join(self):
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs although its server is dead"

    @staticmethod
    def until_dead(target, args):
        try:
            target(*args)
        except (OSError, EOFError, IndexError, ValueError, imaplib.IMAP4.error, imaplib.IMAP4.abort):
            return  # the server was killed: that is the test

    def note(self, recipients, name):
        with self.lock:
            self.acknowledged += [(recipient, name) for recipient in recipients]

    def message(self, name, chance):
        body = "x" * chance.choice([10, 300, 3000, 20_000])
        return f"Subject: {name}\r\nFrom: a@example.net\r\n\r\n{body}\r\n"

    def smtp(self, index, port, hello):
        chance = random.Random(self.seed * 100 + index)
        sock = socket.create_connection(("127.0.0.1", self.server.port(port)), timeout=20)
        file = sock.makefile("rb")

        def reply():
            line = file.readline()
            while line[3:4] == b"-":
                line = file.readline()
            if len(line) < 4:
                raise EOFError
            return line

        reply()
        sock.sendall(hello.encode() + b"\r\n")
        reply()
        count = 0
        while True:
            name = f"k{self.round}.{index}.{count}"
            count += 1
            recipients = chance.sample(range(ACCOUNTS), chance.choice([1, 1, 1, 3]))
            lines = ["MAIL FROM:<a@example.net>", *(f"RCPT TO:<u{who:03}@{DOMAIN}>" for who in recipients), "DATA"]
            self.sent += len(recipients)
            for line in lines:
                sock.sendall(line.encode() + b"\r\n")
                answer = reply()
            assert answer.startswith(b"354"), answer
            sock.sendall(self.message(name, chance).encode() + b".\r\n")
            if port == "lmtp":
                for who in recipients:
                    answer = reply()
                    assert answer.startswith(b"250"), answer
                    self.note([who], name)
            else:
                answer = reply()
                assert answer.startswith(b"250"), answer
                self.note(recipients, name)

    def imap(self, index):
        chance = random.Random(self.seed * 100 + index)
        client = imaplib.IMAP4("127.0.0.1", self.server.port("imap"))
        client.login("u000", "benchmark")
        count = 0
        while True:
            name = f"k{self.round}.{index}.{count}"
            count += 1
            self.sent += 1
            status, _ = client.append("INBOX", None, None, self.message(name, chance).encode())
            assert status == "OK"
            self.note([0], name)


class Reader:
    """Looks only at what is new since the last look."""

    def __init__(self):
        self.next_uid = dict.fromkeys(range(ACCOUNTS), 1)

    def new_names(self, server):
        found = {}
        for who in range(ACCOUNTS):
            client = imaplib.IMAP4("127.0.0.1", server.port("imap"))
            client.login(f"u{who:03}", "benchmark")
            client.select("INBOX", readonly=True)
            names = []
            _, data = client.uid("FETCH", f"{self.next_uid[who]}:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            for part in data:
                if not isinstance(part, tuple):
                    continue
                uid = int(re.search(rb"UID (\d+)", part[0]).group(1))
                if uid < self.next_uid[who]:
                    continue
                self.next_uid[who] = uid + 1
                names.append(part[1].decode().strip().removeprefix("Subject: "))
            client.logout()
            found[who] = names
        return found


def verify(load, found):
    lost, doubled = [], []
    for who, names in found.items():
        if len(names) != len(set(names)):
            doubled += [(who, name) for name in set(names) if names.count(name) > 1]
    have = {(who, name) for who, names in found.items() for name in names}
    lost = [one for one in load.acknowledged if one not in have]
    stale = [one for one in have if not one[1].startswith(f"k{load.round}.")]
    return lost, doubled, stale


def check(server):
    done = subprocess.run([server.arguments[0], "--json", "check", "--data", str(server.folder)],
                          capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise SystemExit(f"check is not clean:\n{done.stdout}\n{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--rounds-per-store", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    chance = random.Random(arguments.seed)
    totals = {"rounds": 0, "acknowledged": 0, "unacknowledged": 0}
    folder = server = None
    began = time.monotonic()
    for round_ in range(arguments.rounds):
        if round_ % arguments.rounds_per_store == 0:
            if folder:
                server.stop()
                shutil.rmtree(folder)
            folder = tempfile.mkdtemp(prefix="angarium-kill-")
            server, reader = Server(folder=folder, accounts=ACCOUNTS).start(), Reader()
        load = Load(server, round_, arguments.seed + round_)
        load.start()
        time.sleep(chance.uniform(0.05, 0.4))
        server.kill()
        load.join()
        check(server)
        # A restart with another number of shards now and then: the store must not mind.
        shards = chance.choice([1, 2, 2, 3])
        server.arguments[server.arguments.index("--shards") + 1] = str(shards)
        server.start()
        lost, doubled, stale = verify(load, reader.new_names(server))
        if lost or doubled or stale:
            raise SystemExit(f"round {round_} (seed {arguments.seed}, {folder}): lost {lost[:5]} doubled {doubled[:5]} stale {stale[:5]}")
        totals["rounds"] += 1
        totals["acknowledged"] += len(load.acknowledged)
        totals["unacknowledged"] += load.sent - len(load.acknowledged)
        if (round_ + 1) % 25 == 0:
            print(json.dumps({**totals, "seconds": round(time.monotonic() - began)}), flush=True)
    status = server.stop()
    shutil.rmtree(folder)
    if status != 0:
        raise SystemExit(f"the server ended with {status}")
    print(json.dumps({**totals, "lost": 0, "doubled": 0}))


if __name__ == "__main__":
    main()
