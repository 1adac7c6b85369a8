//! `unsafe` stands in its few places, is forbidden elsewhere, and no lint is lifted without a reason.
use proc_macro2::TokenTree;
use syn::visit::{self, Visit};

use super::Finding;
use super::source::Source;
use crate::house::{UNSAFE_ALLOWED, UNSAFE_CRATES};

pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.is_under(UNSAFE_ALLOWED) {
        for (_, line) in source.words.iter().filter(|(word, _)| word == "unsafe") {
            let message = "`unsafe` outside its places (UNSAFE_ALLOWED in xtask/src/house.rs)";
            findings.push(Finding::new(&source.path, *line, message));
        }
    }
    if source.is_crate_root() && !source.is_under(UNSAFE_CRATES) && !forbids_unsafe(source) {
        findings.push(Finding::new(
            &source.path,
            1,
            "`#![forbid(unsafe_code)]` is missing",
        ));
    }
    let mut lifted = Lifted {
        path: &source.path,
        findings,
    };
    lifted.visit_file(&source.tree);
    lifted.findings
}

fn forbids_unsafe(source: &Source) -> bool {
    source.tree.attrs.iter().any(|attribute| {
        attribute.path().is_ident("forbid")
            && matches!(&attribute.meta, syn::Meta::List(list) if names(list, "unsafe_code"))
    })
}

/// Whether the words inside an attribute's brackets hold `word`, at any depth.
pub fn names(list: &syn::MetaList, word: &str) -> bool {
    fn within(tokens: proc_macro2::TokenStream, word: &str) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(found) => found == word,
            TokenTree::Group(group) => within(group.stream(), word),
            TokenTree::Punct(_) | TokenTree::Literal(_) => false,
        })
    }
    within(list.tokens.clone(), word)
}

/// Looks for `allow` and `expect` without `reason = "..."`, also inside `cfg_attr`.
struct Lifted<'a> {
    path: &'a str,
    findings: Vec<Finding>,
}

impl<'a> Visit<'a> for Lifted<'a> {
    fn visit_attribute(&mut self, attribute: &'a syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            let path = attribute.path();
            let lifts = path.is_ident("allow")
                || path.is_ident("expect")
                || path.is_ident("cfg_attr") && (names(list, "allow") || names(list, "expect"));
            if lifts && !names(list, "reason") {
                let line = attribute.pound_token.spans[0].start().line;
                let message = "a lint is lifted without `reason = \"...\"`";
                self.findings.push(Finding::new(self.path, line, message));
            }
        }
        visit::visit_attribute(self, attribute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Source::parse(path, text).unwrap())
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn unsafe_is_found_outside_its_places_only() {
        let text = "fn f() {\n unsafe { g() }\n}\n// unsafe\nconst S: &str = \"unsafe\";";
        assert_eq!(lines("crates/model/src/llama.rs", text), [2]);
        assert_eq!(lines("crates/tensor/src/kernel/scalar.rs", text), [0; 0]);
        assert_eq!(lines("crates/tensor/src/ops.rs", text), [2]);
        assert_eq!(lines("crates/model/src/a.rs", "m! { unsafe }"), [1]);
    }

    #[test]
    fn a_crate_root_forbids_unsafe() {
        assert_eq!(lines("crates/formats/src/lib.rs", "fn f() {}"), [1]);
        assert_eq!(
            lines("crates/formats/src/lib.rs", "#![forbid(unsafe_code)]"),
            [0; 0]
        );
        assert_eq!(
            lines("crates/formats/src/lib.rs", "#![deny(unsafe_code)]"),
            [1]
        );
        assert_eq!(lines("crates/tensor/src/lib.rs", "fn f() {}"), [0; 0]);
    }

    #[test]
    fn a_lifted_lint_needs_a_reason() {
        let path = "crates/model/src/a.rs";
        assert_eq!(lines(path, "\n#[allow(clippy::panic)]\nfn f() {}"), [2]);
        assert_eq!(lines(path, "#[expect(dead_code)]\nfn f() {}"), [1]);
        assert_eq!(
            lines(path, "#[cfg_attr(test, allow(dead_code))]\nfn f() {}"),
            [1]
        );
        assert_eq!(
            lines(path, "fn f() { #[allow(clippy::unwrap_used)] g(); }"),
            [1]
        );
        assert_eq!(
            lines(path, "#[expect(dead_code, reason = \"why\")]\nfn f() {}"),
            [0; 0]
        );
    }
}
