//! All upstreams behind one door: who is asked, who is asked next, and when it is enough.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ingle_egress::{Cause, Door, Endpoint};

use super::balance::{self, Candidate};
use super::breaker::Verdict;
use super::call::{self, Call, Stream};
use super::error::{CallError, Charged, Fault};
use super::retry::Dice;
use super::settings::{Provider, RemoteModel, SettingsError};
use super::site::{Clock, Entry, Site};
use super::target::{self, PoolSettings, Target, Upstream};
use super::{said, wire};
use crate::chat::{Digest, Piece, Request, Role, prefix_digests};
use crate::ledger::Prices;

/// All upstreams. Made once; copies are the same.
#[derive(Clone)]
pub struct Providers(Arc<Inner>);

struct Inner {
    door: Door,
    sites: Vec<Arc<Site>>,
    targets: BTreeMap<String, Target>,
    clock: Clock,
    dice: Dice,
}

impl Providers {
    /// The lines of the allow-list that a door for `providers` needs.
    #[must_use]
    pub fn endpoints(providers: &[Provider]) -> Vec<Endpoint> {
        providers.iter().map(Provider::endpoint).collect()
    }

    /// Upstreams behind `door`, which has [`Self::endpoints`] on its list. `seed` is for the jitter of
    /// waits: any number, another one in every process.
    ///
    /// # Errors
    /// A pool that cannot be, or a name that is there twice.
    pub fn new(
        door: Door,
        providers: Vec<Provider>,
        pools: Vec<PoolSettings>,
        clock: Clock,
        seed: u64,
    ) -> Result<Self, SettingsError> {
        let targets = target::targets(&providers, pools)?;
        let sites = providers.into_iter();
        let sites = sites.map(|provider| Arc::new(Site::new(provider, clock.clone())));
        Ok(Self(Arc::new(Inner {
            door,
            sites: sites.collect(),
            targets,
            clock,
            dice: Dice::new(seed),
        })))
    }

    /// All that can be asked, by name.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.0.targets.values()
    }

    /// What can be asked under that name: `PROVIDER/MODEL`, or a pool's.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.0.targets.get(name)
    }

    /// Whether somebody could be asked under that name just now: one of its upstreams is well, has its key
    /// and a place free, and the network is not switched off.
    #[must_use]
    pub fn is_ready(&self, name: &str) -> bool {
        let upstreams = self.target(name).map(|target| target.upstreams.iter());
        let mut sites = upstreams.into_iter().flatten();
        self.0.door.offline().is_none()
            && sites.any(|one| self.site(*one).is_some_and(|(site, _)| site.is_ready()))
    }

    fn site(&self, upstream: Upstream) -> Option<(&Arc<Site>, &RemoteModel)> {
        let site = self.0.sites.get(upstream.site)?;
        Some((site, site.provider.models().get(upstream.model)?))
    }

    /// Asks `target` to answer `request`, by leave of `rule`, and comes back with the first piece. What may
    /// be tried again is; see the module.
    ///
    /// # Errors
    /// [`CallError`], which says whether it may have cost money.
    pub async fn ask(
        &self,
        target: &str,
        request: &Request,
        rule: &str,
    ) -> Result<Answer, CallError> {
        let mut asking = Asking {
            all: self,
            request,
            rule,
            began: (self.0.clock)(),
            tries: 0,
        };
        let Some(target) = self.target(target) else {
            return Err(asking.failed(target, Fault::Unknown));
        };
        if let Err(misfit) = target.can(request) {
            return Err(asking.failed(&target.name, misfit.into()));
        }
        let mut round = 0;
        loop {
            let error = match asking.round(target).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Last(error)) => return Err(error),
                Err(Failed::Again(error)) => error,
            };
            round += 1;
            let Some(wait) = asking.wait(target, round, &error) else {
                return Err(error);
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Looks after the health of pools, for as long as it is awaited. Nothing is asked of an upstream that
    /// nobody uses.
    pub async fn watch(&self) {
        const STEP: Duration = Duration::from_secs(1);
        loop {
            tokio::time::sleep(STEP).await;
            self.check().await;
        }
    }

    /// One look at the health of those upstreams of pools for which it is time.
    pub async fn check(&self) {
        let mut looks = Vec::new();
        for target in self.targets() {
            let pool = target.pool.as_ref();
            let Some(every) = pool.and_then(|pool| pool.check_every) else {
                continue;
            };
            let sites = target.upstreams.iter().filter_map(|one| self.site(*one));
            for (site, _) in sites.filter(|(site, _)| site.wants_check(every)) {
                looks.push(self.look(site, format!("pools.{}", target.name)));
            }
        }
        futures_util::future::join_all(looks).await;
    }

    async fn look(&self, site: &Site, rule: String) {
        let Ok(cause) = Cause::new("health check", &rule) else {
            return;
        };
        let visited = call::visit(&self.0.door, &site.provider, cause).await;
        site.checked(visited.is_ok());
    }

    /// Whether the provider of that name is there and accepts its key. Nothing of anybody is sent.
    ///
    /// # Errors
    /// Why not.
    pub async fn visit(&self, provider: &str) -> Result<(), Fault> {
        let mut sites = self.0.sites.iter();
        let site = sites.find(|site| site.provider.name() == provider);
        let cause = Cause::new("visit", "asked for by hand")?;
        let site = site.ok_or(Fault::Unknown)?;
        call::visit(&self.0.door, &site.provider, cause).await
    }
}

