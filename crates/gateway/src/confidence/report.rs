//! What probabilities are worth, in a table: beside routing at random and beside the raw mean
//! log-probability of a token.

use super::chart;
use super::measure::{self, BINS, Interval, Judged};
use std::fmt::Write;

/// The share escalated that the table is about.
pub const SHARE: f64 = 0.2;
/// Samples of a bootstrap interval.
const SAMPLES: usize = 500;
/// Samples of what chance alone does.
const CHANCE: usize = 100;

/// Probabilities for the same answers in the same order, by different means. All but `raw` were fitted to
/// other outcomes than those they are for.
#[derive(Debug, Clone, Default)]
pub struct Compared {
    /// From the whole answer.
    pub after: Vec<Judged>,
    /// From its beginning.
    pub prefix: Vec<Judged>,
    /// From the request alone.
    pub before: Vec<Judged>,
    /// The mean probability of a token, uncalibrated.
    pub raw: Vec<Judged>,
    /// Of which text each is: near copies have the same, and are drawn together for intervals.
    pub keys: Vec<u32>,
    /// The part of the questions that each belongs to, where they are cut into parts; else empty.
    pub groups: Vec<String>,
}

/// What each way is called.
pub const WAYS: [&str; 4] = [
    "whole answer",
    "beginning",
    "request alone",
    "raw mean log-probability",
];

impl Compared {
    /// Probabilities by each of [`WAYS`].
    pub fn ways(&self) -> [&[Judged]; 4] {
        [&self.after, &self.prefix, &self.before, &self.raw]
    }

    /// The names of the parts of the questions, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The questions of one part.
    pub fn of(&self, group: &str) -> Self {
        fn pick<T: Clone>(all: &[T], groups: &[String], group: &str) -> Vec<T> {
            let inside = all.iter().zip(groups).filter(|(_, g)| *g == group);
            inside.map(|(one, _)| one.clone()).collect()
        }
        let judged = |all: &[Judged]| pick(all, &self.groups, group);
        Self {
            after: judged(&self.after),
            prefix: judged(&self.prefix),
            before: judged(&self.before),
            raw: judged(&self.raw),
            keys: pick(&self.keys, &self.groups, group),
            groups: Vec::new(),
        }
    }

    /// By how much one way is better than another, in a measure of which more is better.
    fn gain(&self, way: &[Judged], other: &[Judged], measure: fn(&[Judged]) -> f64) -> Interval {
        let pairs: Vec<(Judged, Judged)> = way.iter().copied().zip(other.iter().copied()).collect();
        let pairs = measure::clusters(&pairs, &self.keys);
        measure::bootstrap_of(&pairs, SAMPLES, |drawn| {
            let (way, other): (Vec<Judged>, Vec<Judged>) = drawn.iter().copied().unzip();
            measure(&way) - measure(&other)
        })
    }
}

/// The figures of one way to give probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Answers.
    pub n: usize,
    /// Share right.
    pub accuracy: f64,
    /// See [`measure::auroc`].
    pub auroc: Interval,
    /// At [`SHARE`] escalated: see [`measure::Escalated::captured`].
    pub captured: Interval,
    /// The same at random.
    pub captured_at_random: f64,
    /// See [`measure::ece`].
    pub ece: Interval,
    /// See [`measure::ece_of_chance`].
    pub ece_of_chance: f64,
    /// See [`measure::brier`].
    pub brier: Interval,
    /// Of the constant base rate.
    pub brier_of_base: f64,
    /// See [`measure::skill`].
    pub skill: Interval,
}

fn captured(all: &[Judged]) -> f64 {
    measure::escalate(all, SHARE, 1.0).captured
}

impl Figures {
    /// Of probabilities; outcomes with the same key are drawn together for intervals.
    pub fn of(all: &[Judged], keys: &[u32]) -> Self {
        let clusters = measure::clusters(all, keys);
        let of = |measure: fn(&[Judged]) -> f64| measure::bootstrap_of(&clusters, SAMPLES, measure);
        Self {
            n: all.len(),
            accuracy: measure::accuracy(all),
            auroc: of(measure::auroc),
            captured: of(captured),
            captured_at_random: measure::escalate(all, SHARE, 1.0).captured_at_random,
            ece: of(measure::ece),
            ece_of_chance: measure::ece_of_chance(all, CHANCE),
            brier: of(measure::brier),
            brier_of_base: measure::brier_of_base(all),
            skill: of(measure::skill),
        }
    }
}

/// A row of a table: a name and a cell for each way.
type Line = (String, fn(&Figures) -> String);

/// The whole report, as Markdown. `price` is what an escalated request costs.
pub fn text(task: &str, compared: &Compared, price: f64) -> String {
    let mut out = table(task, compared);
    let _ = writeln!(
        out,
        "\nRight in the end, and what it costs, with the other end always right:\n\n{}",
        costs(compared, price)
    );
    for name in compared.names() {
        out += &table(&format!("{task}, {name}"), &compared.of(name));
        out += &share_of(compared, name);
    }
    let _ = writeln!(
        out,
        "Of the whole answer: said (`|`) and was (`#`), {BINS} bins of as many answers each:\n\n```"
    );
    out += &chart::reliability(&measure::bins(&compared.after, BINS));
    out += "```\n";
    out
}

