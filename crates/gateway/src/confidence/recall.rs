//! What was right for other requests with such words.
//!
//! A second opinion beside the model's: where the texts of a calibration say which answers were right, and
//! these come back (labels, names, categories), the words of a request speak for some of them. Naive Bayes
//! over the words of the request, each answer's words smoothed towards those of all (Jelinek and Mercer,
//! 1980, with Dirichlet's weights: Zhai and Lafferty, SIGIR 2001). How likely an answer is before any word
//! is heard is how often it was right where it was among the choices.
//!
//! The opinion never decides: it is one more signal, weighed with the others by how often it was right of
//! texts that it had not learned from.

use super::asked::hash;
use ingle_engine::constrain::few;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Words of the background that each answer's words are smoothed with.
const SMOOTH: f64 = 5.0;
/// Outcomes that a prior begins with: half of one was right.
const PRIOR: f64 = 1.5;
/// Answers that are remembered at most: the most frequent ones.
const MOST_ANSWERS: usize = 512;
/// Words with answers that are remembered at most: the most frequent ones.
const MOST_PAIRS: usize = 250_000;
/// Choices of a request that are looked at.
pub const MOST_CHOICES: usize = 256;
/// The score of an answer that nothing is known of.
const UNKNOWN: f64 = -12.0;

/// Names of the numbers of an opinion.
pub const NAMES: [&str; 6] = [
    "recall_margin",
    "recall_probability",
    "recall_elsewhere",
    "recall_entropy",
    "recall_words",
    "recall_agrees",
];

/// A text with the answer that was right, by hashes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lesson {
    /// Of the words of the request: [`super::Asked::words`].
    pub words: Vec<u32>,
    /// Of the answers that could be chosen; empty: any.
    pub choices: Vec<u32>,
    /// Of the answer that was given.
    pub answer: u32,
    /// Of the one that was right, where that is known.
    pub right: Option<u32>,
}

/// What is remembered of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Answer {
    hash: u32,
    /// How often it was right.
    right: f32,
    /// How often it could be chosen.
    offered: f32,
    /// Words of the requests that it was right for.
    words: f32,
}

/// Which answers were right for which words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recall {
    answers: Vec<Answer>,
    index: HashMap<u32, u32>,
    /// A word's answers and how often each.
    words: HashMap<u32, Word>,
    /// Words of all requests.
    total: f32,
    /// Requests that any answer could be given to.
    open: f32,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Word {
    count: f32,
    answers: Vec<(u32, f32)>,
}

/// As it is written: pairs of a word and an answer, by their places.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    open: f32,
    answers: Vec<Answer>,
    words: Vec<(u32, Vec<(u32, f32)>)>,
}

/// The hash of an answer: JSON by what it says, anything else without regard to case and spaces.
pub fn answer(text: &str) -> u32 {
    match serde_json::from_str::<Value>(text.trim()) {
        Ok(json) => answer_of(&json),
        Err(_) => answer_of(&Value::String(text.to_owned())),
    }
}

fn answer_of(value: &Value) -> u32 {
    let plain = match value {
        Value::String(text) => text.trim().to_owned(),
        other => in_order(other).to_string(),
    };
    let plain = plain.to_lowercase();
    (hash(0x2b99_2ddf_a232_49d6, plain.as_bytes()) >> 16) as u32
}

/// With the keys of its objects in order. Nothing that was read as JSON is deeper than 128.
fn in_order(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let sorted: BTreeMap<&String, &Value> = object.iter().collect();
            let sorted = sorted.into_iter().map(|(k, v)| (k.clone(), in_order(v)));
            Value::Object(sorted.collect())
        }
        Value::Array(all) => Value::Array(all.iter().map(in_order).collect()),
        other => other.clone(),
    }
}

