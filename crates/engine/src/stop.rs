//! Texts at which an answer ends.

/// Holds text back while it could be the beginning of a stop text.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopTexts {
    stops: Vec<String>,
    /// The end of the text so far, if a stop text begins like it.
    held: String,
}

impl StopTexts {
    /// None of `stops` is empty.
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            stops,
            held: String::new(),
        }
    }

    /// Takes more text and appends to `out` what is certain to belong to the answer. Answers the
    /// stop text that came, if one did: what is before it has then been appended, and nothing of
    /// it or behind it.
    pub fn push(&mut self, text: &str, out: &mut String) -> Option<&str> {
        if self.stops.is_empty() {
            out.push_str(text);
            return None;
        }
        self.held.push_str(text);
        let found = self.stops.iter().enumerate();
        let found = found.filter_map(|(i, stop)| Some((self.held.find(stop)?, i)));
        if let Some((at, i)) = found.min() {
            out.push_str(&self.held[..at]);
            self.held.clear();
            return Some(&self.stops[i]);
        }
        let mut starts = self.held.char_indices().map(|(at, _)| at);
        let could_stop = |at: &usize| {
            let tail = &self.held[*at..];
            self.stops.iter().any(|stop| stop.starts_with(tail))
        };
        let certain = starts.find(could_stop).unwrap_or(self.held.len());
        out.push_str(&self.held[..certain]);
        self.held.drain(..certain);
        None
    }

    /// Ends the text: what was held back belongs to the answer.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<String>) {
        let mut stop = StopTexts::new(stops.iter().map(|s| (*s).to_owned()).collect());
        let mut outs = Vec::new();
        for piece in pieces {
            let mut out = String::new();
            let stopped = stop.push(piece, &mut out).map(str::to_owned);
            outs.push(out);
            if stopped.is_some() {
                return (outs, stopped);
            }
        }
        let mut out = String::new();
        stop.finish(&mut out);
        outs.push(out);
        (outs, None)
    }

    #[test]
    fn a_beginning_is_held_back_until_it_is_certain() {
        let (outs, stopped) = run(&["\n\nUser:"], &["Hi\n", "\nU", "ser", "s\n\nUs", "er: x"]);
        assert_eq!(outs, ["Hi", "", "", "\n\nUsers", ""]);
        assert_eq!(stopped.as_deref(), Some("\n\nUser:"));
    }

    #[test]
    fn what_was_held_back_comes_at_the_end() {
        let (outs, stopped) = run(&["END"], &["the EN", "E", "N"]);
        assert_eq!(outs, ["the ", "EN", "", "EN"]);
        assert_eq!(stopped, None);
    }

    #[test]
    fn the_earliest_stop_wins() {
        let (outs, stopped) = run(&["late", "ear"], &["an early late"]);
        assert_eq!((outs[0].as_str(), stopped.as_deref()), ("an ", Some("ear")));
    }

    proptest! {
        /// However a text is cut into pieces, what comes out is the text up to the first stop.
        #[test]
        fn pieces_do_not_matter(
            pieces in prop::collection::vec("[abé]{0,4}", 0..12),
            stops in prop::collection::vec("[abé]{1,4}", 0..3),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (outs, stopped) = run(&stops, &pieces);
            let text = pieces.concat();
            let end = stops.iter().filter_map(|s| text.find(s)).min();
            prop_assert_eq!(stopped.is_some(), end.is_some());
            // A longer stop that began earlier may still be coming when a shorter one is complete.
            let out = outs.concat();
            prop_assert!(text.starts_with(&out));
            if end.is_none() {
                prop_assert_eq!(out, text);
            } else {
                prop_assert!(stops.iter().any(|s| text[out.len()..].starts_with(s)));
                prop_assert!(stops.iter().all(|s| !out.contains(s)));
            }
        }
    }
}
