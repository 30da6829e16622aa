//! What came out: a table for people, JSON for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use crate::bench::{Samples, Settings};
use crate::drive::Sample;
use crate::facts::{Fact, Limit};
use crate::rows::{Goal, Row};
use crate::{network, nginx};

/// The machine, and what ran on it.
pub(crate) struct About {
    machine: String,
    nginx: String,
    tollgate: String,
    /// The congestion control of every connection.
    tcp: String,
    rounds: usize,
    seconds: f64,
}

/// The middle of several rounds, and their ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl About {
    pub(crate) fn read(settings: &Settings, program: &Path) -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let field = |name: &str| {
            cpus.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches([' ', '\t', ':'])))
        };
        let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let version = Command::new(program).arg("--version").output()?.stdout;
        Ok(Self {
            machine: format!("{count} × {}, Linux {}", field("model name").unwrap_or("CPU"), kernel.trim()),
            nginx: nginx::version()?.1,
            tollgate: String::from_utf8_lossy(&version).trim().to_owned(),
            tcp: network::control()?,
            rounds: settings.rounds,
            seconds: settings.seconds,
        })
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let Self { machine, nginx, tollgate, tcp, rounds, seconds } = self;
        format!("{machine}; TCP by {tcp}; {tollgate}; {nginx}; medians of {rounds} rounds of {seconds} s")
    }
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Self { median, least: values[0], most: values[values.len() - 1] }
    }
}

impl Goal {
    /// What a round gives.
    fn value(self, ours: &Sample, beside: &Sample) -> f64 {
        match self {
            Self::Cost(_) => ours.cost() / beside.cost(),
            Self::Over(_) => ours.cost() - beside.cost(),
            Self::Each(plugins, _) => (ours.cost() - beside.cost()) / plugins,
            Self::Rate(_) => ours.rate() / beside.rate(),
            Self::P99(_) => ours.p99 / beside.p99,
        }
    }

    fn reached(self, value: f64) -> bool {
        match self {
            Self::Cost(most) | Self::Over(most) | Self::Each(_, most) | Self::P99(most) => value <= most,
            Self::Rate(least) => value >= least,
        }
    }

    fn write(self, value: f64) -> String {
        match self {
            Self::Over(_) | Self::Each(..) => format!("{value:+.2} µs"),
            Self::Cost(_) | Self::Rate(_) | Self::P99(_) => format!("{value:.2}"),
        }
    }

    /// The goal itself.
    fn words(self) -> String {
        match self {
            Self::Cost(most) => format!("CPU ≤ {most}"),
            Self::Over(most) | Self::Each(_, most) => format!("≤ {most} µs"),
            Self::Rate(least) => format!("rate ≥ {least}"),
            Self::P99(most) => format!("p99 ≤ {most}"),
        }
    }
}

/// What a row comes to over all rounds.
pub(crate) fn outcome(row: &Row, samples: &Samples) -> Spread {
    let pairs = samples[row.ours].iter().zip(&samples[row.beside]);
    Spread::of(pairs.map(|(ours, beside)| row.goal.value(ours, beside)).collect())
}

/// Medians of a target: CPU microseconds for a request, those of them in user space, requests a second, 99th percentile.
pub(crate) fn medians(samples: &[Sample]) -> [f64; 4] {
    let of = |value: fn(&Sample) -> f64| Spread::of(samples.iter().map(value).collect()).median;
    [of(Sample::cost), of(Sample::user), of(Sample::rate), of(|sample| sample.p99)]
}

/// The table, in Markdown.
pub(crate) fn table(about: &About, rows: &[Row], samples: &Samples, facts: &[Fact]) -> String {
    let mut text = format!("{}, in brackets the least and the most.\n\n", about.line());
    text.push_str(
        "| | Tollgate: µs a request (in user space), requests/s | beside | its µs, requests/s | ratio or difference | goal | |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|\n");
    for row in rows {
        let spread = outcome(row, samples);
        let side = |name: &str| {
            let [cost, user, rate, p99] = medians(&samples[name]);
            match row.goal {
                Goal::P99(_) => format!("p99 {p99:.0} µs"),
                _ => format!("{cost:.1} ({user:.1}), {rate:.0}"),
            }
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | **{}** ({} to {}) | {} | {} |",
            row.title,
            side(row.ours),
            row.beside,
            side(row.beside),
            row.goal.write(spread.median),
            row.goal.write(spread.least),
            row.goal.write(spread.most),
            row.goal.words(),
            if row.goal.reached(spread.median) { "reached" } else { "not yet" },
        );
    }
    for fact in facts {
        let figure = |spread: Spread| {
            let range = if spread.least < spread.most {
                format!(" ({:.2} to {:.2})", spread.least, spread.most)
            } else {
                String::new()
            };
            format!("{:.2} {}{range}", spread.median, fact.unit)
        };
        let nginx = fact.nginx.map(|nginx| ("nginx", figure(nginx))).unwrap_or_default();
        // As above.
        let _ = writeln!(
            text,
            "| {} | **{}** | {} | {} | | {} | {} |",
            fact.title,
            figure(fact.ours),
            nginx.0,
            nginx.1,
            fact.goal.words(fact.unit),
            fact.goal.verdict(fact.ours.median),
        );
    }
    text
}

