//! The decision as it is carried out.

use super::account::{Account, Note, Since};
use super::cloud::{Call, CloudAnswer};
use super::home::{HomeAnswer, Tallied};
use super::judge::{Escalation, Verdict, judge};
use super::parts::{
    AtHome, Books, Grant, Hearth, Looked, Offer, Ruled, Rules, Sureness, Unable, Upstreams,
};
use super::plan::{Plan, Refusal, plan};
use super::situation::{Able, Asked, Door, Home, Mode, Situation};
use crate::chat::{Leave, Request, Usage};
use crate::confidence::{self, Stage};
use crate::ledger::{Currency, Money, Outcome, Route};
use crate::provider::Charged;
use futures_util::future::{Either, join, select};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

/// How many providers are asked for one request, where one after the other fails.
const MOST_TRIES: usize = 2;

/// What is always decided the same way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Where requests are answered that do not say.
    pub route: Asked,
    /// When it is decided about answers that are streamed.
    pub mode: Mode,
    /// Whether a confidence that is not calibrated escalates.
    pub escalate_uncalibrated: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            route: Asked::Auto,
            mode: Mode::Prefix(confidence::PREFIX_TOKENS),
            escalate_uncalibrated: false,
        }
    }
}

/// The parts of a gateway.
#[derive(Clone)]
pub struct Gateway {
    /// What may leave.
    pub rules: Arc<dyn Rules>,
    /// Who can be asked.
    pub cloud: Arc<dyn Upstreams>,
    /// What is spent and written down.
    pub books: Arc<dyn Books>,
    /// How sure local answers are.
    pub sureness: Arc<dyn Sureness>,
    /// What is always decided the same way.
    pub settings: Settings,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A request to be answered here or there.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The request itself.
    pub request: Request,
    /// Where it is to be answered, if it says.
    pub asked: Option<Asked>,
    /// The provider's model that it names, as `PROVIDER/MODEL`.
    pub named: Option<String>,
    /// The answer is sent while it comes.
    pub streams: bool,
    /// Something that it asks for and that only this machine does.
    pub only_here: Option<String>,
    /// Why nobody else may be asked for this caller.
    pub shut: Option<String>,
    /// What [`Gateway::rule`] says of it.
    pub ruled: Ruled,
}

/// An answer, from here or from there.
pub enum Routed<A: AtHome> {
    /// From here.
    Home(Box<HomeAnswer<A>>),
    /// From a provider.
    Cloud(Box<CloudAnswer>),
}

/// Nobody answers.
#[derive(Debug)]
pub enum Denied<E> {
    /// The model at home says why; the note, why nobody else.
    Home(E, Box<Note>),
    /// Nobody else may or can, and the request names them.
    Refused(Refusal, Box<Note>),
    /// Somebody was asked and failed, and the request names them.
    Failed(String, Box<Note>),
}

/// What a part of the way came to.
enum Came<A: AtHome, E> {
    /// The local answer, with what was held back of it.
    Kept(Tallied<A>, VecDeque<A::News>),
    /// A provider's answer.
    Sent(Box<Call>),
    /// The model at home cannot.
    Unable { why: String, error: E },
    /// The model at home does not, and nobody else is asked.
    Wrong(E),
    /// Nobody was asked.
    Refused(Refusal),
    /// Somebody who was named was asked and failed.
    Failed(String),
}

/// Why no provider answers.
struct Failed {
    why: String,
    /// There was no money for it.
    budget: bool,
}

/// One request on its way.
struct Way<'g, H: Hearth> {
    gateway: &'g Gateway,
    hearth: &'g H,
    ask: Ask,
    situation: Situation,
    offers: Vec<Offer>,
    account: Account,
}

impl Gateway {
    /// Whether anybody but this machine can be asked.
    pub fn has_cloud(&self) -> bool {
        self.cloud.door() != Door::NoProvider
    }

    /// What the policy says of a request. May take some milliseconds: not for a thread that serves
    /// connections.
    pub fn rule(&self, request: &Request) -> Ruled {
        match self.has_cloud() {
            true => self.rules.rule(request),
            false => Ruled::alone(),
        }
    }

    /// A request comes: its times, and what the machine draws for it, count from here.
    pub fn since(&self) -> Since {
        Since::now(&*self.books, (self.clock)())
    }

    /// Whether the model at home is asked first, as far as can be told before anything is looked up.
    pub fn begins_at_home(&self, ask: &Ask) -> bool {
        let leave = ask.ruled.ruling.leave;
        let leave = ask.request.leave.map_or(leave, |wish| wish.min(leave));
        let door = self.cloud.door();
        let stays = door != Door::Open || ask.shut.is_some() || ask.only_here.is_some();
        let before = ask.streams && self.settings.mode == Mode::Before;
        let tried = match ask.asked.unwrap_or(self.settings.route) {
            Asked::Local => true,
            Asked::Auto => leave == Leave::Allow && !before,
            Asked::Cloud => false,
        };
        ask.named.is_none() && (stays || leave == Leave::LocalOnly || tried)
    }

