"""dkimpy's own test cases, out of its source package, with verifying done by `mailauth`. What dkimpy signs,
we verify; what we sign, dkimpy verifies."""

import base64
import logging
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from probe import Probe, encode  # noqa: E402
from sdists import sdist  # noqa: E402

FOLDER = sdist("dkimpy", "1.1.8")
sys.path.insert(0, str(FOLDER))
import dkim  # noqa: E402
import dkim.tests  # noqa: E402

DATA = FOLDER / "dkim" / "tests" / "data"
# Cases in the package, and those among them that ask our code: the others are about dkimpy's own functions.
CASES = 114
ASKED = 51

PROBE = Probe()
asked = set()
current = None


def wire(message):
    """Messages come over the wire with CRLF."""
    return re.sub(rb"\r\n|\n", b"\r\n", message)


def lookup_with(dnsfunc):
    """Their stand-in for the name system as ours: a function of a name that gives a text."""

    def lookup(name, kind):
        if kind != "TXT":
            raise Probe.NoSuchName
        try:
            text = dnsfunc(name.encode() + b".")
        except AssertionError:
            text = None
        if not text:
            raise Probe.NoSuchName
        return [text if isinstance(text, bytes) else text.encode()]

    return lookup


def verify_ours(message, dnsfunc, tlsrpt=False, index=0):
    asked.add(current)
    service = {False: "mail", True: "tlsrpt", "strict": "strict tlsrpt"}[tlsrpt]
    command = {"do": "dkim", "message": encode(wire(message)), "service": service, "now": int(time.time())}
    outcomes = PROBE.run(command, lookup_with(dnsfunc))
    return len(outcomes) > index and outcomes[index]["result"] == "pass"


class Ours(dkim.DKIM):
    """dkimpy's class, whose answer is ours. Theirs is computed too, for the members it leaves behind."""

    def set_message(self, message):
        self.given = message
        super().set_message(message)

    def verify(self, idx=0, dnsfunc=None):
        try:
            super().verify(idx=idx, dnsfunc=dnsfunc)
        except dkim.DKIMException:
            pass
        return verify_ours(self.given, dnsfunc, self.tlsrpt, idx)


THEIRS = {"sign": dkim.sign, "verify": dkim.verify, "arc_verify": dkim.arc_verify}


def verify(message, logger=None, dnsfunc=None, minkey=1024, timeout=5, tlsrpt=False):
    return verify_ours(message, dnsfunc, tlsrpt)


def sign(message, selector, domain, privkey, *rest, **named):
    return THEIRS["sign"](message, selector, domain, privkey, *rest, **named)


def arc_verify(message, logger=None, dnsfunc=None, minkey=1024, timeout=5):
    asked.add(current)
    command = {"do": "arc", "message": encode(wire(message)), "now": int(time.time())}
    arc = PROBE.run(command, lookup_with(dnsfunc))
    state = {"none": dkim.CV_None, "pass": dkim.CV_Pass}.get(arc["result"], dkim.CV_Fail)
    return state, [], arc["trouble"] or ""


class Result(unittest.TextTestResult):
    def startTest(self, test):
        global current
        current = test.id()
        super().startTest(test)


def short_key_case(test):
    """The one case with an RSA key of 512 bits, which RFC 8301 §3.2 forbids to accept."""
    return test.id().endswith("test_dkim.TestSignAndVerify.test_dkim_signature_canonicalization")


def with_longer_key(test):
    """Runs that case with the suite's key of 1024 bits in the place of the short one, and shows that the short
    one is refused."""

    def longer(message, selector, domain, privkey, *rest, **named):
        short = THEIRS["sign"](message, selector, domain, privkey, *rest, **named)
        test.assertFalse(verify_ours(short + message, test.dnsfunc))
        key = (DATA / "test.private").read_bytes()
        return THEIRS["sign"](message, b"test", b"example.com", key, *rest, **named)

    def run(result=None):
        dkim.sign = longer
        try:
            return type(test).run(test, result)
        finally:
            dkim.sign = sign

    return run


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


