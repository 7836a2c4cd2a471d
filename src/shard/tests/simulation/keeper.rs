//! Clients that keep mail in order by IMAP: they list, append, flag, copy, move and expunge, and
//! synchronise by QRESYNC with what they knew before.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::client::{Lost, Town};
use crate::imap_talk::{Answer, Fetched, Talk, copied, number, shown, vanished};
use crate::ledger::{Box, Ledger, Place, text};

const LIST: &str = "UID FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)])";

/// What a client knows of a mailbox from session to session.
#[derive(Clone, Default)]
struct Cache {
    known: Box,
    flags: BTreeMap<u32, BTreeSet<String>>,
}

/// A client of one account. Of all clients of an account one may take mail away (`is_keeper`).
pub(crate) struct Client {
    town: Rc<Town>,
    who: String,
    name: String,
    keyword: String,
    is_keeper: bool,
    caches: BTreeMap<String, Cache>,
    mailbox: String,
    uid_validity: u32,
    /// The messages of the selected mailbox, as this client knows them: when each had last changed.
    listed: BTreeMap<u32, u64>,
}

/// Does so many things, in as many sessions as it takes.
pub(crate) async fn keep(town: Rc<Town>, number: usize, name: String, is_keeper: bool, deeds: u64) {
    let mut client = Client {
        who: format!("client {number} of {name}"),
        name,
        keyword: format!("k{number}"),
        is_keeper,
        caches: BTreeMap::new(),
        mailbox: String::new(),
        uid_validity: 0,
        listed: BTreeMap::new(),
        town: Rc::clone(&town),
    };
    let mut left = deeds;
    while left > 0 {
        let _lost = client.session(&mut left).await;
        town.think().await;
    }
    town.at_work.set(town.at_work.get() - 1);
}

impl Client {
    async fn session(&mut self, left: &mut u64) -> Result<(), Lost> {
        let town = Rc::clone(&self.town);
        let mut talk = Talk::login(&town, &self.who, &self.name).await?;
        talk.command("ENABLE QRESYNC").await?;
        if town.one_in(3) { "Archive" } else { "INBOX" }.clone_into(&mut self.mailbox);
        if !self.select(&mut talk).await? {
            return Ok(());
        }
        for _ in 0..=town.below(8) {
            if *left == 0 {
                break;
            }
            *left -= 1;
            self.deed(&mut talk).await?;
            town.think().await;
        }
        talk.logout().await
    }

    fn ledger(&self, act: impl FnOnce(&mut Ledger)) {
        act(&mut self.town.ledger.borrow_mut());
    }

    fn place(&self, uid: u32) -> Place {
        (self.mailbox.clone(), self.uid_validity, uid)
    }

    /// Selects and lists; what QRESYNC said must come to the same as the list.
    async fn select(&mut self, talk: &mut Talk) -> Result<bool, Lost> {
        let mut cache = self.caches.get(&self.mailbox).cloned().unwrap_or_default();
        let is_known = cache.known.uid_validity != 0;
        let Box { uid_validity, highest_modseq, .. } = cache.known;
        let known =
            if is_known { format!(" (QRESYNC ({uid_validity} {highest_modseq}))") } else { String::new() };
        let answer = talk.command(&format!("SELECT {}{known}", self.mailbox)).await?;
        if !answer.is_ok {
            return Ok(false);
        }
        let Some((shown, _)) = shown(&answer) else {
            return Err(talk.conn.wrong(&answer.untagged.join(" / ")));
        };
        self.ledger(|ledger| ledger.shown_box(&self.name, &self.mailbox, &shown));
        self.uid_validity = shown.uid_validity;
        self.listed.clear();
        self.hear(&answer, &mut cache);
        let synchronised = cache.flags.clone();
        let answer = talk.command(LIST).await?;
        if !answer.is_ok {
            return Ok(false);
        }
        self.hear(&answer, &mut cache);
        if is_known {
            self.compare(&answer, &synchronised, &shown);
        }
        let there: BTreeSet<u32> =
            answer.untagged.iter().filter_map(|text| Fetched::parse(text)).map(|f| f.uid).collect();
        cache.flags.retain(|uid, _| there.contains(uid));
        cache.known = shown;
        self.caches.insert(self.mailbox.clone(), cache);
        Ok(true)
    }

