"""The MTA-STS policies of our domains, served by ourselves: fetched as a web client does, well and badly; checked by `domain dns`; and
believed by another server of ours, which holds mail by them."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[0] / "support"))
sys.path.insert(0, str(HERE.parents[0] / "exchange"))
from server import BINARY  # noqa: E402
from village import Authority, wait_for  # noqa: E402
from zone import Zone  # noqa: E402

PASSWORD = "a password for tests"
PATH = "/.well-known/mta-sts.txt"
ORG, NET, HOST = "mta-sts.example.org", "mta-sts.example.net", "mail.example.org"


def free_ports(count):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def may_serve_443():
    """Other servers look nowhere else."""
    try:
        socket.create_server(("127.0.0.1", 443)).close()
    except OSError:
        return False
    return True


def policy(mode, *hosts, age=604800):
    return f"version: STSv1\r\nmode: {mode}\r\n" + "".join(f"mx: {host}\r\n" for host in hosts) + f"max_age: {age}\r\n"


class Node:
    """A server."""

    def __init__(self, folder, name, config):
        self.folder = folder / name
        self.folder.mkdir()
        self.config = self.folder / "angarium.toml"
        self.process = None
        self.write(config)

    def write(self, config):
        self.text = config
        self.config.write_text(config.replace("DATA", str(self.folder / "store")))

    def angarium(self, *arguments, fails=0):
        done = subprocess.run([str(BINARY), "--json", "--config", str(self.config), *arguments], capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == fails, (arguments, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None

    def log_text(self):
        return (self.folder / "log").read_text(errors="replace")

    def start(self):
        with open(self.folder / "log", "ab") as log:
            served = self.log_text().count("runtime.serving")
            self.process = subprocess.Popen([str(BINARY), "--config", str(self.config), "serve"], stderr=log,
                                            env={**os.environ, "ANGARIUM_LOG": "info,shard=debug", "NO_COLOR": "1"})
        wait_for(lambda: self.log_text().count("runtime.serving") > served or self.process.poll() is not None, self.log_text)
        assert self.process.poll() is None, self.log_text()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        text = self.log_text()
        assert status == 0 and "panic" not in text, text[-4000:]

    def reload(self, config):
        before = self.log_text().count("runtime.reloaded")
        self.write(config)
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.log_text().count("runtime.reloaded") > before, self.log_text)


class Rig(unittest.TestCase):
    """One server for example.org and example.net with certificates of an authority, and names."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-sts-"))
        cls.authority, cls.nobody = (Authority(cls.folder, name) for name in ("authority", "nobody"))
        cls.trust = ssl.create_default_context(cafile=cls.authority.certificate)
        cls.zone = Zone()
        cls.files = cls.authority.sign("one", HOST, ORG)
        others = cls.authority.sign("two", NET)
        cls.smtp, cls.submissions, cls.imap, cls.metrics, other = free_ports(5)
        cls.port = 443 if may_serve_443() else other
        cls.one = Node(cls.folder, "node-one", f"""
[server]
hostname = "{HOST}"
data = "DATA"
shards = 2
default_domain = "example.org"
postmaster = "ann@example.org"
[store]
partitions = 16
[tls]
authorities = "{cls.authority.certificate}"
[[tls.certificates]]
certificate = "{cls.files[0]}"
key = "{cls.files[1]}"
names = ["{HOST}", "{ORG}"]
[[tls.certificates]]
certificate = "{others[0]}"
key = "{others[1]}"
names = ["{NET}"]
[listen]
smtp = ["127.0.0.1:{cls.smtp}"]
submission = []
submissions = ["127.0.0.1:{cls.submissions}"]
imap = ["127.0.0.1:{cls.imap}"]
imaps = []
pop3 = []
pop3s = []
https = ["127.0.0.1:{cls.port}"]
[metrics]
listen = "127.0.0.1:{cls.metrics}"
[dns]
servers = ["127.0.0.1:{cls.zone.port}"]
validate = false
timeout_s = 2
[mta_sts]
mode = "enforce"
[[mta_sts.domain]]
name = "Example.NET"
mode = "testing"
mx = ["{HOST}", "*.backup.example"]
max_age_s = 86400
""")
        for domain in ("example.org", "example.net"):
            cls.one.angarium("domain", "add", domain)
        cls.one.angarium("account", "add", "ann@example.org", "--password", PASSWORD)
        cls.one.start()

    @classmethod
    def tearDownClass(cls):
        cls.one.stop()
        cls.zone.stop()
        shutil.rmtree(cls.folder)

    def connect(self, name=ORG):
        """A connection under TLS to the host of this name, whose certificate has to be right."""
        return self.trust.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=30), server_hostname=name)

    def say(self, sent, name=ORG):
        """Everything that the server answers until it closes."""
        with self.connect(name) as client:
            client.sendall(sent)
            return self.rest(client)

    @staticmethod
    def rest(client):
        said = b""
        while piece := client.recv(65536):
            said += piece
        return said

    def fetch(self, host=ORG, path=PATH, method="GET", name=None, headers=()):
        """Status, type and content of one answer."""
        client = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30)
        client.sock = self.connect(name or host)
        try:
            client.request(method, path, headers={"Host": host, **dict(headers)})
            answer = client.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
        finally:
            client.close()

    def served(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=10) as answer:
            found = re.findall(r"^angarium_mta_sts_policies_served_total\{.*\} (\d+)$", answer.read().decode(), re.M)
        self.assertEqual(len(found), 2)
        return sum(map(int, found))


