"""A return path for each recipient: asked for by XVERP or by `sendmail -XV`, and what bounces do with it."""

import base64
import email
import email.policy
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import test_relay  # noqa: E402
from receiver import EXTENSIONS  # noqa: E402
from server import BINARY  # noqa: E402
from test_relay import ANN, Rig, Talk, wait_for  # noqa: E402

LIST = ANN.replace("ann", "ann+list")


def path(message):
    return message.mail.split("<")[1].split(">")[0]


class Verp(Rig):
    def talk(self):
        """Ann, logged in on submission."""
        talk = Talk(self.server.port("submission"))
        user, password = self.server.account(0)
        self.assertIn("235", talk.ask("AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode()))
        return talk

    def post(self, *recipients, sender=ANN, mail=" XVERP", rcpt=""):
        with self.talk() as talk:
            replies = talk.send(sender, recipients, b"Subject: issue 1\r\n\r\nnews\r\n", mail=mail, rcpt=rcpt)
        self.assertEqual({reply[:3] for reply in replies}, {"250"}, replies)

    def test_each_recipient_in_a_transaction_of_its_own_on_one_connection(self):
        people = [f"reader{number}@far.example" for number in range(7)]
        for extensions in [EXTENSIONS, ()]:
            with self.subTest(extensions):
                self.receiver.drop_all()
                self.receiver.behave(extensions=extensions)
                self.post(*people)
                messages = self.receiver.wait(len(people))
                self.assertEqual(sorted(path(message) for message in messages),
                                 sorted(ANN.replace("@", f"+{who.replace('@', '=')}@") for who in people))
                for message in messages:
                    (to,) = message.rcpts
                    self.assertEqual(path(message), ANN.replace("@", f"+{to.split('<')[1].split('>')[0].replace('@', '=')}@"))
                    self.assertTrue(message.content.endswith(b"Subject: issue 1\r\n\r\nnews\r\n"), message.content)
                self.assertEqual(len({message.connection for message in messages}), 1)
                wait_for(self.is_empty, "an empty queue")
                self.assertEqual(len(self.receiver.messages), len(people))

    def test_without_it_all_go_together(self):
        self.post("a@far.example", "b@far.example", mail="")
        message = self.receiver.wait()[0]
        self.assertEqual((path(message), len(message.rcpts)), (ANN, 2))

    def test_other_signs_and_what_cannot_be_named(self):
        self.post("a@far.example", '"b c"@far.example', mail=" XVERP=-=")
        paths = sorted(path(message) for message in self.receiver.wait(2))
        self.assertEqual(paths, sorted([ANN.replace("@", "-a=far.example@"), ANN]))

    def test_more_than_a_round(self):
        people = [f"reader{number}@far.example" for number in range(230)]
        self.post(*people)
        messages = self.receiver.wait(len(people), timeout_s=30)
        wait_for(self.is_empty, "an empty queue")
        self.assertEqual(len({path(message) for message in messages}), len(people))
        self.assertEqual(len(self.receiver.messages), len(people), "nobody gets it twice")

    def test_a_bounce_names_whom_it_is_about(self):
        self.receiver.behave(rcpt=lambda line: "550 5.1.1 no such person" if "gone" in line else None)
        self.post("gone1@far.example", "b@far.example", "gone2@far.example")
        raws = self.inbox.wait(2)
        wait_for(self.is_empty, "an empty queue")
        self.assertEqual(len(self.receiver.messages), 1)
        reports = [email.message_from_bytes(raw, policy=email.policy.default) for raw in raws]
        for report in reports:
            status = report.get_payload()[1]
            (block,) = status.get_payload()[1:]
            who = block["Final-Recipient"].split("; ")[1]
            self.assertEqual(report["To"], ANN.replace("@", f"+{who.replace('@', '=')}@"))
        self.assertEqual({report["To"].split("+")[1].split("=")[0] for report in reports}, {"gone1", "gone2"})

    def test_those_who_wait_are_tried_again_under_their_own_paths(self):
        self.receiver.behave(rcpt=lambda line: "450 4.2.0 come again in 300 seconds" if "slow" in line else None)
        self.post("slow1@far.example", "b@far.example", "slow2@far.example")
        self.receiver.wait()
        entry = self.later()
        self.assertEqual(sorted(entry["recipients"]), ["slow1@far.example", "slow2@far.example"])
        self.receiver.behave()
        self.angarium("queue", "retry", entry["id"])
        paths = sorted(path(message) for message in self.receiver.wait(2))
        self.assertEqual(paths, [ANN.replace("@", "+slow1=far.example@"), ANN.replace("@", "+slow2=far.example@")])

    def test_a_connection_that_breaks_in_the_middle(self):
        self.receiver.behave(closes_at="dot")
        self.post("a@far.example", "b@far.example", "c@far.example")
        entry = self.later()
        # The others were not tried at a host that hangs up.
        self.assertEqual(len(entry["recipients"]), 3)
        self.assertEqual(sum(line.startswith("RCPT") for line in self.receiver.commands), 1)
        self.receiver.behave()
        self.angarium("queue", "retry", entry["id"])
        self.assertEqual(len({path(message) for message in self.receiver.wait(3)}), 3)

    def test_who_may_ask_and_how(self):
        with self.talk() as talk:
            for mail, code in [(" XVERP=++", "501 5.5.4"), (" XVERP=+", "501 5.5.4"), (" XVERP=ab", "501 5.5.4"), (" XVERP", "250")]:
                self.assertTrue(talk.ask(f"MAIL FROM:<{ANN}>{mail}").startswith(code), mail)
            talk.ask("RSET")
            self.assertTrue(talk.ask("MAIL FROM:<> XVERP").startswith("501 5.5.4"))

    def sendmail(self, *arguments, fails=0):
        environment = {**os.environ, "ANGARIUM_SUBMIT_SOCKET": str(self.server.folder / "run" / "submit.sock")}
        done = subprocess.run([str(BINARY), "sendmail", *arguments], input="Subject: x\n\nx\n", capture_output=True, text=True,
                              timeout=60, check=False, env=environment)
        self.assertEqual(done.returncode, fails, done.stderr)
        return done.stderr

    def test_sendmail(self):
        for option, signs in [("-XV", "+="), ("-XV-=", "-=")]:
            with self.subTest(option):
                self.receiver.behave()
                self.sendmail(option, "-f", LIST, "a@far.example", "b@far.example")
                paths = sorted(path(message) for message in self.receiver.wait(2))
                # The sender has the usual sign of its own: then nothing could be read back.
                expected = [LIST, LIST] if signs == "+=" else [LIST.replace("@", f"-{who}=far.example@") for who in "ab"]
                self.assertEqual(paths, expected)
                wait_for(self.is_empty, "an empty queue")
        self.assertIn("-XV", self.sendmail("-XVab", "-f", LIST, "a@far.example", fails=64))
        self.assertIn("no sender", self.sendmail("-XV", "-f", "<>", "a@far.example", fails=64))


class Settings(unittest.TestCase):
    """Who is offered it."""

    serving, angarium, send = test_relay.Configured.serving, test_relay.Configured.angarium, test_relay.Configured.send

    def offers(self, port):
        with Talk(port) as talk:
            talk.socket.sendall(b"EHLO client.example\r\n")
            lines = [talk.file.readline().decode().strip()]
            while lines[-1][3] == "-":
                lines.append(talk.file.readline().decode().strip())
            return any(line[4:] == "XVERP" for line in lines), talk.ask("MAIL FROM:<list@lists.example> XVERP")[:3]

    def test_systems_of_ours_and_nobody_else(self):
        for outbound, expected in [('relay_from = ["127.0.0.0/8"]\n', (True, "250")),
                                   ('relay_from = ["192.0.2.0/24"]\n', (False, "555")),
                                   ('relay_from = ["127.0.0.0/8"]\nverp = false\n', (False, "555"))]:
            with self.subTest(outbound), self.serving(outbound) as (ports, _):
                self.assertEqual(self.offers(ports["smtp"]), expected)


if __name__ == "__main__":
    unittest.main(verbosity=2)
