//! Sums: by day, user, model or route.
//!
//! What was spent is the sum of settlements, each in the line of the call that was paid; tokens, energy
//! and what was saved are sums of answers. So a call that failed and was paid for is money of the cloud,
//! although this machine gave the answer.

use std::collections::BTreeMap;
use std::ops::Range;

use rusqlite::{Row as Line, params};
use serde::Serialize;

use super::reader::{Reader, count};
use super::rows::COLUMNS;
use super::writer::millis;
use super::{Currency, LedgerError, Money, Outcome, Priced, Route, Row, Tokens, Zone, rows};

/// What lines are made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Days of the time zone.
    Day,
    /// Names of keys.
    User,
    /// Models that answered.
    Model,
    /// This machine or a provider.
    Route,
}

/// From the first moment (included) to the second (not included), in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// None: from the beginning.
    pub since: Option<u64>,
    /// None: to the end.
    pub until: Option<u64>,
}

impl Span {
    pub(super) fn bounds(self) -> (i64, i64) {
        (
            self.since.map_or(0, millis),
            self.until.map_or(i64::MAX, millis),
        )
    }
}

/// What some requests came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Requests, however they ended.
    pub requests: u64,
    /// Those that this machine answered.
    pub local: u64,
    /// Those that a provider answered.
    pub cloud: u64,
    /// Tokens of all of them, as counted here.
    pub tokens: Tokens,
    /// Tokens, of requests and answers, that stayed at home.
    pub home_tokens: u64,
    /// What was spent, by currency.
    pub spent: Vec<Money>,
    /// What the answers of this machine would have cost at the provider that `auto` would have chosen.
    pub saved: Vec<Money>,
    /// What this machine drew for its answers, in microjoules, as far as it is known.
    pub energy_uj: u64,
}

/// What we counted and what a provider says, for one of its models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// The provider.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// Answers for which it gave figures.
    pub answers: u64,
    /// Tokens of these as counted here.
    pub ours: Tokens,
    /// The same as it says.
    pub theirs: Tokens,
    /// What was charged for all its calls.
    pub charged: Vec<Money>,
    /// What its figures came to, where they were more than was reserved: how much more.
    pub beyond: Vec<Money>,
    /// Calls that were charged at their maximum because nobody said what they cost.
    pub unknown: u64,
}

/// What answers of this machine are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The provider that `auto` would have chosen.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// The day of its prices; empty where the user gave none.
    pub dated: String,
    /// Answers.
    pub answers: u64,
    /// What they would have cost there.
    pub cost: Vec<Money>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Costs {
    /// What lines are made by.
    pub by: By,
    /// The lines, days in their order, others by name.
    pub lines: Vec<(String, Sums)>,
    /// All lines together.
    pub total: Sums,
    /// Money that is set aside for calls that run now.
    pub reserved: Vec<Money>,
    /// Where the figures of what was saved come from.
    pub compared: Vec<Compared>,
    /// Providers' figures beside ours.
    pub reconciled: Vec<Reconciled>,
    /// Answers whose rows could not be kept.
    pub lost: u64,
}

/// Sums of money by currency.
#[derive(Default)]
struct Purse(BTreeMap<Currency, i128>);

impl Purse {
    fn add(&mut self, currency: Currency, nanos: i64) {
        *self.0.entry(currency).or_default() += i128::from(nanos);
    }

    fn amounts(self) -> Vec<Money> {
        let money = |(currency, nanos)| Money {
            nanos: i64::try_from(nanos).unwrap_or(i64::MAX),
            currency,
        };
        self.0.into_iter().map(money).collect()
    }
}

/// A line on its way.
#[derive(Default)]
struct Pile {
    sums: Sums,
    spent: Purse,
    saved: Purse,
}

