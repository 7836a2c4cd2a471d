#!/usr/bin/env python3
"""A million messages for a destination that is down: memory, restart, other destinations meanwhile, and the delivery of
all of them, each once, when it is back.

    tests/soak/million.py [--messages N] [--shards N]

Prints one JSON object. Not part of CI: docs/testing.md names it.
"""

import argparse
import collections
import contextlib
import email.utils
import json
import os
import pathlib
import re
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("ANGARIUM", ROOT / "target" / "release" / "angarium"))
DEAD, ALIVE = "127.0.0.2", "127.0.0.3"
BLOCK = 500
SENDERS = 4


class Receiver(socketserver.ThreadingTCPServer):
    """Takes everything; notes each message's number and when it came."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address):
        self.came = {}
        # Numbers, and when each was taken in the words of our Received field: the second at which it was due.
        self.order = []
        self.twice = 0
        self.lock = threading.Lock()
        super().__init__(address, Session)

    def note(self, body):
        number = int(re.search(rb"^X-Number: (\d+)\r$", body, re.M).group(1))
        due = re.search(rb";\s+(.*)\r\n", body).group(1)
        with self.lock:
            if number in self.came:
                self.twice += 1
            self.came[number] = time.monotonic()
            self.order.append((number, due))


class Session(socketserver.StreamRequestHandler):
    # Replies go out one by one: none is to wait until the one before it is acknowledged.
    disable_nagle_algorithm = True

    def handle(self):
        with contextlib.suppress(ConnectionError):
            self.talk()

    def talk(self):
        self.wfile.write(b"220 receiver\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.wfile.write(b"250-receiver\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 1000000\r\n")
            elif verb == b"BDAT":
                body = self.rfile.read(int(line.split()[1]))
                self.server.note(body)
                self.wfile.write(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


def free_port():
    with socket.socket() as probe:
        probe.bind((ALIVE, 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, folder, port, shards):
        self.folder, self.shards = folder, shards
        self.config = folder / "angarium.toml"
        self.command("init", "--hostname", "mail.example.org", "--domain", "example.org", "--data", str(folder / "store"))
        self.smtp = free_port()
        with open(self.config, "a", encoding="ascii") as out:
            out.write(f'\n[listen]\nsmtp = ["127.0.0.1:{self.smtp}"]\nsubmission = []\nsubmissions = []\nimap = []\n'
                      "imaps = []\npop3 = []\npop3s = []\n\n[inbound]\nauthenticate = false\n\n"
                      f'[outbound]\nport = {port}\nrelay_from = ["127.0.0.0/8"]\nentries_max = 2000000\n\n[limits]\nmessages_per_minute_max = 4000000\n')

    def command(self, *arguments):
        done = subprocess.run([str(BINARY), "--config", str(self.config), *arguments], capture_output=True, text=True,
                              timeout=600, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self):
        began = time.monotonic()
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([str(BINARY), "--config", str(self.config), "serve", "--shards", str(self.shards)],
                                        stderr=self.log, stdout=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.smtp), 1) as conn:
                if conn.recv(100).startswith(b"220"):
                    return time.monotonic() - began
            if self.process.poll() is not None or time.monotonic() - began > 120:
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.01)

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait(120)
        self.log.close()

    def rss_mb(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) / 1024

    def waiting(self):
        lanes = json.loads(self.command("--json", "queue", "destinations"))
        return sum(lane["waiting"] + lane["out"] for lane in lanes)


def message(number):
    return (f"From: <a@example.org>\r\nSubject: {number}\r\nX-Number: {number}\r\n\r\n" + "x" * 120 + "\r\n").encode()


def send(port, numbers, to):
    """Sends messages in blocks, each over a connection of its own and in one piece; all must be taken."""
    for start in range(0, len(numbers), BLOCK):
        send_block(port, numbers[start:start + BLOCK], to)


def send_block(port, numbers, to):
    with socket.create_connection(("127.0.0.1", port), 60) as conn:
        lines = conn.makefile("rb")
        lines.readline()
        conn.sendall(b"EHLO sender.example\r\n")
        while not lines.readline().startswith(b"250 "):
            pass
        out = bytearray()
        for number in numbers:
            body = message(number)
            out += b"MAIL FROM:<a@example.org>\r\nRCPT TO:<u%d@[%s]>\r\nBDAT %d LAST\r\n" % (number, to.encode(), len(body))
            out += body
        writer = threading.Thread(target=conn.sendall, args=(bytes(out),))
        writer.start()
        for _ in range(3 * len(numbers)):
            line = lines.readline()
            if not line.startswith(b"250"):
                raise RuntimeError(f"refused: {line!r}")
        writer.join()


def send_all(port, numbers, to):
    began = time.monotonic()
    failed = []

    def work(share):
        try:
            send(port, share, to)
        except Exception as error:  # every sender's fault is the run's
            failed.append(error)

    threads = [threading.Thread(target=work, args=(numbers[at::SENDERS],)) for at in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return time.monotonic() - began


def latency(server, receiver, first, count):
    """How long messages for another destination take, in ms: from being sent to having come."""
    waits = []
    for number in range(first, first + count):
        began = time.monotonic()
        send(server.smtp, [number], ALIVE)
        while number not in receiver.came:
            if time.monotonic() - began > 30:
                raise RuntimeError("a message for another destination does not come")
            time.sleep(0.0005)
        waits.append((receiver.came[number] - began) * 1000)
    waits.sort()
    return {"p50_ms": round(waits[len(waits) // 2], 2), "max_ms": round(waits[-1], 2)}


def lateness(order):
    """How much later than each message the latest of those was due that came before it, in seconds; with that, how many were
    so late. All are 0 where they come in the order in which they were due."""
    latest, late = 0, collections.Counter()
    seconds = {text: int(email.utils.parsedate_to_datetime(text.decode()).timestamp()) for text in {due for _, due in order}}
    for _, due in order:
        latest = max(latest, seconds[due])
        late[latest - seconds[due]] += 1
    return dict(sorted(late.items()))


def serve(address):
    receiver = Receiver(address)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    return receiver


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--messages", type=int, default=1_000_000)
    arguments.add_argument("--shards", type=int, default=2)
    options = arguments.parse_args()
    count, told = options.messages, {"messages": options.messages, "shards": options.shards}
    with tempfile.TemporaryDirectory(prefix="angarium-million-") as folder:
        port = free_port()
        alive = serve((ALIVE, port))
        server = Server(pathlib.Path(folder), port, options.shards)
        server.start()
        try:
            told["rss_mb_empty"] = round(server.rss_mb())
            told["other_before"] = latency(server, alive, 10**9, 100)
            queued_s = send_all(server.smtp, list(range(count)), DEAD)
            told["queued_s"], told["queued_per_s"] = round(queued_s, 1), round(count / queued_s)
            told["rss_mb_queued"] = round(server.rss_mb())
            assert server.waiting() == count, f"{server.waiting()} of {count} wait"
            told["other_beside"] = latency(server, alive, 2 * 10**9, 100)
            server.end(signal.SIGKILL)
            told["start_s_after_kill"] = round(server.start(), 2)
            began = time.monotonic()
            while server.waiting() != count:
                assert time.monotonic() - began < 60, f"{server.waiting()} of {count} are there after a kill"
                time.sleep(0.1)
            told["queue_loaded_s_more"] = round(time.monotonic() - began, 2)
            told["rss_mb_after_start"] = round(server.rss_mb())
            told["other_after_start"] = latency(server, alive, 3 * 10**9, 100)
            dead = serve((DEAD, port))
            began = time.monotonic()
            server.command("queue", "resume", f"[{DEAD}]")
            while len(dead.came) < count:
                assert time.monotonic() - began < 3600, f"{len(dead.came)} of {count} came"
                time.sleep(0.2)
            # A few were tried while it was down, and are due again later.
            nearly = count * 999 // 1000
            told["delivered_per_s"] = round(nearly / (dead.came[dead.order[nearly - 1][0]] - began))
            told["twice"] = dead.twice
            told["late_by_s"] = lateness(dead.order)
            told["rss_mb_delivered"] = round(server.rss_mb())
            assert sorted(dead.came) == list(range(count)), "not all of them came"
        finally:
            server.end(signal.SIGTERM)
    print(json.dumps(told))


if __name__ == "__main__":
    sys.exit(main())
