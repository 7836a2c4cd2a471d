"""The mail servers of the test: Angarium, Postfix and Exim, each with a domain and an address of its own."""

import collections
import email
import email.policy
import imaplib
import json
import os
import pathlib
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from server import BINARY, ROOT  # noqa: E402
from village import HERE as OURS, RESOLVER, Machine, listens, sh, text, wait_for  # noqa: E402

PASSWORD = "a password for tests"
LAYERS = pathlib.Path(os.environ.get("ANGARIUM_PEERS", pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "angarium-peers"))


class Site:
    """A domain with one mail host and one account."""

    kind = ""

    def __init__(self, folder, number, domain, who, files):
        self.folder, self.domain, self.who, self.files = folder / domain, domain, f"{who}@{domain}", files
        self.address, self.host = f"10.77.0.{number}", f"mail.{domain}"
        self.folder.mkdir()

    def __repr__(self):
        return f"{self.kind} ({self.domain})"

    def records(self):
        """What is published for every one of them."""
        short = self.domain.removesuffix(".example")
        yield short, "MX", f"10 {self.host}."
        yield f"mail.{short}", "A", self.address
        yield short, "TXT", text(f"v=spf1 ip4:{self.address} -all")
        yield f"_dmarc.{short}", "TXT", text("v=DMARC1; p=reject")

    def find(self, subject):
        """The message with this subject, if it has come."""
        for raw in self.messages():
            message = email.message_from_bytes(raw, policy=email.policy.default)
            if message["Subject"] == subject:
                return message
        return None

    def message_id(self, subject):
        return f"<{subject.replace(' ', '.')}@{self.host}>"

    def content(self, to, subject):
        return f"From: <{self.who}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMessage-ID: {self.message_id(subject)}\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n\r\nHello.\r\n"