/// The figures of all ways beside each other.
fn table(title: &str, compared: &Compared) -> String {
    let ways = compared.ways();
    let figures = ways.map(|all| Figures::of(all, &compared.keys));
    let mut out = String::new();
    let [first, ..] = &figures;
    let wrong = first.n as f64 * (1.0 - first.accuracy);
    let _ = writeln!(
        out,
        "### {title}: {} answers, {:.1}% right by the model alone ({wrong:.0} wrong)\n",
        first.n,
        first.accuracy * 100.0,
    );
    let _ = writeln!(out, "| | {} | at random |", WAYS.join(" | "));
    let _ = writeln!(out, "| --- |{} ---: |", " ---: |".repeat(WAYS.len()));
    for (name, cell) in lines() {
        let cells = figures.each_ref().map(cell);
        let random = match name.as_str() {
            NAME_CAPTURED => format!("{:.3}", first.captured_at_random),
            NAME_AUROC => "0.500".into(),
            NAME_BRIER => format!("{:.4} (base rate)", first.brier_of_base),
            _ => String::new(),
        };
        let _ = writeln!(out, "| {name} | {} | {random} |", cells.join(" | "));
    }
    let [after, .., raw] = ways;
    let (errors, area) = (
        compared.gain(after, raw, captured),
        compared.gain(after, raw, measure::auroc),
    );
    let _ = writeln!(
        out,
        "\nThe whole answer less the raw mean, on the same answers: errors escalated {}, AUROC {}.\n",
        signed(&errors),
        signed(&area)
    );
    out
}

/// What becomes of a part of the questions where the least sure of all are escalated.
fn share_of(compared: &Compared, name: &str) -> String {
    let mut sorted: Vec<(&Judged, &String)> = compared.after.iter().zip(&compared.groups).collect();
    sorted.sort_by(|a, b| a.0.probability.total_cmp(&b.0.probability));
    let most = (SHARE * sorted.len() as f64).round() as usize;
    let inside = |such: fn(&Judged) -> bool, most: usize| {
        let all = sorted.iter().take(most);
        all.filter(|(j, g)| *g == name && such(j)).count()
    };
    let all = sorted.len();
    let (answers, wrong) = (inside(|_| true, all), inside(|j| !j.right, all));
    let (gone, found) = (inside(|_| true, most), inside(|j| !j.right, most));
    format!(
        "Where the least sure {:.0}% of all questions are escalated, {gone} of these {answers} are, among them {found} of the {wrong} wrong ones.\n\n",
        SHARE * 100.0
    )
}

fn signed(i: &Interval) -> String {
    format!("{:+.3} ({:+.3} to {:+.3})", i.value, i.low, i.high)
}

fn ranged(i: &Interval) -> String {
    format!("{:.3} ({:.3} to {:.3})", i.value, i.low, i.high)
}

const NAME_CAPTURED: &str = "errors escalated at 20%, of the most there can be";
const NAME_AUROC: &str = "AUROC of right against wrong";
const NAME_BRIER: &str = "Brier score";

fn lines() -> [Line; 6] {
    let percent = |f: &Figures| {
        let Interval { value, low, high } = f.skill;
        let [value, low, high] = [value, low, high].map(|x| x * 100.0);
        format!("{value:.1}% ({low:.1} to {high:.1})")
    };
    [
        (NAME_CAPTURED.into(), |f| ranged(&f.captured)),
        (NAME_AUROC.into(), |f| ranged(&f.auroc)),
        (format!("calibration error, {BINS} equal-mass bins"), |f| {
            ranged(&f.ece)
        }),
        (
            "the same by chance alone, were every probability true".into(),
            |f| format!("{:.3}", f.ece_of_chance),
        ),
        (NAME_BRIER.into(), |f| format!("{:.4}", f.brier.value)),
        ("better than the base rate by".into(), percent),
    ]
}

fn costs(compared: &Compared, price: f64) -> String {
    let mut out = String::from(
        "| escalated | cost a request | whole answer | request alone | raw | at random | wrong among the rest (risk) |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let own = measure::accuracy(&compared.after);
    for share in [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0] {
        let at = |all: &[Judged]| measure::escalate(all, share, 1.0);
        let percent = |x: f64| format!("{:.1}%", x * 100.0);
        let after = at(&compared.after);
        let cells = [
            percent(after.share),
            format!("{:.3}", after.share * price),
            percent(after.accuracy),
            percent(at(&compared.before).accuracy),
            percent(at(&compared.raw).accuracy),
            percent(own + share * (1.0 - own)),
            percent(after.risk),
        ];
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::measure::Noise;

    #[test]
    fn a_report_says_what_stands_beside_what() {
        let mut noise = Noise(2);
        let mut all = Vec::new();
        for _ in 0..400 {
            let probability = noise.unit();
            all.push(Judged {
                probability,
                right: noise.unit() < probability,
            });
        }
        let raw = all
            .iter()
            .map(|j| Judged {
                probability: 0.9,
                ..*j
            })
            .collect();
        let compared = Compared {
            after: all.clone(),
            prefix: all.clone(),
            before: all,
            raw,
            keys: (0..400).collect(),
            groups: (0..400).map(|i| ["in", "out"][i % 2].to_owned()).collect(),
        };
        let text = text("a task", &compared, 0.002);
        assert!(text.contains("### a task: 400 answers"), "{text}");
        for group in ["in", "out"] {
            assert!(
                text.contains(&format!("### a task, {group}: 200 answers")),
                "{text}"
            );
        }
        assert!(text.contains("of these 200 are"), "{text}");
        assert!(text.contains("| 100.0% | 0.002 | 100.0% |"), "{text}");
        assert_eq!(
            text.lines()
                .filter(|l| l.contains('#') && l.starts_with("  0"))
                .count(),
            BINS - 1,
            "{text}"
        );
        let f = Figures::of(&compared.raw, &compared.keys);
        assert!((f.auroc.value - 0.5).abs() < 1e-9 && f.skill.value < 0.0 && f.ece.value > 0.2);
        let gain = compared.gain(&compared.after, &compared.raw, measure::auroc);
        assert!(gain.low > 0.2 && gain.value < 0.5, "{gain:?}");
    }
}
