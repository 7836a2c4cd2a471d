//! Clients that fetch mail by POP3, and remove some of it.

use std::rc::Rc;

use crate::client::{Conn, Lost, Town};
use crate::connection::Door;
use crate::ledger::{Token, text, token_of};
use crate::password::PASSWORD;

/// Looks into the maildrop so many times. Nobody else takes mail out of this account.
pub(crate) async fn collect(town: Rc<Town>, name: String, visits: u64) {
    for _ in 0..visits {
        let mut conn = Conn::open(&town, &format!("collector of {name}"), Door::Pop3).await;
        let _lost = visit(&mut conn, &name).await;
        drop(conn);
        town.think().await;
    }
    town.at_work.set(town.at_work.get() - 1);
}

async fn visit(conn: &mut Conn, name: &str) -> Result<(), Lost> {
    let town = Rc::clone(&conn.town);
    expect(conn, "+OK").await?;
    conn.send(&format!("USER {name}\r\nPASS {PASSWORD}\r\n"));
    expect(conn, "+OK").await?;
    let said = answer(conn).await?;
    if said.starts_with("-ERR [IN-USE]") || said.starts_with("-ERR [SYS/TEMP]") {
        return Ok(());
    }
    if !said.starts_with("+OK") {
        return Err(conn.wrong(&said));
    }
    conn.send("STAT\r\n");
    let said = answer(conn).await?;
    let count: u32 = said.split(' ').nth(1).and_then(|count| count.parse().ok()).unwrap_or(0);
    let mut marked = Vec::new();
    for number in 1..=count {
        // Most are left where they are, for others to look at.
        if town.one_in(3) {
            let token = retrieve(conn, name, number).await?;
            if town.one_in(2) {
                conn.send(&format!("DELE {number}\r\n"));
                expect(conn, "+OK").await?;
                marked.push(token);
            }
        }
    }
    if town.one_in(6) {
        return Ok(());
    }
    for token in &marked {
        town.ledger.borrow_mut().tries_to_remove(name, *token);
    }
    conn.may_end = true;
    conn.send("QUIT\r\n");
    let said = answer(conn).await?;
    if !said.starts_with("+OK") && conn.must_do() {
        return Err(conn.wrong(&said));
    }
    if said.starts_with("+OK") {
        for token in &marked {
            town.ledger.borrow_mut().removed(name, *token);
        }
    }
    Ok(())
}

async fn retrieve(conn: &mut Conn, name: &str, number: u32) -> Result<Token, Lost> {
    conn.send(&format!("RETR {number}\r\n"));
    let said = answer(conn).await?;
    if !said.starts_with("+OK") {
        return Err(if conn.must_do() { conn.wrong(&said) } else { Lost });
    }
    let mut body = String::new();
    loop {
        let line = conn.line().await?;
        match line.strip_prefix('.') {
            Some("") => break,
            Some(rest) => body.push_str(rest),
            None => body.push_str(&line),
        }
        body.push_str("\r\n");
    }
    let token = token_of(&body).ok_or(Lost)?;
    if !body.ends_with(&text(token)) {
        return Err(conn.wrong(&format!("{name}'s message {token} as {body:?}")));
    }
    Ok(token)
}

async fn expect(conn: &mut Conn, what: &str) -> Result<(), Lost> {
    let said = answer(conn).await?;
    if said.starts_with(what) { Ok(()) } else { Err(conn.wrong(&said)) }
}

/// A line, or the end of a session that the server ends for a reason.
async fn answer(conn: &mut Conn) -> Result<String, Lost> {
    let line = conn.line().await?;
    let is_end = line.starts_with("-ERR") && !conn.must_go_on();
    if is_end { Err(Lost) } else { Ok(line) }
}
