//! Who can be asked beyond this machine: the providers and pools of ingle.toml.

use crate::chat::{Piece, Request};
use crate::decide::{Coming, Door, Fault, Grant, Offer, Soon, Upstreams};
use crate::ledger::Prices;
use crate::provider::{self, Answer, CallError, Charged, Providers, Target};

use std::sync::{Arc, Once};

/// The providers, and which of them `auto` asks.
#[derive(Clone)]
pub struct Remote {
    providers: Providers,
    /// Names of targets, the first asked first; empty: all, the cheapest for a request first.
    order: Vec<String>,
    /// Why nobody may be asked.
    shut: Option<String>,
    /// Whether somebody looks after the health of pools.
    watched: Arc<Once>,
}

impl Remote {
    /// All `providers`; of those, `auto` asks `order`, or all if that is empty. `shut` says why nobody may
    /// be asked.
    ///
    /// # Errors
    /// A name of `order` that there is not.
    pub fn new(
        providers: Providers,
        order: Vec<String>,
        shut: Option<String>,
    ) -> Result<Self, String> {
        match order.iter().find(|name| providers.target(name).is_none()) {
            Some(name) => Err(name.clone()),
            None => Ok(Self {
                providers,
                order,
                shut,
                watched: Arc::new(Once::new()),
            }),
        }
    }

    fn offer(target: &Target, request: &Request) -> Offer {
        Offer {
            name: target.name().to_owned(),
            prices: target.prices().clone(),
            most_input: target.most_input(request),
            most_output: target.most_output(request),
        }
    }
}

impl Upstreams for Remote {
    fn door(&self) -> Door {
        match (&self.shut, self.providers.targets().next()) {
            (_, None) => Door::NoProvider,
            (Some(why), _) => Door::Shut(why.clone()),
            (None, Some(_)) => Door::Open,
        }
    }

    fn has(&self, model: &str) -> bool {
        self.providers.target(model).is_some()
    }

    fn names(&self) -> Vec<String> {
        let targets = self.providers.targets();
        targets.map(|target| target.name().to_owned()).collect()
    }

    fn offers(&self, request: &Request, named: Option<&str>) -> Result<Vec<Offer>, String> {
        let targets: Vec<&Target> = match named {
            Some(name) => self.providers.target(name).into_iter().collect(),
            None if self.order.is_empty() => self.providers.targets().collect(),
            None => {
                let names = self.order.iter();
                names
                    .filter_map(|name| self.providers.target(name))
                    .collect()
            }
        };
        let mut why = "there is no such provider".to_owned();
        let mut offers = Vec::new();
        for target in targets {
            match target.can(request) {
                Ok(()) => offers.push(Self::offer(target, request)),
                Err(misfit) => why = format!("{}: {misfit}", target.name()),
            }
        }
        if named.is_none() && self.order.is_empty() {
            offers.sort_by_key(|offer| offer.most().nanos);
        }
        // Who is left alone just now is asked last.
        offers.sort_by_key(|offer| !self.providers.is_ready(&offer.name));
        match offers.is_empty() {
            true => Err(why),
            false => Ok(offers),
        }
    }

    fn ask<'a>(
        &'a self,
        offer: &'a Offer,
        request: &'a Request,
        grant: Grant,
    ) -> Soon<'a, Result<Box<dyn Coming>, Fault>> {
        Box::pin(async move {
            self.watched.call_once(|| {
                let providers = self.providers.clone();
                // For as long as this runtime is there.
                drop(tokio::spawn(async move { providers.watch().await }));
            });
            let answer = self.providers.ask(&offer.name, request, &grant.rule).await;
            match answer {
                Ok(answer) => Ok(Box::new(answer) as Box<dyn Coming>),
                Err(error) => Err(told(&error)),
            }
        })
    }
}

impl Coming for Answer {
    fn next(&mut self) -> Soon<'_, Result<Option<Piece>, Fault>> {
        Box::pin(async move { Self::next(self).await.map_err(|error| told(&error)) })
    }

    fn charged(&self) -> Charged {
        Self::charged(self)
    }

    fn upstream(&self) -> String {
        Self::upstream(self).to_owned()
    }

    fn prices(&self) -> Prices {
        Self::prices(self).clone()
    }
}

/// What went wrong, without what the provider wrote: that may repeat the request, and rows and headers hold
/// no word of one.
fn told(error: &CallError) -> Fault {
    use provider::Fault as From;
    let why = match &error.fault {
        From::Busy { status, .. } => format!("it cannot answer now (status {status})"),
        From::Refused { status, .. } => format!("it refuses the request (status {status})"),
        From::BadAnswer(_) => "its answer cannot be understood".into(),
        From::GaveUp(_) => "it gave up while it answered".into(),
        other => other.to_string(),
    };
    Fault {
        why,
        charged: error.charged,
    }
}
