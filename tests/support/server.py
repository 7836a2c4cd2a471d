"""Starts and stops the binary for black-box tests: `angarium demo --json` on loopback."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("ANGARIUM", ROOT / "target" / "release" / "angarium"))


class Server:
    """A demo server on a folder that survives its ends."""

    def __init__(self, folder=None, shards=2, accounts=0, password="benchmark", binary=BINARY, wrap=(), smarthost=None):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="angarium-test-"))
        self.is_own_folder = folder is None
        self.arguments = [*wrap, str(binary), "demo", "--json", "--data", str(self.folder), "--shards", str(shards)]
        if accounts:
            self.arguments += ["--accounts", str(accounts), "--password", password]
        if smarthost:
            self.arguments += ["--smarthost", smarthost]
        self.process = None
        self.info = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        if self.is_own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, timeout_s=60):
        self.log = open(self.folder / "server.log", "ab")
        self.process = subprocess.Popen(self.arguments, stdout=subprocess.PIPE, stderr=self.log, text=True)
        deadline = time.monotonic() + timeout_s
        line = self.process.stdout.readline()
        if not line.startswith("{") or time.monotonic() > deadline:
            self.kill()
            raise RuntimeError(f"the server did not start: {line!r}\n{self.log_text()}")
        self.info = json.loads(line)
        return self

    def stop(self, timeout_s=60):
        """SIGTERM, then wait: must end by itself with status 0."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"the server did not stop on SIGTERM\n{self.log_text()}") from None
        self.process.stdout.close()
        self.process = None
        self.log.close()
        return status

    def kill(self):
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None
            self.log.close()

    @property
    def pid(self):
        return self.info["pid"]

    def port(self, name):
        return self.info["ports"][name]

    def account(self, index=0):
        """(address, password) of one of the three people."""
        account = self.info["accounts"][index]
        return account["address"], account["password"]

    def log_text(self):
        return (self.folder / "server.log").read_text(errors="replace")[-4000:]

    def rss_kb(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError("no VmRSS")


def run(arguments, timeout_s=60, **more):
    """A client program, bounded in time; its output is in the error when it fails."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout_s, check=False, **more)
    if done.returncode != 0:
        raise AssertionError(f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def have(program):
    return shutil.which(program) is not None
