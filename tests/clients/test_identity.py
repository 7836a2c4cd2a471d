"""Who users say they are: what From and Sender may name, who may send for whom, copies in Sent, and how much each may send."""

import contextlib
import email
import imaplib
import json
import pathlib
import signal
import smtplib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from receiver import Receiver  # noqa: E402
from served import Served, wait_for  # noqa: E402
from server import BINARY  # noqa: E402

ANN, BOB, OFFICE, CLEO, DORA = (f"{name}@example.org" for name in ["ann", "bob", "office", "cleo", "dora"])
FAR = "to@far.example"
PASSWORD = "pass word"
LIMITS = """
[[policy.limit]]
name = "recipients of a user"
per = "account"
rate = 5
every = "1d"

[[policy.limit]]
name = "messages of a user"
per = "account"
rate = 3
every = "1h"

[[policy.rule]]
name = "too many messages"
stage = "mail"
when = { authenticated = true, over_limit = "messages of a user" }
then = { reject = { code = 550, enhanced = "5.7.1", text = "Too many messages in an hour" } }

[[policy.rule]]
name = "too many recipients"
stage = "rcpt"
when = { authenticated = true, over_limit = "recipients of a user" }
then = { defer = { code = 452, enhanced = "4.7.1", text = "Too many recipients today, try again later" } }
"""


class Rig(unittest.TestCase):
    """A server of two shards with five accounts, a smarthost that takes everything, and rules of the class's own."""

    RULES = ""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.receiver = Receiver()
        cls.stack.callback(cls.receiver.stop)
        settings = ('[submission]\nfrom = "enforce"\n'
                    f'[outbound]\nsmarthost = "{cls.receiver.place}"\nrelay_from = ["127.0.0.2"]\n{cls.RULES}')
        cls.server = Served(settings)
        cls.stack.callback(cls.server.close)
        cls.ports = cls.server.ports
        for address, name in [(ANN, "Ann Ängström"), (BOB, "Bob"), (OFFICE, ""), (CLEO, ""), (DORA, "")]:
            cls.server.add(address, PASSWORD, "--name", name)
        cls.angarium("alias", "set", "sales@example.org", ANN)
        cls.angarium("alias", "set", "team@example.org", ANN, CLEO)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    @classmethod
    def angarium(cls, *arguments, fails=0):
        said = cls.server.angarium(*arguments, status=fails)
        return json.loads(said.splitlines()[-1]) if said else None

    def setUp(self):
        self.receiver.behave()
        self.receiver.drop_all()

    @contextlib.contextmanager
    def login(self, who):
        with smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=30, local_hostname="client.example") as client:
            client.login(who, PASSWORD)
            yield client

    def submit(self, header, to=(FAR,), who=ANN, sender=None):
        """The reply to the content, or to the first command that was refused."""
        with self.login(who) as client:
            for code, text in [client.mail(sender or who), *(client.rcpt(one) for one in to)]:
                if code != 250:
                    return f"{code} {text.decode()}"
            code, text = client.data(f"{header}Subject: x\r\n\r\nbody\r\n")
            return f"{code} {text.decode()}"

    def taken(self, reply):
        self.assertTrue(reply.startswith("250 "), reply)

    def sent_out(self):
        """The header that the next system got."""
        message = email.message_from_bytes(self.receiver.wait()[-1].content)
        self.receiver.behave()
        return message

    @contextlib.contextmanager
    def imap(self, who):
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        client.login(who, PASSWORD)
        yield client
        client.logout()

    def mailbox(self, who, mailbox):
        with self.imap(who) as client:
            client.select(mailbox, readonly=True)
            _, data = client.fetch("1:*", "(FLAGS BODY.PEEK[])")
        return [(part[0].decode(), part[1].decode()) for part in data if isinstance(part, tuple)]


