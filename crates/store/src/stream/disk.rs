//! Which disk a file lies on, so that what was measured of it can be found again.

use std::path::Path;

/// A file system on a disk of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The same as long as the disk is the same: its number and the identity of its file system.
    pub id: String,
    /// What people know it by: `/dev/nvme0n1p2 (ext4)`.
    pub name: String,
}

impl Disk {
    /// The disk that holds the file at `path`; `None` where it is not there, or this system does not say.
    #[cfg(target_os = "linux")]
    pub fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;

        let device = path.metadata().ok()?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let number = format!("{major}:{minor}");
        let identity = rustix::fs::statvfs(path).map_or(0, |system| system.f_fsid);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Some(Self {
            id: format!("{number} {identity:x}"),
            name: name_of(&number, &mounts).unwrap_or(format!("device {number}")),
        })
    }

    /// The disk that holds the file at `path`; `None` where it is not there, or this system does not say.
    #[cfg(not(target_os = "linux"))]
    pub fn of(_: &Path) -> Option<Self> {
        None
    }
}

/// What the device of this number is called in the list of mounts (proc_pid_mountinfo(5)).
#[cfg(any(target_os = "linux", test))]
fn name_of(number: &str, mounts: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        if left.split(' ').nth(2)? != number {
            return None;
        }
        let mut right = right.split(' ');
        let (kind, source) = (right.next()?, right.next()?);
        Some(format!("{source} ({kind})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let mounts = "22 1 0:21 / /proc rw shared:5 - proc proc rw\n\
            25 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n\
            nonsense\n";
        let name = name_of("259:2", mounts);
        assert_eq!(name.as_deref(), Some("/dev/nvme0n1p2 (ext4)"));
        assert_eq!(name_of("259:3", mounts), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn files_of_one_folder_lie_on_one_disk() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "a").unwrap();
        let disk = Disk::of(&file).unwrap();
        assert_eq!(Disk::of(folder.path()), Some(disk.clone()));
        assert!(!disk.name.is_empty() && disk.id.contains(':'), "{disk:?}");
        assert_eq!(Disk::of(&folder.path().join("b")), None);
    }
}
