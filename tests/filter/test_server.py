"""The server with filters in its configuration: Debian's opendkim, rspamd (HTTP and milter) and clamd, a milter in Python, HTTP hooks, and
filters that are away, stall or talk nonsense. What clients hear, and what comes to mailboxes."""

import base64
import concurrent.futures
import contextlib
import http.client
import http.server
import imaplib
import json
import os
import pathlib
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import test_filters as filters  # noqa: E402
from server import BINARY  # noqa: E402
from test_filters import EICAR, GTUBE, ROOT, free_port, have  # noqa: E402


def table(kind, address, **settings):
    """One [[filter]] of a configuration."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in {"kind": kind, "address": address, **settings}.items()]
    return "\n[[filter]]\n" + "\n".join(lines) + "\n"


class Served(filters.Filter):
    """A server of example.net; each class below says which filters it has."""

    names = ("ann", "bob", "more")
    more = ""

    @classmethod
    def start(cls):
        # rspamd drops root's rights where it can; it must still be able to write here.
        cls.folder.chmod(0o777)
        cls.config = cls.folder / "angarium.toml"
        cls.ports = {name: free_port() for name in ("smtp", "submission", "lmtp", "imap", "metrics")}
        cls.filters = cls.start_filters()
        cls.command("init", "--hostname", "mail.example.net", "--domain", "example.net", "--data", str(cls.folder / "store"))
        for name in cls.names:
            cls.command("account", "add", f"{name}@example.net", "--password", "benchmark")
        listen = "\n".join(f'{name} = ["127.0.0.1:{cls.ports[name]}"]' for name in ("smtp", "submission", "lmtp", "imap"))
        cls.base = cls.config.read_text() + (
            f"\n[listen]\n{listen}\nsubmissions = []\nimaps = []\npop3 = []\npop3s = []\n\n[auth]\nallow_plaintext_without_tls = true\n\n"
            # The samples are of ann@example.org, who logs in is ann@example.net.
            "[submission]\nfrom = \"any\"\n\n"
            f'[metrics]\nlisten = "127.0.0.1:{cls.ports["metrics"]}"\n{cls.more}')
        cls.config.write_text(cls.base + cls.filters)
        cls.log = cls.folder / "server.log"
        with open(cls.log, "wb") as out:
            cls.server = subprocess.Popen([str(BINARY), "--config", str(cls.config), "serve", "--shards", "2"], stderr=out,
                                          env={**os.environ, "NO_COLOR": "1"})
        cls.wait_for(lambda: "runtime.serving" in cls.log.read_text() or cls.server.poll() is not None)

    @classmethod
    def tearDownClass(cls):
        status, log = 0, ""
        if server := getattr(cls, "server", None):
            server.send_signal(signal.SIGTERM)
            status, log = server.wait(60), cls.log.read_text(errors="replace")
        super().tearDownClass()
        assert status == 0 and "panic" not in log, log[-8000:]

    @staticmethod
    def wait_for(look, timeout_s=20):
        deadline = time.monotonic() + timeout_s
        while not (found := look()):
            assert time.monotonic() < deadline, "not seen in time"
            time.sleep(0.03)
        return found

    @classmethod
    def command(cls, *arguments, fails=0):
        done = subprocess.run([str(BINARY), "--json", "--config", str(cls.config), *arguments], capture_output=True, text=True,
                              timeout=120, check=False)
        assert done.returncode == fails, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr if fails else [json.loads(line) for line in done.stdout.splitlines()]

    def send(self, data, to="bob@example.net", sender="someone@elsewhere.example", hello="me.example"):
        """From elsewhere; the reply to the content, or to the first command that was refused."""
        with smtplib.SMTP("127.0.0.1", self.ports["smtp"], local_hostname=hello, timeout=60) as smtp:
            return self.talk(smtp, data, to, sender)

    def submit(self, data, to="bob@example.net"):
        with smtplib.SMTP("127.0.0.1", self.ports["submission"], local_hostname="me.example", timeout=60) as smtp:
            smtp.ehlo()
            smtp.login("ann@example.net", "benchmark")
            return self.talk(smtp, data, to, "ann@example.net")

    def talk(self, smtp, data, to, sender):
        smtp.ehlo_or_helo_if_needed()
        for code, reply in [smtp.mail(sender), *(smtp.rcpt(one) for one in ([to] if isinstance(to, str) else to))]:
            if code != 250:
                return code, reply.decode()
        code, reply = smtp.data(data)
        return code, reply.decode()

    def taken(self, reply):
        self.assertEqual(reply[0], 250, reply)

    def mail(self, name="bob", folder="INBOX"):
        """What is in a folder, which is emptied."""
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        client.login(f"{name}@example.net", "benchmark")
        client.select(folder)
        _, data = client.fetch("1:*", "(BODY.PEEK[])")
        client.store("1:*", "+FLAGS", r"(\Deleted)")
        client.expunge()
        client.logout()
        return [part[1] for part in data if isinstance(part, tuple)]

    def queue(self):
        return self.command("queue", "list")[-1]

    def only(self, name="bob", folder="INBOX"):
        all_of_it = self.mail(name, folder)
        self.assertEqual(len(all_of_it), 1, all_of_it)
        return all_of_it[0]

    def counts(self):
        client = http.client.HTTPConnection("127.0.0.1", self.ports["metrics"], timeout=20)
        client.request("GET", "/metrics")
        found = {}
        for line in client.getresponse().read().decode().splitlines():
            if line.startswith("angarium_filter_answers_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                key = labels["filter"], labels["verdict"]
                found[key] = found.get(key, 0) + float(line.rsplit(" ", 1)[1])
        return found


@unittest.skipUnless(have("opendkim"), "opendkim is not installed")
class OpenDkim(Served):
    """One signs what users submit, one looks at what comes from elsewhere."""

    # By the login alone: no host is inside.
    domain, inside = "example.net", "192.0.2.1"

    @classmethod
    def start_filters(cls):
        filters.OpenDkim.start.__func__(cls)
        return (table("milter", cls.sign, name="sign", listeners=["submission"], reuse="after-continue")
                + table("milter", cls.verify, name="verify", listeners=["smtp"], reuse="after-continue"))

    def signed(self):
        data = filters.message().replace(b"ann@example.org", b"ann@example.net")
        self.taken(self.submit(data))
        got = self.only()
        at = got.index(b"DKIM-Signature:")
        self.assertLess(got.index(b"Received:"), at)
        self.assertIn(b"d=example.net", got)
        # All but the signature stays byte for byte.
        self.assertTrue(got.endswith(data), got)
        return got[at:]

    def test_what_users_submit_is_signed_and_verifies(self):
        self.taken(self.send(self.signed(), sender="ann@example.net"))
        self.assertIn(b"Authentication-Results: mx.example.org;\r\n\tdkim=pass", self.only())

    def test_a_changed_message_is_refused_in_its_words(self):
        bad = self.signed().replace(b"world", b"World")
        self.assertEqual(self.send(bad, sender="ann@example.net"), (550, "5.7.0 bad DKIM signature data"))
        self.assertEqual(self.mail(), [])


@unittest.skipUnless(have("rspamd"), "rspamd is not installed")
class Rspamd(Served):
    """Over HTTP for mail from elsewhere, as a milter for what users submit."""

    more = '\n[policy.greylist]\ndelay = "1s"\ntrust_after = 0\n'

    @classmethod
    def start_filters(cls):
        filters.Rspamd.start.__func__(cls)
        return (table("rspamd", cls.http, name="http", listeners=["smtp"])
                + table("milter", cls.milter, name="milter", listeners=["submission"], reuse="always"))

    def test_it_is_told_about_the_message(self):
        self.taken(self.send(filters.message(), to=["bob@example.net", "more@example.net"]))
        got = self.only()
        self.assertIn(b"\r\nX-Told: someone@elsewhere.example 127.0.0.1 me.example nil nil 2\r\n", got.replace(b"unknown", b"nil"))
        self.assertNotIn(b"remove", got.lower())
        self.assertEqual(len(self.mail("more")), 1)

    def test_gtube_is_refused_in_its_words(self):
        before = self.counts().get(("http", "reject"), 0)
        bad = filters.message(body=GTUBE + b"\r\n")
        self.assertEqual(self.send(bad), (554, "5.7.1 Gtube pattern"))
        self.assertEqual(self.submit(bad), (554, "5.7.1 Gtube pattern"))
        self.assertEqual(self.mail(), [])
        self.assertEqual(self.counts()["http", "reject"], before + 1)

    def test_soft_reject_is_try_later(self):
        soft = filters.message(b"X-Test: soft\r\n")
        self.assertEqual(self.send(soft), (451, "4.7.1 Come back later"))
        self.assertEqual(self.submit(soft), (451, "4.7.1 Come back later"))

    def test_add_header_is_junk(self):
        junk = filters.message(b"X-Test: junk\r\n")
        self.taken(self.send(junk))
        self.assertEqual(self.mail(), [])
        self.assertIn(b"\r\nX-Spam: Yes\r\n", self.only(folder="Junk"))
        # Its milter adds the field, and says no more.
        self.taken(self.submit(junk))
        self.assertIn(b"\r\nX-Spam: Yes\r\n", self.only())

    def test_the_subject_is_rewritten(self):
        marked = filters.message(b"X-Test: subject\r\n")
        for send in (self.send, self.submit):
            self.taken(send(marked))
            self.assertIn(b"\r\nSubject: [SPAM] two", self.only())

    def test_greylisting_lets_the_second_try_in(self):
        grey = filters.message(b"X-Test: greylist\r\n")
        code, words = self.send(grey, sender="first@elsewhere.example")
        self.assertEqual((code, words[:6]), (451, "4.7.1 "))
        self.assertEqual(self.mail(), [])
        time.sleep(1.2)
        self.taken(self.send(grey, sender="first@elsewhere.example"))
        self.assertEqual(len(self.mail()), 1)
        # Another stranger waits for itself.
        self.assertEqual(self.send(grey, sender="second@elsewhere.example")[0], 451)

    def test_many_at_once(self):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(lambda at: (self.send if at % 2 else self.submit)(filters.message()), range(64)))
        self.assertEqual({code for code, _ in replies}, {250}, replies)
        self.assertEqual(len(self.mail()), 64)


@unittest.skipUnless(have("clamd"), "clamd is not installed")
class Clamd(Served):
    @classmethod
    def start_filters(cls):
        filters.Clamd.start.__func__(cls)
        return (table("clamd", cls.inet, name="refusing", listeners=["smtp"], message_bytes_max=100_000)
                + table("clamd", cls.unix, name="holding", listeners=["submission"], on_virus="quarantine"))

    def test_a_virus_is_refused_or_held(self):
        bad = filters.Clamd.bad(self)
        self.assertEqual(self.send(bad), (550, "5.7.1 Message refused: Eicar-Of-Ours.UNOFFICIAL found in it"))
        self.taken(self.submit(bad))
        self.assertEqual(self.mail(), [])
        self.assertEqual([entry["held"] for entry in self.queue()], [True])
        self.taken(self.send(filters.message()))
        self.taken(self.submit(filters.message()))
        self.assertEqual(len(self.mail()), 2)

    def test_what_is_too_large_for_it_would_never_pass(self):
        large = filters.message(body=b"x" * 70 * 2000)
        self.assertEqual(self.send(large), (552, "5.3.4 Message is larger than can be checked"))


@unittest.skipUnless(pathlib.Path("/usr/lib/python3/dist-packages/Milter").is_dir(), "pymilter is not installed")
class LibMilter(Served):
    names = ("ann", "bob", "more", "nobody")

    @classmethod
    def start_filters(cls):
        place = f"unix:{cls.folder}/socket"
        cls.run_program(place, "/usr/bin/python3", str(ROOT / "tests/filter/milter_of_ours.py"), f"local:{cls.folder}/socket")
        return table("milter", place, connections_max=2, reuse="after-continue")

    def order(self, *orders, **more):
        return self.send(filters.message(b"".join(b"X-Do: %s\r\n" % order.encode() for order in orders)), **more)

    def test_it_hears_the_whole_session(self):
        self.taken(self.order(to=["bob@example.net", "more@example.net"]))
        got = self.only()
        told = rb"X-Told: connect=\[127\.0\.0\.1\]/127\.0\.0\.1/None\r\n helo=me\.example\r\n mail=<someone@elsewhere\.example>/[0-9a-f]{16}\r\n" \
               rb" rcpt=<bob@example\.net>\r\n rcpt=<more@example\.net>\r\n body=20\r\n\r\nhello"
        self.assertRegex(got, told)
        self.assertEqual(self.only("more").split(b"\r\nX-Told")[1], got.split(b"\r\nX-Told")[1])

    def test_message_and_envelope_are_changed(self):
        self.taken(self.order("change"))
        self.assertEqual(self.mail(), [])
        got = self.only("more")
        self.assertTrue(got.startswith(b"Return-Path: <new@example.org>\r\n"), got)
        self.assertIn(b"\r\nSubject: changed\r\n and folded\r\nX-Remove: a\r\n", got)
        self.assertTrue(got.endswith(b"\r\n\r\nanother\r\nbody\r\n"), got)
        # Under our own fields.
        self.assertLess(got.index(b"Received:"), got.index(b"X-Top: first\r\nFrom: "))

    def test_a_recipient_that_nobody_can_deliver_to_is_left_out(self):
        self.taken(self.order("stranger"))
        self.only()
        self.assertIn("inbound.filter_change_refused", self.log.read_text())

    def test_refusals_come_with_its_words(self):
        self.assertEqual(self.order("reject")[0], 550)
        self.assertEqual(self.order(sender="later@example.org"), (450, "4.7.1 Come back in an hour"))
        both = ["bob@example.net", "nobody@example.net"]
        self.assertEqual(self.order(to=both), (550, "5.1.1 Nobody here, 100% sure"))
        self.assertEqual(self.order(hello="bad.example")[0], 550)
        self.assertEqual(self.mail(), [])

    def test_a_recipient_that_it_refuses_is_refused_by_itself(self):
        with smtplib.SMTP("127.0.0.1", self.ports["smtp"], local_hostname="me.example", timeout=60) as smtp:
            for _ in range(2):
                smtp.ehlo_or_helo_if_needed()
                smtp.mail("someone@elsewhere.example")
                said = [smtp.rcpt(f"{name}@example.net") for name in ("bob", "nobody", "more")]
                self.assertEqual([code for code, _ in said], [250, 550, 250])
                self.assertEqual(said[1][1], b"5.1.1 Nobody here, 100% sure")
                self.taken(smtp.data(filters.message()))
            # One that it has heard of and that comes to nothing.
            smtp.mail("someone@elsewhere.example")
            smtp.rcpt("bob@example.net")
            smtp.rset()
            smtp.mail("other@elsewhere.example")
            smtp.rcpt("more@example.net")
            self.taken(smtp.data(filters.message()))
        got = self.mail()
        self.assertEqual((len(got), len(self.mail("nobody"))), (2, 0))
        for one in got:
            self.assertRegex(one, rb" rcpt=<bob@example\.net>\r\n rcpt=<nobody@example\.net>\r\n rcpt=<more@example\.net>\r\n body=20")
        more = self.mail("more")
        self.assertEqual(len(more), 3)
        self.assertRegex(more[2], rb" mail=<other@elsewhere\.example>/[0-9a-f]{16}\r\n rcpt=<more@example\.net>\r\n body=20")

    def test_a_milter_that_refuses_the_client_or_the_sender_refuses_at_the_first_recipient(self):
        with smtplib.SMTP("127.0.0.1", self.ports["smtp"], local_hostname="bad.example", timeout=60) as smtp:
            smtp.ehlo()
            self.assertEqual(smtp.mail("someone@elsewhere.example")[0], 250)
            self.assertEqual([smtp.rcpt(f"{name}@example.net")[0] for name in ("bob", "more")], [550, 550])

    def test_what_it_discards_is_gone_and_what_it_holds_waits(self):
        self.taken(self.order("discard"))
        self.taken(self.order("quarantine"))
        self.assertEqual(self.mail(), [])
        self.assertEqual([entry["held"] for entry in self.queue()], [True])

    def test_more_at_once_than_it_has_connections(self):
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            replies = list(pool.map(lambda _: self.order(), range(60)))
        self.assertEqual({code for code, _ in replies}, {250}, replies)
        self.assertEqual(len(self.mail()), 60)
        self.assertEqual(self.counts().get(("milter", "failed"), 0), 0)


class Hook(Served):
    """Of the operator's own, with TLS."""

    @classmethod
    def start_filters(cls):
        cls.asked, cls.answer, cls.connections, cls.closes = [], {"action": "accept"}, set(), False

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                cls.connections.add(self.client_address)
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                cls.asked.append((self.headers["Authorization"], question))
                body = json.dumps(cls.answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                # Without having said so.
                self.close_connection = cls.closes

            def log_message(self, *_):
                pass

        cls.certify()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cls.folder / "hook.pem", cls.folder / "hook.key")
        cls.hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        cls.hook.socket = context.wrap_socket(cls.hook.socket, server_side=True)
        threading.Thread(target=cls.hook.serve_forever, daemon=True).start()
        url = f"https://localhost:{cls.hook.server_address[1]}/mail"
        return f'\n[[filter]]\nkind = "hook"\naddress = "{url}"\nshare = "all"\nfields = {{ Authorization = "Bearer swordfish" }}\n'

    @classmethod
    def certify(cls):
        """A certificate for localhost of an authority of our own."""
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        run = lambda *words: subprocess.run(["openssl", *words], cwd=cls.folder, check=True, capture_output=True)  # noqa: E731
        run("req", "-x509", *key, "-subj", "/CN=Ours", "-out", "ca.pem", "-keyout", "ca.key")
        (cls.folder / "extensions").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
        run("req", "-new", *key[:-2], "-subj", "/CN=localhost", "-out", "hook.csr", "-keyout", "hook.key")
        run("x509", "-req", "-in", "hook.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", "hook.pem")
        cls.more = f'\n[tls]\nauthorities = "{cls.folder}/ca.pem"\n'

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.hook.shutdown()
        cls.hook.server_close()

    def test_it_is_asked_and_its_answer_done(self):
        type(self).answer = {"action": "junk", "score": 3, "modifications": [
            {"type": "add_header", "name": "X-Hook", "value": "was here"},
            {"type": "add_recipient", "address": "more@example.net"}]}
        type(self).asked, type(self).connections = [], set()
        for _ in range(3):
            self.taken(self.send(filters.message()))
        self.assertIn(b"\r\nX-Hook: was here\r\n\r\nhello", self.mail(folder="Junk")[0])
        self.assertEqual(len(self.mail("more", "Junk")), 3)
        authorization, question = self.asked[0]
        self.assertEqual(authorization, "Bearer swordfish")
        self.assertEqual(base64.b64decode(question["message"]["content"]), filters.message())
        self.assertEqual((question["stage"], question["client"]["helo"], question["recipients"]),
                         ("data", "me.example", ["bob@example.net"]))
        # Each of the two shards has its own.
        self.assertLessEqual(len(self.connections), 2)

    def test_a_recipient_elsewhere_is_queued(self):
        type(self).answer = {"action": "accept", "modifications": [
            {"type": "add_recipient", "address": "cleo@far.example"}, {"type": "remove_recipient", "address": "bob@EXAMPLE.NET"}]}
        self.taken(self.send(filters.message()))
        self.assertEqual(self.mail(), [])
        self.assertEqual([entry["recipients"] for entry in self.queue()], [["cleo@far.example"]])

    def test_a_connection_that_it_has_closed_is_made_anew(self):
        type(self).answer, type(self).closes = {"action": "accept"}, True
        for _ in range(8):
            self.taken(self.send(filters.message()))
        type(self).closes = False
        self.assertEqual(len(self.mail()), 8)
        self.assertEqual(self.counts().get(("hook", "failed"), 0), 0)

    def test_its_words_are_said(self):
        type(self).answer = {"action": "reject", "reply": {"code": 550, "enhanced": "5.7.9", "text": "Not today"}}
        self.assertEqual(self.send(filters.message()), (550, "5.7.9 Not today"))
        type(self).answer = {"action": "defer", "reply": {"code": 421, "enhanced": "4.7.9", "text": "Not now"}}
        self.assertEqual(self.send(filters.message()), (451, "4.7.9 Not now"))
        # A misspelt word is no consent.
        before = self.counts().get(("hook", "failed"), 0)
        type(self).answer = {"action": "rejekt"}
        self.assertEqual(self.send(filters.message())[0], 451)
        self.assertEqual(self.counts()["hook", "failed"], before + 1)


