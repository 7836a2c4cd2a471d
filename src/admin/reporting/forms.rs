//! Reports as JSON.

use dsn::FeedbackReport;
use mailauth::report::{Aggregate, Row};
use reports::{Digest, Listed, Origin, Report, Summary};
use serde_json::{Value, json};
use transport::report::Report as TlsReport;

/// A report in a list.
pub(super) fn listed_json(listed: &Listed) -> Value {
    let Listed { id, summary } = listed;
    let proven = if let Origin::Proven(domain) = &summary.origin { Some(domain) } else { None };
    json!({
        "id": id,
        "kind": summary.kind.name(),
        "domain": summary.domain,
        "reporter": summary.reporter,
        "begin_s": summary.begin.as_s(),
        "end_s": summary.end.as_s(),
        "total": summary.total,
        "failed": summary.failed,
        "authenticated": summary.is_authenticated(),
        "proven": proven,
        "by": if summary.origin == Origin::Posted { "https" } else { "mail" },
        "received_s": summary.received.as_s(),
        "report_id": summary.report_id,
    })
}

/// All that a report says.
pub(super) fn report_json(id: u64, summary: &Summary, report: &Report) -> Value {
    let listed = Listed { id, summary: summary.clone() };
    let mut json = listed_json(&listed);
    json["sender"] = json!(summary.sender);
    match report {
        Report::Dmarc(report) => dmarc(&mut json, report),
        Report::Tls(report) => tls(&mut json, report),
        Report::Feedback(report) => feedback(&mut json, summary, report),
    }
    json
}

fn dmarc(json: &mut Value, report: &Aggregate) {
    let published = &report.published;
    let word = |policy: Option<mailauth::dmarc::Policy>| policy.map(mailauth::dmarc::Policy::word);
    json["email"] = json!(report.email);
    json["errors"] = json!(report.errors);
    json["policy"] = json!(word(published.policy));
    json["subdomain_policy"] = json!(word(published.subdomains));
    json["testing"] = json!(published.is_test);
    json["rows"] = report.rows.iter().map(row).collect();
}

fn row(row: &Row) -> Value {
    let reasons: Vec<&str> = row.reasons.iter().map(|reason| reason.kind.as_str()).collect();
    let dkim: Vec<String> = row.dkim.iter().map(|dkim| format!("{}={}", dkim.domain, dkim.result)).collect();
    let spf: Vec<String> = row.spf.iter().map(|spf| format!("{}={}", spf.domain, spf.result)).collect();
    json!({
        "source": row.source_ip.to_string(),
        "count": row.count,
        "disposition": row.disposition.word(),
        "aligned_dkim": row.has_aligned_dkim,
        "aligned_spf": row.has_aligned_spf,
        "header_from": row.header_from,
        "envelope_from": row.envelope_from,
        "dkim": dkim,
        "spf": spf,
        "reasons": reasons,
    })
}

fn tls(json: &mut Value, report: &TlsReport) {
    json["contact"] = json!(report.contact_info);
    let policies = report.policies.iter().map(|policy| {
        json!({
            "policy": policy.policy.policy_type,
            "domain": policy.policy.policy_domain,
            "hosts": policy.policy.mx_host,
            "sessions_ok": policy.summary.total_successful_session_count,
            "sessions_failed": policy.summary.total_failure_session_count,
        })
    });
    json["policies"] = policies.collect();
    let all = report.policies.iter().flat_map(|policy| &policy.failure_details);
    let failures = all.map(|details| {
        json!({
            "reason": details.result_type.word(),
            "sessions": details.failed_session_count,
            "host": details.receiving_mx_hostname,
            "address": details.receiving_ip,
            "from_address": details.sending_mta_ip,
        })
    });
    json["failures"] = failures.collect();
}

fn feedback(json: &mut Value, summary: &Summary, report: &FeedbackReport) {
    json["feedback"] = json!(report.kind.as_str());
    json["user_agent"] = json!(report.user_agent);
    json["source"] = json!(report.source_ip);
    json["original_sender"] = json!(report.sender);
    json["original_recipients"] = json!(report.recipients);
    json["original_message_id"] = json!(report.returned.message_id);
    json["original_from"] = json!(report.returned.from);
    json["auth_failure"] = json!(report.auth_failure);
    json["delivery_result"] = json!(report.delivery_result);
    json["message"] = json!(summary.about.as_ref().map(|about| format!("{:016x}", about.id)));
    json["account"] = json!(summary.about.as_ref().and_then(|about| about.account.clone()));
}

/// Many reports added up.
pub(super) fn digest_json(domain: &str, digest: &Digest) -> Value {
    let mut sources: Vec<_> = digest.sources.iter().collect();
    sources.sort_by_key(|(_, source)| std::cmp::Reverse(source.count));
    let sources = sources.into_iter().map(|(address, source)| {
        json!({
            "source": address.to_string(),
            "count": source.count,
            "aligned_dkim": source.dkim,
            "aligned_spf": source.spf,
            "failed": source.failed,
            "quarantined": source.quarantined,
            "rejected": source.rejected,
        })
    });
    let failures =
        digest.failures.iter().map(|(reason, count)| json!({ "reason": reason, "sessions": count }));
    let feedback = digest.feedback.iter().map(|(kind, count)| json!({ "kind": kind, "count": count }));
    json!({
        "domain": domain,
        "reports": digest.reports,
        "reporters": digest.reporters,
        "sources": sources.collect::<Vec<_>>(),
        "left_out": digest.left_out,
        "sessions_ok": digest.sessions_good,
        "sessions_failed": digest.sessions_failed,
        "failures": failures.collect::<Vec<_>>(),
        "feedback": feedback.collect::<Vec<_>>(),
    })
}
