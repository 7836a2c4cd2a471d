"""A draft that is sent from where it lies: URLAUTH in IMAP, BURL in submission, over TLS."""

import base64
import datetime
import email
import imaplib
import pathlib
import re
import shutil
import socket
import ssl
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from receiver import Receiver  # noqa: E402
from server import Server  # noqa: E402

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE

for name in ("RESETKEY", "GENURLAUTH", "URLFETCH"):
    imaplib.Commands[name] = ("AUTH", "SELECTED")

DRAFT = (b"From: Ann <ann@demo.example.org>\r\nTo: Bob <bob@demo.example.org>\r\nSubject: %s\r\n"
         b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <%s@demo.example.org>\r\nMIME-Version: 1.0\r\n"
         b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
         b".dot\r\n.\r\n..\r\nGr\xc3\xbc\xc3\x9fe\r\n" + b"x" * 900 + b"\r\nthe end\r\n")


class Imap(imaplib.IMAP4_SSL):
    """A session that knows what RFC 4467 adds."""

    def __init__(self, server, index):
        super().__init__("127.0.0.1", server.port("imaps"), ssl_context=UNVERIFIED, timeout=30)
        self.address, password = server.account(index)
        self.login(self.address, password)

    def draft(self, content, mailbox="Drafts"):
        """Its UID."""
        status, [said] = self.append(mailbox, r"(\Draft \Seen)", None, content)
        assert status == "OK", said
        return int(re.search(rb"APPENDUID \d+ (\d+)", said).group(1))

    def url(self, uid, grant, mailbox="Drafts", more=""):
        """With its proof."""
        user = self.address.replace("@", "%40")
        rump = f"imap://{user}@localhost/{mailbox}/;UID={uid}{more}{grant}"
        status, said = self._simple_command("GENURLAUTH", f'"{rump}"', "INTERNAL")
        assert status == "OK", said
        _, [answer] = self._untagged_response(status, said, "GENURLAUTH")
        url = answer.decode().strip('"')
        assert url.startswith(rump + ":INTERNAL:"), url
        return url

    def reset(self, *mailbox):
        status, [said] = self._simple_command("RESETKEY", *mailbox)
        assert status == "OK", said
        return said

    def fetch_url(self, url):
        """The bytes, or None."""
        status, said = self._simple_command("URLFETCH", f'"{url}"')
        assert status == "OK", said
        _, [answer, *_] = self._untagged_response(status, said, "URLFETCH")
        if isinstance(answer, tuple):
            return answer[1]
        assert answer.endswith(b" NIL"), answer
        return None


class Submission:
    """A raw submission session, byte for byte."""

    def __init__(self, server, index):
        plain = socket.create_connection(("127.0.0.1", server.port("submissions")), timeout=30)
        self.socket = UNVERIFIED.wrap_socket(plain, server_hostname="localhost")
        self.file = self.socket.makefile("rb")
        self.reply()
        self.before = self.ask("EHLO client.example.net")
        address, password = server.account(index)
        self.address = address
        token = base64.b64encode(f"\0{address}\0{password}".encode()).decode()
        said = self.ask(f"AUTH PLAIN {token}")
        assert said[-1].startswith("235"), said
        self.after = self.ask("EHLO client.example.net")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def reply(self):
        lines = [self.file.readline().decode().rstrip("\r\n")]
        while lines[-1][3:4] == "-":
            lines.append(self.file.readline().decode().rstrip("\r\n"))
        return lines

    def ask(self, line):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def begin(self, *recipients):
        for line in [f"MAIL FROM:<{self.address}> BODY=8BITMIME", *[f"RCPT TO:<{to}>" for to in recipients]]:
            said = self.ask(line)
            assert said[-1].startswith("250"), said

    def burl(self, url, last=True):
        return self.ask(f"BURL {url}{' LAST' if last else ''}")[-1]


