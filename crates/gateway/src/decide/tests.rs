//! The driver with parts that fail as they please.

use super::*;
use crate::chat::{Finish, Leave, Message, Piece, Request, Role, Usage};
use crate::confidence::outcomes::OutcomeError;
use crate::confidence::{Confidence, Stage};
use crate::ledger::{Currency, Money, Outcome, Prices, Route, Row, Share};
use crate::policy::{Find, Kind, Mapping, Redacted, Writing};
use crate::provider::Charged;
use futures_util::FutureExt;
use ingle_engine::Signals;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// How a provider behaves when it is asked.
#[derive(Debug, Clone, PartialEq)]
enum Behaves {
    Answers,
    Refuses,
    BreaksOff { after: usize },
    FailsUnpaid,
    FailsPaid,
    SaysNothingOfUsage,
    ClaimsTooMuch,
}

#[derive(Debug, Default)]
struct World {
    leave: Option<Leave>,
    redact: bool,
    behaves: Vec<Behaves>,
    asked: Vec<(String, Grant)>,
    /// Billionths that may be spent.
    cap: i64,
    spent: i64,
    held: i64,
    open: usize,
    rows: Vec<Row>,
    confidence: Option<f64>,
    calibrated: bool,
    threshold: Option<f64>,
    offers: usize,
    given: usize,
    /// How many further answers are wanted.
    samples: u32,
    /// What was said of how many of them agree.
    agreed: Vec<Option<f64>>,
}

type Shared = Arc<Mutex<World>>;

struct Part(Shared);

impl Rules for Part {
    fn rule(&self, request: &Request) -> Ruled {
        let world = self.0.lock().unwrap();
        Ruled {
            ruling: Ruling {
                leave: world.leave.unwrap_or(Leave::LocalOnly),
                rule: "rule 1".into(),
                why: "rule 1 says so".into(),
            },
            redacted: world.redact.then(|| redacted(request)),
            stays: None,
        }
    }

    fn answered(&self, _: &Stays, _: &Message) {}
}

/// With a placeholder for the name.
fn redacted(request: &Request) -> Redacted {
    let mut mapping = Mapping::default();
    let mut request = request.clone();
    request.each_text_mut(&mut |_, text| {
        let start = text.find("Anna").unwrap_or_default();
        let find = Find {
            kind: Kind::Term,
            start,
            end: start + 4,
            detail: "name".into(),
        };
        *text = mapping.redact(text, &[find], Writing::Text);
    });
    Redacted { request, mapping }
}

impl Upstreams for Part {
    fn door(&self) -> Door {
        Door::Open
    }

    fn has(&self, model: &str) -> bool {
        model.starts_with("cloud/")
    }

    fn names(&self) -> Vec<String> {
        vec!["cloud/0".into()]
    }

    fn offers(&self, _: &Request, _: Option<&str>) -> Result<Vec<Offer>, String> {
        let n = self.0.lock().unwrap().offers;
        let offer = |i: usize| Offer {
            name: format!("cloud/{i}"),
            prices: prices(),
            most_input: 100,
            most_output: 10,
        };
        match n {
            0 => Err("the context is too short".into()),
            n => Ok((0..n).map(offer).collect()),
        }
    }

    fn ask<'a>(
        &'a self,
        offer: &'a Offer,
        request: &'a Request,
        grant: Grant,
    ) -> Soon<'a, Result<Box<dyn Coming>, Fault>> {
        let mut world = self.0.lock().unwrap();
        let said: String = request.messages.iter().map(Message::content).collect();
        world.asked.push((said.clone(), grant));
        let behaves = world.behaves.pop().unwrap_or(Behaves::Answers);
        let fault = |charged| Fault {
            why: "it failed".into(),
            charged,
        };
        let come = match behaves {
            Behaves::Refuses | Behaves::FailsUnpaid => Err(fault(Charged::No)),
            Behaves::FailsPaid => Err(fault(Charged::Unknown)),
            behaves => {
                let pieces = [
                    Piece::Text("The ".into()),
                    Piece::Text(format!("cloud, {}.", named(&said))),
                    Piece::Finish(Finish::Stop),
                ];
                Ok(Box::new(Come {
                    pieces: pieces.into(),
                    behaves,
                    name: offer.name.clone(),
                    told: 0,
                }) as Box<dyn Coming>)
            }
        };
        Box::pin(async move { come })
    }
}

