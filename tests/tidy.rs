//! The house rules, as tests: each failure says what to do instead. The tables they check against
//! are in `docs/architecture.md` (layers), `docs/standards.md` (specifications) and `README.md` (map).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A source file's lines without its tests.
const FILE_LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of the tree below `folder` whose name ends in one of `endings`, relative to the root.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder that can be listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<PathBuf> {
    ["src", "storage-engine", "bench", "tests"].iter().flat_map(|folder| files(folder, &[".rs"])).collect()
}

/// The part of a source file before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]").next().unwrap_or(text)
}

/// Rows of the Markdown tables of a page, cells trimmed, headings and rules left out.
fn table_rows(page: &str, after: &str) -> Vec<Vec<String>> {
    let (_, section) = page.split_once(after).unwrap_or_else(|| panic!("no {after:?} in the page"));
    let lines = section.lines().skip(1).take_while(|line| !line.starts_with("## "));
    lines
        .filter(|line| line.starts_with("| ") && !line.starts_with("|--"))
        .skip(1)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn manifests_and_the_layer_table_say_the_same() {
    let mut table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table_rows(&read("docs/architecture.md"), "## Layers") {
        let [_, folder, imports, ..] = row.as_slice() else {
            panic!("the layer table has a short row: {row:?}")
        };
        let imports = imports.split_whitespace().filter(|word| *word != "-").map(str::to_owned).collect();
        table.insert(folder.clone(), imports);
    }
    let ours: BTreeSet<&String> = table.keys().collect();
    let mut broken = Vec::new();
    for folder in
        fs::read_dir(root().join("src")).expect("src").flatten().filter(|entry| entry.path().is_dir())
    {
        let name = folder.file_name().to_string_lossy().into_owned();
        let manifest = read(format!("src/{name}/Cargo.toml"));
        let runtime_part = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        let imports: BTreeSet<String> = runtime_part
            .lines()
            .filter_map(|line| line.split_once(".workspace"))
            .map(|(name, _)| name.to_owned())
            .filter(|import| ours.contains(import))
            .collect();
        match table.get(&name) {
            None => broken.push(format!("src/{name} is not in the layer table of docs/architecture.md: add its row")),
            Some(allowed) if *allowed != imports => broken.push(format!(
                "src/{name} imports {imports:?}, the layer table says {allowed:?}: mend whichever is wrong, knowing that layers import downwards only"
            )),
            Some(_) => {}
        }
    }
    report(&broken);
}

#[test]
fn values_and_protocols_cannot_touch_the_world() {
    let mut broken = Vec::new();
    for folder in ["base", "mime", "smtp", "imap", "pop3", "filter", "http"] {
        if !read(format!("src/{folder}/lib.rs")).contains("no_std") {
            broken.push(format!("src/{folder}/lib.rs must be no_std: that is what keeps I/O out of it"));
        }
    }
    for path in files("src", &[".rs"]) {
        let text = read(&path);
        let is_runtime = path.starts_with("src/runtime");
        for word in ["glommio::", "rustls::"] {
            if text.contains(word) && !is_runtime {
                broken.push(format!("{} names {word}: only src/runtime may", path.display()));
            }
        }
    }
    report(&broken);
}

#[test]
fn unsafe_code_is_where_it_may_be_and_says_why() {
    let mut broken = Vec::new();
    for path in sources().into_iter().filter(|path| !path.starts_with("tests")) {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let is_unsafe =
                code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("unsafe fn");
            if !is_unsafe {
                continue;
            }
            let allowed = ["storage-engine/src/disk", "src/runtime", "bench"];
            if !allowed.iter().any(|folder| path.starts_with(folder)) {
                broken.push(format!("{}:{}: unsafe code belongs in {allowed:?} only", path.display(), i + 1));
            }
            let above = lines.get(i.saturating_sub(8)..=i).unwrap_or_default();
            if !above.iter().any(|line| line.contains("SAFETY:")) && !code.contains("unsafe fn") {
                broken.push(format!(
                    "{}:{}: say why it is sound in a `// SAFETY:` comment above",
                    path.display(),
                    i + 1
                ));
            }
        }
    }
    report(&broken);
}

#[test]
fn files_fit_a_readers_head() {
    let mut broken = Vec::new();
    for path in sources() {
        let lines = without_tests(&read(&path)).lines().count();
        let is_test = path.starts_with("tests") || path.components().any(|part| part.as_os_str() == "tests");
        if lines > FILE_LINES_MAX && !is_test {
            broken.push(format!(
                "{} has {lines} lines without its tests, {FILE_LINES_MAX} at most: split it by topic",
                path.display()
            ));
        }
    }
    report(&broken);
}

#[test]
fn nothing_is_left_for_later_without_a_number() {
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["to", "do!("].concat(),
        ["unimpl", "emented!("].concat(),
    ];
    let mut broken = Vec::new();
    for path in sources() {
        for (i, line) in read(&path).lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(mark.as_str())) {
                broken.push(format!(
                    "{}:{}: {mark}: do it, or name an issue in docs/",
                    path.display(),
                    i + 1
                ));
            }
        }
    }
    report(&broken);
}

