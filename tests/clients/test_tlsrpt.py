"""TLS reports by HTTPS: posted to whoever takes them so, once to each address whatever the others do, and in private networks to a domain's own
hosts alone; and taken on `listen.https`, where nobody vouches for them."""

import gzip
import http.client
import http.server
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
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[0] / "exchange"))
sys.path.insert(0, str(HERE.parents[0] / "support"))
from receiver import Receiver  # noqa: E402
from test_reports import ANN, HOST, PASSWORD, REPORTS, TLS, Rig, attached, email, free_port  # noqa: E402
from village import Authority  # noqa: E402

# Not an address of a private network: this machine has it in a network of its own.
PUBLIC = "198.51.100.7"
OWN_NETWORK = "ANGARIUM_OWN_NETWORK"


def enter_own_network():
    """Runs these tests again where no interface but the loopback one is, and that has one more address."""
    if OWN_NETWORK in os.environ:
        for words in (["link", "set", "lo", "up"], ["address", "add", f"{PUBLIC}/32", "dev", "lo"]):
            subprocess.run(["ip", *words], check=True)
        return
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    if shutil.which("ip") and subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
        os.environ[OWN_NETWORK] = "yes"
        os.execvp(unshare[0], [*unshare, sys.executable, "-W", "ignore", *sys.argv])


