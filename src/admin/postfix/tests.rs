//! Whole installations: what is written of them, and that our own reader takes it. `UPDATE=1` writes the expected files
//! anew, for review.

use std::path::PathBuf;

use super::*;
use crate::Config;

const CASES: [&str; 4] = ["satellite", "relay", "provider", "torture"];

fn root(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("postfix/data").join(case)
}

fn postfix(case: &str) -> Postfix {
    Postfix::read(&root(case).join("etc/postfix"), &root(case)).unwrap()
}

/// Where the tree lies is nobody's business.
fn portable(text: &str, case: &str) -> String {
    text.replace(&root(case).display().to_string(), "")
}

fn compare(case: &str, file: &str, text: &str) {
    let path = root(case).join(file);
    let text = portable(text, case);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}; UPDATE=1 writes it anew", path.display());
}

#[test]
fn each_is_translated_as_expected_and_accepted() {
    for case in CASES {
        let draft = translated(&postfix(case));
        let folder = Path::new("/etc/postfix");
        let config = draft.config(folder, false).unwrap();
        Config::parse(Path::new("angarium.toml"), &config).unwrap();
        compare(case, "expected.toml", &config);
        compare(case, "expected.sh", &draft.script(folder, Path::new("/etc/angarium/angarium.toml")));
        assert_eq!(config, translated(&postfix(case)).config(folder, false).unwrap(), "{case} twice");
    }
}
