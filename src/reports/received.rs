//! Reports that others send by mail or post: read, whatever form they come in, and packed in one form to be kept.

use std::borrow::Cow;

use dsn::{FeedbackReport, Incoming, read_report, reduced};
use mailauth::limits::{REPORT_BYTES_MAX, REPORT_PARTS_MAX};
use mailauth::report::{Aggregate, UnpackError, aggregate_of_mail, pack, read, unpack, unpack_gzip, write};
use transport::report as tls;

use crate::limits::{POSTED_JSON_BYTES_MAX, POSTED_PACKED_BYTES_MAX};

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What somebody saw of a domain's mail (RFC 9990, RFC 7489).
    Dmarc,
    /// How connections to a domain were protected (RFC 8460).
    Tls,
    /// A complaint, or one message that failed authentication (RFC 5965, RFC 6591).
    Feedback,
}

/// A report.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// See [`Kind::Dmarc`].
    Dmarc(Aggregate),
    /// See [`Kind::Tls`].
    Tls(tls::Report),
    /// See [`Kind::Feedback`].
    Feedback(Box<FeedbackReport>),
}

/// A report in a message, and the bytes to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it says.
    pub report: Report,
    /// What [`unpack_report`] reads.
    pub content: Vec<u8>,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Dmarc, Self::Tls, Self::Feedback];

    /// Its name in commands, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dmarc => "dmarc",
            Self::Tls => "tls",
            Self::Feedback => "feedback",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Report {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Dmarc(_) => Kind::Dmarc,
            Self::Tls(_) => Kind::Tls,
            Self::Feedback(_) => Kind::Feedback,
        }
    }
}

/// The report in a message; `None` when there is none that can be read. Time and memory are bounded by what
/// [`mailauth::limits`] says of packed reports.
pub fn read_mail(message: &[u8]) -> Option<Found> {
    if let Some(report) = tls_of_mail(message) {
        let content = packed_tls(&report).ok()?;
        return Some(Found { report: Report::Tls(report), content });
    }
    if let Some(Incoming::Feedback(report)) = read_report(message) {
        return Some(Found { report: Report::Feedback(report), content: reduced(message)? });
    }
    let report = aggregate_of_mail(message)?;
    let text = write(&report);
    // What it would not be read back from is not kept.
    if text.len() > REPORT_BYTES_MAX {
        return None;
    }
    Some(Found { report: Report::Dmarc(report), content: pack(text.as_bytes()) })
}

/// What is kept of a TLS report. What it would not be read back from is not.
fn packed_tls(report: &tls::Report) -> Result<Vec<u8>, UnpackError> {
    let text = report.json();
    if text.len() > REPORT_BYTES_MAX { Err(UnpackError::TooLarge) } else { Ok(pack(text.as_bytes())) }
}

/// Reads a TLS report that was posted (RFC 8460 §5.4), packed or not. Anybody may post, so its bounds are closer than
/// those of [`read_mail`].
pub fn read_posted(content: &[u8], is_packed: bool) -> Result<Found, UnpackError> {
    let json: Cow<'_, [u8]> = match is_packed {
        true => unpack_gzip(content, POSTED_JSON_BYTES_MAX)?.into(),
        false if content.len() > POSTED_JSON_BYTES_MAX => return Err(UnpackError::TooLarge),
        false => content.into(),
    };
    let report = tls::Report::parse(&json).filter(|report| !report.policies.is_empty());
    let report = report.ok_or(UnpackError::Damaged)?;
    let content = packed_tls(&report)?;
    if content.len() > POSTED_PACKED_BYTES_MAX {
        return Err(UnpackError::TooLarge);
    }
    Ok(Found { report: Report::Tls(report), content })
}

/// Reads what was kept of a report.
pub fn unpack_report(kind: Kind, content: &[u8]) -> Option<Report> {
    match kind {
        Kind::Dmarc => Some(Report::Dmarc(read(&unpack(content).ok()?).ok()?)),
        Kind::Tls => tls::Report::parse(&unpack(content).ok()?).map(Report::Tls),
        Kind::Feedback => match read_report(content)? {
            Incoming::Feedback(report) => Some(Report::Feedback(report)),
            Incoming::Delivery(_) => None,
        },
    }
}

/// A TLS report is in a part of its own type (RFC 8460 §5.3), or in one that only its content or its name tells.
fn tls_of_mail(message: &[u8]) -> Option<tls::Report> {
    let tree = mime::scan(message);
    let parts = tree.parts().iter().filter(|part| !part.is_multipart() && !part.is_message());
    let candidates = parts.filter(|part| {
        let kind = &part.content_type;
        ["tlsrpt+gzip", "tlsrpt+json", "json", "gzip", "x-gzip", "octet-stream"]
            .into_iter()
            .any(|subtype| kind.is("application", subtype))
            && part.size() as usize <= mailauth::limits::REPORT_PACKED_BYTES_MAX
    });
    // Each may unpack to much.
    candidates.take(REPORT_PARTS_MAX).find_map(|part| {
        let packed = mime::decode_transfer(part.encoding, part.body_of(message));
        let json = unpack(&packed).ok()?;
        tls::Report::parse(&json).filter(|report| !report.policies.is_empty())
    })
}
