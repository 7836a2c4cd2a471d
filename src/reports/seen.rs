//! What was seen of the mail of From domains that want to know (RFC 9990 §3): rows by day and domain, bounded.

use std::collections::{BTreeMap, HashMap};

use mailauth::dmarc::ReportAddress;
use mailauth::report::{Aggregate, Published, Row, pack, read, unpack, write};
use queue::{Reader, Writer};
use transport::report::Day;

use crate::limits::{
    COUNT_BYTES_MAX, DOMAIN_BYTES_MAX, MERGED_BYTES_MAX, MERGED_ROWS_MAX, PIECE_BYTES, ROW_BYTES,
    ROW_SIGNATURES_MAX, TEXT_BYTES_MAX,
};

const VERSION: u8 = 1;

/// What was seen of one domain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Its policy, as it was found last.
    pub published: Published,
    /// Where it wants its reports.
    pub to: Vec<ReportAddress>,
    /// Messages that are alike, by a row with a count of 0.
    rows: HashMap<Row, u64>,
    /// The memory of what was merged.
    bytes: usize,
    /// Messages for whose rows there was no room.
    pub left_out: u64,
}

/// What one shard has counted.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    domains: BTreeMap<(Day, String), Seen>,
    bytes: usize,
}

impl Seen {
    /// Of a domain with this policy.
    pub fn of(published: Published, to: Vec<ReportAddress>) -> Self {
        Self { published, to, ..Self::default() }
    }

    /// Adds a row as often as its count says, or notes that there was no room. Returns the memory that was taken.
    fn add(&mut self, mut row: Row, room: usize) -> usize {
        let count = std::mem::take(&mut row.count);
        if let Some(known) = self.rows.get_mut(&row) {
            *known = known.saturating_add(count);
            return 0;
        }
        let bytes = bytes_of(&row);
        if bytes > room || self.rows.len() >= MERGED_ROWS_MAX {
            self.left_out = self.left_out.saturating_add(count);
            return 0;
        }
        self.rows.insert(row, count);
        bytes
    }

    /// Adds what another shard, or another hour, has seen of the same domain.
    pub fn merge(&mut self, other: Self) {
        if self.rows.is_empty() && self.to.is_empty() {
            (self.published, self.to) = (other.published, other.to);
        }
        self.left_out = self.left_out.saturating_add(other.left_out);
        for (row, count) in other.rows {
            let room = MERGED_BYTES_MAX.saturating_sub(self.bytes);
            self.bytes += self.add(Row { count, ..row }, room);
        }
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.left_out == 0
    }

    /// The rows with their counts, those of most messages first.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> =
            self.rows.iter().map(|(row, count)| Row { count: *count, ..row.clone() }).collect();
        rows.sort_by(|one, other| {
            other.count.cmp(&one.count).then_with(|| one.source_ip.cmp(&other.source_ip))
        });
        rows
    }

    /// Records that together say the same, each small enough for a value of the store.
    fn pieces(&self, domain: &str) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let (mut rows, mut bytes, mut left_out) = (Vec::new(), 0, self.left_out);
        for row in self.rows() {
            bytes += bytes_of(&row);
            rows.push(row);
            if bytes >= PIECE_BYTES {
                pieces.push(self.piece(domain, std::mem::take(&mut rows), std::mem::take(&mut left_out)));
                bytes = 0;
            }
        }
        if !rows.is_empty() || left_out > 0 {
            pieces.push(self.piece(domain, rows, left_out));
        }
        pieces
    }

    fn piece(&self, domain: &str, rows: Vec<Row>, left_out: u64) -> Vec<u8> {
        let report = Aggregate {
            reporter: "counts".to_owned(),
            id: "counts".to_owned(),
            published: self.published.clone(),
            rows,
            ..Aggregate::default()
        };
        let mut out = Writer::new(VERSION);
        out.text(domain).u64(left_out).u32(self.to.len() as u32);
        for to in &self.to {
            out.text(&to.address).u64(to.bytes_max.unwrap_or(u64::MAX));
        }
        out.bytes(&pack(write(&report).as_bytes()));
        out.finish()
    }

    /// What a piece says, with its domain; `None` when it cannot be read.
    pub(crate) fn of_piece(piece: &[u8]) -> Option<(String, Self)> {
        let mut from = Reader::new(piece, VERSION)?;
        let (domain, left_out) = (from.text()?, from.u64()?);
        let mut to = Vec::new();
        for _ in 0..from.count(ADDRESS_BYTES_MIN)? {
            let (address, bytes_max) = (from.text()?, from.u64()?);
            to.push(ReportAddress { address, bytes_max: Some(bytes_max).filter(|max| *max != u64::MAX) });
        }
        let report = read(&unpack(from.bytes()?).ok()?).ok()?;
        let mut seen = Self { left_out, ..Self::of(report.published, to) };
        for row in report.rows {
            seen.add(row, usize::MAX);
        }
        Some((domain, seen))
    }
}

