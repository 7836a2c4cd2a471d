//! Other programs as witnesses: Python's mail parser reads our reports, and Mail::SRS (Perl) and PostSRSd read and
//! write the same addresses as we do. Debian has them: `python3`, `libmail-srs-perl`, `postsrsd`.
//!
//!     cargo test -p dsn --test foreign -- --ignored

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::{Secret, Timestamp};
use dsn::{Srs, SrsConfig};

const SECRET: &str = "a secret of the test";

/// Addresses that are worth a look: cases, signs, several separators, tags in the sender.
const SENDERS: [&str; 9] = [
    "ann@example.org",
    "Ann.Example@Sub.Example.ORG",
    "a+b=c@example.org",
    "a-b_c!d#e@example.org",
    "bounce=1=2@example.org",
    "x@e",
    "SRS0x@example.org",
    "SRS0=aaaa=AA=example.net=ann@first.example",
    "SRS1+bbbb=first.example==aaaa=AA=example.net=ann@second.example",
];

fn ours() -> Srs {
    let secrets = vec![Secret::new(SECRET.as_bytes().to_vec())];
    let config = SrsConfig::new("forward.example".into(), secrets);
    Srs::new(SrsConfig { local_part_bytes_max: 200, ..config }).expect("a good configuration")
}

/// The real time: what the other programs go by.
#[expect(clippy::disallowed_methods, reason = "programs outside read the machine's clock")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp::from_s(since.as_secs().try_into().expect("this century"))
}

fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{program} failed");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
#[ignore = "needs python3"]
fn python_reads_every_report() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let script = folder.join("read_reports.py");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "eml"))
        .collect();
    files.sort();
    assert!(files.len() >= 8);
    let mut arguments = vec![script.to_str().expect("text")];
    arguments.extend(files.iter().map(|path| path.to_str().expect("text")));
    let told = run("python3", &arguments, "");
    assert_eq!(told.lines().count(), files.len(), "{told}");
}

#[test]
#[ignore = "needs libmail-srs-perl"]
fn mail_srs_makes_and_reads_the_same_addresses() {
    let script = format!(
        "use Mail::SRS; my $s = new Mail::SRS(Secret => '{SECRET}', MaxAge => 21); \
         while (<STDIN>) {{ chomp; my $f = $s->forward($_, 'forward.example'); print \"$f\\n\"; }}"
    );
    let theirs = run("perl", &["-e", &script], &(SENDERS.join("\n") + "\n"));
    for (sender, theirs) in SENDERS.iter().zip(theirs.lines()) {
        let now = now();
        assert_eq!(ours().forward(sender, now).as_deref(), Ok(theirs), "{sender}");
        let back = ours().reverse(theirs, now).expect("it verifies");
        if !sender.starts_with("SRS1") {
            assert_eq!(back, *sender);
        }
    }
    assert_eq!(theirs.lines().count(), SENDERS.len());
}

/// PostSRSd on two ports of this machine, ended with the test.
struct PostSrsd {
    child: Child,
    folder: PathBuf,
    forward: u16,
    reverse: u16,
}

impl PostSrsd {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("dsn-postsrsd-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder of our own");
        let secret = folder.join("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).expect("a file in it");
        let [forward, reverse] = [0, 1].map(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("bound").port()
        });
        let child = Command::new("/usr/sbin/postsrsd")
            .args([format!("-s{}", secret.display()), "-dforward.example".into(), "-4".into()])
            .args([format!("-f{forward}"), format!("-r{reverse}")])
            .spawn()
            .expect("postsrsd is installed");
        Self { child, folder, forward, reverse }
    }

    /// One question of Postfix's tcp_table protocol.
    fn ask(port: u16, address: &str) -> String {
        // It takes a moment to listen.
        let stream = (0..100).find_map(|_| {
            let stream = TcpStream::connect(("127.0.0.1", port)).ok();
            if stream.is_none() {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            stream
        });
        let mut stream = BufReader::new(stream.expect("it listens"));
        let escaped = address.replace('%', "%25").replace('+', "%2B");
        writeln!(stream.get_mut(), "get {escaped}").expect("it reads");
        let mut answer = String::new();
        stream.read_line(&mut answer).expect("it answers");
        let text = answer.trim().strip_prefix("200 ").unwrap_or_else(|| panic!("{address}: {answer}"));
        text.replace("%2B", "+").replace("%2b", "+").replace("%25", "%")
    }
}

impl Drop for PostSrsd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
#[ignore = "needs postsrsd"]
fn postsrsd_makes_and_reads_the_same_addresses() {
    let theirs = PostSrsd::start();
    for sender in SENDERS {
        let path = PostSrsd::ask(theirs.forward, sender);
        assert_eq!(ours().forward(sender, now()).as_deref(), Ok(&*path), "{sender}");
        assert_eq!(ours().reverse(&path, now()), Ok(PostSrsd::ask(theirs.reverse, &path)), "{sender}");
    }
}
