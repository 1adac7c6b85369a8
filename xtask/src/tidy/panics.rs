//! No `unwrap`, `expect`, `panic!`, `todo!` or `unimplemented!` outside tests.
use syn::visit::{self, Visit};

use super::Finding;
use super::allowed::names;
use super::source::Source;

pub fn check(source: &Source) -> Vec<Finding> {
    if source.is_test_file() {
        return Vec::new();
    }
    let mut walk = Walk {
        path: &source.path,
        excused: is_excused(&source.tree.attrs),
        findings: Vec::new(),
    };
    walk.visit_file(&source.tree);
    walk.findings
}

/// Whether code under these attributes is a test, or lifts the lint (`allowed` asks for the reason).
fn is_excused(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        if path
            .segments
            .last()
            .is_some_and(|last| last.ident == "test")
        {
            return true;
        }
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        if path.is_ident("cfg") {
            return names(list, "test") && !names(list, "not");
        }
        let lints = [
            "unwrap_used",
            "expect_used",
            "panic",
            "todo",
            "unimplemented",
        ];
        (path.is_ident("allow") || path.is_ident("expect"))
            && lints.iter().any(|lint| names(list, lint))
    })
}

struct Walk<'a> {
    path: &'a str,
    excused: bool,
    findings: Vec<Finding>,
}

impl Walk<'_> {
    fn found(&mut self, word: &syn::Ident) {
        if !self.excused {
            let message = format!("`{word}` outside tests: return a typed error");
            self.findings
                .push(Finding::new(self.path, word.span().start().line, message));
        }
    }

    /// Visits something that carries attributes, which hold for what is inside it.
    fn under(&mut self, attributes: &[syn::Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.excused;
        self.excused |= is_excused(attributes);
        visit(self);
        self.excused = before;
    }
}

impl<'a> Visit<'a> for Walk<'_> {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.under(&item.attrs, |walk| visit::visit_item_fn(walk, item));
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.under(&item.attrs, |walk| visit::visit_item_mod(walk, item));
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        self.under(&item.attrs, |walk| visit::visit_item_impl(walk, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.under(&item.attrs, |walk| visit::visit_impl_item_fn(walk, item));
    }

    fn visit_local(&mut self, local: &'a syn::Local) {
        self.under(&local.attrs, |walk| visit::visit_local(walk, local));
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        self.under(&call.attrs, |walk| {
            if call.method == "unwrap" || call.method == "expect" {
                walk.found(&call.method);
            }
            visit::visit_expr_method_call(walk, call);
        });
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        let words = ["panic", "todo", "unimplemented"];
        if let Some(name) = called.path.segments.last().map(|last| &last.ident)
            && words.iter().any(|word| name == word)
        {
            self.found(name);
        }
        visit::visit_macro(self, called);
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

    const PATH: &str = "crates/model/src/a.rs";

    #[test]
    fn panics_are_found() {
        let text = "fn f() {\n a.unwrap();\n b.expect(\"x\");\n panic!();\n todo!()\n}";
        assert_eq!(lines(PATH, text), [2, 3, 4, 5]);
        assert_eq!(
            lines(PATH, "impl A { fn f() { let x = || a.unwrap(); } }"),
            [1]
        );
        assert_eq!(
            lines(
                PATH,
                "fn f() { a.unwrap_or(1); assert!(b); unreachable!() }"
            ),
            [0; 0]
        );
    }

    #[test]
    fn tests_may_panic() {
        assert_eq!(lines(PATH, "#[test] fn f() { a.unwrap() }"), [0; 0]);
        assert_eq!(
            lines(PATH, "#[cfg(test)] mod tests { fn f() { panic!() } }"),
            [0; 0]
        );
        assert_eq!(
            lines("crates/model/tests/a.rs", "fn f() { a.unwrap() }"),
            [0; 0]
        );
        assert_eq!(lines(PATH, "#[cfg(not(test))] fn f() { a.unwrap() }"), [1]);
    }

    #[test]
    fn an_excused_place_is_left_alone() {
        let text = "fn f() {\n #[expect(clippy::unwrap_used, reason = \"r\")]\n let a = b.unwrap();\n c.unwrap();\n}";
        assert_eq!(lines(PATH, text), [4]);
    }
}
