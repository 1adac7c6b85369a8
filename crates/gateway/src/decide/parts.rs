//! What a decision is made of, as traits: so that it can be tested with parts that fail as they please.

use super::real::Feedback;
use super::situation::{Door, Ruling};
use crate::chat::{Message, Piece, Request, Usage};
use crate::confidence::outcomes::OutcomeError;
use crate::confidence::{Confidence, Stage};
use crate::ledger::{Money, Prices, Row, Share};
use crate::policy::{Held, Redacted};
use crate::provider::Charged;
use ingle_engine::Signals;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;

/// What has to be waited for.
pub type Soon<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What may leave.
pub trait Rules: Send + Sync {
    /// Whether a request may leave, and as what. Remembers what its conversation has held. May take some
    /// milliseconds: not for a thread that serves connections.
    fn rule(&self, request: &Request) -> Ruled;

    /// The answer of a conversation that stays, or that is still being looked at, is there.
    fn answered(&self, stays: &Stays, answer: &Message);
}

/// A conversation that stays, or of which that is still being found out.
#[derive(Debug, Clone)]
pub struct Stays(Arc<OnceLock<Option<Held>>>);

impl Stays {
    /// It is still being found out.
    pub(super) fn open() -> Self {
        Self(Arc::default())
    }

    /// It was found out.
    pub(super) fn found(&self, held: Option<Held>) {
        // Only one looks.
        drop(self.0.set(held));
    }

    /// What it is known by, if it stays and that is known already.
    pub fn held(&self) -> Option<&Held> {
        self.0.get().and_then(Option::as_ref)
    }

    /// It holds nothing that must stay.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.0.get(), Some(None))
    }
}

impl From<Held> for Stays {
    fn from(held: Held) -> Self {
        let stays = Self::open();
        stays.found(Some(held));
        stays
    }
}

/// What the policy says of a request.
#[derive(Debug, Clone)]
pub struct Ruled {
    /// Whether it may leave, and why.
    pub ruling: Ruling,
    /// What is sent in its place, if it leaves; none: the request as it is.
    pub redacted: Option<Redacted>,
    /// The conversation stays, or may have to: its answer is to be remembered too.
    pub stays: Option<Stays>,
}

impl Ruled {
    /// It stays, because there is nobody to send it to.
    pub(super) fn alone() -> Self {
        Self {
            ruling: Ruling {
                leave: crate::chat::Leave::LocalOnly,
                rule: "built in".into(),
                why: "no provider is configured".into(),
            },
            redacted: None,
            stays: None,
        }
    }
}

/// What may be asked for a request: a provider's model, or a pool of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// `PROVIDER/MODEL`, or the pool's name.
    pub name: String,
    /// What it asks for tokens.
    pub prices: Prices,
    /// Tokens that the request can have at most.
    pub most_input: u64,
    /// Tokens that an answer may have at most: as the request says, or else as is usual.
    pub most_output: u32,
}

impl Offer {
    /// The most that the request can cost there.
    pub fn most(&self) -> Money {
        self.prices.most(self.most_input, self.most_output.into())
    }
}

/// Who was allowed to send what by whom: the door writes it down before the first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The request's name.
    pub request: String,
    /// Whose key asked.
    pub user: String,
    /// The rule that allowed it.
    pub rule: String,
    /// Why it is sent, in words.
    pub why: String,
}

/// Why a provider did not answer, in words that hold neither a key nor a word of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What happened.
    pub why: String,
    /// Whether it may ask for money.
    pub charged: Charged,
}

/// An answer on its way from a provider. Dropped, its connection is closed.
pub trait Coming: Send {
    /// The next piece; none behind the last. Without [`Piece::Finish`] it was cut.
    fn next(&mut self) -> Soon<'_, Result<Option<Piece>, Fault>>;
    /// What it took, as far as is known.
    fn charged(&self) -> Charged;
    /// Who answers: `PROVIDER/MODEL`.
    fn upstream(&self) -> String;
    /// What that one asks for tokens.
    fn prices(&self) -> Prices;
}

/// Who can be asked beyond this machine.
pub trait Upstreams: Send + Sync {
    /// Whether anybody can be asked at all.
    fn door(&self) -> Door;

    /// Whether a model's name is that of a provider's, `PROVIDER/MODEL`.
    fn has(&self, model: &str) -> bool;

    /// All names that [`Self::has`].
    fn names(&self) -> Vec<String>;

    /// Who can answer a request, in the order in which they are asked; `named`: only this one, as
    /// `PROVIDER/MODEL`.
    ///
    /// # Errors
    /// Why nobody can: the context, tools, images.
    fn offers(&self, request: &Request, named: Option<&str>) -> Result<Vec<Offer>, String>;

    /// Asks one of them. Comes back when the answer has begun.
    fn ask<'a>(
        &'a self,
        offer: &'a Offer,
        request: &'a Request,
        grant: Grant,
    ) -> Soon<'a, Result<Box<dyn Coming>, Fault>>;
}

