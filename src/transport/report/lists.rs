//! The lists of a report: each element is read as it comes, and there is a bound on how many there are. A report with
//! more cannot be read: strangers send them.

use std::fmt::{self, Formatter};
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{FailureDetails, PolicyResult};
use crate::limits::{READ_FAILURES_MAX, READ_POLICIES_MAX, READ_TEXTS_MAX};

pub(super) fn policies<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PolicyResult>, D::Error> {
    from.deserialize_seq(List { max: READ_POLICIES_MAX, kind: PhantomData })
}

pub(super) fn failures<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<FailureDetails>, D::Error> {
    from.deserialize_seq(List { max: READ_FAILURES_MAX, kind: PhantomData })
}

/// Some reporters write a single text where the list is meant, and RFC 8460's own example does so too.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(Texts)
}

struct List<T> {
    max: usize,
    kind: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {}", self.max)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = from.next_element()? {
            if list.len() >= self.max {
                return Err(A::Error::invalid_length(list.len() + 1, &self));
            }
            list.push(element);
        }
        Ok(list)
    }
}

struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a text, texts, or nothing")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<Vec<String>, A::Error> {
        List { max: READ_TEXTS_MAX, kind: PhantomData }.visit_seq(from)
    }
}

#[cfg(test)]
mod tests {
    use crate::limits::{READ_FAILURES_MAX, READ_POLICIES_MAX, READ_TEXTS_MAX};
    use crate::report::Report;

    fn is_read(texts: &str, failures: usize, policies: usize) -> bool {
        let failures = vec![r#"{"result-type":"x","failed-session-count":0}"#; failures].join(",");
        let policy = format!(
            r#"{{"policy":{{"policy-type":"sts","policy-domain":"d","policy-string":{texts}}},"failure-details":[{failures}],
            "summary":{{"total-successful-session-count":1,"total-failure-session-count":0}}}}"#
        );
        let policies = vec![policy; policies].join(",");
        let range = r#"{"start-datetime":"x","end-datetime":"y"}"#;
        let json = format!(r#"{{"date-range":{range},"report-id":"1","policies":[{policies}]}}"#);
        Report::parse(json.as_bytes()).is_some()
    }

    #[test]
    fn lists_have_bounds() {
        let texts = |count: usize| format!("[{}]", vec![r#""x""#; count].join(","));
        assert!(is_read(&texts(READ_TEXTS_MAX), 0, 1) && !is_read(&texts(READ_TEXTS_MAX + 1), 0, 1));
        assert!(is_read("null", READ_FAILURES_MAX, 1) && !is_read("null", READ_FAILURES_MAX + 1, 1));
        assert!(is_read(r#""x""#, 0, READ_POLICIES_MAX) && !is_read(r#""x""#, 0, READ_POLICIES_MAX + 1));
        assert!(!is_read("[0,0]", 0, 1) && !is_read("7", 0, 1) && !is_read("{}", 0, 1));
    }
}
