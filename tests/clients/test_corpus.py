"""Mail of all kinds goes in by SMTP and must come out byte for byte by IMAP and POP3."""

import imaplib
import os
import pathlib
import poplib
import re
import smtplib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server import Server  # noqa: E402


def corpus():
    """The messages that the `mail-parser` crate carries, where cargo has put it, and CPython's."""
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    folders = list(home.glob("registry/src/*/mail-parser-*/resources"))
    files = sorted(path for folder in folders for path in folder.rglob("*.eml"))
    python = pathlib.Path(os.__file__).parent / "test" / "test_email" / "data"
    return files + sorted(python.glob("msg_*.txt"))


def wire(data):
    """A message as a client would have to send it: lines ended by CRLF, no bare CR or LF, no NUL."""
    data = re.sub(rb"\r\n|\r|\n", b"\r\n", data).replace(b"\0", b"")
    return data if data.endswith(b"\r\n") else data + b"\r\n"


class Corpus(unittest.TestCase):
    def test_every_message_comes_out_as_it_went_in(self):
        messages = [wire(path.read_bytes()) for path in corpus()]
        if not messages:
            self.skipTest("no corpus on this machine")
        with Server(accounts=1) as server:
            with smtplib.SMTP("127.0.0.1", server.port("smtp")) as smtp:
                smtp.ehlo()
                for data in messages:
                    smtp.putcmd("MAIL FROM:<a@example.net> BODY=8BITMIME")
                    self.assertEqual(smtp.getreply()[0], 250)
                    smtp.putcmd("RCPT TO:<u000@demo.example.org>")
                    self.assertEqual(smtp.getreply()[0], 250)
                    code, text = smtp.data(data)
                    self.assertEqual(code, 250, text)
            client = imaplib.IMAP4("127.0.0.1", server.port("imap"))
            client.login("u000", "benchmark")
            client.select("INBOX", readonly=True)
            pop3 = poplib.POP3("127.0.0.1", server.port("pop3"))
            pop3._maxline = poplib._MAXLINE = 1 << 24
            pop3.user("u000")
            pop3.pass_("benchmark")
            self.assertEqual(pop3.stat()[0], len(messages))
            for number, sent in enumerate(messages, 1):
                _, data = client.fetch(str(number), "(BODY.PEEK[] RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
                got = next(part[1] for part in data if isinstance(part, tuple) and b"BODY[]" in part[0])
                self.assertTrue(got.startswith(b"Return-Path: <a@example.net>\r\nReceived: "), got[:80])
                self.assertTrue(got.endswith(sent), f"message {number} came out changed")
                _, lines, _ = pop3.retr(number)
                self.assertEqual(b"".join(line + b"\r\n" for line in lines), got)
            print(f"\n{len(messages)} messages compared", file=sys.stderr)
            pop3.quit()
            client.logout()


if __name__ == "__main__":
    unittest.main(verbosity=2)
