//! Answers while they come, whoever gives them.

use super::computed::Computed;
use super::end::End;
use super::usage::Usage;
use crate::call::Call;
use crate::error::ApiError;
use crate::routing::told;
use crate::served::Served;
use http::StatusCode;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Vocabulary;
use ingle_gateway::chat::{Finish, Piece};
use ingle_gateway::decide::{Account, CloudAnswer, HomeAnswer, Note};
use ingle_gateway::ledger::{Outcome, Route};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The answers to one request, `n` to each of its prompts. Dropping it cancels them.
#[derive(Debug)]
pub struct Answers {
    call: Arc<Call>,
    /// The model, as answers name it.
    model: String,
    /// What says how it was computed, of what was computed here.
    fingerprint: Option<String>,
    source: Source,
    /// Answers that are not over.
    open: usize,
}

/// Who gives them.
#[derive(Debug)]
enum Source {
    /// This machine, and nobody writes it down.
    Here(Box<Computed>),
    /// This machine.
    Home(Box<HomeAnswer<Computed>>),
    /// A provider.
    Cloud(Box<Far>),
}

/// An answer from elsewhere.
#[derive(Debug)]
struct Far {
    answer: CloudAnswer,
    /// The call whose arguments come.
    calling: Option<u32>,
    called: bool,
    asked: Instant,
    first: Option<Instant>,
    over: bool,
}

/// What a token, or the end, of one answer brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Which answer.
    pub choice: usize,
    /// What is new of it; never empty.
    pub news: Vec<News>,
}

/// What is new of an answer. [`News::End`] or [`News::Failed`] is its last.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The model thinks on.
    Reasoning(String),
    /// More text for the reader.
    Content(String),
    /// A tool is to be called; its arguments follow.
    CallBegin {
        /// Calls before it in this answer.
        index: u32,
        /// What the tool's answer refers to.
        id: String,
        /// Which tool.
        name: String,
    },
    /// More of the arguments of a call.
    CallArguments {
        /// Which call of this answer.
        index: u32,
        /// All of these together are a JSON object.
        text: String,
    },
    /// A call has ended.
    CallEnd {
        /// Which call of this answer.
        index: u32,
        /// Whether its arguments are whole. Where they are not, what the model wrote is no call, and all of
        /// it follows as text.
        whole: bool,
    },
    /// How probable a token was.
    Logprob(TokenLogprob),
    /// It is complete.
    End(End),
    /// It could not be finished.
    Failed(ApiError),
}

/// A token with its log-probability and the most probable ones of its place.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: TokenId,
    /// Its natural logarithm.
    pub logprob: f32,
    /// The most probable tokens in its place, the most probable first.
    pub top: Vec<(TokenId, f32)>,
}

impl Answers {
    /// What was computed here, and nobody writes down.
    pub(super) fn here(call: &Arc<Call>, computed: Computed) -> Self {
        Self::new(
            call,
            Some(Arc::clone(computed.model())),
            Source::Here(Box::new(computed)),
        )
    }

    /// What was computed here.
    pub(super) fn home(call: &Arc<Call>, answer: Box<HomeAnswer<Computed>>) -> Self {
        let model = Arc::clone(answer.answer().model());
        Self::new(call, Some(model), Source::Home(answer))
    }

    /// What a provider answers.
    pub(super) fn cloud(call: &Arc<Call>, answer: CloudAnswer, asked: Instant) -> Self {
        let far = Far {
            answer,
            calling: None,
            called: false,
            asked,
            first: None,
            over: false,
        };
        Self::new(call, None, Source::Cloud(Box::new(far)))
    }

    fn new(call: &Arc<Call>, model: Option<Arc<Served>>, source: Source) -> Self {
        let answers = Self {
            call: Arc::clone(call),
            model: match (&model, &source) {
                (Some(model), _) => model.id.clone(),
                (None, Source::Cloud(far)) => far.answer.account().note().model.clone(),
                (None, _) => String::new(),
            },
            fingerprint: model.map(|model| model.fingerprint.clone()),
            open: 0,
            source,
        };
        answers.tell();
        let open = answers.choices();
        Self { open, ..answers }
    }

