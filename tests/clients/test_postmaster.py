"""What the postmaster is told: of bounces that cannot be delivered, and what senders are told."""

import email
import email.policy
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import test_relay  # noqa: E402
from test_relay import ANN, Mailbox, Rig, wait_for  # noqa: E402


def parts(raw):
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report", message
    text, status, original = message.iter_parts()
    return message, text.get_content(), status.get_payload()[1:], original


class Usual(Rig):
    """The demo's postmaster is its first user, who is told of what nobody else is."""

    def assert_nothing_more(self):
        wait_for(self.is_empty, "an empty queue")
        self.assertEqual(len(self.inbox.all()), 1)

    def test_mail_from_nobody(self):
        self.receiver.behave(rcpt="550 5.1.1 no such person")
        self.send("a@far.example", sender="", content=b"Subject: Not delivered: x\r\n\r\nwhy\r\n", rcpt=" NOTIFY=NEVER")
        raw = self.inbox.wait()[0]
        self.assertTrue(raw.startswith(b"Return-Path: <>\r\n"), raw[:100])
        message, text, blocks, original = parts(raw)
        self.assertEqual((message["Auto-Submitted"], message["To"]), ("auto-generated", ANN))
        self.assertTrue(message["X-Postmaster-Notice"])
        self.assertIn("Mail from <>", text)
        self.assertEqual([(block["Final-Recipient"], block["Action"], block["Status"]) for block in blocks],
                         [("rfc822; a@far.example", "failed", "5.1.1")])
        self.assertEqual((original.get_content_type(), original.get_payload()[0]["Subject"]), ("message/rfc822", "Not delivered: x"))
        self.assert_nothing_more()

    def test_a_notice_to_a_sender_elsewhere_who_does_not_exist(self):
        self.receiver.behave(rcpt="550 5.1.1 no such person")
        self.send("a@far.example", sender="gone@elsewhere.example")
        _, _, blocks, original = parts(self.inbox.wait()[0])
        self.assertEqual(blocks[0]["Final-Recipient"], "rfc822; gone@elsewhere.example")
        # In it the bounce that could not be delivered.
        self.assertIn("a@far.example", original.as_string())
        self.assert_nothing_more()

    def test_a_notice_to_a_sender_of_ours_who_does_not_exist(self):
        self.receiver.behave(rcpt="550 5.1.1 no such person")
        self.send("a@far.example", sender=ANN.replace("ann", "gone"))
        _, _, blocks, _ = parts(self.inbox.wait()[0])
        self.assertEqual((blocks[0]["Final-Recipient"], blocks[0]["Status"]), (f"rfc822; {ANN.replace('ann', 'gone')}", "5.1.1"))
        self.assert_nothing_more()

    def test_a_notice_to_a_postmaster_is_told_to_nobody(self):
        self.receiver.behave(rcpt="550 5.1.1 no such person")
        self.send("a@far.example", sender="", content=b"X-Postmaster-Notice: other.example\r\nSubject: x\r\n\r\nx\r\n")
        self.receiver.wait_for_command("RCPT")
        wait_for(self.is_empty, "an empty queue")
        self.assertEqual(self.inbox.all(), [])
        self.assertIn("relay.postmaster_untold", self.server.log_text())

    def test_a_failure_that_its_sender_is_told_of_is_no_matter_of_the_postmasters(self):
        self.receiver.behave(rcpt=lambda line: "550 5.1.1 no such person" if "a@far" in line else None)
        self.send("a@far.example", sender="someone@elsewhere.example")
        self.receiver.wait()
        wait_for(self.is_empty, "an empty queue")
        self.assertEqual(self.inbox.all(), [])


class Chosen(unittest.TestCase):
    """Servers with settings of their own."""

    serving, angarium, send = test_relay.Configured.serving, test_relay.Configured.angarium, test_relay.Configured.send

    def told(self, setting, alias=False, **script):
        """What the postmaster got of a failed message from nobody and one from elsewhere."""
        with self.serving(f'relay_from = ["127.0.0.0/8"]\n{setting}\n', **script) as (ports, receiver):
            if alias:
                self.angarium("alias", "set", "postmaster@example.org", "ann@example.org")
            inbox = Mailbox(ports["imap"], ("ann@example.org", "pass word"))
            for sender in ["", "s@elsewhere.example"]:
                self.send(ports, "a@far.example", sender=sender)
                wait_for(lambda: not self.angarium("queue", "list"), "an empty queue")
            found = [parts(raw) for raw in inbox.all()]
            inbox.close()
            return found, receiver, (self.folder / "log").read_text()

    @staticmethod
    def failing(line):
        return "550 5.1.1 no" if "a@far" in line else None

    def test_nothing(self):
        found, _, _ = self.told("tell_postmaster = []", alias=True, rcpt=self.failing)
        self.assertEqual(found, [])

    def test_copies_of_bounces(self):
        found, receiver, _ = self.told('tell_postmaster = ["bounce", "delay"]', alias=True, rcpt=self.failing)
        self.assertEqual(len(receiver.messages), 1, "the sender's own")
        (message, text, blocks, original), = found
        self.assertEqual(message["To"], "postmaster@example.org")
        self.assertIn("s@elsewhere.example", text)
        self.assertEqual(blocks[0]["Final-Recipient"], "rfc822; a@far.example")
        self.assertEqual(original.get_content_type(), "text/rfc822-headers")

    def test_a_postmaster_who_cannot_be_reached(self):
        """Nobody has set the alias: it is logged, and that is all."""
        found, _, log = self.told('tell_postmaster = ["undeliverable", "bounce"]', rcpt=self.failing)
        self.assertEqual(found, [])
        self.assertIn("relay.postmaster_untold", log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
