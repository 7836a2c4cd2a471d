"""The path of a message, seen from outside: the loaded server under strace.

The log is written and flushed through io_uring alone, it was given its batch between the final dot
and the `250`, and no thread but the shards has a part in it. What is in a batch cannot be seen in system calls,
so the disk's own counter says whether it was flushed.
"""

import collections
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server import Server, have  # noqa: E402

SHARDS = 2
CONNECTIONS = 8
MESSAGES = 25
FILE_CALLS = (
    "write writev pwrite64 pwritev pwritev2 fsync fdatasync sync_file_range msync sendfile copy_file_range"
    " fallocate ftruncate"
).split()
RING_CALLS = ["io_uring_enter", "io_uring_setup", "io_uring_register"]
TRACED = ["%network", *RING_CALLS, *FILE_CALLS, "openat", "read", "futex", "eventfd2"]

LINE = re.compile(r"^(\d+) +(\d+\.\d+) (.*)$")
CALL = re.compile(r"^(\w+)\((.*)$", re.S)
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$", re.S)
FD = re.compile(r"^(\d+)<((?:->|[^<>]|<[^<>]*>)*)>")


class Call:
    """A system call: who, what, and the lines of the trace where it began and ended."""

    def __init__(self, thread, name, text, began):
        self.thread, self.name, self.text, self.began, self.ended = thread, name, text, began, None

    def fd(self):
        """The number and what strace says it is."""
        found = FD.match(self.text)
        return (int(found[1]), found[2]) if found else (-1, "")

    def __repr__(self):
        return f"{self.thread} {self.name}({self.text[:160]}"


def parse(path):
    calls, open_calls = [], {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines()):
        found = LINE.match(line)
        if not found:
            continue
        thread, rest = int(found[1]), found[3]
        resumed = RESUMED.match(rest)
        if resumed:
            call = open_calls.pop(thread, None)
            if call is not None:
                call.text, call.ended = call.text + resumed[2], number
            continue
        begun = CALL.match(rest)
        if not begun:
            continue
        call = Call(thread, begun[1], begun[2], number)
        calls.append(call)
        if rest.endswith("<unfinished ...>"):
            call.text = call.text.removesuffix("<unfinished ...>")
            open_calls[thread] = call
        else:
            call.ended = number
    return calls


