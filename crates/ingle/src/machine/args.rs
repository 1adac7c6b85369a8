//! The flags that say how much of the machine to use.

use super::Processors;
use ingle::tensor::kernel::Isa;
use ingle::tensor::team::Team;
use std::sync::Arc;

/// More threads than any machine has cores: a slip of the finger, not a wish.
const MOST_THREADS: u64 = 1024;

/// How much of the machine to use.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Machine")]
pub struct MachineArgs {
    /// Threads to compute with [default: one a physical core]
    #[arg(long, value_name = "N", env = "INGLE_THREADS", hide_env_values = true,
          value_parser = clap::value_parser!(u64).range(1..=MOST_THREADS))]
    threads: Option<u64>,
    /// Instruction set to compute with: scalar, avx2, avx512 [default: the fastest here]
    #[arg(long, value_name = "NAME", env = "INGLE_ISA", hide_env_values = true, value_parser = isa)]
    isa: Option<Isa>,
}

impl MachineArgs {
    /// Threads to run.
    pub fn threads(&self) -> usize {
        let given = self.threads.and_then(|n| usize::try_from(n).ok());
        given.unwrap_or_else(|| Processors::measure().threads())
    }

    /// The instruction set, and why this one.
    pub fn isa(&self) -> (Isa, &'static str) {
        match self.isa {
            Some(isa) => (isa, "asked for"),
            None => (Isa::best(), "the fastest that runs here"),
        }
    }

    /// The threads, started.
    pub fn team(&self) -> Arc<Team> {
        Arc::new(Team::new(self.threads()))
    }
}

fn isa(name: &str) -> Result<Isa, String> {
    let available = || Isa::ALL.into_iter().filter(|isa| isa.is_available());
    available().find(|isa| isa.name() == name).ok_or_else(|| {
        let names: Vec<_> = available().map(Isa::name).collect();
        match Isa::from_name(name) {
            Some(_) => format!(
                "this machine cannot run it; it can run {}",
                names.join(", ")
            ),
            None => format!(
                "there is no such instruction set; this machine can run {}",
                names.join(", ")
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        machine: MachineArgs,
    }

    fn parse(line: &[&str]) -> Result<MachineArgs, String> {
        let line = Line::try_parse_from([&["x"], line].concat());
        line.map(|l| l.machine).map_err(|e| e.to_string())
    }

    #[test]
    fn every_flag_arrives() {
        let machine = parse(&["--threads", "3", "--isa", "scalar"]).unwrap();
        assert_eq!(machine.threads(), 3);
        assert_eq!(machine.isa(), (Isa::Scalar, "asked for"));
        assert_eq!(machine.team().threads(), 3);
    }

    #[test]
    fn wrong_values_are_explained() {
        assert!(parse(&["--threads", "0"]).is_err());
        assert!(parse(&["--threads", "100000"]).is_err());
        assert!(
            parse(&["--isa", "mmx"])
                .unwrap_err()
                .contains("this machine can run scalar")
        );
    }
}
