"""What is looked at before mail is taken, with the real server: the wait before the greeting, what rules remember, moderation by mail,
hooks at each stage of a session."""

import http.server
import imaplib
import json
import pathlib
import re
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from receiver import Receiver  # noqa: E402
from served import Served, wait_for  # noqa: E402
from server import BINARY  # noqa: E402

ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.org"
PASSWORD = "pass word"
# Connections of this address come from a load balancer; all others on loopback are near.
PROXY = "127.0.0.2"


class Server(Served):
    """With people, and perhaps somebody who takes its mail for others."""

    def __init__(self, settings, people=(ANN,), receiver=None):
        outbound = f'[outbound]\nsmarthost = "{receiver.place}"\n' if receiver else ""
        super().__init__(outbound + settings, listen=f'proxy_from = ["{PROXY}"]', people=people, password=PASSWORD)

    def mail(self, who=ANN, mailbox="INBOX"):
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        client.login(who, PASSWORD)
        client.select(mailbox, readonly=True)
        _, data = client.fetch("1:*", "(BODY.PEEK[])") if client.search(None, "ALL")[1][0] else (None, [])
        client.logout()
        return [part[1].decode() for part in data if isinstance(part, tuple)]

    def submit(self, who, to, text="Subject: x\r\n\r\nx\r\n", options=()):
        with smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=30) as client:
            client.ehlo("client.example")
            client.login(who, PASSWORD)
            client.sendmail(who, to, text, mail_options=list(options))

    def queue(self):
        return json.loads(self.angarium("queue", "list"))

    def talk(self, source, says_first=b""):
        return Talk(self.ports["smtp"], source, says_first)


