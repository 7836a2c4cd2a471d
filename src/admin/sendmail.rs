//! `angarium sendmail`, and the program under the name `sendmail`: what local programs hand their mail to. It reads one message
//! from standard input and gives it to the running server, over a socket that every user of the machine may open. The options are
//! those of other sendmails; the exit codes too (sysexits).

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use base::VerpSigns;
use clap::Args;
use serde::{Deserialize, Serialize};
use shard::{LocalMail, Shard, Unsent};

use crate::limits::SENDMAIL_BYTES_MAX;
use crate::{Config, Exit, Failure, Host, Response};

/// Where the socket is when nothing says otherwise: a folder that every user can enter.
const SOCKET: &str = "/run/angarium/submit.sock";
/// Names the socket instead of the configuration.
const SOCKET_VARIABLE: &str = "ANGARIUM_SUBMIT_SOCKET";

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct SendmailArgs {
    /// Options of sendmail, and recipients.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

/// A message on its way to the server; its bytes follow as payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The sender; null is the user's own address, an empty one is nobody.
    pub sender: Option<String>,
    /// The name for a From that is made.
    pub full_name: String,
    /// Recipients.
    pub recipients: Vec<String>,
    /// To, Cc and Bcc name recipients too.
    pub header_names_recipients: bool,
    /// When the sender wants to be told: `never`, or some of `success`, `failure`, `delay`.
    pub notify: Option<Vec<String>>,
    /// Whether a bounce gives back the `full` message or only its `hdrs`.
    pub ret: Option<String>,
    /// The sender's own mark for notices.
    pub envid: Option<String>,
    /// The two signs of a return path for each recipient.
    #[serde(default)]
    pub verp: Option<String>,
}

/// `sendmail` with its arguments, the program's name left out.
pub(crate) fn sendmail(arguments: &[OsString], config: &Path, host: &dyn Host) -> Result<Exit, Failure> {
    let options = Options::read(arguments)?;
    if options.submission.recipients.is_empty() && !options.submission.header_names_recipients {
        return Err(usage("no recipients: name them, or say -t to take them out of To, Cc and Bcc"));
    }
    let mut content = Vec::new();
    let read = std::io::stdin().lock().take(SENDMAIL_BYTES_MAX + 1).read_to_end(&mut content);
    read.map_err(|error| Failure::new(Exit::Io, format!("standard input: {error}")))?;
    if content.len() as u64 > SENDMAIL_BYTES_MAX {
        return Err(Failure::new(Exit::Data, "the message is larger than any server takes"));
    }
    if !options.dot_is_text {
        end_at_dot(&mut content);
    }
    host.submit(&socket(config), &options.submission, &content).map(|_| Exit::Done)
}

/// Where the server's socket is: what the environment says, then the configuration as far as this user may read it.
fn socket(config: &Path) -> PathBuf {
    if let Some(path) = std::env::var_os(SOCKET_VARIABLE) {
        return PathBuf::from(path);
    }
    let text = std::fs::read_to_string(config).unwrap_or_default();
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let setting = |section: &str, name: &str| Some(table.get(section)?.get(name)?.as_str()?.to_owned());
    match (setting("listen", "sendmail"), setting("server", "data")) {
        (Some(path), _) if !path.is_empty() => PathBuf::from(path),
        (_, Some(data)) => own_socket(Path::new(&data)),
        _ => PathBuf::from(SOCKET),
    }
}

/// The socket of a store whose configuration names none.
fn own_socket(data: &Path) -> PathBuf {
    data.join("run").join("submit.sock")
}

impl Config {
    /// The socket on which local programs hand mail in.
    pub fn submit_socket(&self) -> PathBuf {
        let named = &self.listen.sendmail;
        if named.as_os_str().is_empty() { own_socket(&self.server.data) } else { named.clone() }
    }
}

/// Whether the program was called by the name of the other one.
pub(crate) fn is_called(program: &OsString) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == "sendmail")
}

/// What the options say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    submission: Submission,
    /// A line of a dot alone does not end the message (`-i`).
    dot_is_text: bool,
}

impl Options {
    fn read(arguments: &[OsString]) -> Result<Self, Failure> {
        let mut options = Self::default();
        let texts: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
        let mut rest = texts.ok_or_else(|| usage("an argument is not UTF-8"))?.into_iter();
        while let Some(argument) = rest.next() {
            match argument.strip_prefix('-').filter(|cluster| !cluster.is_empty()) {
                None => options.submission.recipients.push(argument.to_owned()),
                Some("-") => {
                    options.submission.recipients.extend(rest.map(str::to_owned));
                    break;
                }
                Some(cluster) => options.cluster(cluster, &mut rest)?,
            }
        }
        Ok(options)
    }

