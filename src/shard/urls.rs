//! What an IMAP URL means (RFC 4467, RFC 5092), for whoever may have it: a session of IMAP that fetches it, or a message
//! that is submitted with it (BURL, RFC 4468). The account that it names is asked on the shard that owns it; no other
//! server is ever asked.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use auth::Identity;
use base::{AccountId, Charge, PartitionId, Timestamp};
use imap::{Around, Url, UrlBytes, UrlError, UrlProof, UrlReader, Waiting};
use router::Gone;
use smtp::{UrlFault, UrlRequest};

use crate::{Shard, Wait};

/// Why there are no bytes.
#[derive(Debug)]
enum Nothing {
    Denied,
    Missing,
    NoPart,
    TooLarge,
    NoMemory,
    Unavailable,
    Account(account::Error),
}

impl From<UrlError> for Nothing {
    fn from(error: UrlError) -> Self {
        match error {
            UrlError::Denied => Self::Denied,
            UrlError::Missing => Self::Missing,
            UrlError::NoPart => Self::NoPart,
            UrlError::Account(error) => Self::Account(error),
        }
    }
}

impl From<Gone> for Nothing {
    fn from(_: Gone) -> Self {
        Self::Unavailable
    }
}

/// The account that a login name means, if it is one that may be used.
async fn named(shard: &Shard, user: &str) -> Result<Option<(AccountId, PartitionId)>, Gone> {
    let found = shard.people.by_login(shard, user).await?;
    Ok(found.filter(|entry| entry.enabled).map(|entry| (entry.id, entry.partition)))
}

async fn is_own(shard: &Shard, identity: &Identity, user: &str) -> Result<bool, Gone> {
    Ok(named(shard, user).await?.is_some_and(|(account, _)| account == identity.account))
}

/// The bytes that a URL means, no more than `bytes_max` of them, for `identity` by way of `reader`.
async fn bytes(
    shard: &Rc<Shard>,
    url: &Url,
    identity: &Identity,
    reader: UrlReader,
    bytes_max: usize,
) -> Result<UrlBytes, Nothing> {
    if let Some(user) = url.reader(reader)?
        && !is_own(shard, identity, user).await?
    {
        return Err(Nothing::Denied);
    }
    let (account, partition, proof) = match (&url.grant, &url.user) {
        (None, _) => (identity.account, identity.partition, UrlProof::Owner),
        (Some(_), None) => return Err(Nothing::Denied),
        (Some(_), Some(user)) => {
            let (account, partition) = named(shard, user).await?.ok_or(Nothing::Denied)?;
            (account, partition, UrlProof::Token)
        }
    };
    let now = shard.world.now();
    let question = Question { account, partition, url: url.clone(), proof, now };
    // First how large the message is: its bytes are not read before there is memory for them.
    let asked = question.clone();
    let size = at_home(shard, partition, move |there| async move { asked.size(&there) }).await??;
    if url.is_whole() && size > bytes_max {
        return Err(Nothing::TooLarge);
    }
    let mut charge = Charge::new(Some(Arc::clone(&shard.content)));
    if !charge.cover(size) {
        return Err(Nothing::NoMemory);
    }
    let bytes = at_home(shard, partition, move |there| async move { question.bytes(&there).await }).await??;
    if bytes.len() > bytes_max {
        return Err(Nothing::TooLarge);
    }
    Ok(UrlBytes { bytes, charge })
}

/// What is asked of an account.
#[derive(Clone)]
struct Question {
    account: AccountId,
    partition: PartitionId,
    url: Url,
    proof: UrlProof,
    now: Timestamp,
}

impl Question {
    fn account(&self, there: &Shard) -> account::Account {
        // Nothing is stored, so no quota counts.
        there.account(self.partition, self.account, None)
    }

    fn size(&self, there: &Shard) -> Result<usize, UrlError> {
        imap::url_size(&self.account(there), &self.url, self.proof, self.now).map(|size| size as usize)
    }

    async fn bytes(&self, there: &Shard) -> Result<Vec<u8>, UrlError> {
        imap::url_bytes(&self.account(there), &self.url, self.proof, self.now).await
    }
}

/// Runs `work` on the shard that owns a partition.
async fn at_home<R, W, F>(shard: &Rc<Shard>, partition: PartitionId, work: W) -> Result<R, Gone>
where
    R: Send + 'static,
    W: FnOnce(Rc<Shard>) -> F + Send + 'static,
    F: Future<Output = R> + 'static,
{
    let owner = shard.router.partition_shard(partition);
    if owner == shard.id {
        return Ok(work(Rc::clone(shard)).await);
    }
    let _waiting = Wait::OtherShard.mark();
    shard.router.on(owner, work).await
}

/// What lies around the account of an IMAP session.
pub(crate) struct Nearby<'a> {
    pub(crate) shard: &'a Rc<Shard>,
    pub(crate) identity: &'a Identity,
}

impl Around for Nearby<'_> {
    fn random(&self, bytes: &mut [u8]) {
        self.shard.world.random(bytes);
    }

    fn charge(&self) -> Charge {
        Charge::new(Some(Arc::clone(&self.shard.content)))
    }

    fn is_own<'a>(&'a self, user: &'a str) -> Waiting<'a, Result<bool, account::Error>> {
        Box::pin(async move {
            is_own(self.shard, self.identity, user).await.map_err(|_| account::Error::Unavailable)
        })
    }

    fn fetch<'a>(&'a self, url: &'a Url) -> Waiting<'a, Result<Option<UrlBytes>, account::Error>> {
        Box::pin(async move {
            match bytes(self.shard, url, self.identity, UrlReader::Session, usize::MAX).await {
                Ok(found) => Ok(Some(found)),
                // RFC 4467 §8: what FETCH has NIL for is no bytes.
                Err(Nothing::NoPart) => Ok(Some(UrlBytes { bytes: Vec::new(), charge: Charge::default() })),
                Err(Nothing::Denied | Nothing::Missing | Nothing::TooLarge) => Ok(None),
                Err(Nothing::NoMemory | Nothing::Unavailable) => Err(account::Error::Unavailable),
                Err(Nothing::Account(error)) => Err(error),
            }
        })
    }
}

/// The bytes for a BURL. Their memory is the session's to cover from here on: it takes them at once.
pub(crate) async fn submitted(shard: &Rc<Shard>, request: &UrlRequest) -> Result<Vec<u8>, UrlFault> {
    let url = Url::parse(request.url.reveal()).map_err(|_| UrlFault::Malformed)?;
    let hostname = &shard.settings().hostname;
    let names = [Some(hostname), request.server_name.as_ref()];
    let is_ours = names.into_iter().flatten().any(|name| name.eq_ignore_ascii_case(&url.host));
    // A token says itself that it was made here, by whatever name of ours.
    if !is_ours && url.grant.is_none() {
        return Err(UrlFault::Foreign);
    }
    match bytes(shard, &url, &request.identity, UrlReader::Submission, request.bytes_max).await {
        Ok(found) => Ok(found.bytes),
        Err(Nothing::Denied) if !is_ours => Err(UrlFault::Foreign),
        Err(Nothing::Denied) => Err(UrlFault::Denied),
        Err(Nothing::Missing | Nothing::NoPart) => Err(UrlFault::Missing),
        Err(Nothing::TooLarge) => Err(UrlFault::TooLarge),
        Err(Nothing::NoMemory) => Err(UrlFault::NoMemory),
        Err(Nothing::Unavailable | Nothing::Account(_)) => Err(UrlFault::Unavailable),
    }
}
