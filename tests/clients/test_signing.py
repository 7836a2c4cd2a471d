"""DKIM keys and signatures, and what `domain dns` says of a zone: dkimpy verifies what the server signs, by the records that the
server prints, and the server looks its records up in a zone that is right first and wrong in one place after the other."""

import email
import imaplib
import json
import pathlib
import re
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
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mailauth"))
from sdists import sdist  # noqa: E402
from server import BINARY  # noqa: E402
from zone import Zone  # noqa: E402

sys.path.insert(0, str(sdist("dkimpy", "1.1.8")))
import dkim  # noqa: E402

ANN = "ann@example.org"
PASSWORD = "a password for tests"
HOST = "mail.example.org"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Rig(unittest.TestCase):
    """A server for example.org and example.net that asks our name server."""

    @classmethod
    def setUpClass(cls):
        cls.zone = Zone()
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-sign-"))
        cls.config = cls.folder / "angarium.toml"
        cls.ports = {name: free_port() for name in ("smtp", "submission", "submissions", "imap", "imaps")}
        listen = "\n".join(f'{name} = ["127.0.0.1:{port}"]' for name, port in cls.ports.items())
        cls.config.write_text(f"""
[server]
hostname = "{HOST}"
data = "{cls.folder / "store"}"
shards = 2
default_domain = "example.org"
postmaster = "{ANN}"
[store]
partitions = 16
[listen]
{listen}
pop3 = []
pop3s = []
[auth]
allow_plaintext_without_tls = true
[submission]
from = "any"
[dns]
servers = ["127.0.0.1:{cls.zone.port}"]
validate = false
timeout_s = 2
[outbound]
relay_from = ["127.0.0.0/8"]
""")
        for arguments in (["domain", "add", "example.org"], ["domain", "add", "example.net"],
                          ["account", "add", ANN, "--password", PASSWORD],
                          ["account", "add", "bob@example.org", "--password", PASSWORD],
                          ["account", "add", "eve@example.net", "--password", PASSWORD]):
            cls.angarium(*arguments)
        cls.start()

    @classmethod
    def tearDownClass(cls):
        cls.stop()
        cls.zone.stop()
        shutil.rmtree(cls.folder)

    @classmethod
    def start(cls):
        cls.log = open(cls.folder / "server.log", "ab")
        cls.process = subprocess.Popen([str(BINARY), "--config", str(cls.config), "serve"], stderr=cls.log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", cls.ports["imap"]), timeout=1).close()
                return
            except OSError:
                assert cls.process.poll() is None, (cls.folder / "server.log").read_text()
                time.sleep(0.05)
        raise AssertionError("the server does not listen")

    @classmethod
    def stop(cls):
        cls.process.send_signal(signal.SIGTERM)
        status = cls.process.wait(30)
        cls.log.close()
        text = (cls.folder / "server.log").read_text(errors="replace")
        assert status == 0 and "panic" not in text, text[-4000:]
        assert "PRIVATE KEY" not in text, "a key is in the log"

    @classmethod
    def angarium(cls, *arguments, fails=0):
        done = subprocess.run([str(BINARY), "--json", "--config", str(cls.config), *arguments], capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == fails, (arguments, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None

    def submit(self, author=ANN, to="bob@example.org", login=ANN, body="a line\r\n\r\n\r\n"):
        with smtplib.SMTP("127.0.0.1", self.ports["submission"]) as client:
            client.login(login, PASSWORD)
            client.sendmail(login, [to], f"From: Ann <{author}>\r\nTo: {to}\r\nSubject: signed?\r\n\r\n{body}")

    def last(self, who="bob@example.org", count=1):
        """The last message in an INBOX, which is emptied then."""
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        client.login(who, PASSWORD)
        try:
            deadline = time.monotonic() + 10
            while True:
                _, data = client.select("INBOX")
                if int(data[0]) >= count:
                    break
                self.assertLess(time.monotonic(), deadline, f"no mail for {who}")
                time.sleep(0.05)
            _, data = client.fetch(data[0].decode(), "(BODY.PEEK[])")
            message = data[0][1]
            client.store("1:*", "+FLAGS", r"(\Deleted)")
            client.expunge()
            return message
        finally:
            client.logout()

    def items(self, domain="example.org", *more, fails=0):
        return self.angarium("domain", "dns", domain, *more, fails=fails)

    def published(self, domain="example.org"):
        """The records that are printed, as lines of a zone."""
        return [line for item in self.items(domain) for line in item["records"]]

    def texts(self, domain="example.org"):
        """The texts among them, by name: what a verifier asks for."""
        texts = {}
        for line in self.published(domain):
            owner, _, kind, rest = line.split(None, 3)
            if kind == "TXT":
                texts[owner.lower()] = "".join(re.findall(r'"([^"]*)"', rest)).encode()
        return texts

    def signers(self, message, domain="example.org"):
        """Domain and selector of each signature; every one of them must be right."""
        texts = self.texts(domain)
        fields = email.message_from_bytes(message).get_all("DKIM-Signature", [])
        signers = []
        for at, field in enumerate(fields):
            verifier = dkim.DKIM(message)
            self.assertTrue(verifier.verify(at, dnsfunc=lambda name, timeout=5: texts.get(name.decode() if isinstance(name, bytes) else name)), field)
            signers.append((verifier.domain.decode(), verifier.selector.decode()))
        return signers

    def forget_keys(self):
        for domain in ("example.org", "example.net"):
            for key in self.angarium("domain", "dkim", "list", domain):
                self.angarium("domain", "dkim", "state", domain, key["selector"], "retiring")
                self.angarium("domain", "dkim", "remove", domain, key["selector"])

    def tearDown(self):
        self.forget_keys()
        self.zone.lines = []


class Signing(Rig):
    def test_keys_wait_sign_and_retire(self):
        self.submit()
        self.assertEqual(self.signers(self.last()), [])
        self.angarium("domain", "dkim", "add", "example.org", "--selector", "One")
        added = self.angarium("domain", "dkim", "add", "example.org", "--algorithm", "ed25519", "--selector", "two")
        self.assertEqual((added["state"], added["algorithm"]), ("waiting", "ed25519-sha256"))
        self.assertTrue(added["record"].startswith("v=DKIM1; k=ed25519; p="), added)
        self.submit()
        self.assertEqual(self.signers(self.last()), [], "a key that waits does not sign")
        self.angarium("domain", "dkim", "state", "example.org", "one", "active")
        self.submit()
        self.assertEqual(self.signers(self.last()), [("example.org", "one")])
        self.angarium("domain", "dkim", "state", "example.org", "two", "active")
        for body in ("", "no end", "x" * 900 + "\r\n", "many lines\r\n" * 50_000):
            self.submit(body=body)
            self.assertEqual(sorted(self.signers(self.last())), [("example.org", "one"), ("example.org", "two")], body[:20])
        self.angarium("domain", "dkim", "remove", "example.org", "one", fails=65)
        self.angarium("domain", "dkim", "state", "example.org", "one", "retiring")
        self.submit()
        self.assertEqual(self.signers(self.last()), [("example.org", "two")])
        self.stop()
        self.start()
        self.submit()
        self.assertEqual(self.signers(self.last()), [("example.org", "two")])

    def test_what_is_asked_wrongly_is_refused_with_its_reason(self):
        self.angarium("domain", "dkim", "add", "example.com", fails=67)
        self.angarium("domain", "dkim", "list", "example.com", fails=67)
        self.angarium("domain", "dkim", "add", "example.org", "--selector", "a_b", fails=65)
        self.angarium("domain", "dkim", "add", "example.org", "--selector", "a", "--algorithm", "ed25519")
        self.angarium("domain", "dkim", "add", "example.org", "--selector", "a", "--algorithm", "ed25519", fails=73)
        self.angarium("domain", "dkim", "state", "example.org", "b", "active", fails=67)
        self.angarium("domain", "dkim", "remove", "example.org", "b", fails=67)
        self.angarium("domain", "dkim", "remove", "example.org", "a")

    def test_nobody_signs_for_a_neighbour(self):
        for domain in ("example.org", "example.net"):
            self.angarium("domain", "dkim", "add", domain, "--algorithm", "ed25519", "--selector", "s", "--active")
        self.submit(author="eve@example.net")
        self.assertEqual(self.signers(self.last()), [])
        self.submit(author="eve@example.net", login="eve@example.net")
        self.assertEqual(self.signers(self.last(), "example.net"), [("example.net", "s")])
        self.submit(author="ann@elsewhere.example")
        self.assertEqual(self.signers(self.last()), [])
        # But for somebody who lets her.
        self.angarium("account", "delegate", "eve@example.net", "--send-as", ANN)
        self.submit(author="eve@example.net")
        self.assertEqual(self.signers(self.last(), "example.net"), [("example.net", "s")])
        self.angarium("account", "delegate", "eve@example.net", "--remove", ANN)
        self.submit(author="eve@example.net")
        self.assertEqual(self.signers(self.last()), [])

    def test_trusted_networks_and_notices_are_signed(self):
        self.angarium("domain", "dkim", "add", "example.org", "--selector", "s", "--active")
        with smtplib.SMTP("127.0.0.1", self.ports["smtp"]) as client:
            client.sendmail("app@example.org", ["bob@example.org"], "From: app@example.org\r\nSubject: x\r\n\r\nx\r\n")
        self.assertEqual(self.signers(self.last()), [("example.org", "s")])
        self.submit(to="nobody@nowhere.example")
        notice = self.last(ANN)
        self.assertIn(b"multipart/report", notice)
        self.assertEqual(self.signers(notice), [("example.org", "s")])


class Publishing(Rig):
    """Every record, looked up."""

    def fresh(self):
        """A server that remembers no answer."""
        self.stop()
        self.start()

    def fill(self):
        self.zone.lines = [*self.published(), f"{HOST}. IN A 127.0.0.1", f"1.0.0.127.in-addr.arpa. IN PTR {HOST}."]

    def states(self, fails=0):
        items = self.items("example.org", "--check", fails=fails)
        return {(item["what"], *item["records"][:1]): item for item in items}

    def state_of(self, what, fails=0):
        return [(item["state"], item["note"]) for item in self.states(fails).values() if item["what"] == what]

    def test_an_empty_zone_lacks_everything(self):
        self.fresh()
        states = self.states(fails=1)
        by_state = {key[0]: item["state"] for key, item in states.items()}
        expected = {"MX": "missing", "address": "missing", "PTR": "missing", "SPF": "missing", "SPF of the host": "missing",
                    "DKIM": "missing", "DMARC": "missing", "TLSA": "missing", "MTA-STS": "not-checked", "TLS-RPT": "missing",
                    "CAA": "not-checked", "SRV": "missing"}
        self.assertEqual(by_state, expected)

    def test_what_is_printed_is_right_when_it_is_published(self):
        for selector, algorithm in (("r", "rsa"), ("e", "ed25519")):
            self.angarium("domain", "dkim", "add", "example.org", "--selector", selector, "--algorithm", algorithm, "--active")
        self.angarium("domain", "dkim", "add", "example.org", "--selector", "later", "--algorithm", "ed25519")
        self.fill()
        self.fresh()
        for key, item in self.states().items():
            expected = {"TLSA": "unproven", "MTA-STS": "not-checked", "CAA": "not-checked"}.get(item["what"], "right")
            self.assertEqual(item["state"], expected, (key, item))
            self.assertFalse(item["bad"], item)
        services = sorted(line for line in self.zone.lines if " SRV " in line)
        self.assertEqual(services, sorted(f"_{name}._tcp.example.org. IN SRV 0 1 {self.ports[name]} {HOST}." for name in ("imaps", "submissions")))

    def test_each_fault_is_named(self):
        self.angarium("domain", "dkim", "add", "example.org", "--selector", "s", "--active")
        self.fill()
        right = list(self.zone.lines)
        other = self.angarium("domain", "dkim", "add", "example.net", "--selector", "s")["record"]

        def without(pattern):
            return [line for line in right if not re.search(pattern, line)]

        def with_text(name, text, pattern):
            halves = " ".join(f'"{text[at:at + 200]}"' for at in range(0, len(text), 200))
            return [*without(pattern), f"{name}. IN TXT {halves}"]

        spf, dmarc, key = r"^example\.org\. IN TXT", r"^_dmarc\.", r"^s\._domainkey"
        for what, lines, state, words in (
            ("MX", [*without(" MX "), "example.org. IN MX 5 mx.elsewhere.example."], "differs", "elsewhere"),
            ("MX", [*without(" MX "), "example.org. IN MX 0 ."], "wrong", "takes no mail"),
            ("SPF", [*right, 'example.org. IN TXT "v=spf1 a -all"'], "wrong", "several SPF"),
            ("SPF", with_text("example.org", "v=spf1 ipv4:1 -all", spf), "wrong", "cannot be read"),
            ("SPF", with_text("example.org", "v=spf1 ip4:192.0.2.1 -all", spf), "wrong", "127.0.0.1"),
            ("SPF", with_text("example.org", "something else", spf), "missing", None),
            ("DKIM", with_text("s._domainkey.example.org", other, key), "wrong", "not this key"),
            ("DKIM", with_text("s._domainkey.example.org", "v=DKIM1; p=", key), "wrong", "revoked"),
            ("DKIM", without(key), "missing", None),
            ("DMARC", [*right, '_dmarc.example.org. IN TXT "v=DMARC1; p=reject"'], "wrong", "several"),
            ("DMARC", with_text("_dmarc.example.org", "v=DMARC1; none", dmarc), "wrong", "cannot be read"),
            ("DMARC", with_text("_dmarc.example.org", "v=DMARC1; p=maybe", dmarc), "wrong", "p= is missing"),
            ("DMARC", with_text("_dmarc.example.org", "v=DMARC1; p=reject; rua=mailto:x@elsewhere.example", dmarc), "wrong", "takes them"),
            ("PTR", [*without(" PTR "), "1.0.0.127.in-addr.arpa. IN PTR other.example."], "wrong", "127.0.0.1"),
            ("TLSA", [*without(" TLSA "), f"_25._tcp.{HOST}. IN TLSA 3 1 1 {'00' * 32}"], "wrong", "hold mail back"),
            ("TLS-RPT", with_text("_smtp._tls.example.org", "v=TLSRPTv1; rua=nobody", r"^_smtp\._tls"), "wrong", "no reports"),
        ):
            self.zone.lines = lines
            self.fresh()
            found = self.state_of(what, fails=1)
            self.assertEqual([each for each, _ in found], [state], (what, lines))
            if words:
                self.assertIn(words, found[0][1], what)


if __name__ == "__main__":
    unittest.main(verbosity=2)
