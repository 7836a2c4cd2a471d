"""A name server for tests."""

import socketserver
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class Zone:
    """A name server for whatever lines it is given. What it has not is not there."""

    def __init__(self):
        self.lines = []
        self.server = socketserver.UDPServer(("127.0.0.1", 0), self.handler())
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handler(self):
        zone = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                data, sock = self.request
                sock.sendto(zone.answer(data), self.client_address)

        return Handler

    def found(self, name, kind):
        """What records of a kind a name has, and whether there is such a name."""
        found, exists = [], False
        for line in self.lines:
            owner, _, word, rest = line.split(None, 3)
            owner = owner.lower()
            exists |= owner == name or owner.endswith("." + name)
            if owner == name and dns.rdatatype.from_text(word) == kind:
                found.append(rest)
        return found, exists

    def answer(self, data):
        asked = dns.message.from_wire(data)
        reply = dns.message.make_response(asked)
        reply.flags |= dns.flags.AA | dns.flags.RA
        name, kind = asked.question[0].name.to_text(), asked.question[0].rdtype
        alias, _ = self.found(name.lower(), dns.rdatatype.CNAME)
        if alias and kind != dns.rdatatype.CNAME:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", alias[0]))
            name = alias[0]
        found, exists = self.found(name.lower(), kind)
        if found:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", dns.rdatatype.to_text(kind), *found))
        else:
            reply.authority.append(dns.rrset.from_text(".", 1, "IN", "SOA", "ns. host. 1 60 60 60 1"))
            if not exists:
                reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