    /// The model, as answers name it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// How it was computed, where that was here.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    fn computed(&self) -> Option<&Computed> {
        match &self.source {
            Source::Here(computed) => Some(computed),
            Source::Home(answer) => Some(answer.answer()),
            Source::Cloud(_) => None,
        }
    }

    /// The model's vocabulary, where it is one of ours.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        let computed = self.computed();
        computed.map(|computed| computed.model().prompter.vocabulary())
    }

    /// Positions of a sequence of the model, where it is one of ours.
    pub fn context(&self) -> u32 {
        self.computed()
            .map_or(0, |computed| computed.model().context)
    }

    /// What the end of a streamed answer says of who gave it, where a provider could have.
    pub fn told(&self) -> Option<Value> {
        let gateway = self.call.app.gateway.as_ref();
        gateway.filter(|gateway| gateway.has_cloud())?;
        Some(told(self.note()?, &self.call.name))
    }

    /// How many answers there are.
    pub fn choices(&self) -> usize {
        self.computed().map_or(1, Computed::choices)
    }

    /// How many there are to each prompt.
    pub fn n(&self) -> usize {
        self.computed().map_or(1, Computed::n)
    }

    /// The prompt of an answer; of a text with a hole, what stands before the hole.
    pub fn prompt(&self, choice: usize) -> Option<&str> {
        self.computed().and_then(|computed| computed.prompt(choice))
    }

    /// The tokens of the prompt of an answer; none of one that a provider gives.
    pub fn prompt_tokens(&self, choice: usize) -> &[TokenId] {
        let computed = self.computed();
        computed.map_or(&[], |computed| computed.prompt_tokens(choice))
    }

    /// How many tokens the prompt of an answer has, as far as is known.
    pub fn prompt_len(&self, choice: usize) -> u64 {
        match &self.source {
            Source::Cloud(far) => far.answer.usage().input,
            _ => self.prompt_tokens(choice).len() as u64,
        }
    }

    /// The tokens of an answer so far; the one that ends it is none of them. None of one that a provider
    /// gives.
    pub fn written(&self, choice: usize) -> &[TokenId] {
        let computed = self.computed();
        computed.map_or(&[], |computed| computed.written(choice))
    }

    /// What one answer took.
    pub fn usage_of(&self, choice: usize) -> Usage {
        match self.computed() {
            Some(computed) => computed.usage_of(choice),
            None => self.usage(),
        }
    }

    /// Nobody wants the rest of an answer.
    pub fn cancel(&mut self, choice: usize) {
        match &mut self.source {
            Source::Here(computed) => computed.cancel(choice),
            Source::Home(answer) => answer.parts_mut().0.cancel(choice),
            Source::Cloud(far) => far.over = true,
        }
    }

    /// What those that are over took.
    pub fn usage(&self) -> Usage {
        match &self.source {
            Source::Here(computed) => computed.usage(),
            Source::Home(answer) => answer.answer().usage(),
            Source::Cloud(far) => far.usage(),
        }
    }

    /// What is new of any answer, in turn; none when all are over. What it gave is never lost: a future
    /// of it may be dropped and made again.
    pub async fn next(&mut self) -> Option<Heard> {
        let heard = match &mut self.source {
            Source::Here(computed) => computed.next().await,
            Source::Home(answer) => answer.next().await,
            Source::Cloud(far) => far.next().await,
        };
        let heard = heard?;
        if let Source::Home(answer) = &mut self.source {
            let (_, account) = answer.parts_mut();
            if account.listens() && heard.choice == 0 {
                heard
                    .news
                    .iter()
                    .filter_map(piece)
                    .for_each(|piece| account.says(&piece));
            }
        }
        let end = heard.news.iter().find_map(|news| match news {
            News::End(_) => Some(Outcome::Completed),
            News::Failed(_) => Some(Outcome::Failed),
            _ => None,
        });
        if let Some(outcome) = end {
            self.open = self.open.saturating_sub(1);
            if self.open == 0 || outcome == Outcome::Failed {
                self.finish(outcome);
            }
        }
        Some(heard)
    }

    /// The answer is over: its row is written.
    fn finish(&mut self, outcome: Outcome) {
        if let Source::Home(answer) = &mut self.source {
            let usage = answer.answer().usage().counted();
            let (_, account) = answer.parts_mut();
            account.finish(outcome, &usage, None);
        }
        self.tell();
    }

    fn account(&self) -> Option<&Account> {
        match &self.source {
            Source::Here(_) => None,
            Source::Home(answer) => Some(answer.account()),
            Source::Cloud(far) => Some(far.answer.account()),
        }
    }

    /// How it was decided who answers, where anybody decides.
    pub fn note(&self) -> Option<&Note> {
        self.account().map(Account::note)
    }

    /// What headers say of it.
    fn tell(&self) {
        match self.note() {
            Some(note) => self.call.tell(note.clone()),
            None => self.call.tell(Note {
                route: Route::Local,
                model: self.model.clone(),
                reason: "no provider is configured".into(),
                fallback: false,
                confidence: None,
                cost: None,
            }),
        }
    }
}

