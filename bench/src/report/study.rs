//! Many runs beside each other: grouped by case and peer over rounds, with medians, spreads and ratios.

use std::collections::{BTreeMap, BTreeSet};

use super::results::{MACHINE, Outcome, Run};
use crate::wrong::Wrong;

/// The peer that others are compared with unless another is named.
const BASELINE: &str = "angarium";

/// All results, grouped.
#[derive(Debug)]
pub(crate) struct Study {
    /// In the order in which they first ran.
    pub(crate) cases: Vec<Case>,
    /// What the machine itself can do.
    pub(crate) limits: Vec<Group>,
    /// The peer that the others are compared with.
    pub(crate) baseline: String,
    /// The baseline first, then in the order in which they first ran.
    pub(crate) peers: Vec<String>,
}

/// What is compared: the same work for each peer.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// In the order of [`Study::peers`]; peers without any line of this case are groups without runs.
    pub(crate) groups: Vec<Group>,
}

/// One peer's runs of one case.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) case: String,
    pub(crate) peer: String,
    /// Those with figures.
    pub(crate) runs: Vec<Run>,
    /// Why the others failed.
    pub(crate) wrong: Vec<String>,
    /// Why this peer cannot do this.
    pub(crate) not_offered: Option<String>,
    /// Runs that other peers have and this one lacks.
    pub(crate) missing: usize,
}

/// A figure over rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) count: usize,
}

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// A figure that peers are compared by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    /// The first of these that a run has.
    paths: &'static [&'static str],
    pub(crate) better: Better,
}

/// Operations a second; where mailboxes were counted, until they held everything, and of relayed mail until all had
/// arrived.
pub(crate) const RATE: Metric =
    metric("rate/s", &["held_per_second", "arrived_per_second", "rate_per_s"], Better::More);
/// Processor time of the server for an operation.
pub(crate) const CPU: Metric = metric("CPU µs each", &["server_cpu_us_each"], Better::Less);
/// See [`RATIOS`].
pub(crate) const P50: Metric = metric("p50 µs", &["latency_us.p50"], Better::Less);
/// See [`RATIOS`].
pub(crate) const P99: Metric = metric("p99 µs", &["latency_us.p99"], Better::Less);
/// Bytes that reached the disk for each byte of mail: by the device's counters where they were read.
pub(crate) const WRITTEN: Metric =
    metric("written per byte", &["device_written_per_byte", "written_per_byte"], Better::Less);

/// See [`Case::headline`].
const HEADLINES: [Metric; 7] = [
    metric("since_mail_p50_us", &["since_mail_p50_us"], Better::Less),
    metric("pss_kib_each", &["pss_kib_each"], Better::Less),
    metric("rss_kib_each", &["rss_kib_each"], Better::Less),
    WHOLE,
    metric("imap_greeting_p50_us", &["imap_greeting_p50_us"], Better::Less),
    RATE,
    P50,
];

/// All that a server with many idle connections holds: what it held before they came is reused by them.
pub(crate) const WHOLE: Metric = metric("whole_pss_kib_each", &["whole_pss_kib_each"], Better::Less);

/// What the table of ratios shows. A notification may come before the `250`: there its latencies count from MAIL.
pub(crate) const RATIOS: [Metric; 5] = [
    RATE,
    CPU,
    metric("p50 µs", &["since_mail_p50_us", "latency_us.p50"], Better::Less),
    metric("p99 µs", &["since_mail_p99_us", "latency_us.p99"], Better::Less),
    WRITTEN,
];

/// Figures of single scenarios that are neither good nor bad, and that have to be known beside the others.
pub(crate) const TOLD: [&str; 3] = ["exists_before_250", "exists_only_after_renewed_idle", "queue_depth_max"];

/// What the table of figures shows.
pub(crate) const FIGURES: [Metric; 8] = [
    RATE,
    CPU,
    P50,
    P99,
    metric("p99.9 µs", &["latency_us.p99.9"], Better::Less),
    metric("max µs", &["latency_us.max"], Better::Less),
    WRITTEN,
    metric("memory KiB", &["server_rss_kib"], Better::Less),
];

