"""Who stands in front of the server, and what senders ask of the way of their mail: PROXY headers, XCLIENT, mail that waits until
its time, and what is passed on to the next system."""

import contextlib
import imaplib
import pathlib
import smtplib
import socket
import ssl
import struct
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from receiver import EXTENSIONS, Receiver  # noqa: E402
from served import DOORS, Served, wait_for  # noqa: E402

ANN = "ann@example.org"
PASSWORD = "pass word"
BODY = b"Subject: x\r\n\r\nx\r\n"
# Connections of these addresses come from a load balancer, from a gateway, and from neither.
PROXY, GATEWAY, OTHER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
CLEAR = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CLEAR.check_hostname = False
CLEAR.verify_mode = ssl.CERT_NONE


def v1(source, port=4711):
    return f"PROXY TCP4 {source} 198.51.100.1 {port} 25\r\n".encode()


def v2(source, port=4711, tlv=b""):
    body = socket.inet_aton(source) + socket.inet_aton("198.51.100.1") + struct.pack(">HH", port, 25) + tlv
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", len(body)) + body


class Talk:
    """An SMTP connection from one of our addresses, perhaps with something in front."""

    def __init__(self, port, source=OTHER, front=b"", tls=False):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))
        self.socket.sendall(front)
        if tls:
            self.socket = CLEAR.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")
        self.greeting = self.reply()

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

    def send(self, mail="MAIL FROM:<s@elsewhere.example>", to=ANN):
        replies = [self.ask(mail), self.ask(f"RCPT TO:<{to}>"), self.ask("DATA")]
        assert replies[-1].startswith("354"), replies
        self.socket.sendall(BODY + b".\r\n")
        return self.reply()


