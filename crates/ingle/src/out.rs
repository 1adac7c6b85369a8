//! Two ways out: stdout carries the answer and nothing else, stderr everything else.

use std::fmt::Display;
use std::io::Write;

/// Whoever read stdout has gone: there is nobody to answer, and nothing to complain about.
#[derive(Debug, thiserror::Error)]
#[error("the reader of standard output has gone")]
pub struct ReaderGone;

/// Writes a part of the answer and sends it on its way.
///
/// # Errors
/// [`ReaderGone`], or what the system says of a full disk.
pub fn answer(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|e| {
            if e.kind() == std::io::ErrorKind::BrokenPipe {
                anyhow::Error::new(ReaderGone)
            } else {
                anyhow::Error::new(e).context("the answer could not be written to standard output")
            }
        })
}

/// Writes one JSON value and a line end as the answer.
///
/// # Errors
/// As [`answer`].
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    answer(&(serde_json::to_string(value)? + "\n"))
}

/// Columns of the terminal that standard output is, if it is one and says so.
pub fn columns() -> Option<usize> {
    #[cfg(unix)]
    {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        Some(size.ws_col.into()).filter(|columns| *columns > 0)
    }
    #[cfg(not(unix))]
    None
}

/// Writes a line for people. A closed stderr is no reason to stop.
pub fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes a part of a line for people.
pub fn part_of_note(text: impl Display) {
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// `text` without control characters, line ends and tabs apart: what a model says is not trusted
/// with the terminal.
pub fn without_control(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// `text` on one line, with nothing in it that moves a cursor or changes a colour: what a file says
/// of itself is not trusted with the terminal.
pub fn plain(text: &str) -> String {
    let escape = |c: char| {
        if c.is_control() {
            c.escape_debug().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escape).collect()
}

/// Columns, each as wide as its widest cell; the last one is not padded.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| {
        rows.iter()
            .filter_map(|r| r.get(i))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let pad = width - cell.chars().count();
            line.push_str(cell);
            line.push_str(&" ".repeat(pad + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Bytes for people, in binary units with the digits that matter: `4.7 GiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A count for people: `1.5 billion`, `260 thousand`, `812`.
pub fn count(n: u64) -> String {
    let (value, unit) = match n as f64 {
        v if v >= 1e9 => (v / 1e9, "billion"),
        v if v >= 1e6 => (v / 1e6, "million"),
        v if v >= 1e4 => (v / 1e3, "thousand"),
        _ => return n.to_string(),
    };
    let decimals = if value < 9.95 {
        2
    } else if value < 99.5 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(5_027_783_488), "4.7 GiB");
        assert_eq!(bytes(200 << 20), "200 MiB");
        assert_eq!(bytes((1 << 30) - 1), "1.0 GiB");
        assert_eq!(bytes(u64::MAX), "16384 PiB");
    }

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(
            plain("é\t\u{1b}[31mred\u{9b}1m"),
            "é\\t\\u{1b}[31mred\\u{9b}1m"
        );
    }

    #[test]
    fn columns_stand_below_each_other() {
        let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
        assert_eq!(
            table(&[row(["é", "one"]), row(["long", "two"])]),
            "é     one\nlong  two\n"
        );
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn counts_for_people() {
        assert_eq!(count(9_999), "9999");
        assert_eq!(count(260_032), "260 thousand");
        assert_eq!(count(1_543_714_304), "1.54 billion");
        assert_eq!(count(70_553_706_496), "70.6 billion");
    }
}
