//! Which unit should leave a cache of experts: policies on recorded traces.
//!
//! `cargo run --release -p ingle-tensor --example policies -- TRACE...`: traces as the example `routes` of the
//! crate `ingle` prints them, or the word `drawn` for some of random routers. For each a table: the share of uses that found their expert in the cache, by how
//! many of all experts fit. The first quarter of the passes fills the caches and is not counted.
//!
//! A cache is of all layers together, unless a line says "per layer". "pinned" keeps the experts that were used
//! most in the first quarter of the passes in half of the cache for ever. The last line is what somebody who knows
//! the future would reach (Belady's rule), beside which the others are to be seen.

mod belady;
mod drawn;
mod policies;
mod simulate;
mod trace;

use ingle_tensor::policy::NextUse;
use policies::{Lfu, Lru, Policy, S3Fifo};
use simulate::{Cache, hit_rate};
use trace::Trace;

/// Shares of all experts that fit, in percent.
const SHARES: [usize; 9] = [10, 20, 30, 40, 50, 60, 70, 80, 90];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        return Err("give traces, as the example `routes` prints them, or `drawn`".into());
    }
    for path in paths {
        if path == "drawn" {
            for (name, drawn) in drawn::kinds() {
                print(name, &drawn.trace());
            }
            continue;
        }
        let trace = Trace::parse(&std::fs::read_to_string(&path)?)?;
        let name = std::path::Path::new(&path).file_stem().unwrap_or_default();
        print(&name.to_string_lossy(), &trace);
    }
    Ok(())
}

type Make<'a> = Box<dyn Fn(usize, usize) -> Box<dyn Policy> + 'a>;

/// Name; whether each layer has a cache of its own; whether hot experts are pinned; the policy, made for so many
/// units and slots.
fn candidates(trace: &Trace) -> Vec<(&'static str, bool, bool, Make<'_>)> {
    let e = trace.n_experts;
    let lru = || Box::new(|n, _| Box::new(Lru::<1>::new(n)) as Box<dyn Policy>);
    let next = || {
        Box::new(move |n: usize, slots| {
            let layers: Vec<u32> = (0..n).map(|unit| (unit / e) as u32).collect();
            Box::new(NextUse::new(&layers, slots)) as Box<dyn Policy>
        })
    };
    let lfu = |half_life: f64| {
        Box::new(move |n, _| Box::new(Lfu::new(n, e, half_life)) as Box<dyn Policy>)
    };
    vec![
        ("LRU", false, false, lru()),
        ("LRU per layer", true, false, lru()),
        ("LRU, hot pinned", false, true, lru()),
        (
            "LRU-2",
            false,
            false,
            Box::new(|n, _| Box::new(Lru::<2>::new(n))),
        ),
        (
            "S3-FIFO",
            false,
            false,
            Box::new(|n, slots| Box::new(S3Fifo::new(n, slots))),
        ),
        (
            "S3-FIFO per layer",
            true,
            false,
            Box::new(|n, slots| Box::new(S3Fifo::new(n, slots))),
        ),
        ("LFU, half after 16", false, false, lfu(16.0)),
        ("LFU, half after 64", false, false, lfu(64.0)),
        ("LFU, half after 256", false, false, lfu(256.0)),
        ("LFU 64, hot pinned", false, true, lfu(64.0)),
        ("LFU 64 per layer", true, false, lfu(64.0)),
        ("next use", false, false, next()),
        ("next use, hot pinned", false, true, next()),
    ]
}

fn print(name: &str, trace: &Trace) {
    println!(
        "\n{name}: {} layers of {} experts, {} a row; {} passes, {:.1} experts a layer and pass\n",
        trace.n_layers,
        trace.n_experts,
        trace.top_k,
        trace.groups.len() / trace.n_layers,
        trace.uses.len() as f64 / trace.groups.len() as f64,
    );
    println!(
        "| policy | {} |",
        SHARES.map(|s| format!("{s}%")).join(" | ")
    );
    println!("| --- |{}", " ---: |".repeat(SHARES.len()));
    for (name, per_layer, pinned, make) in candidates(trace) {
        let cells = SHARES.map(|share| {
            let slots = trace.n_units() * share / 100;
            let mut cache = Cache::new(trace, slots, per_layer, pinned, &make);
            format!("{:.1}", 100.0 * hit_rate(trace, &mut cache))
        });
        println!("| {name} | {} |", cells.join(" | "));
    }
    let best = SHARES.map(|share| {
        let rate = belady::hit_rate(trace, trace.n_units() * share / 100);
        format!("{:.1}", 100.0 * rate)
    });
    println!("| knowing the future | {} |", best.join(" | "));
}
