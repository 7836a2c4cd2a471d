//! A name system in memory, and messages to check.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use base::Timestamp;
use base::dns::{Absence, Answer, Failure, Query, Record, RecordKind};
use mailauth::dkim::{DomainKey, KeyState, SignOptions, Signer};
use mailauth::{Algorithm, Checks, Lookup, Message, PrivateKey, Verdicts};

/// The moment at which all of this happens.
pub(crate) const NOW: Timestamp = Timestamp::from_s(1_795_500_000);

/// Records by name; a name whose first or last label is `slow` never answers.
#[derive(Default)]
pub(crate) struct Zone {
    records: RefCell<BTreeMap<String, Vec<Record>>>,
    /// Questions so far.
    pub(crate) asked: Cell<usize>,
}

impl Zone {
    /// Adds a record.
    pub(crate) fn add(&self, name: &str, record: Record) {
        self.records.borrow_mut().entry(name.to_owned()).or_default().push(record);
    }

    /// Adds a text.
    pub(crate) fn txt(&self, name: &str, text: &str) {
        self.add(name, Record::Txt(text.as_bytes().to_vec()));
    }
}

impl Lookup for Zone {
    async fn ask(&self, query: Query) -> Result<Answer, Failure> {
        self.asked.set(self.asked.get() + 1);
        let mut labels = query.name.split('.');
        if labels.next() == Some("slow") || labels.next_back() == Some("slow") {
            return Err(Failure::Temporary);
        }
        let zone = self.records.borrow();
        let records = zone.get(&query.name).ok_or(Failure::NoSuchName(Absence::default()))?;
        let is_asked = |record: &&Record| match record {
            Record::A(_) => query.kind == RecordKind::A,
            Record::Aaaa(_) => query.kind == RecordKind::Aaaa,
            Record::Mx { .. } => query.kind == RecordKind::Mx,
            Record::Txt(_) => query.kind == RecordKind::Txt,
            Record::Ptr(_) => query.kind == RecordKind::Ptr,
            _ => false,
        };
        let records: Vec<Record> = records.iter().filter(is_asked).cloned().collect();
        if records.is_empty() {
            return Err(Failure::NoRecords(Absence::default()));
        }
        Ok(Answer { records, name: query.name, is_secure: false, ttl_s: 60 })
    }
}

/// Runs a future that only ever gives way.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// A signer for a domain whose keys are in the zone.
pub(crate) fn signer(zone: &Zone, domain: &str, keys: &[(&str, Algorithm, KeyState)]) -> Signer {
    let mut all = Vec::new();
    for (selector, algorithm, state) in keys {
        let key = PrivateKey::generate(*algorithm).expect("a new key");
        zone.txt(&format!("{selector}._domainkey.{domain}"), &key.record().expect("a record"));
        all.push(DomainKey { selector: (*selector).to_owned(), state: *state, key });
    }
    Signer::new(domain, all).expect("good names")
}

/// The message with the signer's signatures in front.
pub(crate) fn signed(signer: &Signer, message: &[u8]) -> Vec<u8> {
    let mut all = run(signer.sign(&Message::parse(message), SignOptions { now: NOW, valid_s: 3600 }))
        .expect("one From");
    all.extend_from_slice(message);
    all
}

/// All checks of a message from 192.0.2.1, which says that it is `mx.a.example`.
pub(crate) fn verify(zone: &Zone, mail_from: &str, message: &[u8]) -> Verdicts {
    let checks = Checks {
        ip: Ipv4Addr::new(192, 0, 2, 1).into(),
        helo: "mx.a.example",
        mail_from,
        message,
        now: NOW,
        authserv_id: "mx.here.example",
    };
    run(mailauth::verify(zone, &checks))
}
