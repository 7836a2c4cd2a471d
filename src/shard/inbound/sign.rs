//! DKIM signatures (RFC 6376) on mail of our own domains: what our users submit, what trusted networks send through us,
//! and what we write ourselves. The keys are the directory's; each shard keeps those that it used last ready to sign.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use directory::{BoundedMap, DkimAlgorithm, DkimKey, DkimState, SenderUse};
use mailauth::dkim::{DomainKey, KeyState, SignError, SignOptions, Signer};
use mailauth::{Message, PrivateKey, name};
use mime::{addresses, end_of_headers, field};
use smtp::{Envelope, Mode};

use super::{Incoming, put_in_front};
use crate::Shard;
use crate::limits::SIGNING_DOMAINS_MAX;
use crate::submission::first_author;

/// Keys that were used last, by the From domains of the mail.
pub(crate) struct SigningKeys(RefCell<BoundedMap<String, Known>>);

/// What is known of a From domain.
#[derive(Clone)]
struct Known {
    /// The directory's, when it was asked.
    generation: u64,
    keys: Option<Arc<Keys>>,
}

/// The keys of a domain, ready to sign.
pub(super) struct Keys {
    /// As the directory has them: a change elsewhere in it need not make these anew.
    listed: Vec<DkimKey>,
    pub(super) signer: Signer,
    /// RSA takes its time.
    pub(super) is_slow: bool,
}

impl Default for SigningKeys {
    fn default() -> Self {
        Self(RefCell::new(BoundedMap::new(SIGNING_DOMAINS_MAX)))
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("domains", &self.0.borrow().len()).finish()
    }
}

/// Signs what comes from our own users, or from networks that may send through us.
pub(super) async fn sign(shard: &Rc<Shard>, peer: Option<IpAddr>, incoming: &mut Incoming) {
    // Most mail comes from elsewhere: nothing of it need be read for this.
    let is_ours = match incoming.message.envelope.mode {
        Mode::Submission => true,
        Mode::Mx => peer.is_some_and(|peer| shard.settings().outbound.may_relay(peer)),
        Mode::Lmtp => false,
    };
    if !is_ours {
        return;
    }
    let Some(author) = author(&incoming.message.data) else { return };
    let message = &incoming.message;
    if !may_sign(shard, peer, &message.envelope, &author) && !is_entitled(shard, message).await {
        return;
    }
    let data = std::mem::take(&mut incoming.message.data);
    let (data, fields) = signatures(shard, &author, data).await;
    incoming.message.data = data;
    if !fields.is_empty() {
        put_in_front(&mut incoming.message, &fields);
    }
}

/// Signs what we wrote ourselves.
pub(crate) async fn sign_own(shard: &Rc<Shard>, message: Vec<u8>) -> Vec<u8> {
    let Some(author) = author(&message) else { return message };
    let (mut message, fields) = signatures(shard, &author, message).await;
    message.splice(..0, fields);
    message
}

/// Whoever logged in gets the signature of a domain only if it is that of the account or of the sender's address, which was
/// looked at: nobody is to speak for a neighbour's domain.
fn may_sign(shard: &Shard, peer: Option<IpAddr>, envelope: &Envelope, author: &str) -> bool {
    let is_in = |address: &str| {
        let domain = address.rsplit_once('@').and_then(|(_, domain)| name::normal(domain));
        domain.is_some_and(|domain| domain == author)
    };
    match envelope.mode {
        Mode::Submission => {
            envelope.identity.as_ref().is_some_and(|identity| is_in(&identity.address))
                || envelope.sender.as_ref().is_some_and(|sender| is_in(sender.as_str()))
        }
        Mode::Mx => peer.is_some_and(|peer| shard.settings().outbound.may_relay(peer)),
        Mode::Lmtp => false,
    }
}

/// Whether who logged in may send under the first address in From, whatever its domain: by an alias or a right of theirs.
async fn is_entitled(shard: &Rc<Shard>, message: &smtp::Message) -> bool {
    let Some(identity) = &message.envelope.identity else { return false };
    match first_author(&message.data) {
        Some(address) => {
            let found = shard.people.sender_use(shard, identity.account, &address).await;
            found.is_ok_and(|found| found != SenderUse::Denied)
        }
        None => false,
    }
}

/// The domain of the first address in From.
fn author(data: &[u8]) -> Option<String> {
    let header = data.get(..end_of_headers(data))?;
    let from = field(header, "From")?;
    let mut hosts = addresses(from.value).into_iter().filter_map(|address| address.mailbox.and(address.host));
    name::normal_bytes(&hosts.next()?)
}

