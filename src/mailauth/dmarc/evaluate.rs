//! Applying a policy (RFC 9989 §5.3).

use super::discover::{NoAnswer, Step, organisation, walk};
use super::record::{Policy, Record};
use super::{Dmarc, DmarcResult, Found};
use crate::Lookup;
use crate::dkim::DkimResult;
use crate::limits::DMARC_AUTHORS_MAX;
use crate::lookup::Questions;
use crate::message::Message;
use crate::name;
use crate::spf::SpfResult;

/// What SPF and DKIM found, each with its domain in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// SPF's result for the envelope's sender.
    pub spf: Option<(SpfResult, String)>,
    /// DKIM's results.
    pub dkim: Vec<(DkimResult, String)>,
}

/// The domains of the authors, each once, the first [`DMARC_AUTHORS_MAX`]. A message should have one From with one
/// address; where there are more, all are looked at, so that a second one hides nothing.
pub fn authors(message: &Message<'_>) -> Vec<String> {
    let mut domains: Vec<String> = Vec::new();
    for field in message.named("from") {
        for address in mime::addresses(field.value) {
            let host = address.host.as_deref().filter(|_| address.mailbox.is_some());
            let Some(domain) = host.and_then(name::normal_bytes) else { continue };
            if domains.len() < DMARC_AUTHORS_MAX && !domains.contains(&domain) {
                domains.push(domain);
            }
        }
    }
    domains
}

/// Evaluates all author domains of a message; the worst counts, and none at all is an error.
///
/// Deviates from RFC 9989 §5.3.1: it leaves messages with several author domains aside. RFC 7489 §6.6.1 wants the
/// strictest policy, which leaves no way around one.
pub async fn evaluate_all<L: Lookup>(lookup: &L, authors: &[String], evidence: &Evidence) -> Dmarc {
    let mut worst: Option<Dmarc> = None;
    for author in authors {
        let dmarc = evaluate(lookup, author, evidence).await;
        let rank = |dmarc: &Dmarc| {
            (dmarc.disposition(), dmarc.result == DmarcResult::Fail, dmarc.result != DmarcResult::Pass)
        };
        if worst.as_ref().is_none_or(|worst| rank(worst) < rank(&dmarc)) {
            worst = Some(dmarc);
        }
    }
    worst.unwrap_or_else(|| plain(DmarcResult::PermError, ""))
}

/// Evaluates one author domain (as [`name::normal`] gives it).
pub async fn evaluate<L: Lookup>(lookup: &L, author: &str, evidence: &Evidence) -> Dmarc {
    match try_evaluate(lookup, author, evidence).await {
        Ok(dmarc) => dmarc,
        Err(NoAnswer) => plain(DmarcResult::TempError, author),
    }
}

fn plain(result: DmarcResult, author: &str) -> Dmarc {
    Dmarc {
        result,
        author: author.to_owned(),
        organisation: author.to_owned(),
        policy_domain: None,
        policy: Policy::None,
        record: None,
        has_aligned_spf: false,
        has_aligned_dkim: false,
    }
}

async fn try_evaluate<L: Lookup>(lookup: &L, author: &str, evidence: &Evidence) -> Result<Dmarc, NoAnswer> {
    let steps = walk(lookup, author).await?;
    let mut dmarc = plain(DmarcResult::None, author);
    dmarc.organisation = organisation(&steps, author);
    let Some((step, found)) = select(&steps, author, &dmarc.organisation) else { return Ok(dmarc) };
    let Ok(record) = &step.record else {
        dmarc.result = DmarcResult::PermError;
        dmarc.policy_domain = Some((step.domain.clone(), found));
        return Ok(dmarc);
    };
    let Some(policy) = policy(lookup, author, record, found).await? else { return Ok(dmarc) };
    dmarc.policy = if record.is_test { policy.milder() } else { policy };
    dmarc.policy_domain = Some((step.domain.clone(), found));
    let mut alignment =
        Alignment { lookup, author, organisation: dmarc.organisation.clone(), known: Vec::new() };
    let mut is_unsure = false;
    if let Some((result, domain)) = &evidence.spf
        && matches!(result, SpfResult::Pass | SpfResult::TempError)
    {
        match alignment.holds(domain, record.is_spf_strict).await {
            Ok(is_aligned) => {
                dmarc.has_aligned_spf = is_aligned && *result == SpfResult::Pass;
                is_unsure |= is_aligned && *result == SpfResult::TempError;
            }
            Err(NoAnswer) => is_unsure = true,
        }
    }
    for (result, domain) in &evidence.dkim {
        if dmarc.has_aligned_dkim || !matches!(result, DkimResult::Pass | DkimResult::TempError) {
            continue;
        }
        match alignment.holds(domain, record.is_dkim_strict).await {
            Ok(is_aligned) => {
                dmarc.has_aligned_dkim = is_aligned && *result == DkimResult::Pass;
                is_unsure |= is_aligned && *result == DkimResult::TempError;
            }
            Err(NoAnswer) => is_unsure = true,
        }
    }
    dmarc.record = Some(record.clone());
    dmarc.result = if dmarc.has_aligned_spf || dmarc.has_aligned_dkim {
        DmarcResult::Pass
    } else if is_unsure {
        DmarcResult::TempError
    } else {
        DmarcResult::Fail
    };
    Ok(dmarc)
}

/// The record to apply: the author's, else the organisation's, else the suffix's (RFC 9989 §4.10.1).
fn select<'a>(steps: &'a [Step], author: &str, organisation: &str) -> Option<(&'a Step, Found)> {
    let at = |domain: &str| steps.iter().find(|step| step.domain == domain);
    if let Some(step) = at(author) {
        return Some((step, Found::Author));
    }
    if let Some(step) = at(organisation) {
        return Some((step, Found::Organisation));
    }
    steps.last().map(|step| (step, Found::PublicSuffix))
}

/// What the record asks for. Nothing when it does not say and wants no reports either (RFC 9989 §4.10.1).
async fn policy<L: Lookup>(
    lookup: &L,
    author: &str,
    record: &Record,
    found: Found,
) -> Result<Option<Policy>, NoAnswer> {
    let Some(policy) = record.policy.filter(|_| !record.has_bad_policy) else {
        return Ok((!record.aggregate_to.is_empty()).then_some(Policy::None));
    };
    if found == Found::Author {
        return Ok(Some(policy));
    }
    let subdomains = record.subdomains.unwrap_or(policy);
    let missing = record.missing.unwrap_or(subdomains);
    if missing == subdomains || lookup.exists(author).await.map_err(|_| NoAnswer)? {
        return Ok(Some(subdomains));
    }
    Ok(Some(missing))
}

/// Compares domains with the author's, and remembers what walks found.
struct Alignment<'a, L> {
    lookup: &'a L,
    author: &'a str,
    organisation: String,
    known: Vec<(String, String)>,
}

impl<L: Lookup> Alignment<'_, L> {
    /// RFC 9989 §4.4: the same domain, or when relaxed the same organisational domain.
    async fn holds(&mut self, domain: &str, is_strict: bool) -> Result<bool, NoAnswer> {
        if domain == self.author {
            return Ok(true);
        }
        if is_strict || !name::is_within(domain, &self.organisation) {
            return Ok(false);
        }
        if let Some((_, organisation)) = self.known.iter().find(|(known, _)| known == domain) {
            return Ok(*organisation == self.organisation);
        }
        let found = organisation(&walk(self.lookup, domain).await?, domain);
        let is_same = found == self.organisation;
        self.known.push((domain.to_owned(), found));
        Ok(is_same)
    }
}