impl Limit {
    fn words(self, unit: &str) -> String {
        match self {
            Self::Most(most) => format!("≤ {most} {unit}"),
            Self::Least(least) => format!("≥ {least} {unit}"),
            Self::None => String::new(),
        }
    }

    fn verdict(self, value: f64) -> &'static str {
        let reached = match self {
            Self::Most(most) => value <= most,
            Self::Least(least) => value >= least,
            Self::None => return "",
        };
        if reached { "reached" } else { "not yet" }
    }
}

/// Everything.
pub(crate) fn json(about: &About, rows: &[Row], samples: &Samples, facts: &[Fact]) -> Value {
    let row = |row: &Row| {
        let spread = outcome(row, samples);
        json!({
            "title": row.title, "ours": row.ours, "beside": row.beside, "goal": row.goal.words(),
            "median": spread.median, "least": spread.least, "most": spread.most,
            "reached": row.goal.reached(spread.median),
        })
    };
    let fact = |fact: &Fact| {
        json!({
            "title": fact.title, "unit": fact.unit, "goal": fact.goal.words(fact.unit),
            "median": fact.ours.median, "least": fact.ours.least, "most": fact.ours.most,
            "nginx": fact.nginx.map(|nginx| nginx.median), "verdict": fact.goal.verdict(fact.ours.median),
        })
    };
    json!({
        "machine": about.machine, "tollgate": about.tollgate, "nginx": about.nginx, "tcp": about.tcp,
        "rounds": about.rounds, "seconds": about.seconds,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "facts": facts.iter().map(fact).collect::<Vec<_>>(),
        "samples": samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cost: u64, requests: u64) -> Sample {
        Sample { requests, seconds: 2.0, user: cost * requests / 2, kernel: cost * requests / 2, p50: 0.0, p99: 9.0 }
    }

    #[test]
    fn the_middle_and_the_ends_of_odd_and_even_numbers_of_rounds() {
        let odd = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.least, odd.most), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    #[test]
    fn a_row_compares_within_rounds_and_says_whether_its_goal_is_reached() {
        let row = |goal| Row { title: "plain", ours: "ours", beside: "nginx", goal };
        let samples = Samples::from([
            ("ours", vec![sample(9, 1000), sample(20, 1000), sample(30, 500)]),
            ("nginx", vec![sample(10, 1000), sample(20, 500), sample(20, 1000)]),
        ]);
        let cost = outcome(&row(Goal::Cost(0.9)), &samples);
        assert_eq!((cost.least, cost.median, cost.most), (0.9, 1.0, 1.5));
        assert!(!Goal::Cost(0.9).reached(cost.median) && Goal::Cost(1.0).reached(cost.median));
        assert_eq!(outcome(&row(Goal::Over(0.5)), &samples).median, 0.0);
        let rate = outcome(&row(Goal::Rate(1.2)), &samples);
        assert_eq!((rate.least, rate.median, rate.most), (0.5, 1.0, 2.0));
        assert!(!Goal::Rate(1.2).reached(rate.median) && Goal::Rate(1.2).reached(rate.most));
        let line = |goal| table(&about(), &[row(goal)], &samples, &[]).lines().last().unwrap_or_default().to_owned();
        assert!(line(Goal::Cost(0.9)).ends_with("| not yet |"), "{}", line(Goal::Cost(0.9)));
        assert!(line(Goal::Cost(1.0)).ends_with("| reached |"), "{}", line(Goal::Cost(1.0)));
    }

    fn about() -> About {
        let text = str::to_owned;
        About { machine: text("m"), nginx: text("n"), tollgate: text("t"), tcp: text("c"), rounds: 3, seconds: 2.0 }
    }
}