    /// RFC 7162 §3.2.5: after SELECT the client knows what somebody knows who has fetched it all.
    fn compare(&self, answer: &Answer, synchronised: &BTreeMap<u32, BTreeSet<String>>, shown: &Box) {
        let listed: BTreeMap<u32, Fetched> =
            answer.untagged.iter().filter_map(|text| Fetched::parse(text)).map(|f| (f.uid, f)).collect();
        let mut wrong = Vec::new();
        for fetched in listed.values().filter(|fetched| fetched.modseq <= shown.highest_modseq) {
            if synchronised.get(&fetched.uid) != Some(&fetched.flags) {
                wrong.push(format!("{fetched:?}, by QRESYNC {:?}", synchronised.get(&fetched.uid)));
            }
        }
        // Nobody else takes mail away from a keeper.
        if self.is_keeper {
            let gone = synchronised.keys().filter(|uid| !listed.contains_key(uid));
            wrong.extend(gone.map(|uid| format!("QRESYNC did not say that {uid} is gone")));
        }
        let (who, mailbox) = (&self.who, &self.mailbox);
        for what in wrong {
            self.ledger(|ledger| ledger.wrong(format!("{who}, {mailbox}: {what}")));
        }
    }

    /// Takes in what the server said of messages.
    fn hear(&mut self, answer: &Answer, cache: &mut Cache) {
        for response in &answer.untagged {
            for uid in vanished(response) {
                cache.flags.remove(&uid);
                self.listed.remove(&uid);
            }
            let Some(fetched) = Fetched::parse(response) else { continue };
            let place = self.place(fetched.uid);
            self.ledger(|ledger| {
                if let Some(token) = fetched.token {
                    ledger.is_at(&self.name, &place, token);
                }
                ledger.shown(&self.name, &place, fetched.modseq, &fetched.flags);
            });
            cache.flags.insert(fetched.uid, fetched.flags.clone());
            self.listed.insert(fetched.uid, fetched.modseq);
        }
    }

    async fn command(&mut self, talk: &mut Talk, text: &str) -> Result<Answer, Lost> {
        let answer = talk.command(text).await?;
        self.hear_all(&answer);
        Ok(answer)
    }

    fn hear_all(&mut self, answer: &Answer) {
        let mut cache = self.caches.remove(&self.mailbox).unwrap_or_default();
        self.hear(answer, &mut cache);
        self.caches.insert(self.mailbox.clone(), cache);
    }

    /// Some of the messages that are there.
    fn some(&self) -> Vec<u32> {
        let count = 1 + self.town.below(3) as usize;
        let from = self.town.below(self.listed.len() as u64) as usize;
        self.listed.keys().skip(from).step_by(2).take(count).copied().collect()
    }

    async fn deed(&mut self, talk: &mut Talk) -> Result<(), Lost> {
        let some = self.some();
        let choice = self.town.below(if self.is_keeper { 10 } else { 6 });
        match choice {
            0 => self.append(talk).await,
            1 => self.command(talk, "NOOP").await.map(|_| ()),
            _ if some.is_empty() => self.append(talk).await,
            2..=4 => self.flag(talk, &some).await,
            5 => self.read(talk, some[0]).await,
            6 | 7 => self.transfer(talk, &some, true).await,
            8 => self.transfer(talk, &some, false).await,
            _ => self.expunge(talk, &some).await,
        }
    }

    async fn append(&mut self, talk: &mut Talk) -> Result<(), Lost> {
        let target = if self.town.one_in(4) { "Archive" } else { "INBOX" };
        let mut token = 0;
        self.ledger(|ledger| {
            token = ledger.new_token();
            ledger.tries(&self.name, token);
        });
        let command = format!("APPEND {target} ({})", self.keyword);
        let answer = talk.command_with(&command, &text(token)).await?;
        self.hear_all(&answer);
        if !answer.is_ok {
            let is_refused = answer.text.contains("[OVERQUOTA]");
            if is_refused {
                self.ledger(|ledger| ledger.refused(&self.name, token));
            }
            return Ok(());
        }
        let numbers = answer.text.split_once("[APPENDUID ").and_then(|(_, rest)| {
            let (validity, rest) = rest.split_once(' ')?;
            Some((validity.parse::<u32>().ok()?, number::<u32>(rest, "")?))
        });
        let Some((validity, uid)) = numbers else { return Err(talk.conn.wrong(&answer.text)) };
        let place = (target.to_owned(), validity, uid);
        self.ledger(|ledger| {
            ledger.put(&self.name, token);
            ledger.is_at(&self.name, &place, token);
            ledger.keyword(&self.name, &place, &self.keyword, true);
        });
        Ok(())
    }

