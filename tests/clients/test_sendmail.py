"""The sendmail command: what programs of this machine hand in, as themselves and through mailx, s-nail and mutt."""

import concurrent.futures
import email
import os
import pathlib
import pwd
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from receiver import Receiver  # noqa: E402
from server import BINARY, Server, have  # noqa: E402
from test_relay import Mailbox  # noqa: E402

ANN = "ann@demo.example.org"
BOB = "bob@demo.example.org"
USER = pwd.getpwuid(os.getuid()).pw_name


class Sendmail(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.receiver = Receiver()
        cls.server = Server(smarthost=cls.receiver.place).start()
        cls.links = tempfile.TemporaryDirectory(prefix="angarium-sendmail-")
        os.chmod(cls.links.name, 0o755)
        cls.program = pathlib.Path(cls.links.name) / "sendmail"
        cls.program.symlink_to(BINARY.resolve())
        cls.environment = {**os.environ, "ANGARIUM_SUBMIT_SOCKET": str(cls.server.folder / "run" / "submit.sock")}
        cls.open_boxes()

    @classmethod
    def open_boxes(cls):
        cls.ann = Mailbox(cls.server.port("imap"), cls.server.account(0))
        cls.bob = Mailbox(cls.server.port("imap"), cls.server.account(1))

    @classmethod
    def tearDownClass(cls):
        cls.ann.close()
        cls.bob.close()
        status = cls.server.stop()
        cls.receiver.stop()
        cls.links.cleanup()
        log = (cls.server.folder / "server.log").read_text(errors="replace")
        assert status == 0 and "panic" not in log, log[-4000:]

    def setUp(self):
        self.receiver.behave()
        self.ann.empty()
        self.bob.empty()

    def sendmail(self, *arguments, content=b"Subject: x\n\nx\n", fails=0, program=None, **more):
        done = subprocess.run([*(program or [str(self.program)]), *arguments], input=content, capture_output=True, timeout=60,
                              env=self.environment, check=False, **more)
        self.assertEqual(done.returncode, fails, (arguments, done.stderr))
        self.assertEqual(bool(done.stderr), fails != 0, done.stderr)
        return done.stderr.decode()

    def one(self, box):
        found = box.wait()
        self.assertEqual(len(found), 1)
        return email.message_from_bytes(found[0])

    def test_what_a_message_lacks_is_added(self):
        self.sendmail(BOB, content=b"just words\nin two lines\n")
        got = self.one(self.bob)
        self.assertEqual(got["From"], f"{USER}@localhost")
        self.assertEqual(got["Return-Path"], f"<{USER}@localhost>")
        self.assertIn(f"(local user {USER})", got["Received"])
        self.assertTrue(got["Date"] and got["Message-ID"])
        self.assertEqual(got.get_payload(), "just words\r\nin two lines\r\n")

    def test_what_a_message_has_stays(self):
        content = "Subject: gr\u00fc\u00dfe\nFrom: \"Ann\" <ann@demo.example.org>\nDate: Tue, 24 Nov 2026 12:00:00 +0000\nMessage-ID: <1@x>\n\nbody\n".encode()
        self.sendmail("-f", ANN, "-F", "not used", "bob", content=content, program=[str(BINARY), "sendmail"])
        got = self.one(self.bob)
        self.assertEqual((got["From"], got["Message-ID"], got["Return-Path"]), ('"Ann" <ann@demo.example.org>', "<1@x>", f"<{ANN}>"))
        self.assertEqual(got["Date"], "Tue, 24 Nov 2026 12:00:00 +0000")

    def test_recipients_come_out_of_the_header_and_nobody_sees_bcc(self):
        content = f"To: Ann <{ANN}>\nBcc: {BOB},\n someone@elsewhere.example\nSubject: x\n\nx\n".encode()
        self.sendmail("-t", "-F", "A. Nyone", content=content)
        for got in (self.one(self.ann), self.one(self.bob)):
            self.assertIsNone(got["Bcc"])
            self.assertEqual(got["From"], f'"A. Nyone" <{USER}@localhost>')
        [relayed] = self.receiver.wait()
        self.assertEqual([rcpt.split("<")[1].split(">")[0] for rcpt in relayed.rcpts], ["someone@elsewhere.example"])
        self.assertNotIn(b"Bcc", relayed.content)

    def test_a_dot_ends_the_message_unless_told(self):
        for options, body in (([], "a\r\n"), (["-i"], "a\r\n.\r\nb\r\n"), (["-oi"], "a\r\n.\r\nb\r\n")):
            self.bob.empty()
            self.sendmail(*options, BOB, content=b"Subject: x\n\na\n.\nb\n")
            self.assertEqual(self.one(self.bob).get_payload(), body, options)

    def test_what_the_sender_wants_to_be_told_goes_along(self):
        self.sendmail("-N", "success,delay", "-V", "my id", "-R", "hdrs", "-f", ANN, "someone@elsewhere.example")
        [relayed] = self.receiver.wait()
        self.assertIn(f"MAIL FROM:<{ANN}>", relayed.mail)
        self.assertIn("RET=HDRS", relayed.mail.upper())
        self.assertIn("ENVID=my+20id", relayed.mail)
        self.assertIn("NOTIFY=SUCCESS,DELAY", relayed.rcpts[0].upper())
        self.sendmail("-f", "<>", "other@elsewhere.example")
        self.assertIn("MAIL FROM:<>", self.receiver.wait(2)[1].mail)

    def test_exit_codes_are_those_of_sysexits(self):
        self.assertIn("nobody@demo.example.org", self.sendmail(BOB, "nobody", fails=67))
        self.sendmail("a b@demo.example.org", fails=65)
        self.sendmail("-f", "no address@x", BOB, fails=65)
        self.sendmail(BOB, content=b"Subject: x\n\n" + b"x" * 70 + b"\n" * (54 << 20), fails=65)
        self.sendmail(fails=64)
        self.sendmail("-t", content=b"Subject: x\n\nx\n", fails=64)
        for line in (["-bs"], ["-bp"], ["-q"], ["-zz", BOB], ["-f"]):
            self.sendmail(*line, fails=64)
        self.assertEqual(self.bob.all(), [], "nobody is sent anything when one recipient is wrong")
        self.environment = {**self.environment, "ANGARIUM_SUBMIT_SOCKET": str(self.server.folder / "nowhere.sock")}
        self.sendmail(BOB, fails=75)

    def test_no_line_of_it_can_be_more_than_a_line(self):
        self.sendmail(BOB, content=b"Subject: x\n\na\r.\rMAIL FROM:<>\r\n.\x00\r\n" + b"\n.\r\nRCPT TO:<x>\n")
        self.bob.empty()
        self.sendmail("-i", "someone@elsewhere.example", content=b"Subject: x\n\na\r.\rb\x00\n.\nc\n")
        [relayed] = self.receiver.wait()
        self.assertTrue(relayed.content.endswith(b"\r\n\r\na\r\n.\r\nb\r\n.\r\nc\r\n"), relayed.content)

    def test_another_user_is_named_by_the_kernel(self):
        if os.getuid() != 0:
            self.skipTest("only root can become somebody else")
        self.server.folder.chmod(0o711)
        self.sendmail(BOB, user="nobody", group="nogroup")
        got = self.one(self.bob)
        self.assertIn("(local user nobody)", got["Received"])
        self.assertEqual(got["Return-Path"], "<nobody@localhost>")

    def test_many_at_a_time_all_arrive(self):
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            for done in [pool.submit(self.sendmail, BOB, content=f"Subject: {at}\n\nx\n".encode()) for at in range(120)]:
                done.result()
        found = self.bob.wait(120)
        self.assertEqual({email.message_from_bytes(message)["Subject"] for message in found}, {str(at) for at in range(120)})

    def test_it_comes_again_when_every_place_is_taken(self):
        others = []
        for _ in range(32):
            other = socket.socket(socket.AF_UNIX)
            other.connect(self.environment["ANGARIUM_SUBMIT_SOCKET"])
            others.append(other)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            small = pool.submit(self.sendmail, BOB)
            large = pool.submit(self.sendmail, BOB, content=b"Subject: x\n\n" + b"a line\n" * 100_000)
            time.sleep(1)
            self.assertFalse(small.done() or large.done(), "they do not wait")
            for other in others:
                other.close()
            small.result()
            large.result()
        self.bob.wait(2)

    def test_what_was_taken_survives_kill_9(self):
        self.sendmail(BOB)
        self.server.kill()
        self.server.start()
        self.open_boxes()
        type(self).environment = {**self.environment}
        self.one(self.bob)

    def mail_program(self, *arguments):
        done = subprocess.run(arguments, input=b"a line\n.\nanother\n", capture_output=True, timeout=60, env={**self.environment, "HOME": self.links.name}, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        got = self.one(self.bob)
        self.assertEqual(got["Subject"], "from a program")
        self.assertIn("a line\r\n", got.get_payload())

    @unittest.skipUnless(have("bsd-mailx"), "bsd-mailx is not installed")
    def test_bsd_mailx(self):
        rc = pathlib.Path(self.links.name) / "mailrc"
        rc.write_text(f"set sendmail={self.program}\n")
        self.environment = {**self.environment, "MAILRC": str(rc)}
        self.mail_program("bsd-mailx", "-I", "-s", "from a program", BOB)

    @unittest.skipUnless(have("s-nail"), "s-nail is not installed")
    def test_s_nail(self):
        self.mail_program("s-nail", "-:/", "-Sv15-compat", f"-Smta={self.program}", "-s", "from a program", BOB)

    @unittest.skipUnless(have("mutt"), "mutt is not installed")
    def test_mutt(self):
        self.mail_program("mutt", "-n", "-F", "/dev/null", "-e", f'set sendmail="{self.program} -oem -oi"', "-e", "set copy=no", "-s", "from a program", "--", BOB)


if __name__ == "__main__":
    unittest.main(verbosity=2)
