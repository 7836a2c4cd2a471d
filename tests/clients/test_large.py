"""A mailbox of 100,000 messages: imported, selected, listed. Memory is asserted, time is printed."""

import json
import pathlib
import random
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server import BINARY, Server  # noqa: E402

MESSAGES = 100_000
GROWTH_KB_MAX = 8 * 1024
WORDS = "relay road sardes susa rider horse night snow letter stage gordium arbela king post swift".split()


def mbox(path):
    chance = random.Random(1)
    with open(path, "w", encoding="ascii") as out:
        for i in range(MESSAGES):
            out.write(f"From a@example.org Tue Nov 24 06:00:00 2026\nFrom: Sender {i} <s{i}@example.org>\n"
                      f"To: u000@demo.example.org\nSubject: message {i}\nMessage-ID: <{i}@example.org>\n\n")
            for _ in range(chance.randrange(1, 12)):
                out.write(" ".join(chance.choices(WORDS, k=9)) + "\n")
            out.write("\n")


class Session:
    def __init__(self, server):
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", server.port("imap")))
        self.read_to(b"\r\n")
        self.ask("LOGIN u000 benchmark")

    def read_to(self, end):
        """Reads until `end`; gives the bytes read, the last ones, and the server's largest RSS meanwhile."""
        count, tail, top = 0, b"", 0
        while end not in tail:
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError
            count += len(data)
            tail = (tail + data)[-4096:]
            top = max(top, self.server.rss_kb())
        return count, tail, top

    def ask(self, command):
        began = time.perf_counter()
        self.socket.sendall(f"a {command}\r\n".encode())
        count, tail, top = self.read_to(b"a OK")
        return count, tail, top, (time.perf_counter() - began) * 1000


class Large(unittest.TestCase):
    def test_a_hundred_thousand_messages(self):
        with Server(accounts=1) as server:
            source = server.folder / "100k.mbox"
            mbox(source)
            config = server.folder / "client.toml"
            config.write_text(f'[server]\ndata = "{server.folder}"\n')
            began = time.perf_counter()
            done = subprocess.run(
                [str(BINARY), "--json", "--config", str(config), "import", "u000@demo.example.org", str(source)],
                capture_output=True, text=True, timeout=300, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["imported"], MESSAGES)
            imported_s = time.perf_counter() - began

            session = Session(server)
            selects = sorted(session.ask("SELECT INBOX")[3] for _ in range(21))
            _, tail, _, _ = session.ask("STATUS INBOX (MESSAGES UIDNEXT)")
            self.assertIn(f"MESSAGES {MESSAGES}".encode(), tail)

            session.ask("FETCH 1:1000 (UID FLAGS)")
            before = server.rss_kb()
            count, _, top, fetched_ms = session.ask("FETCH 1:* (UID FLAGS)")
            self.assertGreater(count, MESSAGES * 25)
            print(f"\nimport {imported_s:.1f} s; SELECT median {selects[10]:.2f} ms, worst {selects[-1]:.2f} ms; "
                  f"FETCH 1:* (UID FLAGS) {count} bytes in {fetched_ms:.0f} ms, RSS {before} KB, at most {top} KB meanwhile",
                  file=sys.stderr)
            self.assertLess(top - before, GROWTH_KB_MAX, "a list is streamed, whatever its length")


if __name__ == "__main__":
    unittest.main(verbosity=2)
