"""The clients of src/filter against real filters: opendkim, a milter over libmilter, rspamd as a milter and over HTTP, clamd, and an
HTTP hook. What carries the bytes is the example `filter-drive`; see `bash tests/blackbox.sh`."""

import base64
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRIVE = pathlib.Path(os.environ.get("FILTER_DRIVE", ROOT / "target" / "release" / "examples" / "filter-drive"))
OURS = b"Received: from client by us\r\n\twith ESMTP\r\n"
MESSAGE = (b"From: ann@example.org\r\nTo: bob@example.net\r\nSubject:  two\r\n  spaces\r\nX-Remove: a\r\nx-remove: b\r\n"
           b"Message-ID: <1@example.org>\r\nDate: Mon, 01 Jan 2024 00:00:00 +0000\r\n%s\r\nhello \r\n\r\n.\r\nworld\r\n")
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*" + b"GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def message(fields=b"", body=None):
    text = MESSAGE % fields
    return text if body is None else text[:text.index(b"\r\n\r\n") + 4] + body


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def have(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is not None


class Filter(unittest.TestCase):
    """Runs programs in a folder of their own and ends them by their process ids."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-filter-"))
        cls.folder.chmod(0o755)
        cls.running = []
        try:
            cls.start()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        for process in cls.running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in cls.running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(cls.folder, ignore_errors=True)

    @classmethod
    def run_program(cls, place, *command):
        """Starts a program and waits until it listens at `place`."""
        log = cls.folder / f"{len(cls.running)}.log"
        environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        with open(log, "wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=cls.folder, env=environment)
        cls.running.append(process)
        deadline = time.monotonic() + 60
        while True:
            try:
                if place.startswith("unix:"):
                    with socket.socket(socket.AF_UNIX) as probe:
                        probe.connect(place[5:])
                else:
                    socket.create_connection(("127.0.0.1", int(place.rsplit(":", 1)[1])), 5).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not listen: {log.read_text(errors='replace')}") from None
                time.sleep(0.05)

    def drive(self, kind, place, data=None, **options):
        """What came of a message, and the changed message."""
        out = self.folder / "out"
        out.unlink(missing_ok=True)
        given = {"from": "ann@example.org", "rcpt": ["bob@example.net"], "client": "192.0.2.1", "helo": "me.example",
                 "own_bytes": len(OURS), "out": out, **options}
        words = [f"{name}={value}" for name, values in given.items()
                 for value in (values if isinstance(values, list) else [values])]
        sent = OURS + (message() if data is None else data)
        done = subprocess.run([DRIVE, kind, place, *words], input=sent, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        self.assertNotIn("failure", said)
        return said, out.read_bytes()


@unittest.skipUnless(have("opendkim"), "opendkim is not installed")
class OpenDkim(Filter):
    domain, inside = "example.org", "0.0.0.0/0"

    @classmethod
    def start(cls):
        key = cls.folder / "key.pem"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        public = subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
        (cls.folder / "keys").write_text(f"s1._domainkey.{cls.domain} v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}\n")
        usual = "Background no\nSyslog no\nRequireSafeKeys no\n"
        cls.sign = f"inet:127.0.0.1:{free_port()}"
        port = cls.sign.rsplit(":", 1)[1]
        (cls.folder / "sign.conf").write_text(
            f"{usual}Socket inet:{port}@127.0.0.1\nMode s\nDomain {cls.domain}\nSelector s1\nKeyFile {key}\n"
            f"Canonicalization simple/simple\nInternalHosts {cls.inside}\nOversignHeaders From\n")
        cls.verify = f"unix:{cls.folder}/verify"
        (cls.folder / "verify.conf").write_text(
            f"{usual}Socket local:{cls.folder}/verify\nMode v\nTestPublicKeys {cls.folder}/keys\nAuthservID mx.example.org\n"
            "AlwaysAddARHeader yes\nOn-BadSignature reject\n")
        cls.run_program(cls.sign, "opendkim", "-f", "-x", "sign.conf")
        cls.run_program(cls.verify, "opendkim", "-f", "-x", "verify.conf")

    def test_what_it_signs_it_verifies(self):
        said, signed = self.drive("milter", self.sign)
        self.assertEqual(said["outcome"]["verdict"], "accept")
        self.assertTrue(signed.startswith(OURS + b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.org"), signed)
        # All but the signature stays byte for byte.
        self.assertTrue(signed.endswith(message()))
        said, verified = self.drive("milter", self.verify, signed[len(OURS):])
        self.assertTrue(verified.startswith(OURS + b"Authentication-Results: mx.example.org;\r\n\tdkim=pass"), verified)
        self.assertNotIn(b"\n", verified.replace(b"\r\n", b""))

    def test_a_message_that_was_changed_is_refused_in_its_words(self):
        _, signed = self.drive("milter", self.sign)
        said, _ = self.drive("milter", self.verify, signed[len(OURS):].replace(b"world", b"World"))
        self.assertEqual(said["outcome"]["verdict"], "reject")
        self.assertEqual(said["outcome"]["reply"], {"code": 550, "enhanced": "5.7.0", "lines": ["bad DKIM signature data"]})


@unittest.skipUnless(pathlib.Path("/usr/lib/python3/dist-packages/Milter").is_dir(), "pymilter is not installed")
class LibMilter(Filter):
    @classmethod
    def start(cls):
        cls.place = f"unix:{cls.folder}/socket"
        cls.run_program(cls.place, "/usr/bin/python3", str(ROOT / "tests/filter/milter_of_ours.py"), f"local:{cls.folder}/socket")

    def drive_told(self, *orders, **options):
        data = message(b"".join(b"X-Do: %s\r\n" % order.encode() for order in orders))
        said, out = self.drive("milter", self.place, data, **options)
        return said["outcome"], [stage for stage, _ in said["stages"]], out

    def test_it_is_told_everything_in_order(self):
        outcome, stages, out = self.drive_told(client="2001:db8::1", client_name="client.example", **{"{client_ptr}": "ptr.example"})
        self.assertEqual(stages, ["connect", "helo", "mail", "rcpt", "data", "message"])
        self.assertEqual(outcome["verdict"], "continue")
        told = b"X-Told: connect=client.example/2001:db8::1/ptr.example\r\n helo=me.example\r\n mail=<ann@example.org>/0123456789abcdef\r\n" \
               b" rcpt=<bob@example.net>\r\n body=20\r\n\r\nhello"
        self.assertIn(told, out)

    def test_refusals_come_with_its_words(self):
        outcome, stages, _ = self.drive_told(helo="bad.example")
        self.assertEqual((outcome["verdict"], stages), ("reject", ["connect", "helo"]))
        outcome, stages, _ = self.drive_told(**{"from": "later@example.org"})
        self.assertEqual((outcome["reply"], stages[-1]), ({"code": 450, "enhanced": "4.7.1", "lines": ["Come back", "in an hour"]}, "mail"))
        outcome, stages, _ = self.drive_told(rcpt=["bob@example.net", "nobody@example.net"])
        self.assertEqual(outcome["reply"], {"code": 550, "enhanced": "5.1.1", "lines": ["Nobody here, 100% sure"]})
        self.assertEqual(stages, ["connect", "helo", "mail", "rcpt", "rcpt"])
        for order in ("reject", "discard"):
            self.assertEqual(self.drive_told(order)[0]["verdict"], order)
        self.assertEqual(self.drive_told("quarantine")[0]["verdict"], "quarantine: look at this")

    def test_every_change_is_done(self):
        outcome, _, out = self.drive_told("change", "accept")
        self.assertEqual(outcome["verdict"], "accept")
        self.assertTrue(out.startswith(OURS + b"X-Top: first\r\nFrom: ann@example.org\r\n"), out)
        self.assertIn(b"\r\nSubject: changed\r\n and folded\r\nX-Remove: a\r\nMessage-ID:", out)
        self.assertTrue(out.endswith(b"\r\n\r\nanother\r\nbody\r\n"), out)
        self.assertIn('ChangeSender { address: "new@example.org", parameters: "" }', outcome["changes"])
        self.assertIn('AddRecipient { address: "more@example.net", parameters: "" }', outcome["changes"])
        self.assertIn('RemoveRecipient("bob@example.net")', outcome["changes"])

    def test_a_large_body_goes_in_pieces_and_may_be_skipped(self):
        data = message(body=b"x" * 199_998 + b"\r\n")
        _, out = self.drive("milter", self.place, data)
        self.assertIn(b"\r\n body=65535\r\n body=65535\r\n body=65535\r\n body=3395\r\n\r\n", out)
        _, out = self.drive("milter", self.place, data.replace(b"X-Remove: a", b"X-Do: skip"))
        self.assertIn(b"\r\n body=65535\r\n\r\n", out)

    def test_one_connection_serves_several_sessions(self):
        said, _ = self.drive("milter", self.place, repeat=5, reuse="after-continue")
        self.assertEqual(said["outcome"]["verdict"], "continue")


RSPAMD_RULES = """
local function test(word)
  return function(task) return task:get_header('X-Test') == word end
end
for word, score in pairs({ greylist = 5.0, junk = 7.0, subject = 11.0 }) do
  rspamd_config:register_symbol({ name = 'TEST_' .. word:upper(), score = score, callback = test(word) })
end
rspamd_config:register_symbol({ name = 'TEST_SOFT', type = 'prefilter', callback = function(task)
  if test('soft')(task) then task:set_pre_result('soft reject', 'Come back later') end
end })
rspamd_config:register_symbol({ name = 'TEST_TOLD', type = 'postfilter', callback = function(task)
  local from, rcpts = task:get_from('smtp'), task:get_recipients('smtp')
  local told = string.format('%s %s %s %s %s %d', from and from[1] and from[1].addr or '-', tostring(task:get_ip()),
    tostring(task:get_helo()), tostring(task:get_hostname()), tostring(task:get_user()), rcpts and #rcpts or 0)
  task:set_milter_reply({
    add_headers = { ['X-Told'] = told, ['X-Top'] = { value = 'first', order = 1 } },
    remove_headers = { ['X-Remove'] = 0 },
  })
end })
"""
RSPAMD_CONFIG = """
options {{ pidfile = "{folder}/pid"; filters = "regexp"; disable_hyperscan = true; cache_file = "{folder}/cache";
  hs_cache_dir = "{folder}"; tempdir = "{folder}"; url_tld = "{folder}/tld"; history_file = "{folder}/history";
  dns {{ nameserver = ["127.0.0.1:{nothing}"]; timeout = 0.1s; retransmits = 1; }} }}
logging {{ type = "console"; level = "info"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{http}"; count = 1; }}
worker "rspamd_proxy" {{ bind_socket = "127.0.0.1:{milter}"; milter = yes; timeout = 60s; count = 1;
  upstream "local" {{ default = yes; hosts = "127.0.0.1:{http}"; }} }}
actions {{ reject = 15; rewrite_subject = 10; add_header = 6; greylist = 4; subject = "[SPAM] %s"; }}
modules {{ path = "/usr/share/rspamd/plugins/settings.lua"; }}
settings {{ }}
lua = "{folder}/rules.lua";
"""


@unittest.skipUnless(have("rspamd"), "rspamd is not installed")
class Rspamd(Filter):
    @classmethod
    def start(cls):
        # It drops root's rights where it can; it must still be able to write here.
        cls.folder.chmod(0o777)
        ports = {name: free_port() for name in ("http", "milter", "nothing")}
        (cls.folder / "rules.lua").write_text(RSPAMD_RULES)
        (cls.folder / "tld").write_text("com\norg\nnet\nexample\n")
        (cls.folder / "rspamd.conf").write_text(RSPAMD_CONFIG.format(folder=cls.folder, **ports))
        insecure = ["--insecure"] if os.geteuid() == 0 else []
        cls.milter = f"inet:127.0.0.1:{ports['milter']}"
        cls.http = f"http://127.0.0.1:{ports['http']}/checkv2"
        cls.run_program(cls.milter, "rspamd", "-f", "-c", f"{cls.folder}/rspamd.conf", *insecure)

    def both(self, test, body=None, **options):
        """What its milter and what its HTTP says of a message: action, outcome of each, changed message of each."""
        data = message(b"X-Test: %s\r\n" % test.encode(), body)
        options = {"client_name": "client.example", **options}
        told, by_milter = self.drive("milter", self.milter, data, reuse="always", repeat=3, **{"{auth_authen}": "ann"}, **options)
        asked, by_http = self.drive("rspamd", self.http, data, user="ann", repeat=3, **options)
        return asked["more"]["action"], asked["outcome"], told["outcome"], by_http, by_milter

    def test_both_ways_it_is_told_the_same_and_changes_the_same(self):
        action, asked, told, by_http, by_milter = self.both("none", rcpt=["bob@example.net", "c@example.net"])
        self.assertEqual((action, asked["verdict"], told["verdict"]), ("no action", "continue", "accept"))
        self.assertEqual(by_http, by_milter)
        self.assertTrue(by_http.startswith(OURS + b"X-Top: first\r\nFrom: ann@example.org\r\n"), by_http)
        self.assertIn(b"\r\nX-Told: ann@example.org 192.0.2.1 me.example client.example ann 2\r\n", by_http)
        self.assertNotIn(b"remove", by_http.lower())

    def test_reject_is_honoured(self):
        action, asked, told, _, _ = self.both("none", GTUBE + b"\r\n")
        self.assertEqual((action, asked["verdict"], told["verdict"]), ("reject", "reject", "reject"))
        self.assertEqual(asked["reply"], told["reply"])
        self.assertEqual(asked["reply"], {"code": 554, "enhanced": "5.7.1", "lines": ["Gtube pattern"]})

    def test_soft_reject_is_honoured(self):
        action, asked, told, _, _ = self.both("soft")
        self.assertEqual((action, asked["verdict"], told["verdict"]), ("soft reject", "tempfail", "tempfail"))
        self.assertEqual(asked["reply"], told["reply"])
        self.assertEqual(asked["reply"], {"code": 451, "enhanced": "4.7.1", "lines": ["Come back later"]})

    def test_greylist_is_handed_on(self):
        # Its milter accepts such a message and leaves the rest to its greylist module; over HTTP it is ours to do.
        action, asked, told, _, _ = self.both("greylist")
        self.assertEqual((action, asked["verdict"], told["verdict"]), ("greylist", "greylist", "accept"))

    def test_add_header_is_honoured(self):
        action, asked, told, by_http, by_milter = self.both("junk")
        self.assertEqual((action, asked["verdict"], told["verdict"]), ("add header", "junk: 7", "accept"))
        self.assertEqual(by_http, by_milter)
        self.assertIn(b"\r\nX-Spam: Yes\r\n", by_http)

    def test_rewrite_subject_is_honoured(self):
        action, asked, told, by_http, by_milter = self.both("subject")
        self.assertEqual((action, asked["verdict"], told["verdict"]), ("rewrite subject", "continue", "accept"))
        self.assertEqual(by_http, by_milter)
        self.assertIn(b"\r\nSubject: [SPAM] two", by_http)

    def test_settings_reach_it(self):
        data = message(b"X-Test: junk\r\n")
        said, _ = self.drive("rspamd", self.http, data)
        self.assertIn("TEST_JUNK", said["more"]["symbols"])
        said, _ = self.drive("rspamd", self.http, data, settings='{"symbols_disabled":["TEST_JUNK"]}')
        self.assertNotIn("TEST_JUNK", said["more"]["symbols"])


@unittest.skipUnless(have("clamd"), "clamd is not installed")
class Clamd(Filter):
    @classmethod
    def start(cls):
        (cls.folder / "signatures").mkdir()
        signature = f"{hashlib.md5(EICAR).hexdigest()}:{len(EICAR)}:Eicar-Of-Ours\n"
        (cls.folder / "signatures" / "ours.hdb").write_text(signature)
        port = free_port()
        cls.inet, cls.unix = f"inet:127.0.0.1:{port}", f"unix:{cls.folder}/socket"
        (cls.folder / "clamd.conf").write_text(
            f"LocalSocket {cls.folder}/socket\nTCPSocket {port}\nTCPAddr 127.0.0.1\nDatabaseDirectory {cls.folder}/signatures\n"
            f"Foreground yes\nTemporaryDirectory {cls.folder}\nStreamMaxLength 1M\n")
        cls.run_program(cls.inet, "clamd", "-c", f"{cls.folder}/clamd.conf")
        port = free_port()
        cls.milter = f"inet:127.0.0.1:{port}"
        (cls.folder / "milter.conf").write_text(
            f"MilterSocket inet:{port}@127.0.0.1\nClamdSocket unix:{cls.folder}/socket\nForeground yes\nOnInfected Reject\n"
            "RejectMsg %v is in it\nAddHeader Replace\n")
        if have("clamav-milter"):
            cls.run_program(cls.milter, "clamav-milter", "-c", f"{cls.folder}/milter.conf")

    def test_it_is_there(self):
        for place in (self.inet, self.unix):
            self.assertEqual(self.drive("clamd-ping", place)[0]["more"], "Pong")
            self.assertRegex(self.drive("clamd-version", place)[0]["more"], r'^Version\("ClamAV ')

    def bad(self):
        part = b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        return message(part, base64.b64encode(EICAR) + b"\r\n")

    @unittest.skipUnless(have("clamav-milter"), "clamav-milter is not installed")
    def test_so_does_its_milter(self):
        said, out = self.drive("milter", self.milter)
        self.assertTrue(said["outcome"]["verdict"] in ("accept", "continue"), said)
        self.assertIn(b"\r\nX-Virus-Status: Clean\r\n\r\nhello", out)
        said, _ = self.drive("milter", self.milter, self.bad())
        self.assertEqual(said["outcome"]["reply"],
                         {"code": 550, "enhanced": "5.7.1", "lines": ["Eicar-Of-Ours.UNOFFICIAL is in it"]})

    def test_it_finds_what_is_in_a_message(self):
        bad = self.bad()
        for place in (self.inet, self.unix):
            self.assertEqual(self.drive("clamd", place)[0]["more"], "Clean")
            said, _ = self.drive("clamd", place, bad)
            self.assertEqual(said["more"], 'Found("Eicar-Of-Ours.UNOFFICIAL")')
            self.assertEqual(said["outcome"]["reply"]["lines"], ["Message refused: Eicar-Of-Ours.UNOFFICIAL found in it"])

    def test_a_message_that_is_too_large_for_it_is_not_called_clean(self):
        done = subprocess.run([DRIVE, "clamd", self.inet], input=bytes(3_000_000), capture_output=True, timeout=60)
        self.assertIn("failure", json.loads(done.stdout))


class Hook(Filter):
    @classmethod
    def start(cls):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                cls.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(cls.answer).encode()
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for at in range(0, len(body), 7):
                    piece = body[at:at + 7]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.url = f"http://127.0.0.1:{cls.server.server_address[1]}/mail"

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()
        super().tearDownClass()

    def test_it_is_told_and_its_answer_done(self):
        type(self).answer = {"action": "junk", "score": 3, "modifications": [
            {"type": "add_header", "name": "X-Hook", "value": "was here"},
            {"type": "remove_header", "name": "X-Remove"}]}
        said, out = self.drive("hook", self.url, share="all")
        self.assertEqual(said["outcome"]["verdict"], "junk: 3")
        self.assertEqual(base64.b64decode(self.asked["message"]["content"]), message())
        self.assertIn(["Subject", "two  spaces"], self.asked["message"]["headers"])
        self.assertEqual((self.asked["stage"], self.asked["client"]["helo"]), ("data", "me.example"))
        self.assertIn(b"\r\nX-Hook: was here\r\n\r\nhello", out)
        self.assertNotIn(b"remove", out.lower())

    def test_it_may_refuse_a_recipient(self):
        type(self).answer = {"action": "reject", "reply": {"code": 550, "enhanced": "5.1.1", "text": "Nobody"}}
        said, _ = self.drive("hook", self.url, stage="rcpt")
        self.assertEqual(said["outcome"]["reply"], {"code": 550, "enhanced": "5.1.1", "lines": ["Nobody"]})
        self.assertNotIn("message", self.asked)


if __name__ == "__main__":
    if not DRIVE.exists():
        sys.exit(f"{DRIVE} is not there: cargo build --release -p filter --example filter-drive")
    unittest.main(verbosity=1)