class Burl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.receiver = Receiver()
        cls.server = Server(smarthost=cls.receiver.place).start()

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        cls.receiver.stop()
        assert status == 0, cls.server.log_text()
        text = (cls.server.folder / "server.log").read_text(errors="replace")
        assert "panic" not in text, text[-4000:]
        shutil.rmtree(cls.server.folder)

    def setUp(self):
        self.receiver.behave()
        self.ann = Imap(self.server, 0)

    def tearDown(self):
        self.ann.logout()

    def arrived(self, index, subject, timeout_s=10):
        """The message of that subject in somebody's INBOX."""
        deadline = time.monotonic() + timeout_s
        reader = Imap(self.server, index)
        try:
            while True:
                reader.select("INBOX", readonly=True)
                _, [found] = reader.search(None, "HEADER", "Subject", subject)
                if found.split():
                    _, data = reader.fetch(found.split()[-1], "(BODY.PEEK[])")
                    return data[0][1]
                self.assertLess(time.monotonic(), deadline, subject)
                time.sleep(0.03)
        finally:
            reader.logout()

    def draft(self, subject):
        content = DRAFT % (subject.encode(), subject.encode())
        return content, self.ann.draft(content)

    def test_what_is_offered(self):
        self.assertIn("URLAUTH", self.ann.capability()[1][0].decode().split())
        self.assertEqual(self.ann.select("Drafts")[0], "OK")
        self.assertIn(b"INTERNAL", self.ann.untagged_responses["URLMECH"])
        with Submission(self.server, 0) as submission:
            self.assertIn("250-BURL", submission.before)
            self.assertIn("250-BURL imap imap://localhost", submission.after)

    def test_a_draft_goes_to_somebody_here_and_to_somebody_elsewhere_byte_for_byte(self):
        content, uid = self.draft("both-ways")
        url = self.ann.url(uid, ";URLAUTH=submit+ann%40demo.example.org")
        with Submission(self.server, 0) as submission:
            submission.begin("bob@demo.example.org", "friend@far.example")
            said = submission.burl(url)
            self.assertTrue(said.startswith("250 2.0.0 stored as "), said)
        here = self.arrived(1, "both-ways")
        self.assertTrue(here.endswith(content), here)
        head = here[:-len(content)]
        self.assertRegex(head, rb"\AReturn-Path: <ann@demo\.example\.org>\r\nReceived: from client\.example\.net [^\0]* with ESMTPSA ")
        elsewhere = self.receiver.wait()[0]
        self.assertTrue(elsewhere.content.endswith(content), elsewhere.content)
        self.assertEqual(re.findall(rb"^[\w-]+:", elsewhere.content[:-len(content)], re.MULTILINE), [b"Received:"])
        self.assertIn("<friend@far.example>", elsewhere.rcpts[0])

    def test_the_users_own_messages_need_no_proof(self):
        content, uid = self.draft("own-message")
        with Submission(self.server, 0) as submission:
            submission.begin("bob@demo.example.org")
            said = submission.burl(f"imap://localhost/Drafts/;UID={uid}")
            self.assertTrue(said.startswith("250 2.0.0 stored as "), said)
            # Bob's are his.
            bob = Imap(self.server, 1)
            other = bob.draft(content)
            bob.logout()
            submission.begin("bob@demo.example.org")
            said = submission.burl(f"imap://bob%40demo.example.org@localhost/Drafts/;UID={other}")
            self.assertEqual(said, "554 5.7.0 the URL gives you no access")
        self.assertTrue(self.arrived(1, "own-message").endswith(content))

    def test_a_message_is_put_together_of_chunks_and_parts(self):
        content, uid = self.draft("first-part")
        head = (b"From: ann@demo.example.org\r\nTo: bob@demo.example.org\r\nSubject: put-together\r\nDate: Thu, 1 Jan 2026 12:00:00 +0000\r\n"
                b"Message-ID: <put@demo.example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
                b"--b\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n")
        tail = b"\r\n--b--\r\n"
        with Submission(self.server, 0) as submission:
            submission.begin("bob@demo.example.org")
            # In one round trip (RFC 4468 §3.2).
            url = self.ann.url(uid, ";URLAUTH=submit+ann")
            submission.socket.sendall(b"BDAT %d\r\n" % len(head) + head + f"BURL {url}\r\n".encode()
                                      + b"BDAT %d LAST\r\n" % len(tail) + tail)
            said = [submission.reply()[-1] for _ in range(3)]
        self.assertEqual([line[:3] for line in said], ["250"] * 3, said)
        self.assertEqual(said[1], f"250 2.0.0 {len(content)} octets received")
        arrived = self.arrived(1, "put-together")
        self.assertTrue(arrived.endswith(head + content + tail), arrived)
        inner = email.message_from_bytes(arrived).get_payload()[1].get_payload()[0]
        self.assertEqual(inner["Subject"], "first-part")

    def test_an_attachment_is_forwarded_without_being_seen(self):
        """RFC 4469: the draft too is made where the attachment lies."""
        data = bytes(range(256)) * 400
        lines = base64.encodebytes(data).replace(b"\n", b"\r\n")
        source = (b"From: c@demo.example.org\r\nSubject: with a file\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"
                  b"--a\r\nContent-Type: text/plain\r\n\r\nhere\r\n--a\r\nContent-Type: application/octet-stream; name=f\r\n"
                  b"Content-Transfer-Encoding: base64\r\n\r\n" + lines + b"\r\n--a--\r\n")
        uid = self.ann.draft(source, "Archive")
        head = (b"From: ann@demo.example.org\r\nTo: bob@demo.example.org\r\nSubject: forwarded-file\r\nDate: Thu, 1 Jan 2026 12:00:00 +0000\r\n"
                b"Message-ID: <fwd@demo.example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n")
        tail = b"\r\n--b--\r\n"
        self.ann.send(b"c1 APPEND Drafts (\\Draft) CATENATE (TEXT {%d+}\r\n" % len(head) + head
                      + f' URL "/Archive/;UID={uid}/;SECTION=2.MIME" URL "/Archive/;UID={uid}/;SECTION=2"'.encode()
                      + b" TEXT {%d+}\r\n" % len(tail) + tail + b")\r\n")
        said = self.ann.readline()
        draft = int(re.fullmatch(rb"c1 OK \[APPENDUID \d+ (\d+)\] stored\r\n", said).group(1))
        with Submission(self.server, 0) as submission:
            submission.begin("bob@demo.example.org")
            said = submission.burl(self.ann.url(draft, ";URLAUTH=submit+ann"))
            self.assertTrue(said.startswith("250 2.0.0 stored as "), said)
        part = email.message_from_bytes(self.arrived(1, "forwarded-file")).get_payload()[0]
        self.assertEqual((part.get_content_type(), part.get_payload(decode=True)), ("application/octet-stream", data))

    def test_a_url_runs_out(self):
        _, uid = self.draft("run-out")
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=3)
        url = self.ann.url(uid, f";EXPIRE={soon:%Y-%m-%dT%H:%M:%SZ};URLAUTH=submit+ann")
        with Submission(self.server, 0) as submission:
            submission.begin("bob@demo.example.org")
            said = submission.burl(url)
            self.assertTrue(said.startswith("250 "), said)
            while datetime.datetime.now(datetime.timezone.utc) <= soon:
                time.sleep(0.1)
            submission.begin("bob@demo.example.org")
            self.assertEqual(submission.burl(url), "554 5.7.0 the URL gives you no access")

    def test_another_key_takes_a_url_back_for_good(self):
        content, uid = self.draft("taken-back")
        urls = [self.ann.url(uid, grant) for grant in (";URLAUTH=submit+ann", ";URLAUTH=authuser")]
        other = self.ann.url(1, ";URLAUTH=authuser", mailbox="INBOX")
        bob = Imap(self.server, 1)
        self.assertEqual(bob.fetch_url(urls[1]), content)
        self.assertIn(b"URLMECH INTERNAL", self.ann.reset("Drafts"))
        self.assertIsNone(bob.fetch_url(urls[1]))
        self.assertIsNotNone(bob.fetch_url(other))
        with Submission(self.server, 0) as submission:
            submission.begin("bob@demo.example.org")
            self.assertEqual(submission.burl(urls[0]), "554 5.7.0 the URL gives you no access")
        # Neither it nor the new one is undone by a crash.
        again = self.ann.url(uid, ";URLAUTH=authuser")
        self.assertNotEqual(again, urls[1])
        self.crash()
        bob = Imap(self.server, 1)
        self.assertIsNone(bob.fetch_url(urls[1]))
        self.assertEqual(bob.fetch_url(again), content)
        self.ann.reset()
        self.assertIsNone(bob.fetch_url(again))
        self.assertIsNone(bob.fetch_url(other))
        bob.logout()

    def test_what_is_not_for_others_is_not_given(self):
        _, uid = self.draft("not-for-all")
        for_bob = self.ann.url(uid, ";URLAUTH=user+bob%40demo.example.org")
        submit = self.ann.url(uid, ";URLAUTH=submit+ann")
        bob, cleo = Imap(self.server, 1), Imap(self.server, 2)
        self.assertIsNotNone(bob.fetch_url(for_bob))
        for session, url in ((cleo, for_bob), (self.ann, for_bob), (bob, submit), (self.ann, submit),
                             (bob, for_bob[:-1] + ("0" if for_bob[-1] != "0" else "1")),
                             (bob, for_bob.replace(f";UID={uid};", ";UID=1;"))):
            self.assertIsNone(session.fetch_url(url), url)
        with Submission(self.server, 1) as submission:
            submission.begin("cleo@demo.example.org")
            self.assertEqual(submission.burl(submit), "554 5.7.0 the URL gives you no access")
        bob.logout()
        cleo.logout()

    def test_what_is_acknowledged_outlives_a_crash(self):
        content, uid = self.draft("outlives")
        url = self.ann.url(uid, ";URLAUTH=submit+ann")
        self.receiver.behave(stalls=True)
        with Submission(self.server, 0) as submission:
            submission.begin("bob@demo.example.org", "friend@far.example")
            said = submission.burl(url)
            self.assertTrue(said.startswith("250 2.0.0 stored as "), said)
        # The draft itself goes: what was sent is a copy.
        self.ann.select("Drafts")
        self.ann.uid("STORE", str(uid), "+FLAGS", r"(\Deleted)")
        self.ann.expunge()
        self.crash()
        self.receiver.behave()
        self.assertTrue(self.arrived(1, "outlives").endswith(content))
        self.assertTrue(self.receiver.wait(timeout_s=30)[0].content.endswith(content))
        with Submission(self.server, 0) as submission:
            submission.begin("bob@demo.example.org")
            self.assertEqual(submission.burl(url), "554 5.6.6 what the URL means is not there")

    def crash(self):
        """kill -9, and up again."""
        self.server.kill()
        self.server.start()
        self.ann = Imap(self.server, 0)


if __name__ == "__main__":
    unittest.main()
