//! Whose request goes out, and which rule let it.

use crate::{EgressError, origin};

/// What a row in the log says of a request that leaves for somebody: which one it is, and the rule that
/// allowed it. Only names, never a text of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    request: String,
    rule: String,
}

impl Cause {
    /// The request's id and the rule's name, each cut to 200 characters and without control characters.
    ///
    /// # Errors
    /// [`EgressError::NoCause`] where one of them is blank.
    pub fn new(request: &str, rule: &str) -> Result<Self, EgressError> {
        let blank = |text: &str| text.trim().is_empty();
        if blank(request) || blank(rule) {
            return Err(EgressError::NoCause);
        }
        Ok(Self {
            request: origin::plain(request.trim(), origin::SHOWN),
            rule: origin::plain(rule.trim(), origin::SHOWN),
        })
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &str {
        &self.request
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_names_both_and_holds_no_control_characters() {
        for (request, rule) in [("", "r"), ("q", " "), ("\n", "r")] {
            assert!(matches!(
                Cause::new(request, rule),
                Err(EgressError::NoCause)
            ));
        }
        let cause = Cause::new("q\u{1b}[2J?a", &"x".repeat(500)).unwrap();
        assert_eq!(cause.request(), "q\\u{1b}[2J?a");
        assert_eq!(cause.rule().len(), 203);
    }
}
