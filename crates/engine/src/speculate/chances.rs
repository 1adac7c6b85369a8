//! How likely a guess is right, measured on guesses that cost nothing.

/// By how many tokens a match has: 0, 1, 2, 3-4, 5-8, 9-16, 17-32, more.
const CLASSES: usize = 8;

/// How likely a match at the place where the text was followed is right before anything is known.
const NEAR: [f32; CLASSES] = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98];
/// The same for a match elsewhere.
const FAR: [f32; CLASSES] = [0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95];

/// Weight of what is assumed, in tries.
const ASSUMED: f32 = 3.0;
/// What a try still counts after the next one.
const FADE: f32 = 0.97;

/// For each kind of match how often it went on as it did before.
///
/// Every token that becomes known says what a guess would have been worth, whether or not one was
/// computed: nothing has to be tried out.
#[derive(Clone, Debug, Default)]
pub(super) struct Chances {
    kinds: [[Chance; CLASSES]; 2],
}

impl Chances {
    /// The probability that the next token is the one that followed such a match.
    pub fn of(&self, near: bool, matched: u32) -> f32 {
        let class = class(matched);
        let assumed = if near { NEAR } else { FAR }[class];
        self.kinds[usize::from(near)][class].probability(assumed)
    }

    /// Notes whether it was.
    pub fn note(&mut self, near: bool, matched: u32, hit: bool) {
        self.kinds[usize::from(near)][class(matched)].note(hit);
    }
}

/// How often something came true, the last times counting most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chance {
    hits: f32,
    tries: f32,
}

impl Chance {
    /// Notes whether it came true.
    pub fn note(&mut self, hit: bool) {
        self.hits = FADE * self.hits + f32::from(u8::from(hit));
        self.tries = FADE * self.tries + 1.0;
    }

    /// The probability that it comes true, strictly between 0 and 1 if `assumed` is, which stands
    /// for what is not known yet.
    pub fn probability(&self, assumed: f32) -> f32 {
        (self.hits + ASSUMED * assumed) / (self.tries + ASSUMED)
    }
}

fn class(matched: u32) -> usize {
    match matched {
        0..=2 => matched as usize,
        3..=4 => 3,
        5..=8 => 4,
        9..=16 => 5,
        17..=32 => 6,
        _ => 7,
    }
}