/// An empty address and its limit.
const ADDRESS_BYTES_MIN: usize = 12;

impl Counts {
    /// Counts a message of a domain. Beyond the bound only its number is noted; returns whether it has its row.
    pub fn note(&mut self, day: Day, published: Published, to: &[ReportAddress], mut row: Row) -> bool {
        if published.domain.len() > DOMAIN_BYTES_MAX {
            return false;
        }
        trim(&mut row);
        let key = (day, published.domain.clone());
        let room = COUNT_BYTES_MAX.saturating_sub(self.bytes);
        if !self.domains.contains_key(&key) {
            let bytes = ROW_BYTES + key.1.len() + to.iter().map(|to| to.address.len() + 32).sum::<usize>();
            if bytes > room {
                return false;
            }
            self.bytes += bytes;
        }
        let room = COUNT_BYTES_MAX.saturating_sub(self.bytes);
        let seen = self.domains.entry(key).or_default();
        seen.published = published;
        if seen.to != to {
            seen.to = to.to_vec();
        }
        let left_out = seen.left_out;
        self.bytes += seen.add(row, room);
        seen.left_out == left_out
    }

    /// Adds counts that could not be written.
    pub fn restore(&mut self, other: &Self) {
        for ((day, _), seen) in &other.domains {
            for row in seen.rows() {
                self.note(*day, seen.published.clone(), &seen.to, row);
            }
            if let Some(own) = self.domains.get_mut(&(*day, seen.published.domain.clone())) {
                own.left_out = own.left_out.saturating_add(seen.left_out);
            }
        }
    }