class Served(Rig):
    def test_each_domain_has_its_policy_under_its_own_certificate(self):
        before = self.served()
        # Often enough to meet both shards, of which one has to ask the other.
        for _ in range(8):
            self.assertEqual(self.fetch(ORG), (200, "text/plain", policy("enforce", HOST)))
            self.assertEqual(self.fetch(NET), (200, "text/plain", policy("testing", HOST, "*.backup.example", age=86400)))
        self.assertEqual(self.served() - before, 16)
        self.assertIn('event="web.policy_served" domain="example.net"', self.one.log_text())
        self.assertEqual(self.fetch("MTA-STS.Example.Org.:443", name=ORG)[2], policy("enforce", HOST))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=self.authority.certificate)
            context.minimum_version = context.maximum_version = version
            # What a browser offers: it is answered in what it can fall back to.
            context.set_alpn_protocols(["h2", "http/1.1"])
            with context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=30), server_hostname=NET) as client:
                self.assertNotEqual(client.selected_alpn_protocol(), "h2")
                client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {NET}\r\nConnection: close\r\n\r\n".encode())
                self.assertIn(b"mode: testing", self.rest(client))

    def test_there_is_nothing_else(self):
        before = self.served()
        for host, path in ((ORG, "/"), (ORG, "/.well-known/mta-sts.txt/"), (ORG, PATH + "?x"), (ORG, "/.well-known/../.well-known/mta-sts.txt"),
                           (ORG, PATH.upper()), (HOST, PATH), ("example.org", PATH), ("mta-sts.example.com", PATH), ("mta-sts.", PATH),
                           ("mta-sts.mta-sts.example.org", PATH), ("mta-sts.[127.0.0.1]", PATH), ("127.0.0.1", PATH), ("", PATH)):
            with self.subTest(host=host, path=path):
                status, kind, text = self.fetch(host, path, name=ORG)
                expected = (400, "400 Bad Request\r\n") if "[" in host else (404, "404 Not Found\r\n")
                self.assertEqual((status, kind, text), (expected[0], "text/plain", expected[1]))
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
            self.assertEqual(self.fetch(method=method)[0], 405, method)
        said = self.say(f"DELETE {PATH} HTTP/1.1\r\nHost: {ORG}\r\nConnection: close\r\n\r\n".encode())
        self.assertIn(b"\r\nAllow: GET, HEAD\r\n", said)
        self.assertEqual(self.served(), before)

    def test_a_domain_comes_and_goes(self):
        host = "mta-sts.new.example"
        self.assertEqual(self.fetch(host, name=ORG)[0], 404)
        self.one.angarium("domain", "add", "new.example")
        for _ in range(8):
            self.assertEqual(self.fetch(host, name=ORG)[2], policy("enforce", HOST))
        self.one.angarium("domain", "remove", "new.example")
        for _ in range(8):
            self.assertEqual(self.fetch(host, name=ORG)[0], 404)

    def test_a_connection_serves_many_requests(self):
        client = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30)
        client.sock = connection = self.connect()
        for method in ("GET", "HEAD", "GET", "POST", "HEAD", "GET"):
            client.request(method, PATH, headers={"Host": ORG})
            answer = client.getresponse()
            text = answer.read().decode()
            self.assertIs(client.sock, connection, "it stays")
            self.assertEqual(answer.status, 405 if method == "POST" else 200)
            if method == "HEAD":
                self.assertEqual((text, answer.headers["Content-Length"]), ("", str(len(policy("enforce", HOST)))))
            self.assertRegex(answer.headers["Date"], r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")
        client.close()

    def test_requests_in_one_write_are_answered_in_order_and_a_connection_has_its_share(self):
        one = f"GET {PATH} HTTP/1.1\r\nHost: {ORG}\r\n\r\n"
        other = f"GET /{{}} HTTP/1.1\r\nHost: {ORG}\r\n\r\n"
        said = self.say("".join(one if at % 2 else other.format(at) for at in range(150)).encode())
        statuses = re.findall(rb"^HTTP/1.1 (\d+) ", said, re.M)
        self.assertEqual(statuses, [b"404", b"200"] * 50)
        self.assertEqual(said.count(b"Connection: close"), 1)

    def test_bad_requests_end_their_connection(self):
        head = f"GET {PATH} HTTP/1.1\r\nHost: {ORG}\r\n"
        for sent, status in (
            (f"GET {PATH} HTTP/1.1\r\n\r\n", 400),
            (f"{head}Host: {ORG}\r\n\r\n", 400),
            (f"{head}X : y\r\n\r\n", 400),
            (f"{head}X: y\n\r\n", 400),
            (f"{head}X: y\r\n folded\r\n\r\n", 400),
            (f"{head}X: y\0\r\n\r\n", 400),
            (f"GET {PATH}\r\n\r\n", 400),
            ("EHLO client.example\r\nMAIL FROM:<a@b>\r\n\r\n", 400),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            (f"{head}Content-Length: 5\r\n\r\nhello", 413),
            (f"{head}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n{head}\r\n", 413),
            (f"{head}Content-Length: 1, 1\r\n\r\n", 400),
            (f"{head}X: {'x' * 9000}\r\n\r\n", 431),
            (head + "".join(f"X-{at}: y\r\n" for at in range(200)) + "\r\n", 431),
            (f"GET /{'x' * 100_000} HTTP/1.1\r\n", 414),
        ):
            with self.subTest(sent[:100]):
                said = self.say(sent.encode())
                self.assertTrue(said.startswith(f"HTTP/1.1 {status} ".encode()), said)
                self.assertEqual(said.count(b"HTTP/1.1 "), 1, said)
                self.assertIn(b"\r\nConnection: close\r\n", said)
        self.assertEqual(self.fetch()[0], 200)

    def test_without_tls_nobody_is_answered(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as client:
            client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {ORG}\r\n\r\n".encode())
            with contextlib.suppress(ConnectionResetError):
                self.assertNotIn(b"HTTP", self.rest(client))

    def test_slow_clients_are_told_and_keep_nobody_waiting(self):
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(self.connect()) for _ in range(50)]
            begun = time.monotonic()
            for client in slow:
                client.sendall(b"GET ")
            while time.monotonic() < begun + 9:
                for client in slow:
                    client.sendall(b"x")
                asked = time.monotonic()
                self.assertEqual(self.fetch()[0], 200)
                self.assertLess(time.monotonic() - asked, 2)
                time.sleep(0.5)
            for client in slow:
                self.assertTrue(self.rest(client).startswith(b"HTTP/1.1 408 "))
            self.assertTrue(9 < time.monotonic() - begun < 20)

    def test_a_client_that_goes_away_is_no_harm(self):
        for sent in (b"", b"GET ", f"GET {PATH} HTTP/1.1\r\nHost: {ORG}\r\n\r\n".encode()):
            for _ in range(20):
                with self.connect() as client:
                    client.sendall(sent)
        self.assertEqual(self.fetch()[0], 200)

    def test_a_reload_changes_the_policy_and_its_id(self):
        def item():
            items = self.one.angarium("domain", "dns", "example.org")
            return next(item for item in items if item["what"] == "MTA-STS")

        before, config = item(), self.one.text
        self.assertRegex(before["records"][0], r'^_mta-sts\.example\.org\. IN TXT "v=STSv1; id=[0-9a-f]{20};"$')
        self.assertIn("    mode: enforce", before["by_hand"])
        self.one.reload(config.replace('mode = "enforce"', 'mode = "none"'))
        try:
            self.assertEqual(self.fetch()[2], policy("none", HOST))
            self.assertNotEqual(item()["records"], before["records"])
            self.assertIn("    mode: none", item()["by_hand"])
        finally:
            self.one.reload(config)
        self.assertEqual(item(), before)


@unittest.skipUnless(may_serve_443(), "needs port 443 of 127.0.0.1")
class Believed(Rig):
    def fill(self, domain="example.org"):
        """The zone as it is printed, and the host's address."""
        items = self.one.angarium("domain", "dns", domain)
        self.zone.lines = [line for item in items for line in item["records"]] + [f"{HOST}. IN A 127.0.0.1"]

    def checked(self, domain="example.org"):
        """State and note of the two items of MTA-STS, asked of a server that remembers no answer."""
        self.one.stop()
        self.one.start()
        items = self.one.angarium("domain", "dns", domain, "--check", fails=1)
        return {item["what"]: (item["state"], item["note"]) for item in items if item["what"].startswith("MTA-STS")}

    def without(self, pattern, *more):
        self.zone.lines = [line for line in self.zone.lines if not re.search(pattern, line)] + list(more)

    def test_what_is_printed_is_right_when_it_is_published(self):
        self.fill()
        self.assertIn(f"{ORG}. IN CNAME {HOST}.", self.zone.lines)
        self.assertEqual(self.checked(), {"MTA-STS": ("right", None), "MTA-STS host": ("right", None)})
        self.fill("example.net")
        self.assertEqual(self.checked("example.net"), {"MTA-STS": ("right", "the policy is in testing: nobody is held to it"),
                                                       "MTA-STS host": ("right", None)})

    def test_each_fault_is_named(self):
        def is_wrong(words, state="wrong", what="MTA-STS"):
            found = self.checked()[what]
            self.assertEqual(found[0], state, found)
            self.assertIn(words, found[1] or "", found)

        self.fill()
        self.without("^_mta-sts")
        is_wrong("", "missing")
        self.without("^_mta-sts", '_mta-sts.example.org. IN TXT "v=STSv1; id=20261124;"')
        is_wrong("the id is not that of the policy")
        self.fill()
        self.without(" MX ", f"example.org. IN MX 10 {HOST}.", "example.org. IN MX 20 other.example.")
        is_wrong("the policy does not name other.example: senders hold mail back")
        self.fill()
        self.without("^mta-sts")
        is_wrong("", "missing", "MTA-STS host")
        is_wrong(f"{ORG} cannot be reached over HTTPS")
        self.without("^mta-sts", f"{ORG}. IN A 127.0.0.9")
        is_wrong(f"it is elsewhere than {HOST}", "differs", "MTA-STS host")
        self.fill()
        kept = [file.read_bytes() for file in self.files]
        for strange in (self.nobody.sign("stranger", HOST, ORG), self.authority.sign("other-name", HOST)):
            for file, other in zip(self.files, strange, strict=True):
                shutil.copy(other, file)
            is_wrong(f"(sts-webpki-invalid): the certificate that {ORG} shows is not valid for that name")
        for file, content in zip(self.files, kept, strict=True):
            file.write_bytes(content)
        self.assertEqual(self.checked()["MTA-STS"], ("right", None))

    def test_another_server_delivers_by_it(self):
        """It finds the policy, demands what it says, and holds mail when the mail host does not prove its name."""
        self.fill()
        self.one.stop()
        self.one.start()
        (port,) = free_ports(1)
        two = Node(self.folder, "node-two", f"""
[server]
hostname = "mail.other.example"
data = "DATA"
shards = 1
default_domain = "other.example"
[store]
partitions = 16
[tls]
authorities = "{self.authority.certificate}"
[listen]
smtp = []
submission = []
submissions = ["127.0.0.1:{port}"]
imap = []
imaps = []
pop3 = []
pop3s = []
[dns]
servers = ["127.0.0.1:{self.zone.port}"]
validate = false
timeout_s = 2
[outbound]
port = {self.smtp}
idle_s = 1
""")
        two.angarium("domain", "add", "other.example")
        two.angarium("account", "add", "bob@other.example", "--password", PASSWORD)
        two.start()

        def send():
            with smtplib.SMTP_SSL("127.0.0.1", port, context=ssl._create_unverified_context()) as client:
                client.login("bob@other.example", PASSWORD)
                client.sendmail("bob@other.example", ["ann@example.org"], "From: <bob@other.example>\r\nSubject: by policy\r\n\r\nHello.\r\n")

        def summary():
            policies = [policy for report in two.angarium("queue", "tls") for policy in report["policies"]]
            return next((policy for policy in policies if policy["policy"]["policy-type"] == "sts"), None)

        try:
            send()
            wait_for(lambda: not two.angarium("queue", "list") and summary(), two.log_text)
            self.assertEqual(summary()["summary"]["total-successful-session-count"], 1, summary())
            self.assertEqual([line.strip() for line in summary()["policy"]["policy-string"]],
                             policy("enforce", HOST).split("\r\n")[:-1])
            # The mail host shows another name now; the policy is kept by the other server.
            kept = [file.read_bytes() for file in self.files]
            for file, other in zip(self.files, self.authority.sign("moved", "moved.example"), strict=True):
                shutil.copy(other, file)
            self.one.stop()
            self.one.start()
            time.sleep(2)
            send()
            held = wait_for(lambda: [entry for entry in two.angarium("queue", "list") if entry["attempts"]], two.log_text)
            self.assertIn("certificate-host-mismatch", held[0]["last_reply"])
            for file, content in zip(self.files, kept, strict=True):
                file.write_bytes(content)
            self.one.stop()
            self.one.start()
            two.angarium("queue", "retry", held[0]["id"])
            wait_for(lambda: not two.angarium("queue", "list"), two.log_text)
        finally:
            two.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
