//! What this machine computes with, and how many threads this process should run.

use std::collections::BTreeSet;
use std::path::Path;

/// Processors, as far as this process may use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processors {
    /// The processor's name.
    pub name: String,
    /// Logical processors that this process may run on.
    pub logical: usize,
    /// Physical cores that those belong to.
    pub cores: usize,
    /// The share of processor time that a control group allows, in whole processors.
    pub quota: Option<usize>,
}

impl Processors {
    /// Asks the system.
    pub fn measure() -> Self {
        // Knows affinity and, on Linux, control groups of both versions.
        let granted = std::thread::available_parallelism().map_or(1, usize::from);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let allowed = allowed_processors(&status);
        let logical = if allowed.is_empty() {
            granted
        } else {
            allowed.len()
        };
        let cores = physical_cores(&allowed, Path::new("/sys/devices/system/cpu"));
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            name: processor_name(&info).unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            logical,
            cores: cores.unwrap_or(logical),
            quota: (granted < logical).then_some(granted),
        }
    }

    /// Threads to run where nobody says how many: one a physical core, within the quota. Two
    /// threads of one core share the units that matrix products need.
    pub fn threads(&self) -> usize {
        self.cores.min(self.quota.unwrap_or(usize::MAX)).max(1)
    }
}

/// `Cpus_allowed_list` of /proc/self/status, as `0-3,8`.
fn allowed_processors(status: &str) -> Vec<usize> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.and_then(|list| parse_list(list.trim()))
        .unwrap_or_default()
}

fn parse_list(list: &str) -> Option<Vec<usize>> {
    /// Beyond any machine; keeps a wrong line from filling memory.
    const MOST: usize = 65_536;
    let mut numbers = Vec::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// How many different sets of siblings the processors belong to; `None` where the system does not
/// say.
fn physical_cores(processors: &[usize], folder: &Path) -> Option<usize> {
    let mut cores = BTreeSet::new();
    for processor in processors {
        let file = folder.join(format!("cpu{processor}/topology/thread_siblings_list"));
        cores.insert(std::fs::read_to_string(file).ok()?);
    }
    (!cores.is_empty()).then_some(cores.len())
}

fn processor_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Instruction sets that matter here and that this processor and system offer.
pub fn instruction_sets() -> Vec<&'static str> {
    let mut found = Vec::new();
    macro_rules! probe {
        ($is_detected:ident: $($name:tt)*) => {
            $(if std::arch::$is_detected!($name) {
                found.push($name);
            })*
        };
    }
    #[cfg(target_arch = "x86_64")]
    probe!(is_x86_feature_detected:
        "avx2" "fma" "f16c" "avxvnni" "avx512f" "avx512bw" "avx512vl" "avx512vnni" "avx512bf16"
    );
    #[cfg(target_arch = "aarch64")]
    probe!(is_aarch64_feature_detected: "neon" "dotprod" "fp16" "bf16" "i8mm" "sve");
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse_list("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_list(""), Some(vec![]));
        assert_eq!(parse_list("0-99999999999"), None);
        assert_eq!(parse_list("a"), None);
        assert_eq!(
            allowed_processors("Name: x\nCpus_allowed_list:\t0-1\n"),
            [0, 1]
        );
    }

    #[test]
    fn siblings_are_one_core() {
        let folder = tempfile::tempdir().unwrap();
        for (processor, siblings) in ["0,2", "1,3", "0,2", "1,3"].into_iter().enumerate() {
            let topology = folder.path().join(format!("cpu{processor}/topology"));
            std::fs::create_dir_all(&topology).unwrap();
            std::fs::write(topology.join("thread_siblings_list"), siblings).unwrap();
        }
        assert_eq!(physical_cores(&[0, 1, 2, 3], folder.path()), Some(2));
        assert_eq!(physical_cores(&[0, 9], folder.path()), None);
        assert_eq!(physical_cores(&[], folder.path()), None);
    }

    /// Processors, and for each the list of its siblings.
    type Line = (std::ops::Range<usize>, fn(usize) -> String);

    /// Cores by /sys as it was recorded: which processors each line's are siblings of.
    fn recorded(lines: &[Line]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (processors, siblings) in lines {
            for processor in processors.clone() {
                let topology = folder.path().join(format!("cpu{processor}/topology"));
                std::fs::create_dir_all(&topology).unwrap();
                let siblings = siblings(processor) + "\n";
                std::fs::write(topology.join("thread_siblings_list"), siblings).unwrap();
            }
        }
        folder
    }

    #[test]
    fn cores_of_recorded_machines() {
        let own = |p: usize| p.to_string();
        let far = |p: usize| format!("{},{}", p % 16, p % 16 + 16);
        let near = |p: usize| format!("{}-{}", p / 2 * 2, p / 2 * 2 + 1);
        let cores = |folder: &tempfile::TempDir, list: &str| {
            physical_cores(&parse_list(list).unwrap(), folder.path())
        };
        // A desktop of 16 cores, the second threads numbered after all first ones.
        let desktop = recorded(&[(0..32, far)]);
        assert_eq!(cores(&desktop, "0-31"), Some(16));
        assert_eq!(cores(&desktop, "0,16"), Some(1));
        assert_eq!(cores(&desktop, "0-3,16-17"), Some(4));
        // A laptop of 6 fast cores with two threads and 8 slow ones with one.
        let laptop = recorded(&[(0..12, near), (12..20, own)]);
        assert_eq!(cores(&laptop, "0-19"), Some(14));
        assert_eq!(cores(&laptop, "1,3,12-13"), Some(4));
        // Simultaneous multithreading switched off; a virtual machine that hides it.
        assert_eq!(cores(&recorded(&[(0..4, own)]), "0-3"), Some(4));
        // A processor that went offline has no topology: better too many threads than a guess.
        assert_eq!(cores(&recorded(&[(0..2, own)]), "0-3"), None);
    }

    #[test]
    fn threads_are_cores_within_the_quota() {
        let mut p = Processors {
            name: String::new(),
            logical: 16,
            cores: 8,
            quota: None,
        };
        assert_eq!(p.threads(), 8);
        p.quota = Some(3);
        assert_eq!(p.threads(), 3);
        p.quota = Some(0);
        assert_eq!(p.threads(), 1);
        // Half a core, which the standard library rounds up to one.
        (p.quota, p.logical, p.cores) = (Some(1), 2, 2);
        assert_eq!(p.threads(), 1);
    }

    #[test]
    fn name() {
        let info = "processor\t: 0\nmodel name\t: AMD EPYC\nflags: x\n";
        assert_eq!(processor_name(info).as_deref(), Some("AMD EPYC"));
        assert_eq!(processor_name(""), None);
    }
}