const fn metric(name: &'static str, paths: &'static [&'static str], better: Better) -> Metric {
    Metric { name, paths, better }
}

/// Which way a figure is good, by the end of its name; `None`: neither.
pub(crate) fn better_by_name(name: &str) -> Option<Better> {
    let is_of_the_load = ["generator_", "others_", "think_"].iter().any(|begin| name.starts_with(begin));
    if is_of_the_load {
        return None;
    }
    let (outer, _) = name.split_once('.').unwrap_or((name, ""));
    if outer.ends_with("_per_s") || outer.ends_with("_per_second") {
        return Some(Better::More);
    }
    let costs = ["_ns", "_us", "_ms", "_s", "_kib", "_us_each", "_kib_each", "_bytes_each", "_per_byte"];
    costs.iter().any(|end| outer.ends_with(end)).then_some(Better::Less)
}

impl Metric {
    pub(crate) fn of(&self, run: &Run) -> Option<f64> {
        self.paths.iter().find_map(|path| run.figure(path))
    }

    /// Whether a figure of this name is this metric.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.paths.contains(&name)
    }
}

impl Study {
    /// Groups runs. `baseline` has to be a peer among them.
    pub(crate) fn of(runs: Vec<Run>, baseline: Option<&str>) -> Result<Self, Wrong> {
        let runs = with_shards(runs);
        let (limits, runs): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(|run| run.peer == MACHINE);
        let mut peers = Vec::new();
        let mut names = Vec::new();
        for run in &runs {
            push_new(&mut peers, &run.peer);
            push_new(&mut names, &run.case);
        }
        let baseline = match baseline {
            Some(name) if peers.iter().any(|peer| peer == name) => name.to_owned(),
            Some(name) => {
                return Err(Wrong::Usage(format!("no run is of {name:?}: the peers are {peers:?}")));
            }
            None => peers
                .iter()
                .find(|peer| *peer == BASELINE)
                .or_else(|| peers.iter().find(|peer| peer.starts_with(BASELINE)))
                .or(peers.first())
                .cloned()
                .unwrap_or_default(),
        };
        peers.sort_by_key(|peer| *peer != baseline);
        let cases = names.into_iter().map(|name| Case::of(name, &peers, &runs)).collect();
        let mut limit_names = Vec::new();
        for run in &limits {
            push_new(&mut limit_names, &run.case);
        }
        let limits = limit_names.iter().map(|name| Group::of(name, MACHINE, &limits)).collect();
        Ok(Self { cases, limits, baseline, peers })
    }

    /// Every group: those of the cases, then the limits.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.cases.iter().flat_map(|case| &case.groups).chain(&self.limits)
    }

    /// All runs with figures.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.groups().flat_map(|group| &group.runs)
    }

    /// What stands in a value of the lines, each once, in the order in which it first came.
    pub(crate) fn distinct(&self, of: impl Fn(&Run) -> Option<String>) -> Vec<String> {
        let mut all = Vec::new();
        self.runs().filter_map(of).for_each(|text| push_new(&mut all, &text));
        all
    }
}

impl Case {
    fn of(name: String, peers: &[String], runs: &[Run]) -> Self {
        let of_case: Vec<Run> = runs.iter().filter(|run| run.case == name).cloned().collect();
        let mut groups: Vec<Group> = peers.iter().map(|peer| Group::of(&name, peer, &of_case)).collect();
        let expected = groups.iter().map(Group::tried).max().unwrap_or(0);
        for group in groups.iter_mut().filter(|group| group.not_offered.is_none()) {
            group.missing = expected.saturating_sub(group.tried());
        }
        Self { name, groups }
    }

    /// The group of a peer.
    pub(crate) fn group(&self, peer: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.peer == peer)
    }

    /// The one figure by which this case is told in brief: what its scenario is about.
    pub(crate) fn headline(&self) -> Option<Metric> {
        let runs = || self.groups.iter().flat_map(|group| &group.runs);
        HEADLINES.into_iter().find(|metric| runs().any(|run| metric.of(run).is_some()))
    }

    /// The names of all numbers that any run of this case has.
    pub(crate) fn figure_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let runs = self.groups.iter().flat_map(|group| &group.runs);
        runs.flat_map(Run::figure_names).for_each(|name| push_new(&mut names, &name));
        names
    }
}

