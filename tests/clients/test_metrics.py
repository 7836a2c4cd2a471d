"""What an operator watches: metrics by the control socket and by HTTP, `top` on a terminal and as JSON, `slow`."""

import contextlib
import fcntl
import http.client
import imaplib
import json
import os
import pathlib
import poplib
import pty
import re
import shutil
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server import BINARY, have  # noqa: E402

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE
LINE = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$')


def free_ports(count):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-metrics-"))
        cls.config = cls.folder / "angarium.toml"
        cls.command("init", "--hostname", "mail.example.org", "--domain", "example.org", "--data", str(cls.folder / "store"))
        for name in ("ann", "bob", "cleo", "dora"):
            cls.command("account", "add", f"{name}@example.org", "--password", "benchmark")
        cls.smtp_port, cls.imap_port, cls.pop3_port, cls.http_port = free_ports(4)
        with open(cls.config, "a", encoding="ascii") as out:
            out.write(f'\n[listen]\nsmtp = ["127.0.0.1:{cls.smtp_port}"]\nsubmission = []\nsubmissions = []\n'
                      f'imap = ["127.0.0.1:{cls.imap_port}"]\nimaps = []\npop3 = ["127.0.0.1:{cls.pop3_port}"]\npop3s = []\n\n'
                      "[auth]\nallow_plaintext_without_tls = true\n\n"
                      # Everything is slow: what the flight recorder says can be looked at without waiting.
                      f'[metrics]\nlisten = "127.0.0.1:{cls.http_port}"\nslow_ms = 0\nslow_operations_max = 30\n')
        cls.log = cls.folder / "log"
        with open(cls.log, "wb") as out:
            cls.server = subprocess.Popen([str(BINARY), "--config", str(cls.config), "serve", "--shards", "2"], stderr=out,
                                          env={**os.environ, "NO_COLOR": "1"})
        for _ in range(200):
            if "runtime.serving" in cls.log.read_text() or cls.server.poll() is not None:
                break
            time.sleep(0.05)

    @classmethod
    def tearDownClass(cls):
        cls.server.send_signal(signal.SIGTERM)
        status = cls.server.wait(30)
        log = cls.log.read_text()
        shutil.rmtree(cls.folder)
        assert status == 0, log

    @classmethod
    def command(cls, *arguments, fails=0):
        done = subprocess.run([str(BINARY), "--json", "--config", str(cls.config), *arguments], capture_output=True,
                              text=True, timeout=120, check=False)
        assert done.returncode == fails, (arguments, done.returncode, done.stdout, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def get(self, path="/metrics"):
        client = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read().decode()

    def values(self):
        """Each metric's values by its labels, summed over the shards."""
        found = {}
        for line in self.get()[2].splitlines():
            if line.startswith("#"):
                continue
            name, labels, value = LINE.match(line).groups()
            labels = re.sub(r'shard="\d+",?', "", labels or "")
            found[name, labels] = found.get((name, labels), 0) + float(value)
        return found

    def send(self, *to):
        with smtplib.SMTP("127.0.0.1", self.smtp_port) as smtp:
            return smtp.sendmail("s@example.net", to, "Subject: hello\r\n\r\nhello\r\n")

    def moved(self, before, name, labels=""):
        return self.values().get((name, labels), 0) - before.get((name, labels), 0)

    def test_a_delivery_moves_what_it_should(self):
        before = self.values()
        for _ in range(5):
            self.send("ann@example.org", "bob@example.org", "cleo@example.org")
        with self.assertRaises(smtplib.SMTPRecipientsRefused):
            self.send("nobody@example.org")
        self.assertEqual(self.moved(before, "angarium_messages_received_total", 'protocol="smtp"'), 5)
        self.assertEqual(self.moved(before, "angarium_messages_delivered_total"), 15)
        self.assertEqual(self.moved(before, "angarium_recipients_rejected_total", 'protocol="smtp"'), 1)
        self.assertEqual(self.moved(before, "angarium_connections_opened_total", 'protocol="smtp"'), 6)
        self.assertEqual(self.moved(before, "angarium_operation_seconds_count", 'protocol="smtp",operation="deliver"'), 5)
        self.assertEqual(self.moved(before, "angarium_operation_seconds_bucket", 'protocol="smtp",operation="recipient",le="+Inf"'), 16)
        self.assertGreaterEqual(self.moved(before, "angarium_transactions_total"), 5)
        commits = self.moved(before, "angarium_commits_total")
        self.assertGreaterEqual(commits, 5)
        self.assertEqual(self.moved(before, "angarium_flush_seconds_count"), self.moved(before, "angarium_commits_total"))
        self.assertGreater(self.moved(before, "angarium_flush_seconds_sum"), 0)
        self.assertGreater(self.moved(before, "angarium_store_written_bytes_total", 'what="log"'), 15 * 20)
        self.assertGreater(self.moved(before, "angarium_received_bytes_total", 'protocol="smtp"'), 500)
        self.assertGreater(self.moved(before, "angarium_sent_bytes_total", 'protocol="smtp"'), 500)
        self.assertGreater(self.moved(before, "angarium_shard_cpu_seconds_total"), 0)
        self.assertGreater(self.moved(before, "angarium_queue_seconds_total", 'queue="interactive"'), 0)
        self.assertGreater(self.values()["process_resident_memory_bytes", ""], 1 << 20)

    def test_logins_and_commands_are_told_by_protocol(self):
        self.send("ann@example.org")
        before = self.values()
        client = imaplib.IMAP4("127.0.0.1", self.imap_port)
        with self.assertRaises(imaplib.IMAP4.error):
            client.login("ann@example.org", "wrong")
        client.login("ann@example.org", "benchmark")
        client.select("INBOX")
        client.fetch("1", "(BODY[])")
        client.append("INBOX", None, None, b"Subject: x\r\n\r\nx\r\n")
        pop3 = poplib.POP3("127.0.0.1", self.pop3_port)
        pop3.user("ann@example.org")
        pop3.pass_("benchmark")
        pop3.retr(1)
        open_now = self.values()
        self.assertEqual(open_now["angarium_connections", 'protocol="imap",tls="no"'], 1)
        self.assertEqual(open_now["angarium_connections", 'protocol="pop3",tls="no"'], 1)
        pop3.quit()
        client.logout()
        self.assertEqual(self.moved(before, "angarium_logins_total", 'result="denied"'), 1)
        self.assertEqual(self.moved(before, "angarium_logins_total", 'result="ok"'), 2)
        for protocol, operation in [("imap", "login"), ("imap", "open"), ("imap", "select"), ("imap", "fetch"), ("imap", "append"),
                                    ("pop3", "login"), ("pop3", "open"), ("pop3", "retr")]:
            count = self.moved(before, "angarium_operation_seconds_count", f'protocol="{protocol}",operation="{operation}"')
            self.assertEqual(count, 2 if (protocol, operation) == ("imap", "login") else 1, (protocol, operation))
        self.until(lambda: self.values()["angarium_connections", 'protocol="imap",tls="no"'] == 0)

    def test_connections_under_tls_are_told_from_others(self):
        before = self.values()
        with smtplib.SMTP("127.0.0.1", self.smtp_port) as smtp:
            smtp.ehlo()
            smtp.starttls(context=UNVERIFIED)
            smtp.ehlo()
            found = self.values()
            self.assertEqual(found["angarium_connections", 'protocol="smtp",tls="yes"'], 1)
            self.assertEqual(found["angarium_connections", 'protocol="smtp",tls="no"'], 0)
        self.until(lambda: self.values()["angarium_connections", 'protocol="smtp",tls="yes"'] == 0)
        with socket.create_connection(("127.0.0.1", self.smtp_port), timeout=20) as plain:
            plain.sendall(b"EHLO client.example.net\r\nSTARTTLS\r\n")
            heard = b""
            while b"\r\n220 " not in heard:
                heard += plain.recv(4096)
            plain.sendall(b"this is no handshake\r\n")
            self.until(lambda: self.moved(before, "angarium_tls_handshakes_failed_total", 'protocol="smtp"') == 1)

    def until(self, is_so):
        deadline = time.monotonic() + 20
        while not is_so():
            self.assertLess(time.monotonic(), deadline, "it never came to be so")
            time.sleep(0.02)

    def test_the_endpoint_serves_metrics_and_nothing_else(self):
        status, kind, text = self.get()
        self.assertEqual((status, kind), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertTrue(all(line.startswith("# ") or LINE.match(line) for line in text.splitlines()), text)
        self.assertEqual(self.get("/")[0], 404)
        names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
        self.assertEqual(len(names), len(set(names)))

    @unittest.skipUnless(have("promtool"), "promtool is not installed")
    def test_promtool_finds_no_fault(self):
        self.send("ann@example.org")
        done = subprocess.run(["promtool", "check", "metrics"], input=self.get()[2], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_the_flight_recorder_says_where_the_time_went(self):
        for _ in range(20):
            self.send("ann@example.org", "bob@example.org", "cleo@example.org", "dora@example.org")
        client = imaplib.IMAP4("127.0.0.1", self.imap_port)
        client.login("bob@example.org", "benchmark")
        client.select("INBOX")
        client.logout()
        [kept] = self.command("slow")
        self.assertEqual(kept, sorted(kept, key=lambda slow: slow["at_ms"]))
        counts = [sum(slow["shard"] == shard for slow in kept) for shard in (0, 1)]
        self.assertTrue(max(counts) == 30 and min(counts) > 0, counts)
        for slow in kept:
            waits = sum(slow[f"{wait}_ms"] for wait in ("turn", "store", "other_shard", "network", "password"))
            self.assertIn(slow["protocol"], ("smtp", "imap", "pop3"))
            # A coarse clock counts the waits, so they may be a tick more than the whole.
            self.assertLessEqual(slow["work_ms"], slow["total_ms"])
            self.assertLessEqual(waits, slow["total_ms"] + 50)
        selects = [slow for slow in kept if slow["operation"] == "select"]
        self.assertTrue(selects and all(slow["account"] is not None for slow in selects), kept)
        self.assertNotIn("example", json.dumps(kept))
        [of_one] = self.command("slow", "--shard", "1")
        self.assertEqual({slow["shard"] for slow in of_one}, {1})
        table = subprocess.run([str(BINARY), "--config", str(self.config), "slow"], capture_output=True, text=True, timeout=60, check=True)
        self.assertIn("imap select", table.stdout)

    def test_top_prints_a_line_for_each_interval(self):
        with subprocess.Popen([str(BINARY), "--json", "--config", str(self.config), "top", "--interval", "0.5", "--count", "3"],
                              stdout=subprocess.PIPE, text=True) as top:
            self.send("ann@example.org")
            lines = [json.loads(line) for line in top.stdout]
            self.assertEqual(top.wait(60), 0)
        self.assertEqual([[row["shard"] for row in line["shards"]] for line in lines], [[0, 1]] * 3)
        self.assertTrue(all(0 < line["all"]["turns"] for line in lines), lines)
        again = self.command("top", "--interval", "0.1", "--count", "1", "--data", str(self.folder / "store"))
        self.assertEqual(len(again), 1)

    def test_top_draws_a_screen_and_obeys_keys(self):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        top = subprocess.Popen([str(BINARY), "--config", str(self.config), "top", "--interval", "0.1"], stdin=theirs, stdout=theirs,
                               stderr=theirs, env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"}, start_new_session=True)
        os.close(theirs)
        seen = b""

        def until(words):
            nonlocal seen
            deadline = time.monotonic() + 20
            while words not in seen:
                self.assertLess(time.monotonic(), deadline, seen[-3000:])
                with contextlib.suppress(OSError):
                    seen += os.read(ours, 65536)

        until(b"commit/s")
        until(b"Compaction")
        os.write(ours, b"?")
        until(b"another shard")
        os.write(ours, b"p")
        until(b"[paused]")
        self.assertIsNone(re.search(rb"\x1b\[[0-9;]*3[1-7]m", seen), "colours though NO_COLOR is set")
        os.write(ours, b"q")
        self.assertEqual(top.wait(20), 0)
        os.close(ours)
        done = subprocess.run([str(BINARY), "--config", str(self.config), "top"], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, 64)
        self.assertIn("top --json", done.stderr)

    def test_without_a_server_there_is_nothing_to_watch(self):
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        for command in ("top", "slow"):
            [said] = self.command(command, "--data", str(empty), fails=69)
            self.assertIn("no server answers", said["error"])


if __name__ == "__main__":
    unittest.main()
