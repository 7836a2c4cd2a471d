//! The form that several TXT records share: `v=VERSION; key=value; ..`.

use base::dns::{Answer, Record};

/// The fields behind the version, of the one record with this version. `None` when there is none, and
/// when there are several, for then none counts (RFC 8461 §3.1, RFC 8460 §3).
pub(crate) fn fields<'a>(answer: &'a Answer, version: &str) -> Option<Vec<(&'a str, &'a str)>> {
    let texts = answer.records.iter().filter_map(|record| match record {
        Record::Txt(text) => std::str::from_utf8(text).ok(),
        _ => None,
    });
    let mut found = texts.filter_map(|text| {
        let mut fields = text.split(';').map(|field| field.trim_matches([' ', '\t']));
        let (key, value) = fields.next()?.split_once('=')?;
        (key.trim_end() == "v" && value.trim_start() == version).then_some(fields)
    });
    let fields = found.next()?;
    if found.next().is_some() {
        return None;
    }
    Some(
        fields
            .filter_map(|field| field.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect(),
    )
}