impl Group {
    fn of(case: &str, peer: &str, runs: &[Run]) -> Self {
        let mut group = Self {
            case: case.into(),
            peer: peer.into(),
            runs: Vec::new(),
            wrong: Vec::new(),
            not_offered: None,
            missing: 0,
        };
        for run in runs.iter().filter(|run| run.peer == peer && run.case == case) {
            match &run.outcome {
                Outcome::Figures => group.runs.push(run.clone()),
                Outcome::Wrong(why) => group.wrong.push(why.clone()),
                Outcome::NotOffered(why) => group.not_offered = Some(why.clone()),
            }
        }
        group
    }

    /// Runs that ended, well or not.
    pub(crate) fn tried(&self) -> usize {
        self.runs.len() + self.wrong.len()
    }

    /// A figure over this group's rounds.
    pub(crate) fn spread(&self, of: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(of).collect())
    }

    /// What has to be known about these runs, without the reasons; empty when all went well.
    pub(crate) fn note(&self) -> String {
        let mut notes = Vec::new();
        if self.not_offered.is_some() {
            notes.push("not offered".into());
        }
        if !self.wrong.is_empty() {
            notes.push(format!("{} of {} failed", self.wrong.len(), self.tried() + self.missing));
        }
        if self.missing > 0 {
            notes.push(format!("{} of {} missing", self.missing, self.tried() + self.missing));
        }
        notes.join("; ")
    }

    /// Runs by round, and by their order within it: those of two peers with the same key were made side by side.
    fn by_round(&self) -> BTreeMap<(u64, usize), &Run> {
        let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
        let key = |run: &Run, seen: &mut BTreeMap<u64, usize>| {
            let nth = seen.entry(run.round).or_default();
            *nth += 1;
            (run.round, *nth)
        };
        self.runs.iter().map(|run| (key(run, &mut seen), run)).collect()
    }
}

/// How many times better `ours` is than `theirs`: a rate of ours by theirs, a cost of theirs by ours. Taken within
/// each round, since what disturbs the machine disturbs neighbours alike.
pub(crate) fn ratio(
    ours: &Group,
    theirs: &Group,
    better: Better,
    of: impl Fn(&Run) -> Option<f64>,
) -> Option<Spread> {
    let theirs = theirs.by_round();
    let ratios = ours.by_round().into_iter().filter_map(|(round, run)| {
        let (ours, theirs) = (of(run)?, of(theirs.get(&round)?)?);
        let (above, below) = if better == Better::More { (ours, theirs) } else { (theirs, ours) };
        (above > 0.0 && below > 0.0).then(|| above / below)
    });
    Spread::of(ratios.collect())
}

impl Spread {
    /// The median of an even number of values is the mean of the two in the middle.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max, count) = (*values.first()?, *values.last()?, values.len());
        let middle = |at: usize| values.get(at).copied().unwrap_or(max);
        let median = f64::midpoint(middle((count - 1) / 2), middle(count / 2));
        Some(Self { median, min, max, count })
    }
}

/// Where a peer ran a case with several numbers of shards, each number is a peer of its own.
fn with_shards(mut runs: Vec<Run>) -> Vec<Run> {
    let shards = |run: &Run| run.value("shards").as_u64();
    let mut seen: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    for run in &runs {
        seen.entry((run.case.clone(), run.peer.clone())).or_default().extend(shards(run));
    }
    let several: BTreeSet<String> =
        seen.into_iter().filter(|(_, shards)| shards.len() > 1).map(|((_, peer), _)| peer).collect();
    for run in runs.iter_mut().filter(|run| several.contains(&run.peer)) {
        if let Some(shards) = shards(run) {
            run.peer = shards_name(&run.peer, shards);
        }
    }
    runs
}

/// What a peer with so many shards is called.
fn shards_name(peer: &str, shards: u64) -> String {
    format!("{peer}, {shards} shard{}", if shards == 1 { "" } else { "s" })
}

