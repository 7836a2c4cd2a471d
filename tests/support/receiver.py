"""An SMTP receiver that does what a test tells it to: the other mail system, well-behaved or not."""

import base64
import dataclasses
import re
import socket
import ssl
import threading
import time

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES")


@dataclasses.dataclass
class Received:
    """A message that was taken, as it came over the wire."""

    mail: str
    rcpts: list
    content: bytes
    how: str
    connection: int
    is_secured: bool
    # Whence the connection came, and the line of EHLO or HELO.
    peer: str = ""
    hello: str = ""
    # When all of it was there, by time.monotonic.
    at: float = 0


@dataclasses.dataclass
class Script:
    """What the receiver says. A function gets the command's line and gives a reply, or None for the usual one."""

    greeting: bytes = b"220 receiver.example ESMTP\r\n"
    extensions: tuple = EXTENSIONS
    # None: EHLO is not known.
    hello: object = None
    mail: object = None
    rcpt: object = None
    data: object = None
    # The answer to the content; gets the content.
    final: object = None
    # Seconds before each answer to a content.
    pause_s: float = 0
    # Seconds between the bytes of a reply; None sends replies whole.
    byte_pause_s: object = None
    # Close the connection: "data" after DATA was begun, "dot" after the content without a word, "rset" at RSET,
    # "after" a message was answered.
    closes_at: str = ""
    # A TLS context for STARTTLS, or "broken".
    tls: object = None
    # (name, password) that a login needs.
    login: object = None
    # Say nothing at all while this is set.
    stalls: bool = False


class Gone(Exception):
    """The connection is to end."""


class Receiver:
    """Listens on loopback; `script` may be changed at any time."""

    def __init__(self, port=0, host="127.0.0.1", **script):
        self.script = Script(**script)
        self.messages = []
        self.commands = []
        self.connections = 0
        self.changed = threading.Condition()
        self.open = set()
        self.listener = socket.create_server((host, port), backlog=512)
        self.host = host
        self.port = self.listener.getsockname()[1]
        self.is_stopped = False
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def place(self):
        return f"{self.host}:{self.port}"

    def behave(self, **script):
        """From now on, like this; forgets what it took before."""
        with self.changed:
            self.messages.clear()
            self.commands.clear()
            # Last: what is taken from now on is not forgotten.
            self.script = Script(**script)

    def stop(self):
        self.is_stopped = True
        # Wakes the thread that accepts, which would keep the port.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.drop_all()

    def drop_all(self):
        """Ends every connection, whatever it is at."""
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def wait(self, count=1, timeout_s=6, means=lambda message: True):
        """The messages taken, as soon as there are `count` that are meant."""
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while True:
                found = [message for message in self.messages if means(message)]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{len(found)} of {count} messages came; it was told {self.commands[-20:]}")
                self.changed.wait(left)

    def wait_for_command(self, verb, count=1, timeout_s=6):
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while sum(line.upper().startswith(verb) for line in self.commands) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"no {verb}; it was told {self.commands[-20:]}")
                self.changed.wait(left)

    def accept(self):
        while not self.is_stopped:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection, self.connections), daemon=True).start()

    def serve(self, connection, number):
        self.open.add(connection)
        conversation = Conversation(self, connection, number)
        try:
            conversation.run()
        except (Gone, OSError, ValueError):
            pass
        finally:
            self.open.discard(conversation.connection)
            try:
                # The file has the descriptor too.
                conversation.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            conversation.connection.close()

    def note(self, line):
        with self.changed:
            self.commands.append(line)
            self.changed.notify_all()

    def take(self, message):
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()


def is_yes(reply):
    text = reply if isinstance(reply, str) else reply.decode("latin-1")
    return re.match(r"2\d\d([ -]|\r|$)", text) is not None


