//! `ingle doctor`: what this machine has, what was chosen, what will fit.

use crate::environment::Environment;
use crate::line::Line;
use crate::machine::processors::instruction_sets;
use crate::machine::{Disks, KnownDisk, MachineArgs, Memory, Processors, advice, memory};
use crate::{ledger, out};
use ingle::tensor::NUMERICS_CLASS;
use ingle::tensor::kernel::choice::Choice;
use ingle::tensor::kernel::{Isa, Leaf};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

/// What this machine has, what was chosen and why, what will fit
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

pub fn run(args: &Args, line: &Line) -> anyhow::Result<()> {
    let ledger = ledger::path(&line.config().ledger, &Environment::of_process()).ok();
    let report = Report::examine(&args.machine, ledger);
    if args.json {
        out::json(&report.json())
    } else {
        out::answer(&report.text())
    }
}

/// What was found.
struct Report {
    processors: Processors,
    instruction_sets: Vec<&'static str>,
    /// Which kernels compute, and why these.
    isa: (Isa, &'static str),
    /// From how many rows on a kernel unpacks weights first: the rows, and the types. Measured just now.
    unpacked_first: Vec<(usize, Vec<String>)>,
    threads: usize,
    memory: Option<Memory>,
    huge_pages: Option<String>,
    /// Those that were measured, when a model was first streamed from them.
    disks: Vec<KnownDisk>,
    /// Where answers and every use of the network are written down.
    ledger: Option<PathBuf>,
}

impl Report {
    fn examine(machine: &MachineArgs, ledger: Option<PathBuf>) -> Self {
        Self {
            processors: Processors::measure(),
            instruction_sets: instruction_sets(),
            isa: machine.isa(),
            unpacked_first: unpacked_first(machine.isa().0),
            threads: machine.threads(),
            memory: Memory::measure(),
            huge_pages: memory::huge_pages(),
            disks: {
                let file = Environment::of_process().disks_file();
                file.map(|path| Disks::read(&path).disks)
                    .unwrap_or_default()
            },
            ledger,
        }
    }