/// What the request calls the one who asks.
fn named(said: &str) -> &str {
    said.trim_start_matches("I am ").trim_end_matches('.')
}

struct Come {
    pieces: VecDeque<Piece>,
    behaves: Behaves,
    name: String,
    told: usize,
}

impl Coming for Come {
    fn next(&mut self) -> Soon<'_, Result<Option<Piece>, Fault>> {
        let breaks = matches!(self.behaves, Behaves::BreaksOff { after } if after == self.told);
        self.told += 1;
        let next = match breaks {
            true => Err(Fault {
                why: "it broke off".into(),
                charged: Charged::Unknown,
            }),
            false => Ok(self.pieces.pop_front()),
        };
        Box::pin(async move { next })
    }

    fn charged(&self) -> Charged {
        match (&self.behaves, self.pieces.is_empty()) {
            (Behaves::BreaksOff { .. } | Behaves::SaysNothingOfUsage, _) | (_, false) => {
                Charged::Unknown
            }
            (Behaves::ClaimsTooMuch, _) => Charged::Yes(Usage {
                input: 1 << 40,
                output: 1 << 40,
                ..Usage::default()
            }),
            _ => Charged::Yes(Usage {
                input: 10,
                output: 5,
                ..Usage::default()
            }),
        }
    }

    fn upstream(&self) -> String {
        self.name.clone()
    }

    fn prices(&self) -> Prices {
        prices()
    }
}

/// A token of a request costs one billionth, one of an answer two.
fn prices() -> Prices {
    Prices {
        currency: Currency::USD,
        input: 1_000_000,
        cached_input: 1_000_000,
        cache_write: 1_000_000,
        output: 2_000_000,
        dated: "2026-11-01".into(),
    }
}

/// What a call can cost at most: 100 tokens of a request and 10 of an answer.
const MOST: i64 = 120;

impl Books for Part {
    fn room<'a>(&'a self, _: Option<&'a str>, most: Money) -> Soon<'a, Result<(), String>> {
        let world = self.0.lock().unwrap();
        let fits = world.spent + world.held + most.nanos <= world.cap;
        Box::pin(async move { fits.then_some(()).ok_or_else(|| "the cap is spent".into()) })
    }

    fn reserve<'a>(
        &'a self,
        _: &'a Request,
        offer: &'a Offer,
    ) -> Soon<'a, Result<Box<dyn Hold>, String>> {
        let mut world = self.0.lock().unwrap();
        let most = offer.most();
        let fits = world.spent + world.held + most.nanos <= world.cap;
        let held = match fits {
            true => {
                world.held += most.nanos;
                world.open += 1;
                let hold = Purse {
                    world: Arc::clone(&self.0),
                    most,
                    over: false,
                };
                Ok(Box::new(hold) as Box<dyn Hold>)
            }
            false => Err("the cap is spent".into()),
        };
        Box::pin(async move { held })
    }

    fn append(&self, row: Row) {
        self.0.lock().unwrap().rows.push(row);
    }

    fn keeps_texts(&self) -> bool {
        false
    }

    fn energy(&self) -> Option<Share> {
        None
    }
}

struct Purse {
    world: Shared,
    most: Money,
    over: bool,
}

impl Purse {
    fn end(&mut self, charged: i64) -> Money {
        let mut world = self.world.lock().unwrap();
        let charged = charged.clamp(0, self.most.nanos);
        world.held -= self.most.nanos;
        world.open -= 1;
        world.spent += charged;
        self.over = true;
        Money {
            nanos: charged,
            ..self.most
        }
    }
}

impl Hold for Purse {
    fn id(&self) -> u64 {
        7
    }

    fn most(&self) -> Money {
        self.most
    }

    fn settle(mut self: Box<Self>, claimed: Money) -> Money {
        self.end(claimed.nanos)
    }

    fn release(mut self: Box<Self>) {
        self.end(0);
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        if !self.over {
            self.end(self.most.nanos);
        }
    }
}

impl Sureness for Part {
    fn samples(&self, _: &str, _: &Request) -> u32 {
        self.0.lock().unwrap().samples
    }

