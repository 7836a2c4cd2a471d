"""Reports about mail: a domain is told about mail with its From, also when the server has ended in between; reports of others come by
mail and are shown; complaints find the message that they are about."""

import base64
import email
import gzip
import imaplib
import io
import json
import pathlib
import shutil
import signal
import smtplib
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import xml.etree.ElementTree
import zipfile

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mailauth"))
from receiver import Receiver  # noqa: E402
from sdists import sdist  # noqa: E402
from server import BINARY  # noqa: E402

sys.path.insert(0, str(sdist("dkimpy", "1.1.8")))
import dkim  # noqa: E402

ANN, REPORTS = "ann@example.org", "reports@example.org"
PASSWORD = "a password for tests"
HOST = "mail.example.org"
# Mail from here is mail from elsewhere, once a gateway has said so.
ELSEWHERE = "192.0.2.99"
LIMIT = 1800

ZONE = [
    # Its mail is refused when it fails, and its reports go to another domain that takes them, and to one that does not.
    '_dmarc.forged.example. IN TXT "v=DMARC1; p=reject; rua=mailto:rua@forged.example,mailto:all@watch.example,mailto:no@victim.example; '
    'ruf=mailto:ruf@forged.example"',
    'forged.example._report._dmarc.watch.example. IN TXT "v=DMARC1"',
    'forged.example. IN TXT "v=spf1 -all"',
    f'_dmarc.small.example. IN TXT "v=DMARC1; p=none; rua=mailto:rua@small.example!{LIMIT}"',
    '_dmarc.tiny.example. IN TXT "v=DMARC1; p=none; rua=mailto:rua@tiny.example!1k"',
    'small.example. IN TXT "v=spf1 -all"',
    'good.example. IN TXT "v=spf1 ip4:192.0.2.0/24 -all"',
    '_dmarc.good.example. IN TXT "v=DMARC1; p=reject; rua=mailto:rua@good.example"',
    '_smtp._tls.forged.example. IN TXT "v=TLSRPTv1; rua=mailto:tls@forged.example"',
]

GOOGLE = """<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <report_metadata>
    <org_name>big.example</org_name><email>noreply@big.example</email><report_id>1640317821058295</report_id>
    <date_range><begin>{begin}</begin><end>{end}</end></date_range>
  </report_metadata>
  <policy_published><domain>example.org</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct></policy_published>
  <record>
    <row><source_ip>192.0.2.7</source_ip><count>{count}</count>
      <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>example.org</header_from></identifiers>
    <auth_results><dkim><domain>example.org</domain><result>pass</result><selector>s</selector></dkim>
      <spf><domain>example.org</domain><result>fail</result></spf></auth_results>
  </record>
</feedback>
"""

MICROSOFT = (
    '<?xml version="1.0"?><feedback xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    "<version>1.0</version><report_metadata><org_name>Outlook.example</org_name><email>d@outlook.example</email>"
    "<report_id>0123456789abcdef</report_id><date_range><begin>{begin}</begin><end>{end}</end></date_range></report_metadata>"
    "<policy_published><domain>example.org</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct><fo>0</fo>"
    "</policy_published><record><row><source_ip>2001:db8::5</source_ip><count>2</count><policy_evaluated><disposition>quarantine"
    "</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row><identifiers><envelope_to>outlook.example</envelope_to>"
    "<envelope_from>evil.example</envelope_from><header_from>example.org</header_from></identifiers><auth_results><spf><domain>evil.example"
    "</domain><scope>mfrom</scope><result>pass</result></spf></auth_results></record></feedback>"
)

TLS = {
    "organization-name": "Big Inc.", "contact-info": "tls@big.example", "report-id": "tls-1",
    "date-range": {"start-datetime": "2026-11-23T00:00:00Z", "end-datetime": "2026-11-23T23:59:59Z"},
    "policies": [{
        "policy": {"policy-type": "sts", "policy-string": ["version: STSv1"], "policy-domain": "example.org", "mx-host": HOST},
        "summary": {"total-successful-session-count": 40, "total-failure-session-count": 2},
        "failure-details": [{"result-type": "certificate-expired", "failed-session-count": 2, "receiving-mx-hostname": HOST}],
    }],
}