    /// Answers a request here or there; `since` says when it came.
    ///
    /// # Errors
    /// [`Denied`]: nobody answers.
    pub async fn route<H: Hearth>(
        &self,
        since: Since,
        ask: Ask,
        hearth: &H,
    ) -> Result<Routed<H::Answer>, Denied<H::Error>> {
        Way::new(self, since, ask, hearth).go().await
    }
}

impl<'g, H: Hearth> Way<'g, H> {
    fn new(gateway: &'g Gateway, since: Since, ask: Ask, hearth: &'g H) -> Self {
        let (asked, by) = match (&ask.named, ask.asked) {
            (Some(_), None) => (Asked::Cloud, "by the model's name"),
            (_, Some(asked)) => (asked, "by the request"),
            (None, None) => (gateway.settings.route, "by the setting"),
        };
        let wanted = format!("{}, {by}", asked.word());
        let books = Arc::clone(&gateway.books);
        let mut account = Account::begin(books, &ask.request, since, wanted);
        let door = match (gateway.cloud.door(), &ask.shut) {
            (Door::Open, Some(why)) => Door::Shut(why.clone()),
            (door, _) => door,
        };
        let (mut offers, mut able) = (Vec::new(), Able::No("no provider is configured".into()));
        let mut ruling = ask.ruled.ruling.clone();
        if door != Door::NoProvider {
            match gateway.cloud.offers(&ask.request, ask.named.as_deref()) {
                Ok(found) => {
                    able = Able::Yes(found.first().map(|o| o.name.clone()).unwrap_or_default());
                    offers = found;
                }
                Err(why) => able = Able::No(why),
            }
            if let Some(wish) = ask.request.leave.filter(|wish| *wish < ruling.leave) {
                ruling.leave = wish;
                ruling.why = format!("the request says `x-ingle-policy: {}`", wish.word());
            }
        }
        if let Some(stays) = ask.ruled.stays.clone() {
            account.remember(Arc::clone(&gateway.rules), stays);
        }
        account.instead(offers.first());
        let situation = Situation {
            asked,
            named: ask.named.is_some(),
            streams: ask.streams,
            mode: gateway.settings.mode,
            ruling,
            door,
            only_here: ask.only_here.clone(),
            able,
            budget: Ok(()),
            home: Home::Can,
            before: None,
            escalation: Escalation::default(),
        };
        let mut way = Self {
            gateway,
            hearth,
            ask,
            situation,
            offers,
            account,
        };
        if way.situation.streams && way.situation.mode == Mode::Before && !way.offers.is_empty() {
            let model = hearth.identity().unwrap_or_default();
            let sureness = &gateway.sureness;
            way.situation.before = sureness.look(Stage::Before, &model, &way.ask.request, None);
            way.situation.escalation = way.escalation(&model, Stage::Before);
        }
        way
    }

    fn escalation(&self, model: &str, stage: Stage) -> Escalation {
        let (sureness, request) = (&self.gateway.sureness, &self.ask.request);
        let offer = self.offers.first();
        Escalation {
            threshold: offer.and_then(|offer| sureness.threshold(stage, model, request, offer)),
            uncalibrated: self.gateway.settings.escalate_uncalibrated,
        }
    }

    async fn go(mut self) -> Result<Routed<H::Answer>, Denied<H::Error>> {
        let (first, steps) = plan(&self.situation);
        self.account.steps(steps);
        let came = match first {
            Plan::Refuse(refusal) => Came::Refused(refusal),
            Plan::Home => self.home(false).await,
            Plan::Attempt { prefix } => self.attempt(prefix).await,
            Plan::Cloud { or_home } => match self.cloud().await {
                Ok(call) => Came::Sent(Box::new(call)),
                Err(failed) if or_home => {
                    self.fall_back(&failed.why);
                    self.home(false).await
                }
                Err(Failed { why, budget: true }) => Came::Refused(Refusal::Budget(why)),
                Err(Failed { why, .. }) => Came::Failed(why),
            },
        };
        let came = match came {
            Came::Unable { why, error } => self.elsewhere(why, error).await,
            came => came,
        };
        self.end(came)
    }