impl Far {
    fn usage(&self) -> Usage {
        let usage = self.answer.usage();
        let first = self.first.unwrap_or(self.asked);
        Usage {
            prompt: usage.input,
            cached: usage.cached,
            generated: usage.output,
            reasoning: usage.reasoning,
            first: first - self.asked,
            rest: if self.first.is_some() {
                first.elapsed()
            } else {
                Duration::ZERO
            },
        }
    }

    async fn next(&mut self) -> Option<Heard> {
        if self.over {
            return None;
        }
        let mut news = Vec::new();
        match self.answer.next().await {
            None => self.over = true,
            Some(Ok(piece)) => self.take(piece, &mut news),
            Some(Err(fault)) => {
                self.over = true;
                news.push(News::Failed(failed(&fault.why)));
            }
        }
        self.first.get_or_insert_with(Instant::now);
        (!news.is_empty()).then_some(Heard { choice: 0, news })
    }

    fn take(&mut self, piece: Piece, news: &mut Vec<News>) {
        let goes_on = matches!(piece, Piece::CallArguments { .. } | Piece::Usage(_));
        if !goes_on && let Some(index) = self.calling.take() {
            // One that was cut has no end.
            if !matches!(piece, Piece::Finish(Finish::Length)) {
                news.push(News::CallEnd { index, whole: true });
                self.called = true;
            }
        }
        match piece {
            Piece::Reasoning(text) => news.push(News::Reasoning(text)),
            Piece::Text(text) => news.push(News::Content(text)),
            Piece::CallBegin { index, id, name } => {
                self.calling = Some(index);
                news.push(News::CallBegin { index, id, name });
            }
            Piece::CallArguments { index, text } => {
                news.push(News::CallArguments { index, text });
            }
            Piece::Finish(finish) => {
                self.over = true;
                news.push(match finish {
                    Finish::Stop if self.called => News::End(End::Calls),
                    Finish::Stop => News::End(End::Stop),
                    Finish::StopText(text) => News::End(End::StopText(text)),
                    Finish::Length => News::End(End::Length),
                    Finish::Calls => News::End(End::Calls),
                    Finish::Refused => News::Failed(refused()),
                });
            }
            Piece::Usage(_) => {}
        }
    }
}

/// What is new, as the gateway knows it.
fn piece(news: &News) -> Option<Piece> {
    match news.clone() {
        News::Content(text) => Some(Piece::Text(text)),
        News::CallBegin { index, id, name } => Some(Piece::CallBegin { index, id, name }),
        News::CallArguments { index, text } => Some(Piece::CallArguments { index, text }),
        _ => None,
    }
}

/// The provider's answer broke off.
fn failed(why: &str) -> ApiError {
    let message = format!("the provider's answer could not be finished: {why}");
    ApiError::new(StatusCode::BAD_GATEWAY, "provider_failed", message)
}

/// The provider's filter ended the answer.
fn refused() -> ApiError {
    let message = "the provider ended its answer by a filter of its own; ask in other words, or with `route` local";
    ApiError::new(StatusCode::BAD_GATEWAY, "provider_refused", message)
}