#[test]
fn no_file_hides_characters() {
    let mut broken = Vec::new();
    let everything = ["src", "storage-engine", "bench", "tests", "docs", "perf-scripts"];
    for path in
        everything.iter().flat_map(|folder| files(folder, &[".rs", ".md", ".toml", ".sh", ".txt", ".py"]))
    {
        let text =
            String::from_utf8_lossy(&fs::read(root().join(&path)).expect("listed a moment ago")).into_owned();
        let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if let Some(c) = text.chars().find(|c| hidden(*c)) {
            broken.push(format!(
                "{} holds the invisible character {:04x}: write it as an escape",
                path.display(),
                c as u32
            ));
        }
    }
    report(&broken);
}

/// The numbers of `RFC 9051`, `RFC 9051, 3501` and `RFC 7162 §3.1` in a line. Without the space it is
/// no citation: `RFC822.SIZE` is a word of IMAP.
fn cited(line: &str) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    for (at, _) in line.match_indices("RFC") {
        let mut rest = line[at + 3..].trim_start_matches('s');
        while let Some(after) = rest.strip_prefix([' ', '\u{a0}']) {
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            if digits.len() >= 3 {
                numbers.extend(digits.parse::<u32>());
            }
            rest = after[digits.len()..].strip_prefix(',').unwrap_or_default();
        }
    }
    numbers
}

#[test]
fn citations_are_told_from_words() {
    let numbers = |line| cited(line).into_iter().collect::<Vec<_>>();
    assert_eq!(numbers("RFC 9051, 3501: one rule; RFC 7162 §3.1, 12 times"), [3501, 7162, 9051]);
    assert_eq!(numbers("FETCH 1 (RFC822.SIZE) and RFC 12"), [0; 0]);
}

#[test]
fn every_cited_specification_is_on_the_standards_page() {
    let rows = table_rows(&read("docs/standards.md"), "## Specifications");
    let mut status: BTreeMap<u32, (String, Vec<String>)> = BTreeMap::new();
    for row in &rows {
        let [number, _, state, folders, ..] = row.as_slice() else { panic!("a short row: {row:?}") };
        let number: u32 =
            number.trim_start_matches("RFC ").parse().unwrap_or_else(|_| panic!("no number: {row:?}"));
        assert!(
            ["full", "partial", "used", "planned", "no"].contains(&state.as_str()),
            "RFC {number}: status {state:?}"
        );
        let folders = folders.split_whitespace().filter(|word| *word != "-").map(str::to_owned).collect();
        assert!(status.insert(number, (state.clone(), folders)).is_none(), "RFC {number} has two rows");
    }
    let mut citations: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for path in sources().into_iter().chain(files("src", &[".txt"])) {
        let folder = path.iter().take(2).map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
        for number in read(&path).lines().flat_map(cited) {
            citations.entry(number).or_default().insert(folder.clone());
        }
    }
    let mut broken = Vec::new();
    for (number, folders) in &citations {
        if !status.contains_key(number) {
            broken.push(format!("RFC {number} is cited in {folders:?} and has no row in docs/standards.md"));
        }
    }
    for (number, (state, folders)) in &status {
        for folder in folders.iter().filter(|_| state == "full" || state == "partial") {
            let is_cited =
                citations.get(number).is_some_and(|where_| where_.contains(&format!("src/{folder}")));
            if !is_cited {
                broken.push(format!(
                    "docs/standards.md says RFC {number} is {state} in {folder}, where nothing cites it"
                ));
            }
        }
    }
    report(&broken);
}

#[test]
fn the_readme_maps_every_folder() {
    let readme = read("README.md");
    let mut broken = Vec::new();
    for folder in ["src", "storage-engine", "bench", "perf-scripts", "tests", "docs"] {
        if !readme.contains(&format!("`{folder}/`")) {
            broken.push(format!("README.md does not name `{folder}/`"));
        }
    }
    for entry in
        fs::read_dir(root().join("src")).expect("src").flatten().filter(|entry| entry.path().is_dir())
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !readme.contains(&format!("`{name}`")) {
            broken.push(format!("README.md's map does not name `{name}` of src/"));
        }
    }
    report(&broken);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    let pages = files("docs", &[".md"])
        .into_iter()
        .chain([PathBuf::from("README.md"), PathBuf::from("storage-engine/README.md")]);
    for page in pages {
        let text = read(&page);
        for (at, _) in text.match_indices("](") {
            let target: String = text[at + 2..].chars().take_while(|c| *c != ')').collect();
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = page.parent().unwrap_or(Path::new(""));
            if !root().join(folder).join(target).exists() {
                broken.push(format!("{} links to {target}, which is not there", page.display()));
            }
        }
    }
    report(&broken);
}

#[test]
fn every_transcript_names_its_clause() {
    let mut broken = Vec::new();
    let transcripts =
        files("src", &[".txt"]).into_iter().filter(|path| path.iter().any(|part| part == "transcripts"));
    for path in transcripts {
        let text = read(&path);
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("# ") || cited(first).is_empty() {
            broken.push(format!(
                "{}: begin with a comment that names the clause, `# RFC 9051 §6.3.4: ...`",
                path.display()
            ));
        }
    }
    report(&broken);
}
