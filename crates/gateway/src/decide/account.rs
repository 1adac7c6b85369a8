//! The row of one request, while it is being answered.

use super::home::Taken;
use super::parts::{Books, Offer, Rules, Stays};
use crate::chat::{Message, Part, Piece, Request, Role, ToolCall, Usage};
use crate::confidence::Confidence;
use crate::ledger::{Money, Outcome, Priced, Prices, Route, Row, Share, Step, Tokens};
use std::sync::Arc;
use tokio::time::Instant;

/// What the client is told of how its request was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Where the answer comes from.
    pub route: Route,
    /// Which model answers.
    pub model: String,
    /// Why, in words, none of which stands in the request.
    pub reason: String,
    /// A provider was to answer and failed: this is the local answer in its place.
    pub fallback: bool,
    /// How sure the local answer was, where it was looked at.
    pub confidence: Option<Confidence>,
    /// What it cost, where that is known already.
    pub cost: Option<Money>,
}

/// Since when a request is being answered, and what the machine has drawn for it.
pub struct Since {
    begun: Instant,
    /// Milliseconds since 1970.
    at: u64,
    energy: Option<Share>,
}

impl Since {
    pub(super) fn now(books: &dyn Books, at: u64) -> Self {
        Self {
            begun: Instant::now(),
            at,
            energy: books.energy(),
        }
    }
}

impl std::fmt::Debug for Since {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.begun.fmt(f)
    }
}

