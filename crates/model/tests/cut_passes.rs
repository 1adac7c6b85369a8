//! A pass over the layers that is cut anywhere, with others between its parts and with rows that leave
//! it, gives the same bits as one that is not.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ingle_formats::TokenId;
use ingle_model::{ARCHITECTURES, Lane, Network, Part, Rows, inspect, load};
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::{Batch, Item, KvType, Ops, PAGE_LEN, PageId, Row};
use ingle_tensor::team::Team;
use std::sync::Arc;
use support::{Model, N_VOCAB, Rng};

/// The rows of the long pass, and of those between its parts.
const ROWS: Rows = Rows { main: 96, side: 4 };

struct Loaded {
    ops: Cpu,
    network: Box<dyn Network<Cpu>>,
    memory: <Cpu as Ops>::Memory,
}

fn loaded(arch: &str) -> Loaded {
    let mut model = match arch {
        "mixtral" => Model::mixtral(true),
        _ => Model::random(arch),
    };
    let arch = if arch == "mixtral" { "llama" } else { arch };
    model.set(&format!("{arch}.attention.sliding_window"), 70_u32);
    model.set(
        &format!("{arch}.attention.sliding_window_pattern"),
        vec![true, false, true],
    );
    let (metadata, source) = model.build();
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
    let network = load(&metadata, &source, &ops, ROWS, 512, &mut |_| {}).unwrap();
    let memory = ops.memory(&network.layers(), KvType::F16, 8);
    Loaded {
        ops,
        network,
        memory,
    }
}

/// A text, and the pages that hold it.
struct Text {
    tokens: Vec<TokenId>,
    pages: Vec<PageId>,
}

fn text(seed: u64, n: usize, first_page: u32) -> Text {
    let mut rng = Rng(seed * 2 + 1);
    let mut token = |_| TokenId(rng.next_u32() % N_VOCAB as u32);
    Text {
        tokens: (0..n).map(&mut token).collect(),
        pages: (first_page..)
            .take(n.div_ceil(PAGE_LEN))
            .map(PageId)
            .collect(),
    }
}

/// The rows of a few texts from `start` to `end`.
struct Asked<'a> {
    rows: Vec<Row>,
    pages: Vec<&'a [PageId]>,
    /// The last row of each text.
    outputs: Vec<u32>,
    hidden: bool,
}

impl<'a> Asked<'a> {
    fn new(texts: &[&'a Text], start: usize, end: usize) -> Self {
        let (mut rows, mut outputs) = (Vec::new(), Vec::new());
        for (text, sequence) in texts.iter().zip(0..) {
            let end = end.min(text.tokens.len());
            rows.extend((start..end).map(|i| Row {
                item: Item::Token(text.tokens[i]),
                position: i as u32,
                sequence,
            }));
            outputs.push(rows.len() as u32 - 1);
        }
        Self {
            rows,
            pages: texts.iter().map(|text| &text.pages[..]).collect(),
            outputs,
            hidden: false,
        }
    }

    fn batch(&self) -> Batch<'_> {
        Batch {
            rows: &self.rows,
            sequences: &self.pages,
            outputs: &self.outputs,
            hidden: self.hidden,
        }
    }
}

impl Loaded {
    /// The bits of the logits that a part gives; none where it is not the last.
    fn part(&mut self, asked: &Asked<'_>, part: &Part<'_>) -> Vec<u32> {
        let mut logits = vec![7.0];
        let (ops, memory) = (&mut self.ops, &mut self.memory);
        self.network
            .forward_part(ops, memory, &asked.batch(), part, &mut logits)
            .unwrap();
        logits.iter().map(|x| x.to_bits()).collect()
    }

    fn layers(&self) -> usize {
        self.network.shape().n_layers
    }

    fn whole(&mut self, asked: &Asked<'_>) -> Vec<u32> {
        self.part(asked, &Part::whole(self.layers()))
    }

    /// Every token of a text by itself, from `start` on: what others get between the parts.
    fn beside(&mut self, text: &Text, at: usize) -> Vec<u32> {
        let part = Part {
            lane: Lane::Side,
            ..Part::whole(self.layers())
        };
        self.part(&Asked::new(&[text], at, at + 1), &part)
    }