class Collector:
    """A web server that takes what is posted, or answers what it is told to."""

    def __init__(self, files, host="127.0.0.1"):
        self.posts, self.statuses = [], []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                content = self.rfile.read(int(self.headers["Content-Length"]))
                status = collector.statuses.pop(0) if collector.statuses else 201
                if status < 300:
                    collector.posts.append((self.path, self.headers, content))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((host, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reports(self):
        return [json.loads(gzip.decompress(content)) for _, _, content in self.posts]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def report_of(mail):
    message = email.message_from_bytes(mail.content)
    [part] = [part for part in message.walk() if part.get_content_type() == "application/tlsrpt+json"]
    return json.loads(part.get_payload(decode=True))


def failed(report):
    return sum(policy["summary"]["total-failure-session-count"] for policy in report["policies"])


class Sending(Rig):
    @classmethod
    def setUpClass(cls):
        cls.receiver = Receiver()
        cls.OUTBOUND = f"port = {cls.receiver.port}"
        cls.certificates = pathlib.Path(tempfile.mkdtemp(prefix="angarium-tlsrpt-"))
        authority, nobody = Authority(cls.certificates, "authority"), Authority(cls.certificates, "nobody")
        cls.collector = Collector(authority.sign("far", "tls.far.example", "tls.near.example"))
        cls.stranger = None
        if OWN_NETWORK in os.environ:
            cls.stranger = Collector(nobody.sign("stranger", "elsewhere.example"), PUBLIC)
        cls.EXTRA = f'[tls]\nauthorities = "{authority.certificate}"\n'
        super().setUpClass()
        for name in ("far", "near", "evil", "once", "open"):
            cls.zone.lines += [f"{name}.example. IN MX 10 mx.{name}.example.", f"mx.{name}.example. IN A 127.0.0.1",
                               f"tls.{name}.example. IN A 127.0.0.1"]
        cls.zone.lines += [f"public.example. IN A {PUBLIC}"]
        port = cls.collector.port
        cls.asks("far", f"mailto:tls@far.example,https://tls.far.example:{port}/v1?x=1")
        # The certificate is not for that name; and the host is none of that domain's.
        cls.asks("once", f"https://tls.once.example:{port}/")
        cls.asks("evil", f"https://tls.far.example:{port}/evil")
        cls.asks("near", f"https://tls.near.example:{port}/near")

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for collector in filter(None, (cls.collector, cls.stranger)):
            collector.stop()
        shutil.rmtree(cls.certificates)

    @classmethod
    def asks(cls, name, addresses):
        cls.zone.lines.append(f'_smtp._tls.{name}.example. IN TXT "v=TLSRPTv1; rua={addresses}"')

    def setUp(self):
        super().setUp()
        self.collector.posts.clear()
        self.collector.statuses.clear()

    def mail(self, domain):
        """A message, whose connection is counted."""
        self.receiver.behave()
        with smtplib.SMTP("127.0.0.1", self.ports["submission"]) as client:
            client.login(ANN, PASSWORD)
            client.sendmail(ANN, [f"bob@{domain}"], f"From: {ANN}\r\nSubject: hello\r\n\r\nx\r\n")
        self.sent_to(f"bob@{domain}")
        deadline = time.monotonic() + 10
        while not any(report["policies"][0]["policy"]["policy-domain"] == domain for report in self.angarium("queue", "tls")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def told(self):
        """The reports that went by mail since the last message."""
        return [report_of(mail) for mail in self.receiver.messages if any("tls@far.example" in line for line in mail.rcpts)]

    def log_text(self):
        return re.sub(r"\x1b\[\d*m", "", (self.folder / "server.log").read_text(errors="replace"))

    def test_a_report_goes_to_each_address_once_whatever_becomes_of_the_others(self):
        self.mail("far.example")
        self.collector.statuses += [503]
        self.assertEqual(self.angarium("reports", "send"), {"dmarc": 0, "tls": 0, "waiting": 1})
        self.sent_to("tls@far.example")
        [first] = self.told()
        self.assertEqual((failed(first), self.collector.posts), (1, []))
        # Who has it is known after a restart; what is counted since is for another report.
        self.stop()
        self.start()
        self.mail("far.example")
        self.collector.statuses += [503]
        self.assertEqual(self.angarium("reports", "send")["waiting"], 1)
        self.assertEqual(self.angarium("reports", "send"), {"dmarc": 0, "tls": 1, "waiting": 0})
        self.sent_to("tls@far.example")
        [second] = self.told()
        self.assertEqual(failed(second), 1)
        self.assertEqual(self.collector.reports(), [first, second])
        self.assertNotEqual(first["report-id"], second["report-id"])
        self.assertEqual(first["date-range"]["end-datetime"], second["date-range"]["start-datetime"])
        path, headers, _ = self.collector.posts[0]
        self.assertEqual((path, headers["Content-Type"], headers["Host"]),
                         ("/v1?x=1", "application/tlsrpt+gzip", f"tls.far.example:{self.collector.port}"))
        self.assertIn('event="reports.tls_posted" domain="far.example"', self.log_text())
        self.assertEqual(self.angarium("reports", "send"), {"dmarc": 0, "tls": 0, "waiting": 0})

    def test_what_is_refused_for_good_is_not_tried_again(self):
        self.mail("near.example")
        self.collector.statuses += [404]
        self.assertEqual(self.angarium("reports", "send"), {"dmarc": 0, "tls": 1, "waiting": 0})
        self.assertRegex(self.log_text(), "reports.tls_not_posted.*near.example.*it answered 404")
        # A connection that is kept would be no other one.
        self.stop()
        self.start()
        self.mail("near.example")
        self.assertEqual(self.angarium("reports", "send")["tls"], 1)
        [report] = self.collector.reports()
        self.assertEqual(failed(report), 1)

    def test_in_a_private_network_only_a_domains_own_proven_host_is_told(self):
        for domain, why in (("evil.example", "in a private network"), ("once.example", "")):
            self.mail(domain)
            self.assertEqual(self.angarium("reports", "send")["waiting"], 1)
            self.assertRegex(self.log_text(), f"reports.tls_not_posted.*{domain}.*{why}")
            self.zone.lines = [line for line in self.zone.lines if not line.startswith(f"_smtp._tls.{domain}.")]
            self.stop()
            self.start()
            # A domain that wants none any more is told nothing.
            self.assertEqual(self.angarium("reports", "send")["waiting"], 0)
        self.assertEqual(self.collector.posts, [])

    @unittest.skipUnless(OWN_NETWORK in os.environ, "needs a network of its own (unshare, ip)")
    def test_a_certificate_that_proves_nothing_is_no_reason_to_keep_a_report(self):
        self.asks("open", f"https://public.example:{self.stranger.port}/a")
        self.mail("open.example")
        self.assertEqual(self.angarium("reports", "send")["tls"], 1)
        [report] = self.stranger.reports()
        self.assertEqual(report["policies"][0]["policy"]["policy-domain"], "open.example")
        self.assertRegex(self.log_text(), "reports.tls_posted.*open.example.*lacks=Some")


class Taker(Rig):
    """A server at which reports are posted."""

    PER_HOUR = 600

    @classmethod
    def setUpClass(cls):
        cls.receiver = Receiver()
        cls.certificates = pathlib.Path(tempfile.mkdtemp(prefix="angarium-tlsrpt-"))
        cls.authority = Authority(cls.certificates, "authority")
        cls.trust = ssl.create_default_context(cafile=cls.authority.certificate)
        certificate, key = cls.authority.sign("taker", HOST, "mail.taker.example")
        cls.https = free_port()
        cls.place = f"https://{HOST}:{cls.https}/tlsrpt"
        cls.LISTEN = f'https = ["127.0.0.1:{cls.https}"]'
        cls.EXTRA = (f'https = "{cls.place}"\nhttps_per_hour_max = {cls.PER_HOUR}\n[tls]\n[[tls.certificates]]\n'
                     f'certificate = "{certificate}"\nkey = "{key}"\nnames = ["{HOST}", "mail.taker.example"]\n')
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.certificates)

    def post(self, content, kind="application/tlsrpt+gzip", method="POST", path="/tlsrpt", **fields):
        client = http.client.HTTPSConnection("127.0.0.1", self.https, timeout=30)
        client.sock = self.trust.wrap_socket(socket.create_connection(("127.0.0.1", self.https), timeout=30), server_hostname=HOST)
        try:
            fields = {name.replace("_", "-"): value for name, value in fields.items()}
            client.request(method, path, content, {"Content-Type": kind, **fields})
            answer = client.getresponse()
            self.allowed, self.retry_after = answer.headers["Allow"], answer.headers["Retry-After"]
            answer.read()
            return answer.status
        finally:
            client.close()

    def kept(self):
        listed = self.angarium("reports", "list", "--kind", "tls")
        return sorted((report["report_id"], report["by"], report["total"]) for report in listed)


def report(name, failures=2):
    told = json.loads(json.dumps(TLS))
    told["report-id"] = name
    told["policies"][0]["summary"]["total-failure-session-count"] = failures
    return json.dumps(told).encode()


class Taking(Taker):
    def test_a_posted_report_is_kept_before_it_is_acknowledged(self):
        self.assertEqual(self.post(gzip.compress(report("packed"))), 200)
        self.assertEqual(self.post(report("plain"), "Application/TLSRPT+JSON; charset=utf-8", Content_Encoding="identity"), 200)
        self.stop(signal.SIGKILL)
        self.start()
        kept = self.kept()
        self.assertIn(("packed", "https", 42), kept)
        self.assertIn(("plain", "https", 42), kept)
        [listed] = [listed for listed in self.angarium("reports", "list") if listed["report_id"] == "plain"]
        self.assertEqual((listed["authenticated"], listed["proven"]), (False, None))
        shown = self.angarium("reports", "show", str(listed["id"]))
        self.assertEqual((shown["sender"], shown["reporter"]), ("127.0.0.1", "Big Inc."))
        self.assertRegex(re.sub(r"\x1b\[\d*m", "", (self.folder / "server.log").read_text()), 'reports.taken.*source="127.0.0.1"')

    def test_nobody_replaces_a_report_by_posting(self):
        self.assertEqual(self.post(report("first", 2), "application/tlsrpt+json"), 200)
        self.assertEqual(self.post(report("first", 3), "application/tlsrpt+json"), 200)
        mail = attached("Report Domain: example.org", "application/tlsrpt+gzip", gzip.compress(report("first", 4)), "a.json.gz")
        self.arrive(mail, to=REPORTS)
        self.assertEqual(self.post(report("first", 5), "application/tlsrpt+json"), 200)
        self.assertEqual([kept for kept in self.kept() if kept[0] == "first"], [("first", "https", 42), ("first", "mail", 44)])

    def test_what_is_no_report_is_refused_as_http_says(self):
        packed = gzip.compress(report("refused"))
        for expected, content, more in (
            (400, b"", {}), (400, b"{}", {"kind": "application/tlsrpt+json"}), (400, packed[:-9], {}), (400, report("refused"), {}),
            (400, packed, {"kind": "application/tlsrpt+json"}), (400, gzip.compress(b"<html>"), {}),
            (405, None, {"method": "GET"}), (405, None, {"method": "HEAD"}), (405, None, {"method": "DELETE"}),
            (411, iter([packed]), {}), (413, bytes(1 << 20 | 1), {}), (413, gzip.compress(bytes(5 << 20)), {}),
            (413, report(os.urandom(200_000).hex()), {"kind": "application/tlsrpt+json"}),
            (415, packed, {"kind": "application/gzip"}), (415, packed, {"Content_Encoding": "gzip"}),
            (413, packed, {"path": "/tlsrpt/"}), (404, None, {"method": "GET", "path": "/tlsrpt/"}),
        ):
            with self.subTest(expected=expected, **more):
                try:
                    status = self.post(content, **more)
                except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                    # It was told before it had said all.
                    self.assertTrue(isinstance(content, bytes) and len(content) > 1 << 20)
                    status = 413
                self.assertEqual(status, expected)
                if expected == 405:
                    self.assertEqual(self.allowed, "POST")
        self.assertNotIn("refused", [kept[0] for kept in self.kept()])

    def test_a_client_that_asks_first_is_told_to_go_on(self):
        content = gzip.compress(report("asked"))
        with self.trust.wrap_socket(socket.create_connection(("127.0.0.1", self.https), timeout=30), server_hostname=HOST) as client:
            client.sendall(f"POST /tlsrpt HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/tlsrpt+gzip\r\nExpect: 100-continue\r\n"
                           f"Content-Length: {len(content)}\r\n\r\n".encode())
            self.assertEqual(client.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            client.sendall(content)
            self.assertTrue(client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n"))

    def test_the_record_to_publish_names_the_place_and_is_checked(self):
        [item] = [item for item in self.angarium("domain", "dns", "example.org") if item["what"] == "TLS-RPT"]
        self.assertEqual(item["records"], [f'_smtp._tls.example.org. IN TXT "v=TLSRPTv1; rua=mailto:{REPORTS},{self.place}"'])
        lines = list(self.zone.lines)
        for published, state in ((f"mailto:{REPORTS},{self.place}", "right"), (f"mailto:{REPORTS},{self.place}/old", "wrong")):
            self.zone.lines = [*lines, f'_smtp._tls.example.org. IN TXT "v=TLSRPTv1; rua={published}"']
            # A restart forgets what was published before.
            self.stop()
            self.start()
            [item] = [item for item in self.angarium("domain", "dns", "example.org", "--check", fails=None) if item["what"] == "TLS-RPT"]
            self.assertEqual(item["state"], state, item)
        self.zone.lines = lines


class Bounded(Taker):
    PER_HOUR = 3

    def test_a_network_posts_so_many_an_hour(self):
        left = 3600 - time.time() % 3600
        if left < 10:
            time.sleep(left + 0.1)
        self.assertEqual([self.post(gzip.compress(report(f"n{number}"))) for number in range(5)], [200] * 3 + [429] * 2)
        self.assertEqual(self.retry_after, "3600")
        self.assertEqual(len(self.kept()), 3)


class Between(Rig):
    """From one server to another."""

    @classmethod
    def setUpClass(cls):
        Taker.setUpClass()
        cls.receiver = Receiver()
        cls.OUTBOUND = f"port = {cls.receiver.port}"
        cls.EXTRA = f'[tls]\nauthorities = "{Taker.authority.certificate}"\n'
        super().setUpClass()
        cls.zone.lines += ["taker.example. IN MX 10 mail.taker.example.", "mail.taker.example. IN A 127.0.0.1",
                           f'_smtp._tls.taker.example. IN TXT "v=TLSRPTv1; rua=https://mail.taker.example:{Taker.https}/tlsrpt"']

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        Taker.tearDownClass()

    def test_what_one_posts_the_other_shows(self):
        with smtplib.SMTP("127.0.0.1", self.ports["submission"]) as client:
            client.login(ANN, PASSWORD)
            client.sendmail(ANN, ["bob@taker.example"], f"From: {ANN}\r\nSubject: hello\r\n\r\nx\r\n")
        self.sent_to("bob@taker.example")
        deadline = time.monotonic() + 10
        while not self.angarium("queue", "tls"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        # A server that is away for a while gets it later.
        Taker.stop()
        self.assertEqual(self.angarium("reports", "send"), {"dmarc": 0, "tls": 0, "waiting": 1})
        Taker.start()
        self.assertEqual(self.angarium("reports", "send"), {"dmarc": 0, "tls": 1, "waiting": 0})
        [listed] = Taker.angarium("reports", "list")
        self.assertEqual((listed["domain"], listed["reporter"], listed["total"], listed["failed"], listed["by"]),
                         ("taker.example", "Example Org", 1, 1, "https"))


if __name__ == "__main__":
    enter_own_network()
    unittest.main()
