"""Four mail servers, each with a domain: two of ours, Postfix and Exim. Everyone writes to everyone, with names, signatures,
certificates and policies as on the net; and what is not as it should be holds mail until it is mended."""

import itertools
import os
import pathlib
import re
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from servers import LAYERS, Angarium, Exim, Postfix  # noqa: E402
from village import WEB, Authority, Names, Policies, enter, text, tlsa, wait_for  # noqa: E402

MISSING = [what for what, is_there in [
    ("root", os.geteuid() == 0), ("perf-scripts/peers/layers.sh dovecot exim", (LAYERS / "exim" / "stamp").is_file()),
    *((program, shutil.which(program)) for program in ("nsd", "unbound", "ldns-signzone", "postfix", "openssl", "ip", "unshare", "nsenter")),
    ("namespaces", subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False).returncode == 0),
] if not is_there]


def policy(*hosts, mode="enforce"):
    return f"version: STSv1\nmode: {mode}\n" + "".join(f"mx: {host}\n" for host in hosts) + "max_age: 86400\n"


@unittest.skipIf(MISSING, f"needs {', '.join(MISSING)}")
class Four(unittest.TestCase):
    """In the order of their names: the first tests want everything as it should be."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-four-"))
        cls.folder.chmod(0o755)
        for name in ("certificates", "names"):
            (cls.folder / name).mkdir()
        cls.authority = Authority(cls.folder / "certificates", "authority")
        cls.nobody = Authority(cls.folder / "certificates", "nobody")
        cls.names = Names(cls.folder / "names")
        more = {"authorities": cls.authority.certificate, "anchor": cls.names.anchor}
        cls.sites = []
        for number, (kind, name, who) in enumerate([(Angarium, "one", "ann"), (Angarium, "two", "bob"), (Postfix, "three", "cat"), (Exim, "four", "dan")], 1):
            files = cls.authority.sign(name, f"mail.{name}.example", f"mta-sts.{name}.example")
            cls.sites.append(kind(cls.folder, number, f"{name}.example", who, files, **more))
        cls.one, cls.two, cls.three, cls.four = cls.sites
        for site in cls.sites:
            cls.names.hosts[site.address] = site.host
            kinds = {}
            for name, kind, data in site.records():
                kinds.setdefault((name, kind), []).append(data)
            for (name, kind), data in kinds.items():
                cls.names.publish(name, kind, *data)
        # Two of them have DANE, the other two a policy over HTTPS; the first serves it itself.
        for site, name in ((cls.two, "two"), (cls.three, "three")):
            cls.names.publish(f"_25._tcp.mail.{name}", "TLSA", tlsa(site.files[0]))
        cls.web = Policies()
        cls.web_files = {}
        cls.web_files["four"] = cls.authority.sign("web-four", "mta-sts.four.example")
        cls.names.publish("mta-sts.four", "A", WEB)
        cls.web.serve("mta-sts.four.example", cls.web_files["four"], policy(cls.four.host))
        cls.names.publish("_mta-sts.four", "TXT", text("v=STSv1; id=1;"))
        cls.names.publish("mta-sts.one", "CNAME", f"{cls.one.host}.")
        cls.names.publish("_mta-sts.one", "TXT", cls.one.policy_record())
        for site, name in ((cls.one, "one"), (cls.four, "four")):
            cls.names.publish(f"_smtp._tls.{name}", "TXT", text(f"v=TLSRPTv1; rua=mailto:{site.who}"))
        cls.names.start()
        for site in cls.sites:
            site.start()

    @classmethod
    def tearDownClass(cls):
        for site in cls.sites:
            site.stop()
        cls.web.stop()
        cls.names.stop()
        for site in (cls.one, cls.two):
            assert "panic" not in (site.folder / "log").read_text(errors="replace")
        shutil.rmtree(cls.folder)

    def check(self, message, results):
        said = " ".join(message["Authentication-Results"].split())
        for result in results:
            self.assertIn(result, said)

    def test_1_everyone_writes_to_everyone(self):
        pairs = list(itertools.permutations(self.sites, 2))
        for sender, receiver in pairs:
            sender.send(receiver.who, f"from {sender.domain} to {receiver.domain}")
        for sender, receiver in pairs:
            with self.subTest(f"{sender} to {receiver}"):
                subject = f"from {sender.domain} to {receiver.domain}"
                message = self.arrives(subject, sender, receiver)
                # The words of all three for SMTP with TLS.
                self.assertRegex(message["Received"], rf"(?is)from .*{sender.host}.*\sby {receiver.host}\s.*with esmtps")
                if isinstance(sender, Angarium):
                    attempt = sender.last_attempt(subject)
                    self.assertEqual(attempt["action"], "relayed")
                    self.assertIn("TLS1.3", attempt["tls"])
                if isinstance(receiver, Angarium):
                    # Postfix does not sign by itself.
                    dkim = "dkim=none" if sender is self.three else f"dkim=pass header.d={sender.domain}"
                    self.check(message, [receiver.host, "iprev=pass", f"spf=pass smtp.mailfrom={sender.who}", dkim,
                                         f"dmarc=pass header.from={sender.domain}"])

    def test_2_what_is_written_in_anothers_name_is_refused(self):
        with smtplib.SMTP(self.one.address, 25, local_hostname="here.example") as client, self.assertRaises(smtplib.SMTPDataError) as refused:
            client.sendmail("someone@four.example", [self.one.who], self.two.content(self.one.who, "not by bob"))
        self.assertEqual(refused.exception.smtp_code, 550)
        self.assertIn(b"DMARC", refused.exception.smtp_error)

    def test_3_the_protection_was_proven(self):
        """By the records of those that have them, by the policy of those that have one; on both sides of the fence."""
        for sender, receiver, kind in [(self.one, self.two, "tlsa"), (self.one, self.three, "tlsa"), (self.one, self.four, "sts"),
                                       (self.two, self.one, "sts"), (self.two, self.three, "tlsa"), (self.two, self.four, "sts")]:
            with self.subTest(f"{sender} to {receiver}"):
                self.assertGreaterEqual(sender.tls_successes(receiver.domain)[kind], 1)
                self.assertEqual(sender.tls_failures(receiver.domain), set())
        self.assertIn("Verified TLS connection established to mail.two.example", self.three.log_text())
        self.assertRegex(self.four.log_text(), r"H=mail\.two\.example .* CV=dane")
        self.assertIn("mta-sts.four.example", self.web.asked)
        self.assertNotIn("mta-sts.one.example", self.web.asked)

    def test_4_a_wrong_tlsa_record_holds_mail(self):
        self.names.publish("_25._tcp.mail.two", "TLSA", "3 1 1 " + "00" * 32)
        self.forget()
        for sender in (self.one, self.three, self.four):
            sender.send(self.two.who, f"wrong record {sender.domain}")
        held = self.one.held("two.example")
        self.assertIn("tlsa-invalid", held["last_reply"])
        self.assertEqual(self.one.tls_failures("two.example"), {("tlsa", "tlsa-invalid")})
        self.assertNotEqual(self.one.last_attempt("wrong record one.example")["action"], "relayed")
        # The other two think the same of it.
        self.three.wait_for_log("no matching DANE TLSA records")
        self.four.wait_for_log("DANE attempt failed")
        for sender in (self.one, self.three, self.four):
            self.assertIsNone(self.two.find(f"wrong record {sender.domain}"))
        self.names.publish("_25._tcp.mail.two", "TLSA", tlsa(self.two.files[0]))
        self.one.retry_until("two.example", lambda: self.two.find("wrong record one.example"))
        self.three.flush()
        for sender in (self.three, self.four):
            self.arrives(f"wrong record {sender.domain}", sender, self.two)

    def test_5_a_policy_that_names_other_hosts_holds_mail(self):
        self.one.serve_policy("mail.elsewhere.example")
        self.names.publish("_mta-sts.one", "TXT", self.one.policy_record())
        self.forget()
        self.two.send(self.one.who, "another host")
        held = self.two.held("one.example")
        self.assertIn("mail.one.example may not be used: validation-failure", held["last_reply"])
        self.assertEqual(self.two.tls_failures("one.example"), {("sts", "validation-failure")})
        self.assertIsNone(self.one.find("another host"))
        self.one.serve_policy("mail.one.example")
        self.names.publish("_mta-sts.one", "TXT", self.one.policy_record())
        self.two.retry_until("one.example", lambda: self.one.find("another host"))

    def test_6_an_unknown_authority_holds_mail(self):
        """Behind the certificate of the mail host, under a policy that is enforced."""
        kept = [file.read_bytes() for file in self.one.files]
        for file, other in zip(self.one.files, self.nobody.sign("stranger", "mail.one.example"), strict=True):
            shutil.copy(other, file)
        self.restart(self.one)
        self.two.send(self.one.who, "unknown authority")
        held = self.two.held("one.example")
        self.assertIn("certificate-not-trusted", held["last_reply"])
        self.assertIn(("sts", "certificate-not-trusted"), self.two.tls_failures("one.example"))
        self.assertIsNone(self.one.find("unknown authority"))
        for file, content in zip(self.one.files, kept, strict=True):
            file.write_bytes(content)
        self.restart(self.one)
        self.two.retry_until("one.example", lambda: self.one.find("unknown authority"))

    def test_7_a_web_server_that_is_not_the_right_one(self):
        """The policy is not taken from it. The one that is kept counts; without one, mail goes as if there were none, and the
        domain is told (RFC 8461)."""
        elsewhere = policy("mail.elsewhere.example")
        self.web.serve("mta-sts.four.example", self.nobody.sign("false-four", "mta-sts.four.example"), elsewhere)
        self.names.publish("five", "MX", f"10 {self.four.host}.")
        self.names.publish("mta-sts.five", "A", WEB)
        self.web.serve("mta-sts.five.example", self.nobody.sign("false-five", "mta-sts.five.example"), elsewhere)
        self.publish_id("five", 1)
        self.publish_id("four", 2)
        self.forget()
        before = self.two.tls_successes("four.example")
        self.two.send(self.four.who, "a policy is kept")
        self.arrives("a policy is kept", self.two, self.four)
        self.assertEqual(self.two.tls_successes("four.example") - before, {"sts": 1})
        self.two.send("dan@five.example", "no policy is kept")
        self.arrives("no policy is kept", self.two, self.four)
        self.assertEqual(self.two.tls_failures("five.example"), {("sts", "sts-webpki-invalid")})
        self.web_files["five"] = self.authority.sign("web-five", "mta-sts.five.example")
        self.publish_policy("five", 2, self.four.host)
        self.forget()
        self.two.send("dan@five.example", "the policy is there")
        self.arrives("the policy is there", self.two, self.four)
        self.assertEqual(self.two.tls_successes("five.example")["sts"], 1)

    def test_8_a_policy_holds_over_a_restart(self):
        """Somebody who hides the record and the web server gains nothing by a restart (RFC 8461 §3.3)."""
        self.web.serve("mta-sts.five.example", self.nobody.sign("false-five-again", "mta-sts.five.example"), policy("mail.elsewhere.example"))
        self.publish_id("five", 3)
        self.forget()
        before, failed = self.two.tls_successes("five.example"), self.two.tls_failure_count("five.example")
        self.restart(self.two)
        self.two.send("dan@five.example", "kept over a restart")
        self.arrives("kept over a restart", self.two, self.four)
        self.assertEqual(self.two.tls_successes("five.example") - before, {"sts": 1})
        self.assertEqual(self.two.tls_failure_count("five.example"), failed)

    def test_9_a_moderator_elsewhere_is_known_by_her_domain(self):
        """A server's moderator may be anywhere: her answer counts by what her domain proves, and a forged one does not."""
        self.three.send(self.two.who, "moderated")
        asked = self.arrives("Approve? moderated", self.two, self.one).as_bytes()
        approve = re.search(rb"<mailto:(moderation\+approve\.[0-9a-f.]+@mail\.two\.example)>", asked)[1].decode()
        with smtplib.SMTP(self.two.address, 25, local_hostname="here.example") as client, self.assertRaises(smtplib.SMTPDataError) as refused:
            client.sendmail("cat@three.example", [approve], f"From: {self.three.who}\r\nTo: {approve}\r\nSubject: yes\r\n\r\nyes\r\n")
        self.assertEqual(refused.exception.smtp_code, 550)
        self.assertTrue(self.two.angarium("queue", "list")[0]["held"])
        self.one.send(approve, "yes, let it go")
        self.arrives("moderated", self.three, self.two)
        self.assertIn(b"You have approved the message", self.arrives("Re: yes, let it go", self.two, self.one).as_bytes())

    def restart(self, site):
        site.stop()
        site.start()

    def arrives(self, subject, sender, receiver):
        """The message, as it came."""
        def look():
            if isinstance(sender, Angarium):
                sender.retry_what_dns_delayed()
            return receiver.find(subject)
        return wait_for(look, lambda: f"{subject!r} at {receiver}\n{sender.state()}\n{receiver.state()}", 40)

    def publish_policy(self, name, number, *hosts):
        self.web.serve(f"mta-sts.{name}.example", self.web_files[name], policy(*hosts))
        self.publish_id(name, number)

    def publish_id(self, name, number):
        self.names.publish(f"_mta-sts.{name}", "TXT", text(f"v=STSv1; id={number};"))

    def forget(self):
        """Answers are kept for five seconds at least, connections for one."""
        time.sleep(5.2)


if __name__ == "__main__":
    if not MISSING:
        enter()
    unittest.main(verbosity=2)
