"""Four mail servers, each with a domain: two of ours, Postfix and Exim. Everyone writes to everyone, with names, signatures,
certificates and policies as on the net; and what is not as it should be holds mail until it is mended."""

import itertools
import os
import pathlib
import shutil
import smtplib
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from servers import LAYERS, Angarium, Exim, Postfix  # noqa: E402
from village import WEB, Authority, Names, Policies, enter, text, tlsa  # noqa: E402

MISSING = [what for what, is_there in [
    ("root", os.geteuid() == 0), ("perf-scripts/peers/layers.sh dovecot exim", (LAYERS / "exim" / "stamp").is_file()),
    *((program, shutil.which(program)) for program in ("nsd", "unbound", "ldns-signzone", "postfix", "openssl", "ip", "unshare")),
] if not is_there]


def policy(*hosts, mode="enforce"):
    return f"version: STSv1\nmode: {mode}\n" + "".join(f"mx: {host}\n" for host in hosts) + "max_age: 86400\n"


def results(message):
    return " ".join(message["Authentication-Results"].split())


@unittest.skipIf(MISSING, f"needs {', '.join(MISSING)}")
class Four(unittest.TestCase):
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
            files = cls.authority.sign(name, f"mail.{name}.example")
            cls.sites.append(kind(cls.folder, number, f"{name}.example", who, files, **more))
        cls.one, cls.two, cls.three, cls.four = cls.sites
        for site in cls.sites:
            kinds = {}
            for name, kind, data in site.records():
                kinds.setdefault((name, kind), []).append(data)
            for (name, kind), data in kinds.items():
                cls.names.publish(name, kind, *data)
        # Two of them have DANE, the other two a policy over HTTPS.
        for site, name in ((cls.two, "two"), (cls.three, "three")):
            cls.names.publish(f"_25._tcp.mail.{name}", "TLSA", tlsa(site.files[0]))
        cls.web = Policies()
        cls.web_files = {}
        for site, name in ((cls.one, "one"), (cls.four, "four")):
            cls.web_files[name] = cls.authority.sign(f"web-{name}", f"mta-sts.{name}.example")
            cls.names.publish(f"mta-sts.{name}", "A", WEB)
            cls.web.serve(f"mta-sts.{name}.example", cls.web_files[name], policy(site.host))
            cls.names.publish(f"_mta-sts.{name}", "TXT", text("v=STSv1; id=1;"))
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

    def test_1_everyone_writes_to_everyone(self):
        pairs = list(itertools.permutations(self.sites, 2))
        for sender, receiver in pairs:
            sender.send(receiver.who, f"from {sender.domain} to {receiver.domain}")
        for sender, receiver in pairs:
            with self.subTest(f"{sender} to {receiver}"):
                subject = f"from {sender.domain} to {receiver.domain}"
                message = receiver.wait(subject)
                print(subject, "|", message["Received"], "|", message["Authentication-Results"], file=sys.stderr)
                if isinstance(sender, Angarium):
                    print(sender.last_attempt(subject), file=sys.stderr)


if __name__ == "__main__":
    if not MISSING:
        enter()
    unittest.main(verbosity=2)
