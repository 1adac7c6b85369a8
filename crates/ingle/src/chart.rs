//! Bars in the terminal.

/// One bar: its name, its parts (each drawn in its own way), and what stands behind it.
pub struct Bar {
    pub name: String,
    pub parts: Vec<i64>,
    pub label: String,
}

/// How bars are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Columns that there are.
    pub width: usize,
    /// Letters only, for files and pipes.
    pub plain: bool,
}

/// The narrowest bar that says anything.
const LEAST: usize = 10;

/// Bars below each other, the longest as long as there is room.
pub fn bars(bars: &[Bar], style: Style) -> String {
    let fills = if style.plain {
        ['#', '.']
    } else {
        ['█', '░']
    };
    let widest = |of: fn(&Bar) -> &str| bars.iter().map(|bar| of(bar).chars().count()).max();
    let names = widest(|bar| &bar.name).unwrap_or(0);
    let labels = widest(|bar| &bar.label).unwrap_or(0);
    let room = style.width.saturating_sub(names + labels + 4).max(LEAST);
    let whole = |bar: &Bar| bar.parts.iter().map(|part| i128::from(*part)).sum::<i128>();
    let longest = bars.iter().map(whole).max().unwrap_or(0);
    let mut text = String::new();
    for bar in bars {
        let (mut drawn, mut sum) = (0, 0_i128);
        let mut line = format!("{:<names$}  ", bar.name);
        for (part, fill) in bar.parts.iter().zip(fills) {
            sum += i128::from(*part);
            // Where the parts up to here end, so that rounding adds nothing.
            let end = cells(sum, longest, room);
            line.extend(std::iter::repeat_n(fill, end.saturating_sub(drawn)));
            drawn = drawn.max(end);
        }
        if drawn > 0 {
            line.push(' ');
        }
        line.push_str(&bar.label);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Cells of `room` for `part` of `whole`, rounded; at least one for anything.
fn cells(part: i128, whole: i128, room: usize) -> usize {
    if part <= 0 || whole <= 0 {
        return 0;
    }
    let room_wide = i128::try_from(room).unwrap_or(0);
    let cells = (part.saturating_mul(room_wide) * 2 + whole) / (whole * 2);
    usize::try_from(cells).unwrap_or(room).clamp(1, room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, parts: [i64; 2], label: &str) -> Bar {
        Bar {
            name: name.into(),
            parts: parts.to_vec(),
            label: label.into(),
        }
    }

    #[test]
    fn the_longest_bar_fills_the_room() {
        let all = [
            bar("2026-11-20", [30, 10], "0.40 USD"),
            bar("2026-11-21", [0, 5], "0.05 USD"),
            bar("2026-11-22", [0, 0], "0.00 USD"),
            bar("2026-11-23", [i64::MAX, i64::MAX], "much"),
        ];
        let few = bars(
            &all[..3],
            Style {
                width: 40,
                plain: true,
            },
        );
        assert_eq!(
            few,
            "2026-11-20  ##############.... 0.40 USD\n2026-11-21  .. 0.05 USD\n2026-11-22  0.00 USD\n"
        );
        for width in [0, 1, 80, 500] {
            for plain in [true, false] {
                for line in bars(&all, Style { width, plain }).lines() {
                    assert!(line.chars().count() <= width.max(34), "{line}");
                }
            }
        }
        assert_eq!(
            bars(
                &[],
                Style {
                    width: 80,
                    plain: false
                }
            ),
            ""
        );
    }
}
