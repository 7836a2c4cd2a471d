//! Instructions by callgrind: this program under it, one dump for each case.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The function whose inside is counted; `cases.rs` has it. Its whole name: with a wildcard nothing is dumped.
const COUNTED: &str = "angarium_counts::cases::counted";

/// JSON of all cases with their instructions.
pub(crate) fn measure() -> Result<String, String> {
    let folder = Folder::new()?;
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--collect-atstart=no", "--dump-line=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", folder.0.join("dump").display()))
        .arg(program)
        .arg("run");
    let output =
        valgrind.output().map_err(|error| format!("valgrind: {error} (perf-scripts/packages.sh test)"))?;
    if !output.status.success() {
        return Err(format!("under valgrind: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut cases: Vec<Value> =
        serde_json::from_str(said.trim()).map_err(|error| format!("{said:?}: {error}"))?;
    let totals = dumps(&folder.0)?;
    if totals.len() != cases.len() {
        return Err(format!("{} cases left {} dumps", cases.len(), totals.len()));
    }
    for (case, total) in cases.iter_mut().zip(totals) {
        let operations =
            case["operations"].as_f64().filter(|count| *count > 0.0).ok_or("a case without operations")?;
        case["instructions"] = (total as f64 / operations).into();
    }
    Ok(Value::from(cases).to_string())
}

/// The totals of the dumps that were written when the counted function ended, in their order.
fn dumps(folder: &Path) -> Result<Vec<u64>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let text = std::fs::read_to_string(entry.map_err(failed)?.path()).map_err(failed)?;
        found.extend(dump(&text));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, total)| total).collect())
}

/// The number of a dump and its total. `None` for the one at the program's end, in which nothing was counted.
fn dump(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let is_of_a_case = field("desc: Trigger:").is_some_and(|trigger| trigger != "Program termination");
    let part = field("part:")?.parse().ok()?;
    let total = field("totals:").or_else(|| field("summary:"))?.split(' ').next()?.parse().ok()?;
    is_of_a_case.then_some((part, total))
}

/// A folder that is gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("angarium-counts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left over: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_has_its_number_and_its_total() {
        let text = "# callgrind format\nversion: 1\npid: 7\npart: 3\n\ndesc: Trigger: --dump-after=x\n\
                    events: Ir\nsummary: 12\n\nfn=(1) x\n0 12\n\ntotals: 12\n";
        assert_eq!(dump(text), Some((3, 12)));
        assert_eq!(dump(&text.replace("--dump-after=x", "Program termination")), None);
        assert_eq!(dump("nothing"), None);
    }
}