/// Why a round brought no answer.
enum Failed {
    /// It may be tried again.
    Again(CallError),
    /// It may not.
    Last(CallError),
}

/// A request on its way from upstream to upstream.
struct Asking<'a> {
    all: &'a Providers,
    request: &'a Request,
    rule: &'a str,
    began: Duration,
    tries: u32,
}

impl Asking<'_> {
    /// Asks the upstreams of a target, one after the other, until one answers.
    async fn round(&mut self, target: &Target) -> Result<Answer, Failed> {
        let mut last: Option<CallError> = None;
        for upstream in self.order(target) {
            let Some((site, model)) = self.all.site(upstream) else {
                continue;
            };
            let name = format!("{}/{}", site.provider.name(), model.name);
            match self.one(target, site, model, &name).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => {
                    let paid = fault.charged() != Charged::No && !model.is_free();
                    let here_only =
                        fault.is_its_own() || matches!(fault, Fault::Misfit(_) | Fault::NoKey(_));
                    let transient = fault.is_transient();
                    let error = self.failed(&name, fault);
                    if paid || !(transient || (here_only && target.is_pool())) {
                        return Err(Failed::Last(error));
                    }
                    // What may pass is told before what will not.
                    if transient || last.is_none() {
                        last = Some(error);
                    }
                }
            }
        }
        let error = last.unwrap_or_else(|| self.failed(&target.name, Fault::Unknown));
        match error.fault.is_transient() {
            true => Err(Failed::Again(error)),
            false => Err(Failed::Last(error)),
        }
    }

    /// The upstreams of a target, the one that should be asked first.
    fn order(&self, target: &Target) -> Vec<Upstream> {
        let Some(pool) = &target.pool else {
            return target.upstreams.clone();
        };
        let names: Vec<String> = target.upstreams.iter().map(|one| self.name(*one)).collect();
        let candidates: Vec<Candidate<'_>> = target
            .upstreams
            .iter()
            .zip(&names)
            .map(|(one, name)| {
                let site = self.all.site(*one).map(|(site, _)| site);
                Candidate {
                    name,
                    load: site.map_or(0, |site| site.load.load(Ordering::Relaxed)),
                    ready: site.is_some_and(|site| site.is_ready()),
                }
            })
            .collect();
        let beginning = pool.affinity.then(|| beginning(self.request)).flatten();
        let order = balance::order(&candidates, beginning, pool.most_load);
        order
            .into_iter()
            .filter_map(|i| target.upstreams.get(i).copied())
            .collect()
    }

    fn name(&self, upstream: Upstream) -> String {
        let site = self.all.site(upstream);
        site.map(|(site, model)| format!("{}/{}", site.provider.name(), model.name))
            .unwrap_or_default()
    }

    /// One try at one upstream.
    async fn one(
        &mut self,
        target: &Target,
        site: &Arc<Site>,
        model: &RemoteModel,
        name: &str,
    ) -> Result<Answer, Fault> {
        let whole = site.provider.settings.timeouts.whole;
        let limit = target.most_output(self.request);
        let body = wire::body(&site.provider, model, self.request, limit)?;
        let body = Bytes::from(body.to_string());
        let cause = Cause::new(&self.request.id, self.rule)?;
        let mut entry = site.enter()?;
        self.tries = self.tries.saturating_add(1);
        let left = whole
            .saturating_sub(self.elapsed())
            .max(Duration::from_millis(1));
        let begun = call::begin(Call {
            door: &self.all.0.door,
            provider: &site.provider,
            model,
            body,
            cause,
            limit,
            left,
        });
        match begun.await {
            Ok(stream) => Ok(Answer {
                stream,
                entry,
                name: name.to_owned(),
                model: model.clone(),
                tries: self.tries,
                failed: None,
            }),
            Err(fault) => {
                let fault = cleaned(fault, &site.provider);
                entry.tell(verdict(&fault));
                if let Fault::Busy {
                    status: 429,
                    after: Some(after),
                    ..
                } = &fault
                {
                    // A little less than it says: who waits for as long as it says must find it open.
                    let most = site.provider.settings.retries.most;
                    site.leave_alone((*after).min(most).mul_f64(0.9));
                }
                Err(fault)
            }
        }
    }

    fn elapsed(&self) -> Duration {
        (self.all.0.clock)().saturating_sub(self.began)
    }

    /// How long to wait before the next round; none: it was the last.
    fn wait(&self, target: &Target, round: u32, error: &CallError) -> Option<Duration> {
        let (site, _) = self.all.site(*target.upstreams.first()?)?;
        let settings = &site.provider.settings;
        let said = match &error.fault {
            Fault::Busy { after, .. } => *after,
            // Who is left alone is not waited for: there is an answer at home.
            Fault::Resting { .. } | Fault::Full { .. } => return None,
            _ => None,
        };
        let wait = settings.retries.wait(round, said, &self.all.0.dice)?;
        let after = self.elapsed().checked_add(wait)?;
        (after < settings.timeouts.whole).then_some(wait)
    }

    fn failed(&self, target: &str, fault: Fault) -> CallError {
        CallError {
            target: target.to_owned(),
            charged: fault.charged(),
            fault,
            began: false,
            tries: self.tries,
        }
    }
}