class Talk:
    """An SMTP connection of an address elsewhere, by way of the load balancer."""

    def __init__(self, port, source, says_first=b""):
        self.begun = time.monotonic()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(PROXY, 0))
        self.socket.sendall(f"PROXY TCP4 {source} 198.51.100.1 4711 25\r\n".encode() + says_first)
        self.file = self.socket.makefile("rb")
        self.greeting = self.reply()
        self.waited_s = time.monotonic() - self.begun

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def reply(self):
        lines = [self.file.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(self.file.readline())
        return b"".join(lines).decode().strip()

    def ask(self, line):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def to(self, *recipients, sender="s@elsewhere.example"):
        self.ask("EHLO client.example")
        self.ask(f"MAIL FROM:<{sender}>")
        return [self.ask(f"RCPT TO:<{to}>") for to in recipients]

    def content(self, text="Subject: x\r\n\r\nx\r\n"):
        begun = self.ask("DATA")
        assert begun.startswith("354"), begun
        self.socket.sendall(text.encode() + b".\r\n")
        return self.reply()


class Case(unittest.TestCase):
    def server(self, *arguments, **more):
        server = Server(*arguments, **more)
        self.addCleanup(server.close)
        return server


class Greeting(Case):
    WAIT = '[policy.pregreet]\nwait = "1500ms"\nexempt = ["203.0.113.0/24"]\n'

    def test_a_stranger_waits_once_and_others_never(self):
        server = self.server(self.WAIT).start()
        with server.talk("192.0.2.7") as talk:
            self.assertEqual(talk.greeting.splitlines()[0], "220-mail.example.org")
            self.assertTrue(talk.greeting.splitlines()[1].startswith("220 mail.example.org ESMTP"), talk.greeting)
            self.assertGreaterEqual(talk.waited_s, 1.4)
            self.assertTrue(talk.to(ANN)[0].startswith("250"))
        for source in ["192.0.2.7", "203.0.113.9", "127.0.0.9"]:
            with server.talk(source) as talk:
                self.assertTrue(talk.greeting.startswith("220 "), talk.greeting)
                self.assertLess(talk.waited_s, 1)
        # Other protocols and listeners greet at once.
        with socket.create_connection(("127.0.0.1", server.ports["submission"]), timeout=1) as other:
            self.assertTrue(other.recv(100).startswith(b"220 "))

    def test_who_has_waited_is_known_after_a_restart_with_other_shards(self):
        server = self.server(self.WAIT).start(2)
        with server.talk("192.0.2.7"):
            pass
        server.end()
        server.start(3)
        with server.talk("192.0.2.7") as talk:
            self.assertLess(talk.waited_s, 1)

    def test_who_speaks_first_is_refused(self):
        server = self.server(self.WAIT).start()
        with server.talk("192.0.2.8", b"EHLO client.example\r\n") as talk:
            self.assertRegex(talk.greeting, r"^220-mail\.example\.org\r\n554 5\.5\.1 ")
            self.assertEqual(talk.file.read(), b"")
        with server.talk("192.0.2.8") as talk:
            self.assertGreaterEqual(talk.waited_s, 1.4, "it has not passed")
        self.assertIn("inbound.early_talker", server.text())

    def test_or_rules_decide(self):
        server = self.server('[policy.pregreet]\nwait = "1s"\nthen = "greet"\nscore = 7\n\n'
                             '[[policy.rule]]\nname = "early"\nstage = "rcpt"\nwhen = { early_talker = true, score = { at_least = 7 }, recipient = "example.org" }\n'
                             'then = { reject = "not so fast" }\n').start()
        with server.talk("192.0.2.8", b"NOOP\r\n") as talk:
            self.assertIn("220 mail.example.org", talk.greeting)
            self.assertTrue(talk.reply().startswith("250 "), "what it said first is served")
            self.assertIn("not so fast", talk.to(ANN)[0])

    def test_many_that_wait_keep_nobody_else_waiting(self):
        server = self.server('[policy.pregreet]\nwait = "4s"\nexempt = ["203.0.113.0/24"]\n').start()
        waiting = []
        for at in range(300):
            client = socket.create_connection(("127.0.0.1", server.ports["smtp"]), timeout=30, source_address=(PROXY, 0))
            self.addCleanup(client.close)
            client.sendall(f"PROXY TCP4 198.18.{at // 200}.{at % 200 + 1} 198.51.100.1 4711 25\r\n".encode())
            waiting.append(client)
        threads = len(list(pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()))
        with server.talk("203.0.113.9") as talk:
            self.assertLess(talk.waited_s, 1)
        self.assertLess(threads, 30)
        for client in waiting:
            whole = b""
            while not whole.endswith(b"ready\r\n"):
                piece = client.recv(1000)
                self.assertTrue(piece, whole)
                whole += piece
            self.assertTrue(whole.startswith(b"220-mail.example.org\r\n220 "), whole)


class Memory(Case):
    RULES = ('[policy.greylist]\ndelay = "2s"\n\n[[policy.limit]]\nname = "few"\nper = "source"\nrate = 3\nevery = "1d"\nnetwork_v4 = 32\n\n'
             '[[policy.rule]]\nname = "few"\nstage = "mail"\nwhen = { over_limit = "few" }\nthen = { defer = "too many" }\n\n'
             '[[policy.rule]]\nname = "strangers"\nstage = "rcpt"\nthen = "greylist"\n')

    def tries(self, server, source):
        with server.talk(source) as talk:
            return talk.to(ANN)[0]

    def test_what_was_learned_outlives_a_stop(self):
        server = self.server(self.RULES).start(2)
        self.assertTrue(self.tries(server, "192.0.2.7").startswith("45"))
        time.sleep(2.1)
        server.end()
        server.start(1)
        self.assertTrue(self.tries(server, "192.0.2.7").startswith("250"))
        self.assertTrue(self.tries(server, "192.0.2.7").startswith("250"))
        server.end()
        server.start(3)
        self.assertIn("too many", self.tries(server, "192.0.2.7"))
        server.end()
        server.angarium("check")

    def test_and_a_crash_but_for_the_last_seconds(self):
        server = self.server(self.RULES).start(2)
        self.assertTrue(self.tries(server, "192.0.2.7").startswith("45"))
        time.sleep(6.5)
        server.end(signal.SIGKILL)
        server.start(2)
        self.assertTrue(self.tries(server, "192.0.2.7").startswith("250"))


class Moderation(Case):
    RULE = ('[[mailflow.rule]]\nname = "moderated"\nwhen = { recipient = "bob@example.org" }\nthen = { moderate = "ann@example.org" }\n\n'
            '[[mailflow.rule]]\nname = "quiet"\nwhen = { recipient = "quiet@example.org" }\n'
            'then = { moderate = { by = ["ann@example.org"], tell_sender = false } }\n')
    TEXT = "From: eve@example.org\r\nTo: bob@example.org\r\nSubject: please\r\n\r\nmay I\r\n"

    def setUp(self):
        self.mailed = self.server(self.RULE, (ANN, BOB, EVE, "quiet@example.org"), receiver=self.receiver()).start()

    def receiver(self):
        receiver = Receiver()
        self.addCleanup(receiver.stop)
        return receiver

    def asked(self, count=1):
        asked = wait_for(lambda: [mail for mail in self.mailed.mail(ANN) if "Subject: Approve?" in mail][count - 1:], "the question")[0]
        found = re.findall(r"<mailto:(moderation\+(?:approve|reject)\.[0-9a-f.]+@mail\.example\.org)>", asked)
        self.assertEqual(len(found), 2, asked)
        return asked, *found

    def answers(self, who=ANN):
        return [mail for mail in self.mailed.mail(who) if "Auto-Submitted: auto-replied" in mail and "Moderation" in mail]

    def test_it_waits_until_it_is_approved_and_a_second_approval_does_nothing(self):
        server = self.mailed
        server.submit(EVE, [BOB, "far@elsewhere.example"], self.TEXT)
        asked, approve, _ = self.asked()
        for part in ["From:     eve@example.org", "far@elsewhere.example", "Content-Type: message/rfc822", "may I"]:
            self.assertIn(part, asked)
        listed = server.queue()
        self.assertTrue(listed and all(entry["held"] and entry["moderators"] == [ANN] for entry in listed), listed)
        server.end(signal.SIGKILL)
        server.start(3)
        self.assertEqual(server.mail(BOB), [])
        server.submit(ANN, [approve], "Subject: Re: Approve?\r\n\r\nyes\r\n")
        self.assertIn("may I", wait_for(lambda: server.mail(BOB), "the message")[0])
        self.assertIn("You have approved", wait_for(self.answers, "the answer")[0])
        wait_for(lambda: not server.queue(), "an empty queue")
        server.submit(ANN, [approve], "Subject: again\r\n\r\nyes\r\n")
        wait_for(lambda: len(self.answers()) == 2, "another answer")
        self.assertIn("Nothing was done: approved by ann@example.org", self.answers()[1])
        self.assertEqual(len(server.mail(BOB)), 1)

    def test_it_goes_back_when_it_is_rejected(self):
        server = self.mailed
        server.submit(EVE, [BOB], self.TEXT)
        _, approve, reject = self.asked()
        server.submit(ANN, [reject])
        bounce = wait_for(lambda: server.mail(EVE), "a bounce")[0]
        self.assertIn("a moderator has rejected the message", bounce.replace("\r\n ", " "))
        self.assertIn("Status: 5.7.1", bounce)
        server.submit(ANN, [approve])
        wait_for(lambda: len(self.answers()) == 2, "two answers")
        self.assertIn("Nothing was done: a moderator has rejected", self.answers()[1])
        self.assertEqual(server.mail(BOB), [])

    def test_the_sender_is_not_told_where_the_rule_says_so(self):
        server = self.mailed
        server.submit(EVE, ["quiet@example.org"], self.TEXT)
        server.submit(ANN, [self.asked()[2]])
        wait_for(self.answers, "an answer")
        self.assertEqual(server.queue(), [])
        time.sleep(1)
        self.assertEqual((server.mail(EVE), server.mail("quiet@example.org")), ([], []))

    def test_nobody_else_decides(self):
        server = self.mailed
        server.submit(EVE, [BOB], self.TEXT)
        _, approve, reject = self.asked()
        with self.assertRaises(smtplib.SMTPDataError) as other:
            server.submit(EVE, [approve])
        self.assertEqual(other.exception.smtp_code, 550)
        with server.talk("192.0.2.7") as talk:
            self.assertTrue(talk.to(approve, sender=ANN)[0].startswith("250"))
            self.assertIn("550 5.7.1", talk.content(f"From: {ANN}\r\nTo: {approve}\r\nSubject: yes\r\n\r\nyes\r\n"))
        forged = approve.replace("approve.", "approve.0", 1).replace("0@", "@")
        with server.talk("192.0.2.7") as talk:
            for address in [forged, reject.replace("reject", "approve")]:
                self.assertTrue(talk.to(address, sender=ANN)[0].startswith("550"))
        with self.assertRaises(smtplib.SMTPDataError):
            server.submit(ANN, [approve], "Auto-Submitted: auto-replied\r\nSubject: I am away\r\n\r\nx\r\n")
        self.assertTrue(server.queue()[0]["held"])
        self.assertEqual(server.mail(BOB), [])

    def test_a_moderator_needs_no_approval_and_the_operator_may_decide(self):
        server = self.mailed
        server.submit(ANN, [BOB])
        wait_for(lambda: server.mail(BOB), "the moderator's own message")
        server.submit(EVE, [BOB], self.TEXT)
        _, approve, _ = self.asked()
        server.angarium("queue", "release", server.queue()[0]["id"])
        wait_for(lambda: len(server.mail(BOB)) == 2, "the released message")
        server.submit(ANN, [approve])
        self.assertIn("Nothing was done: released by an operator", wait_for(self.answers, "an answer")[0])

    def test_without_a_decision_it_goes_back_in_its_time(self):
        server = self.mailed
        server.submit(EVE, [BOB], self.TEXT, ["BY=60;R"])
        self.asked()
        bounce = wait_for(lambda: server.mail(EVE), "a bounce", 90)[0]
        self.assertIn("no moderator has approved the message in time", bounce.replace("\r\n ", " "))
        self.assertEqual((server.queue(), server.mail(BOB)), ([], []))


class Hooks(Case):
    def setUp(self):
        self.asked, self.answers = [], {}
        rig = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                rig.asked.append(question)
                found = rig.answers.get(question["stage"], {"action": "accept"})
                body = json.dumps(found(question) if callable(found) else found).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.hook.serve_forever, daemon=True).start()
        self.addCleanup(self.hook.server_close)
        self.addCleanup(self.hook.shutdown)

    def filtered(self, stages, more=""):
        return self.server(f'[[filter]]\nkind = "hook"\naddress = "http://127.0.0.1:{self.hook.server_address[1]}/"\nstages = {json.dumps(stages)}\n{more}',
                           (ANN, BOB)).start()

    def stages(self):
        return [question["stage"] for question in self.asked]

    def test_each_stage_is_asked_once_for_what_it_is_about(self):
        server = self.filtered(["connect", "helo", "mail", "rcpt", "data"])
        with server.talk("192.0.2.7") as talk:
            for _ in range(2):
                self.assertTrue(all(reply.startswith("250") for reply in talk.to(ANN, BOB)))
                self.assertTrue(talk.content().startswith("250"))
        each = ["mail", "rcpt", "rcpt", "data"]
        self.assertEqual(self.stages(), ["connect", "helo", *each, *each])
        connect, helo, mail, first, second, data = self.asked[:6]
        self.assertEqual((connect["client"]["address"], connect["client"]["helo"], connect["sender"]), ("192.0.2.7", None, None))
        self.assertEqual((helo["client"]["helo"], helo["sender"]), ("client.example", None))
        self.assertEqual((mail["sender"], mail["recipients"]), ("s@elsewhere.example", []))
        self.assertEqual((first["recipients"], second["recipients"]), ([ANN], [ANN, BOB]))
        self.assertEqual((data["recipients"], mail["queue_id"]), ([ANN, BOB], data["queue_id"]))
        self.assertNotIn("message", second)

    def test_a_recipient_is_refused_by_itself_and_a_client_for_all(self):
        server = self.filtered(["connect", "mail", "rcpt"])
        self.answers["rcpt"] = lambda question: ({"action": "reject", "reply": {"code": 553, "enhanced": "5.7.9", "text": "not this one"}}
                                                 if question["recipients"][-1] == ANN else {"action": "accept"})
        with server.talk("192.0.2.7") as talk:
            said = talk.to(ANN, BOB)
            self.assertEqual((said[0], said[1][:3]), ("553 5.7.9 not this one", "250"))
            self.assertTrue(talk.content().startswith("250"))
            self.answers["mail"] = {"action": "defer"}
            self.assertEqual([reply[:3] for reply in talk.to(BOB, ANN)], ["451", "451"])
        self.assertEqual((len(server.mail(BOB)), server.mail(ANN)), (1, []))
        self.answers = {"connect": {"action": "reject"}}
        with server.talk("192.0.2.7") as talk:
            self.assertEqual([reply[:3] for reply in talk.to(BOB)], ["550"])
            self.assertEqual([reply[:3] for reply in talk.to(BOB)], ["550"])
        self.assertEqual(self.stages()[-1], "connect")

    def test_points_are_for_the_rules_that_come_later(self):
        server = self.filtered(["helo", "rcpt"], '\n[[policy.rule]]\nname = "points"\nstage = "data"\nwhen = { score = { at_least = 7 } }\n'
                                                 'then = { reject = "too many points" }\n')
        self.answers = {"helo": {"action": "score", "score": 3}, "rcpt": {"action": "score", "score": 4}}
        with server.talk("192.0.2.7") as talk:
            talk.to(ANN)
            self.assertIn("too many points", talk.content())
            self.answers["rcpt"] = {"action": "accept"}
            talk.to(ANN)
            self.assertTrue(talk.content().startswith("250"))

    def test_what_makes_no_sense_at_a_stage_is_a_failure(self):
        server = self.filtered(["rcpt"])
        for answer in [{"action": "discard"}, {"action": "junk"}, {"action": "score"}, {"action": "no"},
                       {"action": "accept", "modifications": [{"type": "add_header", "name": "X", "value": "y"}]}]:
            self.answers["rcpt"] = answer
            with server.talk("192.0.2.7") as talk:
                self.assertEqual(talk.to(ANN)[0][:3], "451", answer)

    def test_wrong_stages_are_found_before_the_start(self):
        for kind, stages, word in [("hook", [], "at least one of"), ("milter", ["rcpt"], "of a milter is"), ("clamd", ["data"], "is for hooks and milters")]:
            address = "http://127.0.0.1:1/" if kind == "hook" else "inet:127.0.0.1:1"
            server = self.server(f'[[filter]]\nkind = "{kind}"\naddress = "{address}"\nstages = {json.dumps(stages)}\n')
            done = subprocess.run([str(BINARY), "--config", str(server.config), "config", "check"], capture_output=True, text=True, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(word, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