class Faults(Served):
    """Filters that are away, stall, or talk nonsense."""

    @classmethod
    def start_filters(cls):
        cls.stalling = socket.create_server(("127.0.0.1", 0), backlog=64)
        away = f"inet:127.0.0.1:{free_port()}"
        return (table("milter", away, name="away-accept", listeners=["smtp"], on_failure="accept")
                + table("clamd", away, name="away-reject", listeners=["lmtp"], on_failure="reject")
                + table("milter", f"inet:127.0.0.1:{cls.stalling.getsockname()[1]}", name="stalls", listeners=["submission"], timeout_s=1))

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.stalling.close()

    def test_1_the_policy_of_each_is_honoured(self):
        self.taken(self.send(filters.message()))
        self.assertEqual(len(self.mail()), 1)
        self.assertEqual(self.submit(filters.message()), (451, "4.3.0 Mail cannot be checked now, try again later"))
        with smtplib.LMTP("127.0.0.1", self.ports["lmtp"], timeout=60) as lmtp:
            self.assertEqual(self.talk(lmtp, filters.message(), "bob@example.net", "a@b.example"), (554, "5.3.0 Mail cannot be checked"))
        self.assertEqual(self.mail(), [])
        log = self.log.read_text()
        for name, error in (("away-accept", "the connection was closed before an answer"), ("stalls", "no answer in time")):
            self.assertRegex(log, rf'inbound.filter_failed.*{name}.*{error}')
        self.assertEqual(self.counts()["stalls", "failed"], 1)

    def reload(self, text):
        before = self.log.read_text().count("runtime.reloaded")
        self.config.write_text(self.base + text)
        self.server.send_signal(signal.SIGHUP)
        self.wait_for(lambda: self.log.read_text().count("runtime.reloaded") > before)

    def test_2_nonsense_is_a_failure(self):
        nonsense = [b"HTTP/1.1 200 OK\r\n\r\n", b"\0\0\0\x01Z", b"\xff\xff\xff\xff", b""]

        def serve(listener):
            for words in nonsense:
                with contextlib.suppress(OSError), listener.accept()[0] as one:
                    one.recv(100)
                    one.sendall(words)

        for kind, address in (("milter", "inet:127.0.0.1:{}"), ("clamd", "inet:127.0.0.1:{}"), ("rspamd", "http://127.0.0.1:{}/checkv2"),
                              ("hook", "http://127.0.0.1:{}/")):
            with self.subTest(kind), socket.create_server(("127.0.0.1", 0)) as listener:
                self.reload(table(kind, address.format(listener.getsockname()[1]), listeners=["submission"]))
                server = threading.Thread(target=serve, args=(listener,))
                server.start()
                for _ in nonsense:
                    self.assertEqual(self.submit(filters.message())[0], 451)
                server.join(20)
                self.assertFalse(server.is_alive())
        self.assertEqual(self.mail(), [])

    def test_3_a_reload_takes_other_filters(self):
        self.reload(self.filters.replace('on_failure = "accept"', 'on_failure = "defer"'))
        self.assertEqual(self.send(filters.message())[0], 451)
        self.reload("")
        self.taken(self.submit(filters.message()))

    def test_4_the_configuration_is_checked(self):
        wrong = self.folder / "wrong.toml"
        wrong.write_text(self.base + table("rspamd", "http://127.0.0.1:11333"))
        done = subprocess.run([str(BINARY), "--config", str(wrong), "config", "check"], capture_output=True, text=True, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("needs rspamd's path", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
