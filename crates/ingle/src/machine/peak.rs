//! How much memory this process has held at most.

/// Forgets what was held before now, so that [`bytes`] tells of what follows. Where the system cannot do
/// that, the figure also counts what came before.
pub fn forget() {
    // 5 resets the peak: proc(5), "clear_refs".
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most bytes of memory that were held at once; `None` where the system does not say.
pub fn bytes() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found() {
        assert_eq!(
            parse("VmPeak:\t  9 kB\nVmHWM:\t   1184 kB\n"),
            Some(1184 << 10)
        );
        assert_eq!(parse("VmPeak:\t  9 kB\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_something() {
        forget();
        assert!(bytes().unwrap() > 1 << 16);
    }
}
