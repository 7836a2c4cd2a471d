//! The tables of a study.

use super::results::Run;
use super::sheet::{NONE, Sheet, number, spread, times};
use super::study::{
    CPU, Case, FIGURES, Group, Metric, P50, P99, RATE, RATIOS, Study, TOLD, WHOLE, better_by_name, ratio,
};

/// All tables, the most wanted first.
pub(crate) fn all(study: &Study) -> Vec<Sheet> {
    let sheets = [
        glance(study),
        ratios(study),
        trouble(study),
        figures(study),
        others(study),
        limits(study),
        machines(study),
    ];
    sheets.into_iter().filter(|sheet| !sheet.rows.is_empty()).collect()
}

/// One line a case: what the baseline reaches, and how many times that is what each peer does.
pub(crate) fn glance(study: &Study) -> Sheet {
    let mut header = ["case", "figure"].map(str::to_owned).to_vec();
    header.extend(study.peers.iter().cloned());
    let mut rows = Vec::new();
    for case in study.cases.iter().filter(|_| study.peers.len() > 1) {
        let Some(ours) = case.group(&study.baseline) else { continue };
        let Some(headline) = case.headline() else { continue };
        let others =
            [WHOLE, CPU].into_iter().filter(|metric| metric.name != headline.name && has(case, metric));
        for metric in std::iter::once(headline).chain(others) {
            let mut row = vec![case.name.clone(), metric.name.to_owned()];
            row.extend(case.groups.iter().map(|theirs| match theirs.runs.is_empty() {
                true => theirs.note(),
                false if theirs.peer == study.baseline => brief(theirs, &metric),
                false => median_times_better(ours, theirs, &metric),
            }));
            rows.push(row);
        }
    }
    Sheet {
        title: "At a glance",
        words: format!(
            "For {0} the median of the figure; for the others, how many times better {0} is: above 1 {0} is ahead.",
            study.baseline
        ),
        header,
        rows,
        texts: 2,
        has_note: false,
    }
}

fn has(case: &Case, metric: &Metric) -> bool {
    case.groups.iter().any(|group| group.spread(|run| metric.of(run)).is_some())
}

fn brief(group: &Group, metric: &Metric) -> String {
    group.spread(|run| metric.of(run)).map_or_else(|| NONE.into(), |spread| number(spread.median))
}

fn median_times_better(ours: &Group, theirs: &Group, metric: &Metric) -> String {
    let ratio = ratio(ours, theirs, metric.better, |run| metric.of(run));
    ratio.map_or_else(|| NONE.into(), |spread| format!("{}×", number(spread.median)))
}

/// The baseline beside each other peer.
pub(crate) fn ratios(study: &Study) -> Sheet {
    let mut header = vec!["case".to_owned(), format!("{} beside", study.baseline)];
    header.extend(RATIOS.map(|metric| metric.name.to_owned()));
    header.push("note".into());
    let mut rows = Vec::new();
    for case in &study.cases {
        let Some(ours) = case.group(&study.baseline) else { continue };
        // Cases with figures of their own alone stand in a table of their own.
        if !RATIOS.iter().any(|metric| has(case, metric)) {
            continue;
        }
        for theirs in case.groups.iter().filter(|group| group.peer != study.baseline) {
            let mut row = vec![case.name.clone(), theirs.peer.clone()];
            row.extend(RATIOS.map(|metric| times_better(ours, theirs, &metric)));
            row.push(if ours.runs.is_empty() { ours.note() } else { theirs.note() });
            rows.push(row);
        }
    }
    Sheet {
        title: "Ratios",
        words: format!(
            "How many times better {0} is: a rate of {0} divided by the peer's, a cost or latency of the peer \
             divided by {0}'s. Above 1 {0} is ahead, below 1 the peer. The median over rounds, each taken within its \
             round; in brackets the least and the greatest. Latencies of notifications (idle-notify) count from MAIL, \
             as they may come before the 250.",
            study.baseline
        ),
        header,
        rows,
        texts: 2,
        has_note: true,
    }
    .without_empty_notes()
}

fn times_better(ours: &Group, theirs: &Group, metric: &Metric) -> String {
    times(ratio(ours, theirs, metric.better, |run| metric.of(run)))
}

/// Each peer's own figures.
pub(crate) fn figures(study: &Study) -> Sheet {
    let mut header = vec!["case".to_owned(), "peer".to_owned(), "runs".to_owned()];
    header.extend(FIGURES.map(|metric| metric.name.to_owned()));
    header.push("note".into());
    let row = |group: &Group| {
        let mut row = vec![group.case.clone(), group.peer.clone(), group.runs.len().to_string()];
        row.extend(FIGURES.map(|metric| spread(group.spread(|run| metric.of(run)))));
        row.push(group.note());
        row
    };
    let cases = study.cases.iter().filter(|case| FIGURES.iter().any(|metric| has(case, metric)));
    Sheet {
        title: "Figures",
        words: "Medians over rounds; in brackets the least and the greatest. The rate is until all mailboxes held \
                everything, where that was counted."
            .into(),
        header,
        rows: cases.flat_map(|case| case.groups.iter().map(row)).collect(),
        texts: 2,
        has_note: true,
    }
    .without_empty_notes()
}