impl Pile {
    fn answer(&mut self, row: &Row) {
        let sums = &mut self.sums;
        sums.requests += 1;
        add(&mut sums.tokens, &row.tokens);
        sums.energy_uj = sums.energy_uj.saturating_add(row.energy_uj.unwrap_or(0));
        match row.route {
            Route::Local => {
                sums.local += 1;
                let tokens = row.tokens.input.saturating_add(row.tokens.output);
                sums.home_tokens = sums.home_tokens.saturating_add(tokens);
            }
            Route::Cloud => sums.cloud += 1,
            Route::None => {}
        }
        if let Some(instead) = saved(row) {
            self.saved.add(instead.cost.currency, instead.cost.nanos);
        }
    }

    fn sums(self) -> Sums {
        Sums {
            spent: self.spent.amounts(),
            saved: self.saved.amounts(),
            ..self.sums
        }
    }
}

/// What an answer saved. Half an answer, or none, saved nothing.
fn saved(row: &Row) -> Option<&Priced> {
    let whole = row.route == Route::Local && row.outcome == Outcome::Completed;
    row.instead.as_ref().filter(|_| whole)
}

fn add(sum: &mut Tokens, tokens: &Tokens) {
    for (sum, n) in [
        (&mut sum.input, tokens.input),
        (&mut sum.cached, tokens.cached),
        (&mut sum.cache_write, tokens.cache_write),
        (&mut sum.output, tokens.output),
        (&mut sum.reasoning, tokens.reasoning),
    ] {
        *sum = sum.saturating_add(n);
    }
}

/// A provider's model on its way.
#[derive(Default)]
struct Bill {
    answers: u64,
    ours: Tokens,
    theirs: Tokens,
    charged: Purse,
    beyond: Purse,
    unknown: u64,
}

/// The name of a day, remembered while the day lasts.
struct Days<'a> {
    zone: &'a Zone,
    last: Option<(Range<u64>, String)>,
}

impl Days<'_> {
    fn name(&mut self, at: u64) -> String {
        match &self.last {
            Some((day, name)) if day.contains(&at) => name.clone(),
            _ => {
                let name = self.zone.date(at);
                self.last = Some((self.zone.day(at), name.clone()));
                name
            }
        }
    }
}

/// A call that was paid, or is being made.
struct Call {
    at: u64,
    user: String,
    provider: String,
    model: String,
    currency: Currency,
    most: i64,
    charged: Option<i64>,
    claimed: Option<i64>,
    how: Option<String>,
}

impl Call {
    fn read(line: &Line<'_>) -> rusqlite::Result<Self> {
        let currency: String = line.get(4)?;
        Ok(Self {
            at: count(line.get(0)?),
            user: line.get(1)?,
            provider: line.get(2)?,
            model: line.get(3)?,
            currency: currency.parse().unwrap_or(Currency::USD),
            most: line.get(5)?,
            charged: line.get(6)?,
            claimed: line.get(7)?,
            how: line.get(8)?,
        })
    }
}

struct Summing<'a> {
    by: By,
    days: Days<'a>,
    piles: BTreeMap<String, Pile>,
    total: Pile,
    reserved: Purse,
    compared: BTreeMap<[String; 3], (u64, Purse)>,
    bills: BTreeMap<(String, String), Bill>,
}

