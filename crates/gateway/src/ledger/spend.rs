//! Reservations and settlements: caps hold before money is spent, not after.

use rusqlite::params;
use serde::Serialize;

use super::reservation::End;
use super::tallies::Taken;
use super::writer::{Work, millis};
use super::{LedgerError, Money};

/// What is to be reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The request, as in its [`Row`](super::Row).
    pub request: String,
    /// Whose it is; none: the machine's owner.
    pub user: Option<String>,
    /// Who is to be asked.
    pub provider: String,
    /// Which of its models.
    pub model: String,
    /// The most that the call can cost: [`Prices::most`](super::Prices::most).
    pub most: Money,
}

/// What holds for one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// The most that one request may cost.
    pub request: Option<Money>,
    /// Caps that there are, and what is taken of each.
    pub bounds: Vec<Bound>,
}

/// One cap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// Which, as `the cap by day for everybody`.
    pub cap: &'static str,
    /// How much may be spent.
    pub limit: Money,
    /// How much is spent or reserved.
    pub taken: Money,
    /// When it begins anew, in milliseconds since 1970.
    pub until: u64,
}

impl Budget {
    /// The most that may be reserved now: none where there is no cap.
    #[must_use]
    pub fn left(&self) -> Option<Money> {
        let bounds = self.bounds.iter().map(|bound| Money {
            nanos: bound.limit.nanos.saturating_sub(bound.taken.nanos).max(0),
            ..bound.limit
        });
        self.request
            .into_iter()
            .chain(bounds)
            .min_by_key(|left| left.nanos)
    }
}

/// Every cap that holds for `user`.
pub(super) fn budget(work: &mut Work<'_>, user: &str) -> Result<Budget, LedgerError> {
    let caught = work
        .tallies
        .catch_up(work.connection, work.options, work.now);
    caught.map_err(|error| work.of(&error))?;
    let caps = &work.options.caps;
    let (day, month) = work.tallies.ends();
    let parts = [
        (
            [
                "the cap by day for everybody",
                "the cap by month for everybody",
            ],
            caps.all,
            work.tallies.all(),
        ),
        (
            ["the user's cap by day", "the user's cap by month"],
            caps.of_user(user),
            work.tallies.user(user),
        ),
    ];
    let mut bounds = Vec::new();
    for ([by_day, by_month], cap, taken) in parts {
        let Taken {
            day: today,
            month: this_month,
        } = taken;
        for (name, limit, taken, until) in [
            (by_day, cap.day, today, day),
            (by_month, cap.month, this_month, month),
        ] {
            if let Some(limit) = limit {
                bounds.push(Bound {
                    cap: name,
                    limit: caps.money(limit),
                    taken: caps.money(i64::try_from(taken).unwrap_or(i64::MAX)),
                    until,
                });
            }
        }
    }
    Ok(Budget {
        request: caps.request.map(|limit| caps.money(limit)),
        bounds,
    })
}

/// Sets money aside, if every cap allows it; the reservation's number.
pub(super) fn reserve(work: &mut Work<'_>, wanted: &Wanted) -> Result<u64, LedgerError> {
    let user = wanted.user.as_deref().unwrap_or_default();
    let most = wanted.most;
    if most.nanos < 0 {
        return Err(LedgerError::Negative(most));
    }
    let caps = &work.options.caps;
    if most.currency != caps.currency && !caps.is_empty() {
        return Err(LedgerError::Currency {
            caps: caps.currency.to_string(),
            wanted: most.currency.to_string(),
        });
    }
    let budget = budget(work, user)?;
    if let Some(limit) = budget.request.filter(|limit| most.nanos > limit.nanos) {
        return Err(LedgerError::RequestCap {
            limit,
            wanted: most,
        });
    }
    for bound in budget.bounds {
        let after = i128::from(bound.taken.nanos) + i128::from(most.nanos);
        if after > i128::from(bound.limit.nanos) {
            return Err(LedgerError::Cap {
                cap: bound.cap.to_owned(),
                limit: bound.limit,
                spent: bound.taken,
                wanted: most,
                until: work.options.zone.moment(bound.until),
            });
        }
    }
    let session = work.session()?;
    let row = params![
        session,
        millis(work.now),
        wanted.request,
        user,
        wanted.provider,
        wanted.model,
        most.currency.code(),
        most.nanos,
    ];
    let written = work.connection.prepare_cached(
        "INSERT INTO reservation (session, at, request, user, provider, model, currency, most)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    );
    let written = written.and_then(|mut insert| insert.insert(row));
    let id = written.map_err(|error| work.of(&error))?;
    Ok(u64::try_from(id).unwrap_or(0))
}

/// Ends a reservation.
pub(super) fn settle(
    work: &mut Work<'_>,
    id: u64,
    charged: i64,
    claimed: Option<i64>,
    end: End,
) -> Result<(), LedgerError> {
    let insert = work.connection.prepare_cached(
        "INSERT INTO settlement (reservation, at, charged, claimed, how)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    );
    let row = params![millis(id), millis(work.now), charged, claimed, end.word()];
    let written = insert.and_then(|mut insert| insert.execute(row));
    match written {
        Ok(_) => Ok(()),
        // Another process took this one for dead and settled it at its maximum.
        Err(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) =>
        {
            Err(LedgerError::Settled(id))
        }
        Err(error) => Err(work.of(&error)),
    }
}