/// What only some scenarios measure.
pub(crate) fn others(study: &Study) -> Sheet {
    let mut rows = Vec::new();
    for case in &study.cases {
        for name in case.figure_names().into_iter().filter(|name| is_special(name)) {
            rows.extend(special(study, case, &name));
        }
    }
    Sheet {
        title: "Figures of single scenarios",
        words: format!("Medians as above. Ratios say how many times better {} is.", study.baseline),
        header: ["case", "figure", "peer", "value", "ratio"].map(str::to_owned).into(),
        rows,
        texts: 3,
        has_note: false,
    }
}

/// Whether a figure is good one way or the other and has no column of its own. Of further distributions the median and
/// the 99th percentile are enough here.
fn is_special(name: &str) -> bool {
    let is_shown = FIGURES.iter().any(|metric| metric.is(name)) || name.starts_with("latency_us.");
    let is_detail = ["_p90_us", "_p999_us", "_max_us"].iter().any(|end| name.ends_with(end));
    TOLD.contains(&name) || (better_by_name(name).is_some() && !is_shown && !is_detail)
}

fn special(study: &Study, case: &Case, name: &str) -> Vec<Vec<String>> {
    let better = better_by_name(name);
    let of = |run: &Run| run.figure(name);
    let ours = case.group(&study.baseline);
    let with_value = case.groups.iter().filter(|group| group.spread(of).is_some());
    with_value
        .map(|group| {
            let of_both = ours.filter(|ours| ours.peer != group.peer);
            let ratio = of_both.zip(better).and_then(|(ours, better)| ratio(ours, group, better, of));
            let value = spread(group.spread(of));
            vec![case.name.clone(), name.to_owned(), group.peer.clone(), value, times(ratio)]
        })
        .collect()
}

/// What the machine can do at best.
pub(crate) fn limits(study: &Study) -> Sheet {
    let megabytes = |run: &Run| {
        let given = run.figure("mb_per_s");
        given.or_else(|| Some(run.figure("payload_bytes")? / run.figure("seconds")?.max(1e-9) / 1e6))
    };
    let row = |group: &Group| {
        vec![
            group.case.clone(),
            group.runs.len().to_string(),
            spread(group.spread(|run| RATE.of(run))),
            spread(group.spread(|run| P50.of(run))),
            spread(group.spread(|run| P99.of(run))),
            spread(group.spread(megabytes)),
            group.note(),
        ]
    };
    Sheet {
        title: "Physical limits",
        words: "What this machine does without a mail server, measured in the same run.".into(),
        header: ["limit", "runs", "rate/s", "p50 µs", "p99 µs", "MB/s", "note"].map(str::to_owned).into(),
        rows: study.limits.iter().map(row).collect(),
        texts: 1,
        has_note: true,
    }
    .without_empty_notes()
}

/// Every run that failed, is missing, or was not possible.
pub(crate) fn trouble(study: &Study) -> Sheet {
    let mut rows = Vec::new();
    for group in study.groups() {
        let mut say = |what: &str, why: &str| {
            rows.push(vec![group.case.clone(), group.peer.clone(), what.into(), why.into()]);
        };
        group.wrong.iter().for_each(|why| say("failed", why));
        if group.missing > 0 {
            say(
                "missing",
                &format!("{} of {} runs left no result", group.missing, group.missing + group.tried()),
            );
        }
        if let Some(why) = &group.not_offered {
            say("not offered", why);
        }
    }
    Sheet {
        title: "Runs without figures",
        words: "A wrong answer fails a run; its figures count for nothing.".into(),
        header: ["case", "peer", "what", "why"].map(str::to_owned).into(),
        rows,
        texts: 4,
        has_note: false,
    }
}

/// What it all ran on. More than one row for a thing means that these results are of several machines or builds, and
/// are no comparison.
pub(crate) fn machines(study: &Study) -> Sheet {
    let of_machine = |name: &'static str| {
        move |run: &Run| {
            let value = &run.value("machine")[name];
            value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|count| count.to_string()))
        }
    };
    let memory =
        |run: &Run| run.value("machine")["memory_kib"].as_f64().map(|kib| gib(kib / 1024.0 / 1024.0));
    let storage = |run: &Run| {
        let storage = &run.value("machine")["storage"];
        let parts =
            ["file_system", "source", "device", "model", "options"].map(|name| storage[name].as_str());
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    };
    let bench = |run: &Run| {
        let version = run.text("bench_version")?;
        Some(run.text("bench_commit").map_or_else(|| version.into(), |commit| format!("{version}, {commit}")))
    };
    let version = |run: &Run| Some(format!("{}: {}", run.peer, run.text("peer_version")?));
    let parts = [
        ("processor", study.distinct(of_machine("cpu"))),
        ("cores", study.distinct(of_machine("cores"))),
        ("memory", study.distinct(memory)),
        ("governor", study.distinct(of_machine("governor"))),
        ("timer ticks a second", study.distinct(of_machine("hz"))),
        ("system", study.distinct(of_machine("system"))),
        ("kernel", study.distinct(of_machine("kernel"))),
        ("storage", study.distinct(storage)),
        ("angarium-bench", study.distinct(bench)),
        ("server", study.distinct(version)),
    ];
    let rows =
        parts.into_iter().flat_map(|(name, values)| values.into_iter().map(move |v| vec![name.into(), v]));
    Sheet {
        title: "Machine",
        words: "What a machine does not tell is left out.".into(),
        header: ["what", "value"].map(str::to_owned).into(),
        rows: rows.collect(),
        texts: 2,
        has_note: false,
    }
}

fn gib(value: f64) -> String {
    format!("{value:.1} GiB")
}