impl Summing<'_> {
    fn answer(&mut self, row: &Row) {
        let name = match self.by {
            By::Day => self.days.name(row.at),
            By::User => row.user.clone().unwrap_or_default(),
            By::Model => row.model.clone(),
            By::Route => row.route.word().to_owned(),
        };
        self.piles.entry(name).or_default().answer(row);
        self.total.answer(row);
        if let Some(instead) = saved(row) {
            let key = [&instead.provider, &instead.model, &instead.dated].map(String::clone);
            let (answers, cost) = self.compared.entry(key).or_default();
            *answers += 1;
            cost.add(instead.cost.currency, instead.cost.nanos);
        }
        if let (Some(theirs), Some(cost)) = (&row.provider_tokens, &row.cost) {
            let key = (cost.provider.clone(), cost.model.clone());
            let bill = self.bills.entry(key).or_default();
            bill.answers += 1;
            add(&mut bill.ours, &row.tokens);
            add(&mut bill.theirs, theirs);
        }
    }

    fn call(&mut self, call: Call) {
        let Some(charged) = call.charged else {
            self.reserved.add(call.currency, call.most);
            return;
        };
        let name = match self.by {
            By::Day => self.days.name(call.at),
            By::User => call.user,
            By::Model => call.model.clone(),
            By::Route => Route::Cloud.word().to_owned(),
        };
        // A call of which nothing left is in no line.
        if charged > 0 {
            let pile = self.piles.entry(name).or_default();
            pile.spent.add(call.currency, charged);
            self.total.spent.add(call.currency, charged);
        }
        let bill = self.bills.entry((call.provider, call.model)).or_default();
        bill.charged.add(call.currency, charged);
        let beyond = call.claimed.unwrap_or(0).saturating_sub(charged);
        if beyond > 0 {
            bill.beyond.add(call.currency, beyond);
        }
        bill.unknown += u64::from(matches!(call.how.as_deref(), Some("dropped" | "died")));
    }
}

impl Reader {
    /// Sums of all that began in `span`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn costs(&self, span: Span, by: By, zone: &Zone) -> Result<Costs, LedgerError> {
        self.add_up(span, by, zone).map_err(|error| self.of(&error))
    }

    fn add_up(&self, span: Span, by: By, zone: &Zone) -> rusqlite::Result<Costs> {
        let (from, to) = span.bounds();
        let mut summing = Summing {
            by,
            days: Days { zone, last: None },
            piles: BTreeMap::new(),
            total: Pile::default(),
            reserved: Purse::default(),
            compared: BTreeMap::new(),
            bills: BTreeMap::new(),
        };
        // One moment of the ledger, whatever is written meanwhile.
        let moment = self.connection.unchecked_transaction()?;
        let sql = format!("SELECT {COLUMNS} FROM answer WHERE at >= ?1 AND at < ?2 ORDER BY at");
        let mut answers = moment.prepare(&sql)?;
        let mut lines = answers.query(params![from, to])?;
        while let Some(line) = lines.next()? {
            summing.answer(&rows::read(line)?.1);
        }
        let mut calls = moment.prepare(
            "SELECT r.at, r.user, r.provider, r.model, r.currency, r.most, s.charged, s.claimed, s.how
             FROM reservation r LEFT JOIN settlement s ON s.reservation = r.id
             WHERE r.at >= ?1 AND r.at < ?2 ORDER BY r.at",
        )?;
        let mut lines = calls.query(params![from, to])?;
        while let Some(line) = lines.next()? {
            summing.call(Call::read(line)?);
        }
        let sql = "SELECT coalesce(sum(answers), 0) FROM lost WHERE at >= ?1 AND at < ?2";
        let lost = moment.query_row(sql, params![from, to], |row| row.get(0))?;
        let compared = summing.compared.into_iter();
        let compared = compared.map(|([provider, model, dated], (answers, cost))| Compared {
            provider,
            model,
            dated,
            answers,
            cost: cost.amounts(),
        });
        let reconciled = summing
            .bills
            .into_iter()
            .map(|((provider, model), bill)| Reconciled {
                provider,
                model,
                answers: bill.answers,
                ours: bill.ours,
                theirs: bill.theirs,
                charged: bill.charged.amounts(),
                beyond: bill.beyond.amounts(),
                unknown: bill.unknown,
            });
        Ok(Costs {
            by,
            lines: summing
                .piles
                .into_iter()
                .map(|(name, pile)| (name, pile.sums()))
                .collect(),
            total: summing.total.sums(),
            reserved: summing.reserved.amounts(),
            compared: compared.collect(),
            reconciled: reconciled.collect(),
            lost: count(lost),
        })
    }
}