    fn look(
        &self,
        _: Stage,
        _: &str,
        _: &Request,
        looked: Option<&Looked<'_>>,
    ) -> Option<Confidence> {
        let mut world = self.0.lock().unwrap();
        world.agreed.extend(looked.map(|looked| looked.agreement));
        world.confidence.map(|probability| Confidence {
            probability,
            calibrated: world.calibrated,
            sample_size: 100,
            error: 0.02,
        })
    }

    fn threshold(&self, _: Stage, _: &str, _: &Request, _: &Offer) -> Option<f64> {
        self.0.lock().unwrap().threshold
    }

    fn given(&self, _: Stage, _: &str, _: &Request, _: &Looked<'_>, _: &Confidence) {
        self.0.lock().unwrap().given += 1;
    }

    fn feedback(&self, _: Feedback) -> oneshot::Receiver<Result<(), OutcomeError>> {
        oneshot::channel().1
    }
}

/// The model at home: says three words, or cannot.
#[derive(Debug, Clone, Copy, PartialEq)]
enum AtHearth {
    Says,
    Cannot,
    Wrong,
    FailsInTheMiddle,
    /// After two words it says nothing more.
    Hangs,
}

#[derive(Debug)]
struct Words {
    left: VecDeque<&'static str>,
    tokens: u32,
    said: String,
    fails: bool,
    hangs: bool,
}

impl AtHome for Words {
    type News = &'static str;

    async fn next(&mut self) -> Option<&'static str> {
        if self.hangs && self.left.len() == 1 {
            std::future::pending::<()>().await;
        }
        let word = self.left.pop_front()?;
        self.tokens += 1;
        self.said.push_str(word);
        Some(word)
    }

    fn identity(&self) -> String {
        "mini".into()
    }

    fn tokens(&self) -> u32 {
        self.tokens
    }

    fn signals(&mut self) -> Option<Signals> {
        Some(Signals::default())
    }

    fn text(&self) -> &str {
        &self.said
    }

    fn failed(&self) -> Option<String> {
        (self.fails && self.left.is_empty()).then(|| "weights are gone".into())
    }

    fn taken(&mut self) -> Usage {
        Usage {
            input: 5,
            output: self.tokens.into(),
            ..Usage::default()
        }
    }
}

impl Hearth for AtHearth {
    type Answer = Words;
    type Error = &'static str;

    fn model(&self) -> String {
        "mini".into()
    }

    fn identity(&self) -> Option<String> {
        Some(self.model())
    }

    async fn begin(&self, _: bool) -> Result<Words, Unable<&'static str>> {
        let error = "400";
        match self {
            Self::Cannot => Err(Unable::Cannot {
                why: "the prompt is too long".into(),
                error,
            }),
            Self::Wrong => Err(Unable::Wrong(error)),
            says => Ok(Words {
                left: ["I ", "am ", "home."].into(),
                tokens: 0,
                said: String::new(),
                fails: *says == Self::FailsInTheMiddle,
                hangs: *says == Self::Hangs,
            }),
        }
    }

    async fn again(&self, n: u32) -> Vec<String> {
        let all = ["i am home", "I am home. ", "away", "I am home."];
        all.map(str::to_owned)
            .into_iter()
            .take(n as usize)
            .collect()
    }
}

fn gateway(world: &Shared, settings: Settings) -> Gateway {
    let part = || Part(Arc::clone(world));
    Gateway {
        rules: Arc::new(part()),
        cloud: Arc::new(part()),
        books: Arc::new(part()),
        sureness: Arc::new(part()),
        settings,
        clock: Arc::new(|| 1_000),
    }
}

fn free() -> World {
    World {
        leave: Some(Leave::Allow),
        cap: 1000,
        offers: 1,
        ..World::default()
    }
}

fn ask() -> Ask {
    let mut request = Request::new("req-1", vec![Message::text(Role::User, "I am Anna.")]);
    request.user = "ben".into();
    Ask {
        request,
        asked: None,
        named: None,
        streams: false,
        only_here: None,
        shut: None,
        ruled: Ruled::alone(),
    }
}