/// The message back, and the fields for it; none when nothing signs for this domain.
async fn signatures(shard: &Rc<Shard>, author: &str, data: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let Some(keys) = keys(shard, author).await else { return (data, Vec::new()) };
    let options = SignOptions { now: shard.world.now(), valid_s: 0 };
    let (data, made) = if keys.is_slow {
        // Behind an `Arc`, so that it is still here when the pool takes nothing more.
        let data = Arc::new(data);
        let (signing, signed) = (Arc::clone(&keys), Arc::clone(&data));
        let work = move || at_once(signing.signer.sign(&Message::parse(&signed), options));
        let made = match shard.off_shard(work).await {
            Ok(made) => made,
            Err(_) => keys.signer.sign(&Message::parse(&data), options).await,
        };
        (Arc::unwrap_or_clone(data), made)
    } else {
        let made = keys.signer.sign(&Message::parse(&data), options).await;
        (data, made)
    };
    let fields = made.unwrap_or_else(|why| {
        tracing::warn!(event = "inbound.not_signed", domain = keys.signer.domain(), why = words(why));
        Vec::new()
    });
    (data, fields)
}

const fn words(why: SignError) -> &'static str {
    match why {
        SignError::BadKeys => "the keys are not usable",
        SignError::BadFrom => "the message has more than one From",
        SignError::KeyFailed => "the key did not sign",
    }
}

/// The keys that sign for a From domain, from memory while the directory says the same.
pub(super) async fn keys(shard: &Rc<Shard>, author: &str) -> Option<Arc<Keys>> {
    let known = shard.signing.0.borrow().get(author).cloned();
    if let Some(known) = &known
        && known.generation == shard.people.generation()
    {
        return known.keys.clone();
    }
    let Ok((generation, found)) = shard.people.signing_keys(shard, author).await else { return None };
    let keys = match found {
        None => None,
        Some((domain, listed)) => {
            let before = known.and_then(|known| known.keys);
            let same = before.filter(|keys| keys.signer.domain() == domain && keys.listed == listed);
            match same {
                Some(keys) => Some(keys),
                None => read(shard, domain, listed).await.map(Arc::new),
            }
        }
    };
    let known = Known { generation, keys: keys.clone() };
    shard.signing.0.borrow_mut().insert(author.to_owned(), known);
    keys
}

/// Keys out of their bytes. RSA's are checked when they are read, which takes its time too.
async fn read(shard: &Rc<Shard>, domain: String, listed: Vec<DkimKey>) -> Option<Keys> {
    let is_slow =
        listed.iter().any(|key| key.state == DkimState::Active && key.algorithm == DkimAlgorithm::Rsa);
    if !is_slow {
        return parse(&domain, listed);
    }
    let (name, keys) = (domain.clone(), listed.clone());
    match shard.off_shard(move || parse(&name, keys)).await {
        Ok(keys) => keys,
        Err(_) => parse(&domain, listed),
    }
}

fn parse(domain: &str, listed: Vec<DkimKey>) -> Option<Keys> {
    let mut active = Vec::new();
    for key in listed.iter().filter(|key| key.state == DkimState::Active) {
        match PrivateKey::from_der(key.der.reveal()) {
            Ok(read) => {
                active.push(DomainKey { selector: key.selector.clone(), state: KeyState::Active, key: read });
            }
            Err(_) => {
                tracing::error!(event = "inbound.key_unreadable", domain, selector = key.selector);
            }
        }
    }
    let is_slow = active.iter().any(|key| key.key.algorithm() == mailauth::Algorithm::RsaSha256);
    let signer = Signer::new(domain, active).ok().filter(|signer| !signer.keys().is_empty())?;
    Some(Keys { listed, signer, is_slow })
}

/// Runs a future that only ever gives way to others, where there are none.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_author_is_the_first_of_from() {
        for (message, expected) in [
            ("From: Ann <ann@Example.ORG>\r\n\r\n", Some("example.org")),
            ("Subject: x\r\nfrom: ann@example.org, bob@example.net\r\n\r\n", Some("example.org")),
            ("From: ann@b\u{fc}cher.example\r\n\r\n", Some("xn--bcher-kva.example")),
            ("From: friends: ann@example.org, bob@example.net;\r\n\r\n", Some("example.org")),
            ("From: root\r\n\r\n", None),
            ("Subject: x\r\n\r\nFrom: ann@example.org\r\n", None),
            ("", None),
        ] {
            assert_eq!(author(message.as_bytes()).as_deref(), expected, "{message:?}");
        }
    }
}
