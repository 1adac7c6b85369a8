//! Data flows one way: a crate imports only from floors below its own, and only the door can dial.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Finding;
use crate::house::{DIAL_CRATES, DIAL_PACKAGES, DIAL_SPARED, FLOORS, TOOLS};

/// Checks the answer of `cargo metadata` (with its resolved graph).
///
/// # Errors
/// The answer lacks a field that cargo documents.
pub fn check(metadata: &Value) -> Result<Vec<Finding>, String> {
    let graph = Graph::read(metadata).ok_or("cargo metadata has an unexpected shape")?;
    let mut findings = Vec::new();
    for name in &graph.members {
        if TOOLS.contains(&name.as_str()) {
            continue;
        }
        let at = |message: String| Finding::new(&format!("crate {name}"), 0, message);
        let Some(floor) = floor_of(name) else {
            findings.push(at(
                "has no floor: add it to FLOORS in xtask/src/house.rs".to_owned()
            ));
            continue;
        };
        for import in graph.imports(name) {
            if TOOLS.contains(&import) {
                findings.push(at(format!("imports the tool {import}")));
            } else if let Some(below) = floor_of(import).filter(|below| *below >= floor) {
                findings.push(at(format!(
                    "floor {floor} imports {import} of floor {below}: imports go downwards only"
                )));
            }
        }
        if !DIAL_CRATES.contains(&name.as_str()) {
            findings.extend(graph.dialers(name).into_iter().map(|road| {
                at(format!(
                    "reaches a dialer ({road}): connections go through ingle-egress"
                ))
            }));
        }
    }
    Ok(findings)
}

fn floor_of(name: &str) -> Option<u32> {
    FLOORS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, floor)| *floor)
}

struct Graph {
    members: BTreeSet<String>,
    /// Package name to the names it depends on, whatever the kind.
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read(metadata: &Value) -> Option<Self> {
        let mut names = BTreeMap::new();
        for package in metadata.get("packages")?.as_array()? {
            names.insert(
                package.get("id")?.as_str()?,
                package.get("name")?.as_str()?.to_owned(),
            );
        }
        let mut members = BTreeSet::new();
        for id in metadata.get("workspace_members")?.as_array()? {
            members.insert(names.get(id.as_str()?)?.clone());
        }
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in metadata.get("resolve")?.get("nodes")?.as_array()? {
            let imports = edges
                .entry(names.get(node.get("id")?.as_str()?)?.clone())
                .or_default();
            for import in node.get("dependencies")?.as_array()? {
                imports.insert(names.get(import.as_str()?)?.clone());
            }
        }
        Some(Self { members, edges })
    }

    fn imports(&self, name: &str) -> impl Iterator<Item = &str> {
        self.edges
            .get(name)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// Roads from a crate to a package that dials, not counting those through the door.
    fn dialers(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::from([name]);
        let mut queue = vec![(name, name.to_owned())];
        while let Some((package, road)) = queue.pop() {
            for import in self.imports(package) {
                let spared = DIAL_SPARED.contains(&(package, import));
                if spared || DIAL_CRATES.contains(&import) || !seen.insert(import) {
                    continue;
                }
                let road = format!("{road} > {import}");
                if DIAL_PACKAGES.contains(&import) {
                    found.push(road);
                } else {
                    queue.push((import, road));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `cargo metadata` of a made-up workspace: (name, imports); names that begin with "ingle" or
    /// "xtask" are members.
    fn metadata(crates: &[(&str, &[&str])]) -> Value {
        let packages: Vec<Value> = crates
            .iter()
            .map(|(name, _)| json!({"id": format!("id {name}"), "name": name}))
            .collect();
        let nodes: Vec<Value> = crates
            .iter()
            .map(|(name, imports)| {
                let imports: Vec<String> = imports.iter().map(|i| format!("id {i}")).collect();
                json!({"id": format!("id {name}"), "dependencies": imports})
            })
            .collect();
        let members: Vec<String> = crates
            .iter()
            .filter(|(name, _)| name.starts_with("ingle") || *name == "xtask")
            .map(|(name, _)| format!("id {name}"))
            .collect();
        json!({"packages": packages, "workspace_members": members, "resolve": {"nodes": nodes}})
    }

    fn messages(crates: &[(&str, &[&str])]) -> Vec<String> {
        check(&metadata(crates))
            .unwrap()
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    #[test]
    fn imports_that_go_down_are_fine() {
        let house: &[(&str, &[&str])] = &[
            ("ingle-formats", &[]),
            ("ingle-tensor", &["ingle-formats"]),
            ("xtask", &["syn"]),
            ("syn", &[]),
        ];
        assert_eq!(messages(house), [""; 0]);
    }

    #[test]
    fn an_import_upwards_or_sideways_is_found() {
        let up = messages(&[("ingle-formats", &["ingle-tensor"]), ("ingle-tensor", &[])]);
        assert_eq!(
            up,
            [
                "crate ingle-formats:0: floor 0 imports ingle-tensor of floor 1: imports go downwards only"
            ]
        );
        let sideways = messages(&[("ingle-model", &["ingle-store"]), ("ingle-store", &[])]);
        assert_eq!(sideways.len(), 1);
    }

    #[test]
    fn a_crate_without_a_floor_is_found() {
        assert!(
            messages(&[("ingle-attic", &[])])
                .concat()
                .contains("has no floor")
        );
    }

    #[test]
    fn the_product_does_not_import_tools() {
        let found = messages(&[("ingle", &["xtask"]), ("xtask", &[])]);
        assert!(
            found.concat().contains("imports the tool xtask"),
            "{found:?}"
        );
    }

    #[test]
    fn a_dialer_behind_a_library_is_found_and_the_door_is_not() {
        let found = messages(&[
            ("ingle-formats", &["words"]),
            ("words", &["hub"]),
            ("hub", &["reqwest"]),
            ("reqwest", &["hyper"]),
            ("hyper", &[]),
            ("ingle-egress", &["reqwest"]),
            ("ingle", &["ingle-egress"]),
        ]);
        assert_eq!(
            found,
            [
                "crate ingle-formats:0: reaches a dialer (ingle-formats > words > hub > reqwest): \
              connections go through ingle-egress"
            ]
        );
    }

    #[test]
    fn metadata_of_another_shape_is_an_error() {
        assert!(check(&json!({"packages": []})).is_err());
    }
}