impl Recall {
    /// Learns. Answers that were right for one text only say nothing of others.
    pub fn learn<'a>(lessons: impl Iterator<Item = &'a Lesson> + Clone) -> Self {
        let mut often: HashMap<u32, u32> = HashMap::new();
        for right in lessons.clone().filter_map(|l| l.right) {
            *often.entry(right).or_default() += 1;
        }
        let mut often: Vec<(u32, u32)> = often.into_iter().filter(|(_, n)| *n > 1).collect();
        often.sort_unstable_by_key(|&(hash, n)| (std::cmp::Reverse(n), hash));
        often.truncate(MOST_ANSWERS);
        let mut made = Self::default();
        for (hash, _) in often {
            made.index.insert(hash, made.answers.len() as u32);
            made.answers.push(Answer {
                hash,
                ..Answer::default()
            });
        }
        lessons.for_each(|lesson| made.count(lesson, 1.0));
        made
    }

    /// Whether nothing was learned.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Takes note of a lesson, or with -1 forgets it again.
    pub(super) fn count(&mut self, lesson: &Lesson, by: f32) {
        let Some(right) = lesson.right else { return };
        if lesson.choices.is_empty() {
            self.open += by;
        }
        for choice in &lesson.choices {
            let i = self.index.get(choice).copied().unwrap_or(u32::MAX);
            if let Some(answer) = self.answers.get_mut(i as usize) {
                answer.offered += by;
            }
        }
        let Some(&i) = self.index.get(&right) else {
            return;
        };
        if let Some(answer) = self.answers.get_mut(i as usize) {
            answer.right += by;
            answer.words += by * lesson.words.len() as f32;
        }
        for &word in &lesson.words {
            let word = self.words.entry(word).or_default();
            word.count += by;
            match word.answers.iter_mut().find(|(answer, _)| *answer == i) {
                Some((_, n)) => *n += by,
                None => word.answers.push((i, by)),
            }
        }
        self.total += by * lesson.words.len() as f32;
    }

    /// What speaks for each answer: the logarithm of how much more likely it is than chance; and the share
    /// of the words that are known.
    fn scores(&self, words: &[u32]) -> (Vec<f64>, f64) {
        let known: Vec<&Word> = words
            .iter()
            .filter_map(|w| self.words.get(w))
            .filter(|w| w.count > 0.5)
            .collect();
        let n = known.len() as f64;
        let prior = |a: &Answer| {
            let offered = f64::from((a.offered + self.open).max(0.0));
            let right = f64::from(a.right.max(0.0));
            libm::log((right + 0.5) / (offered + PRIOR))
        };
        let own = |a: &Answer| n * libm::log(SMOOTH / (f64::from(a.words.max(0.0)) + SMOOTH));
        let mut scores: Vec<f64> = self.answers.iter().map(|a| prior(a) + own(a)).collect();
        for word in &known {
            let usual = SMOOTH * f64::from(word.count) / f64::from(self.total.max(1.0));
            for &(i, n) in word.answers.iter().filter(|(_, n)| *n > 0.5) {
                if let Some(score) = scores.get_mut(i as usize) {
                    *score += libm::log1p(f64::from(n) / usual);
                }
            }
        }
        (scores, n / words.len().max(1) as f64)
    }

    /// What it says of an answer, as [`NAMES`]. `answer`: none, before there is one. All 0 where it knows
    /// nothing.
    pub fn opinion(
        &self,
        words: &[u32],
        choices: &[u32],
        answer: Option<u32>,
    ) -> [f64; NAMES.len()] {
        if self.is_empty() {
            return [0.0; NAMES.len()];
        }
        let (scores, known) = self.scores(words);
        let of = |hash: &u32| {
            let score = self.index.get(hash).and_then(|i| scores.get(*i as usize));
            score.copied().unwrap_or(UNKNOWN)
        };
        let mut given: Vec<u32> = match choices.is_empty() {
            true => self.answers.iter().map(|a| a.hash).collect(),
            false => choices.to_vec(),
        };
        given.extend(answer.filter(|a| !given.contains(a)));
        let among: Vec<(u32, f64)> = given.iter().map(|hash| (*hash, of(hash))).collect();
        let best = |without: Option<u32>| {
            let others = among.iter().filter(|(hash, _)| Some(*hash) != without);
            others.map(|a| a.1).fold(UNKNOWN, f64::max)
        };
        // Before there is an answer, what it would itself say.
        let own = answer.map_or_else(|| best(None), |a| of(&a));
        let taken = answer.or_else(|| among.iter().find(|a| a.1 >= own).map(|a| a.0));
        let other = best(taken);
        let elsewhere = self
            .answers
            .iter()
            .zip(&scores)
            .filter(|(a, _)| !given.contains(&a.hash));
        let elsewhere = elsewhere
            .map(|(_, score)| *score)
            .fold(UNKNOWN - 8.0, f64::max);
        let top = own.max(other);
        let sum = libm::log(among.iter().map(|a| libm::exp(a.1 - top)).sum::<f64>()) + top;
        let entropy: f64 = among
            .iter()
            .map(|a| -libm::exp(a.1 - sum) * (a.1 - sum))
            .sum();
        [
            libm::asinh(own - other),
            own - sum,
            libm::asinh(top - elsewhere),
            entropy,
            known,
            f64::from(u8::from(own > other)),
        ]
    }

    fn kept(&self) -> Kept {
        let mut words: Vec<(u32, &Word)> = self
            .words
            .iter()
            .map(|(hash, word)| (*hash, word))
            .collect();
        words.sort_unstable_by(|a, b| b.1.count.total_cmp(&a.1.count).then(a.0.cmp(&b.0)));
        let mut pairs = 0;
        let fits = |word: &(u32, &Word)| {
            pairs += word.1.answers.len();
            pairs <= MOST_PAIRS
        };
        let words = words.into_iter().take_while(fits);
        Kept {
            open: self.open,
            answers: self.answers.clone(),
            words: words
                .map(|(hash, word)| (hash, word.answers.clone()))
                .collect(),
        }
    }

    fn of_kept(kept: Kept) -> Self {
        let index = kept
            .answers
            .iter()
            .zip(0_u32..)
            .map(|(a, i)| (a.hash, i))
            .collect();
        let word = |(hash, answers): (u32, Vec<(u32, f32)>)| {
            let count = answers.iter().map(|a| a.1).sum();
            (hash, Word { count, answers })
        };
        Self {
            open: kept.open,
            total: kept.answers.iter().map(|a| a.words).sum(),
            index,
            answers: kept.answers,
            words: kept.words.into_iter().map(word).collect(),
        }
    }

    /// Whether it is what [`Self::learn`] makes, for one that was read from a file.
    pub(super) fn is_valid(&self) -> bool {
        let fine = |n: f32| n.is_finite() && n >= 0.0;
        let answers = self.answers.iter();
        let answers = answers.map(|a| [a.right, a.offered, a.words].into_iter().all(fine));
        let n = self.answers.len();
        let mut pairs = self.words.values().flat_map(|word| &word.answers);
        answers.into_iter().all(|fine| fine)
            && fine(self.open)
            && n <= MOST_ANSWERS
            && pairs.all(|p| (p.0 as usize) < n && fine(p.1))
    }
}

