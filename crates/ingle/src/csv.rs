//! Lines for spreadsheets (RFC 4180).

/// One line.
pub fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.into_iter().map(cell).collect();
    cells.join(",") + "\r\n"
}

/// A text that a spreadsheet would take for a formula is marked as text: models and requests are named
/// by whoever asks.
fn cell(text: &str) -> String {
    let formula =
        text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let text = match formula {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_cells() {
        let cells = [
            "a",
            "b,c",
            "say \"no\"",
            "two\nlines",
            "=1+1",
            "-0.5",
            "@x",
            "",
        ];
        let want = "a,\"b,c\",\"say \"\"no\"\"\",\"two\nlines\",'=1+1,-0.5,'@x,\r\n";
        assert_eq!(line(cells), want);
    }
}