class Authors(Rig):
    def test_own_addresses_are_fine_and_others_are_refused(self):
        for own in [ANN, "ann+news@example.org", "Sales@Example.ORG"]:
            self.taken(self.submit(f"From: A <{own}>\r\n"))
            self.assertEqual(self.sent_out().get_all("From"), [f"A <{own}>"])
        for other in [BOB, "team@example.org", "ann@elsewhere.example"]:
            reply = self.submit(f"From: {other}\r\n")
            self.assertEqual(reply, f"550 5.7.1 you may not send as {other}, which From names")
        self.assertTrue(self.submit(f"From: {ANN}\r\n", sender=BOB).startswith("550 5.7.1 "))
        self.assertIn("submission.from_foreign", self.server.text())

    def test_what_has_no_from_gets_one(self):
        self.taken(self.submit("", sender=""))
        message = self.sent_out()
        address = email.header.make_header(email.header.decode_header(message["From"]))
        self.assertEqual((str(address), message["Sender"]), (f"Ann Ängström <{ANN}>", None))

    def test_delegates(self):
        header = f"From: The Office <{OFFICE}>\r\n"
        self.assertTrue(self.submit(header).startswith("550 5.7.1 "))
        given = self.angarium("account", "delegate", OFFICE, "--send-as", ANN)
        self.assertEqual(given, {"address": OFFICE, "delegates": [{"who": ANN, "right": "send-as"}]})
        for sender in [ANN, OFFICE]:
            self.taken(self.submit(header, sender=sender))
            message = self.sent_out()
            self.assertEqual((message["From"], message["Sender"]), (f"The Office <{OFFICE}>", None))
        self.angarium("account", "delegate", OFFICE, "--on-behalf", ANN)
        self.assertEqual(self.angarium("account", "show", OFFICE)["delegates"], [{"who": ANN, "right": "on-behalf"}])
        self.taken(self.submit(f"{header}Sender: {OFFICE}\r\n"))
        message = self.sent_out()
        self.assertEqual(message["From"], f"The Office <{OFFICE}>")
        self.assertEqual(len(message.get_all("Sender")), 1)
        self.assertIn(f"<{ANN}>", message["Sender"])
        self.angarium("account", "delegate", OFFICE, "--remove", ANN)
        self.assertEqual(self.angarium("account", "delegate", OFFICE)["delegates"], [])
        self.assertTrue(self.submit(header).startswith("550 5.7.1 "))

    def test_members_of_an_alias_may_when_the_operator_says_so(self):
        header = "From: team@example.org\r\n"
        for who in [ANN, CLEO]:
            self.assertTrue(self.submit(header, who=who).startswith("550 5.7.1 "))
        self.angarium("account", "delegate", "team@example.org", "--send-as", "team@example.org")
        self.addCleanup(self.angarium, "account", "delegate", "team@example.org", "--remove", "team@example.org")
        for who in [ANN, CLEO]:
            self.taken(self.submit(header, who=who))
            self.assertIsNone(self.sent_out()["Sender"])
        self.assertTrue(self.submit(header, who=BOB).startswith("550 5.7.1 "))

    def test_commands_say_what_is_wrong(self):
        for arguments, code in [(["nobody@example.org", "--send-as", ANN], 67), ([ANN, "--send-as", "nobody@example.org"], 67),
                                ([ANN, "--remove", BOB], 67), (["nobody@example.org"], 67), (["ann"], 65),
                                ([ANN, "--send-as", BOB, "--on-behalf", BOB], 64)]:
            self.angarium("account", "delegate", *arguments, fails=code)
        self.angarium("account", "set", ANN, "--sent-copy", "some", fails=64)

    def test_what_is_sent_on_keeps_its_author(self):
        original = "From: x@elsewhere.example\r\nSender: y@elsewhere.example\r\n"
        self.taken(self.submit(f"Resent-From: {ANN}\r\n{original}"))
        message = self.sent_out()
        self.assertEqual((message["From"], message["Sender"]), ("x@elsewhere.example", "y@elsewhere.example"))
        self.assertEqual(self.submit(f"Resent-From: {BOB}\r\n{original}"),
                         f"550 5.7.1 you may not send as {BOB}, which Resent-From names")

    def test_trusted_networks_and_local_programs_say_what_they_want(self):
        with smtplib.SMTP("127.0.0.1", self.ports["smtp"], timeout=30, source_address=("127.0.0.2", 0)) as client:
            client.sendmail("x@elsewhere.example", [FAR], f"From: {BOB}\r\n\r\nx\r\n")
        self.assertEqual(self.sent_out()["From"], BOB)
        self.angarium_sendmail(f"From: {BOB}\n\nx\n")
        self.assertEqual(self.sent_out()["From"], BOB)

    def angarium_sendmail(self, text):
        done = subprocess.run([str(BINARY), "--config", str(self.server.config), "sendmail", FAR], input=text, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_an_operator_may_have_it_told_instead(self):
        def reload(word):
            text = self.server.config.read_text()
            before = self.server.text().count("runtime.reloaded")
            self.server.config.write_text("\n".join(f'from = "{word}"' if line.startswith("from = ") else line for line in text.split("\n")))
            self.server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: self.server.text().count("runtime.reloaded") > before, "a reload")

        try:
            for word, sender in [("sender", True), ("any", False)]:
                reload(word)
                self.taken(self.submit(f"From: {BOB}\r\n"))
                message = self.sent_out()
                self.assertEqual((message["From"], message["Sender"] is not None), (BOB, sender), word)
        finally:
            reload("enforce")
        self.assertTrue(self.submit(f"From: {BOB}\r\n").startswith("550 5.7.1 "))


