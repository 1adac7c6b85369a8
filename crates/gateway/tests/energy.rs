//! Energy from a recorded tree of powercap: two sockets, as sysfs shows them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use ingle_gateway::ledger::{Energy, EnergyError, Meter, Rapl};

/// Lines of a file's path and its text.
const RECORDED: &str = include_str!("goldens/powercap.txt");

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
        for (path, text) in lines.filter_map(|line| line.split_once(' ')) {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        Self(folder)
    }

    fn set(&self, zone: &str, value: u64) {
        std::fs::write(
            self.0.path().join(zone).join("energy_uj"),
            format!("{value}\n"),
        )
        .unwrap();
    }

    fn of(&self, zone: &str) -> u64 {
        let text = std::fs::read_to_string(self.0.path().join(zone).join("energy_uj")).unwrap();
        text.trim().parse().unwrap()
    }
}

const RANGE: u64 = 262_143_328_850;
const DRAM_RANGE: u64 = 65_712_999_613;

#[test]
fn packages_and_their_memory_are_counted_once() {
    let tree = Tree::new();
    let mut rapl = Rapl::open(tree.0.path()).unwrap();
    assert_eq!(rapl.drawn().unwrap(), 0);
    let add = |zone: &str, n: u64| tree.set(zone, tree.of(zone) + n);
    add("intel-rapl:0", 1_000_000);
    add("intel-rapl:0/intel-rapl:0:0", 600_000); // core: in the package
    add("intel-rapl:0/intel-rapl:0:1", 20_000); // dram: beside it
    add("intel-rapl:1", 300_000);
    add("intel-rapl:2", 9_000_000); // psys: has all of it
    add("intel-rapl-mmio:0", 1_000_000); // the first package again
    assert_eq!(rapl.drawn().unwrap(), 1_320_000);
    assert_eq!(rapl.drawn().unwrap(), 0);
}

#[test]
fn a_counter_that_begins_anew_goes_on() {
    let tree = Tree::new();
    tree.set("intel-rapl:0", RANGE - 10);
    tree.set("intel-rapl:0/intel-rapl:0:1", DRAM_RANGE - 1);
    let mut rapl = Rapl::open(tree.0.path()).unwrap();
    tree.set("intel-rapl:0", 90);
    tree.set("intel-rapl:0/intel-rapl:0:1", 4);
    assert_eq!(rapl.drawn().unwrap(), 100 + 5);
}

#[test]
fn a_share_is_of_what_the_tree_says() {
    let tree = Tree::new();
    let energy = Energy::new(Box::new(Rapl::open(tree.0.path()).unwrap()));
    let one = energy.begin();
    let other = energy.begin();
    tree.set("intel-rapl:1", tree.of("intel-rapl:1") + 500);
    assert_eq!((one.drawn(), other.drawn()), (Some(250), Some(250)));
    // A counter that is gone gives no figure, not a wrong one.
    std::fs::remove_file(tree.0.path().join("intel-rapl:1/energy_uj")).unwrap();
    assert_eq!(one.drawn(), None);
}

#[test]
fn a_machine_without_counters_says_so() {
    let empty = tempfile::tempdir().unwrap();
    let error = Rapl::open(empty.path()).unwrap_err();
    assert!(matches!(error, EnergyError::None(_)), "{error}");
    let tree = Tree::new();
    std::fs::write(tree.0.path().join("intel-rapl:1/energy_uj"), "no number").unwrap();
    let error = Rapl::open(tree.0.path()).unwrap_err();
    assert!(matches!(error, EnergyError::Closed { .. }), "{error}");
}
