//! Reading aggregate reports, of RFC 9990 and of RFC 7489, whose elements differ little.

use super::aggregate::{Aggregate, Disposition, DkimSeen, Period, Published, Reason, Row, SpfSeen};
use super::xml::{Node, NotXml, read_children};
use crate::dmarc::Policy;
use crate::limits::{AGGREGATE_LIST_MAX, AGGREGATE_ROWS_MAX};

/// Why a report could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It is no report: not XML, or not this kind.
    NotAReport,
    /// It has more rows than are taken.
    TooManyRows,
    /// It lacks what every report has: who reports, its id, the domain.
    Incomplete,
}

/// Reads a report. Rows without an address or a count are left out: senders differ in their care.
pub fn read(text: &[u8]) -> Result<Aggregate, ReadError> {
    let text = String::from_utf8_lossy(text);
    let mut report = Aggregate::default();
    let mut has_too_many = false;
    let read = read_children(text.trim_start_matches('\u{feff}'), "feedback", |node| {
        match node.name.as_str() {
            "report_metadata" => metadata(&mut report, &node),
            "policy_published" => report.published = published(&node),
            "record" if report.rows.len() == AGGREGATE_ROWS_MAX => {
                has_too_many = true;
                return Err(NotXml);
            }
            "record" => report.rows.extend(row(&node)),
            _ => {}
        }
        Ok(())
    });
    if has_too_many {
        return Err(ReadError::TooManyRows);
    }
    read.map_err(|NotXml| ReadError::NotAReport)?;
    let is_complete =
        !report.reporter.is_empty() && !report.id.is_empty() && !report.published.domain.is_empty();
    if is_complete { Ok(report) } else { Err(ReadError::Incomplete) }
}

fn owned(node: &Node, name: &str) -> Option<String> {
    node.text_of(name).map(str::to_owned)
}

fn metadata(report: &mut Aggregate, node: &Node) {
    report.reporter = owned(node, "org_name").unwrap_or_default();
    report.email = owned(node, "email").unwrap_or_default();
    report.contact = owned(node, "extra_contact_info");
    report.id = owned(node, "report_id").unwrap_or_default();
    report.generator = owned(node, "generator");
    report.errors = node.all("error").take(AGGREGATE_LIST_MAX).map(|error| error.text.clone()).collect();
    if let Some(range) = node.child("date_range") {
        let moment = |name| range.text_of(name).and_then(|text| text.parse().ok()).unwrap_or_default();
        report.period = Period { begin_s: moment("begin"), end_s: moment("end") };
    }
}

fn published(node: &Node) -> Published {
    let policy = |name| node.text_of(name).and_then(Policy::parse);
    let is = |name, word: &str| node.text_of(name).is_some_and(|text| text.eq_ignore_ascii_case(word));
    Published {
        domain: owned(node, "domain").unwrap_or_default(),
        policy: policy("p"),
        subdomains: policy("sp"),
        missing: policy("np"),
        is_dkim_strict: is("adkim", "s"),
        is_spf_strict: is("aspf", "s"),
        is_test: is("testing", "y"),
        failure_options: owned(node, "fo"),
        discovery: owned(node, "discovery_method"),
    }
}