class Zone:
    """A name server for whatever lines it is given."""

    def __init__(self, lines):
        self.lines = lines
        # Names of which nothing can be said now.
        self.unknown = set()
        zone = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                data, sock = self.request
                sock.sendto(zone.answer(data), self.client_address)

        self.server = socketserver.UDPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, data):
        asked = dns.message.from_wire(data)
        reply = dns.message.make_response(asked)
        reply.flags |= dns.flags.AA | dns.flags.RA
        question = asked.question[0]
        name = question.name.to_text().lower()
        found, exists = [], False
        for line in self.lines:
            owner, _, kind, rest = line.split(None, 3)
            exists |= owner == name or owner.endswith("." + name)
            if owner == name and dns.rdatatype.from_text(kind) == question.rdtype:
                found.append(rest)
        if found:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", dns.rdatatype.to_text(question.rdtype), *found))
        elif name in self.unknown:
            reply.set_rcode(dns.rcode.SERVFAIL)
        else:
            reply.authority.append(dns.rrset.from_text(".", 1, "IN", "SOA", "ns. host. 1 60 60 60 1"))
            if not exists:
                reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def attached(subject, kind, content, name="a.xml.gz"):
    """A message with an attachment, in the form that most receivers send."""
    encoded = base64.encodebytes(content).decode().replace("\n", "\r\n")
    return (f"From: r@big.example\r\nTo: {REPORTS}\r\nSubject: {subject}\r\nMessage-ID: <{time.monotonic_ns()}@big.example>\r\n"
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nA report.\r\n"
            f"--b1\r\nContent-Type: {kind}; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n"
            f"Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{encoded}--b1--\r\n")


def zipped(text):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", text)
    return out.getvalue()


