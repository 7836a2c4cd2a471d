//! Who guesses passwords is slowed down, whatever the way; who has the right one is not.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::rig::{PASSWORD, Server, address};
use auth::{Answer, Query, ScramHash};
use base::{Secret, ShardId};
use smtp::Mode;

/// Failures of a name that cost no wait.
const FREE: usize = auth::limits::LOGIN_FAILURES_FREE as usize;

fn guess(server: &Server, source: &str, name: &str) -> Answer {
    let query = Query::Scram { username: name.to_owned(), hash: ScramHash::Sha256 };
    let shard = &server.shards[0];
    server.wait(shard.login.answer(shard, source, query))
}

fn is_throttled(answer: &Answer) -> bool {
    matches!(answer, Answer::Throttled { .. })
}

#[test]
fn guesses_by_scram_tell_nobody_which_names_there_are() {
    let server = Server::new();
    let off = server.add_entry("off");
    server.update("off", |entry| entry.enabled = false);
    // On the shard that owns the account and on the other, which the connection leaves for it.
    let owners: Vec<_> = ["ann", "bob", "cleo"].map(|name| server.elsewhere(name)).to_vec();
    assert!(owners.contains(&ShardId(0)) && owners.contains(&ShardId(1)), "{owners:?} {off:?}");
    for (number, name) in
        ["ann", "bob", "cleo", "off", "nobody", "nobody@elsewhere.example"].iter().enumerate()
    {
        for guessed in 0..FREE {
            let source = format!("192.0.{number}.{guessed}");
            assert!(!is_throttled(&guess(&server, &source, name)), "{name}, guess {guessed}");
        }
        let answer = guess(&server, &format!("192.0.{number}.99"), name);
        assert!(is_throttled(&answer), "{name}: {answer:?}");
    }
    assert!(!is_throttled(&guess(&server, "198.51.100.1", "somebody")), "names are counted one by one");
}

#[test]
fn a_login_by_scram_counts_as_right_though_nothing_else_is_asked() {
    let server = Server::new();
    for at in [ShardId(0), ShardId(1)] {
        let source = format!("192.0.2.{}", at.0);
        // More often than failures are free, for the name and for the source.
        for round in 0..12 {
            let mut imap = server.imap(at, &source);
            let said = imap.scram("a1 AUTHENTICATE SCRAM-SHA-256", "ann", PASSWORD);
            assert!(said.starts_with("a1 OK "), "round {round}: {said}");
            assert!(imap.say("a2 LOGOUT\r\n").contains("a2 OK ") && imap.is_over);
            let mut smtp = server.smtp(Mode::Submission, at, &source);
            smtp.say("EHLO x\r\n");
            let said = smtp.scram("AUTH SCRAM-SHA-256", "bob", PASSWORD);
            assert!(said.starts_with("235 "), "round {round}: {said}");
            smtp.say("QUIT\r\n");
            let mut pop3 = server.pop3(at, &source);
            let said = pop3.scram("AUTH SCRAM-SHA-256", "cleo", PASSWORD);
            assert!(said.starts_with("+OK "), "round {round}: {said}");
            pop3.say("QUIT\r\n");
        }
    }
}

#[test]
fn wrong_proofs_are_counted_where_the_guess_began() {
    let server = Server::new();
    let at = server.elsewhere("ann");
    for guessed in 0..FREE {
        let mut imap = server.imap(at, &format!("192.0.2.{guessed}"));
        let said = imap.scram("a1 AUTHENTICATE SCRAM-SHA-256", "ann", "wrong");
        assert_eq!(said, "a1 NO [AUTHENTICATIONFAILED] name and password do not fit\r\n");
    }
    let said = server.imap(at, "192.0.2.99").scram("a1 AUTHENTICATE SCRAM-SHA-256", "ann", "wrong");
    assert_eq!(said, "a1 NO [UNAVAILABLE] too many logins failed, try again later\r\n");
}

type Asking<'a> = Pin<Box<dyn Future<Output = Answer> + 'a>>;

/// Asks about passwords all at once, with a pool that does one after another; gives the answers in order.
fn at_once(server: &Server, asked: &[(String, &str, &str)]) -> (Vec<Answer>, usize) {
    let shard = &server.shards[0];
    server.pool.is_slow.set(true);
    let ask = |(source, name, password): &(String, &str, &str)| {
        let query =
            Query::Password { username: address(name), password: Secret::new((*password).to_owned()) };
        let source = source.clone();
        Some(Box::pin(async move { shard.login.answer(shard, &source, query).await }) as Asking<'_>)
    };
    let mut asking: Vec<_> = asked.iter().map(ask).collect();
    let mut answers = vec![None; asked.len()];
    let (cx, mut most) = (&mut Context::from_waker(Waker::noop()), 0);
    for _ in 0..1000 {
        for (future, answer) in asking.iter_mut().zip(&mut answers) {
            let Some(Poll::Ready(ready)) = future.as_mut().map(|future| future.as_mut().poll(cx)) else {
                continue;
            };
            (*answer, *future) = (Some(ready), None);
        }
        server.turn();
        most = most.max(server.pool.waiting());
        server.pool.work();
    }
    server.pool.is_slow.set(false);
    (answers.into_iter().map(|answer| answer.expect("all are answered")).collect(), most)
}

#[test]
fn guesses_that_come_all_at_once_are_not_more_than_one_after_another() {
    let server = Server::new();
    let guesses: Vec<_> =
        (0..100).map(|i| (format!("192.0.2.{i}"), "ann", if i == 50 { PASSWORD } else { "wrong" })).collect();
    let (answers, most) = at_once(&server, &guesses);
    let looked_at = answers.iter().filter(|answer| !is_throttled(answer)).count();
    assert_eq!((looked_at, most), (FREE, FREE), "{answers:?}");
    assert!(!answers.iter().any(|answer| matches!(answer, Answer::Granted(_))));
}

#[test]
fn the_same_source_guesses_at_many_names_no_faster_all_at_once() {
    let server = Server::new();
    let names: Vec<String> = (0..60).map(|i| format!("user{i}")).collect();
    let guesses: Vec<_> = names.iter().map(|name| ("192.0.2.1".to_owned(), name.as_str(), "wrong")).collect();
    let (answers, _) = at_once(&server, &guesses);
    let looked_at = answers.iter().filter(|answer| !is_throttled(answer)).count();
    assert_eq!(looked_at, auth::limits::SOURCE_FAILURES_FREE as usize);
}

#[test]
fn right_passwords_that_come_all_at_once_wait_for_each_other_and_are_all_let_in() {
    let server = Server::new();
    let names = ["ann", "bob", "cleo"];
    let logins: Vec<_> =
        (0..60).map(|i| ("192.0.2.1".to_owned(), names[i % names.len()], PASSWORD)).collect();
    let (answers, _) = at_once(&server, &logins);
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Granted(_))), "{answers:?}");
}