class Dkimpy(unittest.TestCase):
    def test_every_case(self):
        logging.disable(logging.CRITICAL)
        dkim.verify, dkim.arc_verify, dkim.DKIM, dkim.sign = verify, arc_verify, Ours, sign
        self.addCleanup(setattr, dkim, "DKIM", Ours.__mro__[1])
        for name, function in THEIRS.items():
            self.addCleanup(setattr, dkim, name, function)
        cases = list(flatten(dkim.tests.test_suite()))
        for case in cases:
            if short_key_case(case):
                case.run = with_longer_key(case)
        with open("/dev/null", "w") as quiet:
            runner = unittest.TextTestRunner(stream=quiet, resultclass=Result)
            result = runner.run(unittest.TestSuite(cases))
        wrong = [f"{test.id()}\n{trace}" for test, trace in result.failures + result.errors]
        print(f"dkimpy: {result.testsRun - len(wrong)} of {result.testsRun}, {len(asked)} of them by our code")
        self.assertEqual(wrong, [], "\n".join(wrong))
        self.assertEqual((result.testsRun, len(asked)), (CASES, ASKED), "the suite has other cases")


class Both(unittest.TestCase):
    """What we sign and seal, dkimpy verifies."""

    @classmethod
    def setUpClass(cls):
        # Ours are keys of 2048 bits at least; the suite has two, in both of RSA's formats.
        with tempfile.NamedTemporaryFile() as file:
            subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file.name], check=True)
            ed25519 = pathlib.Path(file.name).read_bytes()
        rsa, pkcs8 = ((DATA / name).read_bytes() for name in ("2048_testkey.key", "2048_testkey_PKCS8.key"))
        cls.keys = {"rsa": rsa, "pkcs8": pkcs8, "ed25519": ed25519}
        cls.records = {
            f"{selector}._domainkey.example.com.": PROBE.run({"do": "record", "key": encode(key)}, None)
            for selector, key in cls.keys.items()
        }

    def dns(self):
        return lambda name, timeout=5: self.records.get(name.decode())

    def message(self):
        return wire((DATA / "rfc6376.msg").read_bytes())

    def sign(self, message, **more):
        keys = [[selector, encode(key)] for selector, key in self.keys.items()]
        command = {"do": "sign", "message": encode(message), "domain": "example.com", "keys": keys}
        command |= {"now": int(time.time()), **more}
        return base64.b64decode(PROBE.run(command, lookup_with(self.dns())))

    def test_dkimpy_verifies_what_we_sign(self):
        for message in (self.message(), wire((DATA / "rfc6376.w1258.msg").read_bytes())):
            signed = self.sign(message) + message
            for index in range(len(self.keys)):
                self.assertTrue(dkim.DKIM(signed).verify(idx=index, dnsfunc=self.dns()))
            # A second From was signed as absent.
            spoofed = b"From: other@example.org\r\n" + signed
            self.assertFalse(dkim.verify(spoofed, dnsfunc=self.dns()))

    def test_dkimpy_verifies_what_we_seal(self):
        message = self.message()
        for hop in range(3):
            results = f"hop{hop}.example; dkim=pass header.d=example.com"
            message = self.sign(message, do="seal", results=results) + message
            state, _, reason = dkim.arc_verify(message, dnsfunc=self.dns())
            self.assertEqual(state, dkim.CV_Pass, reason)
            self.assertEqual(arc_verify(message, dnsfunc=self.dns())[0], dkim.CV_Pass)
        broken = message.replace(b"hop1.example", b"hop9.example")
        self.assertEqual(arc_verify(broken, dnsfunc=self.dns())[0], dkim.CV_Fail)


if __name__ == "__main__":
    try:
        unittest.main()
    finally:
        PROBE.close()