    fn end(self, came: Came<H::Answer, H::Error>) -> Result<Routed<H::Answer>, Denied<H::Error>> {
        let mut account = self.account;
        let reason = account.because();
        let model = self.hearth.model();
        let note = account.note_mut();
        let denied = match came {
            Came::Kept(answer, held) => {
                note.route = Route::Local;
                note.model = model;
                if !note.fallback {
                    note.reason = reason;
                }
                note.cost = note.cost.or(Some(Money::zero(Currency::USD)));
                return Ok(Routed::Home(Box::new(HomeAnswer::new(
                    answer, held, account,
                ))));
            }
            Came::Sent(call) => {
                note.route = Route::Cloud;
                note.model = call.upstream();
                note.reason = reason;
                return Ok(Routed::Cloud(Box::new(CloudAnswer::new(*call, account))));
            }
            Came::Unable { error, .. } | Came::Wrong(error) => {
                note.reason = reason;
                (Outcome::Refused, Denied::Home as fn(_, _) -> _, error)
            }
            Came::Refused(refusal) => {
                note.reason = reason;
                let note = Box::new(note.clone());
                account.finish(Outcome::Refused, &Usage::default(), None);
                return Err(Denied::Refused(refusal, note));
            }
            Came::Failed(why) => {
                note.reason = format!("the provider failed: {why}");
                let note = Box::new(note.clone());
                account.finish(Outcome::Failed, &Usage::default(), None);
                return Err(Denied::Failed(why, note));
            }
        };
        let (outcome, make, error) = denied;
        let note = Box::new(account.note().clone());
        account.finish(outcome, &Usage::default(), None);
        Err(make(error, note))
    }

    /// Answers here, whatever comes of it.
    async fn home(&mut self, looked_at: bool) -> Came<H::Answer, H::Error> {
        match self.hearth.begin(looked_at).await {
            Ok(answer) => {
                let answer = Tallied::new(answer, self.account.taken());
                Came::Kept(answer, VecDeque::new())
            }
            Err(Unable::Cannot { why, error }) => Came::Unable { why, error },
            Err(Unable::Wrong(error)) => {
                self.account.step("local attempt", "refused", WRONG);
                Came::Wrong(error)
            }
        }
    }

    /// The model at home cannot: somebody else, or nobody.
    async fn elsewhere(&mut self, why: String, error: H::Error) -> Came<H::Answer, H::Error> {
        self.account.step("local attempt", "cannot", why.as_str());
        if self.account.note().fallback {
            return Came::Unable { why, error };
        }
        self.situation.home = Home::Cannot(why.clone());
        let (Plan::Cloud { .. }, steps) = plan(&self.situation) else {
            return Came::Unable { why, error };
        };
        // All but the last was looked at before.
        self.account
            .steps(steps.into_iter().next_back().into_iter().collect());
        match self.cloud().await {
            Ok(call) => Came::Sent(Box::new(call)),
            Err(failed) => {
                self.fall_back(&failed.why);
                Came::Unable { why, error }
            }
        }
    }

    /// Answers here, and looks at the answer before anything of it is shown.
    async fn attempt(&mut self, prefix: Option<u32>) -> Came<H::Answer, H::Error> {
        // Whether there is money is looked up meanwhile: no answer waits for a disk to begin.
        let most = self.offers.first().map(Offer::most);
        let books = Arc::clone(&self.gateway.books);
        let user = user(&self.ask.request).map(str::to_owned);
        let room = async {
            match most {
                Some(most) => books.room(user.as_deref(), most).await,
                None => Ok(()),
            }
        };
        let enough = |answer: &H::Answer| prefix.is_some_and(|most| answer.tokens() >= most);
        let attempt = async {
            let (mut came, mut over) = (self.home(true).await, false);
            if let Came::Kept(answer, held) = &mut came {
                while !over && !enough(answer) {
                    match answer.next().await {
                        Some(news) => held.push_back(news),
                        None => over = true,
                    }
                }
            }
            (came, over)
        };
        let ((came, over), room) = join(attempt, room).await;
        let Came::Kept(mut answer, mut held) = came else {
            return came;
        };
        if let Err(why) = room {
            self.situation.budget = Err(why);
            let (_, steps) = plan(&self.situation);
            self.account
                .steps(steps.into_iter().next_back().into_iter().collect());
            return Came::Kept(answer, held);
        }
        let agreement = match over {
            true => self.agreement(&answer).await,
            false => None,
        };
        if !self.escalates(&mut answer, over, agreement) {
            return Came::Kept(answer, held);
        }
        // It goes on here meanwhile, in case the provider fails.
        match beside(&mut *answer, &mut held, self.cloud()).await {
            Ok(call) => Came::Sent(Box::new(call)),
            Err(failed) => {
                self.fall_back(&failed.why);
                Came::Kept(answer, held)
            }
        }
    }

    /// How many further answers say the same as a whole one, where its confidence was learned from that.
    async fn agreement(&mut self, answer: &H::Answer) -> Option<f64> {
        let sureness = &self.gateway.sureness;
        let wanted = sureness.samples(&answer.identity(), &self.ask.request);
        if wanted == 0 || answer.failed().is_some() {
            return None;
        }
        let samples = self.hearth.again(wanted).await;
        // With fewer than were learned from, nothing is known.
        if samples.len() < wanted as usize {
            self.account.step(
                "agreement",
                "unknown",
                "the further answers could not be drawn",
            );
            return None;
        }
        let share = confidence::agreement(answer.text(), &samples)?;
        let why = format!(
            "{:.0}% of {wanted} further answers say the same",
            share * 100.0
        );
        self.account.step("agreement", "asked", why);
        Some(share)
    }