    fn hidden(&mut self, rows: usize) -> Vec<u32> {
        let mut hidden = Vec::new();
        self.ops.read(self.network.hidden(), 0..rows, &mut hidden);
        hidden.iter().map(|x| x.to_bits()).collect()
    }
}

fn decoders() -> impl Iterator<Item = &'static str> {
    let decoders = ARCHITECTURES.iter().filter(|a| !a.ends_with("bert"));
    decoders.chain(&["mixtral"]).copied()
}

#[test]
fn a_pass_that_is_cut_gives_the_same_bits() {
    let texts = [text(1, 50, 0), text(2, 40, 1)];
    let texts = [&texts[0], &texts[1]];
    let other = text(3, 30, 2);
    for arch in decoders() {
        let mut m = loaded(arch);
        let n_layers = m.layers();
        let mut asked = Asked::new(&texts, 0, 50);
        let expected = m.whole(&asked);
        let others: Vec<_> = (0..30).map(|at| m.beside(&other, at)).collect();
        let cuts: [&[usize]; 3] = [&[1, 2], &[1], &[0, 0, 2]];
        for hidden in [false, true] {
            asked.hidden = hidden;
            m.whole(&asked);
            let rows = m.hidden(if hidden { 90 } else { 2 });
            for cuts in cuts {
                // Nothing is found in the pages of an earlier time.
                let mut m = loaded(arch);
                let (mut start, mut at) = (0, 0);
                for &end in cuts {
                    let part = Part {
                        layers: start..end,
                        ..Part::whole(n_layers)
                    };
                    assert!(m.part(&asked, &part).is_empty(), "{arch}");
                    start = end;
                    for _ in 0..3 {
                        assert!(
                            m.beside(&other, at) == others[at],
                            "{arch}: beside {cuts:?}"
                        );
                        at += 1;
                    }
                }
                let part = Part {
                    layers: start..n_layers,
                    ..Part::whole(n_layers)
                };
                assert!(m.part(&asked, &part) == expected, "{arch}: cut at {cuts:?}");
                assert!(
                    m.hidden(if hidden { 90 } else { 2 }) == rows,
                    "{arch}: hidden"
                );
                // Keys and values are all there.
                let next = Asked::new(&[texts[0]], 49, 50);
                let n = N_VOCAB as usize;
                assert!(m.whole(&next) == expected[..n], "{arch}: keys of {cuts:?}");
            }
        }
    }
}

#[test]
fn the_side_lane_is_counted() {
    let (metadata, source) = Model::random("llama").build();
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
    let bytes = |rows: Rows| {
        let needs = inspect(&metadata, &source, &ops, rows).unwrap();
        needs.buffer_bytes
    };
    let alone = bytes(Rows::from(96));
    // What all lanes share does not grow: the operations' scratch.
    let rows = bytes(Rows::from(97)) - alone;
    let beside = bytes(ROWS) - alone;
    assert!(
        beside > 0 && beside < 4 * rows,
        "{beside} for 4, {rows} a row"
    );
}

#[test]
fn rows_may_leave_a_pass() {
    let texts = [text(1, 50, 0), text(2, 40, 1), text(4, 3, 3)];
    let texts = [&texts[0], &texts[1], &texts[2]];
    for arch in decoders() {
        let mut m = loaded(arch);
        let n_layers = m.layers();
        let expected = m.whole(&Asked::new(&texts[1..2], 0, 50));
        for left in 1..n_layers {
            let mut m = loaded(arch);
            let all = Asked::new(&texts, 0, 50);
            let part = Part {
                layers: 0..left,
                ..Part::whole(n_layers)
            };
            m.part(&all, &part);
            let kept: Vec<u32> = (50..90).collect();
            let part = Part {
                layers: left..n_layers,
                lane: Lane::Main,
                kept: Some(&kept),
            };
            let rest = m.part(&Asked::new(&texts[1..2], 0, 50), &part);
            assert!(rest == expected, "{arch}: others left behind layer {left}");
        }
    }
}
