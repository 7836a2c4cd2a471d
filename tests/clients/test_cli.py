"""The command line as an operator uses it: with a server running and without, on one store."""

import imaplib
import json
import mailbox
import os
import pathlib
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server import BINARY, Server  # noqa: E402


def mbox(path, count):
    with open(path, "w", encoding="ascii") as out:
        for i in range(count):
            out.write(f"From a@example.org Tue Nov 24 06:00:00 2026\nSubject: message {i}\nStatus: {'RO' if i % 2 else 'O'}\n\n"
                      f">From the road\nline {i}\n\n")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class CommandLine(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-cli-"))
        self.config = self.folder / "angarium.toml"

    def tearDown(self):
        shutil.rmtree(self.folder)

    def angarium(self, *arguments, fails=None, **more):
        done = subprocess.run([str(BINARY), "--json", "--config", str(self.config), *arguments], capture_output=True,
                              text=True, timeout=120, check=False, **more)
        self.assertEqual(done.returncode, fails or 0, done.stdout + done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def init(self):
        self.angarium("init", "--hostname", "mail.example.org", "--domain", "example.org", "--data", str(self.folder / "store"))
        self.imap_port = free_port()
        with open(self.config, "a", encoding="ascii") as out:
            out.write(f'\n[listen]\nsmtp = []\nsubmission = []\nsubmissions = []\nimap = ["127.0.0.1:{self.imap_port}"]\n'
                      "imaps = []\npop3 = []\npop3s = []\n\n[auth]\nallow_plaintext_without_tls = true\n")

    def test_accounts_and_aliases_without_a_server(self):
        self.init()
        self.angarium("account", "add", "ann@example.org", "--password-file", "-", input="pass word\n")
        self.angarium("account", "add", "ann@example.org", fails=73)
        self.angarium("account", "add", "bob@elsewhere.example", fails=67)
        self.angarium("alias", "set", "info@example.org", "ann@example.org")
        self.angarium("account", "set", "ann@example.org", "--quota", "1000", "--name", "Ann")
        shown = self.angarium("account", "show", "ann@example.org")
        self.assertEqual((shown["display_name"], shown["quota_bytes"], len(shown["mailboxes"])), ("Ann", 1000, 6))
        self.assertEqual([row["address"] for row in self.angarium("account", "list")], ["ann@example.org"])
        self.assertEqual(self.angarium("domain", "list"), ["example.org"])
        self.angarium("domain", "remove", "example.org", fails=65)
        self.angarium("alias", "remove", "info@example.org")
        self.angarium("account", "remove", "ann@example.org")
        self.angarium("account", "show", "ann@example.org", fails=67)
        self.assertEqual(self.angarium("check")["is"], "clean")

    def test_import_and_export_are_each_others_mirror(self):
        self.init()
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        source = self.folder / "in.mbox"
        mbox(source, 1000)
        self.assertEqual(self.angarium("import", "ann@example.org", str(source))["imported"], 1000)
        self.assertEqual(self.angarium("import", "ann@example.org", str(source))["imported"], 0, "the bookmark is kept")
        target = self.folder / "out.mbox"
        self.angarium("export", "ann@example.org", str(target))
        before = [message.get_payload() for message in mailbox.mbox(source)]
        after = [message.get_payload() for message in mailbox.mbox(target)]
        self.assertEqual(before, after)
        maildir = self.folder / "maildir"
        self.angarium("export", "ann@example.org", str(maildir), "--format", "maildir")
        self.assertEqual(self.angarium("import", "ann@example.org", str(maildir), "--mailbox", "Copy")["imported"], 1000)
        shown = self.angarium("account", "show", "ann@example.org")
        copy = next(row for row in shown["mailboxes"] if row["name"] == "Copy")
        self.assertEqual((copy["messages"], copy["unseen"]), (1000, 500))
        self.angarium("export", "ann@example.org", str(target), fails=73)

    def test_an_import_that_is_killed_goes_on_where_it_stopped(self):
        self.init()
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        source = self.folder / "in.mbox"
        mbox(source, 60_000)
        for pause in [0.15, 0.3, 0.45]:
            process = subprocess.Popen([str(BINARY), "--config", str(self.config), "import", "ann@example.org", str(source)],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(pause)
            process.kill()
            process.wait()
            self.assertEqual(self.angarium("check")["is"], "clean")
        self.angarium("import", "ann@example.org", str(source))
        shown = self.angarium("account", "show", "ann@example.org")
        self.assertEqual(shown["mailboxes"][0]["messages"], 60_000)

    def test_the_same_commands_with_a_server_running(self):
        self.init()
        server = subprocess.Popen([str(BINARY), "--config", str(self.config), "serve", "--shards", "2"],
                                  stderr=open(self.folder / "log", "ab"))
        try:
            for _ in range(100):
                if (self.folder / "store" / "control.sock").exists():
                    break
                time.sleep(0.1)
            self.angarium("account", "add", "ann@example.org", "--password", "first")
            source = self.folder / "in.mbox"
            mbox(source, 300)
            self.angarium("import", "ann@example.org", str(source))
            client = imaplib.IMAP4("127.0.0.1", self.imap_port)
            client.login("ann", "first")
            self.assertEqual(client.select()[1], [b"300"])
            client.logout()
            self.angarium("account", "set", "ann@example.org", "--password", "second")
            client = imaplib.IMAP4("127.0.0.1", self.imap_port)
            with self.assertRaises(imaplib.IMAP4.error):
                client.login("ann", "first")
            client.login("ann", "second")
            server.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            self.assertEqual(client.noop()[0], "OK", "a reload drops no connection")
            client.logout()
            self.angarium("account", "set", "ann@example.org", "--enabled", "false")
            with self.assertRaises(imaplib.IMAP4.error):
                imaplib.IMAP4("127.0.0.1", self.imap_port).login("ann", "second")
            self.angarium("check", fails=69)
        finally:
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(30), 0)
        self.assertEqual(self.angarium("check")["is"], "clean")

    def test_lmtp_over_a_unix_socket(self):
        self.init()
        path = self.folder / "lmtp.sock"
        self.config.write_text(self.config.read_text().replace("smtp = []", f'smtp = []\nlmtp = ["unix:{path}"]'))
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        server = subprocess.Popen([str(BINARY), "--config", str(self.config), "serve", "--shards", "2"],
                                  stderr=open(self.folder / "log", "ab"))
        try:
            for _ in range(100):
                if path.exists():
                    break
                time.sleep(0.1)
            for i in range(20):
                with smtplib.LMTP(str(path)) as lmtp:
                    lmtp.sendmail("a@example.net", ["ann+detail@example.org"], f"Subject: by socket {i}\r\n\r\nx\r\n")
            shown = self.angarium("account", "show", "ann@example.org")
            self.assertEqual(shown["mailboxes"][0]["messages"], 20)
        finally:
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(30), 0)

    def test_faults_of_the_configuration_are_named(self):
        self.config.write_text('[server]\nhostname = "x"\n\n[listen]\nimap = ["nowhere"]\n')
        said = self.angarium("config", "check", fails=78)["error"]
        self.assertIn("angarium.toml:5:", said)
        self.config.write_text("[server]\nhostnaem = 1\n")
        self.assertIn("angarium.toml:2: unknown field", self.angarium("config", "check", fails=78)["error"])

    def test_too_little_locked_memory_is_one_clear_line(self):
        done = subprocess.run(["prlimit", "--memlock=65536:65536", str(BINARY), "demo"], capture_output=True, text=True,
                              timeout=30, check=False)
        self.assertEqual(done.returncode, 71)
        self.assertIn("LimitMEMLOCK", done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1)

    def test_a_demo_starts_again_on_its_data(self):
        (self.folder / "demo-data").mkdir()
        with Server(folder=self.folder / "demo-data", shards=2) as server:
            first = server.info["accounts"]
            server.kill()
            server.arguments[server.arguments.index("--shards") + 1] = "3"
            server.start()
            self.assertEqual(server.info["accounts"], first)
            client = imaplib.IMAP4("127.0.0.1", server.port("imap"))
            client.login(first[0]["address"], first[0]["password"])
            self.assertEqual(client.select()[1], [b"3"])
            client.logout()


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    unittest.main(verbosity=2)
