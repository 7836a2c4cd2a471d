"""The command line as an operator uses it: with a server running and without, on one store."""

import contextlib
import imaplib
import json
import mailbox
import os
import pathlib
import resource
import shutil
import signal
import smtplib
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server import BINARY, Server, have  # noqa: E402


def mbox(path, count):
    with open(path, "w", encoding="ascii") as out:
        for i in range(count):
            out.write(f"From a@example.org Tue Nov 24 06:00:00 2026\nSubject: message {i}\nStatus: {'RO' if i % 2 else 'O'}\n\n"
                      f">From the road\nline {i}\n\n")


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def reply(stream):
    """The last line of an SMTP reply."""
    while True:
        line = stream.readline()
        if line[3:4] != b"-":
            return line.decode().strip()


@contextlib.contextmanager
def smtp(port):
    """A function that says a line and gives the reply's last line."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        stream = connection.makefile("rb")
        reply(stream)

        def say(line):
            connection.sendall(line.encode() + b"\r\n")
            return reply(stream)

        say("EHLO client.example.net")
        yield say


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
        self.smtp_port = free_port()
        with open(self.config, "a", encoding="ascii") as out:
            out.write(f'\n[listen]\nsmtp = ["127.0.0.1:{self.smtp_port}"]\nsubmission = []\nsubmissions = []\n'
                      f'imap = ["127.0.0.1:{self.imap_port}"]\nimaps = []\npop3 = []\npop3s = []\n\n'
                      "[auth]\nallow_plaintext_without_tls = true\n")

    def change(self, old, new):
        text = self.config.read_text()
        self.assertIn(old, text)
        self.config.write_text(text.replace(old, new))

    @contextlib.contextmanager
    def serving(self, *arguments, wrap=()):
        """A server as configured, and its log so far when it has ended."""
        log = self.folder / "log"
        with open(log, "wb") as out:
            server = subprocess.Popen([*wrap, str(BINARY), "--config", str(self.config), "serve", "--shards", "2", *arguments],
                                      stderr=out, env={**os.environ, "NO_COLOR": "1"})
        try:
            for _ in range(200):
                if "runtime.serving" in log.read_text() or server.poll() is not None:
                    break
                time.sleep(0.05)
            self.assertIsNone(server.poll(), log.read_text())
            time.sleep(0.1)
            yield server, log
        finally:
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(30), 0, log.read_text())

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
        self.change("submission = []", f'submission = []\nlmtp = ["unix:{path}"]')
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

    def test_an_operator_gets_in_when_all_places_are_taken(self):
        self.init()
        with open(self.config, "a", encoding="ascii") as out:
            out.write("\n[limits]\nconnections_max = 3\n")
        with self.serving():
            clients = [socket.create_connection(("127.0.0.1", self.imap_port), timeout=10) for _ in range(3)]
            for client in clients:
                self.assertTrue(client.recv(100).startswith(b"* OK"))
            with socket.create_connection(("127.0.0.1", self.imap_port), timeout=10) as refused:
                self.assertTrue(refused.recv(100).startswith(b"* BYE"))
            self.assertEqual(self.angarium("domain", "list"), ["example.org"])
            for client in clients:
                client.close()

    def test_no_more_are_let_in_than_there_are_descriptors_for(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.init()
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        with open(self.config, "a", encoding="ascii") as out:
            out.write("\n[limits]\nconnections_per_source_max = 50000\n")
        with self.serving(wrap=["prlimit", "--nofile=2200:2200"]) as (_, log):
            self.assertIn("runtime.connections_clamped", log.read_text())
            clients, greetings = [], []
            for _ in range(1300):
                client = socket.create_connection(("127.0.0.1", self.imap_port), timeout=10)
                greetings.append(client.recv(100)[:5])
                clients.append(client)
            self.assertEqual(set(greetings), {b"* OK ", b"* BYE"}, "those beyond the limit hear so at once")
            self.assertGreater(greetings.count(b"* OK "), 1000)
            self.assertEqual(self.angarium("account", "show", "ann@example.org")["messages"], 0, "the store has files left")
            clients[0].close()
            time.sleep(0.5)
            with smtp(self.smtp_port) as say:
                said = [say(line) for line in ["MAIL FROM:<>", "RCPT TO:<ann@example.org>", "DATA", "Subject: x\r\n\r\nx\r\n."]]
            self.assertTrue(said[-1].startswith("250"), said)
            for client in clients:
                client.close()

    def test_sockets_are_for_those_that_are_meant(self):
        self.init()
        path = self.folder / "lmtp.sock"
        self.change("submission = []", f'submission = []\nlmtp = ["unix:{path}"]')
        with self.serving():
            self.assertEqual((mode(self.folder / "store" / "control.sock"), mode(path)), (0o600, 0o660))
            self.assertEqual(mode(self.folder / "store"), 0o700)
        self.change("submission = []", 'submission = []\nunix_socket_mode = "0666"')
        with self.serving():
            self.assertEqual((mode(self.folder / "store" / "control.sock"), mode(path)), (0o600, 0o666))

    @unittest.skipUnless(have("strace"), "strace is not here")
    def test_the_control_socket_is_never_anybody_elses(self):
        self.init()
        trace = self.folder / "trace"
        with self.serving(wrap=["strace", "-D", "-f", "-qq", "-o", str(trace), "-e", "trace=fchmod,chmod,fchmodat,bind,listen"]):
            pass
        calls = [line for line in trace.read_text().splitlines() if "resumed" not in line]
        at = next(i for i, line in enumerate(calls) if " bind(" in line and "control.sock" in line)
        self.assertRegex(calls[at - 1], r"fchmod\(\d+, 0600\)")
        self.assertRegex(calls[at + 1], r"chmod.*control.sock\", 0600")
        self.assertIn(" listen(", calls[at + 2])

    def test_a_second_server_on_the_same_port_is_refused(self):
        self.init()
        second = self.folder / "second.toml"
        second.write_text(self.config.read_text().replace(str(self.folder / "store"), str(self.folder / "other")))
        with self.serving():
            done = subprocess.run([str(BINARY), "--config", str(second), "serve"], capture_output=True, text=True, timeout=20,
                                  check=False)
            self.assertEqual(done.returncode, 69, done.stderr)
            self.assertIn(f"cannot listen on 127.0.0.1:{self.smtp_port}: another program listens there", done.stderr)
        with self.serving():
            pass

    def test_there_is_a_postmaster(self):
        self.init()
        self.assertIn('postmaster = "postmaster@example.org"', self.config.read_text())
        self.angarium("domain", "add", "example.net")
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        recipients = ["<Postmaster>", "<postmaster@example.org>", "<POSTMASTER@example.net>"]
        with self.serving() as (_, log):
            self.assertIn("runtime.no_postmaster", log.read_text())
            self.assertIn("angarium alias set postmaster@example.org ACCOUNT", log.read_text())
            self.angarium("alias", "set", "postmaster@example.org", "ann@example.org")
            with smtp(self.smtp_port) as say:
                say("MAIL FROM:<>")
                said = [say(f"RCPT TO:{recipient}") for recipient in recipients]
                self.assertEqual([line[:3] for line in said], ["250", "250", "250"], said)
                self.assertEqual(say("RCPT TO:<hostmaster@example.net>")[:3], "550")
                say("DATA")
                self.assertEqual(say("Subject: to the postmaster\r\n\r\nx\r\n.")[:3], "250")
            self.assertEqual(self.angarium("account", "show", "ann@example.org")["messages"], 1)
        with self.serving() as (_, log):
            self.assertNotIn("runtime.no_postmaster", log.read_text(), "there is one now")

    def test_a_catch_all_address(self):
        self.init()
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        self.angarium("domain", "set", "example.org", "--catch-all", "nobody@example.org", fails=67)
        self.angarium("domain", "set", "example.org", fails=64)
        shown = self.angarium("domain", "set", "example.org", "--catch-all", "ann@example.org")
        self.assertEqual(shown, {"domain": "example.org", "catch_all": "ann@example.org"})
        self.assertEqual(self.angarium("domain", "show", "example.org"), shown)
        with self.serving(), smtp(self.smtp_port) as say:
            say("MAIL FROM:<>")
            self.assertEqual(say("RCPT TO:<whoever@example.org>")[:3], "250")
            self.angarium("domain", "set", "example.org", "--no-catch-all")
            self.assertEqual(say("RCPT TO:<whoever@example.org>")[:3], "550")

    def test_flags_keywords_and_dates_survive_export_and_import(self):
        self.init()
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        messages = [b"Subject: flagged\r\nStatus: the sender's own\r\n\r\none\r\n", b"Subject: plain\r\n\r\ntwo\r\n"]
        dates = ['"01-Jan-2001 01:02:03 +0000"', '"02-Feb-2002 04:05:06 +0000"']
        target = {name: self.folder / name for name in ["mbox", "maildir", "eml"]}
        with self.serving():
            client = imaplib.IMAP4("127.0.0.1", self.imap_port)
            client.login("ann", "secret")
            client.append("INBOX", "(\\Seen \\Flagged \\Answered work)", dates[0], messages[0])
            client.append("INBOX", None, dates[1], messages[1])
            for form, path in target.items():
                self.angarium("export", "ann@example.org", str(path), "--format", form)
                self.angarium("import", "ann@example.org", str(path), "--mailbox", form, "--format", form)

            def whole(mailbox):
                client.select(mailbox, readonly=True)
                found = client.fetch("1:*", "(UID INTERNALDATE FLAGS BODY.PEEK[])")[1]
                heads = [part[0].decode() for part in found if isinstance(part, tuple)]
                bodies = [part[1] for part in found if isinstance(part, tuple)]
                flags = [{flag for flag in imaplib.ParseFlags(head.encode()) if flag != b"\\Recent"} for head in heads]
                return [imaplib.Internaldate2tuple(head.encode()) for head in heads], flags, bodies

            when, flags, bodies = whole("INBOX")
            self.assertEqual(flags[0], {b"\\Seen", b"\\Flagged", b"\\Answered", b"work"})
            for mailbox in ["mbox", "maildir"]:
                self.assertEqual(whole(mailbox)[:2], (when, flags), mailbox)
            self.assertEqual(whole("maildir")[2], bodies)
            self.assertEqual(whole("mbox")[2], [bodies[0].replace(b"Status: the sender's own\r\n", b""), bodies[1]])
            self.assertEqual(whole("eml")[::2], (when, bodies))
            client.logout()
        self.assertIn("X-Keywords: work", target["mbox"].read_text())

    def test_an_export_that_cannot_be_leaves_nothing(self):
        self.init()
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        for arguments in [("nobody@example.org",), ("ann@example.org", "--mailbox", "None")]:
            for form in ["mbox", "maildir", "eml"]:
                target = self.folder / "out"
                self.angarium("export", arguments[0], str(target), *arguments[1:], "--format", form, fails=67)
                self.assertFalse(target.exists())

    def test_an_import_passes_over_what_is_too_large(self):
        self.init()
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        source = self.folder / "in.mbox"
        line = "x" * 76 + "\n"
        with open(source, "w", encoding="ascii") as out:
            for subject, lines in [("one", 1), ("large", 900_000), ("two", 1), ("larger", 1_900_000), ("three", 1)]:
                out.write(f"From a@example.org Tue Nov 24 06:00:00 2026\nSubject: {subject}\n\n")
                out.write(line * lines)
                out.write("\n")
        said = self.angarium("import", "ann@example.org", str(source), fails=1)
        self.assertEqual(said["imported"], 3)
        self.assertEqual([row["bytes"] // 1_000_000 for row in said["too_large"]], [70, 146])
        self.assertTrue(all(row["message"].startswith("at byte ") for row in said["too_large"]), said)
        self.assertEqual(self.angarium("account", "show", "ann@example.org")["messages"], 3)
        self.assertEqual(self.angarium("import", "ann@example.org", str(source))["imported"], 0)

    def test_another_file_of_the_same_name_is_imported_whole(self):
        self.init()
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        source = self.folder / "in.mbox"
        head = "From a@example.org Tue Nov 24 06:00:00 2026\n"
        source.write_text(f"{head}Subject: one\n\n{'x' * 500}\n\n")
        self.assertEqual(self.angarium("import", "ann@example.org", str(source))["imported"], 1)
        source.write_text(source.read_text() + f"{head}Subject: two\n\nx\n\n")
        self.assertEqual(self.angarium("import", "ann@example.org", str(source)), {
            "account": "ann@example.org", "imported": 1, "mailbox": "INBOX"}, "a file that grew goes on")
        for body in ["short", "y" * 5000]:
            source.write_text(f"{head}Subject: other\n\n{body}\n\n")
            said = self.angarium("import", "ann@example.org", str(source))
            self.assertEqual(said["imported"], 1)
            self.assertIn("taken from its front", said["note"])

    def test_long_paths_have_bookmarks_of_their_own(self):
        self.init()
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        deep = self.folder.joinpath(*["d" * 60] * 4)
        deep.mkdir(parents=True)
        mbox(deep / "in.mbox", 2)
        for mailbox_name in ["One", "Two"]:
            said = self.angarium("import", "ann@example.org", str(deep / "in.mbox"), "--mailbox", mailbox_name)
            self.assertEqual(said["imported"], 2)

    def test_a_quota_of_0_is_no_limit(self):
        self.init()
        added = self.angarium("account", "add", "ann@example.org", "--password", "secret", "--quota", "0")
        self.assertIsNone(added["quota_bytes"])
        self.assertEqual(self.angarium("account", "set", "ann@example.org", "--quota", "7")["quota_bytes"], 7)
        self.assertIsNone(self.angarium("account", "set", "ann@example.org", "--quota", "0")["quota_bytes"])

    def test_a_password_that_no_login_can_bring_is_refused(self):
        self.init()
        said = self.angarium("account", "add", "ann@example.org", "--password", "x" * 1025, fails=65)
        self.assertIn("1025 bytes, 1024", said["error"])
        self.angarium("account", "add", "ann@example.org", "--password", "x" * 1024)
        self.angarium("account", "set", "ann@example.org", "--password", "x" * 2000, fails=65)

    def test_a_wrong_command_line_is_told_as_other_faults_are(self):
        said = self.angarium("acount", "list", fails=64)["error"]
        self.assertIn("unrecognized subcommand 'acount'", said)
        for arguments in [("serve", "--cpus", "bogus"), ("demo", "--cpus", "3-1")]:
            self.assertIn("is no list of cores", self.angarium(*arguments, fails=64)["error"])
        done = subprocess.run([str(BINARY), "--help"], capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("account", done.stdout)

    def test_cores_that_are_not_there_are_named(self):
        self.init()
        self.assertIn("core 4095", self.angarium("serve", "--cpus", "4095", fails=78)["error"])

    def test_a_check_of_nothing_makes_nothing(self):
        nowhere = self.folder / "nowhere"
        self.assertIn(str(nowhere), self.angarium("check", "--data", str(nowhere), fails=67)["error"])
        self.assertFalse(nowhere.exists())

    def test_a_reload_says_what_waits_for_a_restart(self):
        self.init()
        with self.serving() as (server, log):
            self.change('default_domain = "example.org"', 'default_domain = "example.net"')
            self.change("pop3 = []", f'pop3 = ["127.0.0.1:{free_port()}"]')
            server.send_signal(signal.SIGHUP)
            for _ in range(100):
                if "runtime.restart_needed" in log.read_text():
                    break
                time.sleep(0.05)
            self.assertIn('runtime.restart_needed" settings="server.default_domain, listen"', log.read_text())

    def test_the_command_line_leaves_the_shards_as_they_are(self):
        self.init()
        server = subprocess.Popen([str(BINARY), "--config", str(self.config), "serve", "--shards", "5"],
                                  stderr=open(self.folder / "log", "ab"))
        for _ in range(100):
            if (self.folder / "store" / "control.sock").exists():
                break
            time.sleep(0.1)
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(30), 0)
        before = (self.folder / "store" / "store").read_bytes()
        self.angarium("account", "add", "ann@example.org", "--password", "secret")
        self.assertEqual((self.folder / "store" / "store").read_bytes(), before)

    def test_faults_of_the_configuration_are_named(self):
        self.config.write_text('[server]\nhostname = "x"\n\n[listen]\nimap = ["nowhere"]\n')
        said = self.angarium("config", "check", fails=78)["error"]
        self.assertIn("angarium.toml:5:", said)
        self.config.write_text("[server]\nhostnaem = 1\n")
        self.assertIn("angarium.toml:2: unknown field", self.angarium("config", "check", fails=78)["error"])
        faults = {
            '[server]\npostmaster = "nonsense"\n': "angarium.toml:2: server.postmaster",
            "[limits]\nrecipients_max = 0\n": "angarium.toml:2: limits.recipients_max",
            "[store]\nsegment_bytes = 67108865\n": "angarium.toml:2: store.segment_bytes must be a multiple of 4096",
            "[store]\nsegment_bytes = 8388608\n": "angarium.toml:2: store.segment_bytes must be at least",
            '[[tls.certificates]]\ncertificate = "/nowhere/a.pem"\nkey = "/nowhere/a.key"\n': "/nowhere/a.pem",
        }
        for text, words in faults.items():
            self.config.write_text(text)
            self.assertIn(words, self.angarium("config", "check", fails=78)["error"])
        self.config.write_text("")
        self.assertEqual(self.angarium("config", "check")["is"], "valid")

    def test_too_little_locked_memory_is_one_clear_line(self):
        done = subprocess.run(["prlimit", "--memlock=65536:65536", str(BINARY), "demo"], capture_output=True, text=True,
                              timeout=30, check=False)
        self.assertEqual(done.returncode, 71)
        self.assertIn("LimitMEMLOCK", done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1)

    def test_a_demo_that_keeps_nothing_is_its_owners_alone_and_goes(self):
        place = self.folder / "tmp"
        place.mkdir()
        demo = subprocess.Popen([str(BINARY), "demo", "--json", "--shards", "1"], stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(place)})
        try:
            self.assertEqual(json.loads(demo.stdout.readline())["pid"], demo.pid)
            [folder] = place.iterdir()
            self.assertEqual(mode(folder), 0o700)
            self.assertRegex(folder.name, r"^angarium-demo-[a-z2-9]{16}$")
        finally:
            demo.terminate()
            self.assertEqual(demo.wait(30), 0)
            demo.stdout.close()
        self.assertEqual(list(place.iterdir()), [])

    def test_a_demo_on_a_long_path_with_another_password(self):
        deep = self.folder.joinpath("d" * 60, "e" * 60)
        deep.mkdir(parents=True)
        with Server(folder=deep, accounts=3, password="first") as server:
            self.config.write_text(f'[server]\ndata = "{deep}"\n')
            self.assertEqual(len(self.angarium("account", "list")), 6, "over the control socket")
            server.stop()
            server.arguments[server.arguments.index("--password") + 1] = "second"
            server.arguments[server.arguments.index("--accounts") + 1] = "4"
            for _ in range(2):
                server.start()
                for name in ["u000", "u002", "u003"]:
                    client = imaplib.IMAP4("127.0.0.1", server.port("imap"))
                    with self.assertRaises(imaplib.IMAP4.error):
                        client.login(name, "first")
                    client.login(name, "second")
                    client.logout()
                server.stop()

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
