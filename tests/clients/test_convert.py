"""Mail with 8-bit and binary content to mail systems that cannot take it."""

import email
import email.header
import email.policy
import email.utils
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from receiver import EXTENSIONS  # noqa: E402
from test_relay import ANN, Rig, Talk, wait_for  # noqa: E402

SEVEN_BIT = ("PIPELINING", "CHUNKING", "DSN", "SIZE 5000000")
BINARY = ("PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME")

NESTED = "\r\n".join([
    "MIME-Version: 1.0", "Subject: nested", "Content-Type: multipart/mixed; boundary=outer", "Content-Transfer-Encoding: 8bit", "",
    "for nobody", "--outer", "Content-Type: multipart/alternative; boundary=inner", "Content-Transfer-Encoding: 8bit", "",
    "--inner", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", "Grüße an alle,", ".", "--not a delimiter",
    "From here on = ", "--inner", "Content-Type: text/html; charset=utf-8", "Content-Transfer-Encoding: 8bit", "",
    "<p>Schöne Grüße " + "x" * 2000 + "</p>", "--inner--", "", "--outer", "Content-Type: message/rfc822", "Content-Transfer-Encoding: 8bit", "",
    "Subject: within", "MIME-Version: 1.0", "Content-Type: text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: 8bit", "", "übrigens",
    "--outer", "Content-Type: application/x-data; name=plain", "", "only ASCII", "--outer--", "", ""]).encode()


def leaves(content):
    """The type and the content of each part that has no parts."""
    message = email.message_from_bytes(content)
    return [(part.get_content_type(), part.get_content_charset(), part.get_payload(decode=True))
            for part in message.walk() if not part.is_multipart()]