def deliver(port, recipients, number, failures):
    """One connection that brings messages; all must be taken."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            file = connection.makefile("rb")

            def ask(data, code):
                if data:
                    connection.sendall(data)
                line = file.readline()
                while line[3:4] == b"-":
                    line = file.readline()
                if not line.startswith(code):
                    raise AssertionError(f"{data!r}: {line!r}")

            ask(b"", b"220")
            ask(b"EHLO client.example.net\r\n", b"250")
            for message in range(MESSAGES):
                ask(b"MAIL FROM:<x@example.net>\r\n", b"250")
                for offset in range(1 + message % 2):
                    at = (number + message + offset) % len(recipients)
                    ask(f"RCPT TO:<{recipients[at]}>\r\n".encode(), b"250")
                ask(b"DATA\r\n", b"354")
                ask(f"Subject: token-{number}-{message}-\r\n\r\nHello.\r\n.\r\n".encode(), b"250 2.0.0")
            ask(b"QUIT\r\n", b"221")
    except (OSError, AssertionError) as error:
        failures.append(error)


def why_not():
    if not have("strace"):
        return "strace is not installed"
    probe = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False, timeout=20)
    return None if probe.returncode == 0 else f"ptrace is not permitted here: {probe.stderr.strip()}"


class Path(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        reason = why_not()
        if reason:
            print(f"\n*** SKIPPED: the path of a message was NOT looked at: {reason}\n", file=sys.stderr)
            raise unittest.SkipTest(reason)
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="angarium-strace-"))
        trace = cls.folder / "trace"
        traced = f"trace={','.join(TRACED)}"
        # The bound holds whatever happens here: strace ends, and the server with it.
        wrap = ["timeout", "--foreground", "--kill-after=5", "240", "strace", "-f", "-ttt", "-yy", "-s", "256"]
        wrap += ["-e", traced, "-e", "signal=none", "-o", str(trace)]
        server = Server(folder=cls.folder, shards=SHARDS, accounts=6, wrap=wrap).start()
        try:
            cls.port = server.port("smtp")
            recipients = [account["address"] for account in server.info["accounts"]]
            recipients += [f"u{number:03}@demo.example.org" for number in range(6)]
            names = {}
            for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
                names[int(task.name)] = (task / "comm").read_text().strip()
            cls.names = names
            failures = []
            clients = [
                threading.Thread(target=deliver, args=(cls.port, recipients, number, failures))
                for number in range(CONNECTIONS)
            ]
            for client in clients:
                client.start()
            for client in clients:
                client.join(120)
            assert not failures and not any(client.is_alive() for client in clients), failures
            os.kill(server.pid, signal.SIGTERM)
            assert server.process.wait(60) == 0, server.log_text()
        finally:
            if server.process.poll() is None:
                # The traced process; strace and its bound end with it.
                os.kill(server.pid, signal.SIGKILL)
                server.process.wait(30)
            server.kill()
        cls.calls = parse(trace)
        cls.find_threads()
        cls.find_window()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    @classmethod
    def find_threads(cls):
        """Shards are the threads called so that made rings; helpers of theirs carry the same names."""
        cls.shards, cls.log_rings = {}, {}
        for call in cls.calls:
            name = cls.names.get(call.thread, "")
            made = re.search(r"= (\d+)<anon_inode:\[io_uring\]>", call.text)
            if call.name == "io_uring_setup" and made and name.startswith("shard-"):
                cls.shards[call.thread] = name
            # The store's ring is the one that tells of its completions by an eventfd.
            if call.name == "io_uring_register" and "IORING_REGISTER_EVENTFD" in call.text:
                cls.log_rings[call.fd()[0]] = call.thread

    @classmethod
    def find_window(cls):
        """From the first connection to the last `250`."""
        ours = f"TCP:[127.0.0.1:{cls.port}->"
        cls.talk = [call for call in cls.calls if call.fd()[1].startswith(ours)]
        cls.greetings = [call for call in cls.talk if '"220 ' in call.text]
        cls.thanks = [call for call in cls.talk if '"250 2.0.0 ' in call.text]
        cls.window = []
        if cls.greetings and cls.thanks:
            first, last = cls.greetings[0].began, cls.thanks[-1].began
            cls.window = [call for call in cls.calls if first <= call.began <= last]

    def test_each_shard_has_one_ring_for_its_log(self):
        self.assertEqual(sorted(self.shards.values()), [f"shard-{shard}" for shard in range(SHARDS)])
        self.assertEqual(sorted(self.log_rings.values()), sorted(self.shards))
        others = [name for thread, name in self.names.items() if thread not in self.shards]
        self.assertTrue({"watchdog", "blocking-0"} <= set(others), "there are others, to be silent")
        self.assertEqual(len(self.greetings), CONNECTIONS)
        self.assertEqual(len(self.thanks), CONNECTIONS * MESSAGES)

    def test_the_log_is_written_and_flushed_through_io_uring_alone(self):
        touched = [call for call in self.window if call.name in FILE_CALLS and "/journal-" in call.fd()[1]]
        self.assertEqual(touched, [])
        # Nobody else wrote it, and there it is.
        journals = b"".join(path.read_bytes() for path in self.folder.glob("journal-*/*.log"))
        for number in range(CONNECTIONS):
            for message in range(MESSAGES):
                self.assertIn(f"token-{number}-{message}-\r\n".encode(), journals)
        rings = {call.fd()[0] for call in self.batches(self.window)}
        self.assertEqual(rings, set(self.log_rings), "both shards have written")

    def batches(self, calls):
        """Calls that gave a log's ring something: a write that is durable itself, or one and the flush linked to it."""
        for call in calls:
            if call.name != "io_uring_enter" or call.fd()[0] not in self.log_rings:
                continue
            given = re.match(r"^\d+<[^>]*>, (\d+),", call.text)
            if given and int(given[1]) >= 1:
                yield call

    def test_the_log_is_given_a_batch_between_the_final_dot_and_each_250(self):
        dots, checked = {}, 0
        batches = list(self.batches(self.window))
        for call in self.window:
            peer = call.fd()[1]
            if call.name.startswith("recv") and '\\r\\n.\\r\\n"' in call.text:
                dots[peer] = call
            if call in self.thanks:
                self.assertIn(call.thread, self.shards, f"{self.names.get(call.thread)} sent {call}")
                dot = dots.pop(peer)
                self.assertIn(dot.thread, self.shards)
                between = [one for one in batches if dot.ended < one.began and one.ended < call.began]
                self.assertTrue(between, f"no batch between {dot} and {call}")
                for one in between:
                    self.assertEqual(one.thread, self.log_rings[one.fd()[0]], "a ring is its shard's alone")
                checked += 1
        self.assertEqual(checked, CONNECTIONS * MESSAGES)

    def test_no_other_thread_has_a_part_in_it(self):
        done = collections.Counter()
        for call in self.window:
            if call.thread in self.shards:
                continue
            name = self.names.get(call.thread, "unknown")
            done[name, call.name] += 1
            # The watchdog may ask a shard whether it is awake; others sleep.
            is_wake = name == "watchdog" and call.name == "write" and call.fd()[1].startswith("anon_inode:[eventfd")
            # A wait that was broken off and is taken up again has done nothing.
            is_broken_off = call.text.rstrip().endswith("(To be restarted if SA_RESTART is set)")
            self.assertTrue(call.name == "futex" or is_wake or is_broken_off, f"{name}: {call}")
        print(f"other threads, {len(self.window)} calls in all: {dict(done)}", file=sys.stderr)


def flush_counter(folder):
    """The file with the counters of the disk that a folder is on, if it counts flushes and has something to flush."""
    device = os.stat(folder).st_dev
    block = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if not block.exists():
        return None
    disk = block.resolve()
    # A partition's flushes are counted with its disk's.
    disk = disk.parent if (disk / "partition").exists() else disk
    cache = disk / "queue" / "write_cache"
    has_cache = cache.exists() and cache.read_text().strip() == "write back"
    return disk / "stat" if has_cache and len((disk / "stat").read_text().split()) >= 17 else None


class Flush(unittest.TestCase):
    def test_the_disk_flushes_for_each_250_of_one_client(self):
        with tempfile.TemporaryDirectory(prefix="angarium-flush-") as folder:
            counter = flush_counter(folder)
            if counter is None:
                print("\n*** SKIPPED: this disk does not count flushes\n", file=sys.stderr)
                raise unittest.SkipTest("this disk does not count flushes")
            # The sixteenth number is of flushes that ended (the kernel's block/stat.rst).
            flushes = lambda: int(counter.read_text().split()[15])  # noqa: E731
            server = Server(folder=pathlib.Path(folder), shards=1, accounts=1).start()
            try:
                recipients = [account["address"] for account in server.info["accounts"]]
                before, failures = flushes(), []
                deliver(server.port("smtp"), recipients[:1], 0, failures)
                self.assertEqual(failures, [])
                # Others use the disk too, so more is no fault; one client waits for each message, so fewer is.
                self.assertGreaterEqual(flushes() - before, MESSAGES)
            finally:
                server.kill()


if __name__ == "__main__":
    unittest.main(verbosity=2)
