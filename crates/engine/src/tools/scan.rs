//! JSON read byte by byte, as it comes.

/// What a byte does to a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The value goes on.
    More,
    /// The value ends with this byte.
    Done,
    /// The value, a number, ended before this byte.
    Before,
    /// No JSON goes on like this.
    Wrong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    /// Behind `[`: a value or the end.
    Items,
    /// Behind `{`: a key or the end.
    Keys,
    Key,
    Colon,
    Comma,
    Text {
        key: bool,
    },
    Escape {
        key: bool,
    },
    Hex {
        key: bool,
        left: u8,
    },
    Word(&'static [u8]),
    Number(Number),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Number {
    fn is_whole(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Digits | Self::Fraction | Self::Exponent
        )
    }

    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus | Self::Digits, b'0'..=b'9') => Some(Self::Digits),
            (Self::Zero | Self::Digits, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') => Some(Self::E),
            (Self::E, b'+' | b'-') => Some(Self::Sign),
            (Self::E | Self::Sign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            _ => None,
        }
    }
}

/// The deepest nesting that is followed.
const MAX_DEPTH: usize = 128;

/// Follows one JSON value. Control characters inside strings are let through, as models write line
/// breaks there: whoever copies the text escapes them.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    /// `{` and `[` that are open.
    open: Vec<u8>,
    state: State,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            state: State::Value,
        }
    }
}

impl Scan {
    /// Whether the next byte stands inside a string.
    pub fn in_text(&self) -> bool {
        matches!(self.state, State::Text { .. })
    }

    /// Takes the next byte.
    pub fn push(&mut self, byte: u8) -> Step {
        match self.state {
            State::Text { key } => return self.text(key, byte),
            State::Escape { key } => return self.escape(key, byte),
            State::Hex { key, left } => return self.hex(key, left, byte),
            State::Word([next, rest @ ..]) if *next == byte => {
                self.state = State::Word(rest);
                return match rest {
                    [] => self.ended(),
                    _ => Step::More,
                };
            }
            State::Number(number) => return self.number(number, byte),
            _ => {}
        }
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') && !matches!(self.state, State::Word(_)) {
            return Step::More;
        }
        match (self.state, byte) {
            (State::Items, b']') | (State::Keys, b'}') => self.close(),
            (State::Value | State::Items, _) => self.value(byte),
            (State::Keys | State::Key, b'"') => self.to(State::Text { key: true }),
            (State::Colon, b':') => self.to(State::Value),
            (State::Comma, b',') => match self.open.last() {
                Some(b'{') => self.to(State::Key),
                _ => self.to(State::Value),
            },
            (State::Comma, b'}') if self.open.last() == Some(&b'{') => self.close(),
            (State::Comma, b']') if self.open.last() == Some(&b'[') => self.close(),
            _ => Step::Wrong,
        }
    }

    fn to(&mut self, state: State) -> Step {
        self.state = state;
        Step::More
    }

    fn value(&mut self, byte: u8) -> Step {
        let state = match byte {
            b'{' | b'[' if self.open.len() == MAX_DEPTH => return Step::Wrong,
            b'{' => {
                self.open.push(byte);
                State::Keys
            }
            b'[' => {
                self.open.push(byte);
                State::Items
            }
            b'"' => State::Text { key: false },
            b't' => State::Word(b"rue"),
            b'f' => State::Word(b"alse"),
            b'n' => State::Word(b"ull"),
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Digits),
            _ => return Step::Wrong,
        };
        self.to(state)
    }

    fn close(&mut self) -> Step {
        self.open.pop();
        self.ended()
    }

    /// A value has ended.
    fn ended(&mut self) -> Step {
        self.state = State::Comma;
        match self.open.is_empty() {
            true => Step::Done,
            false => Step::More,
        }
    }

    fn text(&mut self, key: bool, byte: u8) -> Step {
        match byte {
            b'\\' => self.to(State::Escape { key }),
            b'"' if key => self.to(State::Colon),
            b'"' => self.ended(),
            _ => Step::More,
        }
    }

    fn escape(&mut self, key: bool, byte: u8) -> Step {
        match byte {
            b'u' => self.to(State::Hex { key, left: 4 }),
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.to(State::Text { key }),
            _ => Step::Wrong,
        }
    }

    fn hex(&mut self, key: bool, left: u8, byte: u8) -> Step {
        match (byte.is_ascii_hexdigit(), left) {
            (false, _) => Step::Wrong,
            (true, 1) => self.to(State::Text { key }),
            (true, _) => self.to(State::Hex {
                key,
                left: left - 1,
            }),
        }
    }

    fn number(&mut self, number: Number, byte: u8) -> Step {
        if let Some(next) = number.next(byte) {
            return self.to(State::Number(next));
        }
        if !number.is_whole() {
            return Step::Wrong;
        }
        match self.ended() {
            Step::Done => Step::Before,
            _ => self.push(byte),
        }
    }
}

/// `text` as the inside of a JSON string.
pub(crate) fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(text: &str) -> (Step, usize) {
        let mut scan = Scan::default();
        for (i, byte) in text.bytes().enumerate() {
            match scan.push(byte) {
                Step::More => {}
                step => return (step, i),
            }
        }
        (Step::More, text.len())
    }

    #[test]
    fn values_end_where_they_end() {
        assert_eq!(
            scan(r#" {"a": [1, -2.5e3, "}"], "b": null} x"#).0,
            Step::Done
        );
        assert_eq!(scan("[]]"), (Step::Done, 1));
        assert_eq!(scan("12,"), (Step::Before, 2));
        assert_eq!(scan("true"), (Step::Done, 3));
        assert_eq!(scan(r#""\u00e9\n""#).0, Step::Done);
        for wrong in [
            "{a", "[1,]", "[01]", "{\"a\" 1", "tru ", "\"\\x", "1.}", "[1}", "{]",
        ] {
            assert_eq!(scan(wrong).0, Step::Wrong, "{wrong}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Into::into),
            any::<f64>().prop_filter_map("finite", |f| serde_json::Number::from_f64(f)
                .map(Into::into)),
            ".{0,6}".prop_map(serde_json::Value::from),
            any::<bool>().prop_map(Into::into),
            Just(serde_json::Value::Null),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|pairs| pairs.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_read(value in json(), pretty in any::<bool>()) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let text = text + " ";
            let (step, at) = scan(&text);
            let ends = if value.is_number() { (Step::Before, text.len() - 1) } else { (Step::Done, text.len() - 2) };
            prop_assert_eq!((step, at), ends);
        }

        #[test]
        fn what_is_done_is_json(text in "[\\[\\]{}\",:0-9a\\\\ truefalsn.e-]{0,24}") {
            if let (Step::Done, at) = scan(&text) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text[..=at]).is_ok(), "{}", text);
            }
        }
    }
}