class Rig(unittest.TestCase):
    """A server whose mail for others goes to our receiver. Port 25 takes XCLIENT from us, so that mail can come from elsewhere."""

    EXTRA = OUTBOUND = LISTEN = ""
    receiver = None

    @classmethod
    def setUpClass(cls):
        cls.zone = Zone(list(ZONE))
        cls.receiver = cls.receiver or Receiver()
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-reports-"))
        cls.config = cls.folder / "angarium.toml"
        cls.ports = {name: free_port() for name in ("smtp", "submission", "imap")}
        listen = "\n".join(f'{name} = ["127.0.0.1:{port}"]' for name, port in cls.ports.items())
        cls.config.write_text(f"""
[server]
hostname = "{HOST}"
data = "{cls.folder / "store"}"
shards = 2
postmaster = "{ANN}"
[store]
partitions = 16
[listen]
{listen}
submissions = []
imaps = []
pop3 = []
pop3s = []
xclient_from = ["127.0.0.1"]
{cls.LISTEN}
[auth]
allow_plaintext_without_tls = true
[dns]
servers = ["127.0.0.1:{cls.zone.port}"]
validate = false
timeout_s = 2
[outbound]
{cls.OUTBOUND or f'smarthost = "{cls.receiver.place}"'}
[reports]
receive = ["{REPORTS}"]
organization = "Example Org"
{cls.EXTRA}
""")
        for arguments in (["domain", "add", "example.org"], ["account", "add", ANN, "--password", PASSWORD],
                          ["account", "add", REPORTS, "--password", PASSWORD],
                          ["domain", "dkim", "add", "example.org", "--selector", "s", "--active"]):
            cls.angarium(*arguments)
        for item in cls.angarium("domain", "dns", "example.org"):
            cls.zone.lines += [line for line in item["records"] if "_domainkey" in line]
        cls.start()

    @classmethod
    def tearDownClass(cls):
        cls.stop()
        cls.zone.stop()
        cls.receiver.stop()
        shutil.rmtree(cls.folder)

    @classmethod
    def start(cls):
        log = cls.folder / "server.log"
        before = log.stat().st_size if log.exists() else 0
        cls.log = open(log, "ab")
        cls.process = subprocess.Popen([str(BINARY), "--config", str(cls.config), "serve"], stderr=cls.log)
        deadline = time.monotonic() + 30
        while b"runtime.serving" not in log.read_bytes()[before:]:
            assert cls.process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.03)

    @classmethod
    def stop(cls, how=signal.SIGTERM):
        cls.process.send_signal(how)
        status = cls.process.wait(30)
        cls.log.close()
        text = (cls.folder / "server.log").read_text(errors="replace")
        assert (status == 0 or how != signal.SIGTERM) and "panic" not in text, text[-4000:]

    @classmethod
    def angarium(cls, *arguments, fails=0):
        done = subprocess.run([str(BINARY), "--json", "--config", str(cls.config), *arguments], capture_output=True, text=True,
                              timeout=60, check=False)
        assert fails in (done.returncode, None), (arguments, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None

    def setUp(self):
        self.receiver.behave()

    def arrive(self, message, sender="x@elsewhere.example", to=ANN, source=ELSEWHERE, fails=None):
        """A message from another server; the codes of its refusal, if it is to be one."""
        with smtplib.SMTP("127.0.0.1", self.ports["smtp"]) as client:
            client.ehlo("gateway.example")
            self.assertEqual(client.docmd("XCLIENT", f"ADDR={source} HELO=mx.elsewhere.example")[0], 220)
            client.ehlo("mx.elsewhere.example")
            try:
                client.sendmail(sender, [to], message)
            except smtplib.SMTPDataError as error:
                self.assertEqual(error.smtp_code, fails, error)
                return
            self.assertIsNone(fails)

    def forge(self, domain, fails=None, sender="x@elsewhere.example"):
        self.arrive(f"From: boss@{domain}\r\nSubject: pay\r\nMessage-ID: <f@{domain}>\r\n\r\nA secret.\r\n", sender=sender, fails=fails)

    def inbox(self, who):
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        client.login(who, PASSWORD)
        try:
            client.select("INBOX")
            _, data = client.fetch("1:*", "(BODY.PEEK[])")
            return [part[1] for part in data if isinstance(part, tuple)]
        finally:
            client.logout()

    def report_in(self, content):
        message = email.message_from_bytes(content)
        [part] = [part for part in message.walk() if part.get_content_type() == "application/gzip"]
        text = gzip.decompress(part.get_payload(decode=True)).decode()
        return message, part.get_filename(), xml.etree.ElementTree.fromstring(text.replace(' xmlns="urn:ietf:params:xml:ns:dmarc-2.0"', ""))

    def verified(self, content):
        texts = {line.split(None, 3)[0]: "".join(line.split('"')[1::2]).encode() for line in self.zone.lines if '"' in line}
        look = lambda name, timeout=5: texts.get(name.decode() if isinstance(name, bytes) else name)  # noqa: E731
        return dkim.DKIM(content).verify(dnsfunc=look)

    def sent_to(self, address, timeout_s=10):
        means = lambda message: any(address in line for line in message.rcpts)  # noqa: E731
        return self.receiver.wait(1, timeout_s, means)


class Sending(Rig):
    def test_a_domain_is_told_about_mail_with_its_from(self):
        for _ in range(3):
            self.forge("forged.example", fails=550)
        # What is counted is in the store when the server has ended.
        self.stop()
        self.start()
        self.forge("forged.example", fails=550)
        self.arrive("From: a@good.example\r\nSubject: hello\r\n\r\nx\r\n", sender="a@good.example")
        sent = self.angarium("reports", "send")
        self.assertEqual((sent["dmarc"], sent["waiting"]), (2, 0))
        [mail] = self.sent_to("rua@forged.example")
        self.assertIn(f"<{ANN}>", mail.mail)
        message, name, report = self.report_in(mail.content)
        self.assertTrue(self.verified(mail.content))
        begin, end = (int(report.findtext(f"report_metadata/date_range/{which}")) for which in ("begin", "end"))
        self.assertEqual(begin % 86_400, 0)
        self.assertLess(abs(end - time.time()), 30)
        subject = " ".join(message["Subject"].split())
        report_id = report.findtext("report_metadata/report_id")
        self.assertEqual(subject, f"Report Domain: forged.example Submitter: {HOST} Report-ID: <{report_id}>")
        self.assertTrue(name.startswith(f"{HOST}!forged.example!{begin}!{end}!") and name.endswith(".xml.gz"), name)
        self.assertEqual(report.findtext("report_metadata/org_name"), "Example Org")
        self.assertEqual(report.findtext("policy_published/p"), "reject")
        [record] = report.findall("record")
        self.assertEqual((record.findtext("row/source_ip"), record.findtext("row/count")), (ELSEWHERE, "4"))
        self.assertEqual(record.findtext("row/policy_evaluated/disposition"), "reject")
        self.assertEqual(record.findtext("identifiers/header_from"), "forged.example")
        # RFC 9990 §4: who lives elsewhere has to want it.
        self.sent_to("all@watch.example")
        [mail] = self.sent_to("rua@good.example")
        [record] = self.report_in(mail.content)[2].findall("record")
        self.assertEqual((record.findtext("row/policy_evaluated/spf"), record.findtext("row/policy_evaluated/disposition")), ("pass", "pass"))
        self.assertFalse(any("no@victim.example" in line for message in self.receiver.messages for line in message.rcpts))
        # What was told is not told again.
        self.assertEqual(self.angarium("reports", "send"), {"dmarc": 0, "tls": 0, "waiting": 0})
        self.forge("forged.example", fails=550)
        self.receiver.behave()
        self.angarium("reports", "send")
        [mail] = self.sent_to("rua@forged.example")
        report = self.report_in(mail.content)[2]
        self.assertEqual(report.findtext("record/row/count"), "1")
        self.assertEqual(int(report.findtext("report_metadata/date_range/begin")), end)

    def test_a_report_is_as_small_as_its_address_takes_it(self):
        for number in range(20):
            self.arrive("From: a@small.example\r\n\r\nx\r\n", sender=f"x@h{number * 7919}.elsewhere.example", source=f"192.0.2.{number + 1}")
        self.angarium("reports", "send")
        [mail] = self.sent_to("rua@small.example")
        # The signature in front comes after the report was made to fit.
        self.assertLessEqual(len(mail.content[mail.content.index(b"From: "):]), LIMIT)
        report = self.report_in(mail.content)[2]
        self.assertIn(len(report.findall("record")), (5, 10))
        self.assertRegex(report.findtext("report_metadata/error"), "^(10|15) messages are left out")
        # Where not even one row fits, nothing goes.
        self.arrive("From: a@tiny.example\r\n\r\nx\r\n")
        self.angarium("reports", "send")
        self.assertIn("reports.too_large", (self.folder / "server.log").read_text())

    def test_mail_that_cannot_be_sent_yet_is_told_of_later(self):
        self.zone.lines = [line for line in self.zone.lines if not line.startswith("forged.example._report")]
        try:
            self.forge("forged.example", fails=550)
            self.receiver.behave(mail=lambda _: "451 4.3.0 later")
            self.assertEqual(self.angarium("reports", "send")["dmarc"], 1)
            self.assertTrue(self.angarium("queue", "list"))
        finally:
            self.zone.lines = list(dict.fromkeys([*ZONE, *self.zone.lines]))
            self.receiver.behave()
            self.angarium("queue", "retry", "--all")
            self.sent_to("rua@forged.example")

    def test_who_has_a_report_does_not_get_it_again_for_others(self):
        consent = "both.example._report._dmarc.late.example."
        self.zone.lines += ['_dmarc.both.example. IN TXT "v=DMARC1; p=none; rua=mailto:rua@both.example,mailto:all@late.example"',
                            'both.example. IN TXT "v=spf1 -all"']
        self.zone.unknown.add(consent)
        told = lambda to: [self.report_in(mail.content)[2] for mail in self.receiver.messages if any(to in line for line in mail.rcpts)]  # noqa: E731
        for _ in range(2):
            self.forge("both.example")
        self.assertEqual(self.angarium("reports", "send"), {"dmarc": 0, "tls": 0, "waiting": 1})
        self.sent_to("rua@both.example")
        # Who has it is known after a restart; what is counted since is for another report.
        self.stop()
        self.start()
        self.forge("both.example")
        self.assertEqual(self.angarium("reports", "send")["waiting"], 1)
        self.zone.unknown.clear()
        self.zone.lines.append(f'{consent} IN TXT "v=DMARC1"')
        # A restart forgets that nobody knew.
        self.stop()
        self.start()
        self.assertEqual(self.angarium("reports", "send"), {"dmarc": 1, "tls": 0, "waiting": 0})
        self.receiver.wait(2, 10, lambda message: any("all@late.example" in line for line in message.rcpts))
        self.receiver.wait(2, 10, lambda message: any("rua@both.example" in line for line in message.rcpts))
        time.sleep(0.3)
        said = {}
        for to in ("rua@both.example", "all@late.example"):
            said[to] = sorted((report.findtext("report_metadata/report_id"), report.findtext("report_metadata/date_range/begin"),
                               report.findtext("report_metadata/date_range/end"), report.findtext("record/row/count")) for report in told(to))
            [first, second] = said[to]
            self.assertEqual((first[3], second[3], first[2]), ("2", "1", second[1]))
        self.assertEqual(*said.values())

    def test_what_is_put_off_counts_when_it_comes_again(self):
        full = "full@example.org"
        self.angarium("account", "add", full, "--password", PASSWORD, "--quota", "300")
        message = "From: a@good.example\r\nSubject: long\r\n\r\n" + "x" * 60 + "\r\n" * 400

        def arrive():
            # Without a word about its size, so that it is the content that does not fit.
            with smtplib.SMTP("127.0.0.1", self.ports["smtp"]) as client:
                client.ehlo("gateway.example")
                client.docmd("XCLIENT", f"ADDR={ELSEWHERE} HELO=mx.elsewhere.example")
                client.ehlo("mx.elsewhere.example")
                client.docmd("MAIL", "FROM:<a@good.example>")
                self.assertEqual(client.docmd("RCPT", f"TO:<{full}>")[0], 250)
                return client.data(message)[0]

        self.assertEqual([arrive() for _ in range(3)], [452] * 3)
        self.assertEqual(self.angarium("reports", "send")["dmarc"], 0)
        self.angarium("account", "set", full, "--quota", "0")
        self.assertEqual(arrive(), 250)
        self.assertEqual(self.angarium("reports", "send")["dmarc"], 1)
        [mail] = self.sent_to("rua@good.example")
        self.assertEqual(self.report_in(mail.content)[2].findtext("record/row/count"), "1")

    def test_reports_are_no_mail_that_is_reported(self):
        self.arrive(attached("Report Domain: x Submitter: forged.example Report-ID: <1>", "application/gzip", b"x").replace(
            "r@big.example", "r@forged.example"), to=ANN, fails=550)
        self.assertEqual(self.angarium("reports", "send")["dmarc"], 0)


class Failures(Rig):
    EXTRA = 'failure = "header"\nfailures_per_hour_max = 2\ndmarc = false\n'

    def test_a_few_headers_an_hour_go_to_whoever_asks_for_them(self):
        self.forge("forged.example", fails=550, sender="")
        for _ in range(6):
            self.forge("forged.example", fails=550)
        found = self.receiver.wait(2, 10, lambda message: any("ruf@forged.example" in line for line in message.rcpts))
        time.sleep(0.5)
        found = self.receiver.wait(2, 10, lambda message: any("ruf@forged.example" in line for line in message.rcpts))
        # Each of two shards may send two.
        self.assertIn(len(found), (2, 3, 4))
        message = email.message_from_bytes(found[0].content)
        self.assertEqual(message.get_content_type(), "multipart/report")
        self.assertNotIn(b"A secret", found[0].content)
        self.assertIn(b"Feedback-Type: auth-failure", found[0].content)
        self.assertIn(b"<f@forged.example>", found[0].content)
        self.assertEqual(self.angarium("reports", "send")["dmarc"], 0, "dmarc = false")


class Tls(Rig):
    @classmethod
    def setUpClass(cls):
        cls.receiver = Receiver()
        cls.OUTBOUND = f"port = {cls.receiver.port}"
        super().setUpClass()
        cls.zone.lines += ["far.example. IN MX 10 mx.far.example.", "mx.far.example. IN A 127.0.0.1",
                           '_smtp._tls.far.example. IN TXT "v=TLSRPTv1; rua=mailto:tls@far.example"']

    def test_counts_of_connections_survive_the_server_and_are_told_once(self):
        with smtplib.SMTP("127.0.0.1", self.ports["submission"]) as client:
            client.login(ANN, PASSWORD)
            client.sendmail(ANN, ["bob@far.example"], f"From: {ANN}\r\nSubject: hello\r\n\r\nx\r\n")
        self.sent_to("bob@far.example")
        self.stop()
        self.start()
        [counted] = self.angarium("queue", "tls")
        self.assertEqual(counted["policies"][0]["policy"]["policy-domain"], "far.example")
        self.assertEqual(self.angarium("reports", "send"), {"dmarc": 0, "tls": 1, "waiting": 0})
        [mail] = self.sent_to("tls@far.example")
        self.assertTrue(self.verified(mail.content))
        message = email.message_from_bytes(mail.content)
        [part] = [part for part in message.walk() if part.get_content_type() == "application/tlsrpt+json"]
        report = json.loads(part.get_payload(decode=True))
        self.assertEqual(report["organization-name"], "Example Org")
        [policy] = report["policies"]
        self.assertEqual(policy["summary"], {"total-successful-session-count": 0, "total-failure-session-count": 1})
        self.assertEqual(policy["failure-details"][0]["result-type"], "starttls-not-supported")
        # The report's own connection is not counted.
        self.assertEqual(self.angarium("reports", "send")["tls"], 0)
        self.arrive(mail.content, to=REPORTS)
        [listed] = self.angarium("reports", "list", "--kind", "tls")
        self.assertEqual((listed["domain"], listed["total"], listed["failed"]), ("far.example", 1, 1))


class Receiving(Rig):
    def test_reports_of_others_are_kept_shown_and_added_up(self):
        now, before = int(time.time()), len(self.inbox(REPORTS))
        google = GOOGLE.format(begin=now - 90_000, end=now - 3600, count=5)
        self.arrive(attached("Report domain: example.org", "application/zip", zipped(google), "a.zip"), to=REPORTS)
        microsoft = MICROSOFT.format(begin=now - 90_000, end=now - 3600)
        self.arrive(attached("Report Domain: example.org", "application/gzip", gzip.compress(microsoft.encode())), to=REPORTS)
        self.arrive(attached("Report Domain: example.org", "application/tlsrpt+gzip", gzip.compress(json.dumps(TLS).encode()), "a.json.gz"),
                    to=REPORTS)
        # The same again, corrected: it takes the first one's place.
        google = GOOGLE.format(begin=now - 90_000, end=now - 3600, count=6)
        self.arrive(attached("Report domain: example.org", "application/zip", zipped(google), "a.zip"), to=REPORTS)
        self.assertEqual(len(self.inbox(REPORTS)) - before, 4, "mail with reports is delivered too")
        self.arrive(f"From: r@big.example\r\nTo: {REPORTS}\r\nSubject: no report\r\n\r\nx\r\n", to=REPORTS)
        self.assertEqual(len(self.inbox(REPORTS)) - before, 5, "what is no report is ordinary mail")
        bomb = attached("Report Domain: example.org", "application/gzip", gzip.compress(bytes(40 << 20)))
        self.arrive(bomb, to=REPORTS)
        # What was acknowledged is there after the worst.
        self.stop(signal.SIGKILL)
        self.start()
        listed = self.angarium("reports", "list", "--domain", "example.org")
        self.assertEqual(sorted((report["kind"], report["reporter"], report["total"], report["failed"]) for report in listed),
                         [("dmarc", "Outlook.example", 2, 2), ("dmarc", "big.example", 6, 0), ("tls", "Big Inc.", 42, 2)])
        self.assertFalse(any(report["authenticated"] for report in listed))
        self.assertEqual(len(self.angarium("reports", "list", "--kind", "tls")), 1)
        self.assertEqual(len(self.angarium("reports", "list", "--domain", "Example.ORG", "--since", "2h")), 2)
        self.assertEqual(self.angarium("reports", "list", "--domain", "example.net"), [])
        [big] = [report["id"] for report in listed if report["reporter"] == "big.example"]
        shown = self.angarium("reports", "show", str(big))
        self.assertEqual((shown["policy"], shown["rows"][0]["source"], shown["rows"][0]["count"]), ("none", "192.0.2.7", 6))
        self.angarium("reports", "show", "4711", fails=67)
        summary = self.angarium("reports", "summary", "--domain", "example.org")
        self.assertEqual(summary["reports"], 3)
        sources = {source["source"]: source for source in summary["sources"]}
        self.assertEqual((sources["192.0.2.7"]["aligned_dkim"], sources["192.0.2.7"]["aligned_spf"]), (6, 0))
        self.assertEqual((sources["2001:db8::5"]["failed"], sources["2001:db8::5"]["quarantined"]), (2, 2))
        self.assertEqual((summary["sessions_ok"], summary["sessions_failed"]), (40, 2))
        self.assertEqual(summary["failures"], [{"reason": "certificate-expired", "sessions": 2}])
        for words in (["list"], ["show", str(big)], ["summary", "--domain", "example.org"]):
            done = subprocess.run([str(BINARY), "--config", str(self.config), "reports", *words], capture_output=True, text=True,
                                  timeout=60, check=True)
            self.assertIn("big.example", done.stdout)

    def test_what_another_server_sends_is_taken(self):
        """Our own report, as it goes out, comes in again."""
        self.forge("forged.example", fails=550)
        self.angarium("reports", "send")
        [mail] = self.sent_to("rua@forged.example")
        self.arrive(mail.content, sender="", to=REPORTS)
        listed = self.angarium("reports", "list", "--domain", "forged.example")
        self.assertEqual([(report["reporter"], report["total"], report["failed"]) for report in listed], [("Example Org", 1, 1)])

    def test_nobody_takes_the_place_of_a_report_that_is_proven(self):
        now = int(time.time())
        reported = lambda count: attached("Report domain: example.org", "application/gzip", gzip.compress(  # noqa: E731
            GOOGLE.format(begin=now - 90_000, end=now - 3600, count=count).replace("example.org", "proven.example").encode()))
        of = lambda content, domain: content.replace("r@big.example", f"r@{domain}")  # noqa: E731
        self.arrive(of(reported(5), "good.example"), sender="r@good.example", to=REPORTS)
        # Who knows its name, with nothing proven, and with something else proven.
        self.zone.lines += ['evil.example. IN TXT "v=spf1 ip4:192.0.2.0/24 -all"', '_dmarc.evil.example. IN TXT "v=DMARC1; p=reject"']
        self.arrive(reported(6), to=REPORTS)
        self.arrive(of(reported(7), "evil.example"), sender="r@evil.example", to=REPORTS)
        self.arrive(of(reported(8), "good.example"), sender="r@good.example", to=REPORTS)
        listed = self.angarium("reports", "list", "--domain", "proven.example")
        self.assertEqual(sorted((report["proven"] or "", report["authenticated"], report["total"]) for report in listed),
                         [("", False, 6), ("evil.example", True, 7), ("good.example", True, 8)])

    def test_the_records_to_publish_name_the_address_that_reads_reports(self):
        records = [line for item in self.angarium("domain", "dns", "example.org") for line in item["records"]]
        self.assertIn(f'_dmarc.example.org. IN TXT "v=DMARC1; p=none; rua=mailto:{REPORTS}"', records)
        self.assertIn(f'_smtp._tls.example.org. IN TXT "v=TLSRPTv1; rua=mailto:{REPORTS}"', records)


class Complaints(Rig):
    def test_a_complaint_finds_the_message_that_it_is_about(self):
        with smtplib.SMTP("127.0.0.1", self.ports["submission"]) as client:
            client.login(ANN, PASSWORD)
            client.sendmail(ANN, ["bob@far.example"], f"From: {ANN}\r\nMessage-ID: <offer@example.org>\r\nSubject: offer\r\n\r\nBuy.\r\n")
        [mail] = self.sent_to("bob@far.example")
        complaint = ("From: fbl@far.example\r\nMIME-Version: 1.0\r\nMessage-ID: <c1@far.example>\r\nContent-Type: multipart/report; "
                     "report-type=feedback-report; boundary=\"p\"\r\n\r\n--p\r\nContent-Type: text/plain\r\n\r\nA complaint.\r\n--p\r\n"
                     "Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: FBL/1\r\nVersion: 1\r\n"
                     f"Reporting-MTA: dns; mx.far.example\r\nOriginal-Rcpt-To: bob@far.example\r\n\r\n--p\r\nContent-Type: message/rfc822\r\n\r\n"
                     f"{mail.content.decode()}\r\n--p--\r\n")
        self.arrive(complaint, sender="fbl@far.example", to=REPORTS)
        [listed] = self.angarium("reports", "list", "--kind", "feedback")
        shown = self.angarium("reports", "show", str(listed["id"]))
        self.assertEqual((shown["feedback"], shown["account"], shown["domain"]), ("abuse", ANN, "example.org"))
        [story] = self.angarium("trace", "<offer@example.org>")
        self.assertEqual(shown["message"], story["id"])
        self.assertIn({"abuse": {"example.org": {ANN: 1}}}, self.counted("angarium_complaints_total"))

    def counted(self, name):
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.folder / "store" / "control.sock"))
            ask = b'{"verb":"metrics"}'
            control.sendall(len(ask).to_bytes(4, "big") + bytes(4) + ask)
            file = control.makefile("rb")
            length = int.from_bytes(file.read(8)[:4], "big")
            answer = json.loads(file.read(length))["answer"]
        return [shard["metrics"].get(name) for shard in answer["shards"]]


class NotKept(Rig):
    EXTRA = "keep = false\n"

    def test_mail_with_a_report_is_only_read(self):
        now = int(time.time())
        google = GOOGLE.format(begin=now - 90_000, end=now - 3600, count=5)
        self.arrive(attached("Report domain: example.org", "application/zip", zipped(google), "a.zip"), to=REPORTS)
        self.arrive(f"From: r@big.example\r\nTo: {REPORTS}\r\nSubject: no report\r\n\r\nx\r\n", to=REPORTS)
        self.assertEqual(len(self.angarium("reports", "list")), 1)
        [message] = self.inbox(REPORTS)
        self.assertIn(b"no report", message)


if __name__ == "__main__":
    unittest.main()
