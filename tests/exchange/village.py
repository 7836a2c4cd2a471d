"""A network of its own for a test: machines on one wire, names with signatures, certificates, and a web server for policies."""

import http.server
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

NAMES, RESOLVER, WEB, HERE = "10.77.0.54", "10.77.0.53", "10.77.0.80", "10.77.0.254"
FOREVER = "until ip link show eth0 >/dev/null 2>&1; do sleep 0.01; done; ip address add $0/24 dev eth0; ip link set lo up; ip link set eth0 up; exec \"$@\""


def enter():
    """Goes on inside namespaces of its own. Whatever was started there ends with them."""
    if os.environ.get("VILLAGE") == "inside":
        sh("ip link set lo up")
        # A card of its own: else it has that of one of its wires, another one when a machine comes or goes, and nobody who
        # remembers the old one gets an answer of the resolver for up to a minute.
        sh("ip link add br0 address 02:00:0a:4d:00:fe type bridge")
        for address in (HERE, NAMES, RESOLVER, WEB):
            sh(f"ip address add {address}/24 dev br0")
        sh("ip link set br0 up")
        return
    os.environ["VILLAGE"] = "inside"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                          sys.executable, "-W", "ignore", *sys.argv])


def sh(command, **more):
    done = subprocess.run(command.split() if isinstance(command, str) else command, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def wait_for(look, what, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not seen in time: {what() if callable(what) else what}")
        time.sleep(0.05)


def listens(address, port):
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


class Machine:
    """Something that runs with an address of its own."""

    count = 0

    def __init__(self, address, command, log):
        self.log = open(log, "ab")
        spaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.process = subprocess.Popen([*spaces, "bash", "-c", FOREVER, address, *map(str, command)], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        wait_for(lambda: namespace(self.process.pid) not in (None, namespace("self")), "a network of its own")
        Machine.count += 1
        wire = f"wire{Machine.count}"
        # The same card each time: the others remember it.
        card = "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))
        sh(f"ip link add {wire} type veth peer name eth0 address {card} netns {self.process.pid}")
        sh(f"ip link set {wire} master br0 up")

    def children(self):
        pid = self.process.pid
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def signal(self, number):
        for child in self.children():
            os.kill(child, number)

    def stop(self):
        self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = None
        self.log.close()
        return status


class Authority:
    """Signs certificates."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate = folder / f"{name}.pem"
        sh(["openssl", "req", "-x509", *self.key(name), "-days", "2", "-subj", f"/CN={name}", "-out", self.certificate])

    def key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(self.folder / f"{name}.key")]

    def sign(self, name, *hosts):
        """Certificate and key."""
        files = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request, more = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        more.write_text("basicConstraints=CA:FALSE\nsubjectAltName=" + ",".join(f"DNS:{host}" for host in hosts) + "\n")
        sh(["openssl", "req", "-new", *self.key(name), "-subj", f"/CN={hosts[0]}", "-out", request])
        sh(["openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / f"{self.name}.key",
            "-CAcreateserial", "-days", "2", "-extfile", more, "-out", files[0]])
        files[1].chmod(0o644)
        return files


def tlsa(certificate):
    """The data of a TLSA record 3 1 1 for it."""
    key = sh(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"])
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key.encode(), capture_output=True, check=True).stdout
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-r"], input=der, capture_output=True, check=True).stdout
    return "3 1 1 " + digest.split()[0].decode()


def text(words):
    """A TXT record's data, in strings that are short enough."""
    return " ".join(f'"{words[at:at + 200]}"' for at in range(0, len(words), 200))


SOA = "@ IN SOA ns.example. admin.example. {serial} 3600 600 86400 1\n@ IN NS ns.example.\n"


class Names:
    """The root and `example`, both signed: nsd serves them, unbound resolves and validates."""

    def __init__(self, folder):
        # `hosts` are the reverse names of addresses.
        self.folder, self.records, self.hosts, self.serial, self.servers = folder, {}, {}, 0, []
        self.keys = {zone: self.run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", zone) for zone in (".", "example")}
        self.anchor = folder / f"{self.keys['.']}.key"

    def run(self, *command):
        return sh(list(command), cwd=self.folder)

    def sign(self):
        self.serial += 1
        soa = SOA.format(serial=self.serial)
        ds = (self.folder / f"{self.keys['example']}.ds").read_text()
        lines = "".join(f"{name} IN {kind} {data}\n" for (name, kind), datas in self.records.items() for data in datas)
        reverse = "".join(f"{'.'.join(reversed(address.split('.')))}.in-addr.arpa. IN PTR {host}.\n" for address, host in self.hosts.items())
        for zone, file, content in ((".", "root", f"example. IN NS ns.example.\n{ds}\nns.example. IN A {NAMES}\n{reverse}"),
                                    ("example", "example", f"ns IN A {NAMES}\n{lines}")):
            (self.folder / f"{file}.plain").write_text(f"$ORIGIN {zone.rstrip('.')}.\n$TTL 1\n{soa}{content}")
            self.run("ldns-signzone", "-o", zone, "-f", f"{file}.signed", f"{file}.plain", self.keys[zone])
            os.replace(self.folder / f"{file}.signed", self.folder / f"{file}.zone")

    def start(self):
        self.sign()
        folder = self.folder
        zones = "".join(f'zone:\n name: "{zone}"\n zonefile: "{folder}/{file}.zone"\n' for zone, file in ((".", "root"), ("example", "example")))
        (folder / "nsd.conf").write_text(
            f'server:\n ip-address: {NAMES}\n username: ""\n chroot: ""\n zonesdir: "{folder}"\n database: ""\n pidfile: "{folder}/nsd.pid"\n'
            f' xfrdfile: "{folder}/xfrd"\n zonelistfile: "{folder}/list"\n cookie-secret-file: "{folder}/cookie"\n rrl-ratelimit: 0\n'
            f" server-count: 1\nremote-control:\n control-enable: no\n{zones}")
        stubs = "".join(f'stub-zone:\n name: "{zone}"\n stub-addr: {NAMES}\n' for zone in (".", "example"))
        (folder / "unbound.conf").write_text(
            f'server:\n interface: {RESOLVER}\n access-control: 10.77.0.0/24 allow\n username: ""\n chroot: ""\n directory: "{folder}"\n'
            f' pidfile: "{folder}/unbound.pid"\n use-syslog: no\n do-daemonize: no\n infra-cache-max-rtt: 1000\n infra-host-ttl: 1\n'
            f' local-zone: "10.in-addr.arpa." nodefault\n cache-max-ttl: 1\n cache-max-negative-ttl: 1\n'
            f' module-config: "validator iterator"\n trust-anchor-file: "{self.anchor}"\nremote-control:\n control-enable: no\n{stubs}')
        for command in (["nsd", "-d", "-c", "nsd.conf"], ["unbound", "-d", "-c", "unbound.conf"]):
            log = open(folder / f"{command[0]}.log", "ab")
            self.servers.append(subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        self.wait()

    def publish(self, name, kind, *data):
        """From now on, these; without any, none."""
        self.records[name, kind] = data
        if self.servers:
            self.sign()
            self.servers[0].send_signal(signal.SIGHUP)
            self.wait()

    def is_served(self):
        try:
            answer = dns.query.udp(dns.message.make_query("example.", "SOA", want_dnssec=True), RESOLVER, timeout=1)
        except dns.exception.Timeout:
            return False
        serials = [item.serial for found in answer.answer if found.rdtype == dns.rdatatype.SOA for item in found]
        return serials == [self.serial] and bool(answer.flags & dns.flags.AD)

    def wait(self):
        wait_for(self.is_served, lambda: f"the zone, signed\n{(self.folder / 'nsd.log').read_text()[-2000:]}")

    def stop(self):
        for server in self.servers:
            server.terminate()
            server.wait()


class Policies:
    """Serves `/.well-known/mta-sts.txt` of many domains over HTTPS."""

    def __init__(self):
        self.texts, self.contexts, self.asked = {}, {}, []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                host = self.headers["Host"]
                web.asked.append(host)
                found = web.texts.get(host) if self.path == "/.well-known/mta-sts.txt" else None
                body = (found or "no\n").encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def finish_request(self, request, client_address):
                # A client that does not like the certificate ends the handshake.
                try:
                    request = web.context.wrap_socket(request, server_side=True)
                    super().finish_request(request, client_address)
                except OSError:
                    pass

        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.sni_callback = self.choose
        # A session that goes on would stand for the certificate that it began with.
        self.context.num_tickets = 0
        self.server = Server((WEB, 443), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def choose(self, connection, name, _):
        connection.context = self.contexts.get(name, self.context)

    def serve(self, host, files, policy):
        """`policy` at `host`, with this certificate and key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        self.contexts[host], self.texts[host] = context, policy

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
