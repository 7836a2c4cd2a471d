"""Malformed input gets the protocol's error, the limits hold, and the server stays up."""

import imaplib
import pathlib
import random
import smtplib
import socket
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server import Server  # noqa: E402


class Line:
    """A bare connection."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.socket.makefile("rb")
        self.greeting = self.file.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def say(self, data):
        self.socket.sendall(data)

    def hear(self):
        return self.file.readline()

    def ask(self, data):
        self.say(data)
        return self.hear()

    def reply(self, data):
        """An SMTP reply, all of its lines."""
        self.say(data)
        line = self.hear()
        while line[3:4] == b"-":
            line = self.hear()
        return line

    def rest(self):
        try:
            return self.file.read()
        except ConnectionError:
            return b""


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.who = cls.server.account(0)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0, cls.server.log_text()

    def tearDown(self):
        with Line(self.server.port("smtp")) as line:
            self.assertTrue(line.greeting.startswith(b"220"), "the server has gone")

    def logged_in(self):
        line = Line(self.server.port("imap"))
        line.say(f"a LOGIN {self.who[0]} {self.who[1]}\r\n".encode())
        while not line.hear().startswith(b"a OK"):
            pass
        return line

    def test_smtp_bare_line_ends_are_refused(self):
        for body in [b"one\ntwo\r\n.\r\n", b"one\rtwo\r\n.\r\n", b"one\r\n.\ntwo\r\n.\r\n", b"one\n.\r\nMAIL FROM:<x@y>\r\n.\r\n"]:
            with Line(self.server.port("smtp")) as line:
                line.reply(b"EHLO x\r\n")
                line.reply(b"MAIL FROM:<a@example.net>\r\n")
                line.reply(f"RCPT TO:<{self.who[0]}>\r\n".encode())
                self.assertTrue(line.reply(b"DATA\r\n").startswith(b"354"))
                self.assertIn(line.reply(b"Subject: x\r\n\r\n" + body)[:3], [b"550", b"554"], body)

    def test_smtp_commands_that_are_none(self):
        with Line(self.server.port("smtp")) as line:
            self.assertEqual(line.ask(b"WHATEVER\r\n")[:3], b"500")
            self.assertEqual(line.ask(b"NOOP\nNOOP\r\n")[:1], b"5")
            self.assertEqual(line.ask(b"NO\0OP\r\n")[:1], b"5")
            self.assertEqual(line.ask(b"MAIL FROM:<a@example.net>\r\n")[:1], b"5")
        with Line(self.server.port("smtp")) as line:
            line.say(b"A" * 100_000)
            line.say(b"\r\n")
            self.assertEqual(line.hear()[:1], b"5")

    def test_smtp_endless_headers_and_lines(self):
        with Line(self.server.port("smtp")) as line:
            line.reply(b"EHLO x\r\n")
            line.reply(b"MAIL FROM:<a@example.net>\r\n")
            line.reply(f"RCPT TO:<{self.who[0]}>\r\n".encode())
            line.reply(b"DATA\r\n")
            for _ in range(100):
                line.say(b"X-Endless: " + b"x" * 60_000 + b"\r\n")
            self.assertIn(line.reply(b"\r\nbody\r\n.\r\n")[:1], [b"2", b"5"])

    def test_smtp_size_is_enforced_without_growing(self):
        before = self.server.rss_kb()
        with Line(self.server.port("smtp")) as line:
            line.reply(b"EHLO x\r\n")
            self.assertEqual(line.reply(b"MAIL FROM:<a@example.net> SIZE=99999999999\r\n")[:3], b"552")
            line.reply(b"MAIL FROM:<a@example.net>\r\n")
            line.reply(f"RCPT TO:<{self.who[0]}>\r\n".encode())
            line.reply(b"DATA\r\n")
            block = (b"x" * 998 + b"\r\n") * 1000
            for _ in range(80):
                line.say(block)
            self.assertEqual(line.reply(b".\r\n")[:3], b"552")
        self.assertLess(self.server.rss_kb() - before, 120_000)

    def test_imap_oversized_lines_and_literals(self):
        with Line(self.server.port("imap")) as line:
            line.say(b"a " + b"A" * 200_000)
            self.assertRegex(line.hear(), rb"BAD|BYE")
        with self.logged_in() as line:
            self.assertRegex(line.ask(b"b APPEND INBOX {999999999999}\r\n"), rb"b (NO|BAD)")
            self.assertRegex(line.ask(b"c LOGIN {70000}\r\n"), rb"c (NO|BAD)|BYE")

    def test_imap_bad_names_and_bytes(self):
        with self.logged_in() as line:
            self.assertRegex(line.ask(b'b CREATE "&bad"\r\n'), rb"b (NO|BAD)")
            self.assertRegex(line.ask(b"c NOOP\nd NOOP\r\n"), rb"BAD")
            self.assertRegex(line.ask(b"e NO\0OP\r\n"), rb"BAD")
            self.assertRegex(line.ask(b"f XYZZY\r\n"), rb"f BAD")
            self.assertRegex(line.ask(b"g FETCH 1 FLAGS\r\n"), rb"g BAD")
            self.assertRegex(line.ask(b"h NOOP\r\n"), rb"h OK")

    def test_imap_ten_thousand_parts(self):
        parts = b"".join(b"--b\r\nContent-Type: text/plain\r\n\r\n%d\r\n" % i for i in range(10_000))
        message = b"Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"
        nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(2_000))
        client = imaplib.IMAP4("127.0.0.1", self.server.port("imap"))
        client.login(*self.who)
        client.create("Parts")
        for data in [message, nested]:
            self.assertEqual(client.append("Parts", None, None, data)[0], "OK")
        client.select("Parts")
        for number in ["1", "2"]:
            status, data = client.fetch(number, "(BODYSTRUCTURE BODY.PEEK[1.1] BODY.PEEK[9999])")
            self.assertEqual(status, "OK")
        self.assertEqual(client.search(None, "TEXT", "9876")[1], [b"1"])
        client.logout()

    def test_pop3_lines(self):
        with Line(self.server.port("pop3")) as line:
            self.assertTrue(line.ask(b"XYZZY\r\n").startswith(b"-ERR"))
            self.assertTrue(line.ask(b"USER a\nUSER b\r\n").startswith(b"-ERR"))
        with Line(self.server.port("pop3")) as line:
            line.say(b"A" * 100_000 + b"\r\n")
            self.assertTrue(line.hear().startswith(b"-ERR"))

    def test_noise_on_every_port(self):
        chance = random.Random(7)
        for name in self.server.info["ports"]:
            for _ in range(20):
                try:
                    with socket.create_connection(("127.0.0.1", self.server.port(name)), timeout=5) as plain:
                        plain.sendall(chance.randbytes(chance.randrange(1, 4000)))
                        plain.shutdown(socket.SHUT_WR)
                        plain.settimeout(5)
                        while plain.recv(65536):
                            pass
                except (ConnectionError, TimeoutError):
                    pass

    def test_too_many_wrong_passwords(self):
        with smtplib.SMTP("127.0.0.1", self.server.port("submission")) as smtp:
            smtp.ehlo()
            codes = []
            for _ in range(8):
                try:
                    smtp.login(self.server.account(2)[0], "wrong")
                except smtplib.SMTPAuthenticationError as error:
                    codes.append(error.smtp_code)
                except (smtplib.SMTPServerDisconnected, smtplib.SMTPException):
                    break
            self.assertTrue(codes and all(code in (421, 454, 535) for code in codes), codes)
            self.assertLess(len(codes), 8)


if __name__ == "__main__":
    unittest.main(verbosity=2)