fn verdict(fault: &Fault) -> Verdict {
    match fault.is_its_own() {
        true => Verdict::Ill,
        false => Verdict::Nothing,
    }
}

/// What a provider wrote itself is shown without its key.
fn cleaned(fault: Fault, provider: &Provider) -> Fault {
    match fault {
        Fault::GaveUp(text) => Fault::GaveUp(said::clean(&text, provider)),
        other => other,
    }
}

/// The beginning of a conversation, which all its later requests share: up to the first words of a user.
fn beginning(request: &Request) -> Option<Digest> {
    let first = request.messages.iter().position(|m| m.role == Role::User);
    let messages = request.messages.get(..=first?)?;
    prefix_digests("", messages).pop()
}

/// An answer under way.
pub struct Answer {
    stream: Stream,
    entry: Entry,
    name: String,
    model: RemoteModel,
    tries: u32,
    failed: Option<Charged>,
}

impl Answer {
    /// The next piece; none: that was all.
    ///
    /// # Errors
    /// [`CallError`], with `began` set: pieces were handed out. After one there is nothing more.
    pub async fn next(&mut self) -> Result<Option<Piece>, CallError> {
        if self.failed.is_some() {
            return Ok(None);
        }
        match self.stream.next().await {
            Ok(piece) => {
                if piece.is_none() {
                    self.entry.tell(Verdict::Well);
                }
                Ok(piece)
            }
            Err(fault) => {
                let fault = cleaned(fault, &self.entry.site().provider);
                self.entry.tell(verdict(&fault));
                self.failed = Some(Charged::Unknown);
                Err(CallError {
                    target: self.name.clone(),
                    fault,
                    charged: Charged::Unknown,
                    began: true,
                    tries: self.tries,
                })
            }
        }
    }

    /// Who answers: `PROVIDER/MODEL`.
    #[must_use]
    pub fn upstream(&self) -> &str {
        &self.name
    }

    /// The provider's name.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.entry.site().provider.name()
    }

    /// The model's name there.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model.name
    }

    /// What it costs.
    #[must_use]
    pub fn prices(&self) -> &Prices {
        &self.model.prices
    }

    /// How often the request was sent, or tried to be.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Whether money may be asked for, as far as is known by now: of an answer that was read to its end, the
    /// tokens it took; before, and where the provider's figures cannot be, unknown.
    #[must_use]
    pub fn charged(&self) -> Charged {
        self.failed.unwrap_or_else(|| self.stream.charged())
    }

    /// What is wrong with the figures of the provider, where something is. The answer stands.
    #[must_use]
    pub fn usage_fault(&self) -> Option<&'static str> {
        self.stream.usage_fault()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // It answered; that its caller had enough does not tell against it.
        self.entry.tell(Verdict::Well);
    }
}