/// Who answered what, as the client sees it: the text, or the error.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Home(String),
    Cloud(String),
    Broken(String),
    Denied(&'static str),
}

/// Routes and reads the answer, or drops it after some pieces.
fn run(
    world: &Shared,
    settings: Settings,
    ask: Ask,
    hearth: AtHearth,
    reads: usize,
) -> (Seen, Note) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let gateway = gateway(world, settings);
        let mut ask = ask;
        ask.ruled = gateway.rule(&ask.request);
        match gateway.route(gateway.since(), ask, &hearth).await {
            Ok(Routed::Home(mut answer)) => {
                let mut text = String::new();
                for _ in 0..reads {
                    let Some(word) = answer.next().await else {
                        break;
                    };
                    text.push_str(word);
                }
                let (_, account) = answer.parts_mut();
                account.finish(Outcome::Completed, &Usage::default(), None);
                let note = account.note().clone();
                (Seen::Home(text), note)
            }
            Ok(Routed::Cloud(mut answer)) => {
                let mut text = String::new();
                let mut seen = None;
                for _ in 0..reads {
                    match answer.next().await {
                        None => break,
                        Some(Ok(Piece::Text(more))) => text.push_str(&more),
                        Some(Ok(_)) => {}
                        Some(Err(fault)) => seen = Some(Seen::Broken(fault.why)),
                    }
                }
                let note = answer.account().note().clone();
                (seen.unwrap_or(Seen::Cloud(text)), note)
            }
            Err(Denied::Home(_, note)) => (Seen::Denied("home"), *note),
            Err(Denied::Refused(_, note)) => (Seen::Denied("refused"), *note),
            Err(Denied::Failed(_, note)) => (Seen::Denied("failed"), *note),
        }
    })
}

fn auto(world: World, change: impl FnOnce(&mut Ask)) -> (Seen, Note, Shared) {
    let world = Arc::new(Mutex::new(world));
    let mut ask = ask();
    change(&mut ask);
    let (seen, note) = run(&world, Settings::default(), ask, AtHearth::Says, 99);
    (seen, note, world)
}

fn home() -> Seen {
    Seen::Home("I am home.".into())
}

#[test]
fn a_confidence_that_was_learned_with_samples_is_asked_with_samples() {
    let with = |samples| World {
        confidence: Some(0.9),
        calibrated: true,
        threshold: Some(0.8),
        samples,
        ..free()
    };
    let agreed = |samples, streams| {
        let (seen, note, world) = auto(with(samples), |ask| ask.streams = streams);
        let world = world.lock().unwrap();
        (seen, world.agreed.clone(), note)
    };
    let (seen, agreement, _) = agreed(4, false);
    assert_eq!((seen, agreement), (home(), vec![Some(0.5)]));
    assert_eq!(agreed(0, false).1, [None]);
    assert_eq!(agreed(5, false).1, [None], "fewer than were learned from");
    // The beginning of an answer is not whole; this one is shorter.
    assert_eq!(agreed(4, true).1, [Some(0.5)]);
}

#[test]
fn an_unsure_answer_is_escalated_and_a_sure_one_kept() {
    let unsure = |probability| World {
        confidence: Some(probability),
        calibrated: true,
        threshold: Some(0.8),
        ..free()
    };
    let (seen, note, world) = auto(unsure(0.4), |_| {});
    assert_eq!(seen, Seen::Cloud("The cloud, Anna.".into()));
    assert_eq!(note.route, Route::Cloud);
    assert_eq!(note.cost.unwrap().nanos, 20);
    let world = world.lock().unwrap();
    let row = world.rows.first().unwrap();
    assert_eq!((row.outcome, world.rows.len()), (Outcome::Completed, 1));
    insta::assert_debug_snapshot!(row);
    let (seen, note, world) = auto(unsure(0.9), |_| {});
    assert_eq!((seen, note.route), (home(), Route::Local));
    let world = world.lock().unwrap();
    assert!(world.asked.is_empty() && world.given == 1);
    assert!(world.rows[0].instead.is_some());
}