class Conversation:
    def __init__(self, receiver, connection, number):
        self.receiver, self.connection, self.number = receiver, connection, number
        self.file = connection.makefile("rb")
        self.is_secured = self.is_logged_in = False
        self.peer, self.hello = connection.getpeername()[0], ""
        self.forget()

    @property
    def script(self):
        return self.receiver.script

    def forget(self):
        self.mail, self.rcpts, self.chunks = None, [], []

    def say(self, reply):
        if isinstance(reply, str):
            reply = reply.encode() + b"\r\n"
        if self.script.byte_pause_s is None:
            self.connection.sendall(reply)
            return
        for byte in reply:
            self.connection.sendall(bytes([byte]))
            time.sleep(self.script.byte_pause_s)

    def answer(self, told, line, usual):
        """Whether it was a yes."""
        reply = told(line) if callable(told) else told
        reply = usual if reply is None else reply
        self.say(reply)
        return is_yes(reply)

    def run(self):
        while self.script.stalls:
            time.sleep(0.02)
        self.say(self.script.greeting)
        while line := self.file.readline(70_000):
            line = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            self.receiver.note(line)
            while self.script.stalls:
                time.sleep(0.02)
            self.command(line.split(" ")[0].upper(), line)

    def command(self, verb, line):
        script = self.script
        if verb in ("EHLO", "HELO"):
            self.hello = line
        if verb == "EHLO":
            extensions = list(script.extensions)
            if script.tls and not self.is_secured:
                extensions.append("STARTTLS")
            if script.login:
                extensions.append("AUTH PLAIN")
            lines = ["receiver.example", *extensions]
            usual = "".join(f"250{'-' if at < len(lines) - 1 else ' '}{text}\r\n" for at, text in enumerate(lines))
            self.answer(script.hello, line, usual.encode())
        elif verb == "HELO":
            self.say("250 receiver.example")
        elif verb == "STARTTLS":
            self.start_tls()
        elif verb == "AUTH":
            self.log_in(line)
        elif verb == "MAIL":
            self.forget()
            if script.login and not self.is_logged_in:
                self.say("530 5.7.0 log in first")
            elif self.answer(script.mail, line, "250 2.1.0 ok"):
                self.mail = line
        elif verb == "RCPT":
            if not self.mail:
                self.say("503 5.5.1 MAIL first")
            elif self.answer(script.rcpt, line, "250 2.1.5 ok"):
                self.rcpts.append(line)
        elif verb == "DATA":
            self.data(line)
        elif verb == "BDAT":
            self.chunk(line)
        elif verb == "RSET":
            if script.closes_at == "rset":
                raise Gone
            self.forget()
            self.say("250 2.0.0 ok")
        elif verb == "NOOP":
            self.say("250 2.0.0 ok")
        elif verb == "QUIT":
            self.say("221 2.0.0 bye")
            raise Gone
        else:
            self.say("502 5.5.1 not known")

    def start_tls(self):
        self.say("220 2.0.0 go on")
        if self.script.tls == "broken":
            self.connection.sendall(b"this is not TLS\r\n" * 20)
            raise Gone
        self.file.close()
        self.receiver.open.discard(self.connection)
        self.connection = self.script.tls.wrap_socket(self.connection, server_side=True)
        self.receiver.open.add(self.connection)
        self.file = self.connection.makefile("rb")
        self.is_secured = True
        self.forget()

    def log_in(self, line):
        said = base64.b64decode(line.split(" ")[2]).split(b"\0")
        self.is_logged_in = tuple(part.decode() for part in said[1:]) == self.script.login
        self.say("235 2.7.0 ok" if self.is_logged_in else "535 5.7.8 no")

    def data(self, line):
        if not self.rcpts:
            self.say("503 5.5.1 RCPT first")
            return
        if self.script.closes_at == "data":
            self.say("354 go on")
            self.connection.recv(100)
            raise Gone
        self.answer(self.script.data, line, "354 go on")
        if self.script.data is not None:
            return
        lines = []
        while (got := self.file.readline()) != b".\r\n":
            if not got:
                raise Gone
            lines.append(got)
        # What arrives is read as RFC 5321 §4.5.2 says: nothing but CRLF ends a line.
        content = b"".join(lines)
        parts = content.split(b"\r\n")
        self.finish(b"\r\n".join(part[1:] if part.startswith(b".") else part for part in parts), "DATA")

    def chunk(self, line):
        words = line.split(" ")
        content = self.file.read(int(words[1]))
        if not self.rcpts:
            self.say("503 5.5.1 RCPT first")
            return
        self.chunks.append(content)
        if words[-1].upper() == "LAST":
            self.finish(b"".join(self.chunks), "BDAT")
        else:
            self.say("250 2.0.0 ok")

    def finish(self, content, how):
        at = time.monotonic()
        time.sleep(self.script.pause_s)
        if self.script.closes_at == "dot":
            self.receiver.note("(closed after the content)")
            raise Gone
        reply = self.script.final(content) if callable(self.script.final) else self.script.final
        reply = "250 2.0.0 taken" if reply is None else reply
        # Noted before it is answered: what is answered is there.
        if is_yes(reply):
            self.receiver.take(Received(self.mail, self.rcpts, content, how, self.number, self.is_secured, self.peer, self.hello, at))
        self.forget()
        self.say(reply)
        if self.script.closes_at == "after":
            raise Gone


def certificate(folder):
    """A TLS context with a certificate that nobody has signed."""
    import subprocess  # noqa: PLC0415
    names = [folder / "receiver.pem", folder / "receiver.key"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=receiver.example", "-addext", "subjectAltName=IP:127.0.0.1,DNS:receiver.example",
                    "-out", names[0], "-keyout", names[1]], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*names)
    return context
