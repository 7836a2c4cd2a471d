"""`angarium config from-postfix` as an operator runs it: the file is accepted, the script makes what it says, and values are
expanded as Postfix's own postconf expands them."""

import json
import pathlib
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server import BINARY, ROOT, have  # noqa: E402

DATA = ROOT / "src" / "admin" / "postfix" / "data"

# Each is a value of a parameter of its own. What they mean is postconf's to say.
EXPRESSIONS = [
    "$full", "${full}", "$(full)", "$full$empty.", "a$$b", "${empty}", "[$empty]", "$missing_parameter.",
    "${full?yes}", "${empty?yes}", "${full:no}", "${empty:no}", "${full?$nested}", "${empty:$nested}",
    "${full?{yes}:{no}}", "${empty?{yes}:{no}}", "${full ? {yes} : {no}}", "${empty?{ yes }:{ no way }}",
    "${full?{${empty?{a}:{b}}}:{c}}", "${{$full} == {text}?{same}:{other}}", "${{$full} != {text}?{other}:{same}}",
    "${{10} > {9}?{more}:{less}}", "${{10} <= {9}?{less}:{more}}", "${{abc} < {abd} ? {less} : {more}}",
    "${{3.10} >=level {3.9} ? {new} : {old}}", "${{2} <level {10}?{low}:{high}}", "${full?{}:{no}}.",
    "${nested_empty?yes}", "one, two,three  four", "it's \"quoted\" \\ # no comment", "= = =", "$myhostname/$mydomain",
    "${{$compatibility_level} <level {1} ? {yes} : {no}}", "$mydestination", "${smtpd_relay_restrictions}", "$smtputf8_enable",
]