class Conversion(Rig):
    def sent(self, content, extensions, mail="", stuffed=None):
        """What arrives of a message."""
        self.receiver.drop_all()
        self.receiver.behave(extensions=extensions)
        self.send("a@far.example", "b@far.example", content=stuffed or content, mail=mail)
        message = self.receiver.wait()[0]
        wait_for(self.is_empty, "the message taken")
        return message

    def send_binary(self, content, sender=ANN):
        with Talk(self.server.port("smtp")) as talk:
            self.assertIn("250", talk.ask(f"MAIL FROM:<{sender}> BODY=BINARYMIME"))
            self.assertIn("250", talk.ask("RCPT TO:<a@far.example>"))
            talk.socket.sendall(b"BDAT %d LAST\r\n" % len(content) + content)
            self.assertIn("250", talk.reply())

    def assert_seven_bit(self, content):
        self.assertTrue(content.isascii())
        lines = content.split(b"\r\n")
        self.assertEqual([line for line in lines if len(line) > 998 or b"\r" in line or b"\n" in line or b"\0" in line], [])

    def test_every_part_arrives_as_it_was(self):
        stuffed = NESTED.replace(b"\r\n.\r\n", b"\r\n..\r\n")
        for mail in ["", " BODY=8BITMIME"]:
            for extensions in [SEVEN_BIT, (), ("DSN",)]:
                with self.subTest(mail, extensions=extensions):
                    message = self.sent(NESTED, extensions, mail=mail, stuffed=stuffed)
                    self.assertNotIn("BODY", message.mail)
                    if "SIZE 5000000" in extensions:
                        self.assertIn(f"SIZE={len(message.content)}", message.mail)
                    self.assert_seven_bit(message.content)
                    self.assertEqual(leaves(message.content), leaves(NESTED))
                    parsed = email.message_from_bytes(message.content)
                    self.assertEqual([defect for part in parsed.walk() for defect in part.defects], [])
                    encodings = [part["Content-Transfer-Encoding"] for part in parsed.walk()]
                    self.assertEqual(encodings, ["7bit", "7bit", "quoted-printable", "quoted-printable", "7bit", "quoted-printable", None])

    def test_what_the_host_takes_goes_as_it_is(self):
        stuffed = NESTED.replace(b"\r\n.\r\n", b"\r\n..\r\n")
        message = self.sent(NESTED, EXTENSIONS, stuffed=stuffed)
        self.assertTrue(message.content.endswith(NESTED))
        plain = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\nASCII all the same\r\n"
        message = self.sent(plain, SEVEN_BIT, mail=" BODY=8BITMIME")
        self.assertTrue(message.content.endswith(plain))

    def test_a_large_message(self):
        text = "".join(f"Zeile {number}: schöne Grüße\r\n" for number in range(60_000)).encode()
        message = self.sent(b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text, ())
        self.assert_seven_bit(message.content)
        self.assertEqual(leaves(message.content), [("text/plain", "utf-8", text)])

    def test_text_of_old_programs(self):
        text = "Schöne Grüße aus Köln, wie früher ohne alles\r\n".encode("latin-1")
        message = self.sent(b"Subject: x\r\n\r\n" + text, SEVEN_BIT)
        self.assert_seven_bit(message.content)
        self.assertEqual(leaves(message.content), [("text/plain", "unknown-8bit", text)])
        self.assertEqual(email.message_from_bytes(message.content)["MIME-Version"], "1.0")

    def test_fields_of_old_programs(self):
        fields = ["From: \"Jörg Müller\" <a@x.example>", "Subject: Re: Grüße aus Köln", "X-Note: plain", "Content-Type: text/plain; name=ü.txt"]
        for charset in ["utf-8", "latin-1"]:
            with self.subTest(charset):
                message = self.sent("\r\n".join([*fields, "", "x", ""]).encode(charset), SEVEN_BIT)
                self.assertNotIn("BODY", message.mail)
                parsed = email.message_from_bytes(message.content)
                written = "utf-8" if charset == "utf-8" else "unknown-8bit"
                decoded = email.header.decode_header(parsed["Subject"].replace("\r\n", ""))
                self.assertEqual(decoded, [(b"Re: ", None), ("Grüße aus Köln".encode(charset), written)])
                name, address = email.utils.parseaddr(parsed["From"])
                self.assertEqual(address, "a@x.example")
                self.assertEqual(email.header.decode_header(name), [("Jörg Müller".encode(charset), written)])
                # What has no form in ASCII goes as it is, as all of it does from other mail systems.
                self.assertIn("Content-Type: text/plain; name=ü.txt\r\n".encode(charset), message.content)
                self.assertIn(b"X-Note: plain\r\n", message.content)

    def test_binary_content(self):
        blob = bytes(range(256)) * 40 + b"\n.\n\r\r"
        content = (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n"
                   b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + "Grüße".encode()
                   + b"\r\n--b\r\nContent-Type: image/x-icon\r\nContent-Transfer-Encoding: binary\r\n\r\n" + blob + b"\r\n--b--\r\n")
        cases = [(BINARY, " BODY=BINARYMIME", "binary"), (("PIPELINING", "CHUNKING", "8BITMIME"), " BODY=8BITMIME", "8bit"),
                 (("BINARYMIME", "8BITMIME"), " BODY=8BITMIME", "8bit"), (SEVEN_BIT, None, "7bit"), ((), None, "7bit")]
        for extensions, declared, encoding in cases:
            with self.subTest(extensions):
                self.receiver.drop_all()
                self.receiver.behave(extensions=extensions)
                self.send_binary(content)
                message = self.receiver.wait()[0]
                wait_for(self.is_empty, "the message taken")
                if declared:
                    self.assertIn(declared, message.mail)
                else:
                    self.assertNotIn("BODY", message.mail)
                    self.assert_seven_bit(message.content)
                self.assertEqual(email.message_from_bytes(message.content)["Content-Transfer-Encoding"], encoding)
                self.assertEqual([kind for kind, _, _ in leaves(message.content)], ["text/plain", "image/x-icon"])
                self.assertEqual(leaves(message.content)[0][2].rstrip(b"\r\n"), "Grüße".encode())
                if encoding == "binary":
                    self.assertTrue(message.content.endswith(content))
                else:
                    self.assertEqual(leaves(message.content)[1][2], blob)

    def test_what_cannot_be_converted_comes_back(self):
        signed = ("MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\r\n\r\n"
                  "--s\r\n\r\nGrüße\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n")
        for content, why in [(signed, "signed"), ("Subject: " + "x" * 1500 + "\r\n\r\nGrüße\r\n", "header")]:
            with self.subTest(why):
                self.inbox.empty()
                self.receiver.drop_all()
                self.receiver.behave(extensions=SEVEN_BIT)
                self.send("a@far.example", sender=ANN, content=content.encode())
                _, blocks, _ = self.report()
                self.assertEqual((blocks[0]["Action"], blocks[0]["Status"]), ("failed", "5.6.3"))
                self.assertIn(why, blocks[0]["Diagnostic-Code"].replace("\n", ""))
                self.assertEqual([line for line in self.receiver.commands if line.startswith("MAIL")], [])
                wait_for(self.is_empty, "an empty queue")
                # The same host takes the next.
                self.send("a@far.example")
                self.receiver.wait()
                wait_for(self.is_empty, "an empty queue")

    def test_the_size_is_that_of_what_is_sent(self):
        content = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n".encode() + "Grüße und mehr\r\n".encode() * 60
        self.inbox.empty()
        self.receiver.drop_all()
        self.receiver.behave(extensions=(f"SIZE {len(content) + 500}",))
        self.send("a@far.example", sender=ANN, content=content)
        _, blocks, _ = self.report()
        self.assertEqual(blocks[0]["Status"], "5.3.4")


if __name__ == "__main__":
    unittest.main(verbosity=2)