fn row(node: &Node) -> Option<Row> {
    let row = node.child("row")?;
    let evaluated = row.child("policy_evaluated").cloned().unwrap_or_default();
    let identifiers =
        node.child("identifiers").or_else(|| node.child("identities")).cloned().unwrap_or_default();
    let results = node.child("auth_results").cloned().unwrap_or_default();
    let passes = |name| evaluated.text_of(name).is_some_and(|text| text.eq_ignore_ascii_case("pass"));
    Some(Row {
        source_ip: row.text_of("source_ip")?.parse().ok()?,
        count: row.text_of("count")?.parse().ok()?,
        disposition: evaluated
            .text_of("disposition")
            .and_then(Disposition::parse)
            .unwrap_or(Disposition::None),
        has_aligned_dkim: passes("dkim"),
        has_aligned_spf: passes("spf"),
        reasons: evaluated
            .all("reason")
            .take(AGGREGATE_LIST_MAX)
            .filter_map(|reason| {
                Some(Reason { kind: owned(reason, "type")?, comment: owned(reason, "comment") })
            })
            .collect(),
        header_from: owned(&identifiers, "header_from").unwrap_or_default(),
        envelope_from: owned(&identifiers, "envelope_from"),
        envelope_to: owned(&identifiers, "envelope_to"),
        dkim: results.all("dkim").take(AGGREGATE_LIST_MAX).filter_map(dkim).collect(),
        spf: results.all("spf").take(AGGREGATE_LIST_MAX).filter_map(spf).collect(),
    })
}

fn dkim(node: &Node) -> Option<DkimSeen> {
    Some(DkimSeen {
        domain: owned(node, "domain")?,
        selector: owned(node, "selector"),
        result: owned(node, "result").unwrap_or_else(|| "none".to_owned()),
        human_result: owned(node, "human_result"),
    })
}

fn spf(node: &Node) -> Option<SpfSeen> {
    Some(SpfSeen {
        domain: owned(node, "domain")?,
        scope: owned(node, "scope"),
        result: owned(node, "result").unwrap_or_else(|| "none".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of RFC 7489's kind, with what senders add.
    const OLD: &str = "\u{feff}<?xml version=\"1.0\"?>\n<feedback><version>1.0</version><report_metadata>\
        <org_name>R &amp; Co</org_name><email>r@r.example</email><report_id>7</report_id>\
        <date_range><begin>1</begin><end>86400</end></date_range></report_metadata>\
        <policy_published><domain>d.example</domain><adkim>r</adkim><aspf>s</aspf><p>none</p><sp></sp><pct>100</pct>\
        </policy_published><record><row><source_ip>192.0.2.1</source_ip><count>2</count><policy_evaluated>\
        <disposition>none</disposition><dkim>fail</dkim><spf>pass</spf><reason><type>sampled_out</type>\
        <comment/></reason></policy_evaluated></row><identifiers><header_from>d.example</header_from></identifiers>\
        <auth_results><spf><domain>d.example</domain><result>pass</result></spf></auth_results></record>\
        <record><row><source_ip>nowhere</source_ip><count>2</count></row></record></feedback>";

    #[test]
    fn an_old_report_is_read() {
        let report = read(OLD.as_bytes()).unwrap();
        assert_eq!((report.reporter.as_str(), report.id.as_str()), ("R & Co", "7"));
        assert_eq!(report.period, Period { begin_s: 1, end_s: 86_400 });
        assert!(report.published.is_spf_strict && !report.published.is_dkim_strict);
        assert_eq!((report.published.policy, report.published.subdomains), (Some(Policy::None), None));
        let [row] = report.rows.as_slice() else { panic!("{:?}", report.rows) };
        assert_eq!((row.count, row.has_aligned_spf, row.has_aligned_dkim), (2, true, false));
        assert_eq!(row.reasons, [Reason { kind: "sampled_out".to_owned(), comment: None }]);
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert_eq!(read(b"<feedback></feedback>"), Err(ReadError::Incomplete));
        assert_eq!(read(b"<html></html>"), Err(ReadError::NotAReport));
        assert_eq!(read(b"\xff\x00"), Err(ReadError::NotAReport));
        let rows = "<record></record>".repeat(3);
        assert_eq!(read(format!("<feedback>{rows}").as_bytes()), Err(ReadError::NotAReport));
        let (head, tail) = OLD.split_once("<record>").unwrap();
        let (row, _) = tail.split_once("<record>").unwrap();
        let many = format!("{head}{}", format!("<record>{row}").repeat(AGGREGATE_ROWS_MAX + 1));
        assert_eq!(read(many.as_bytes()), Err(ReadError::TooManyRows));
    }
}
