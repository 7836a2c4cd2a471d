//! Postfix with PostSRSd: canonical maps that ask it are what `outbound.srs` does.

use super::Postfix;
use super::draft::{Draft, Origin, quoted};
use super::lines::words;

/// Files of PostSRSd 1 and 2.
const FILES: [&str; 2] = ["/etc/default/postsrsd", "/etc/postsrsd.conf"];
const SECRET: &str = "/etc/postsrsd.secret";

pub(super) fn translate(postfix: &Postfix, draft: &mut Draft) {
    let mut found = None;
    for parameter in ["sender_canonical_maps", "recipient_canonical_maps"] {
        let Some(value) = postfix.changed(parameter) else { continue };
        if !words(&value).iter().any(|item| is_srs(item)) {
            continue;
        }
        let origin = Origin { parameter, value: &value };
        if words(&value).iter().all(|item| is_srs(item)) {
            draft.settled(origin, "PostSRSd: outbound.srs does this, for what is sent on only");
        } else {
            draft.unmatched(
                origin,
                "what asks PostSRSd is done by outbound.srs; by the other tables addresses are not rewritten",
            );
        }
        found = found.or(Some((parameter, value.clone())));
    }
    let Some((parameter, value)) = found else { return };
    for classes in ["sender_canonical_classes", "recipient_canonical_classes"] {
        if let Some(value) = postfix.changed(classes) {
            draft.settled(
                Origin { parameter: classes, value: &value },
                "outbound.srs is about envelopes only",
            );
        }
    }
    let origin = Origin { parameter, value: &value };
    draft.set(origin, "outbound", "srs", "true");
    let text: String = FILES.iter().filter_map(|file| postfix.files.read(file).ok()).collect();
    if let Some(domain) = setting(&text, &["SRS_DOMAIN", "srs-domain"]) {
        let file = Origin { parameter: "SRS_DOMAIN (PostSRSd)", value: &domain };
        draft.set(file, "outbound", "srs_domain", &quoted(&domain));
    }
    let secret = setting(&text, &["SRS_SECRET", "secrets-file"]).unwrap_or_else(|| SECRET.to_owned());
    draft.suggest(origin, "outbound", &[format!("srs_secret_file = {}", quoted(&secret))]);
    draft.unmatched(origin, format!("bounces to addresses that PostSRSd made come for three weeks yet: let the server's user read {secret}, take the # from srs_secret_file below [outbound], and see that outbound.srs_domain is PostSRSd's"));
}

/// Whether it is PostSRSd that is asked: by its ports, or by the names of its socketmap.
fn is_srs(item: &str) -> bool {
    let has = |end: &str| item.ends_with(end);
    (item.starts_with("tcp:") && (has(":10001") || has(":10002")))
        || (item.starts_with("socketmap:") && (has(":forward") || has(":reverse") || item.contains("srs")))
}

/// `NAME=value` or `name = "value"`.
fn setting(text: &str, names: &[&str]) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        (names.contains(&name.trim()) && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postsrsd_is_known_by_what_is_asked() {
        assert!(is_srs("tcp:localhost:10001") && is_srs("tcp:127.0.0.1:10002"));
        assert!(is_srs("socketmap:unix:srs:forward") && is_srs("socketmap:inet:localhost:10003:reverse"));
        assert!(!is_srs("hash:/etc/postfix/canonical") && !is_srs("tcp:localhost:4711"));
        let text = "#SRS_DOMAIN=a.example\nSRS_DOMAIN=fwd.example.org\nsecrets-file = \"/etc/x\"\n";
        assert_eq!(setting(text, &["SRS_DOMAIN"]).as_deref(), Some("fwd.example.org"));
        assert_eq!(setting(text, &["SRS_SECRET", "secrets-file"]).as_deref(), Some("/etc/x"));
    }
}