/// What is spent and what is written down.
pub trait Books: Send + Sync {
    /// Whether there is room for so much.
    ///
    /// # Errors
    /// Which cap there is no room under.
    fn room<'a>(&'a self, user: Option<&'a str>, most: Money) -> Soon<'a, Result<(), String>>;

    /// Sets money aside.
    ///
    /// # Errors
    /// As [`Self::room`]; the ledger cannot be written.
    fn reserve<'a>(
        &'a self,
        request: &'a Request,
        offer: &'a Offer,
    ) -> Soon<'a, Result<Box<dyn Hold>, String>>;

    /// Keeps a row; waits for nothing.
    fn append(&self, row: Row);

    /// Whether rows keep the texts of requests and answers.
    fn keeps_texts(&self) -> bool;

    /// What the machine draws from now on, where it says.
    fn energy(&self) -> Option<Share>;
}

/// Money that is set aside. Dropped, all of it is charged.
pub trait Hold: Send {
    /// Its number in the ledger.
    fn id(&self) -> u64;
    /// How much it is.
    fn most(&self) -> Money;
    /// The call cost so much. Answers what is charged.
    fn settle(self: Box<Self>, claimed: Money) -> Money;
    /// Nothing has left.
    fn release(self: Box<Self>);
}

/// What is known of a local answer, or of its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Looked<'a> {
    /// How sure the engine was.
    pub signals: &'a Signals,
    /// Its text so far.
    pub text: &'a str,
    /// How many of some further answers say the same, 0 to 1, where they were asked for.
    pub agreement: Option<f64>,
}

/// How sure the local answer is.
pub trait Sureness: Send + Sync {
    /// How many further answers are to be drawn before [`Self::look`] is asked of a whole one: as many as
    /// the calibration was made with.
    fn samples(&self, _model: &str, _request: &Request) -> u32 {
        0
    }

    /// How likely an answer of `model` is right: by the request alone, by the beginning of the answer, by
    /// all of it.
    fn look(
        &self,
        stage: Stage,
        model: &str,
        request: &Request,
        looked: Option<&Looked<'_>>,
    ) -> Option<Confidence>;

    /// How likely right it has to be by the stated aim, where the other end is `offer`; none: nothing says.
    fn threshold(&self, stage: Stage, model: &str, request: &Request, offer: &Offer)
    -> Option<f64>;

    /// The local answer is the one that the client gets: somebody may say later whether it was right.
    fn given(
        &self,
        stage: Stage,
        model: &str,
        request: &Request,
        looked: &Looked<'_>,
        confidence: &Confidence,
    );

    /// Somebody says whether an answer was right. What comes says whether it is known; it never comes where
    /// nothing is remembered.
    fn feedback(&self, feedback: Feedback) -> oneshot::Receiver<Result<(), OutcomeError>>;
}

/// The model at home.
pub trait Hearth: Send + Sync {
    /// An answer of its.
    type Answer: AtHome;
    /// Why it does not answer, as the client is told.
    type Error: Send;

    /// The name of the model that would answer; asked before it is loaded.
    fn model(&self) -> String;

    /// What its answers depend on, as calibrations know it; none while it is not loaded.
    fn identity(&self) -> Option<String>;

    /// Begins an answer; `looked_at`: with how sure the model is.
    ///
    /// # Errors
    /// [`Unable`].
    fn begin(
        &self,
        looked_at: bool,
    ) -> impl Future<Output = Result<Self::Answer, Unable<Self::Error>>> + Send;

    /// The texts of `n` more answers, drawn as [`crate::confidence::AGREEMENT_TEMPERATURE`] says; fewer
    /// where it cannot.
    fn again(&self, _n: u32) -> impl Future<Output = Vec<String>> + Send {
        std::future::ready(Vec::new())
    }
}

/// Why the model at home does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unable<E> {
    /// It cannot: the context is too short, it calls no tools. Somebody else may.
    Cannot {
        /// In words, none of which stands in the request.
        why: String,
        /// As the client is told where nobody else may.
        error: E,
    },
    /// The request is wrong, or nobody is to answer it now.
    Wrong(E),
}

/// An answer that is computed here. Dropped, it is cancelled.
pub trait AtHome: Send {
    /// What comes of it.
    type News: Send;
    /// What is new; none when it is over. The future may be dropped and made again.
    fn next(&mut self) -> impl Future<Output = Option<Self::News>> + Send;
    /// What it depends on, as calibrations know it.
    fn identity(&self) -> String;
    /// Tokens that have come.
    fn tokens(&self) -> u32;
    /// What the engine says of how sure it was so far.
    fn signals(&mut self) -> Option<Signals>;
    /// Its text so far.
    fn text(&self) -> &str;
    /// Why it could not be finished, if it could not.
    fn failed(&self) -> Option<String>;
    /// What it took so far, for whoever wants no more of it.
    fn taken(&mut self) -> Usage;
}
