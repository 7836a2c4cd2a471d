"""RFC 7208's own suite, as pyspf's source package carries it: every case, asked of `mailauth`."""

import pathlib
import sys
import unittest

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from probe import Probe  # noqa: E402
from sdists import sdist  # noqa: E402

CASES = 203


class Zone:
    """The records of one scenario, with the suite's words for what goes wrong."""

    def __init__(self, data):
        self.names = {str(name).lower().rstrip("."): list(self._records(records)) for name, records in data.items()}

    @staticmethod
    def _records(records):
        """(kind, value) pairs; SPF records stand for TXT records where there are none."""
        typed = [next(iter(record.items())) if isinstance(record, dict) else ("*", record) for record in records]
        has_txt = any(kind == "TXT" for kind, _ in typed)
        for kind, value in typed:
            if kind == "SPF":
                if has_txt:
                    continue
                kind = "TXT"
            if value != "NONE":
                yield kind, value

    def lookup(self, name, kind, depth=0):
        records = self.names.get(name)
        if records is None:
            raise Probe.NoSuchName
        found = []
        for record_kind, value in records:
            if record_kind == "*" and value == "TIMEOUT" and not found:
                raise Probe.Temporary
            if record_kind == kind:
                if value == "TIMEOUT":
                    raise Probe.Temporary
                found.append(self._value(kind, value))
            if record_kind == "CNAME" and depth < 8:
                return self.lookup(str(value).lower().rstrip("."), kind, depth + 1)
        if not found:
            raise Probe.NoRecords
        return found

    @staticmethod
    def _value(kind, value):
        if kind == "TXT":
            strings = [value] if isinstance(value, str) else value
            return "".join(strings).encode("utf-8")
        if kind == "MX":
            return [value[0], str(value[1])]
        return str(value)


def scenarios():
    path = sdist("pyspf", "2.0.14") / "test" / "rfc7208-tests.yml"
    with open(path, encoding="utf-8") as file:
        return list(yaml.safe_load_all(file))


class Rfc7208(unittest.TestCase):
    def test_every_case(self):
        probe = Probe()
        self.addCleanup(probe.close)
        passed, wrong = 0, []
        for scenario in scenarios():
            zone = Zone(scenario["zonedata"])
            for name, case in scenario["tests"].items():
                problem = self.problem(probe, zone, case)
                if problem:
                    wrong.append(f"{scenario['description']}: {name}: {problem}")
                else:
                    passed += 1
        print(f"RFC 7208: {passed} of {passed + len(wrong)}")
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))
        self.assertEqual(passed, CASES, "the suite has another number of cases")

    @staticmethod
    def problem(probe, zone, case):
        command = {
            "do": "spf",
            "identity": "mail_from",
            "ip": str(case["host"]),
            "helo": str(case["helo"]),
            "mail_from": str(case["mailfrom"] or ""),
            "receiver": "receiver.example",
            "now": 0,
        }
        answer = probe.run(command, zone.lookup)
        allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
        if answer["result"] not in allowed:
            return f"{answer['result']} is not {allowed}"
        expected = case.get("explanation")
        if expected is not None and (answer["explanation"] or "DEFAULT") != expected:
            return f"explanation {answer['explanation']!r} is not {expected!r}"
        return None


if __name__ == "__main__":
    unittest.main()
