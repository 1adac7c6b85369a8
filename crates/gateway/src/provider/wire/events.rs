//! Server-sent events (WHATWG HTML, section 9.2), as far as answers use them: names and data.

/// Bytes of one line or one event at most.
const MOST_EVENT: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; empty where it has none.
    pub(crate) name: String,
    /// Its data, lines joined.
    pub(crate) data: String,
}

/// A stream of bytes on its way to events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    /// The last byte was a carriage return: a line feed behind it is part of the same end of line.
    returned: bool,
    began: bool,
}

impl Events {
    /// Takes the next bytes and appends the events that are complete to `found`.
    ///
    /// # Errors
    /// What is wrong: a line or an event beyond its bound, or one that is no UTF-8. What came before it
    /// has been found.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        found: &mut Vec<Event>,
    ) -> Result<(), &'static str> {
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.returned, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => found.extend(self.line()?),
                _ if self.line.len() >= MOST_EVENT => return Err("a line of it is too long"),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    /// A line is complete; where it is empty, an event may be.
    fn line(&mut self) -> Result<Option<Event>, &'static str> {
        let bytes = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&bytes).map_err(|_| "a line of it is no UTF-8")?;
        let line = match std::mem::replace(&mut self.began, true) {
            true => line,
            false => line.trim_start_matches('\u{feff}'),
        };
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            return Ok(self.data.take().map(|data| Event { name, data }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.chars().take(64).collect(),
            "data" => {
                let data = match self.data.take() {
                    Some(mut data) => {
                        data.push('\n');
                        data.push_str(value);
                        data
                    }
                    None => value.to_owned(),
                };
                if data.len() > MOST_EVENT {
                    return Err("an event of it is too long");
                }
                self.data = Some(data);
            }
            // Comments, ids and times of reconnection.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The events of one more part.
    fn push(events: &mut Events, part: &[u8]) -> Result<Vec<Event>, &'static str> {
        let mut found = Vec::new();
        events.push(part, &mut found).map(|()| found)
    }

    fn read(text: &[u8]) -> Vec<(String, String)> {
        let events = push(&mut Events::default(), text).unwrap();
        events.into_iter().map(|e| (e.name, e.data)).collect()
    }

    fn pair(name: &str, data: &str) -> (String, String) {
        (name.into(), data.into())
    }

    #[test]
    fn events_in_every_spelling() {
        let want = [pair("", "a"), pair("ping", "b\nc"), pair("", "")];
        for text in [
            "data: a\n\nevent: ping\ndata: b\ndata: c\n\ndata\n\n",
            "\u{feff}data:a\r\n\r\n: comment\r\nid: 7\r\nevent:ping\r\ndata:b\r\ndata:c\r\n\r\ndata:\r\n\r\n",
            "data: a\r\rdata: b\revent: ping\rdata: c\r\r\rdata: \r\r",
        ] {
            assert_eq!(read(text.as_bytes()), want, "{text:?}");
        }
        // An event that is not complete is none; a name without data neither.
        assert_eq!(read(b"data: a\n"), []);
        assert_eq!(read(b"event: x\n\n"), []);
    }

    #[test]
    fn lines_and_events_have_bounds() {
        let mut events = Events::default();
        let megabyte = vec![b'a'; 1 << 20];
        push(&mut events, b"data: ").unwrap();
        for _ in 0..3 {
            push(&mut events, &megabyte).unwrap();
        }
        assert!(push(&mut events, &megabyte).is_err());
        let mut events = Events::default();
        let line = [b"data: ".as_slice(), &megabyte, b"\n"].concat();
        let pushed: Result<Vec<_>, _> = (0..5).map(|_| push(&mut events, &line)).collect();
        assert!(pushed.is_err());
        let mut found = Vec::new();
        let bad = Events::default().push(b"data: a\n\ndata: \xff\n", &mut found);
        assert!(bad.is_err());
        assert_eq!(found.len(), 1, "what came before it");
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_does_not_matter(text: String, cuts in proptest::collection::vec(0_usize..40, 0..8)) {
            let text = format!("data: {text}\n\nevent: a\r\ndata: b\r\n\r\n");
            let whole = push(&mut Events::default(), text.as_bytes());
            let (mut rest, mut cut, mut events) = (text.as_bytes(), Vec::new(), Events::default());
            for at in cuts {
                let (head, tail) = rest.split_at(at.min(rest.len()));
                cut.extend(push(&mut events, head).unwrap());
                rest = tail;
            }
            cut.extend(push(&mut events, rest).unwrap());
            prop_assert_eq!(whole.unwrap(), cut);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = push(&mut Events::default(), &bytes);
        }
    }
}
