//! Clients that wait in IDLE and must be told of everything that comes and goes.

use std::cell::Cell;
use std::rc::Rc;

use crate::client::{Lost, Town};
use crate::imap_talk::{Talk, number, shown};

/// What an idling client believes about its INBOX.
#[derive(Default)]
pub(crate) struct Belief {
    pub(crate) name: String,
    /// Messages; `None` while it is not in IDLE.
    pub(crate) exists: Cell<Option<u32>>,
}

/// Idles for ever, over and over.
pub(crate) async fn idle(town: Rc<Town>, belief: Rc<Belief>) {
    loop {
        let _lost = session(&town, &belief).await;
        belief.exists.set(None);
        town.think().await;
    }
}

async fn session(town: &Rc<Town>, belief: &Belief) -> Result<(), Lost> {
    let mut talk = Talk::login(town, &format!("idler of {}", belief.name), &belief.name).await?;
    let answer = talk.command("SELECT INBOX").await?;
    if !answer.is_ok {
        return Ok(());
    }
    let Some((_, mut exists)) = shown(&answer) else {
        return Err(talk.conn.wrong(&answer.untagged.join(" / ")));
    };
    for round in 0.. {
        talk.conn.send(&format!("i{round} IDLE\r\n"));
        let mut has_begun = false;
        loop {
            let response = talk.response().await?;
            if response.starts_with('+') {
                has_begun = true;
            } else if response.starts_with(&format!("i{round} ")) {
                break;
            } else if response.ends_with(" EXISTS") {
                exists = number(&response, "* ").unwrap_or(0);
                town.ledger.borrow_mut().told += u64::from(has_begun);
            } else if response.ends_with(" EXPUNGE") {
                exists -= 1;
            }
            // After a DONE it waits for an answer, else for news.
            if has_begun && talk.conn.is_patient && town.one_in(8) {
                belief.exists.set(None);
                talk.conn.is_patient = false;
                talk.conn.may_end = false;
                talk.conn.send("DONE\r\n");
            } else if has_begun && (talk.conn.is_patient || response.starts_with('+')) {
                talk.conn.is_patient = true;
                // Whoever idles for half an hour is thrown out.
                talk.conn.may_end = true;
                belief.exists.set(Some(exists));
            }
        }
    }
    Ok(())
}