fn push_new(all: &mut Vec<String>, text: &String) {
    if !all.contains(text) {
        all.push(text.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::parse;
    use super::*;

    fn study(text: &str) -> Study {
        Study::of(parse(text).expect("lines"), None).expect("the baseline is the first or angarium")
    }

    #[test]
    fn a_median_has_its_spread() {
        let of = |values: &[f64]| Spread::of(values.to_vec()).map(|s| (s.median, s.min, s.max, s.count));
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0, 3)));
        assert_eq!(of(&[4.0, 1.0]), Some((2.5, 1.0, 4.0, 2)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round was twice as slow for both: the ratio is 10 in each.
        let text = r#"
            {"scenario":"x","peer":"other","round":1,"figures":{"rate_per_s":100,"server_cpu_us_each":30}}
            {"scenario":"x","peer":"angarium","round":1,"figures":{"rate_per_s":1000,"server_cpu_us_each":10}}
            {"scenario":"x","peer":"other","round":2,"figures":{"rate_per_s":50}}
            {"scenario":"x","peer":"angarium","round":2,"figures":{"rate_per_s":500,"server_cpu_us_each":10}}
            {"scenario":"x","peer":"angarium","round":3,"figures":{"rate_per_s":9000}}"#;
        let study = study(text);
        assert_eq!(
            (study.baseline.as_str(), study.peers.as_slice()),
            ("angarium", &["angarium".into(), "other".into()][..])
        );
        let [ours, theirs] = study.cases[0].groups.as_slice() else { panic!("two peers") };
        let rate = ratio(ours, theirs, RATE.better, |run| RATE.of(run)).expect("two pairs");
        assert_eq!((rate.median, rate.min, rate.max, rate.count), (10.0, 10.0, 10.0, 2));
        let cpu = ratio(ours, theirs, CPU.better, |run| CPU.of(run)).expect("one pair");
        assert_eq!((cpu.median, cpu.count), (3.0, 1));
        assert_eq!((theirs.missing, theirs.note().as_str()), (1, "1 of 3 missing"));
    }

    #[test]
    fn failed_and_absent_runs_stay_visible() {
        let text = r#"
            {"scenario":"x","peer":"angarium","round":1,"figures":{"rate_per_s":1}}
            {"scenario":"x","peer":"bad","round":1,"wrong":"wrong answer: no"}
            {"scenario":"x","peer":"less","round":1,"not_offered":"no such protocol"}
            {"scenario":"y","peer":"absent","round":1,"figures":{}}"#;
        let study = study(text);
        let note = |peer: &str| study.cases[0].group(peer).expect("each peer has a group").note();
        assert_eq!(note("angarium"), "");
        assert_eq!(note("bad"), "1 of 1 failed");
        assert_eq!(note("less"), "not offered");
        assert_eq!(note("absent"), "1 of 1 missing");
    }

    #[test]
    fn numbers_of_shards_are_peers_of_their_own_where_there_are_several() {
        let text = r#"
            {"scenario":"x","peer":"angarium","shards":1,"figures":{}}
            {"scenario":"x","peer":"angarium","shards":2,"figures":{}}
            {"scenario":"x","peer":"other","shards":2,"figures":{}}"#;
        assert_eq!(study(text).peers, ["angarium, 1 shard", "angarium, 2 shards", "other"]);
    }

    #[test]
    fn a_figures_name_says_which_way_is_good() {
        assert_eq!(better_by_name("held_per_second"), Some(Better::More));
        assert_eq!(better_by_name("data_us.p99.9"), Some(Better::Less));
        assert_eq!(better_by_name("rss_kib_each"), Some(Better::Less));
        assert_eq!(better_by_name("operations"), None);
        assert_eq!(better_by_name("seconds"), None);
        assert_eq!(better_by_name("device_written_bytes"), None);
        assert_eq!(better_by_name("generator_cpu_us_each"), None);
    }

    #[test]
    fn a_baseline_that_never_ran_is_refused() {
        let runs = parse(r#"{"scenario":"x","peer":"a","figures":{}}"#).expect("a line");
        assert!(Study::of(runs, Some("b")).is_err());
    }
}
