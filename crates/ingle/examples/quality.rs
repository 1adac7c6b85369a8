//! How far a model's predictions are from those of the same weights without any rounding of activations.
//!
//! `cargo run --release --example quality -- MODEL.gguf WEIGHTS-F32.gguf TEXT [TOKENS] [DUMP [KV]]`
//!
//! `WEIGHTS-F32.gguf` holds the weights of MODEL decoded (`ingle quantize MODEL WEIGHTS-F32.gguf f32`); it is
//! computed with F32 activations and F32 keys and values. MODEL is computed as `ingle run --kv KV` does it
//! (f16 where there is no KV). Windows and
//! figures are those of `ingle quantize --eval-text`. With DUMP, the reference's logits are written there, for
//! `bench/peers/quality.mjs` to hold another program's against.

use ingle::engine::Budget;
use ingle::engine::score::{Comparison, Scorer, WINDOW, Windows, compare, plan};
use ingle::formats::vocabulary::{Encode, Vocabulary};
use ingle::tensor::cpu::Cpu;
use ingle::tensor::kernel::Isa;
use ingle::tensor::team::Team;
use ingle::{KvType, ModelFiles};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, weights, text, rest @ ..] = &args[..] else {
        return Err("give MODEL.gguf WEIGHTS-F32.gguf TEXT [TOKENS] [DUMP [KV]]".into());
    };
    let tokens = rest.first().map_or(Ok(8192), |n| n.parse())?;
    let kv = rest.get(2).map_or("f16", String::as_str);
    let kv = KvType::ALL
        .into_iter()
        .find(|k| k.name() == kv)
        .ok_or("no such KV")?;
    let (mut ours, windows) = load(model.as_ref(), kv, Some((text.as_ref(), tokens)))?;
    let (mut exact, _) = load(weights.as_ref(), KvType::F32, None)?;
    let windows = windows.ok_or("the text is too short")?;
    if let Some(path) = rest.get(1) {
        dump(&mut exact, &windows, path.as_ref())?;
    }
    let go_on = &mut |_| ControlFlow::Continue(());
    let comparison = compare(&mut exact, &mut ours, &windows, go_on)?.ok_or("stopped")?;
    print(&comparison);
    Ok(())
}

/// A model, and the windows of a text in its tokens.
fn load(
    path: &Path,
    kv: KvType,
    text: Option<(&Path, usize)>,
) -> Outcome<(Scorer<Cpu>, Option<Windows>)> {
    let files = ModelFiles::open(path)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = Cpu::new(Isa::best(), Arc::new(Team::new(threads))).ok_or("no kernels")?;
    let mut plan = plan(files.metadata(), &files, &cpu, u64::MAX)?;
    plan.options.kv = kv;
    let vocabulary = Vocabulary::from_metadata(files.metadata())?;
    let windows = match text {
        None => None,
        Some((text, n)) => {
            let options = Encode {
                add_special: false,
                parse_special: false,
            };
            let mut tokens = vocabulary.encode(&std::fs::read_to_string(text)?, options);
            tokens.truncate(n);
            let beginning = vocabulary.bos().filter(|_| vocabulary.add_bos());
            Windows::new(&tokens, beginning, plan.context.min(WINDOW as u32))
        }
    };
    let budget = Budget::new(u64::MAX);
    let scorer = Scorer::load(
        files.metadata(),
        &files,
        cpu,
        &plan,
        &budget,
        &mut |_, _| {},
    )?;
    Ok((scorer, windows))
}

/// Little-endian 32-bit numbers: tokens of the vocabulary, windows, tokens of a window; then for each window its
/// tokens, and the logits (f32) of each position from its middle to the last but one.
fn dump(exact: &mut Scorer<Cpu>, windows: &Windows, path: &Path) -> Outcome<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let (count, len) = windows.shape();
    for number in [exact.n_vocab() as u32, count, len] {
        out.write_all(&number.to_le_bytes())?;
    }
    let mut written = Ok(());
    exact.predictions(windows, &mut |window, position, logits| {
        let tokens = window.iter().map(|t| t.0.to_le_bytes());
        let head = tokens.filter(|_| position == window.len() / 2);
        let bytes = head.chain(logits.iter().map(|x| x.to_le_bytes()));
        for four in bytes {
            let result = out.write_all(&four);
            if written.is_ok() {
                written = result;
            }
        }
    })?;
    written?;
    Ok(out.flush()?)
}

fn print(c: &Comparison) {
    println!(
        "{{\"predictions\": {}, \"mean_kl\": {:e}, \"kl_999\": {:e}, \"max_kl\": {:e}, \"same_top\": {}, \
         \"perplexity\": {}}}",
        c.predictions, c.mean_kl, c.kl_999, c.max_kl, c.same_top, c.other_perplexity
    );
}
