"""Mail for others: into the queue, out to another mail system that does as it likes, and back to the sender when it fails."""

import contextlib
import email
import email.policy
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
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from receiver import EXTENSIONS, Receiver, certificate  # noqa: E402
from server import BINARY, Server  # noqa: E402

ANN = "ann@demo.example.org"
BOB = "bob@demo.example.org"


class Talk:
    """An SMTP connection that sends what it is told to, byte for byte."""

    def __init__(self, port, hello="EHLO client.example.net"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")
        self.reply()
        self.ask(hello)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def reply(self):
        line = self.file.readline()
        while line[3:4] == b"-":
            line = self.file.readline()
        return line.decode().strip()

    def ask(self, line):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def send(self, sender, recipients, content, mail="", rcpt=""):
        """The replies to the recipients and, if one was taken, to the content. `content` is stuffed already."""
        begun = self.ask(f"MAIL FROM:<{sender}>{mail}")
        assert begun.startswith("250"), begun
        replies = [self.ask(f"RCPT TO:<{recipient}>{rcpt}") for recipient in recipients]
        if not any(reply.startswith("25") for reply in replies):
            self.ask("RSET")
            return replies
        begun = self.ask("DATA")
        assert begun.startswith("354"), begun
        self.socket.sendall(content + b".\r\n")
        return [*replies, self.reply()]


def wait_for(look, what, timeout_s=6):
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not seen in time: {what}")
        time.sleep(0.03)


class Mailbox:
    """What comes to an INBOX."""

    def __init__(self, port, who):
        self.client = imaplib.IMAP4("127.0.0.1", port)
        self.client.login(*who)
        self.client.select("INBOX")

    def close(self):
        self.client.logout()

    def empty(self):
        self.client.store("1:*", "+FLAGS", r"(\Deleted)")
        self.client.expunge()

    def all(self):
        self.client.noop()
        _, data = self.client.fetch("1:*", "(BODY.PEEK[])")
        return [part[1] for part in data if isinstance(part, tuple)]

    def wait(self, count=1):
        wait_for(lambda: len(self.all()) >= count, f"{count} messages in the INBOX")
        return self.all()


class Rig(unittest.TestCase):
    """A server, and a receiver that gets all that it has for others."""

    @classmethod
    def setUpClass(cls):
        cls.receiver = Receiver()
        cls.server = Server(smarthost=cls.receiver.place).start()
        cls.inbox = Mailbox(cls.server.port("imap"), cls.server.account(0))

    @classmethod
    def tearDownClass(cls):
        cls.inbox.close()
        status = cls.server.stop()
        cls.receiver.stop()
        assert status == 0, cls.server.log_text()
        text = (cls.server.folder / "server.log").read_text(errors="replace")
        assert "panic" not in text, text[-4000:]
        shutil.rmtree(cls.server.folder)

    def setUp(self):
        self.receiver.behave()
        self.inbox.empty()
        # Connections that an earlier test has left, with what they were told.
        self.receiver.drop_all()

    def tearDown(self):
        self.receiver.script.stalls = False
        self.angarium("queue", "resume", self.receiver.place)
        self.angarium("queue", "remove", "--all")
        wait_for(lambda: self.is_empty(), "an empty queue")

    def is_empty(self):
        return not self.angarium("queue", "list") and not any(lane["out"] for lane in self.angarium("queue", "destinations"))

    def angarium(self, *arguments, fails=0):
        done = subprocess.run([str(BINARY), "--json", *arguments, "--data", str(self.server.folder)], capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, fails, done.stdout + done.stderr)
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None

    def send(self, *recipients, sender="someone@elsewhere.example", content=b"Subject: x\r\n\r\nx\r\n", **more):
        with Talk(self.server.port("smtp")) as talk:
            replies = talk.send(sender, recipients, content, **more)
        self.assertEqual({reply[:3] for reply in replies}, {"250"}, replies)
        return replies[-1]

    def queued(self, **means):
        return wait_for(lambda: [entry for entry in self.angarium("queue", "list")
                                 if all(entry[key] == value for key, value in means.items())], f"an entry with {means}")

    def later(self):
        """An entry that was tried and waits."""
        return wait_for(lambda: [entry for entry in self.angarium("queue", "list") if entry["attempts"]], "an entry that was tried")[0]

    def report(self, sender=ANN):
        """The one notice in the INBOX: its parts."""
        raw = self.inbox.wait()[0]
        message = email.message_from_bytes(raw, policy=email.policy.default)
        self.assertEqual((message.get_content_type(), message.get_param("report-type")), ("multipart/report", "delivery-status"))
        self.assertEqual(message["Auto-Submitted"], "auto-replied")
        self.assertIn(sender, message["To"])
        self.assertTrue(raw.startswith(b"Return-Path: <>\r\n"), raw[:200])
        self.assertEqual([defect for part in message.walk() for defect in part.defects], [])
        text, status, original = message.iter_parts()
        self.assertEqual(text.get_content_type(), "text/plain")
        self.assertIn(status.get_content_type(), ("message/delivery-status", "message/global-delivery-status"))
        blocks = status.get_payload()
        self.assertIn("dns;", blocks[0]["Reporting-MTA"])
        return text.get_content(), blocks[1:], original


class Content(Rig):
    """What arrives is what was sent."""

    def arrived(self, content, stuffed=None, how="BDAT", **script):
        self.receiver.behave(**script)
        self.send("to@far.example", content=stuffed or content)
        message = self.receiver.wait()[0]
        head, rest = message.content[:-len(content)], message.content[-len(content):]
        self.assertTrue(rest == content, f"{len(rest)} of {len(content)} bytes arrived, or others")
        # One field of ours in front, whole lines, nothing else.
        self.assertRegex(head, rb"\AReceived: from client\.example\.net [^\0]*\r\n\Z")
        self.assertEqual([line for line in head.split(b"\r\n")[1:-1] if not line.startswith(b"\t")], [])
        self.assertEqual(message.how, how)
        self.assertNotIn(b"\n", message.content.replace(b"\r\n", b""))
        self.assertNotIn(b"\r", message.content.replace(b"\r\n", b""))
        return message

    def by_both(self, content, stuffed=None):
        self.arrived(content, stuffed)
        plain = tuple(name for name in EXTENSIONS if name != "CHUNKING")
        self.receiver.drop_all()
        self.arrived(content, stuffed, how="DATA", extensions=plain)
        self.receiver.drop_all()
        self.arrived(content, stuffed, how="DATA", extensions=("8BITMIME",))

    def test_dots_at_the_start_of_lines(self):
        content = b"Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.a\r\n\r\n.\r\na.\r\n.\r\n"
        self.by_both(content, content.replace(b"\r\n.", b"\r\n.."))

    def test_long_lines_eight_bits_and_bare_ends(self):
        content = b"Subject: long\r\nX-Long: " + b"x" * 900 + b"\r\n\r\n" + b"y" * 5000 + b"\r\n" + bytes(range(128, 256)) * 9 + b"\r\n\t \r\n\r\n\r\n"
        self.by_both(content)

    def test_ten_megabytes(self):
        content = b"Subject: large\r\n\r\n" + b"".join(b".%d of many lines, some with dots\r\n" % at for at in range(260_000))
        self.assertGreater(len(content), 10_000_000)
        self.arrived(content, content.replace(b"\r\n.", b"\r\n.."), how="DATA")

    def test_an_empty_message_and_a_header_alone(self):
        self.arrived(b"Subject: nothing more\r\n")
        self.arrived(b"\r\n")

    def test_the_envelope_goes_with_it(self):
        self.send("a@far.example", "b@far.example", "c@other.example", mail=" BODY=8BITMIME RET=HDRS ENVID=one+2Btwo", rcpt=" NOTIFY=FAILURE ORCPT=rfc822;x@y.example")
        message = self.receiver.wait()[0]
        for word in ["FROM:<someone@elsewhere.example>", "BODY=8BITMIME", "RET=HDRS", "ENVID=one+2Btwo", "SIZE="]:
            self.assertIn(word, message.mail)
        self.assertEqual(message.rcpts, [f"RCPT TO:<{who}> NOTIFY=FAILURE ORCPT=rfc822;x@y.example"
                                         for who in ["a@far.example", "b@far.example", "c@other.example"]])
        time.sleep(0.1)
        self.assertEqual(len(self.receiver.messages), 1, "one destination, one transaction")

    def test_a_connection_carries_one_message_after_the_other(self):
        self.send("a@far.example")
        self.receiver.wait(1)
        for count in range(2, 6):
            wait_for(self.is_empty, "the answer to the one before")
            self.send("a@far.example")
            self.receiver.wait(count)
        # Each shard has its share of the connections to a smarthost.
        self.assertLessEqual(len({message.connection for message in self.receiver.messages}), 2)

    def test_bare_line_ends_come_in_nowhere(self):
        with Talk(self.server.port("smtp")) as talk:
            for end in [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\n\n.\n\n"]:
                content = b"Subject: x\r\n\r\none" + end + b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@far.example>\r\nDATA\r\ntwo\r\n"
                replies = talk.send("a@elsewhere.example", ["to@far.example"], content)
                self.assertIn(replies[-1][:3], ("550", "554"), end)
        # By BDAT too, where nothing ends the content but its length.
        with Talk(self.server.port("smtp")) as talk:
            for end in [b"\n.\n", b"\r.\r", b"\n.\r\n"]:
                talk.ask("MAIL FROM:<a@elsewhere.example>")
                talk.ask("RCPT TO:<to@far.example>")
                content = b"Subject: x\r\n\r\none" + end + b"two\r\n"
                talk.socket.sendall(b"BDAT %d LAST\r\n" % len(content) + content)
                self.assertIn(talk.reply()[:3], ("550", "554"), end)
                talk.ask("RSET")
        self.assertEqual(self.receiver.messages, [])
        self.assertEqual(self.angarium("queue", "list"), [])


class Receivers(Rig):
    """Other mail systems that do it otherwise, or wrongly."""

    def test_without_extensions(self):
        for script in [{"hello": "502 5.5.1 what?"}, {"extensions": ()}, {"extensions": ("CHUNKING",)}, {"extensions": ("PIPELINING",)}]:
            with self.subTest(script):
                self.receiver.drop_all()
                self.receiver.behave(**script)
                self.send("a@far.example", "b@far.example", mail=" BODY=8BITMIME")
                message = self.receiver.wait()[0]
                self.assertEqual(message.mail, "MAIL FROM:<someone@elsewhere.example>")
                self.assertEqual((len(message.rcpts), message.how), (2, "DATA"))

    def test_replies_in_other_shapes(self):
        lower = b"250-receiver.example at your service\r\n250-pipelining\r\n250-size 1000000\r\n250-8bitmime\r\n250 chunking\r\n"
        for script in [{"hello": lower}, {"greeting": b"220-one\r\n220-two\r\n220\r\n"}, {"mail": b"250\r\n"},
                       {"byte_pause_s": 0.0005}, {"final": lambda _: "250-many\r\n250 lines"}]:
            with self.subTest(script):
                self.receiver.drop_all()
                self.receiver.behave(**script)
                self.send("a@far.example")
                self.receiver.wait()
                wait_for(self.is_empty, "the message taken")

    def test_recipients_are_told_apart(self):
        for extensions in [EXTENSIONS, ("PIPELINING", "DSN"), ()]:
            with self.subTest(extensions):
                self.receiver.drop_all()
                answers = {"bad": "550 5.1.1 nobody of that name", "slow": "450 4.2.0 come again"}
                self.receiver.behave(extensions=extensions, rcpt=lambda line, answers=answers: answers.get(re.search("<(\\w+)@", line)[1]))
                self.inbox.empty()
                self.send("good@far.example", "bad@far.example", "slow@far.example", sender=ANN)
                message = self.receiver.wait()[0]
                self.assertIn("good@", message.rcpts[0])
                self.assertEqual(len(message.rcpts), 1)
                _, blocks, _ = self.report()
                self.assertEqual([(block["Final-Recipient"], block["Action"], block["Status"]) for block in blocks],
                                 [("rfc822; bad@far.example", "failed", "5.1.1")])
                entry = self.later()
                self.assertEqual((entry["recipients"], entry["last_reply"]), (["slow@far.example"], "450 4.2.0 come again"))
                # Now it takes the other, and does not get the first again.
                self.receiver.behave(extensions=extensions)
                self.assertEqual(self.angarium("queue", "retry", entry["id"]), {"entries": 1})
                message = self.receiver.wait()[0]
                self.assertEqual((len(message.rcpts), "slow@" in message.rcpts[0]), (1, True))
                wait_for(self.is_empty, "an empty queue")

    def test_a_refused_content(self):
        for extensions in [EXTENSIONS, ("PIPELINING", "DSN"), ()]:
            with self.subTest(extensions):
                self.receiver.drop_all()
                self.inbox.empty()
                self.receiver.behave(extensions=extensions, final=lambda content: "554 5.7.1 not with me" if b"bad" in content else None)
                self.send("a@far.example", "b@far.example", sender=ANN, content=b"Subject: bad\r\n\r\nbad\r\n")
                _, blocks, original = self.report()
                self.assertEqual([block["Status"] for block in blocks], ["5.7.1", "5.7.1"])
                self.assertIn("554", blocks[0]["Diagnostic-Code"])
                self.assertIn("bad", original.as_string())
                # The connection is good for the next message.
                self.send("a@far.example")
                self.receiver.wait()
                wait_for(self.is_empty, "an empty queue")

    def test_nonsense_is_no_acceptance(self):
        """Whatever is no reply of its place: the message waits, and nothing says that it was relayed."""
        for script in [{"data": "250 ok", "extensions": ()}, {"data": "220 ok", "extensions": ("PIPELINING",)},
                       {"final": lambda _: "354 go on"}, {"final": lambda _: "354 go on", "extensions": ()},
                       {"final": lambda _: b"What do you mean?\r\n"}, {"final": lambda _: b"2500 ok\r\n"},
                       {"final": lambda _: b"25\r\n"}, {"final": lambda _: b"250ok\r\n"}, {"mail": b"\0\xff\r\n"}, {"hello": b"99 hm\r\n"},
                       {"rcpt": "354 go on", "extensions": ()}, {"greeting": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
                       {"greeting": b"220-" + b"x" * 100_000 + b"\r\n"}, {"greeting": b"220-more\r\n" * 2000}]:
            with self.subTest(str(script)[:80]):
                self.receiver.drop_all()
                self.receiver.behave(**script)
                self.send("a@far.example", sender=ANN)
                self.assertRegex(self.later()["last_reply"], "^4")
                self.assertEqual(self.inbox.all(), [])
                self.receiver.behave()
                self.receiver.drop_all()
                self.angarium("queue", "retry", "--all")
                self.receiver.wait()
                wait_for(self.is_empty, "an empty queue")

    def test_connections_that_end_early(self):
        for closes_at, extensions in [("data", ("PIPELINING",)), ("dot", ("PIPELINING",)), ("dot", EXTENSIONS), ("dot", ())]:
            with self.subTest(closes_at, extensions=extensions):
                self.receiver.drop_all()
                self.receiver.behave(closes_at=closes_at, extensions=extensions)
                self.send("a@far.example", sender=ANN)
                self.assertRegex(self.later()["last_reply"], "^450 4.4.1 ")
                self.receiver.behave(extensions=extensions)
                self.angarium("queue", "retry", "--all")
                self.receiver.wait()
                wait_for(self.is_empty, "an empty queue")
                self.assertEqual(self.inbox.all(), [])

    def test_a_refusal_counts_though_the_connection_ends_after_it(self):
        self.receiver.behave(rcpt="550 5.7.1 never", closes_at="rset")
        self.send("a@far.example", sender=ANN)
        _, blocks, _ = self.report()
        self.assertEqual(blocks[0]["Status"], "5.7.1")
        wait_for(self.is_empty, "an empty queue")

    def test_a_connection_that_ends_while_it_is_idle(self):
        self.receiver.behave(closes_at="after")
        for count in range(1, 4):
            self.send("a@far.example")
            self.receiver.wait(count)
        wait_for(self.is_empty, "an empty queue")
        self.receiver.behave()
        self.send("a@far.example")
        self.receiver.wait()
        self.receiver.drop_all()
        self.send("a@far.example")
        self.receiver.wait(2)

    def test_greetings_that_refuse(self):
        for greeting in [b"421 4.3.2 not now\r\n", b"554 5.7.1 not you\r\n", b"554-no\r\n554 never\r\n"]:
            with self.subTest(greeting):
                self.receiver.drop_all()
                self.receiver.behave(greeting=greeting)
                self.send("a@far.example", sender=ANN)
                self.assertEqual(self.later()["last_reply"][:3], greeting[:3].decode())
                self.assertEqual(self.inbox.all(), [], "a host that talks to nobody is no reason to bounce")
                self.receiver.behave()
                self.angarium("queue", "retry", "--all")
                self.receiver.wait()
                wait_for(self.is_empty, "an empty queue")

    def test_421_in_the_middle(self):
        refused = "421 4.3.2 bye"
        for place in [{"mail": refused}, {"rcpt": refused}, {"data": refused}, {"final": lambda _: refused}]:
            with self.subTest(str(place)[:20]):
                self.receiver.drop_all()
                self.receiver.behave(extensions=(), **place)
                self.send("a@far.example")
                self.assertIn("421", self.later()["last_reply"])
                self.receiver.behave(extensions=())
                self.angarium("queue", "retry", "--all")
                self.receiver.wait()
                wait_for(self.is_empty, "an empty queue")

    def test_a_message_larger_than_it_takes(self):
        self.receiver.behave(extensions=("SIZE 1000",))
        self.send("a@far.example", sender=ANN, content=b"Subject: x\r\n\r\n" + b"x" * 900 + b"\r\n" + b"y" * 300 + b"\r\n")
        _, blocks, _ = self.report()
        self.assertEqual((blocks[0]["Status"], blocks[0]["Action"]), ("5.3.4", "failed"))
        self.assertEqual(self.receiver.messages, [])

    def test_utf8_addresses_that_it_does_not_take(self):
        self.receiver.behave(extensions=("8BITMIME",))
        self.send("é@far.example", sender=ANN, mail=" SMTPUTF8")
        self.assertIn(b"Status: 5.6.7", self.inbox.wait()[0])
        self.receiver.drop_all()
        self.receiver.behave()
        self.send("é@far.example", sender=ANN, mail=" SMTPUTF8")
        message = self.receiver.wait()[0]
        self.assertIn("SMTPUTF8", message.mail)
        self.assertEqual(message.rcpts[0], "RCPT TO:<é@far.example>")

    def test_fewer_recipients_at_once(self):
        self.receiver.behave(extensions=("PIPELINING", "LIMITS RCPTMAX=2"))
        self.send(*[f"u{at}@far.example" for at in range(5)])
        messages = self.receiver.wait(3)
        self.assertEqual([len(message.rcpts) for message in messages], [2, 2, 1])
        self.assertEqual(sorted(rcpt for message in messages for rcpt in message.rcpts), [f"RCPT TO:<u{at}@far.example>" for at in range(5)])
        self.receiver.drop_all()
        # Postfix's way: it takes some, and says so of the rest.
        counts = []
        self.receiver.behave(rcpt=lambda _: "452 4.5.3 too many" if counts.append(1) or len(counts) % 5 in (4, 0) else None)
        self.send(*[f"u{at}@far.example" for at in range(5)])
        messages = self.receiver.wait(2)
        self.assertEqual([len(message.rcpts) for message in messages], [3, 2])

    def test_fewer_recipients_at_once_and_none_of_them_taken(self):
        """The first two are refused for now, whoever they are: no more than each is tried once, then there is a pause."""
        self.receiver.behave(extensions=("PIPELINING", "LIMITS RCPTMAX=2"), rcpt="450 4.2.0 come again")
        self.send(*[f"u{at}@far.example" for at in range(5)])
        self.receiver.wait_for_command("RCPT", 5)
        time.sleep(0.5)
        tried = [line for line in self.receiver.commands if line.startswith("RCPT")]
        self.assertEqual(sorted(set(tried)), [f"RCPT TO:<u{at}@far.example>" for at in range(5)])
        self.assertLessEqual(len(tried), 6)
        # One of them is for ever: the others get through all the same.
        self.receiver.behave(extensions=("PIPELINING", "LIMITS RCPTMAX=2"), rcpt=lambda line: "450 4.2.0 no" if "u0" in line or "u1" in line else None)
        for _ in range(4):
            self.angarium("queue", "retry", "--all")
            time.sleep(0.3)
        taken = [rcpt for message in self.receiver.messages for rcpt in message.rcpts]
        self.assertEqual(sorted(taken), [f"RCPT TO:<u{at}@far.example>" for at in (2, 3, 4)])

    def test_a_stall_keeps_nobody_else_waiting(self):
        self.receiver.script.stalls = True
        self.send("a@far.example")
        wait_for(lambda: any(lane["out"] for lane in self.angarium("queue", "destinations")), "an attempt")
        # Local mail goes on, and so does the queue's own command.
        self.send(ANN)
        self.inbox.wait()
        self.assertEqual(len(self.angarium("queue", "list")), 1)
        self.receiver.script.stalls = False
        self.receiver.wait()

    def test_a_connection_refused_and_back_again(self):
        port = self.receiver.port
        self.receiver.stop()
        try:
            self.send("a@far.example")
            self.send("b@far.example")
            self.assertRegex(self.later()["last_reply"], "^450 4.4.1")
            lanes = wait_for(lambda: [lane for lane in self.angarium("queue", "destinations") if lane["failures"]], "a lane that failed")
            self.assertEqual({lane["destination"] for lane in lanes}, {f"[127.0.0.1]:{port}"})
            self.assertGreater(lanes[0]["next_try_s"], time.time())
        finally:
            type(self).receiver = Receiver(port)
        self.angarium("queue", "retry", "--all")
        self.receiver.wait(2)

    def test_broken_tls_goes_without(self):
        self.receiver.behave(tls="broken")
        self.send("a@far.example")
        message = self.receiver.wait()[0]
        self.assertFalse(message.is_secured)

    def test_tls_where_it_is_offered(self):
        self.receiver.behave(tls=certificate(self.server.folder))
        self.send("a@far.example", content=b"Message-ID: <tls@x.example>\r\n\r\n")
        self.assertTrue(self.receiver.wait()[0].is_secured)
        story = wait_for(lambda: [s for s in self.angarium("trace", "<tls@x.example>") if s["ended_ms"]], "its story")[0]
        self.assertRegex(story["attempts"][0]["tls"], "TLS")


class Notices(Rig):
    """What the sender is told."""

    def test_a_failure(self):
        self.receiver.behave(rcpt="550 5.1.1 no such user\x1b[31m here")
        self.send("a@far.example", sender=ANN, content=b"Subject: my subject\r\nMessage-ID: <m1@demo.example.org>\r\n\r\nsecret\r\n", mail=" RET=HDRS ENVID=env1")
        text, blocks, original = self.report()
        self.assertIn("a@far.example", text)
        self.assertEqual(blocks[0]["Remote-MTA"].replace(" ", ""), "dns;127.0.0.1")
        self.assertIn("smtp; 550 5.1.1 no such user", blocks[0]["Diagnostic-Code"])
        self.assertNotIn("\x1b", str(self.inbox.all()[0]))
        self.assertEqual(original.get_content_type(), "text/rfc822-headers")
        self.assertIn("my subject", original.get_content())
        self.assertNotIn("secret", self.inbox.all()[0].decode())

    def test_what_was_asked_for(self):
        cases = [("NEVER", False, False), ("FAILURE", False, True), ("SUCCESS", True, False), ("SUCCESS,FAILURE", True, True), ("DELAY", False, False)]
        without = tuple(name for name in EXTENSIONS if name != "DSN")
        for notify, on_success, on_failure in cases:
            for fails in [False, True]:
                with self.subTest(notify, fails=fails):
                    self.receiver.drop_all()
                    self.receiver.behave(extensions=without, rcpt="550 5.1.1 no" if fails else None)
                    self.inbox.empty()
                    self.send("a@far.example", sender=ANN, rcpt=f" NOTIFY={notify}")
                    wait_for(lambda: any(line.startswith("RCPT") for line in self.receiver.commands), "an attempt")
                    wait_for(self.is_empty, "an empty queue")
                    if on_failure if fails else on_success:
                        _, blocks, _ = self.report()
                        self.assertEqual(blocks[0]["Action"], "failed" if fails else "relayed")
                    else:
                        self.assertEqual(self.inbox.all(), [])

    def test_success_is_the_next_systems_to_tell_where_it_can(self):
        self.send("a@far.example", sender=ANN, rcpt=" NOTIFY=SUCCESS,FAILURE")
        message = self.receiver.wait()[0]
        self.assertIn("NOTIFY=SUCCESS,FAILURE", message.rcpts[0])
        wait_for(self.is_empty, "an empty queue")
        self.assertEqual(self.inbox.all(), [])

    def test_a_sender_elsewhere_is_told_by_mail(self):
        self.receiver.behave(rcpt=lambda line: "550 5.1.1 no" if "nobody@" in line else None)
        self.send("nobody@far.example", sender="someone@elsewhere.example")
        notice = self.receiver.wait()[0]
        self.assertTrue(notice.mail.startswith("MAIL FROM:<> "), notice.mail)
        self.assertIn("TO:<someone@elsewhere.example> NOTIFY=NEVER", notice.rcpts[0])
        message = email.message_from_bytes(notice.content, policy=email.policy.default)
        self.assertEqual(message.get_content_type(), "multipart/report")


class Operator(Rig):
    """What an operator sees and does."""

    def waiting(self, *recipients, sender=ANN, **more):
        """A message that was refused for now; its id."""
        self.receiver.drop_all()
        self.receiver.behave(rcpt="450 4.2.0 come again")
        reply = self.send(*recipients, sender=sender, **more)
        entry = self.later()
        self.receiver.behave()
        self.assertIn(entry["id"], reply, "the id is in the answer to the message")
        return entry["id"]

    def test_list_and_retry(self):
        before = time.time()
        id_ = self.waiting("a@far.example", "b@far.example")
        entry = self.angarium("queue", "list", id_)[0]
        self.assertEqual((entry["sender"], entry["recipients"], entry["attempts"], entry["held"]),
                         (ANN, ["a@far.example", "b@far.example"], 1, False))
        self.assertTrue(before + 100 < entry["due_s"] < before + 150, "about two minutes")
        self.assertEqual(self.receiver.messages, [])
        self.assertEqual(self.angarium("queue", "retry", "--destination", self.receiver.place), {"entries": 1})
        self.receiver.wait()
        wait_for(self.is_empty, "an empty queue")
        self.angarium("queue", "retry", "0123456789abcdef", fails=67)
        self.angarium("queue", "retry", "what", fails=64)
        self.angarium("queue", "retry", fails=64)

    def test_hold_and_release(self):
        id_ = self.waiting("a@far.example")
        self.angarium("queue", "hold", id_)
        self.assertTrue(self.angarium("queue", "list")[0]["held"])
        self.assertEqual(self.angarium("queue", "retry", "--all"), {"entries": 0})
        time.sleep(0.2)
        self.assertEqual(self.receiver.messages, [])
        self.angarium("queue", "release", id_)
        self.receiver.wait()

    def test_bounce(self):
        id_ = self.waiting("a@far.example")
        self.angarium("queue", "bounce", id_, "--reason", "we do not\r\nwant it")
        text, blocks, _ = self.report()
        self.assertEqual(blocks[0]["Action"], "failed")
        self.assertIn("we do not", text)
        wait_for(self.is_empty, "an empty queue")
        self.assertEqual(self.receiver.messages, [])

    def test_bounce_of_a_held_message(self):
        id_ = self.waiting("a@far.example")
        self.angarium("queue", "hold", id_)
        self.angarium("queue", "bounce", id_)
        self.report()

    def test_remove(self):
        id_ = self.waiting("a@far.example", content=b"Message-ID: <removed@x.example>\r\n\r\n")
        self.angarium("queue", "remove", id_)
        self.assertTrue(self.is_empty())
        self.assertEqual(self.inbox.all(), [])
        story = self.angarium("trace", "<removed@x.example>")[0]
        self.assertIn("removed by an operator", story["attempts"][-1]["reply"])

    def test_what_is_removed_untried_is_never_sent_in_anothers_place(self):
        self.angarium("queue", "suspend", self.receiver.place)
        for at in range(8):
            self.send(f"removed{at}@far.example", content=b"Subject: removed\r\n\r\nremoved\r\n")
        self.assertEqual(self.angarium("queue", "remove", "--all"), {"entries": 8})
        for at in range(8):
            self.send(f"kept{at}@far.example", content=b"Subject: kept\r\n\r\nkept\r\n")
        self.angarium("queue", "resume", self.receiver.place)
        messages = self.receiver.wait(8)
        self.assertEqual(sorted(message.rcpts[0] for message in messages), [f"RCPT TO:<kept{at}@far.example>" for at in range(8)])
        self.assertEqual([message for message in messages if b"removed" in message.content], [])

    def test_what_is_removed_while_it_is_sent_takes_nothing_with_it(self):
        """Its place goes to the next message; the end of the first attempt must not end that one."""
        self.receiver.script.stalls = True
        self.send("first@far.example")
        wait_for(lambda: any(lane["out"] for lane in self.angarium("queue", "destinations")), "an attempt")
        self.assertEqual(self.angarium("queue", "remove", "--all"), {"entries": 1})
        for at in range(64):
            self.send(f"later{at}@far.example")
        self.receiver.script.stalls = False
        self.receiver.wait(64, means=lambda message: "later" in message.rcpts[0])

    def test_suspend_and_resume(self):
        for name in [self.receiver.place, f"[127.0.0.1]:{self.receiver.port}"]:
            self.angarium("queue", "suspend", name)
            self.send("a@far.example")
            lane = [lane for lane in self.angarium("queue", "destinations") if lane["suspended"]]
            self.assertEqual(sum(lane["waiting"] for lane in lane), 1)
            time.sleep(0.2)
            self.assertEqual(self.receiver.messages, [])
            self.angarium("queue", "resume", name)
            self.receiver.wait()
            self.receiver.behave()

    def test_what_is_bounced_goes_back_though_its_destination_is_suspended(self):
        self.angarium("queue", "suspend", self.receiver.place)
        self.send("a@far.example", sender=ANN)
        self.assertEqual(self.angarium("queue", "bounce", "--destination", self.receiver.place, "--reason", "they have moved"), {"entries": 1})
        text, blocks, _ = self.report()
        self.assertEqual(blocks[0]["Action"], "failed")
        self.assertIn("they have moved", text)
        wait_for(self.is_empty, "an empty queue")
        self.assertEqual(self.receiver.messages, [])

    def test_trace(self):
        token = f"{time.time_ns()}"
        content = f"Message-ID: <{token}@x.example>\r\nSubject: traced\r\n\r\n".encode()
        id_ = self.waiting(f"{token}@far.example", sender="someone@elsewhere.example", content=content)
        story = self.angarium("trace", id_)[0]
        self.assertIsNone(story["ended_ms"])
        self.angarium("queue", "retry", id_)
        message = self.receiver.wait()[0]
        self.assertIn(id_, message.content.decode(), "the id is in the Received field")
        wait_for(self.is_empty, "an empty queue")
        for what in [id_, f"<{token}@x.example>", f"{token}@x.example", f"{token}@far.example", f"{token}@FAR.example"]:
            stories = self.angarium("trace", what)
            self.assertEqual(len(stories), 1, what)
            story = stories[0]
            self.assertEqual((story["id"], story["message_id"], story["helo"], story["peer"]),
                             (id_, f"<{token}@x.example>", "client.example.net", "127.0.0.1"))
            self.assertEqual([(hop["action"], hop["reply"][:3]) for hop in story["attempts"]], [("delayed", "450"), ("relayed", "250")])
            self.assertIn("127.0.0.1", story["attempts"][1]["host"])
            self.assertIsNotNone(story["ended_ms"])
        shown = subprocess.run([str(BINARY), "trace", id_, "--data", str(self.server.folder)], capture_output=True, text=True, check=True, timeout=60)
        self.assertRegex(shown.stdout, r"relayed .*127\.0\.0\.1.*250")
        self.assertEqual(self.angarium("trace", "nobody@nowhere.example"), [])

    def test_the_list_while_much_is_sent(self):
        def load():
            with Talk(self.server.port("smtp")) as talk:
                for _ in range(100):
                    talk.send("s@elsewhere.example", ["a@far.example"], b"Subject: x\r\n\r\n" + b"x" * 3000 + b"\r\n")

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) or not self.is_empty():
            self.angarium("queue", "list")
            self.angarium("queue", "destinations")
            self.angarium("trace", "a@far.example", "--limit", "5")
        self.receiver.wait(400)


class Submission(Rig):
    def test_who_has_logged_in_may_send_to_anybody(self):
        with smtplib.SMTP("127.0.0.1", self.server.port("submission")) as smtp:
            smtp.ehlo()
            smtp.login(*self.server.account(0))
            smtp.sendmail(ANN, ["x@far.example", BOB, "y@other.example", "x@far.example"], "Subject: both\r\n\r\nhello\r\n")
        message = self.receiver.wait()[0]
        self.assertEqual(len(message.rcpts), 2, "nobody of ours, and nobody twice")
        box = Mailbox(self.server.port("imap"), self.server.account(1))
        found = wait_for(lambda: [raw for raw in box.all() if b"Subject: both" in raw], "Bob's copy")
        self.assertEqual(len(found), 1)
        box.close()

    def test_others_addresses_are_not_for_them(self):
        with smtplib.SMTP("127.0.0.1", self.server.port("submission")) as smtp:
            smtp.ehlo()
            smtp.login(*self.server.account(0))
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                smtp.sendmail(BOB, ["x@far.example"], "Subject: x\r\n\r\n")
        with smtplib.SMTP("127.0.0.1", self.server.port("submission")) as smtp:
            smtp.ehlo()
            self.assertEqual(smtp.mail(ANN)[0], 530)

    def test_lmtp_is_for_our_own(self):
        with Talk(self.server.port("lmtp"), "LHLO x") as talk:
            replies = talk.send("a@elsewhere.example", ["x@far.example"], b"")
        self.assertRegex(replies[0], "^55")


class Restarts(unittest.TestCase):
    def setUp(self):
        self.receiver = Receiver()

    def tearDown(self):
        self.receiver.stop()

    def restarted(self, server, shards, kills):
        if kills:
            server.kill()
        else:
            self.assertEqual(server.stop(), 0)
        server.arguments[server.arguments.index("--shards") + 1] = str(shards)
        server.start()

    def test_the_queue_is_there_after_each_end(self):
        self.receiver.behave(rcpt="450 4.2.0 come again")
        with Server(smarthost=self.receiver.place, shards=1) as server:
            angarium = Rig.angarium.__get__(self)
            self.server = server
            sent = 0
            for shards, kills in [(2, False), (1, True), (2, True), (1, False)]:
                with Talk(server.port("smtp")) as talk:
                    for _ in range(20):
                        talk.send("s@elsewhere.example", [f"u{sent}@far.example", f"v{sent}@far.example"], b"Subject: %d\r\n\r\n" % sent)
                        sent += 1
                held = [entry for entry in angarium("queue", "list", "--limit", "1000") if not entry["held"]][0]["id"]
                angarium("queue", "hold", held)
                self.restarted(server, shards, kills)
                listed = angarium("queue", "list", "--limit", "1000")
                self.assertEqual(len(listed), sent)
                self.assertIn(held, [entry["id"] for entry in listed if entry["held"]])
            self.receiver.behave()
            self.assertEqual(angarium("queue", "release", "--all"), {"entries": 4})
            angarium("queue", "retry", "--all")
            messages = self.receiver.wait(sent)
            subjects = sorted(int(re.search(rb"Subject: (\d+)", message.content)[1]) for message in messages)
            self.assertEqual(subjects, list(range(sent)))
            wait_for(lambda: not angarium("queue", "list"), "an empty queue")

    def test_what_is_suspended_stays_so_through_crashes_and_with_other_numbers_of_shards(self):
        with Server(smarthost=self.receiver.place, shards=2) as server:
            angarium = Rig.angarium.__get__(self)
            self.server = server
            angarium("queue", "suspend", self.receiver.place)
            angarium("queue", "suspend", "Nobody.example via partner")
            names = {f"[127.0.0.1]:{self.receiver.port}", "nobody.example via partner"}
            since = {}
            for shards, kills in [(3, True), (1, True), (2, False)]:
                # No moment between the answer and the end.
                self.restarted(server, shards, kills)
                lanes = [lane for lane in angarium("queue", "destinations") if lane["suspended"]]
                self.assertEqual({(lane["destination"], lane["shard"]) for lane in lanes},
                                 {(name, shard) for name in names for shard in range(shards)})
                since = since or {lane["destination"]: lane["suspended_s"] for lane in lanes}
                self.assertEqual({lane["destination"]: lane["suspended_s"] for lane in lanes}, since)
                self.assertTrue(all(abs(since_s - time.time()) < 60 for since_s in since.values()), since)
                with Talk(server.port("smtp")) as talk:
                    talk.send("s@elsewhere.example", ["a@far.example"], b"Subject: x\r\n\r\n")
            self.assertIn("relay.destination_suspended", server.log_text())
            time.sleep(0.5)
            self.assertEqual((self.receiver.connections, len(angarium("queue", "list"))), (0, 3))
            angarium("queue", "resume", self.receiver.place)
            self.restarted(server, 2, True)
            self.receiver.wait(3)
            self.assertEqual({lane["destination"] for lane in angarium("queue", "destinations") if lane["suspended"]}, {"nobody.example via partner"})


class Configured(unittest.TestCase):
    """`angarium serve` with an `[outbound]` of its own."""

    @contextlib.contextmanager
    def serving(self, outbound, **script):
        with contextlib.ExitStack() as stack:
            receiver = Receiver(**script)
            stack.callback(receiver.stop)
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-relay-"))
            stack.callback(shutil.rmtree, self.folder)
            self.config = self.folder / "angarium.toml"
            self.angarium("init", "--hostname", "mail.example.org", "--domain", "example.org", "--data", str(self.folder / "store"))
            self.angarium("account", "add", "ann@example.org", "--password-file", "-", input="pass word\n")
            ports = {}
            with contextlib.ExitStack() as probes:
                for name in ["smtp", "imap"]:
                    ports[name] = probes.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            with open(self.config, "a", encoding="ascii") as out:
                out.write(f'\n[listen]\nsmtp = ["127.0.0.1:{ports["smtp"]}"]\nsubmission = []\nsubmissions = []\nimap = ["127.0.0.1:{ports["imap"]}"]\n'
                          'imaps = []\npop3 = []\npop3s = []\n\n[auth]\nallow_plaintext_without_tls = true\n\n'
                          f'[outbound]\nsmarthost = "{receiver.place}"\n{outbound.format(folder=self.folder)}')
            log = open(self.folder / "log", "wb")
            stack.callback(log.close)
            server = subprocess.Popen([str(BINARY), "--config", str(self.config), "serve", "--shards", "1"], stderr=log)
            try:
                wait_for(lambda: "runtime.serving" in (self.folder / "log").read_text() or server.poll() is not None, "a server", 30)
                self.assertIsNone(server.poll(), (self.folder / "log").read_text())
                yield ports, receiver
            finally:
                server.send_signal(signal.SIGTERM)
                self.assertEqual(server.wait(30), 0, (self.folder / "log").read_text())

    def angarium(self, *arguments, **more):
        done = subprocess.run([str(BINARY), "--json", "--config", str(self.config), *arguments], capture_output=True, text=True,
                              timeout=60, check=False, **more)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def send(self, ports, *recipients, sender="s@elsewhere.example"):
        with Talk(ports["smtp"]) as talk:
            return talk.send(sender, recipients, b"Subject: x\r\n\r\n")

    def later(self):
        return wait_for(lambda: [entry for entry in self.angarium("queue", "list") if entry["attempts"]], "an entry that was tried")[0]

    def test_strangers_may_not_relay(self):
        with self.serving('relay_from = ["192.0.2.0/24"]\n') as (ports, receiver):
            replies = self.send(ports, "a@far.example")
            self.assertRegex(replies[0], "^55[04]")
            self.assertEqual([reply[:3] for reply in self.send(ports, "ann@example.org", "a@far.example")], ["250", "550", "250"])
            self.assertEqual((self.angarium("queue", "list"), receiver.connections), ([], 0))

    def test_nobody_may_where_it_is_off(self):
        with self.serving('relay_from = ["127.0.0.0/8"]\nenabled = false\n') as (ports, _):
            self.assertRegex(self.send(ports, "a@far.example")[0], "^55[04]")

    def test_a_full_queue(self):
        with self.serving('relay_from = ["127.0.0.0/8"]\nentries_max = 2\n', rcpt="450 4.2.0 come again") as (ports, receiver):
            for _ in range(2):
                self.assertTrue(self.send(ports, "a@far.example")[-1].startswith("250"))
            wait_for(lambda: [entry["attempts"] for entry in self.angarium("queue", "list")] == [1, 1], "both tried")
            self.assertTrue(self.send(ports, "a@far.example")[-1].startswith("452"))
            # Held ones take room as the others do.
            self.angarium("queue", "hold", "--all")
            self.assertTrue(self.send(ports, "a@far.example")[-1].startswith("452"))
            self.assertTrue(self.send(ports, "ann@example.org")[-1].startswith("250"), "there is room for our own")
            receiver.behave()
            self.angarium("queue", "release", "--all")
            receiver.wait(2)
            self.assertTrue(wait_for(lambda: (reply := self.send(ports, "a@far.example")[-1]).startswith("250") and reply, "room"))

    def test_a_full_queue_does_not_keep_notices_from_being_sent(self):
        refuse = lambda line: "550 5.1.1 no" if "a@far" in line else None  # noqa: E731
        with self.serving('relay_from = ["127.0.0.0/8"]\nentries_max = 1\n', rcpt=refuse) as (ports, receiver):
            self.assertTrue(self.send(ports, "a@far.example")[-1].startswith("250"))
            self.assertTrue(receiver.wait(timeout_s=5)[0].mail.startswith("MAIL FROM:<>"))

    def test_a_login(self):
        password = 'relay_from = ["127.0.0.0/8"]\nsmarthost_user = "me"\nsmarthost_password_file = "{folder}/angarium.toml"\nsmarthost_tls = "never"\n'
        with self.serving(password, login=("me", "wrong")) as (ports, receiver):
            self.send(ports, "a@far.example", sender="ann@example.org")
            self.assertIn("535", self.later()["last_reply"])
            receiver.behave(login=("me", self.config.read_text().strip()))
            self.angarium("queue", "retry", "--all")
            receiver.wait()

    def test_no_password_goes_over_the_line_in_clear_unless_told_to(self):
        login = 'relay_from = ["127.0.0.0/8"]\nsmarthost_user = "me"\nsmarthost_password_file = "{folder}/angarium.toml"\n'
        for script in [{}, {"tls": "broken"}]:
            with self.serving(login, login=("me", "x"), **script) as (ports, receiver):
                self.send(ports, "a@far.example")
                self.assertRegex(self.later()["last_reply"], "^450 4.7")
                self.assertEqual([line for line in receiver.commands if line.startswith("AUTH")], [])

    def test_tls_that_is_required(self):
        required = 'relay_from = ["127.0.0.0/8"]\nsmarthost_tls = "required"\n'
        with self.serving(required) as (ports, receiver):
            self.send(ports, "a@far.example")
            self.assertIn("does not offer TLS", self.later()["last_reply"])
            receiver.behave(tls=certificate(self.folder))
            self.angarium("queue", "retry", "--all")
            entry = wait_for(lambda: [entry for entry in self.angarium("queue", "list") if entry["attempts"] == 2], "a second attempt")[0]
            self.assertRegex(entry["last_reply"], "^450 4.7.5 TLS: ")
            receiver.behave(tls="broken")
            self.angarium("queue", "retry", "--all")
            wait_for(lambda: [entry for entry in self.angarium("queue", "list") if entry["attempts"] == 3], "a third attempt")
            self.assertEqual((receiver.messages, [line for line in receiver.commands if line.startswith("MAIL")]), ([], []))


if __name__ == "__main__":
    unittest.main(verbosity=2)
