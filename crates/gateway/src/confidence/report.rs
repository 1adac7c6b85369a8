//! What probabilities are worth, in a table: beside routing at random and beside the raw mean
//! log-probability of a token.

use super::chart;
use super::measure::{self, BINS, Judged};
use std::fmt::Write;

/// The share escalated that the table is about.
pub const SHARE: f64 = 0.2;
/// Samples of a bootstrap interval.
const SAMPLES: usize = 1000;
/// Samples of what chance alone does.
const CHANCE: usize = 200;

/// Probabilities for the same answers, by different means. All but `raw` were fitted to other outcomes than
/// those they are for.
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
}

/// The figures of one way to give probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Answers.
    pub n: usize,
    /// Share right.
    pub accuracy: f64,
    /// See [`measure::auroc`].
    pub auroc: f64,
    /// At [`SHARE`] escalated: see [`measure::Escalated::captured`].
    pub captured: f64,
    /// The same at random.
    pub captured_at_random: f64,
    /// See [`measure::ece`].
    pub ece: measure::Interval,
    /// See [`measure::ece_of_chance`].
    pub ece_of_chance: f64,
    /// See [`measure::brier`].
    pub brier: f64,
    /// Of the constant base rate.
    pub brier_of_base: f64,
    /// See [`measure::skill`].
    pub skill: f64,
}

impl Figures {
    /// Of probabilities.
    pub fn of(all: &[Judged]) -> Self {
        let escalated = measure::escalate(all, SHARE, 1.0);
        Self {
            n: all.len(),
            accuracy: measure::accuracy(all),
            auroc: measure::auroc(all),
            captured: escalated.captured,
            captured_at_random: escalated.captured_at_random,
            ece: measure::bootstrap(all, SAMPLES, measure::ece),
            ece_of_chance: measure::ece_of_chance(all, CHANCE),
            brier: measure::brier(all),
            brier_of_base: measure::brier_of_base(all),
            skill: measure::skill(all),
        }
    }
}

/// A row of a table: a name and a cell for each way.
type Line = (String, fn(&Figures) -> String);

/// The whole report, as Markdown. `price` is what an escalated request costs.
pub fn text(task: &str, compared: &Compared, price: f64) -> String {
    let ways = [
        ("whole answer", &compared.after),
        ("beginning", &compared.prefix),
        ("request alone", &compared.before),
        ("raw mean log-probability", &compared.raw),
    ];
    let ways: Vec<(&str, Figures)> = ways.map(|(name, all)| (name, Figures::of(all))).to_vec();
    let mut out = String::new();
    if let Some((_, first)) = ways.first() {
        let wrong = first.n as f64 * (1.0 - first.accuracy);
        let _ = writeln!(
            out,
            "### {task}: {} answers, {:.1}% right by the model alone ({wrong:.0} wrong)\n",
            first.n,
            first.accuracy * 100.0,
        );
    }
    let names: Vec<&str> = ways.iter().map(|w| w.0).collect();
    let _ = writeln!(out, "| | {} | at random |", names.join(" | "));
    let _ = writeln!(out, "| --- |{} ---: |", " ---: |".repeat(names.len()));
    for (name, cell) in lines() {
        let cells: Vec<String> = ways.iter().map(|(_, figures)| cell(figures)).collect();
        let random = match (name.as_str(), ways.first()) {
            (NAME_CAPTURED, Some((_, f))) => format!("{:.3}", f.captured_at_random),
            (NAME_AUROC, _) => "0.500".into(),
            (NAME_BRIER, Some((_, f))) => format!("{:.4} (base rate)", f.brier_of_base),
            _ => String::new(),
        };
        let _ = writeln!(out, "| {name} | {} | {random} |", cells.join(" | "));
    }
    let _ = writeln!(
        out,
        "\nRight in the end, and what it costs, with the other end always right:\n\n{}",
        costs(compared, price)
    );
    let _ = writeln!(
        out,
        "Of the whole answer: said (`|`) and was (`#`), {BINS} bins of as many answers each:\n\n```"
    );
    out += &chart::reliability(&measure::bins(&compared.after, BINS));
    out += "```\n";
    out
}

const NAME_CAPTURED: &str = "errors escalated at 20%, of the most there can be";
const NAME_AUROC: &str = "AUROC of right against wrong";
const NAME_BRIER: &str = "Brier score";

fn lines() -> [Line; 6] {
    [
        (NAME_CAPTURED.into(), |f| format!("{:.3}", f.captured)),
        (NAME_AUROC.into(), |f| format!("{:.3}", f.auroc)),
        (
            format!("calibration error, {BINS} equal-mass bins (95% interval)"),
            |f| format!("{:.3} ({:.3} to {:.3})", f.ece.value, f.ece.low, f.ece.high),
        ),
        (
            "the same by chance alone, were every probability true".into(),
            |f| format!("{:.3}", f.ece_of_chance),
        ),
        (NAME_BRIER.into(), |f| format!("{:.4}", f.brier)),
        ("better than the base rate by".into(), |f| {
            format!("{:.1}%", f.skill * 100.0)
        }),
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
        };
        let text = text("a task", &compared, 0.002);
        assert!(text.contains("### a task: 400 answers"), "{text}");
        assert!(text.contains("| 100.0% | 0.002 | 100.0% |"), "{text}");
        assert_eq!(
            text.lines()
                .filter(|l| l.contains('#') && l.starts_with("  0"))
                .count(),
            BINS - 1,
            "{text}"
        );
        let f = Figures::of(&compared.raw);
        assert!((f.auroc - 0.5).abs() < 1e-9 && f.skill < 0.0 && f.ece.value > 0.2);
    }
}
