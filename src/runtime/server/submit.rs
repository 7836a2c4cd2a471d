//! The socket on which local programs hand mail in: the server's side, and that of the `sendmail` command.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::sleep;

use admin::{
    Exit, Failure, Response, Submission, SubmitService, SubmitSession, decode_answer, frame, lengths,
};
use shard::Shard;

use crate::limits::{SUBMIT_ANSWER_BYTES_MAX, SUBMIT_ANSWER_TIMEOUT, SUBMIT_PAUSE, SUBMIT_TRIES};
use crate::{Conn, DriveContext, Local, SocketPath, clock, drive};

/// Serves one connection to its end. The kernel says whose program it is.
pub(super) async fn serve(shard: Rc<Shard>, conn: Conn) {
    let (Some(local), Some(number)) = (Local::current(), conn.peer_user()) else { return };
    let Ok(user) = shard.off_shard(move || name_of(number)).await else { return };
    let budget = Arc::clone(&shard.content);
    let bytes_max = shard.settings().submission.limits.message_bytes_max;
    let ctx = DriveContext { timers: local.timers().clone(), tls: None };
    let session = SubmitSession::for_mail(clock::now(), bytes_max, budget);
    drive(conn, session, SubmitService { shard, user }, ctx).await;
}

/// The name of a user, out of the machine's list; one that is not there is called by the number.
fn name_of(number: u32) -> String {
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    in_list(&list, number).unwrap_or_else(|| format!("uid{number}"))
}

fn in_list(list: &str, number: u32) -> Option<String> {
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, found) = (fields.next()?, fields.next()?, fields.next()?);
        (found.parse() == Ok(number) && !name.is_empty()).then(|| name.to_owned())
    })
}

/// Hands a message in, for the command. All places may be taken for a moment: it comes again.
#[expect(clippy::disallowed_methods, reason = "the command has no shard: it sleeps on its own thread")]
pub(super) fn hand_in(path: &Path, submission: &Submission, content: &[u8]) -> Result<Response, Failure> {
    let json = serde_json::to_vec(submission).expect("a submission is made of plain values");
    let bytes = frame(&json, content);
    let mut error = io::Error::from(io::ErrorKind::NotConnected);
    for _ in 0..SUBMIT_TRIES {
        match exchange(path, &bytes) {
            Ok((json, payload)) => return decode_answer(&json, payload),
            // Closed without a word: no place was free, or the server ended. A message whose answer is lost is handed in
            // again, as by any queue.
            Err(failed) if is_closed(&failed) => error = failed,
            Err(failed) => {
                error = failed;
                break;
            }
        }
        sleep(SUBMIT_PAUSE);
    }
    let words = format!("no server takes mail on {}: {error}", path.display());
    Err(Failure::new(Exit::TempFail, words))
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

fn exchange(path: &Path, bytes: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut stream = UnixStream::connect(SocketPath::new(path)?.as_path())?;
    stream.set_read_timeout(Some(SUBMIT_ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(SUBMIT_ANSWER_TIMEOUT))?;
    // Whoever is refused may be told so before all is written.
    let written = stream.write_all(bytes);
    let mut head = [0; 8];
    if let Err(error) = stream.read_exact(&mut head) {
        return Err(written.err().unwrap_or(error));
    }
    let (json_bytes, payload_bytes) = lengths(head);
    if json_bytes + payload_bytes > SUBMIT_ANSWER_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (mut json, mut payload) = (vec![0; json_bytes], vec![0; payload_bytes]);
    stream.read_exact(&mut json)?;
    stream.read_exact(&mut payload)?;
    Ok((json, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_numbers() {
        let list =
            "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:Ann,,,:/home/ann:/bin/sh\n:x:7:7\n# no line\n";
        for (number, name) in [(0, Some("root")), (1000, Some("ann")), (1, None), (7, None), (100, None)] {
            assert_eq!(in_list(list, number).as_deref(), name);
        }
    }
}
