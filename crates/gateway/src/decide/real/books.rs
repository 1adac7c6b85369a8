//! What is spent and written down, in the ledger.

use crate::chat::Request;
use crate::decide::{Books, Hold, Offer, Soon};
use crate::ledger::{Energy, Ledger, Money, Reservation, Row, Share, Wanted};

/// The ledger.
#[derive(Clone)]
pub struct Ledgered {
    /// The rows and the reservations.
    pub ledger: Ledger,
    /// Whether rows keep texts.
    pub keeps_texts: bool,
    /// What the machine draws, where it says.
    pub energy: Option<Energy>,
}

impl Books for Ledgered {
    fn room<'a>(&'a self, user: Option<&'a str>, most: Money) -> Soon<'a, Result<(), String>> {
        Box::pin(async move {
            let budget = self.ledger.budget(user).await.map_err(|e| e.to_string())?;
            match budget.left() {
                Some(left) if left.currency != most.currency => Err(format!(
                    "the caps are in {} and the provider asks for {}",
                    left.currency, most.currency
                )),
                Some(left) if left.nanos < most.nanos => Err(format!(
                    "{left} of the caps are left, and the request may cost {most}"
                )),
                _ => Ok(()),
            }
        })
    }

    fn reserve<'a>(
        &'a self,
        request: &'a Request,
        offer: &'a Offer,
    ) -> Soon<'a, Result<Box<dyn Hold>, String>> {
        let (provider, model) = offer.name.split_once('/').unwrap_or((&offer.name, ""));
        let wanted = Wanted {
            request: request.id.clone(),
            user: (request.user != "-").then(|| request.user.clone()),
            provider: provider.to_owned(),
            model: model.to_owned(),
            most: offer.most(),
        };
        Box::pin(async move {
            let reserved = self.ledger.reserve(wanted).await;
            reserved
                .map(|reserved| Box::new(reserved) as Box<dyn Hold>)
                .map_err(|error| error.to_string())
        })
    }

    fn append(&self, row: Row) {
        // It is written whether or not anybody waits.
        drop(self.ledger.append(row));
    }

    fn keeps_texts(&self) -> bool {
        self.keeps_texts
    }

    fn energy(&self) -> Option<Share> {
        self.energy.as_ref().map(Energy::begin)
    }
}

impl Hold for Reservation {
    fn id(&self) -> u64 {
        Self::id(self)
    }

    fn most(&self) -> Money {
        Self::most(self)
    }

    fn settle(self: Box<Self>, claimed: Money) -> Money {
        // As the ledger charges: never more than was set aside.
        let most = Self::most(&self);
        let charged = match claimed.currency == most.currency {
            true => claimed.nanos.clamp(0, most.nanos),
            false => most.nanos,
        };
        drop(Self::settle(*self, claimed));
        Money {
            nanos: charged,
            ..most
        }
    }

    fn release(self: Box<Self>) {
        drop(Self::release(*self));
    }
}
