"""`angarium serve` with a configuration of the test's own, in a folder of its own, on loopback."""

import contextlib
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from server import BINARY

DOORS = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")


def wait_for(look, what, timeout_s=15):
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not seen in time: {what}")
        time.sleep(0.03)


class Served:
    """A server of example.org with some people's accounts, with what `init` writes and `settings` behind it. It may be stopped, killed
    and started again."""

    def __init__(self, settings="", doors=("smtp", "submission", "imap"), listen="", people=(), password="pass word"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-served-"))
        self.config, self.log, self.process = self.folder / "angarium.toml", self.folder / "log", None
        self.angarium("init", "--hostname", "mail.example.org", "--domain", "example.org", "--data", str(self.folder / "store"))
        # Before there are settings that may be wrong.
        for address in people:
            self.add(address, password)
        with contextlib.ExitStack() as probes:
            self.ports = {name: probes.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for name in doors}
        lines = [f'{name} = ["127.0.0.1:{self.ports[name]}"]' if name in doors else f"{name} = []" for name in DOORS]
        with open(self.config, "a", encoding="ascii") as out:
            out.write("\n".join(["", "[listen]", *lines, listen, "[auth]", "allow_plaintext_without_tls = true", settings, ""]))

    def start(self, shards=2):
        seen = len(self.text())
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(BINARY), "--config", str(self.config), "serve", "--shards", str(shards)], stderr=log)
        wait_for(lambda: "runtime.serving" in self.text()[seen:] or self.process.poll() is not None, "a server", 30)
        assert self.process.poll() is None, self.text()[-4000:]
        return self

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        status = self.process.wait(30)
        assert how == signal.SIGKILL or (status == 0 and "panic" not in self.text()), self.text()[-4000:]

    def close(self):
        """Ends it, if it runs, and removes what it had."""
        try:
            if self.process and self.process.poll() is None:
                self.end()
        finally:
            shutil.rmtree(self.folder)

    def text(self):
        """Its log."""
        return self.log.read_text() if self.log.exists() else ""

    def angarium(self, *arguments, status=0, **more):
        """What a command says that ends with `status`."""
        done = subprocess.run([str(BINARY), "--json", "--config", str(self.config), *arguments], capture_output=True, text=True,
                              timeout=60, check=False, **more)
        assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def add(self, address, password, *more):
        """An account."""
        self.angarium("account", "add", address, *more, "--password-file", "-", input=password + "\n")
