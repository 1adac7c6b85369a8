//! How much memory this machine has, and how much of it this process may still take.

use std::path::{Path, PathBuf};

/// Bytes of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What this process may use at most: the machine's memory, or its control group's limit.
    pub total: u64,
    /// What it may still take without pushing anything out but caches.
    pub available: u64,
    /// Whether a control group's limit, and not the machine, is what binds.
    pub limited: bool,
}

impl Memory {
    /// Asks the system; `None` where this is not Linux or /proc cannot be read.
    pub fn measure() -> Option<Self> {
        let machine = parse_meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limits = group_folders(&groups)
            .into_iter()
            .filter_map(|folder| Limit::read(&folder));
        Some(limits.fold(machine, Self::within))
    }

    fn within(self, limit: Limit) -> Self {
        let free = limit.max.saturating_sub(limit.used);
        Self {
            total: self.total.min(limit.max),
            available: self.available.min(free),
            limited: self.limited || limit.max < self.total,
        }
    }
}

/// `MemTotal` and `MemAvailable` of /proc/meminfo, in bytes.
fn parse_meminfo(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(Memory {
        total: field("MemTotal")?,
        available: field("MemAvailable")?,
        limited: false,
    })
}

/// The folders in which this process's memory limits may stand, from its own group up to the root.
fn group_folders(proc_self_cgroup: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in proc_self_cgroup.lines() {
        // hierarchy:controllers:path; version 2 has no controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let root = if controllers.is_empty() {
            Path::new("/sys/fs/cgroup")
        } else if controllers.split(',').any(|c| c == "memory") {
            Path::new("/sys/fs/cgroup/memory")
        } else {
            continue;
        };
        let inside = Path::new(path.trim_start_matches('/'));
        folders.extend(inside.ancestors().map(|folder| root.join(folder)));
    }
    folders
}

/// One control group's limit and use, bytes.
#[derive(Debug, PartialEq)]
struct Limit {
    max: u64,
    /// Without file pages that the kernel can drop.
    used: u64,
}

impl Limit {
    fn read(folder: &Path) -> Option<Self> {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let stat = read("memory.stat").unwrap_or_default();
        match read("memory.max") {
            Some(max) => Self::parse(&max, &read("memory.current")?, &stat, "inactive_file "),
            None => Self::parse(
                &read("memory.limit_in_bytes")?,
                &read("memory.usage_in_bytes")?,
                &stat,
                "total_inactive_file ",
            ),
        }
    }

    /// `None` where there is no limit (`max`, or more than any machine has).
    fn parse(max: &str, used: &str, stat: &str, droppable: &str) -> Option<Self> {
        let max = max.trim().parse().ok().filter(|&max| max < 1 << 60)?;
        let used: u64 = used.trim().parse().ok()?;
        let droppable: u64 = stat
            .lines()
            .find_map(|line| line.strip_prefix(droppable)?.trim().parse().ok())
            .unwrap_or(0);
        Some(Self {
            max,
            used: used.saturating_sub(droppable),
        })
    }
}

/// How the kernel hands out huge pages, as `madvise`; `None` where it does not say.
pub fn huge_pages() -> Option<String> {
    let text = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    chosen_word(&text)
}

/// The word in brackets.
fn chosen_word(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn meminfo() {
        let text = "MemTotal:       24684084 kB\nMemFree: 1 kB\nMemAvailable:   23230380 kB\n";
        let memory = parse_meminfo(text).unwrap();
        assert_eq!(memory.total, 24_684_084 * 1024);
        assert_eq!(memory.available, 23_230_380 * 1024);
        assert_eq!(parse_meminfo("MemTotal: 3 kB\n"), None);
        assert_eq!(parse_meminfo("MemTotal: x kB\nMemAvailable: 3 kB"), None);
    }

    #[test]
    fn folders_of_both_versions() {
        let folders = group_folders("9:name=systemd:/\n4:memory:/a/b\n1:cpu:/\n0::/u\n");
        let want = ["memory/a/b", "memory/a", "memory", "u", ""];
        assert_eq!(folders, want.map(|f| Path::new("/sys/fs/cgroup").join(f)));
    }

    #[test]
    fn the_smallest_limit_binds() {
        let machine = Memory {
            total: 16 * GIB,
            available: 12 * GIB,
            limited: false,
        };
        let limit = Limit::parse(
            "4294967296\n",
            "2147483648\n",
            "inactive_file 1073741824\n",
            "inactive_file ",
        );
        let memory = machine.within(limit.unwrap());
        assert_eq!(
            memory,
            Memory {
                total: 4 * GIB,
                available: 3 * GIB,
                limited: true
            }
        );
        let over = memory.within(Limit {
            max: GIB,
            used: 2 * GIB,
        });
        assert_eq!(
            over,
            Memory {
                total: GIB,
                available: 0,
                limited: true
            }
        );
    }

    #[test]
    fn no_limit() {
        assert_eq!(Limit::parse("max\n", "1", "", "inactive_file "), None);
        assert_eq!(
            Limit::parse("9223372036854771712\n", "1", "", "inactive_file "),
            None
        );
    }

    #[test]
    fn the_word_in_brackets() {
        assert_eq!(
            chosen_word("always [madvise] never\n").as_deref(),
            Some("madvise")
        );
        assert_eq!(chosen_word("always"), None);
    }
}
