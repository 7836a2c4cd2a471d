//! Writing aggregate reports as RFC 9990 has them.

use super::aggregate::{Aggregate, Published, Row, SpfSeen};
use super::xml::escape;
use crate::dmarc::Policy;
use crate::text::put;

/// The report as XML.
pub fn write(report: &Aggregate) -> String {
    let mut xml = Writer(String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"));
    xml.0.push_str("<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n");
    xml.text("version", "1.0");
    xml.group("report_metadata", |xml| {
        xml.text("org_name", &report.reporter);
        xml.text("email", &report.email);
        xml.maybe("extra_contact_info", report.contact.as_deref());
        xml.text("report_id", &report.id);
        xml.group("date_range", |xml| {
            xml.text("begin", &report.period.begin_s.to_string());
            xml.text("end", &report.period.end_s.to_string());
        });
        // One at most.
        if !report.errors.is_empty() {
            xml.text("error", &report.errors.join("; "));
        }
        xml.maybe("generator", report.generator.as_deref());
    });
    xml.group("policy_published", |xml| published(xml, &report.published));
    for seen in &report.rows {
        xml.group("record", |xml| row(xml, seen));
    }
    xml.0.push_str("</feedback>\n");
    xml.0
}

fn published(xml: &mut Writer, published: &Published) {
    let strictness = |is_strict| if is_strict { "s" } else { "r" };
    xml.text("domain", &published.domain);
    xml.maybe("discovery_method", published.discovery.as_deref());
    xml.text("p", published.policy.unwrap_or(Policy::None).word());
    xml.maybe("sp", published.subdomains.map(Policy::word));
    xml.maybe("np", published.missing.map(Policy::word));
    xml.text("adkim", strictness(published.is_dkim_strict));
    xml.text("aspf", strictness(published.is_spf_strict));
    xml.maybe("fo", published.failure_options.as_deref());
    xml.text("testing", if published.is_test { "y" } else { "n" });
}

fn row(xml: &mut Writer, row: &Row) {
    let result = |passes| if passes { "pass" } else { "fail" };
    xml.group("row", |xml| {
        xml.text("source_ip", &row.source_ip.to_string());
        xml.text("count", &row.count.to_string());
        xml.group("policy_evaluated", |xml| {
            xml.text("disposition", row.disposition.word());
            xml.text("dkim", result(row.has_aligned_dkim));
            xml.text("spf", result(row.has_aligned_spf));
            for reason in &row.reasons {
                xml.group("reason", |xml| {
                    xml.text("type", &reason.kind);
                    xml.maybe("comment", reason.comment.as_deref());
                });
            }
        });
    });
    xml.group("identifiers", |xml| {
        xml.text("header_from", &row.header_from);
        xml.maybe("envelope_from", row.envelope_from.as_deref());
        xml.maybe("envelope_to", row.envelope_to.as_deref());
    });
    xml.group("auth_results", |xml| {
        for dkim in &row.dkim {
            xml.group("dkim", |xml| {
                xml.text("domain", &dkim.domain);
                xml.text("selector", dkim.selector.as_deref().unwrap_or_default());
                xml.text("result", &dkim.result);
                xml.maybe("human_result", dkim.human_result.as_deref());
            });
        }
        // One at most, of the envelope's sender; RFC 7489 also had the other.
        let is_of_sender = |spf: &&SpfSeen| spf.scope.as_deref() != Some("helo");
        if let Some(spf) = row.spf.iter().find(is_of_sender) {
            xml.group("spf", |xml| {
                xml.text("domain", &spf.domain);
                xml.maybe("scope", spf.scope.as_deref());
                xml.text("result", &spf.result);
            });
        }
    });
}

struct Writer(String);

impl Writer {
    fn text(&mut self, name: &str, text: &str) {
        put(&mut self.0, format_args!("<{name}>"));
        escape(text, &mut self.0);
        put(&mut self.0, format_args!("</{name}>\n"));
    }

    fn maybe(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn group(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        put(&mut self.0, format_args!("<{name}>\n"));
        content(self);
        put(&mut self.0, format_args!("</{name}>\n"));
    }
}
