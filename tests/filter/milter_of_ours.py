"""A milter over libmilter that does whatever the message's X-Do fields say; run by the system's Python, where pymilter is."""

import sys

import Milter


class Obedient(Milter.Base):
    def __init__(self):
        self.orders = []
        self.told = []

    @Milter.noreply
    def connect(self, name, family, address):
        self.told = [f"connect={name}/{address[0]}/{self.getsymval('{client_ptr}')}"]
        return Milter.CONTINUE

    def hello(self, name):
        self.told.append(f"helo={name}")
        return Milter.REJECT if name == "bad.example" else Milter.CONTINUE

    def envfrom(self, path, *parameters):
        self.orders = []
        self.told.append(f"mail={path}/{self.getsymval('i')}")
        if path == "<later@example.org>":
            self.setreply("450", "4.7.1", "Come back", "in an hour")
            return Milter.TEMPFAIL
        return Milter.CONTINUE

    def envrcpt(self, path, *parameters):
        self.told.append(f"rcpt={path}")
        if path == "<nobody@example.net>":
            self.setreply("550", "5.1.1", "Nobody here, 100%% sure")
            return Milter.REJECT
        return Milter.CONTINUE

    def header(self, name, value):
        if name == "X-Do":
            self.orders.append(value.strip())
        return Milter.CONTINUE

    def body(self, piece):
        self.told.append(f"body={len(piece)}")
        return Milter.SKIP if "skip" in self.orders else Milter.CONTINUE

    def eom(self):
        self.progress()
        for order in self.orders:
            result = self.do(order)
            if result is not None:
                return result
        self.addheader("X-Told", "\n ".join(self.told))
        return Milter.ACCEPT if "accept" in self.orders else Milter.CONTINUE

    def do(self, order):
        if order == "change":
            self.chgheader("Subject", 1, "changed\n and folded")
            self.chgheader("X-Remove", 2, "")
            self.addheader("X-Top", "first", 0)
            self.replacebody(b"another\nbody\r\n")
            self.chgfrom("<new@example.org>")
            self.addrcpt("<more@example.net>")
            self.delrcpt("<bob@example.net>")
        elif order == "stranger":
            self.addrcpt("<nosuch@example.net>")
        elif order == "quarantine":
            self.quarantine("look at this")
        elif order == "discard":
            return Milter.DISCARD
        elif order == "reject":
            return Milter.REJECT
        return None


if __name__ == "__main__":
    Milter.factory = Obedient
    Milter.set_flags(Milter.CHGBODY + Milter.CHGHDRS + Milter.ADDHDRS + Milter.ADDRCPT + Milter.DELRCPT + Milter.CHGFROM
                     + Milter.QUARANTINE)
    Milter.runmilter("angarium-test", sys.argv[1], 30)