    /// Whether half of the memory is used: it is time to write.
    pub fn is_filling(&self) -> bool {
        self.bytes >= COUNT_BYTES_MAX / 2
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The days and domains with their pieces.
    pub fn pieces(&self) -> Vec<(Day, String, Vec<u8>)> {
        let each = self.domains.iter();
        let pieces = each.flat_map(|((day, domain), seen)| {
            seen.pieces(domain).into_iter().map(|piece| (*day, domain.clone(), piece))
        });
        pieces.collect()
    }
}

/// Strangers chose the texts of a row: each has a bound.
fn trim(row: &mut Row) {
    row.dkim.truncate(ROW_SIGNATURES_MAX);
    for dkim in &mut row.dkim {
        cut(&mut dkim.domain);
        dkim.selector.iter_mut().for_each(cut);
    }
    row.spf.iter_mut().for_each(|spf| cut(&mut spf.domain));
    cut(&mut row.header_from);
    row.envelope_from.iter_mut().for_each(cut);
}

/// At most [`TEXT_BYTES_MAX`] of a text.
pub(crate) fn cut(text: &mut String) {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

fn bytes_of(row: &Row) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let dkim = row.dkim.iter().map(|dkim| {
        dkim.domain.len() + length(&dkim.selector) + dkim.result.len() + length(&dkim.human_result) + 96
    });
    let spf = row.spf.iter().map(|spf| spf.domain.len() + 96);
    let reasons = row.reasons.iter().map(|reason| reason.kind.len() + length(&reason.comment) + 48);
    let texts = row.header_from.len() + length(&row.envelope_from) + length(&row.envelope_to);
    ROW_BYTES + texts + dkim.chain(spf).chain(reasons).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use base::Timestamp;
    use mailauth::dmarc::Policy;
    use mailauth::report::{Disposition, DkimSeen, SpfSeen};

    use super::*;

    fn published() -> Published {
        Published { domain: "d.example".to_owned(), policy: Some(Policy::Reject), ..Published::default() }
    }

    fn to() -> Vec<ReportAddress> {
        vec![ReportAddress { address: "r@d.example".to_owned(), bytes_max: Some(1 << 20) }]
    }

    fn row(number: u32) -> Row {
        Row {
            source_ip: std::net::Ipv4Addr::from(number).into(),
            count: 1,
            disposition: Disposition::Reject,
            has_aligned_dkim: false,
            has_aligned_spf: false,
            reasons: Vec::new(),
            header_from: "d.example".to_owned(),
            envelope_from: Some("e.example".to_owned()),
            envelope_to: None,
            dkim: vec![DkimSeen {
                domain: "d.example".to_owned(),
                selector: Some("s".to_owned()),
                result: "fail".to_owned(),
                human_result: None,
            }],
            spf: vec![SpfSeen {
                domain: "e.example".to_owned(),
                scope: Some("mfrom".to_owned()),
                result: "fail".to_owned(),
            }],
        }
    }

    #[test]
    fn what_was_seen_comes_back_out_of_its_pieces() {
        let (mut counts, day) = (Counts::default(), Day::of(Timestamp::from_s(0)));
        for number in 0..2000 {
            for _ in 0..=number % 2 {
                assert!(counts.note(day, published(), &to(), row(number)));
            }
        }
        let pieces = counts.pieces();
        assert!(pieces.len() > 2, "{}", pieces.len());
        let mut merged = Seen::default();
        for (_, domain, piece) in &pieces {
            assert!(piece.len() < PIECE_BYTES && domain == "d.example");
            let (named, seen) = Seen::of_piece(piece).expect("it was written here");
            assert_eq!(&named, domain);
            merged.merge(seen);
        }
        let rows = merged.rows();
        assert_eq!((rows.len(), rows.iter().map(|row| row.count).sum::<u64>()), (2000, 3000));
        assert_eq!((merged.to, merged.published), (to(), published()));
        assert_eq!(rows.first(), Some(&Row { count: 2, ..row(1) }));
        for end in 0..pieces[0].2.len() {
            assert_eq!(Seen::of_piece(&pieces[0].2[..end]), None, "{end}");
        }
    }

    #[test]
    fn memory_has_a_bound_and_what_has_no_room_is_said() {
        let (mut counts, day) = (Counts::default(), Day::of(Timestamp::from_s(0)));
        let mut without = 0;
        for number in 0..40_000 {
            let mut row = row(number);
            row.dkim[0].selector = Some("x".repeat(5000));
            without += u64::from(!counts.note(day, published(), &to(), row));
        }
        assert!(counts.is_filling() && counts.bytes <= COUNT_BYTES_MAX, "{}", counts.bytes);
        let seen = &counts.domains[&(day, "d.example".to_owned())];
        assert_eq!((seen.left_out, seen.rows.len() as u64), (without, 40_000 - without));
        assert!(seen.rows.keys().all(|row| row.dkim[0].selector.as_ref().unwrap().len() == TEXT_BYTES_MAX));
        let mut again = Counts::default();
        again.restore(&counts);
        assert_eq!(again.bytes, counts.bytes);
    }
}