impl Serialize for Recall {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.kept().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Recall {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Kept::deserialize(deserializer).map(Self::of_kept)
    }
}

/// The hashes of all answers that a schema allows, where they are few. Empty: not so few, or it cannot be told.
pub fn choices(schema: &Value) -> Vec<u32> {
    let all = few(schema, MOST_CHOICES);
    let mut all: Vec<u32> = all.iter().flatten().map(answer_of).collect();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::Asked;
    use proptest::prelude::*;
    use serde_json::json;

    fn lesson(text: &str, right: &str) -> Lesson {
        Lesson {
            words: Asked::new(text).words,
            choices: ["pay", "ship", "none"].map(answer).to_vec(),
            answer: answer("pay"),
            right: Some(answer(right)),
        }
    }

    fn lessons() -> Vec<Lesson> {
        let all = [
            ("how do I pay my bill", "pay"),
            ("can I pay by card", "pay"),
            ("where is my parcel", "ship"),
            ("the parcel is late", "ship"),
            ("tell me a joke", "none"),
            ("sing a song to me", "none"),
            ("alone", "only once"),
        ];
        all.map(|(text, right)| lesson(text, right)).to_vec()
    }

    fn margin(recall: &Recall, text: &str, given: &str) -> f64 {
        let l = lesson(text, given);
        recall.opinion(&l.words, &l.choices, Some(answer(given)))[0]
    }

    #[test]
    fn words_speak_for_answers() {
        let all = lessons();
        let recall = Recall::learn(all.iter());
        assert_eq!(recall.answers.len(), 3, "not the one that was right once");
        assert!(margin(&recall, "pay with a card", "pay") > 0.5);
        assert!(margin(&recall, "pay with a card", "ship") < -0.5);
        assert!(margin(&recall, "my parcel!", "SHIP ") > 0.5);
        let before = recall.opinion(&lesson("my parcel", "").words, &all[0].choices, None);
        assert!(before[0] > 0.5 && before[5] == 1.0, "{before:?}");
        // What was right is not among the choices.
        let few = [answer("pay"), answer("none")];
        let found = recall.opinion(&lesson("my parcel", "").words, &few, Some(few[1]));
        assert!(found[2] < 0.0, "{found:?}");
        let nothing = Recall::default().opinion(&[1, 2], &few, None);
        assert_eq!(nothing, [0.0; NAMES.len()]);
    }

    #[test]
    fn a_lesson_is_forgotten_without_a_trace() {
        let all = lessons();
        let mut recall = Recall::learn(all.iter());
        let before = margin(&recall, "pay with a card", "pay");
        let more = lesson("card card parcel", "ship");
        recall.count(&more, 1.0);
        assert_ne!(margin(&recall, "pay with a card", "pay"), before);
        recall.count(&more, -1.0);
        assert!((margin(&recall, "pay with a card", "pay") - before).abs() < 1e-6);
    }

    #[test]
    fn it_survives_a_file_and_a_wrong_one_is_known() {
        let all = lessons();
        let recall = Recall::learn(all.iter());
        let text = serde_json::to_string(&recall).unwrap();
        let again: Recall = serde_json::from_str(&text).unwrap();
        assert!(again.is_valid());
        for text in ["pay with a card", "my parcel", "xyz"] {
            assert_eq!(margin(&again, text, "pay"), margin(&recall, text, "pay"));
        }
        let far = text.replacen("[0,", "[99,", 1);
        assert_ne!(far, text);
        let wrong: Recall = serde_json::from_str(&far).unwrap();
        assert!(!wrong.is_valid());
    }

    #[test]
    fn a_schema_with_few_answers_lists_them() {
        let schema = json!({
            "type": "object", "properties": { "label": { "enum": ["spam", "ham"] } },
            "required": ["label"], "additionalProperties": false,
        });
        assert_eq!(
            choices(&schema),
            ["{\"label\": \"spam\"}", "{ \"label\":\"ham\"}"].map(answer)
        );
        assert_eq!(
            choices(&json!({ "enum": ["Yes", "no"] })),
            ["yes", "NO "].map(answer)
        );
        let two = json!({
            "type": "object", "required": ["a", "b"], "additionalProperties": false,
            "properties": { "a": { "type": "boolean" }, "b": { "anyOf": [{ "const": 1 }, { "enum": [2, 3] }] } },
        });
        let six = choices(&two);
        assert!(six.len() == 6 && six.contains(&answer("{\"b\": 2, \"a\": true}")));
        for open in [
            json!({ "type": "string" }),
            json!({ "type": "object", "properties": { "a": { "const": 1 } }, "required": ["a"] }),
            json!({ "type": "object", "properties": { "a": { "const": 1 } }, "required": [], "additionalProperties": false }),
            json!(true),
            json!({ "enum": (0..300).collect::<Vec<_>>() }),
        ] {
            assert!(choices(&open).is_empty(), "{open}");
        }
    }

    proptest! {
        #[test]
        fn an_opinion_is_a_row_of_numbers(
            lessons in prop::collection::vec((prop::collection::vec(0_u32..9, 0..6), 0_u32..4), 0..20),
            words in prop::collection::vec(0_u32..12, 0..8), choices in prop::collection::vec(0_u32..6, 0..4),
            answer in prop::option::of(0_u32..6),
        ) {
            let lessons: Vec<Lesson> = lessons.into_iter().map(|(words, right)| Lesson {
                words, choices: choices.clone(), answer: 0, right: Some(right),
            }).collect();
            let mut recall = Recall::learn(lessons.iter());
            for lesson in lessons.iter().take(3) {
                recall.count(lesson, -1.0);
            }
            let found = recall.opinion(&words, &choices, answer);
            prop_assert!(found.iter().all(|x| x.is_finite() && x.abs() < 1e3), "{found:?}");
        }
    }
}
