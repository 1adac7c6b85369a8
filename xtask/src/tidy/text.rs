//! What must not stand in any tracked file: paths of one machine, registry settings, great size.
use std::path::Path;

use super::Finding;
use crate::house::LARGEST_FILE;

/// Settings that point cargo, pip or npm at a registry of one workplace. Written in two halves so that
/// this file does not find itself.
const REGISTRY_SETTINGS: &[&str] = &[
    concat!("index", "-url"),
    concat!("replace", "-with"),
    concat!("registry = \"", "sparse+"),
    concat!("registry", "=http"),
];

/// Folders under which a person's files lie.
const HOMES: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
];

pub fn check_paths(root: &Path, files: &[String]) -> Vec<Finding> {
    let here = machine_paths(root);
    let mut findings = Vec::new();
    for path in files {
        let full = root.join(path);
        if let Ok(about) = full.metadata()
            && about.len() > LARGEST_FILE
        {
            findings.push(Finding::new(
                path,
                0,
                format!("{} bytes: larger than 20 MB", about.len()),
            ));
        } else if let Ok(text) = std::fs::read_to_string(&full) {
            findings.extend(check_text(path, &text, &here));
        }
    }
    findings
}

/// The folders of this checkout: itself and the one above, unless that is a root or a scratch folder.
fn machine_paths(root: &Path) -> Vec<String> {
    let above = root
        .parent()
        .filter(|above| above.components().count() > 1 && *above != std::env::temp_dir());
    [Some(root), above]
        .into_iter()
        .flatten()
        .map(|path| format!("{}/", path.display()))
        .collect()
}

fn check_text(path: &str, text: &str, here: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, words) in text.lines().enumerate() {
        let mut found = |message: &str| findings.push(Finding::new(path, line + 1, message));
        if REGISTRY_SETTINGS
            .iter()
            .any(|setting| words.contains(setting))
        {
            found("a registry setting belongs in a person's own configuration");
        }
        if HOMES.iter().any(|home| names_path(words, home))
            || here.iter().any(|folder| names_path(words, folder))
        {
            found("an absolute path of one machine");
        }
    }
    findings
}

/// Whether `folder` stands in the line as the beginning of an absolute path that names something.
fn names_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || ".-_~$}".contains(c))
            && after.is_some_and(|c| c.is_alphanumeric() || c == '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let here = ["/desk/ingle/".to_owned(), "/desk/".to_owned()];
        check_text("a.md", text, &here)
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let home = HOMES[0];
        assert_eq!(lines(&format!("see\n{home}ada/models")), [2]);
        assert_eq!(lines("open(\"/desk/data\")"), [1]);
        assert_eq!(lines("cd /desk/ingle/crates"), [1]);
        assert_eq!(
            lines(&format!("site.example{home}page, under ~{home}, or {home}")),
            [0; 0]
        );
        assert_eq!(lines("../shared/data, crates/desk/src"), [0; 0]);
    }

    #[test]
    fn registry_settings_are_found() {
        let setting = format!("[source.crates-io]\n{} = \"mirror\"", REGISTRY_SETTINGS[1]);
        assert_eq!(lines(&setting), [2]);
        assert_eq!(
            lines("source = \"registry+https://github.com/rust-lang/crates.io-index\""),
            [0; 0]
        );
    }

    #[test]
    fn a_scratch_folder_is_no_machine_path() {
        assert_eq!(machine_paths(&std::env::temp_dir().join("clone")).len(), 1);
        assert_eq!(machine_paths(Path::new("/clone")).len(), 1);
        assert_eq!(
            machine_paths(Path::new("/desk/ingle")),
            ["/desk/ingle/", "/desk/"]
        );
    }
}