    /// Whether a local answer is not good enough; `over`: it is all there.
    fn escalates(&mut self, answer: &mut H::Answer, over: bool, agreement: Option<f64>) -> bool {
        if let Some(why) = answer.failed() {
            self.account.step("local attempt", "failed", why);
            return true;
        }
        let model = answer.identity();
        let (what, stage) = match over {
            true => ("the local answer", Stage::After),
            false => ("the beginning of the local answer", Stage::Prefix),
        };
        let escalation = self.escalation(&model, stage);
        let signals = answer.signals();
        let looked = signals.as_ref().map(|signals| Looked {
            signals,
            text: answer.text(),
            agreement,
        });
        let (sureness, request) = (&self.gateway.sureness, &self.ask.request);
        let confidence = sureness.look(stage, &model, request, looked.as_ref());
        let (verdict, step) = judge(what, confidence.as_ref(), &escalation);
        if let (Verdict::Keep, Some(looked), Some(confidence)) = (verdict, &looked, &confidence) {
            sureness.given(stage, &model, request, looked, confidence);
        }
        self.account.note_mut().confidence = confidence;
        self.account.steps(vec![step]);
        verdict == Verdict::Escalate
    }

    /// The local answer takes the place of a provider's.
    fn fall_back(&mut self, why: &str) {
        let note = self.account.note_mut();
        note.fallback = true;
        note.reason = format!("this is the local answer: {why}");
        self.account.step("cloud", "failed", why);
    }

    /// Asks a provider, and the next one where that fails.
    async fn cloud(&mut self) -> Result<Call, Failed> {
        let mut last = Failed {
            why: "no provider can answer it".into(),
            budget: false,
        };
        for offer in self.offers.clone().into_iter().take(MOST_TRIES) {
            match self.call(&offer).await {
                Ok(call) => return Ok(call),
                Err(failed) => {
                    let why = format!("{}: {}", offer.name, failed.why);
                    last = Failed { why, ..failed };
                }
            }
        }
        Err(last)
    }

    async fn call(&mut self, offer: &Offer) -> Result<Call, Failed> {
        let failed = |why: String| Failed { why, budget: false };
        let (gateway, ruling) = (self.gateway, &self.situation.ruling);
        // The plan said so; said once more where it counts.
        if ruling.leave == Leave::LocalOnly || self.situation.door != Door::Open {
            return Err(failed(ruling.why.clone()));
        }
        let redacted = self.ask.ruled.redacted.as_ref();
        let restore = redacted.map(|redacted| redacted.mapping.pieces());
        let request = redacted.map_or(&self.ask.request, |redacted| &redacted.request);
        let hold = gateway.books.reserve(request, offer).await;
        let hold = hold.map_err(|why| Failed { why, budget: true })?;
        self.account.reserved(hold.id());
        let grant = Grant {
            request: request.id.clone(),
            user: request.user.clone(),
            rule: ruling.rule.clone(),
            why: self.account.because(),
        };
        let coming = match gateway.cloud.ask(offer, request, grant).await {
            Ok(coming) => coming,
            Err(fault) if fault.charged == Charged::No => {
                hold.release();
                return Err(failed(fault.why));
            }
            Err(fault) => {
                let most = hold.most();
                let charged = hold.settle(most);
                self.account.charged(&offer.name, &offer.prices, charged);
                return Err(failed(fault.why));
            }
        };
        let mut call = Call::new(offer.clone(), coming, restore, hold);
        let came = match self.ask.streams {
            true => call.begin().await,
            false => call.all().await,
        };
        match came {
            Ok(()) => Ok(call),
            Err(fault) => {
                call.pay(&mut self.account);
                Err(failed(fault.why))
            }
        }
    }
}

const WRONG: &str = "the model at home refused the request";

/// Whose money it is; none: the owner's.
fn user(request: &Request) -> Option<&str> {
    (request.user != "-").then_some(request.user.as_str())
}

/// Waits for `other`, and takes what comes of the local answer meanwhile.
async fn beside<A: AtHome, T>(
    answer: &mut A,
    held: &mut VecDeque<A::News>,
    other: impl Future<Output = T>,
) -> T {
    let mut other = pin!(other);
    loop {
        match select(pin!(answer.next()), other.as_mut()).await {
            Either::Left((Some(news), _)) => held.push_back(news),
            Either::Left((None, _)) => return other.await,
            Either::Right((done, _)) => return done,
        }
    }
}