class Rig(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.receiver = Receiver()
        cls.stack.callback(cls.receiver.stop)
        settings = ("[limits]\nconnections_per_source_max = 5\n[inbound]\nauthenticate = false\n"
                    f'[outbound]\nsmarthost = "{cls.receiver.place}"\nrelay_from = ["{OTHER}", "203.0.113.0/24"]\n')
        cls.server = Served(settings, DOORS, f'proxy_from = ["{PROXY}"]\nxclient_from = ["{GATEWAY}/32"]', [ANN], PASSWORD)
        cls.stack.callback(cls.server.close)
        cls.ports, cls.angarium = cls.server.ports, cls.server.angarium
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.receiver.behave()
        self.receiver.drop_all()
        with self.inbox() as inbox:
            inbox.store("1:*", "+FLAGS", r"(\Deleted)")
            inbox.expunge()

    @contextlib.contextmanager
    def inbox(self):
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        client.login(ANN, PASSWORD)
        client.select("INBOX")
        yield client
        client.logout()

    def mail(self):
        with self.inbox() as inbox:
            _, data = inbox.fetch("1:*", "(BODY.PEEK[])")
        return [part[1].decode() for part in data if isinstance(part, tuple)]

    def arrived(self):
        return wait_for(self.mail, "a message")[0]

    def counted(self):
        """Connections of load balancers that were closed."""
        return self.server.text().count("runtime.proxy_header_refused")


class Proxies(Rig):
    def test_the_client_is_who_the_header_says(self):
        for front in [v1("192.0.2.7"), v2("192.0.2.7"), v2("192.0.2.7", tlv=b"\x03\0\x04abcd")]:
            self.setUp()
            with Talk(self.ports["smtp"], PROXY, front) as talk:
                talk.ask("EHLO client.example")
                self.assertTrue(talk.send().startswith("250"))
            self.assertIn("Received: from client.example ([192.0.2.7])", self.arrived())

    def test_a_header_that_drips_with_what_follows_close_behind(self):
        for front in [v1("192.0.2.7"), v2("192.0.2.7")]:
            with socket.create_connection(("127.0.0.1", self.ports["smtp"]), timeout=30, source_address=(PROXY, 0)) as drip:
                drip.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for byte in front[:-1]:
                    drip.sendall(bytes([byte]))
                drip.sendall(front[-1:] + b"QUIT\r\n")
                self.assertTrue(drip.makefile("rb").read().startswith(b"220 "))

    def test_tls_from_the_start_comes_behind_it(self):
        for front in [v1("192.0.2.7"), v2("192.0.2.7")]:
            with Talk(self.ports["submissions"], PROXY, front, tls=True) as talk:
                self.assertTrue(talk.greeting.startswith("220 "))
            for name in ["imaps", "pop3s"]:
                with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=30, source_address=(PROXY, 0)) as plain:
                    plain.sendall(front)
                    with CLEAR.wrap_socket(plain) as secured:
                        self.assertRegex(secured.recv(100), rb"^(\* OK|\+OK)")

    def test_networks_are_those_of_the_client(self):
        for source, code in [("203.0.113.5", "250"), ("192.0.2.7", "550")]:
            with Talk(self.ports["smtp"], PROXY, v1(source)) as talk:
                talk.ask("EHLO client.example")
                talk.ask("MAIL FROM:<s@elsewhere.example>")
                self.assertEqual(talk.ask("RCPT TO:<to@far.example>")[:3], code)

    def test_each_client_has_its_own_share_of_connections(self):
        with contextlib.ExitStack() as stack:
            for at in range(12):
                stack.enter_context(Talk(self.ports["smtp"], PROXY, v1(f"192.0.2.{at + 1}")))
            for at in range(4):
                stack.enter_context(Talk(self.ports["smtp"], PROXY, v1("192.0.2.1", at + 1)))
            with Talk(self.ports["smtp"], PROXY, v1("192.0.2.1")) as above:
                self.assertTrue(above.greeting.startswith("421 "), above.greeting)

    def test_the_balancer_itself_may_look(self):
        for front in [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"]:
            with Talk(self.ports["smtp"], PROXY, front) as talk:
                self.assertTrue(talk.greeting.startswith("220 "))

    def test_whom_the_balancer_cannot_name_is_nobody_we_trust(self):
        with Talk(self.ports["smtp"], PROXY, b"PROXY UNKNOWN\r\n") as talk:
            talk.ask("EHLO client.example")
            self.assertTrue(talk.send().startswith("250"))
        self.assertIn("Received: from client.example ([0.0.0.0])", self.arrived())

    def test_without_a_header_nothing_is_said(self):
        before = self.counted()
        bad = [b"EHLO client.example\r\n", b"PROXY TCP4 192.0.2.1\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(32), b"PROXY" + b" x" * 60]
        for front in bad:
            # What it has not read makes it a reset.
            with contextlib.suppress(ConnectionResetError), Talk(self.ports["smtp"], PROXY, front) as talk:
                self.assertEqual(talk.greeting, "")
        wait_for(lambda: self.counted() == before + len(bad), "the refusals in the log")

    def test_others_headers_are_no_headers(self):
        with Talk(self.ports["smtp"], OTHER, v1("192.0.2.7")) as talk:
            self.assertTrue(talk.greeting.startswith("220 "))
            self.assertTrue(talk.reply().startswith("500 "))


class Gateways(Rig):
    def test_the_client_is_whom_the_gateway_names(self):
        with Talk(self.ports["smtp"], GATEWAY) as talk:
            self.assertIn("XCLIENT ADDR", talk.ask("EHLO gateway.example"))
            self.assertTrue(talk.ask("XCLIENT ADDR=192.0.2.7 NAME=[UNAVAILABLE] HELO=client.example PROTO=ESMTP").startswith("220 "))
            talk.ask("EHLO gateway.example")
            self.assertTrue(talk.send().startswith("250"))
        self.assertIn("Received: from client.example ([192.0.2.7])", self.arrived())

    def test_networks_are_those_of_the_client(self):
        with Talk(self.ports["smtp"], GATEWAY) as talk:
            for source, code in [("192.0.2.7", "550"), ("203.0.113.5", "250"), ("192.0.2.7", "550")]:
                talk.ask(f"XCLIENT ADDR={source}")
                talk.ask("EHLO gateway.example")
                talk.ask("MAIL FROM:<s@elsewhere.example>")
                self.assertEqual(talk.ask("RCPT TO:<to@far.example>")[:3], code)
                talk.ask("RSET")

    def test_others_speak_for_themselves(self):
        with Talk(self.ports["smtp"], OTHER) as talk:
            self.assertNotIn("XCLIENT", talk.ask("EHLO client.example"))
            self.assertTrue(talk.ask("XCLIENT ADDR=192.0.2.7").startswith("502 "))
        with Talk(self.ports["submission"], GATEWAY) as talk:
            self.assertNotIn("XCLIENT", talk.ask("EHLO client.example"))


class Wishes(Rig):
    @contextlib.contextmanager
    def submission(self):
        with smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=30) as client:
            client.ehlo("client.example")
            client.login(ANN, PASSWORD)
            client.ehlo("client.example")
            yield client

    def test_mail_waits_until_its_time_here_and_elsewhere(self):
        with self.submission() as client:
            self.assertTrue(client.has_extn("futurerelease"))
            client.sendmail(ANN, [ANN, "to@far.example"], BODY, mail_options=["HOLDFOR=3"])
        sent = time.monotonic()
        waiting = self.angarium("queue", "list")
        self.assertIn("far.example", waiting)
        self.assertEqual((self.mail(), self.receiver.messages), ([], []))
        self.assertIn("with ESMTPA id", self.arrived())
        self.receiver.wait()
        # It was taken less than a second before `sent`, and due times have whole seconds.
        self.assertGreater(time.monotonic() - sent, 1)

    def test_of_what_waited_the_sender_is_told_that_it_is_in_a_mailbox(self):
        with self.submission() as client:
            client.sendmail(ANN, [ANN], BODY, mail_options=["HOLDFOR=1"], rcpt_options=["NOTIFY=SUCCESS"])
        notice = lambda: [mail for mail in self.mail() if "delivery-status" in mail]
        notice = wait_for(notice, "a notice")[0]
        self.assertIn("Action: delivered", notice)
        self.assertIn("Future-Release-Request: until; ", notice)

    def test_until_a_moment_in_the_past_or_beyond_what_is_offered(self):
        with self.submission() as client:
            for wish in ["HOLDUNTIL=2001-01-01T00:00:00Z", "HOLDUNTIL=2901-01-01T00:00:00Z", "HOLDFOR=999999999"]:
                self.assertEqual(client.mail(ANN, [wish])[0], 501)

    def test_what_the_next_system_offers_is_passed_on(self):
        self.receiver.behave(extensions=(*EXTENSIONS, "MT-PRIORITY", "DELIVERBY 60"))
        with Talk(self.ports["smtp"], OTHER) as talk:
            talk.ask("EHLO client.example")
            self.assertTrue(talk.send("MAIL FROM:<s@elsewhere.example> MT-PRIORITY=5 BY=3600;R", "to@far.example").startswith("250"))
        mail = self.receiver.wait()[0].mail
        self.assertRegex(mail, r" MT-PRIORITY=5 BY=3(600|59\d);R")

    def test_what_is_to_come_back_in_time_goes_to_nobody_who_may_keep_it(self):
        with Talk(self.ports["smtp"], OTHER) as talk:
            talk.ask("EHLO client.example")
            talk.send("MAIL FROM:<s@elsewhere.example> BY=3600;R", "to@far.example")
            talk.send("MAIL FROM:<s@elsewhere.example> BY=3600;N", "other@far.example")
        message = self.receiver.wait()[0]
        self.assertEqual((message.rcpts, " BY=" in message.mail), (["RCPT TO:<other@far.example>"], False))
        wait_for(lambda: "4.4.7 the host does not support DELIVERBY" in self.angarium("queue", "list"), "the reason")
        self.assertEqual(len(self.receiver.messages), 1)
        self.angarium("queue", "remove", "--all")

    def test_the_sender_is_told_when_the_time_is_over(self):
        self.receiver.behave(rcpt="450 4.2.0 come again")
        with self.submission() as client:
            client.sendmail(ANN, ["to@far.example"], BODY, mail_options=["BY=2;N"])
        report = wait_for(self.mail, "a notice", 20)[0]
        self.assertIn("Action: delayed", report)
        self.assertIn("come again", report)
        self.angarium("queue", "remove", "--all")

    def test_tls_is_asked_for_under_tls(self):
        with Talk(self.ports["smtp"], OTHER) as talk:
            self.assertNotIn("REQUIRETLS", talk.ask("EHLO client.example"))
            self.assertTrue(talk.ask("MAIL FROM:<s@elsewhere.example> REQUIRETLS").startswith("530 "))
        with Talk(self.ports["submissions"], OTHER, tls=True) as talk:
            self.assertIn("REQUIRETLS", talk.ask("EHLO client.example"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
