//! A control group with a limit on memory, of version 1 or 2, where this process may make one.

use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = "/sys/fs/cgroup";

/// A group below that of this process; removed when it is dropped.
pub struct Group {
    folder: PathBuf,
    version: u32,
}

impl Group {
    /// With a limit in bytes, or why there is none.
    pub fn new(limit: u64) -> Result<Self, String> {
        let own = std::fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
        let version_1 = Path::new(ROOT)
            .join("memory/memory.limit_in_bytes")
            .exists();
        let mut why = "no memory controller is mounted".to_owned();
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let (root, version) = match controllers {
                "" if !version_1 => (PathBuf::from(ROOT), 2),
                names if version_1 && names.split(',').any(|name| name == "memory") => {
                    (Path::new(ROOT).join("memory"), 1)
                }
                _ => continue,
            };
            let name = format!("ingle-test-{}", std::process::id());
            for parent in Path::new(path.trim_start_matches('/')).ancestors() {
                match Self::below(&root.join(parent), &name, version, limit) {
                    Ok(group) => return Ok(group),
                    Err(error) => why = error.to_string(),
                }
            }
        }
        Err(why)
    }

    fn below(parent: &Path, name: &str, version: u32, limit: u64) -> std::io::Result<Self> {
        let folder = parent.join(name);
        std::fs::create_dir(&folder)?;
        let group = Self { folder, version };
        let file = match version {
            1 => "memory.limit_in_bytes",
            _ => {
                // Where this is refused the file below is not there.
                let _ = std::fs::write(parent.join("cgroup.subtree_control"), "+memory");
                "memory.max"
            }
        };
        let path = group.folder.join(file);
        if !path.exists() {
            return Err(std::io::Error::other(format!(
                "{} is not there",
                path.display()
            )));
        }
        std::fs::write(path, limit.to_string())?;
        let _ = std::fs::write(group.folder.join("memory.swap.max"), "0");
        let _ = std::fs::write(group.folder.join("memory.swappiness"), "0");
        // A process must be able to enter.
        let mut enters = group.wrap(&Command::new("true"));
        match enters.status()?.success() {
            true => Ok(group),
            false => Err(std::io::Error::other("no process may enter the group")),
        }
    }

    /// The same program and environment, started in the group; its arguments are to be added.
    pub fn wrap(&self, program: &Command) -> Command {
        let mut command = Command::new("sh");
        let enter = r#"echo $$ > "$0" && exec "$@""#;
        command
            .arg("-c")
            .arg(enter)
            .arg(self.folder.join("cgroup.procs"));
        command.arg(program.get_program());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn read(&self, of_version: [&str; 2]) -> Option<String> {
        let name = of_version[self.version as usize - 1];
        std::fs::read_to_string(self.folder.join(name)).ok()
    }

    /// Bytes that the group held at most, page cache included.
    pub fn peak(&self) -> Option<u64> {
        let text = self.read(["memory.max_usage_in_bytes", "memory.peak"])?;
        text.trim().parse().ok()
    }

    /// Processes that the kernel killed.
    pub fn kills(&self) -> Option<u64> {
        let text = self.read(["memory.oom_control", "memory.events"])?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "))?;
        line.trim().parse().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has just ended may hold it for a moment.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
