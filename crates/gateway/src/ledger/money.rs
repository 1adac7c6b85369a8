//! Money is a whole number of billionths of a currency's unit: nothing is rounded on the way, and where
//! a price times tokens has no whole number, the result is rounded up once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Billionths in one unit of a currency.
const NANOS: i64 = 1_000_000_000;
/// Decimal places of a billionth.
const PLACES: usize = 9;

/// Why a text is no amount, or two amounts have no sum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// It is no amount.
    #[error("`{0}` is no amount of money; write it as 12.50, with at most nine decimal places")]
    Amount(String),
    /// It is no currency.
    #[error("`{0}` is no currency; give its three capital letters, as USD")]
    Currency(String),
}

/// Three capital letters, as ISO 4217 has them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The dollar, in which providers price.
    pub const USD: Self = Self(*b"USD");

    /// Its letters.
    #[must_use]
    pub fn code(&self) -> &str {
        // Only letters come in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Self([a, b, c])),
            _ => Err(MoneyError::Currency(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;

    fn try_from(text: String) -> Result<Self, MoneyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount: billionths of a unit of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Billionths.
    pub nanos: i64,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// Nothing.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self { nanos: 0, currency }
    }

    /// Reads `12`, `12.5` or `0.000000001`: no sign, no exponent, at most nine places.
    ///
    /// # Errors
    /// [`MoneyError::Amount`].
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let wrong = || MoneyError::Amount(text.chars().take(40).collect());
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > PLACES {
            return Err(wrong());
        }
        let whole: i64 = whole.parse().map_err(|_| wrong())?;
        let part: i64 = format!("{part:0<PLACES$}").parse().map_err(|_| wrong())?;
        let nanos = whole.checked_mul(NANOS).and_then(|n| n.checked_add(part));
        Ok(Self {
            nanos: nanos.ok_or_else(wrong)?,
            currency,
        })
    }

    /// The sum, of one currency and within bounds.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let nanos = self.nanos.checked_add(other.nanos)?;
        (self.currency == other.currency).then_some(Self { nanos, ..self })
    }

    /// Its decimal number, without the currency: two places at least, the others where they are not 0.
    #[must_use]
    pub fn decimal(&self) -> String {
        let sign = if self.nanos < 0 { "-" } else { "" };
        let nanos = self.nanos.unsigned_abs();
        let unit = NANOS.unsigned_abs();
        let part = format!("{:0PLACES$}", nanos % unit);
        let kept = part.trim_end_matches('0').len().max(2);
        let part = part.get(..kept).unwrap_or_default();
        format!("{sign}{}.{part}", nanos / unit)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

/// Tokens of one request. Parts are parts: what was read from a cache is in `input`, what was thought is
/// in `output`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Of the request, all of them.
    pub input: u64,
    /// Those of `input` that came from a cache.
    pub cached: u64,
    /// Those of `input` that were written to a provider's cache.
    pub cache_write: u64,
    /// Of the answer, all of them.
    pub output: u64,
    /// Those of `output` that were reasoning.
    pub reasoning: u64,
}

/// What a provider asks for a million tokens, in billionths of the currency's unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prices {
    /// Of all four.
    pub currency: Currency,
    /// Tokens of the request.
    pub input: i64,
    /// Those read from the provider's cache.
    pub cached_input: i64,
    /// Those written to it.
    pub cache_write: i64,
    /// Tokens of the answer, reasoning too.
    pub output: i64,
    /// The day on which they were looked up, as `2026-11-01`; empty where the user gave none.
    pub dated: String,
}

impl Prices {
    /// What these tokens cost, rounded up to a billionth. Parts larger than their whole count as the
    /// whole.
    #[must_use]
    pub fn cost(&self, tokens: &Tokens) -> Money {
        let cached = tokens.cached.min(tokens.input);
        let written = tokens.cache_write.min(tokens.input - cached);
        let fresh = tokens.input - cached - written;
        self.sum([
            (fresh, self.input),
            (cached, self.cached_input),
            (written, self.cache_write),
            (tokens.output, self.output),
        ])
    }

