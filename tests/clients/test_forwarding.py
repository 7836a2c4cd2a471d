"""Mail that aliases and accounts send on to other systems: return paths of ours (SRS) that bounces come back by, seals (ARC) that
dkimpy verifies, copies that are kept, junk that is not sent on, circles."""

import contextlib
import imaplib
import json
import pathlib
import re
import smtplib
import socket
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mailauth"))
from receiver import Receiver  # noqa: E402
from sdists import sdist  # noqa: E402
from served import Served  # noqa: E402
from test_signing import Zone  # noqa: E402

sys.path.insert(0, str(sdist("dkimpy", "1.1.8")))
import dkim  # noqa: E402

HOST = "mail.example.org"
PASSWORD = "a password for tests"
# Mail from here is from elsewhere, and looked at.
STRANGER = "203.0.113.7"


class Forwarding(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.zone, cls.receiver = Zone(), Receiver()
        cls.stack.callback(cls.zone.stop)
        cls.stack.callback(cls.receiver.stop)
        cls.server = Served(f"""
[dns]
servers = ["127.0.0.1:{cls.zone.port}"]
validate = false
[outbound]
smarthost = "{cls.receiver.place}"
[[policy.rule]]
name = "junk by word"
stage = "data"
when = {{ header = "X-Test-Junk" }}
then = "junk"
""", listen='proxy_from = ["127.0.0.2"]', people=("ann@example.org", "bob@example.org"), password=PASSWORD)
        cls.stack.callback(cls.server.close)
        cls.ports, cls.angarium = cls.server.ports, cls.server.angarium
        cls.angarium("domain", "dkim", "add", "example.org", "--selector", "s1", "--active")
        listed = json.loads(cls.angarium("domain", "dkim", "list", "example.org"))
        cls.zone.lines = [f"s1._domainkey.example.org. 60 TXT \"{listed[0]['record']}\"" if len(listed[0]["record"]) < 250 else cls.split(listed[0]["record"])]
        cls.server.start()

    @staticmethod
    def split(record):
        parts = " ".join(f'"{record[at:at + 200]}"' for at in range(0, len(record), 200))
        return f"s1._domainkey.example.org. 60 TXT {parts}"

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.receiver.behave()
        for name in ("ann", "bob"):
            self.angarium("account", "forward", f"{name}@example.org", "--off")
            for mailbox in ("INBOX", "Junk"):
                with self.mailbox(name, mailbox) as client:
                    client.store("1:*", "+FLAGS", r"(\Deleted)")
                    client.expunge()

    @contextlib.contextmanager
    def mailbox(self, name, mailbox="INBOX"):
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        client.login(f"{name}@example.org", PASSWORD)
        client.select(mailbox)
        yield client
        client.logout()

    def count(self, name, mailbox="INBOX"):
        with self.mailbox(name, mailbox) as client:
            return len(client.search(None, "ALL")[1][0].split())

    def send(self, to, sender="cleo@elsewhere.example", extra=""):
        """As a stranger, by way of the balancer."""
        with socket.create_connection(("127.0.0.1", self.ports["smtp"]), timeout=30, source_address=("127.0.0.2", 0)) as sock:
            file = sock.makefile("rb")
            sock.sendall(f"PROXY TCP4 {STRANGER} 127.0.0.1 4711 25\r\n".encode())
            replies = [file.readline()]
            for line in ("HELO elsewhere.example", f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", "DATA",
                         f"From: {sender or 'mailer@elsewhere.example'}\r\nSubject: x\r\n{extra}\r\nx\r\n."):
                sock.sendall(line.encode() + b"\r\n")
                replies.append(file.readline().decode())
                if not replies[-1].startswith(("2", "3")):
                    break
            return replies[-1].strip()

    def sent_on(self, count=1):
        self.receiver.wait(count)
        return [(re.search("<(.*?)>", message.mail)[1], [re.search("<(.*?)>", rcpt)[1] for rcpt in message.rcpts], message)
                for message in self.receiver.messages]

    def test_an_alias_leads_elsewhere_and_here(self):
        self.angarium("alias", "set", "team@example.org", "bob@example.org", "list@far.example", "other@far.example")
        self.assertTrue(self.send("team@example.org").startswith("250"))
        [(sender, to, message)] = self.sent_on()
        self.assertEqual(sorted(to), ["list@far.example", "other@far.example"])
        self.assertRegex(sender, r"^SRS0=....=..=elsewhere\.example=cleo@mail\.example\.org$")
        self.assertIn("ORCPT=rfc822;team@example.org", message.rcpts[0])
        self.assertEqual(self.count("bob"), 1)

    def test_bounces_come_back_and_forged_ones_do_not(self):
        self.angarium("alias", "set", "away@example.org", "cleo@far.example")
        self.send("away@example.org", "dora@elsewhere.example")
        [(sender, _, _)] = self.sent_on()
        self.receiver.behave()
        self.assertTrue(self.send(sender, "").startswith("250"))
        [(back, to, _)] = self.sent_on()
        self.assertEqual((back, to), ("", ["dora@elsewhere.example"]))
        # Nothing else does: whoever knows the address could send to her through us.
        self.assertTrue(self.send(sender, "eve@elsewhere.example").startswith("550 5.7.1 this address is for bounces"))
        self.assertTrue(self.send(sender, "", extra="X-Test-Junk: yes\r\n").startswith("550 5.7.1"))
        self.assertEqual(len(self.receiver.messages), 1)
        forged = sender.replace("dora", "eve")
        self.assertTrue(self.send(forged, "").startswith("550"), self.send(forged, ""))
        # What the receiver refuses comes back the same way.
        self.receiver.behave(rcpt=lambda line: "550 5.1.1 no" if "cleo@far" in line else None)
        self.send("away@example.org", "dora@elsewhere.example")
        [(back, to, message)] = self.sent_on()
        self.assertEqual((back, to), ("", ["dora@elsewhere.example"]))
        self.assertIn(b"550 5.1.1 no", message.content)

    def test_an_account_sends_on_and_keeps_a_copy_or_not(self):
        self.angarium("account", "forward", "ann@example.org", "--to", "ann@far.example")
        self.send("ann+x@example.org")
        self.sent_on()
        self.assertEqual(self.count("ann"), 0)
        self.angarium("account", "forward", "ann@example.org", "--to", "ann@far.example", "--keep-copy")
        self.send("ann@example.org")
        self.sent_on(2)
        self.assertEqual(self.count("ann"), 1)
        self.assertEqual(json.loads(self.angarium("account", "show", "ann@example.org"))["forward"],
                         {"to": "ann@far.example", "keeps_copy": True})
        # Her own address is still hers to send from, and her own mail is not rewritten.
        with smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=30) as client:
            client.login("ann@example.org", PASSWORD)
            client.sendmail("ann@example.org", ["ann@example.org"], "From: ann@example.org\r\n\r\nx\r\n")
        self.assertEqual(self.sent_on(3)[2][0], "ann@example.org")

    def test_junk_stays_here(self):
        self.angarium("account", "forward", "ann@example.org", "--to", "ann@far.example")
        self.assertTrue(self.send("ann@example.org", extra="X-Test-Junk: yes\r\n").startswith("250"))
        self.assertEqual(self.count("ann", "Junk"), 1)
        self.send("ann@example.org")
        self.sent_on()
        self.assertEqual(len(self.receiver.messages), 1)

    def test_circles_and_what_is_not_there_are_refused(self):
        self.angarium("account", "forward", "ann@example.org", "--to", "bob@example.org")
        self.angarium("account", "forward", "bob@example.org", "--to", "ann@example.org", status=65)
        self.angarium("account", "forward", "bob@example.org", "--to", "nobody@example.org", status=67)
        self.send("ann@example.org")
        self.assertEqual((self.count("ann"), self.count("bob")), (0, 1))

    def test_what_is_sent_on_is_sealed(self):
        self.angarium("alias", "set", "sealed@example.org", "cleo@far.example")
        self.send("sealed@example.org")
        [(_, _, message)] = self.sent_on()
        self.assertTrue(message.content.startswith(b"ARC-Seal: i=1;"), message.content[:200])

        def look_up(name, timeout=5):
            lines = [line for line in self.zone.lines if line.startswith(name.decode())]
            return b"".join(part.encode() for part in re.findall('"(.*?)"', lines[0])) if lines else None

        result, _, reason = dkim.arc_verify(message.content, dnsfunc=look_up)
        self.assertEqual(result, dkim.CV_Pass, reason)
        # Sent on a second time, the chain goes on.
        self.receiver.behave()
        extra = message.content.split(b"\r\n\r\n")[0].decode() + "\r\n"
        with socket.create_connection(("127.0.0.1", self.ports["smtp"]), timeout=30, source_address=("127.0.0.2", 0)) as sock:
            file = sock.makefile("rb")
            sock.sendall(f"PROXY TCP4 {STRANGER} 127.0.0.1 4711 25\r\n".encode())
            file.readline()
            for line in ("HELO x.example", "MAIL FROM:<cleo@elsewhere.example>", "RCPT TO:<sealed@example.org>", "DATA", extra + "\r\nx\r\n."):
                sock.sendall(line.encode() + b"\r\n")
                file.readline()
        [(_, _, message)] = self.sent_on()
        self.assertTrue(message.content.startswith(b"ARC-Seal: i=2;"), message.content[:200])
        result, _, reason = dkim.arc_verify(message.content, dnsfunc=look_up)
        self.assertEqual(result, dkim.CV_Pass, reason)


if __name__ == "__main__":
    unittest.main(verbosity=2)
