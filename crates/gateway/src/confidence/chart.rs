//! Pictures of a report for a terminal.

use super::measure::{Bin, Judged, accuracy, escalate};

const WIDTH: usize = 40;

/// A reliability diagram: for each bin what was said (`|`) and what was (`#`), 0 to 1 from left to right.
pub fn reliability(bins: &[Bin]) -> String {
    let mut out = String::from("  said   was      n  0                                      1\n");
    for bin in bins {
        let said = column(bin.said);
        let mut line: Vec<char> = (0..WIDTH)
            .map(|i| if i < column(bin.was) { '#' } else { ' ' })
            .collect();
        if let Some(mark) = line.get_mut(said.min(WIDTH - 1)) {
            *mark = '|';
        }
        let line: String = line.into_iter().collect();
        out += &format!(
            "  {:.2}  {:.2}  {:>5}  {}\n",
            bin.said,
            bin.was,
            bin.count,
            line.trim_end()
        );
    }
    out
}

/// What an accuracy costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// What an escalated request costs.
    pub price: f64,
    /// How often the other end is right, 0 to 1.
    pub cloud: f64,
    /// The share that is escalated for what is aimed at, where something is.
    pub aim: Option<f64>,
}

/// Accuracy against cost, in steps of a tenth of all requests: `#` escalates the least sure, `:` is where the
/// same money spent at random would end. The line of the aim is marked.
pub fn cost_curve(all: &[Judged], costs: &Costs) -> String {
    let mut shares: Vec<f64> = (0..=10_u8).map(|tenth| f64::from(tenth) / 10.0).collect();
    if let Some(aim) = costs.aim {
        shares.retain(|share| (share - aim).abs() > 0.02);
        shares.push(aim);
        shares.sort_by(f64::total_cmp);
    }
    let (own, other) = (accuracy(all), costs.cloud);
    let ends: Vec<_> = shares.iter().map(|&s| escalate(all, s, other)).collect();
    let of = |pick: fn(f64, f64) -> f64, from| ends.iter().map(|e| e.accuracy).fold(from, pick);
    let (low, high) = (of(f64::min, own), of(f64::max, own));
    let at = |accuracy: f64| column((accuracy - low) / (high - low).max(1e-9));
    let mut out = String::from("  escalated  cost a request  right in the end\n");
    for (share, end) in shares.iter().zip(&ends) {
        let random = at(own + share * (other - own));
        let bar = (0..WIDTH).map(|i| match i {
            i if i + 1 == random => ':',
            i if i < at(end.accuracy) => '#',
            _ => ' ',
        });
        let bar: String = bar.collect();
        let mark = if costs.aim == Some(*share) {
            "<- the aim"
        } else {
            ""
        };
        let line = format!(
            "  {:>8.0}%  {:>14}  {:>7.1}%  {bar}  {mark}",
            end.share * 100.0,
            money(end.share * costs.price),
            end.accuracy * 100.0,
        );
        out += &format!("{}\n", line.trim_end());
    }
    out
}

/// An amount with as many digits as say something.
pub fn money(amount: f64) -> String {
    match amount.abs() {
        0.0 => "0".into(),
        small if small < 0.01 => format!("{amount:.6}"),
        _ => format!("{amount:.3}"),
    }
}

fn column(share: f64) -> usize {
    (share.clamp(0.0, 1.0) * WIDTH as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_a_line() {
        let bins = [
            Bin {
                said: 0.25,
                was: 0.5,
                count: 12,
            },
            Bin {
                said: 1.0,
                was: 1.0,
                count: 3,
            },
        ];
        let chart = reliability(&bins);
        let lines: Vec<&str> = chart.lines().skip(1).collect();
        assert_eq!(lines[0], "  0.25  0.50     12  ##########|#########");
        assert!(lines[1].ends_with("#|"), "{chart}");
    }

    #[test]
    fn the_least_sure_are_worth_their_money() {
        let judged = |i: u32| Judged {
            probability: f64::from(i) / 20.0,
            right: i >= 5,
        };
        let all: Vec<Judged> = (0..20).map(judged).collect();
        let mut costs = Costs {
            price: 0.004,
            cloud: 1.0,
            aim: Some(0.25),
        };
        let chart = cost_curve(&all, &costs);
        let line = |n: usize| chart.lines().nth(n).unwrap_or_default();
        assert_eq!(line(1), "         0%               0     75.0%");
        assert_eq!(
            line(2),
            "        10%        0.000400     85.0%  ###:############"
        );
        let whole = "#".repeat(9) + ":" + &"#".repeat(30);
        let aim = format!("        25%        0.001000    100.0%  {whole}  <- the aim");
        assert_eq!(
            (line(4), chart.lines().count()),
            (aim.as_str(), 13),
            "{chart}"
        );
        costs.aim = None;
        assert_eq!(cost_curve(&all, &costs).lines().count(), 12);
        costs.cloud = 0.5;
        assert!(!cost_curve(&all, &costs).contains("NaN"));
        let nobody = cost_curve(&[], &costs);
        assert!(
            nobody.lines().count() == 12 && !nobody.contains("NaN"),
            "{nobody}"
        );
    }
}