class Angarium(Site):
    kind = "Angarium"

    def __init__(self, *site, authorities, anchor):
        super().__init__(*site)
        self.config, self.authorities, self.anchor, self.machine = self.folder / "angarium.toml", authorities, anchor, None
        certificate, key = self.files
        self.config.write_text(f"""
[server]
hostname = "{self.host}"
data = "{self.folder / "store"}"
shards = 2
default_domain = "{self.domain}"
postmaster = "{self.who}"
[store]
partitions = 16
[tls]
authorities = "{authorities}"
[[tls.certificates]]
certificate = "{certificate}"
key = "{key}"
[listen]
smtp = ["{self.address}:25"]
submission = []
submissions = ["{self.address}:465"]
imap = []
imaps = ["{self.address}:993"]
pop3 = []
pop3s = []
https = ["{self.address}:443"]
[mta_sts]
mode = "enforce"
mx = ["{self.host}"]
[dns]
servers = ["{RESOLVER}:53"]
trust_anchor = "{anchor}"
timeout_s = 10
[outbound]
idle_s = 1
[[mailflow.rule]]
name = "moderated"
when = {{ subject = {{ starts_with = "moderated" }} }}
then = {{ moderate = "ann@one.example" }}
""")
        self.angarium("domain", "add", self.domain)
        self.angarium("account", "add", self.who, "--password", PASSWORD)
        self.key = self.angarium("domain", "dkim", "add", self.domain, "--selector", "key", "--active")

    def policy_record(self):
        """What is published about the policy that it serves."""
        items = self.angarium("domain", "dns", self.domain)
        (line,) = next(item for item in items if item["what"] == "MTA-STS")["records"]
        return line.split(" IN TXT ")[1]

    def serve_policy(self, host):
        """From now on, one that names this host."""
        before = self.log_text().count("runtime.reloaded")
        self.config.write_text(re.sub(r'(?m)^mx = .*$', f'mx = ["{host}"]', self.config.read_text()))
        self.machine.signal(signal.SIGHUP)
        wait_for(lambda: self.log_text().count("runtime.reloaded") > before, self.state)

    def records(self):
        yield from super().records()
        yield f"key._domainkey.{self.domain.removesuffix('.example')}", "TXT", text(self.key["record"])

    def start(self):
        self.machine = Machine(self.address, [BINARY, "--config", self.config, "serve"], self.folder / "log")
        wait_for(lambda: listens(self.address, 993), lambda: f"{self}\n{self.log_text()}", 30)

    def stop(self):
        status = self.machine.stop()
        assert status == 0, f"{self} ended with {status}\n{self.log_text()}"

    def log_text(self):
        return (self.folder / "log").read_text(errors="replace")

    def angarium(self, *arguments):
        done = subprocess.run([str(BINARY), "--json", "--config", str(self.config), *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None

    def send(self, to, subject):
        with smtplib.SMTP_SSL(self.address, 465, context=ssl._create_unverified_context()) as client:
            client.login(self.who, PASSWORD)
            client.sendmail(self.who, [to], self.content(to, subject))

    def messages(self):
        client = imaplib.IMAP4_SSL(self.address, 993, ssl_context=ssl._create_unverified_context())
        try:
            client.login(self.who, PASSWORD)
            _, data = client.select("INBOX", readonly=True)
            if data[0] == b"0":
                return []
            _, data = client.fetch("1:*", "(BODY.PEEK[])")
            return [part[1] for part in data if isinstance(part, tuple)]
        finally:
            client.logout()

    def last_attempt(self, subject):
        """The last attempt at a message of ours, once there is one."""
        def look():
            stories = self.angarium("trace", self.message_id(subject))
            return stories and stories[0]["attempts"]
        return wait_for(look, lambda: f"an attempt at {subject!r}\n{self.state()}")[-1]

    def state(self):
        """For the words of a failure."""
        asked = [self.angarium("queue", what) for what in ("list", "destinations", "tls")]
        return f"{self}: {json.dumps(asked, indent=1)}\n{self.log_text()[-4000:]}"

    def held(self, destination):
        """The entry for a destination that was tried and waits."""
        def look():
            entries = self.angarium("queue", "list", "--destination", destination)
            return [entry for entry in entries if entry["attempts"]]
        return wait_for(look, lambda: f"an entry that waits\n{self.state()}")[0]

    def tls_failures(self, domain):
        """(policy, result type) of all failures that the report to a domain would name."""
        return {(policy["policy"]["policy-type"], failure["result-type"]) for policy in self.tls_policies(domain)
                for failure in policy.get("failure-details", [])}

    def tls_policies(self, domain):
        """What stands in the report to a domain as it is now."""
        policies = [policy for report in self.angarium("queue", "tls") for policy in report["policies"]]
        return [policy for policy in policies if policy["policy"]["policy-domain"] == domain]

    def tls_successes(self, domain):
        """How many connections were as they should be, by the policy's type."""
        counts = collections.Counter()
        for policy in self.tls_policies(domain):
            counts[policy["policy"]["policy-type"]] += policy["summary"]["total-successful-session-count"]
        return counts

    def tls_failure_count(self, domain):
        return sum(policy["summary"]["total-failure-session-count"] for policy in self.tls_policies(domain))

    def retry_what_dns_delayed(self):
        """On a busy machine a name server may be too late for the first attempt, and the next would be minutes away."""
        for entry in self.angarium("queue", "list"):
            if (entry["last_reply"] or "").startswith("450 4.4.3"):
                self.angarium("queue", "retry", entry["id"])

    def retry_until(self, destination, arrived):
        """Tries what waits, as an operator who has mended something, until it has arrived."""
        def look():
            self.angarium("queue", "retry", "--destination", destination)
            return wait_for_briefly(arrived)
        return wait_for(look, lambda: f"what waited\n{self.state()}", 40)


def wait_for_briefly(look):
    try:
        return wait_for(look, "", 1)
    except AssertionError:
        return None


class Peer(Site):
    """A server of Debian's."""

    layer = None

    def __init__(self, *site, authorities, **_):
        super().__init__(*site)
        self.setup = self.folder / "setup"
        (self.setup / "data" / "log").mkdir(parents=True)
        (self.setup / "data" / "mail").mkdir()
        shutil.chown(self.setup / "data" / "mail", "mail", "mail")
        # Debian's own users in there have to reach it.
        self.folder.chmod(0o755)
        for source, name in zip((*self.files, authorities), ("cert.pem", "key.pem", "ca.pem"), strict=True):
            shutil.copy(source, self.setup / name)
        self.configure()
        (self.setup / "run.sh").write_text(
            "set -eu\nprintf 'hosts: files dns\\npasswd: files\\ngroup: files\\nshadow: files\\n' >/etc/nsswitch.conf\n"
            # The resolver validates, and its word counts.
            f"rm -f /etc/resolv.conf; printf 'nameserver {RESOLVER}\\noptions trust-ad edns0\\n' >/etc/resolv.conf\n"
            f"printf '127.0.0.1 localhost\\n{self.address} {self.host}\\n' >/etc/hosts\necho {self.host} >/etc/mailname\n{self.run}")

    def start(self):
        layer = LAYERS / self.layer if self.layer else ""
        self.machine = Machine(self.address, ["bash", HERE / "peer.sh", self.folder, layer], self.folder / "log")
        wait_for(lambda: listens(self.address, 25), lambda: f"{self}\n{self.log_text()}", 30)

    def stop(self):
        self.machine.process.kill()
        self.machine.process.wait()

    def log_text(self):
        logs = [self.folder / "log", *(self.setup / "data" / "log").iterdir()]
        return "\n".join(log.read_text(errors="replace") for log in logs)

    def state(self):
        return f"{self}\n{self.log_text()[-8000:]}"

    def wait_for_log(self, words):
        wait_for(lambda: words in self.log_text(), lambda: f"{words!r} in\n{self.state()}")

    def send(self, to, subject):
        with smtplib.SMTP(self.address, 25, local_hostname="here.example") as client:
            client.sendmail(self.who, [to], self.content(to, subject))

    def messages(self):
        return [file.read_bytes() for file in (self.setup / "data" / "mail").glob("*/new/*")]


class Postfix(Peer):
    kind = "Postfix"
    run = ("mkdir -p /srv/peer/data/spool /srv/peer/data/postfix\nchown postfix /srv/peer/data/postfix\n"
           "cp /srv/peer/main.cf /srv/peer/master.cf /etc/postfix/\nexec postfix start-fg\n")

    def configure(self):
        master = (ROOT / "perf-scripts" / "peers" / "common" / "master.cf").read_text()
        (self.setup / "master.cf").write_text(master.replace("127.0.0.1:18025", "25"))
        (self.setup / "main.cf").write_text(f"""
compatibility_level = 3.6
myhostname = {self.host}
mydestination =
inet_interfaces = {self.address}
inet_protocols = ipv4
mynetworks = {OURS}/32
queue_directory = /srv/peer/data/spool
data_directory = /srv/peer/data/postfix
mail_owner = postfix
setgid_group = postdrop
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = {self.domain}
virtual_mailbox_maps = inline:{{ {self.who}={self.who.split("@")[0]}/ }}
virtual_mailbox_base = /srv/peer/data/mail
virtual_uid_maps = static:8
virtual_gid_maps = static:8
virtual_minimum_uid = 8
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = /srv/peer/cert.pem
smtpd_tls_key_file = /srv/peer/key.pem
smtpd_tls_received_header = yes
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane
smtp_tls_CAfile = /srv/peer/ca.pem
smtp_tls_loglevel = 1
minimal_backoff_time = 1s
maillog_file = /srv/peer/data/log/postfix.log
maillog_file_prefixes = /srv/peer/data/log
""")

    def flush(self):
        """Tries what waits now."""
        sh(["nsenter", "--target", str(self.machine.children()[0]), "--all", "--root", "postqueue", "-f"])


class Exim(Peer):
    kind = "Exim"
    layer = "exim"
    run = ("mkdir -p /srv/peer/data/spool\nchown -R Debian-exim:Debian-exim /srv/peer/data/spool /srv/peer/data/log /srv/peer/dkim.key\n"
           "cp /srv/peer/exim4.conf /etc/exim4/exim4.conf\nexec exim4 -bdf -q2s\n")

    def configure(self):
        sh(["openssl", "genrsa", "-out", self.setup / "dkim.key", "2048"])
        self.key = sh(["openssl", "rsa", "-in", self.setup / "dkim.key", "-pubout"]).split("-----")[2].replace("\n", "")
        name = self.who.split("@")[0]
        (self.setup / "mailboxes").write_text(f"{name}: {name}\n")
        (self.setup / "exim4.conf").write_text(f"""
primary_hostname = {self.host}
domainlist local_domains = {self.domain} : five.example
hostlist relay_from_hosts = {OURS}
local_interfaces = {self.address}
daemon_smtp_ports = 25
disable_ipv6 = true
spool_directory = /srv/peer/data/spool
log_file_path = /srv/peer/data/log/exim-%slog
log_selector = +tls_cipher +tls_certificate_verified
host_lookup =
rfc1413_query_timeout = 0s
dns_dnssec_ok = 1
tls_advertise_hosts = *
tls_certificate = /srv/peer/cert.pem
tls_privatekey = /srv/peer/key.pem
acl_smtp_rcpt = acl_rcpt

begin acl

acl_rcpt:
  accept hosts = +relay_from_hosts
  accept domains = +local_domains
  deny

begin routers

mailbox:
  driver = accept
  domains = +local_domains
  local_parts = lsearch;/srv/peer/mailboxes
  transport = maildir

away:
  driver = dnslookup
  domains = ! +local_domains
  dnssec_request_domains = *
  transport = remote
  no_more

begin transports

remote:
  driver = smtp
  hosts_try_dane = *
  dnssec_request_domains = *
  tls_verify_certificates = /srv/peer/ca.pem
  dkim_domain = {self.domain}
  dkim_selector = exim
  dkim_private_key = /srv/peer/dkim.key
  dkim_canon = relaxed

maildir:
  driver = appendfile
  directory = /srv/peer/data/mail/$local_part_data
  create_directory
  maildir_format
  user = mail
  group = mail
  mode = 0600

begin retry

* * F,1h,2s
""")

    def records(self):
        yield from super().records()
        yield f"exim._domainkey.{self.domain.removesuffix('.example')}", "TXT", text(f"v=DKIM1; k=rsa; p={self.key}")
