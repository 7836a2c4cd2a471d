"""Speaks to `src/mailauth/examples/probe.rs`: commands out, questions for the name system back, answers out."""

import base64
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def encode(data):
    return base64.b64encode(data).decode()


class Probe:
    """One running probe. `lookup(name, kind)` gives a list of records, or raises one of the three below."""

    class NoSuchName(Exception):
        pass

    class NoRecords(Exception):
        pass

    class Temporary(Exception):
        pass

    def __init__(self):
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        program = target / "debug" / "examples" / "probe"
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def run(self, command, lookup):
        self._write(command)
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("the probe has ended")
            answer = json.loads(line)
            if "done" in answer:
                done = answer["done"]
                if isinstance(done, dict) and "error" in done:
                    raise RuntimeError(done["error"])
                return done
            self._write(self._answer(lookup, answer["ask"], answer["kind"]))

    def _answer(self, lookup, name, kind):
        try:
            records = lookup(name, kind)
        except Probe.NoSuchName:
            return {"failure": "name"}
        except Probe.NoRecords:
            return {"failure": "records"}
        except Probe.Temporary:
            return {"failure": "temporary"}
        if not records:
            return {"failure": "records"}
        if kind == "TXT":
            records = [encode(record) for record in records]
        return {"records": records}

    def _write(self, value):
        self.process.stdin.write(json.dumps(value).encode() + b"\n")
        self.process.stdin.flush()
