//! A folder of transcripts as a test.

use std::ops::Range;
use std::path::Path;

use crate::{Cut, Peer, Transcript, cuts, mutate, play, play_cut, record};

/// All `*.txt` of a folder, by name. Panics, with file and line, at one that cannot be read: a test
/// cannot go on without it.
pub fn load_folder(folder: &Path) -> Vec<Transcript> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no transcript", folder.display());
    let load = |path: &std::path::PathBuf| {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Transcript::parse_at(&text, path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.iter().map(load).collect()
}

/// Plays every transcript of a folder against a fresh peer each, and panics with all that differs.
/// With `UPDATE=1` in the environment the files are rewritten instead.
pub fn play_folder<P: Peer>(folder: &Path, mut make: impl FnMut(&Transcript) -> P) {
    let is_update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for transcript in load_folder(folder) {
        let mut peer = make(&transcript);
        let outcome = if is_update { update(&transcript, &mut peer) } else { play(&transcript, &mut peer) };
        wrong.extend(outcome.err().map(|mismatch| mismatch.to_string()));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Plays every transcript of a folder with each of its cuts: the answers must be the same.
pub fn cut_folder<P: Peer>(folder: &Path, mut make: impl FnMut(&Transcript) -> P) {
    let mut wrong = Vec::new();
    for transcript in load_folder(folder).iter().filter(|transcript| transcript.may_be_cut()) {
        let failed =
            |cut: &Cut| play_cut(transcript, &mut make(transcript), *cut).err().map(|why| (*cut, why));
        wrong.extend(cuts(transcript).iter().find_map(failed).map(|(cut, why)| format!("{cut:?}: {why}")));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Sends every transcript of a folder mutated by each seed to a fresh peer, and calls `check` after
/// every read: for bounds on memory and the like. A panic of the peer is the failure looked for.
pub fn noise_folder<P: Peer>(
    folder: &Path,
    seeds: Range<u64>,
    mut make: impl FnMut(&Transcript) -> P,
    mut check: impl FnMut(&mut P),
) {
    for transcript in load_folder(folder) {
        for seed in seeds.clone() {
            let mut peer = make(&transcript);
            peer.open(1);
            for read in mutate(&transcript, seed) {
                peer.send(1, &read);
                check(&mut peer);
            }
        }
    }
}

fn update(transcript: &Transcript, peer: &mut dyn Peer) -> Result<(), crate::Mismatch> {
    let text = record(transcript, peer)?;
    if text.lines().eq(transcript.source.iter().map(String::as_str)) {
        return Ok(());
    }
    std::fs::write(&transcript.path, text)
        .unwrap_or_else(|error| panic!("{}: {error}", transcript.path.display()));
    Ok(())
}