    fn json(&self) -> serde_json::Value {
        let p = &self.processors;
        let advice = self
            .memory
            .and_then(|m| advice::largest_that_fits(m.available));
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "processor": {
                "name": p.name, "cores": p.cores, "logical": p.logical, "quota": p.quota,
                "instruction_sets": self.instruction_sets,
            },
            "kernels": { "isa": self.isa.0.name(), "why": self.isa.1, "unpacked_first": self.unpacked_first_json() },
            "numerics": NUMERICS_CLASS,
            "threads": self.threads,
            "memory": self.memory.map(|m| serde_json::json!({
                "total": m.total, "available": m.available, "limited_by_control_group": m.limited,
            })),
            "numerics_class": NUMERICS_CLASS,
            "huge_pages": self.huge_pages,
            "disks": self.disks,
            "ledger": self.ledger.as_ref().map(|path| path.display().to_string()),
            "largest_model_bytes": self.memory.map(|m| advice::room_for_weights(m.available)),
            "advice": advice.map(|a| serde_json::json!({
                "name": a.name(), "file": a.file(), "command": a.command(),
            })),
        })
    }

    fn text(&self) -> String {
        let p = &self.processors;
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<13} {value}");
        };
        line("ingle", env!("CARGO_PKG_VERSION").to_owned());
        line("processor", p.name.clone());
        line("instructions", self.instruction_sets.join(" "));
        line("kernels", format!("{} ({})", self.isa.0, self.isa.1));
        line("products", self.describe_products());
        line("numerics", NUMERICS_CLASS.to_owned());
        line("threads", self.threads_and_why());
        line(
            "memory",
            self.memory.map_or_else(unknown_memory, describe_memory),
        );
        line(
            "huge pages",
            self.huge_pages
                .clone()
                .unwrap_or_else(|| "not offered".into()),
        );
        line("disks", self.describe_disks());
        line("ledger", self.describe_ledger());
        if let Some(memory) = self.memory {
            let room = advice::room_for_weights(memory.available);
            line(
                "will fit",
                format!("models of up to about {}", out::bytes(room)),
            );
            match advice::largest_that_fits(memory.available) {
                Some(model) => text.push_str(&format!("\n{}\n", model.lines())),
                None => text.push_str(
                    "\nToo little memory is free for a larger model; the built-in one works.\n",
                ),
            }
        }
        text
    }

    fn unpacked_first_json(&self) -> serde_json::Value {
        let types = self.unpacked_first.iter();
        let each = types.flat_map(|(rows, types)| types.iter().map(move |ty| (ty, rows)));
        each.map(|(ty, rows)| (ty.clone(), (*rows).into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Which of the two kernels of a type takes how many rows.
    fn describe_products(&self) -> String {
        if self.unpacked_first.is_empty() {
            return "weights are unpacked while they are multiplied (measured)".into();
        }
        let lines = self.unpacked_first.iter().map(|(rows, types)| {
            let types = types.join(" ");
            format!("weights are unpacked first from {rows} rows on: {types} (measured)")
        });
        below(lines.collect())
    }

    fn describe_disks(&self) -> String {
        if self.disks.is_empty() {
            return "none was measured yet: that is done when a model is first read from it while it runs".into();
        }
        let lines: Vec<String> = self.disks.iter().map(KnownDisk::line).collect();
        below(lines)
    }

    fn describe_ledger(&self) -> String {
        match &self.ledger {
            Some(path) if path.exists() => path.display().to_string(),
            Some(path) => format!("{} (nothing was written yet)", path.display()),
            None => "nowhere: set HOME; until then nothing can be downloaded".into(),
        }
    }

    fn threads_and_why(&self) -> String {
        let p = &self.processors;
        let why = match p.quota {
            _ if self.threads != p.threads() => "asked for".to_owned(),
            Some(quota) if quota < p.cores => format!("a control group allows {quota} processors"),
            _ => format!(
                "one for each of {} physical cores, {} logical",
                p.cores, p.logical
            ),
        };
        format!("{} ({why})", self.threads)
    }
}

/// From how many rows on which types are unpacked first, the fewest rows first.
fn unpacked_first(isa: Isa) -> Vec<(usize, Vec<String>)> {
    let Some(leaf) = Leaf::new(isa) else {
        return Vec::new();
    };
    let start = Instant::now();
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (ty, rows) in Choice::measure(leaf, &|| start.elapsed()).iter() {
        if rows < usize::MAX {
            found.entry(rows).or_default().push(ty.to_string());
        }
    }
    found.into_iter().collect()
}

/// Lines below each other, behind the name of the first.
fn below(lines: Vec<String>) -> String {
    lines.join("\n              ")
}

fn describe_memory(memory: Memory) -> String {
    let limit = if memory.limited {
        ", limited by a control group"
    } else {
        ""
    };
    format!(
        "{} free of {}{limit}",
        out::bytes(memory.available),
        out::bytes(memory.total)
    )
}

fn unknown_memory() -> String {
    "unknown on this system; give a limit with --memory".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, megabytes: u64) -> KnownDisk {
        let json = serde_json::json!({
            "id": name, "name": format!("{name} (ext4)"), "way": "io_uring, direct",
            "cached_per_second": 0, "measured_at": 1_795_000_000, "repeated": false, "direct": true, "depth": 8,
            "read_size": 512 << 10, "bytes_per_second": megabytes * 1_000_000,
        });
        serde_json::from_value(json).unwrap()
    }

    fn report() -> Report {
        Report {
            processors: Processors {
                name: "Abacus 2000".into(),
                logical: 16,
                cores: 8,
                quota: None,
            },
            instruction_sets: vec!["avx2", "fma"],
            isa: (Isa::Avx2, "the fastest that runs here"),
            unpacked_first: vec![
                (16, vec!["Q4_K".into(), "Q5_K".into()]),
                (64, vec!["Q6_K".into()]),
            ],
            threads: 8,
            memory: Some(Memory {
                total: 32 << 30,
                available: 20 << 30,
                limited: false,
            }),
            huge_pages: Some("madvise".into()),
            disks: vec![disk("/dev/abacus", 1_500), disk("/dev/slate", 150)],
            ledger: Some("/state/ingle/ledger.sqlite".into()),
        }
    }

    #[test]
    fn text() {
        let version = env!("CARGO_PKG_VERSION");
        insta::assert_snapshot!(report().text().replace(version, "VERSION"));
    }

    #[test]
    fn a_small_box_says_so() {
        let mut report = report();
        report.processors.quota = Some(1);
        report.threads = 1;
        report.disks.clear();
        report.unpacked_first.clear();
        report.memory = Some(Memory {
            total: 1 << 29,
            available: 1 << 28,
            limited: true,
        });
        let version = env!("CARGO_PKG_VERSION");
        insta::assert_snapshot!(report.text().replace(version, "VERSION"));
    }

    #[test]
    fn json_has_the_same_facts() {
        let json = report().json();
        assert_eq!(json["threads"], 8);
        assert_eq!(json["disks"][0]["bytes_per_second"], 1_500_000_000_u64);
        assert_eq!(json["disks"][1]["read_size"], 512 << 10);
        assert_eq!(json["memory"]["available"], 20_u64 << 30);
        assert_eq!(json["kernels"]["unpacked_first"]["Q6_K"], 64);
        assert!(
            json["advice"]["command"]
                .as_str()
                .unwrap()
                .starts_with("ingle pull ")
        );
    }
}
