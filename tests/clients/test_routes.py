"""Routes by name, egress pools, bounds of destinations and rerouting: `angarium serve` with receivers on loopback that stand
for other systems."""

import collections
import contextlib
import json
import pathlib
import smtplib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from receiver import Receiver  # noqa: E402
from served import Served, wait_for  # noqa: E402

SENDER = "s@elsewhere.example"


class Routes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.usual, cls.partner, cls.bulk, cls.slow = Receiver(), Receiver(), Receiver(), Receiver(host="127.0.0.5")
        for receiver in (cls.usual, cls.partner, cls.bulk, cls.slow):
            cls.stack.callback(receiver.stop)
        cls.server = Served(f"""
[inbound]
authenticate = false

[outbound]
smarthost = "{cls.usual.place}"
relay_from = ["127.0.0.1"]
default_pool = "plain"

[[outbound.pool]]
name = "plain"
sources = [{{ ipv4 = "127.0.0.9", ehlo = "plain.example.org" }}]

[[outbound.pool]]
name = "many"
sources = [
    {{ ipv4 = "127.0.0.11", ehlo = "one.example.org", weight = 3, connections_max = 2 }},
    {{ ipv4 = "127.0.0.12", weight = 1 }},
    {{ ipv6 = "2001:db8::1" }},
]

[[outbound.pool]]
name = "narrow"
sources = [{{ ipv4 = "127.0.0.13", connections_max = 1 }}]

[[outbound.route]]
name = "narrow"
recipients = ["narrow.example"]
smarthost = "{cls.bulk.place}"
pool = "narrow"

[[outbound.route]]
name = "partner"
recipients = ["partner.example", "*.partner.example"]
smarthost = "{cls.partner.place}"

[[outbound.route]]
name = "bulk"
senders = ["news@example.org"]
smarthost = "{cls.bulk.place}"
pool = "many"

[[outbound.route]]
name = "slow"
recipients = ["slow.example"]
smarthost = "{cls.slow.place}"

[[outbound.destination]]
domains = ["[127.0.0.5]"]
messages_per_minute_max = 240

[[mailflow.rule]]
name = "by word"
when = {{ subject = {{ starts_with = "urgent" }} }}
then = {{ route = "bulk" }}
""")
        cls.stack.callback(cls.server.close)
        cls.ports, cls.angarium = cls.server.ports, cls.server.angarium
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        for receiver in (self.usual, self.partner, self.bulk):
            receiver.behave()
            receiver.drop_all()

    def send(self, to, sender=SENDER, subject="x"):
        with smtplib.SMTP("127.0.0.1", self.ports["smtp"], timeout=30) as client:
            client.ehlo()
            client.mail(sender)
            self.assertEqual(client.rcpt(to)[0], 250)
            code, text = client.data(f"Subject: {subject}\r\n\r\nx\r\n")
            self.assertEqual(code, 250, text)
            return text.split()[-1].decode()

    def test_mail_goes_by_its_recipients(self):
        self.send("bob@other.example")
        self.send("bob@partner.example")
        self.send("bob@a.partner.example")
        self.usual.wait(1)
        self.partner.wait(2)
        self.assertEqual(len(self.bulk.messages), 0)
        self.assertEqual((self.usual.messages[0].peer, self.usual.messages[0].hello), ("127.0.0.9", "EHLO plain.example.org"))

    def test_mail_goes_by_its_sender_from_a_pool_of_addresses(self):
        # All at once, so that one connection does not carry them all.
        self.bulk.behave(pause_s=0.05)
        for _ in range(40):
            self.send("bob@other.example", "news@example.org")
        self.bulk.wait(40, 20)
        peers = collections.Counter((message.peer, message.hello) for message in self.bulk.messages)
        self.assertEqual(set(peers), {("127.0.0.11", "EHLO one.example.org"), ("127.0.0.12", "EHLO mail.example.org")})

    def test_what_finds_no_free_source_waits_and_is_not_put_off(self):
        self.bulk.behave(pause_s=0.02)
        names = [self.send("bob@narrow.example") for _ in range(30)]
        self.bulk.wait(30, 20)
        self.assertEqual({message.peer for message in self.bulk.messages}, {"127.0.0.13"})
        for name in names:
            wait_for(lambda: json.loads(self.angarium("trace", name))[0]["ended_ms"], "an end")
            self.assertEqual([attempt["action"] for attempt in json.loads(self.angarium("trace", name))[0]["attempts"]], ["relayed"])

    def test_what_is_rerouted_leaves_a_destination_that_is_stopped(self):
        self.angarium("queue", "suspend", self.usual.place)
        name = self.send("bob@other.example")
        self.angarium("queue", "reroute", name, "--route", "partner")
        self.partner.wait(1)
        self.angarium("queue", "resume", self.usual.place)
        self.assertEqual(len(self.usual.messages), 0)

    def test_a_reroute_is_not_undone_by_what_is_under_way(self):
        self.usual.behave(pause_s=1, final="450 4.2.0 not now")
        name = self.send("bob@other.example")
        self.usual.wait_for_command("MAIL")
        time.sleep(0.2)
        self.angarium("queue", "reroute", name, "--route", "partner")
        self.partner.wait(1, 10)

    def test_a_rule_names_a_route(self):
        self.send("bob@other.example", subject="urgent: x")
        self.bulk.wait(1)
        self.assertEqual(len(self.usual.messages), 0)

    def test_an_operator_sends_mail_another_way_and_back(self):
        self.usual.behave(rcpt="450 4.2.0 not now")
        name = self.send("bob@other.example")
        wait_for(lambda: json.loads(self.angarium("queue", "list", name))[0]["attempts"] == 1, "an attempt")
        self.angarium("queue", "reroute", name, "--route", "nowhere", status=67)
        self.partner.behave(rcpt="450 4.2.0 not now either")
        self.angarium("queue", "reroute", name, "--route", "partner")
        wait_for(lambda: "either" in json.loads(self.angarium("queue", "list", name))[0]["last_reply"], "an attempt there")
        lanes = [lane["destination"] for lane in json.loads(self.angarium("queue", "destinations"))]
        self.assertIn(f"[127.0.0.1]:{self.partner.port} via partner", lanes)
        self.usual.behave()
        self.angarium("queue", "reroute", name, "--no-route")
        self.usual.wait(1)
        story = json.loads(self.angarium("trace", name))[0]
        self.assertEqual([attempt["action"] for attempt in story["attempts"]], ["delayed", "delayed", "relayed"])

    def test_a_destination_has_its_pace(self):
        for _ in range(12):
            self.send("bob@slow.example")
        # Two shards send 2 a second each.
        began = time.monotonic()
        self.slow.wait(12, 20)
        self.assertGreater(time.monotonic() - began, 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