    /// `-it`, `-fann@example.org`, `-f ann@example.org`, `-oi`.
    fn cluster<'a>(
        &mut self,
        cluster: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        for (at, letter) in cluster.char_indices() {
            let after = cluster.get(at + letter.len_utf8()..).unwrap_or_default();
            match letter {
                't' => self.submission.header_names_recipients = true,
                'i' => self.dot_is_text = true,
                // Verbose, alias use, groups of recipients: nothing here depends on them.
                'v' | 'n' | 'm' | 'G' | 'U' => {}
                // The mode: to deliver one message is the only one.
                'b' if after == "m" => return Ok(()),
                'b' => {
                    return Err(usage(&format!("-b{after} is not here: only -bm, which takes one message")));
                }
                // Options by name. `i` is -i; how errors are told and when mail is sent is the server's.
                'o' if after == "i" => {
                    self.dot_is_text = true;
                    return Ok(());
                }
                'o' if after.starts_with(['e', 'd', 'm', '7', '8']) => return Ok(()),
                'f' | 'r' | 'F' | 'N' | 'V' | 'R' | 'B' | 'O' | 'L' | 'X' | 'h' => {
                    let value = if after.is_empty() { rest.next() } else { Some(after) };
                    let value = value.ok_or_else(|| usage(&format!("-{letter} needs a value")))?;
                    return self.valued(letter, value);
                }
                _ => return Err(usage(&format!("-{letter}{after} is not known"))),
            }
        }
        Ok(())
    }

    fn valued(&mut self, letter: char, value: &str) -> Result<(), Failure> {
        let submission = &mut self.submission;
        match letter {
            'f' | 'r' => submission.sender = Some(value.to_owned()),
            'F' => value.clone_into(&mut submission.full_name),
            'V' => submission.envid = Some(value.to_owned()),
            'R' => {
                let word = value.to_ascii_lowercase();
                if !["full", "hdrs"].contains(&word.as_str()) {
                    return Err(usage("-R takes full or hdrs"));
                }
                submission.ret = Some(word);
            }
            'N' => {
                let words: Vec<String> = value.split(',').map(str::to_ascii_lowercase).collect();
                notify(&words).ok_or_else(|| usage("-N takes never, or some of success,failure,delay"))?;
                submission.notify = Some(words);
            }
            // Postfix's extension of the option; its usual signs are ours.
            'X' if value.starts_with('V') => {
                let signs = Some(&value[1..]).filter(|signs| !signs.is_empty()).unwrap_or("+=");
                VerpSigns::parse(signs)
                    .ok_or_else(|| usage("-XV takes two different signs: +, - or =, and then + or ="))?;
                submission.verp = Some(signs.to_owned());
            }
            // What the body holds is looked at; the others are about files and hops of other programs.
            _ => {}
        }
        Ok(())
    }
}