class FromPostfix(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-postfix-"))
        self.config = self.folder / "angarium.toml"

    def tearDown(self):
        shutil.rmtree(self.folder)

    def angarium(self, *arguments, fails=0):
        done = subprocess.run([str(BINARY), "--config", str(self.config), *arguments], capture_output=True, text=True,
                              timeout=120, check=False)
        self.assertEqual(done.returncode, fails, done.stdout + done.stderr)
        return done

    def translate(self, case, *more):
        folder = DATA / case
        return self.angarium("config", "from-postfix", str(folder / "etc" / "postfix"), "--root", str(folder), *more)

    def test_what_is_printed_is_a_configuration_and_the_summary_is_apart(self):
        for case in ("satellite", "relay", "provider", "torture"):
            with self.subTest(case):
                done = self.translate(case)
                # Certificates of these machines are not on this one.
                text = "\n".join(line for line in done.stdout.splitlines()
                                 if not line.startswith(("[[tls", "certificate =", "key =", "names =")))
                self.config.write_text(text)
                checked = self.angarium("--json", "config", "check")
                self.assertEqual(json.loads(checked.stdout)["is"], "valid")
                self.assertIn("have no counterpart in the file", done.stderr)
                answer = json.loads(self.translate(case, "--json").stdout)
                self.assertEqual(answer["config"].strip(), done.stdout.strip())
                for note in answer["unmatched"]:
                    self.assertTrue(note["why"], note)
                    self.assertIn(note["parameter"], done.stderr)
                for command in answer["commands"]:
                    self.assertIn("# " + command, answer["config"])

    def test_the_script_makes_what_it_says_and_may_run_twice(self):
        script = self.folder / "make.sh"
        done = self.translate("provider", "--commands", str(script))
        self.assertNotIn("\n# angarium ", done.stdout)
        self.config.write_text(f'[server]\nhostname = "x"\ndata = "{self.folder}/store"\n')
        tools = self.folder / "bin"
        tools.mkdir()
        (tools / "angarium").symlink_to(BINARY.resolve())
        for _ in range(2):
            ran = subprocess.run(["sh", str(script)], capture_output=True, text=True, timeout=300, check=False,
                                 env={"PATH": f"{tools}:/usr/bin:/bin"})
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        aliases = {row["address"]: row["targets"] for row in json.loads(self.angarium("--json", "alias", "list").stdout)}
        self.assertEqual(aliases["team@example.org"], ["ann@example.org", "bob@example.org"])
        self.assertEqual(aliases["o'neil@example.org"], ["bob@example.org"])
        self.assertEqual(aliases["sales@example.com"], ["partner@elsewhere.example"])
        self.assertEqual(aliases["chain@example.org"], ["team@example.org"])
        accounts = {row["address"] for row in json.loads(self.angarium("--json", "account", "list").stdout)}
        self.assertEqual(accounts, {"ann@example.org", "bob@example.org", "careful@example.org", "carol@example.com"})
        shop = json.loads(self.angarium("--json", "domain", "show", "shop.example.com").stdout)
        self.assertEqual(shop["catch_all"], "carol@example.com")
        # It is not written over.
        self.angarium("config", "from-postfix", str(DATA / "provider/etc/postfix"), "--commands", str(script), fails=73)

    def test_odd_addresses_stay_arguments(self):
        script = self.folder / "make.sh"
        self.translate("torture", "--commands", str(script))
        self.config.write_text(f'[server]\nhostname = "x"\ndata = "{self.folder}/store"\n')
        tools = self.folder / "bin"
        tools.mkdir()
        (tools / "angarium").symlink_to(BINARY.resolve())
        ran = subprocess.run(["sh", str(script)], capture_output=True, text=True, timeout=300, check=False, cwd=self.folder,
                             env={"PATH": f"{tools}:/usr/bin:/bin"})
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        aliases = {row["address"] for row in json.loads(self.angarium("--json", "alias", "list").stdout)}
        self.assertIn("-rf@example.org", aliases)
        self.assertFalse((self.folder / "x@example.org").exists())

    def test_a_server_does_what_the_restrictions_say(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        old = self.folder / "postfix"
        old.mkdir()
        (old / "master.cf").write_text(f"127.0.0.1:{port} inet n - n - - smtpd\n")
        (old / "main.cf").write_text(
            "compatibility_level = 3.6\nmyhostname = mx.example.org\nmydestination = example.org\nalias_maps =\n"
            "smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n"
            "smtpd_helo_restrictions = reject_non_fqdn_helo_hostname\n"
            "smtpd_sender_restrictions = check_sender_access inline:{ { bad.example = REJECT 5.7.9 Not from there },\n"
            "  { good.bad.example = OK }, { later.example = 451 Come again } }, reject_non_fqdn_sender\n"
            "smtpd_recipient_restrictions = check_recipient_access inline:{ { shut@example.org = 550 5.1.1 Shut } }\n")
        text = self.angarium("config", "from-postfix", str(old), "--root", str(self.folder)).stdout
        text = text.replace("[server]\n", f'[server]\ndata = "{self.folder}/store"\nshards = 1\n', 1)
        text = text.replace("[listen]\n", "[listen]\nimap = []\nimaps = []\npop3 = []\npop3s = []\n", 1)
        self.config.write_text(text + "\n[inbound]\nauthenticate = false\n")
        self.angarium("domain", "add", "example.org")
        self.angarium("account", "add", "ann@example.org")
        self.angarium("account", "add", "shut@example.org")
        with open(self.folder / "log", "wb") as log:
            server = subprocess.Popen([str(BINARY), "--config", str(self.config), "serve"], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    smtplib.SMTP("127.0.0.1", port, timeout=20).quit()
                    break
                except OSError:
                    self.assertLess(time.monotonic(), deadline, (self.folder / "log").read_text())
                    time.sleep(0.1)

            def answer(sender, recipient, helo="client.example"):
                with smtplib.SMTP("127.0.0.1", port, local_hostname=helo, timeout=20) as client:
                    client.ehlo()
                    client.mail(sender)
                    code, words = client.rcpt(recipient)
                    return code, words.decode()

            self.assertEqual(answer("x@elsewhere.example", "ann@example.org")[0], 250)
            self.assertEqual(answer("x@bad.example", "ann@example.org"), (554, "5.7.9 Not from there"))
            self.assertEqual(answer("x@below.bad.example", "ann@example.org")[0], 554)
            self.assertEqual(answer("x@good.bad.example", "ann@example.org")[0], 250)
            self.assertEqual(answer("x@later.example", "ann@example.org")[0], 451)
            self.assertEqual(answer("x@nodots", "ann@example.org")[0], 504)
            self.assertEqual(answer("x@elsewhere.example", "ann@example.org", "nodots")[0], 504)
            self.assertEqual(answer("x@elsewhere.example", "shut@example.org"), (550, "5.1.1 Shut"))
            self.assertGreaterEqual(answer("x@elsewhere.example", "y@elsewhere.example")[0], 500)
        finally:
            server.terminate()
            self.assertEqual(server.wait(60), 0)

    def test_mail_takes_the_routes_and_addresses_of_transports(self):
        # Whence each message came, by its recipient.
        seen = {}
        hub = socket.create_server(("127.0.0.1", 0))

        def serve(connection, peer):
            with connection, connection.makefile("rwb") as stream:
                def say(line):
                    stream.write(line + b"\r\n")
                    stream.flush()
                say(b"220 hub.example ESMTP")
                hello = ""
                for line in stream:
                    word = line.decode().strip()
                    if word[:4].upper() in ("EHLO", "HELO"):
                        hello = word[5:]
                    elif word.upper().startswith("RCPT"):
                        seen[word.split("<")[1].split(">")[0]] = (peer[0], hello)
                    elif word.upper() == "DATA":
                        say(b"354 go on")
                        while stream.readline() not in (b".\r\n", b""):
                            pass
                    elif word.upper() == "QUIT":
                        return say(b"221 bye")
                    say(b"250 ok")

        def accept():
            while True:
                try:
                    connection, peer = hub.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection, peer), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        self.addCleanup(hub.close)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        to = f"[127.0.0.1]:{hub.getsockname()[1]}"
        old = self.folder / "postfix"
        old.mkdir()
        (old / "master.cf").write_text(
            f"127.0.0.1:{port} inet n - n - - smtpd\nsmtp unix - - n - - smtp\n"
            "out1 unix - - n - - smtp -o smtp_bind_address=127.0.0.5 -o smtp_helo_name=out1.example.org\n")
        (old / "main.cf").write_text(
            "compatibility_level = 3.6\nmyhostname = mx.example.org\nmydestination = example.org\nalias_maps =\n"
            "mynetworks = 127.0.0.0/8\nsmtp_helo_name = main.example.org\nsmtp_tls_security_level = none\n"
            f"transport_maps = inline:{{ {{ * = smtp:[127.0.0.1]:1 }}, {{ .b.example = out1:{to} }}, {{ a.example = smtp:{to} }} }}\n")
        text = self.angarium("config", "from-postfix", str(old), "--root", str(self.folder)).stdout
        text = text.replace("[server]\n", f'[server]\ndata = "{self.folder}/store"\nshards = 1\n', 1)
        text = text.replace("[listen]\n", "[listen]\nimap = []\nimaps = []\npop3 = []\npop3s = []\n", 1)
        self.config.write_text(text + "\n[inbound]\nauthenticate = false\n")
        with open(self.folder / "log", "wb") as log:
            server = subprocess.Popen([str(BINARY), "--config", str(self.config), "serve"], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    client = smtplib.SMTP("127.0.0.1", port, timeout=20)
                    break
                except OSError:
                    self.assertLess(time.monotonic(), deadline, (self.folder / "log").read_text())
                    time.sleep(0.1)
            with client:
                client.sendmail("x@example.net", ["ann@a.example", "bob@deep.b.example"], "Subject: x\r\n\r\nx\r\n")
            while len(seen) < 2 and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertEqual(seen, {"ann@a.example": ("127.0.0.1", "main.example.org"),
                                    "bob@deep.b.example": ("127.0.0.5", "out1.example.org")},
                             (self.folder / "log").read_text() + text)
        finally:
            server.terminate()
            self.assertEqual(server.wait(60), 0)

    def test_a_folder_without_postfix_is_named(self):
        done = self.angarium("config", "from-postfix", str(self.folder), fails=74)
        self.assertIn("main.cf", done.stderr)

    def test_values_are_expanded_as_postconf_does(self):
        if not have("postconf"):
            self.skipTest("postconf is not installed: values are not compared with Postfix's own")
        names = [f"try_{n:02}" for n in range(len(EXPRESSIONS))]
        lines = ["compatibility_level = 3.6", "myhostname = mx.example.org", "full = text", "empty =", "nested = <$full>",
                 "nested_empty = $empty", "mynetworks = 127.0.0.0/8",
                 "bounce_template_file = " + "".join(f"${name}" for name in names)]
        lines += [f"{name} = {expression}" for name, expression in zip(names, EXPRESSIONS)]
        # Continued lines, comments between, repeated parameters.
        lines += ["try_folded = one,", "\ttwo", "# a comment", "", "  three   ", "try_twice = 1", "try_twice = 2",
                  "try_tight=a", "  # indented comment", "  b", "try_used = $try_folded$try_twice$try_tight"]
        names += ["try_folded", "try_twice", "try_tight"]
        (self.folder / "main.cf").write_text("\n".join(lines) + "\n")
        (self.folder / "master.cf").write_text("smtp inet n - n - - smtpd\n")
        (self.folder / "dynamicmaps.cf").write_text("")
        (self.folder / "angarium.toml").write_text("")
        answer = json.loads(self.angarium("--json", "config", "from-postfix", str(self.folder)).stdout)
        ours = {note["parameter"]: note["value"] for note in answer["settled"]}
        for name in names:
            done = subprocess.run(["postconf", "-c", str(self.folder), "-x", "-h", name], capture_output=True, text=True,
                                  timeout=60, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            expected = " ".join(done.stdout.split())
            expression = EXPRESSIONS[int(name[4:])] if name[4:].isdigit() else name
            self.assertEqual(ours.get(name), expected, expression)


if __name__ == "__main__":
    unittest.main(verbosity=1)