#[test]
fn an_answer_that_nobody_wants_any_more_says_how_far_it_came() {
    let said = |words| (Outcome::Cancelled, 5, words);
    let row = |world: &Shared| {
        let world = world.lock().unwrap();
        assert_eq!(world.rows.len(), 1);
        let row = &world.rows[0];
        (row.outcome, row.tokens.input, row.tokens.output)
    };
    // The second is given up before it is decided who answers.
    for (hearth, words, decided) in [(AtHearth::Says, 3, true), (AtHearth::Hangs, 2, false)] {
        let world = Arc::new(Mutex::new(free()));
        let gateway = gateway(&world, Settings::default());
        let mut ask = ask();
        ask.ruled = gateway.rule(&ask.request);
        let begun = gateway.route(gateway.since(), ask, &hearth).now_or_never();
        assert_eq!(begun.is_some(), decided);
        drop(begun);
        assert_eq!(row(&world), said(words));
    }
}

#[test]
fn what_leaves_is_redacted_and_put_back() {
    let world = World {
        redact: true,
        ..free()
    };
    let (seen, _, world) = auto(world, |ask| ask.asked = Some(Asked::Cloud));
    assert_eq!(seen, Seen::Cloud("The cloud, Anna.".into()));
    let sent = &world.lock().unwrap().asked[0].0;
    assert!(
        !sent.contains("Anna") && sent.starts_with("I am "),
        "{sent}"
    );
}

#[test]
fn a_provider_that_fails_leaves_the_local_answer_marked() {
    let faults = [
        Behaves::Refuses,
        Behaves::FailsPaid,
        Behaves::BreaksOff { after: 0 },
        Behaves::BreaksOff { after: 2 },
    ];
    for behaves in faults {
        let world = World {
            behaves: vec![behaves.clone()],
            ..free()
        };
        let (seen, note, world) = auto(world, |ask| ask.asked = Some(Asked::Cloud));
        assert_eq!(seen, home(), "{behaves:?}");
        assert!(note.fallback && note.reason.starts_with("this is the local answer"));
        let world = world.lock().unwrap();
        assert_eq!((world.open, world.rows.len()), (0, 1));
    }
}

#[test]
fn what_is_streamed_can_break_off_only_with_an_error() {
    let world = World {
        behaves: vec![Behaves::BreaksOff { after: 1 }],
        ..free()
    };
    let (seen, _, world) = auto(world, |ask| {
        ask.asked = Some(Asked::Cloud);
        ask.streams = true;
    });
    assert_eq!(seen, Seen::Broken("it broke off".into()));
    let world = world.lock().unwrap();
    assert_eq!(world.rows[0].outcome, Outcome::Failed);
    assert_eq!((world.spent, world.open), (MOST, 0));
}

#[test]
fn the_next_provider_is_asked_where_one_fails() {
    let world = World {
        behaves: vec![Behaves::Answers, Behaves::FailsUnpaid],
        offers: 2,
        ..free()
    };
    let (seen, note, _) = auto(world, |ask| ask.asked = Some(Asked::Cloud));
    assert_eq!(seen, Seen::Cloud("The cloud, Anna.".into()));
    assert_eq!(note.model, "cloud/1");
}

#[test]
fn a_provider_whose_model_is_named_answers_or_nobody() {
    let named = |world: World| auto(world, |ask| ask.named = Some("cloud/0".into())).0;
    assert_eq!(named(free()), Seen::Cloud("The cloud, Anna.".into()));
    let fails = World {
        behaves: vec![Behaves::FailsUnpaid],
        ..free()
    };
    assert_eq!(named(fails), Seen::Denied("failed"));
    let local = World {
        leave: Some(Leave::LocalOnly),
        ..free()
    };
    assert_eq!(named(local), Seen::Denied("refused"));
    let poor = World { cap: 0, ..free() };
    assert_eq!(named(poor), Seen::Denied("refused"));
}

#[test]
fn what_the_model_at_home_cannot_do_goes_out_if_it_may() {
    let go = |leave| {
        let world = Arc::new(Mutex::new(World {
            leave: Some(leave),
            ..free()
        }));
        run(&world, Settings::default(), ask(), AtHearth::Cannot, 99).0
    };
    assert_eq!(go(Leave::Allow), Seen::Cloud("The cloud, Anna.".into()));
    assert_eq!(go(Leave::LocalOnly), Seen::Denied("home"));
}