/// RFC 3461 §4.1: `never` stands alone.
fn notify(words: &[String]) -> Option<smtp::Notify> {
    let mut notify = smtp::Notify::default();
    for word in words {
        match word.as_str() {
            "never" if words.len() == 1 => {}
            "success" => notify.on_success = true,
            "failure" => notify.on_failure = true,
            "delay" => notify.on_delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

/// Without -i the message ends at a line of one dot.
fn end_at_dot(content: &mut Vec<u8>) {
    let mut at = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii_end() == b"." {
            content.truncate(at);
            return;
        }
        at += line.len();
    }
}

fn usage(words: &str) -> Failure {
    Failure::new(Exit::Usage, words)
}

/// Takes a message on the server's side.
pub(crate) async fn take(
    shard: &std::rc::Rc<Shard>,
    user: &str,
    submission: Submission,
    content: Vec<u8>,
) -> Result<Response, Failure> {
    let notify = submission.notify.as_deref().map(|words| notify(words).ok_or(())).transpose();
    let ret = match submission.ret.as_deref() {
        None => Ok(None),
        Some("full") => Ok(Some(smtp::Return::Full)),
        Some("hdrs") => Ok(Some(smtp::Return::Headers)),
        Some(_) => Err(()),
    };
    let verp = submission.verp.as_deref().map(|signs| VerpSigns::parse(signs).ok_or(())).transpose();
    let (Ok(notify), Ok(ret), Ok(verp)) = (notify, ret, verp) else {
        return Err(usage("notify, ret or verp has no such value"));
    };
    let mail = LocalMail {
        user: user.to_owned(),
        sender: submission.sender,
        full_name: submission.full_name,
        recipients: submission.recipients,
        header_names_recipients: submission.header_names_recipients,
        notify,
        ret,
        envid: submission.envid,
        verp,
        content,
    };
    match shard::submit_local(shard, mail).await {
        Ok(id) => Ok(Response { json: serde_json::json!({ "id": id.to_string() }), payload: Vec::new() }),
        Err(unsent) => Err(Failure::new(exit(&unsent), Words(&unsent).to_string())),
    }
}

const fn exit(unsent: &Unsent) -> Exit {
    match unsent {
        Unsent::NoRecipients | Unsent::TooManyRecipients | Unsent::NoReturnPath => Exit::Usage,
        Unsent::BadAddress(_) | Unsent::TooLarge => Exit::Data,
        Unsent::UnknownUser(_) => Exit::NotFound,
        Unsent::Refused(_) => Exit::Unavailable,
        Unsent::Later(_) => Exit::TempFail,
    }
}

struct Words<'a>(&'a Unsent);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unsent::NoRecipients => f.write_str("the message names no recipient"),
            Unsent::TooManyRecipients => f.write_str("more recipients than one message may have"),
            Unsent::NoReturnPath => {
                f.write_str("-XV makes return paths of the sender's, and there is no sender")
            }
            Unsent::BadAddress(text) => write!(f, "{text:?} is not an e-mail address"),
            Unsent::UnknownUser(address) => {
                write!(f, "{address}: there is no such user; nobody was sent anything")
            }
            Unsent::TooLarge => f.write_str("the message is larger than this server takes"),
            Unsent::Refused(why) => f.write_str(why),
            Unsent::Later(why) => write!(f, "{why}; try again later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, Exit> {
        let arguments: Vec<OsString> =
            line.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect();
        Options::read(&arguments).map_err(|failure| failure.exit)
    }

    #[test]
    fn options_are_those_of_other_sendmails() {
        let options =
            read("-it -f ann@example.org -FAnn -N success,DELAY -V id -R HDRS -oem -odi -bm -- -bob eve")
                .unwrap();
        let expected = Submission {
            sender: Some("ann@example.org".to_owned()),
            full_name: "Ann".to_owned(),
            recipients: vec!["-bob".to_owned(), "eve".to_owned()],
            header_names_recipients: true,
            notify: Some(vec!["success".to_owned(), "delay".to_owned()]),
            ret: Some("hdrs".to_owned()),
            envid: Some("id".to_owned()),
            verp: None,
        };
        assert_eq!(options, Options { submission: expected, dot_is_text: true });
        assert_eq!(read("-oi bob").map(|options| options.dot_is_text), Ok(true));
        assert_eq!(read("-f <> bob").map(|options| options.submission.sender), Ok(Some("<>".to_owned())));
        for (line, signs) in [
            ("-XV bob", Some("+=")),
            ("-XV-= bob", Some("-=")),
            ("-X V=+ bob", Some("=+")),
            ("-X log bob", None),
        ] {
            let verp = read(line).map(|options| options.submission.verp);
            assert_eq!(verp, Ok(signs.map(str::to_owned)), "{line}");
        }
        assert_eq!(read("bob -fann").map(|options| options.submission.sender), Ok(Some("ann".to_owned())));
    }

    #[test]
    fn what_is_not_here_is_not_ignored() {
        for line in [
            "-bs",
            "-bd",
            "-bp",
            "-q",
            "-z bob",
            "-f",
            "-N sometimes bob",
            "-N never,delay bob",
            "-R all bob",
            "-XVxy bob",
            "-XV+ bob",
            "-XV++ bob",
            "-oA",
        ] {
            assert_eq!(read(line), Err(Exit::Usage), "{line}");
        }
    }

    #[test]
    fn a_dot_ends_the_message_unless_it_is_told_not_to() {
        for (content, left) in
            [("a\n.\nb\n", "a\n"), ("a\r\n.\r\n", "a\r\n"), (".", ""), ("..\n.x\n", "..\n.x\n"), ("", "")]
        {
            let mut bytes = content.as_bytes().to_vec();
            end_at_dot(&mut bytes);
            assert_eq!(bytes, left.as_bytes(), "{content:?}");
        }
    }
}