    async fn flag(&mut self, talk: &mut Talk, some: &[u32]) -> Result<(), Lost> {
        let is_set = self.town.one_in(2);
        let since = self.town.one_in(3).then(|| self.listed.get(&some[0]).copied()).flatten();
        let condition = since.map(|since| format!("(UNCHANGEDSINCE {since}) ")).unwrap_or_default();
        let how = format!(
            "{}FLAGS{}",
            if is_set { '+' } else { '-' },
            if self.town.one_in(2) { ".SILENT" } else { "" }
        );
        let places: Vec<Place> = some.iter().map(|uid| self.place(*uid)).collect();
        for place in &places {
            self.ledger(|ledger| ledger.tries_keyword(&self.name, place, &self.keyword));
        }
        let command = format!("UID STORE {} {condition}{how} ({})", set(some), self.keyword);
        let answer = self.command(talk, &command).await?;
        // RFC 7162 §3.1.3: messages that had changed meanwhile are named and left alone.
        if !answer.is_ok || answer.text.contains("[MODIFIED") {
            return Ok(());
        }
        for place in &places {
            self.ledger(|ledger| ledger.keyword(&self.name, place, &self.keyword, is_set));
        }
        Ok(())
    }

    async fn read(&mut self, talk: &mut Talk, uid: u32) -> Result<(), Lost> {
        let command = format!("UID FETCH {uid} (UID BODY[])");
        let answer = self.command(talk, &command).await?;
        let place = self.place(uid);
        let known = self.town.ledger.borrow_mut().page(&self.name).places.get(&place).and_then(|k| k.token);
        let body = answer.untagged.iter().find(|text| text.contains("BODY[] {"));
        if let (Some(token), Some(body)) = (known, body)
            && !body.contains(&text(token))
        {
            return Err(talk.conn.wrong(body));
        }
        Ok(())
    }

    /// Moves or copies to the other mailbox.
    async fn transfer(&mut self, talk: &mut Talk, some: &[u32], is_move: bool) -> Result<(), Lost> {
        let target = if self.mailbox == "INBOX" { "Archive" } else { "INBOX" };
        let places: Vec<Place> = some.iter().map(|uid| self.place(*uid)).collect();
        let tokens: Vec<_> = places.iter().map(|place| self.token(place)).collect();
        self.ledger(|ledger| {
            for (place, token) in places.iter().zip(&tokens) {
                if is_move {
                    ledger.tries_to_take(&self.name, place, false);
                } else if let Some(token) = token {
                    ledger.tries(&self.name, *token);
                }
            }
        });
        let verb = if is_move { "MOVE" } else { "COPY" };
        let answer = self.command(talk, &format!("UID {verb} {} {target}", set(some))).await?;
        let Some((validity, sources, targets)) = copied(&answer).filter(|_| answer.is_ok) else {
            return Ok(());
        };
        self.ledger(|ledger| {
            for (source, uid) in sources.iter().zip(targets) {
                let from = self.place(*source);
                let to = (target.to_owned(), validity, uid);
                let known = ledger.page(&self.name).places.get(&from).cloned().unwrap_or_default();
                if let Some(token) = known.token {
                    ledger.is_at(&self.name, &to, token);
                    if !is_move {
                        ledger.put(&self.name, token);
                    }
                }
                // What this client has set goes along.
                if let Some(is_set) = known.keywords.get(&self.keyword) {
                    ledger.keyword(&self.name, &to, &self.keyword, *is_set);
                }
                if is_move {
                    ledger.taken(&self.name, &from, false);
                }
            }
        });
        if is_move {
            self.listed.retain(|uid, _| !sources.contains(uid));
        }
        Ok(())
    }

    fn token(&self, place: &Place) -> Option<u32> {
        self.town.ledger.borrow_mut().page(&self.name).places.get(place).and_then(|known| known.token)
    }

    async fn expunge(&mut self, talk: &mut Talk, some: &[u32]) -> Result<(), Lost> {
        let uids = set(some);
        if !self.command(talk, &format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)")).await?.is_ok {
            return Ok(());
        }
        let places: Vec<Place> = some.iter().map(|uid| self.place(*uid)).collect();
        for place in &places {
            self.ledger(|ledger| ledger.tries_to_take(&self.name, place, true));
        }
        if !self.command(talk, &format!("UID EXPUNGE {uids}")).await?.is_ok {
            return Ok(());
        }
        self.listed.retain(|uid, _| !some.contains(uid));
        for place in &places {
            self.ledger(|ledger| ledger.taken(&self.name, place, true));
        }
        Ok(())
    }
}

fn set(uids: &[u32]) -> String {
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
