//! Sealing (RFC 8617 §5.1).

use base::Timestamp;

use super::verify::sets;
use super::{Arc, ArcResult};
use crate::canon::Form;
use crate::dkim::{SignError, finish_field, sign_field, signed_names};
use crate::key::PrivateKey;
use crate::limits::ARC_SETS_MAX;
use crate::message::{Message, split};
use crate::name;
use crate::tags::to_base64;

/// Whoever seals: one key, under one name.
#[derive(Clone, Copy, Debug)]
pub struct Sealer<'a> {
    /// `d=`.
    pub domain: &'a str,
    /// `s=`.
    pub selector: &'a str,
    /// The key.
    pub key: &'a PrivateKey,
}

/// Why there is no seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The domain or the selector is no name.
    BadName,
    /// The chain failed already, or cannot be read: nobody seals it any more (RFC 8617 §5.1.2).
    ChainFailed,
    /// The chain is as long as it may be.
    ChainTooLong,
    /// A key of the chain could not be fetched: whether it passes is not known.
    Unverified,
    /// The key did not sign, or the message has not exactly one From.
    SignFailed,
}

impl From<SignError> for SealError {
    fn from(_: SignError) -> Self {
        Self::SignFailed
    }
}

impl Sealer<'_> {
    /// The three fields to put in front of the message, which is as it will be sent. `arc` is what verifying
    /// it said when it came; `results` is the text of our own results, with our name first.
    pub async fn seal(
        &self,
        message: &Message<'_>,
        arc: &Arc,
        results: &str,
        now: Timestamp,
    ) -> Result<Vec<u8>, SealError> {
        if !name::is_host_like(self.domain) || !name::is_host_like(self.selector) {
            return Err(SealError::BadName);
        }
        if message.named("from").count() != 1 {
            return Err(SealError::SignFailed);
        }
        let earlier = match arc.result {
            ArcResult::TempError => return Err(SealError::Unverified),
            ArcResult::Fail => return Err(SealError::ChainFailed),
            ArcResult::None | ArcResult::Pass => sets(message).map_err(|_| SealError::ChainFailed)?,
        };
        let instance = earlier.len() as u32 + 1;
        if instance > ARC_SETS_MAX {
            return Err(SealError::ChainTooLong);
        }
        let now_s = now.as_s();
        let algorithm = self.key.algorithm().word();
        let (domain, selector) = (self.domain, self.selector);
        let results = format!("ARC-Authentication-Results: i={instance}; {}\r\n", results.trim());
        let (hash, _) = Form::Relaxed.body_hash(message.body, None).await;
        let head = format!(
            "i={instance}; a={algorithm}; c=relaxed/relaxed;\r\n d={domain}; s={selector}; t={now_s};\r\n bh={};",
            to_base64(&hash)
        );
        let mut names = signed_names(message);
        names.extend(std::iter::repeat_n("dkim-signature", message.named("dkim-signature").count()));
        let signature = sign_field("ARC-Message-Signature", &head, &names, (message, self.key))?;
        let chain = if instance == 1 { "none" } else { "pass" };
        let text = format!(
            "ARC-Seal: i={instance}; a={algorithm}; cv={chain};\r\n d={domain}; s={selector}; t={now_s};\r\n b="
        );
        let mut data = Vec::new();
        for set in &earlier {
            for field in [&set.results, &set.signature, &set.seal] {
                Form::Relaxed.header(field, &mut data);
            }
        }
        for field in split(results.as_bytes()).0.iter().chain(&split(&signature).0) {
            Form::Relaxed.header(field, &mut data);
        }
        let mut fields = finish_field(text, data, self.key)?;
        fields.extend_from_slice(&signature);
        fields.extend_from_slice(results.as_bytes());
        Ok(fields)
    }
}