class Copies(Rig):
    def test_copies_are_there_when_the_message_is_taken(self):
        self.angarium("account", "set", ANN, "--sent-copy", "own")
        shown = self.angarium("account", "set", OFFICE, "--sent-copy", "delegates")
        self.assertEqual(shown["sent_copy"], "delegates")
        self.angarium("account", "delegate", OFFICE, "--on-behalf", ANN)
        # Wherever the user keeps it.
        with self.imap(ANN) as client:
            client.rename("Sent", "Gesendet")
        self.taken(self.submit(f"From: {ANN}\r\nBcc: secret@far.example\r\n"))
        self.taken(self.submit(f"From: {OFFICE}\r\n", to=[FAR, BOB]))
        self.assertNotIn("Bcc", [name for message in self.receiver.wait(2) for name in email.message_from_bytes(message.content)])
        own, for_office = self.mailbox(ANN, "Gesendet")
        self.assertIn("\\Seen", own[0])
        self.assertTrue(own[1].startswith("Date: "), own[1])
        self.assertIn("\r\nBcc: secret@far.example\r\n", own[1])
        self.assertEqual(self.mailbox(OFFICE, "Sent")[0][1], for_office[1])
        self.assertIn(f"<{ANN}>", email.message_from_string(for_office[1])["Sender"])
        # It is the message that others got, by its Message-ID.
        got = email.message_from_string(self.mailbox(BOB, "INBOX")[-1][1])
        self.assertEqual(got["Message-ID"], email.message_from_string(for_office[1])["Message-ID"])
        # What is refused leaves none.
        self.assertTrue(self.submit(f"From: {BOB}\r\n").startswith("550 "))
        self.assertEqual(len(self.mailbox(ANN, "Gesendet")), 2)

    def test_copies_outlive_a_crash(self):
        self.angarium("account", "set", CLEO, "--sent-copy", "all")
        self.taken(self.submit(f"From: {CLEO}\r\n", to=[DORA], who=CLEO))
        self.server.end(signal.SIGKILL)
        self.server.start()
        self.assertEqual((len(self.mailbox(CLEO, "Sent")), len(self.mailbox(DORA, "INBOX"))), (1, 1))

    def test_a_full_mailbox_sends_without_a_copy(self):
        self.angarium("account", "set", BOB, "--sent-copy", "own", "--quota", "1")
        self.addCleanup(self.angarium, "account", "set", BOB, "--sent-copy", "none", "--quota", "0")
        self.taken(self.submit(f"From: {BOB}\r\n", who=BOB))
        self.assertEqual(self.sent_out()["From"], BOB)
        self.assertEqual(self.mailbox(BOB, "Sent"), [])
        self.assertIn("submission.no_copy", self.server.text())


class Limits(Rig):
    RULES = LIMITS

    def test_recipients_a_day_are_counted_across_connections(self):
        many = [f"to{at}@far.example" for at in range(4)]
        self.taken(self.submit(f"From: {ANN}\r\n", to=many))
        with self.login(ANN) as client:
            client.mail(ANN)
            self.assertEqual(client.rcpt("fifth@far.example")[0], 250)
            self.assertEqual(client.rcpt("sixth@far.example"), (452, b"4.7.1 Too many recipients today, try again later"))
        self.assertEqual(self.submit(f"From: {ANN}\r\n"), "452 4.7.1 Too many recipients today, try again later")
        self.taken(self.submit(f"From: {BOB}\r\n", who=BOB))

    def test_messages_an_hour_are_counted_across_connections(self):
        for _ in range(3):
            self.taken(self.submit(f"From: {CLEO}\r\n", who=CLEO))
        self.assertEqual(self.submit(f"From: {CLEO}\r\n", who=CLEO), "550 5.7.1 Too many messages in an hour")
        self.taken(self.submit(f"From: {DORA}\r\n", who=DORA))


if __name__ == "__main__":
    unittest.main(verbosity=2)
