//! Clients that bring mail, by SMTP and LMTP.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::client::{Conn, Lost, Town};
use crate::connection::Door;
use crate::ledger::{Token, text};
use crate::server::address;

/// Brings so many messages and goes.
pub(crate) async fn bring(town: Rc<Town>, number: usize, door: Door, messages: u64) {
    let who = format!("sender {number} ({door:?})");
    let mut left = messages;
    while left > 0 {
        let mut conn = Conn::open(&town, &who, door).await;
        // What is lost is not sent again: it may be there or not.
        let _lost = connection(&mut conn, door, &mut left).await;
        town.think().await;
    }
    town.at_work.set(town.at_work.get() - 1);
}

async fn connection(conn: &mut Conn, door: Door, left: &mut u64) -> Result<(), Lost> {
    expect(conn, "220").await?;
    let hello = if door == Door::Lmtp { "LHLO" } else { "EHLO" };
    conn.send(&format!("{hello} client.example.net\r\n"));
    expect(conn, "250").await?;
    let town = Rc::clone(&conn.town);
    for _ in 0..=town.below(3) {
        if *left == 0 {
            break;
        }
        *left -= 1;
        message(conn, door).await?;
        town.think().await;
    }
    if town.one_in(5) {
        return Ok(());
    }
    conn.may_end = true;
    conn.send("QUIT\r\n");
    expect(conn, "221").await
}

/// Names in an envelope and the accounts behind each.
fn recipients(town: &Town) -> Vec<(String, Vec<String>)> {
    let mut chosen: Vec<(String, Vec<String>)> = Vec::new();
    for _ in 0..=town.below(5) {
        // Most mail goes to few accounts, so that a lot happens at the same time in one.
        let among = if town.one_in(4) { town.names.len() } else { town.names.len() / 2 };
        let name = &town.names[town.below(among as u64) as usize];
        if chosen.iter().all(|(known, _)| known != name) {
            chosen.push((name.clone(), vec![name.clone()]));
        }
    }
    if town.one_in(6) {
        chosen.push(town.alias.clone());
    }
    chosen
}

/// One transaction; every account behind its recipients gets one copy, or none.
async fn message(conn: &mut Conn, door: Door) -> Result<(), Lost> {
    let town = Rc::clone(&conn.town);
    let recipients = recipients(&town);
    let mut accounts: BTreeSet<String> = recipients.iter().flat_map(|(_, names)| names.clone()).collect();
    let token = town.ledger.borrow_mut().new_token();
    for name in &accounts {
        town.ledger.borrow_mut().tries(name, token);
    }
    let mut envelope = vec!["MAIL FROM:<x@example.net>".to_owned()];
    envelope.extend(recipients.iter().map(|(name, _)| format!("RCPT TO:<{}>", address(name))));
    let is_pipelined = town.one_in(2);
    if is_pipelined {
        conn.send(&format!("{}\r\n", envelope.join("\r\n")));
    }
    let mut accepted = Vec::new();
    for (at, line) in envelope.iter().enumerate() {
        if !is_pipelined {
            conn.send(&format!("{line}\r\n"));
        }
        let code = reply(conn).await?;
        match (code.as_str(), at.checked_sub(1)) {
            ("250", Some(at)) => accepted.push(&recipients[at]),
            ("250", None) | ("452" | "552", Some(_)) => {}
            ("450" | "451", Some(_)) if !conn.must_do() => {}
            _ => return Err(conn.wrong(&code)),
        }
    }
    let reached: BTreeSet<&String> = accepted.iter().flat_map(|(_, names)| names).collect();
    accounts.retain(|name| !reached.contains(name));
    for name in &accounts {
        town.ledger.borrow_mut().refused(name, token);
    }
    if accepted.is_empty() {
        conn.send("RSET\r\n");
        return expect(conn, "250").await;
    }
    content(conn, token).await?;
    answers(conn, door, token, &accepted).await
}

async fn content(conn: &mut Conn, token: Token) -> Result<(), Lost> {
    let town = Rc::clone(&conn.town);
    let text = text(token);
    if town.one_in(30) {
        conn.send(&format!("BDAT {} LAST\r\n{}", text.len(), &text[..text.len() / 2]));
        return Err(Lost);
    }
    match town.below(3) {
        0 => conn.send(&format!("BDAT {} LAST\r\n{text}", text.len())),
        1 => {
            let (first, second) = text.split_at(text.len() / 3);
            conn.send(&format!("BDAT {}\r\n{first}BDAT {} LAST\r\n{second}", first.len(), second.len()));
            expect(conn, "250").await?;
        }
        _ => {
            conn.send("DATA\r\n");
            expect(conn, "354").await?;
            conn.send(&format!("{}.\r\n", text.replace("\r\n.", "\r\n..")));
        }
    }
    Ok(())
}

/// What was said of the message: once, or for each recipient.
async fn answers(
    conn: &mut Conn,
    door: Door,
    token: Token,
    accepted: &[&(String, Vec<String>)],
) -> Result<(), Lost> {
    let town = Rc::clone(&conn.town);
    let mut stored = BTreeSet::new();
    if door == Door::Lmtp {
        for (_, names) in accepted {
            if acknowledged(conn).await? {
                stored.extend(names.iter().cloned());
            }
        }
    } else if acknowledged(conn).await? {
        stored.extend(accepted.iter().flat_map(|(_, names)| names.clone()));
    }
    for name in stored {
        town.ledger.borrow_mut().put(&name, token);
    }
    Ok(())
}

async fn acknowledged(conn: &mut Conn) -> Result<bool, Lost> {
    let code = reply(conn).await?;
    match code.as_str() {
        "250" => Ok(true),
        "452" | "552" => Ok(false),
        "450" | "451" if !conn.must_do() => Ok(false),
        _ => Err(conn.wrong(&code)),
    }
}

async fn expect(conn: &mut Conn, code: &str) -> Result<(), Lost> {
    let said = reply(conn).await?;
    if said == code { Ok(()) } else { Err(conn.wrong(&said)) }
}

/// The code of a reply, whatever its lines are. A server that stops says so.
async fn reply(conn: &mut Conn) -> Result<String, Lost> {
    loop {
        let line = conn.line().await?;
        if line.as_bytes().get(3) == Some(&b'-') {
            continue;
        }
        if line.starts_with("421") {
            if conn.must_go_on() {
                return Err(conn.wrong(&line));
            }
            return Err(Lost);
        }
        return Ok(line.chars().take(3).collect());
    }
}
