//! Documents that must follow the code: a setting, a dependency, a command or an event that is added
//! and not described fails here, and so does a description of something that is gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found
}

/// The first cells of a page's tables, without their backticks.
fn first_cells(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| row.split('|').next())
        .map(|cell| cell.trim().trim_matches('`').to_owned())
        .collect()
}

fn report(what: &str, missing: &BTreeSet<String>) {
    assert!(missing.is_empty(), "\n{what}: {missing:?}\n");
}

/// The fields that serde reads in `config.rs` and below it, without those it skips.
fn settings() -> BTreeSet<String> {
    let mut text = read("src/admin/config.rs");
    for path in files("src/admin/config", ".rs") {
        text += &fs::read_to_string(&path).expect("listed a moment ago");
    }
    let mut settings = BTreeSet::new();
    let (mut is_read, mut is_skipped) = (false, false);
    for line in text.lines() {
        if line.contains("Deserialize") && line.contains("derive") {
            is_read = true;
        } else if line.starts_with('}') {
            is_read = false;
        } else if line.contains("#[serde(skip)]") {
            is_skipped = true;
        } else if let Some((name, _)) = line.strip_prefix("    pub ").and_then(|field| field.split_once(": "))
            && is_read
            && !std::mem::take(&mut is_skipped)
        {
            settings.insert(name.to_owned());
        }
    }
    settings
}

#[test]
fn every_setting_is_described_and_none_that_is_gone() {
    let page = read("docs/operate/configure.md");
    let settings = settings();
    assert!(settings.contains("hostname") && settings.contains("segment_bytes"), "{settings:?}");
    let is_described =
        |name: &&String| page.contains(&format!("`{name}`")) || page.contains(&format!("`[{name}]`"));
    let missing = settings.iter().filter(|name| !is_described(name)).cloned().collect();
    report("docs/operate/configure.md has no row for these settings of src/admin/config.rs", &missing);
    let described = first_cells(&page).into_iter().filter(|cell| cell != "setting" && !cell.starts_with('-'));
    let gone = described.filter(|name| !settings.contains(name)).collect();
    report("docs/operate/configure.md describes settings that src/admin/config.rs does not have", &gone);
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read("Cargo.toml");
    let (_, theirs) = manifest.split_once("# Theirs").expect("the root manifest divides ours from theirs");
    let section = theirs.lines().skip(1).take_while(|line| !line.starts_with('['));
    let crates: BTreeSet<String> =
        section.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.to_owned()).collect();
    let rows = first_cells(&read("docs/design/0002-dependencies.md"));
    report("docs/design/0002-dependencies.md has no row for", &crates.difference(&rows).cloned().collect());
    let gone =
        rows.difference(&crates).filter(|name| *name != "crate" && !name.starts_with('-')).cloned().collect();
    report("docs/design/0002-dependencies.md has rows for what the root manifest has not", &gone);
}

#[test]
fn every_log_event_is_described_and_none_that_is_gone() {
    let mut events = BTreeSet::new();
    for path in files("src", ".rs") {
        let text = fs::read_to_string(&path).expect("listed a moment ago");
        let named = text
            .match_indices("event = \"")
            .filter_map(|(at, mark)| text[at + mark.len()..].split('"').next());
        events.extend(named.map(str::to_owned));
    }
    let described: BTreeSet<String> =
        first_cells(&read("docs/operate/monitor.md")).into_iter().filter(|cell| cell.contains('.')).collect();
    report(
        "docs/operate/monitor.md has no row for these events",
        &events.difference(&described).cloned().collect(),
    );
    report(
        "docs/operate/monitor.md describes events that nothing logs",
        &described.difference(&events).cloned().collect(),
    );
}

#[test]
fn every_deviation_is_told_and_none_that_is_gone() {
    let mut deviations = BTreeSet::new();
    for path in files("src", ".rs").into_iter().chain(files("storage-engine/src", ".rs")) {
        let text = fs::read_to_string(&path).expect("listed a moment ago");
        for (at, mark) in text.match_indices("Deviates from ") {
            let clause = text[at + mark.len()..].split([':', ',']).next().unwrap_or_default();
            deviations.insert(clause.to_owned());
        }
    }
    let page = read("docs/standards.md");
    let (_, section) = page.split_once("## Deviations").expect("the page has that section");
    let told: BTreeSet<String> =
        first_cells(section).into_iter().filter(|cell| cell.starts_with("RFC ")).collect();
    report("docs/standards.md, Deviations, lacks", &deviations.difference(&told).cloned().collect());
    report(
        "docs/standards.md tells deviations that the code has not",
        &told.difference(&deviations).cloned().collect(),
    );
}

#[test]
fn commands_in_documents_exist() {
    // Some commands have their arguments beside what they do.
    let sources = files("src/admin", ".rs").into_iter();
    let sources = sources.map(|path| fs::read_to_string(path).expect("listed a moment ago"));
    let cli: String = sources.filter(|text| text.contains("clap::")).collect();
    let mut broken = BTreeSet::new();
    let pages =
        files("docs", ".md").into_iter().chain([Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")]);
    for page in pages {
        let text = fs::read_to_string(&page).expect("listed a moment ago");
        for line in text.lines() {
            let words: Vec<&str> =
                line.split(|c: char| c.is_whitespace() || c == '`').filter(|word| !word.is_empty()).collect();
            for pair in words.windows(2) {
                let [program, file] = pair else { continue };
                let is_script =
                    ["bash", "python3"].contains(program) && file.contains('/') && !file.starts_with('/');
                if is_script && !Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists() {
                    broken.insert(format!("{}: {program} {file}", page.display()));
                }
            }
            let Some(at) =
                words.iter().rposition(|word| *word == "angarium").filter(|_| line.starts_with("    "))
            else {
                continue;
            };
            let arguments = words.get(at + 1..).unwrap_or_default();
            let verb = arguments.first().filter(|first| first.chars().all(|c| c.is_ascii_lowercase()));
            let options = arguments.iter().filter_map(|word| word.strip_prefix("--"));
            let is_known = verb.is_none_or(|verb| has_verb(&cli, verb))
                && options.clone().all(|name| has_option(&cli, name));
            if !is_known {
                broken.insert(format!("{}: {line}", page.display()));
            }
        }
    }
    report("documents name commands that are not there", &broken);
}

/// `account` is a command when the command line's enum has `Account`.
fn has_verb(cli: &str, verb: &str) -> bool {
    let mut letters = verb.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let name: String = first.into_iter().chain(letters).collect();
    cli.contains(&format!("    {name}("))
}

/// `--password-file` is an option when some field of the command line has its name.
fn has_option(cli: &str, option: &str) -> bool {
    ["help", "version"].contains(&option) || cli.contains(&format!(" {}: ", option.replace('-', "_")))
}

#[test]
fn the_readme_shows_what_the_demo_says() {
    let demo = read("src/admin/demo.rs");
    let readme = read("README.md");
    let begin = demo.find("fn words(").expect("the demo's words are in one function");
    let texts = demo[begin..].split('"').skip(1).step_by(2).flat_map(|text| text.split("\\n"));
    // Sentences without a value in them, and the layout of the ports.
    let fixed = texts.map(str::trim).filter(|text| text.len() > 20 && !text.contains('{'));
    let missing = fixed.filter(|text| !readme.contains(text)).map(str::to_owned).collect();
    report("README.md does not show these lines of the demo", &missing);
}
