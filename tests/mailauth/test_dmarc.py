"""authheaders' own test cases, out of its source package, with its three checks done by `mailauth`. Results,
domains and policies are ours; the comments of its expected headers are put into its words here."""

import importlib.util
import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from probe import Probe, encode  # noqa: E402
from sdists import sdist  # noqa: E402

sys.path.insert(0, str(sdist("dkimpy", "1.1.8")))
FOLDER = sdist("authheaders", "0.16.3")
sys.path.insert(0, str(FOLDER))
import authheaders  # noqa: E402
from authres import DKIMAuthenticationResult  # noqa: E402
from authres.arc import ARCAuthenticationResult  # noqa: E402
from authres.dmarc import DMARCAuthenticationResult  # noqa: E402

CASES = 17
ASKED = 15

PROBE = Probe()
asked = set()
current = None


def wire(message):
    return message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def ask(command, message, dnsfunc):
    asked.add(current)
    full = {**command, "message": encode(wire(message)), "now": int(time.time())}
    return PROBE.run(full, lookup_with(dnsfunc))


def lookup_with(dnsfunc):
    """Their function of a name: key records have the last dot, others not; nothing means no such name."""

    def lookup(name, kind):
        try:
            text = dnsfunc(name + "." if "._domainkey." in name else name)
        except AssertionError:
            text = None
        if not text:
            raise Probe.NoSuchName
        if kind != "TXT":
            return ["192.0.2.1"]
        return [text if isinstance(text, bytes) else text.encode()]

    return lookup


def check_dkim(msg, dnsfunc=None):
    outcomes = ask({"do": "dkim", "service": "mail"}, msg, dnsfunc)
    first = outcomes[0]
    result = "pass" if first["result"] == "pass" else "fail"
    return DKIMAuthenticationResult(result=result, header_d=first["domain"], header_i=first["identity"])


def check_arc(msg, logger=None, dnsfunc=None):
    arc = ask({"do": "arc"}, msg, dnsfunc)
    words = {"body hash did not verify": "Most recent ARC-Message-Signature did not validate"}
    return ARCAuthenticationResult(result=arc["result"], result_comment=words.get(arc["trouble"]))


def check_dmarc(msg, spf_result=None, dkim_result=None, dnsfunc=None, psddmarc=False, dmarcbis=False):
    dkim = [[dkim_result.result, dkim_result.header_d]] if dkim_result else []
    dmarc = ask({"do": "dmarc", "spf": None, "dkim": dkim}, msg, dnsfunc)
    if dmarc["result"] == "none":
        return DMARCAuthenticationResult(result="none", header_from="")
    if dmarc["result"] == "permerror":
        if not dmarc["author"]:
            comment = "Unable to extract From domain: Test User"
        else:
            comment = f'missing tag or value: "{dnsfunc("_dmarc." + dmarc["policy_domain"])}"'
        return DMARCAuthenticationResult(
            result="permerror", result_comment=comment, header_from=dmarc["author"] or "none", policy="none"
        )
    comment = {
        "Author": "Used From Domain Record",
        "Organisation": "Used Org Domain Record",
        "PublicSuffix": "Used Tree Walk, org one level below PSD",
    }[dmarc["found"]]
    return DMARCAuthenticationResult(
        result=dmarc["result"], result_comment=comment, header_from=dmarc["author"], policy=dmarc["policy"]
    )


class Result(unittest.TextTestResult):
    def startTest(self, test):
        global current
        current = test.id()
        super().startTest(test)


class Authheaders(unittest.TestCase):
    def test_every_case(self):
        path = FOLDER / "authheaders" / "test" / "test_authentication.py"
        spec = importlib.util.spec_from_file_location("test_authentication", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for function in (check_dkim, check_arc, check_dmarc):
            setattr(authheaders, function.__name__, function)
        cases = unittest.defaultTestLoader.loadTestsFromModule(module)
        with open("/dev/null", "w") as quiet:
            result = unittest.TextTestRunner(stream=quiet, resultclass=Result).run(cases)
        wrong = [f"{test.id()}\n{trace}" for test, trace in result.failures + result.errors]
        print(f"authheaders: {result.testsRun - len(wrong)} of {result.testsRun}, {len(asked)} of them by our code")
        self.assertEqual(wrong, [], "\n".join(wrong))
        self.assertEqual((result.testsRun, len(asked)), (CASES, ASKED), "the suite has other cases")


if __name__ == "__main__":
    try:
        unittest.main()
    finally:
        PROBE.close()