    /// The most that a request can cost: every token of the request at the dearest price that one can
    /// have, and as many tokens of an answer as it may have.
    #[must_use]
    pub fn most(&self, input: u64, most_output: u64) -> Money {
        let dearest = self.input.max(self.cached_input).max(self.cache_write);
        self.sum([(input, dearest), (most_output, self.output), (0, 0), (0, 0)])
    }

    fn sum(&self, parts: [(u64, i64); 4]) -> Money {
        const MILLION: i128 = 1_000_000;
        let products = parts.map(|(tokens, price)| i128::from(tokens) * i128::from(price.max(0)));
        let total = products
            .into_iter()
            .fold(0_i128, |sum, product| sum.saturating_add(product));
        let nanos = total / MILLION + i128::from(total % MILLION != 0);
        Money {
            nanos: i64::try_from(nanos).unwrap_or(i64::MAX),
            currency: self.currency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(text: &str) -> Money {
        Money::parse(text, Currency::USD).unwrap()
    }

    #[test]
    fn amounts_are_read_to_the_billionth() {
        assert_eq!(usd("1").nanos, NANOS);
        assert_eq!(usd("0.000000001").nanos, 1);
        assert_eq!(usd("12.50").to_string(), "12.50 USD");
        assert_eq!(usd("0.0375").decimal(), "0.0375");
        for wrong in [
            "",
            ".5",
            "1.",
            "-1",
            "1e3",
            "1,5",
            "0.0000000001",
            "9999999999999",
            "1 ",
            "$1",
            "١",
        ] {
            assert!(Money::parse(wrong, Currency::USD).is_err(), "{wrong}");
        }
        for wrong in ["usd", "US", "USDT", "", "€"] {
            assert!(wrong.parse::<Currency>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn currencies_do_not_mix() {
        let euro = Money::zero("EUR".parse().unwrap());
        assert_eq!(usd("1").checked_add(euro), None);
        assert_eq!(usd("1").checked_add(usd("2.5")), Some(usd("3.5")));
    }

    fn prices() -> Prices {
        Prices {
            currency: Currency::USD,
            input: usd("3").nanos,
            cached_input: usd("0.30").nanos,
            cache_write: usd("3.75").nanos,
            output: usd("15").nanos,
            dated: "2026-11-01".into(),
        }
    }

    #[test]
    fn a_million_tokens_cost_their_price() {
        let tokens = Tokens {
            input: 3_000_000,
            cached: 1_000_000,
            cache_write: 1_000_000,
            output: 1_000_000,
            reasoning: 500_000,
        };
        assert_eq!(prices().cost(&tokens), usd("22.05"));
        // One token of cached input: 300 billionths.
        let one = Tokens {
            input: 1,
            cached: 1,
            ..Tokens::default()
        };
        assert_eq!(prices().cost(&one).nanos, 300);
        // Rounded up, once.
        let cheap = Prices {
            input: 1,
            ..prices()
        };
        let one = Tokens {
            input: 1,
            ..Tokens::default()
        };
        assert_eq!(cheap.cost(&one).nanos, 1);
        // Parts that claim to be more than the whole.
        let absurd = Tokens {
            input: 1,
            cached: u64::MAX,
            cache_write: u64::MAX,
            ..Tokens::default()
        };
        assert_eq!(prices().cost(&absurd).nanos, 300);
    }

    proptest! {
        #[test]
        fn a_text_and_its_amount_are_one(nanos in 0..i64::MAX) {
            let money = Money { nanos, currency: Currency::USD };
            prop_assert_eq!(Money::parse(&money.decimal(), Currency::USD), Ok(money));
        }

        #[test]
        fn nothing_costs_more_than_its_most(
            input in 0..1_u64 << 40, cached: u64, cache_write: u64, output in 0..1_u64 << 40, more in 0..1000_u64
        ) {
            let tokens = Tokens { input, cached, cache_write, output, reasoning: 0 };
            let most = prices().most(input + more, output + more);
            prop_assert!(prices().cost(&tokens).nanos <= most.nanos);
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = Money::parse(&text, Currency::USD);
            let _ = text.parse::<Currency>();
        }
    }
}