fn behaves() -> impl Strategy<Value = Behaves> {
    prop_oneof![
        Just(Behaves::Answers),
        Just(Behaves::Refuses),
        (0usize..4).prop_map(|after| Behaves::BreaksOff { after }),
        Just(Behaves::FailsUnpaid),
        Just(Behaves::FailsPaid),
        Just(Behaves::SaysNothingOfUsage),
        Just(Behaves::ClaimsTooMuch),
    ]
}

fn leave() -> impl Strategy<Value = Leave> {
    prop_oneof![
        Just(Leave::LocalOnly),
        Just(Leave::Allow),
        Just(Leave::PreferCloud)
    ]
}

prop_compose! {
    fn worlds()(
        leave in leave(),
        redact: bool,
        behaves in prop::collection::vec(behaves(), 0..3),
        cap in 0i64..3 * MOST,
        confidence in prop::option::of(0.0..1.0f64),
        calibrated: bool,
        threshold in prop::option::of(0.0..1.0f64),
        offers in 0usize..3,
    ) -> World {
        World {
            leave: Some(leave), redact, behaves, cap, confidence, calibrated, threshold, offers,
            ..World::default()
        }
    }
}

prop_compose! {
    fn asks()(
        asked in prop::option::of(prop_oneof![Just(Asked::Local), Just(Asked::Auto), Just(Asked::Cloud)]),
        wish in prop::option::of(leave()),
        named: bool,
        streams: bool,
        here: bool,
        shut in prop::bool::weighted(0.2),
    ) -> Ask {
        let mut ask = ask();
        ask.request.leave = wish;
        Ask {
            asked,
            named: named.then(|| "cloud/0".into()),
            streams,
            only_here: here.then(|| "a grammar".into()),
            shut: shut.then(|| "this key may not".into()),
            ..ask
        }
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    let mode = prop_oneof![
        Just(Mode::Before),
        (1u32..4).prop_map(Mode::Prefix),
        Just(Mode::LocalOnly)
    ];
    (mode, any::<bool>()).prop_map(|(mode, escalate_uncalibrated)| Settings {
        mode,
        escalate_uncalibrated,
        ..Settings::default()
    })
}

fn hearths() -> impl Strategy<Value = AtHearth> {
    prop_oneof![
        4 => Just(AtHearth::Says),
        1 => Just(AtHearth::Cannot),
        1 => Just(AtHearth::Wrong),
        1 => Just(AtHearth::FailsInTheMiddle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn whatever_fails_all_ends_and_nothing_leaves_that_may_not(
        world in worlds(),
        ask in asks(),
        settings in settings(),
        hearth in hearths(),
        reads in 0usize..6,
    ) {
        let stays = world.leave == Some(Leave::LocalOnly)
            || ask.request.leave == Some(Leave::LocalOnly)
            || ask.asked == Some(Asked::Local)
            || ask.only_here.is_some()
            || ask.shut.is_some();
        let (cap, named) = (world.cap, ask.named.is_some());
        let world = Arc::new(Mutex::new(world));
        let (seen, note) = run(&world, settings, ask, hearth, reads);
        let world = world.lock().unwrap();
        if stays {
            prop_assert!(world.asked.is_empty(), "{:?}", world.asked);
            prop_assert_eq!(world.spent, 0);
        }
        prop_assert!(world.spent <= cap && world.held == 0 && world.open == 0);
        prop_assert_eq!(world.rows.len(), 1);
        let row = &world.rows[0];
        prop_assert_eq!(row.cost.as_ref().map_or(0, |c| c.cost.nanos), world.spent);
        for (_, grant) in &world.asked {
            prop_assert_eq!(grant.request.as_str(), "req-1");
            prop_assert!(!grant.why.is_empty());
        }
        match &seen {
            Seen::Home(_) => {
                prop_assert!(!named);
                prop_assert_eq!((note.route, row.route), (Route::Local, Route::Local));
            }
            Seen::Cloud(_) | Seen::Broken(_) => prop_assert_eq!(note.route, Route::Cloud),
            Seen::Denied(_) => prop_assert_eq!(row.route, Route::None),
        }
        prop_assert!(!note.reason.is_empty());
        prop_assert!(!row.decision.steps.is_empty());
    }
}
