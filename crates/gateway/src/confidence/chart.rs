//! Pictures of a report for a terminal.

use super::measure::{Bin, Judged, escalate};

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

/// Accuracy against the share escalated, in steps of a tenth, `cloud` the other end's accuracy.
pub fn cost_curve(all: &[Judged], cloud: f64) -> String {
    let mut out = String::from("  escalated  right in the end  wrong among the rest\n");
    for tenth in 0..=10_u8 {
        let e = escalate(all, f64::from(tenth) / 10.0, cloud);
        out += &format!(
            "  {:>8.0}%  {:>15.1}%  {:>19.1}%\n",
            e.share * 100.0,
            e.accuracy * 100.0,
            e.risk * 100.0
        );
    }
    out
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
        assert_eq!(
            cost_curve(
                &[Judged {
                    probability: 0.5,
                    right: true
                }],
                1.0
            )
            .lines()
            .count(),
            12
        );
    }
}
