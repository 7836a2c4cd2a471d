"""Real mail programs against the binary. Each test is one program doing what its user does all day."""

import asyncio
import email
import imaplib
import os
import pathlib
import poplib
import smtplib
import ssl
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server import ROOT, Server, have, run  # noqa: E402

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


def needs(program):
    """A program that is not installed skips loudly: the closing line counts it."""
    return unittest.skipUnless(have(program), f"{program} is not installed")


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(accounts=4, password="benchmark").start()
        cls.folder = tempfile.TemporaryDirectory(prefix="angarium-clients-")

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        cls.folder.cleanup()
        assert status == 0, f"the server ended with {status}\n{cls.server.log_text()}"

    def path(self, name):
        path = pathlib.Path(self.folder.name) / self.id().rsplit(".", 1)[-1]
        path.mkdir(exist_ok=True)
        return path / name

    def imap(self, who):
        client = imaplib.IMAP4("127.0.0.1", self.server.port("imap"))
        client.login(*who)
        return client

    def send(self, to, subject, body="hello\r\n"):
        with smtplib.SMTP("127.0.0.1", self.server.port("smtp")) as smtp:
            smtp.sendmail("sender@example.net", [to], f"Subject: {subject}\r\nFrom: s@example.net\r\n\r\n{body}")

    def subjects(self, who, mailbox="INBOX"):
        client = self.imap(who)
        client.select(mailbox, readonly=True)
        _, data = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        client.logout()
        return [part[1].decode().strip().removeprefix("Subject: ") for part in data if isinstance(part, tuple)]

    # SMTP

    @needs("swaks")
    def test_swaks_delivers_and_idle_tells_at_once(self):
        who = self.server.account(0)
        client = self.imap(who)
        client.select("INBOX")
        tag = client._new_tag().decode()
        client.send(f"{tag} IDLE\r\n".encode())
        self.assertTrue(client.readline().startswith(b"+"))
        run(["swaks", "--server", f"127.0.0.1:{self.server.port('smtp')}", "--to", who[0], "--from", "a@example.net",
             "--header", "Subject: by swaks", "--body", "hello"])
        client.sock.settimeout(5)
        line = client.readline()
        while b"EXISTS" not in line:
            line = client.readline()
        client.send(b"DONE\r\n")
        client.logout()
        self.assertIn("by swaks", self.subjects(who))

    @needs("swaks")
    def test_swaks_submits_with_starttls_and_each_mechanism(self):
        address, password = self.server.account(1)
        for mechanism in ["PLAIN", "LOGIN"]:
            run(["swaks", "--server", f"127.0.0.1:{self.server.port('submission')}", "--tls", "--auth", mechanism,
                 "--auth-user", address, "--auth-password", password, "--from", address, "--to", address,
                 "--header", f"Subject: submitted {mechanism}"])
        run(["swaks", "--server", f"127.0.0.1:{self.server.port('submissions')}", "--tls-on-connect", "--auth", "PLAIN",
             "--auth-user", address, "--auth-password", password, "--from", address, "--to", address,
             "--header", "Subject: submitted TLS"])
        subjects = self.subjects((address, password))
        for word in ["PLAIN", "LOGIN", "TLS"]:
            self.assertIn(f"submitted {word}", subjects)

    @needs("swaks")
    def test_swaks_is_refused_what_must_be_refused(self):
        who = self.server.account(0)
        base = ["swaks", "--server", f"127.0.0.1:{self.server.port('smtp')}", "--from", "a@example.net"]
        for to, code in [("nobody@demo.example.org", "550 5.1.1"), ("someone@elsewhere.example", "550 5.7.1")]:
            done = subprocess.run([*base, "--to", to], capture_output=True, text=True, timeout=60, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(code, done.stdout)
        done = subprocess.run(
            ["swaks", "--server", f"127.0.0.1:{self.server.port('submission')}", "--tls", "--auth", "PLAIN",
             "--auth-user", who[0], "--auth-password", who[1], "--from", who[0], "--to", "x@elsewhere.example"],
            capture_output=True, text=True, timeout=60, check=False)
        self.assertIn("451 4.4.0", done.stdout)

    @needs("swaks")
    def test_swaks_delivers_by_lmtp(self):
        who = self.server.account(2)
        run(["swaks", "--server", f"127.0.0.1:{self.server.port('lmtp')}", "--protocol", "LMTP", "--to", who[0],
             "--from", "a@example.net", "--header", "Subject: by LMTP"])
        self.assertIn("by LMTP", self.subjects(who))

    @needs("smtp-source")
    def test_smtp_source_delivers_a_load(self):
        who = ("u000", "benchmark")
        run(["smtp-source", "-c", "-s", "8", "-m", "400", "-l", "4096", "-f", "a@example.net",
             "-t", "u000@demo.example.org", f"127.0.0.1:{self.server.port('smtp')}"])
        client = self.imap(who)
        status, data = client.status("INBOX", "(MESSAGES)")
        client.logout()
        self.assertEqual((status, data[0]), ("OK", b"INBOX (MESSAGES 400)"))

    @needs("curl")
    def test_curl_sends_and_reads(self):
        address, password = self.server.account(0)
        message = self.path("message")
        message.write_bytes(b"Subject: by curl\r\n\r\n.dot\r\n..dots\r\n")
        run(["curl", "-sS", f"smtp://127.0.0.1:{self.server.port('smtp')}", "--mail-from", "a@example.net",
             "--mail-rcpt", address, "-T", str(message)])
        found = run(["curl", "-sS", f"imap://127.0.0.1:{self.server.port('imap')}/INBOX", "-u", f"{address}:{password}",
                     "-X", "SEARCH SUBJECT curl"]).split()
        number = found[-1]
        text = run(["curl", "-sSk", f"imaps://127.0.0.1:{self.server.port('imaps')}/INBOX;MAILINDEX={number}",
                    "-u", f"{address}:{password}"])
        self.assertTrue(text.endswith(".dot\n..dots\n"), text)
        listing = run(["curl", "-sSk", f"pop3s://127.0.0.1:{self.server.port('pop3s')}/", "-u", f"{address}:{password}"])
        self.assertGreaterEqual(len(listing.splitlines()), int(number))

    # IMAP

    @needs("mbsync")
    def test_mbsync_syncs_both_ways(self):
        who = self.server.account(1)
        self.send(who[0], "for mbsync")
        maildir = self.path("mail")
        maildir.mkdir()
        config = self.path("mbsyncrc")
        config.write_text(textwrap.dedent(f"""\
            IMAPAccount a
            Host 127.0.0.1
            Port {self.server.port('imap')}
            User {who[0]}
            Pass {who[1]}
            SSLType None
            AuthMechs LOGIN

            IMAPStore far
            Account a

            MaildirStore near
            Path {maildir}/
            Inbox {maildir}/INBOX
            SubFolders Verbatim

            Channel c
            Far :far:
            Near :near:
            Patterns *
            Create Both
            Expunge Both
            SyncState *
            """))
        run(["mbsync", "-c", str(config), "-a"])
        files = [path for path in (maildir / "INBOX").rglob("*") if path.parent.name in ("new", "cur")]
        text = "\n".join(path.read_text(errors="replace") for path in files)
        self.assertIn("for mbsync", text)
        target = next(path for path in files if "for mbsync" in path.read_text(errors="replace"))
        flagged = maildir / "INBOX" / "cur" / (target.name.split(":2,")[0] + ":2,FS")
        target.rename(flagged)
        (maildir / "INBOX" / "new" / "123.local").write_text("Subject: made here\n\nlocal\n")
        run(["mbsync", "-c", str(config), "-a"])
        client = self.imap(who)
        client.select("INBOX")
        _, found = client.search(None, "FLAGGED", "SUBJECT", '"for mbsync"')
        self.assertEqual(len(found[0].split()), 1)
        _, found = client.search(None, "SUBJECT", '"made here"')
        self.assertEqual(len(found[0].split()), 1)
        client.logout()

    @needs("offlineimap")
    def test_offlineimap_syncs(self):
        who = self.server.account(2)
        self.send(who[0], "for offlineimap")
        config = self.path("rc")
        mail = self.path("mail")
        config.write_text(textwrap.dedent(f"""\
            [general]
            accounts = t
            metadata = {self.path('meta')}
            ui = basic
            [Account t]
            localrepository = l
            remoterepository = r
            [Repository l]
            type = Maildir
            localfolders = {mail}
            [Repository r]
            type = IMAP
            remotehost = 127.0.0.1
            remoteport = {self.server.port('imap')}
            remoteuser = {who[0]}
            remotepass = {who[1]}
            ssl = no
            starttls = no
            """))
        run(["offlineimap", "-o", "-c", str(config)], timeout_s=120)
        text = "\n".join(path.read_text(errors="replace") for path in mail.rglob("*") if path.is_file())
        self.assertIn("for offlineimap", text)

    @needs("interimap")
    def test_interimap_syncs_two_accounts(self):
        one, two = ("u001", "benchmark"), ("u002", "benchmark")
        for i in range(3):
            self.send("u001@demo.example.org", f"interimap {i}")
        config = self.path("config")
        port = self.server.port("imap")
        config.write_text(textwrap.dedent(f"""\
            database = {self.path('state.db')}
            list-select-opts =
            [local]
            type = imap
            host = 127.0.0.1
            port = {port}
            username = {one[0]}
            password = {one[1]}
            STARTTLS = NO
            auth = PLAIN LOGIN
            [remote]
            type = imap
            host = 127.0.0.1
            port = {port}
            username = {two[0]}
            password = {two[1]}
            STARTTLS = NO
            auth = PLAIN LOGIN
            """))
        os.chmod(config, 0o600)
        home = self.path("home")
        home.mkdir()
        environment = dict(os.environ, HOME=str(home), XDG_CONFIG_HOME=str(home), XDG_DATA_HOME=str(home))
        run(["interimap", "--config", str(config)], env=environment)
        self.assertEqual(sorted(self.subjects(two)), [f"interimap {i}" for i in range(3)])
        client = self.imap(two)
        client.select("INBOX")
        client.store("1", "+FLAGS", r"(\Flagged)")
        client.logout()
        run(["interimap", "--config", str(config)], env=environment)
        client = self.imap(one)
        client.select("INBOX")
        self.assertEqual(client.search(None, "FLAGGED")[1], [b"1"])
        client.logout()

    def test_imaplib_does_a_days_work(self):
        who = self.server.account(0)
        client = self.imap(who)
        self.assertEqual(client.create("Projects/Sardes")[0], "OK")
        self.assertEqual(client.append("Projects/Sardes", r"(\Seen work)", None, b"Subject: one\r\n\r\nbody\r\n")[0], "OK")
        client.select("Projects/Sardes")
        self.assertEqual(client.fetch("1", "(FLAGS)")[1], [b"1 (FLAGS (\\Seen work))"])
        self.assertEqual(client.copy("1", "Trash")[0], "OK")
        client.store("1", "+FLAGS", r"(\Deleted)")
        self.assertEqual(client.expunge()[1], [b"1"])
        self.assertEqual(client.rename("Projects/Sardes", "Projects/Susa")[0], "OK")
        self.assertIn(b"Projects/Susa", b" ".join(client.list('""', '"*"')[1]))
        self.assertEqual(client.delete("Projects/Susa")[0], "OK")
        client.logout()

    def test_imaplib_with_starttls_and_wrong_passwords(self):
        address, password = self.server.account(0)
        client = imaplib.IMAP4("127.0.0.1", self.server.port("imap"))
        client.starttls(UNVERIFIED)
        client.authenticate("PLAIN", lambda _: f"\0{address}\0{password}".encode())
        self.assertEqual(client.noop()[0], "OK")
        client.logout()
        with self.assertRaises(imaplib.IMAP4.error):
            imaplib.IMAP4_SSL("127.0.0.1", self.server.port("imaps"), ssl_context=UNVERIFIED).login(address, "wrong")

    def test_aioimaplib_idles(self):
        try:
            import aioimaplib
        except ImportError:
            self.skipTest("aioimaplib is not installed")
        who = self.server.account(2)

        async def idle():
            client = aioimaplib.IMAP4("127.0.0.1", self.server.port("imap"))
            await client.wait_hello_from_server()
            await client.login(*who)
            await client.select("INBOX")
            waiting = await client.idle_start(timeout=20)
            await asyncio.get_running_loop().run_in_executor(None, self.send, who[0], "for aioimaplib")
            pushed = await client.wait_server_push()
            client.idle_done()
            await asyncio.wait_for(waiting, 10)
            await client.logout()
            return pushed

        self.assertTrue(any(b"EXISTS" in line for line in asyncio.run(idle())))

    @needs("node")
    def test_imapflow_fetches(self):
        modules = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "blackbox" / "node_modules"
        if not (modules / "imapflow").is_dir():
            self.skipTest("imapflow is not installed")
        who = self.server.account(1)
        self.send(who[0], "for imapflow")
        script = self.path("flow.cjs")
        script.write_text(textwrap.dedent("""\
            const { ImapFlow } = require(process.argv[2] + '/imapflow');
            (async () => {
                const [port, user, pass] = process.argv.slice(3);
                const client = new ImapFlow({ host: '127.0.0.1', port: Number(port), secure: false, doSTARTTLS: false, auth: { user, pass }, logger: false });
                await client.connect();
                const lock = await client.getMailboxLock('INBOX');
                for await (const m of client.fetch('1:*', { envelope: true, bodyStructure: true, flags: true, source: true }))
                    console.log(m.uid, m.envelope.subject, m.source.length, m.bodyStructure.type);
                lock.release();
                await client.logout();
            })().catch(error => { console.error(error); process.exit(1); });
            """))
        text = run(["node", str(script), str(modules), str(self.server.port("imap")), *who])
        self.assertIn("for imapflow", text)
        self.assertIn("Grüße aus Susa", text)

    # POP3

    @needs("fetchmail")
    def test_fetchmail_fetches_everything(self):
        who = self.server.account(2)
        self.send(who[0], "for fetchmail")
        box = self.path("box")
        config = self.path("rc")
        config.write_text(
            f'poll 127.0.0.1 proto pop3 port {self.server.port("pop3")} user "{who[0]}" pass "{who[1]}" keep sslproto "" fetchall\n')
        os.chmod(config, 0o600)
        environment = dict(os.environ, FETCHMAILHOME=str(self.path("home")))
        self.path("home").mkdir()
        run(["fetchmail", "-f", str(config), "--mda", f"cat >> {box}", "--nosyslog", "-v"], env=environment)
        self.assertIn("for fetchmail", box.read_text(errors="replace"))

    def test_poplib_reads_tops_and_deletes(self):
        self.send("u003@demo.example.org", "for poplib", "one\r\ntwo\r\n.three\r\n")
        client = poplib.POP3_SSL("127.0.0.1", self.server.port("pop3s"), context=UNVERIFIED)
        client.user("u003")
        client.pass_("benchmark")
        count, _ = client.stat()
        self.assertGreaterEqual(count, 1)
        _, lines, _ = client.retr(count)
        self.assertEqual(lines[-3:], [b"one", b"two", b".three"])
        _, lines, _ = client.top(count, 1)
        self.assertEqual(lines[-1], b"one")
        second = poplib.POP3("127.0.0.1", self.server.port("pop3"))
        second.user("u003")
        with self.assertRaises(poplib.error_proto) as refused:
            second.pass_("benchmark")
        self.assertIn(b"[IN-USE]", refused.exception.args[0])
        client.dele(count)
        client.quit()
        client = poplib.POP3("127.0.0.1", self.server.port("pop3"))
        client.user("u003")
        client.pass_("benchmark")
        self.assertEqual(client.stat()[0], count - 1)
        client.quit()

    # Several at once

    def test_thirty_two_connections_on_one_mailbox_agree(self):
        who = ("u003", "benchmark")
        errors = []

        def work(i):
            try:
                client = self.imap(who)
                client.select("INBOX")
                for j in range(5):
                    client.append("INBOX", None, None, f"Subject: parallel {i} {j}\r\n\r\nx\r\n".encode())
                    client.noop()
                client.logout()
            except Exception as error:  # noqa: BLE001
                errors.append(repr(error))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(errors, [])
        found = [subject for subject in self.subjects(who) if subject.startswith("parallel")]
        self.assertEqual((len(found), len(set(found))), (160, 160))


if __name__ == "__main__":
    unittest.main(verbosity=2)