/// The row of one request, which is written once: when it is over, or, as cancelled, when this is dropped.
pub struct Account {
    books: Arc<dyn Books>,
    row: Row,
    note: Note,
    begun: Instant,
    /// Who `auto` would have asked.
    instead: Option<Offer>,
    /// What the local answer took, where nobody wants more of it.
    taken: Taken,
    written: bool,
    energy: Option<Share>,
    /// The conversation stays, or may have to: to whom its answer is told, and what it says.
    stays: Option<(Arc<dyn Rules>, Stays)>,
    answer: Message,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("note", &self.note)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl Account {
    pub(super) fn begin(
        books: Arc<dyn Books>,
        request: &Request,
        since: Since,
        wanted: String,
    ) -> Self {
        let keeps = books.keeps_texts();
        let prompt = keeps.then(|| {
            let texts = request.texts();
            let texts: Vec<&str> = texts.iter().map(|text| &*text.text).collect();
            texts.join("\n")
        });
        let mut row = Row {
            user: (request.user != "-").then(|| request.user.clone()),
            asked_model: request.model.clone().unwrap_or_default(),
            prompt,
            answer: keeps.then(String::new),
            ..Row::new(&request.id, since.at)
        };
        row.decision.wanted = wanted;
        let note = Note {
            route: Route::None,
            model: String::new(),
            reason: String::new(),
            fallback: false,
            confidence: None,
            cost: None,
        };
        Self {
            books,
            row,
            note,
            begun: since.begun,
            instead: None,
            taken: Taken::default(),
            written: false,
            energy: since.energy,
            stays: None,
            answer: Message::text(Role::Assistant, ""),
        }
    }

    /// The conversation stays, or may have to, and so does what is answered.
    pub(super) fn remember(&mut self, rules: Arc<dyn Rules>, stays: Stays) {
        self.stays = Some((rules, stays));
    }

    /// What the client is told.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The request's name.
    pub fn request(&self) -> &str {
        &self.row.request
    }

    pub(super) fn steps(&mut self, steps: Vec<Step>) {
        self.row.decision.steps.extend(steps);
    }

    pub(super) fn step(&mut self, about: &str, verdict: &str, why: impl Into<String>) {
        self.row.decision.steps.push(Step {
            about: about.into(),
            verdict: verdict.into(),
            why: why.into(),
            ..Step::default()
        });
    }

    /// Why the last step was taken.
    pub(super) fn because(&self) -> String {
        let last = self.row.decision.steps.last();
        last.map_or_else(String::new, |step| step.why.clone())
    }

    pub(super) fn note_mut(&mut self) -> &mut Note {
        &mut self.note
    }

    pub(super) fn instead(&mut self, offer: Option<&Offer>) {
        self.instead = offer.cloned();
    }

    /// Money was set aside under this number.
    pub(super) fn reserved(&mut self, id: u64) {
        self.row.reservation = Some(id);
    }

    /// A provider charged so much.
    pub(super) fn charged(&mut self, upstream: &str, prices: &Prices, cost: Money) {
        let before = self.row.cost.take().map(|priced| priced.cost);
        let sum = before.map_or(Some(cost), |before| before.checked_add(cost));
        let cost = sum.unwrap_or(cost);
        self.note.cost = Some(cost);
        self.row.cost = Some(priced(upstream, prices, cost));
    }

    /// Where a local answer is to say what it took.
    pub(super) fn taken(&self) -> Taken {
        self.taken.clone()
    }

    /// The first piece of the answer has come.
    pub fn first(&mut self) {
        let since = self.millis();
        self.row.first_ms.get_or_insert(since);
    }

    /// More of the answer: kept where somebody asked for that, remembered where the conversation stays.
    pub fn says(&mut self, piece: &Piece) {
        if self.may_stay() {
            match piece {
                Piece::Text(text) => match self.answer.parts.last_mut() {
                    Some(Part::Text(before)) => before.push_str(text),
                    _ => self.answer.parts.push(Part::Text(text.clone())),
                },
                Piece::CallBegin { id, name, .. } => self.answer.calls.push(ToolCall {
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                }),
                Piece::CallArguments { text, .. } => {
                    let call = self.answer.calls.last_mut();
                    call.into_iter()
                        .for_each(|call| call.arguments.push_str(text));
                }
                Piece::Reasoning(_) | Piece::Finish(_) | Piece::Usage(_) => {}
            }
        }
        if let (Some(answer), Piece::Text(text)) = (&mut self.row.answer, piece) {
            answer.push_str(text);
        }
    }

    /// Whether anybody wants to know what the answer says.
    pub fn listens(&self) -> bool {
        self.may_stay() || self.row.answer.is_some()
    }

    /// Whether the conversation stays, as far as is known.
    fn may_stay(&self) -> bool {
        let stays = self.stays.as_ref();
        stays.is_some_and(|(_, stays)| !stays.is_over())
    }

    /// It is over: the row is written.
    pub fn finish(&mut self, outcome: Outcome, usage: &Usage, provider: Option<&Usage>) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        if let Some((rules, stays)) = self.stays.take().filter(|(_, stays)| !stays.is_over()) {
            rules.answered(&stays, &self.answer);
        }
        self.row.outcome = outcome;
        self.row.tokens = tokens(usage);
        self.row.provider_tokens = provider.map(tokens);
        self.row.total_ms = self.millis();
        self.row.energy_uj = self.energy.take().and_then(|share| share.drawn());
        self.row.route = self.note.route;
        self.row.model = self.note.model.clone();
        self.row.reason = self.note.reason.clone();
        let stayed = self.note.route == Route::Local;
        if let Some(offer) = self.instead.take().filter(|_| stayed) {
            let cost = offer.prices.cost(&self.row.tokens);
            self.row.instead = Some(priced(&offer.name, &offer.prices, cost));
        }
        self.books.append(self.row.clone());
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let taken = self.taken.get();
        self.finish(Outcome::Cancelled, &taken, None);
    }
}

fn priced(name: &str, prices: &Prices, cost: Money) -> Priced {
    // A pool has one name.
    let (provider, model) = name.split_once('/').unwrap_or((name, ""));
    Priced {
        provider: provider.to_owned(),
        model: model.to_owned(),
        cost,
        dated: prices.dated.clone(),
    }
}

/// As the ledger counts them.
pub(super) fn tokens(usage: &Usage) -> Tokens {
    Tokens {
        input: usage.input,
        cached: usage.cached,
        cache_write: usage.cache_writes,
        output: usage.output,
        reasoning: usage.reasoning,
    }
}
