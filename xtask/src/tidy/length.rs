//! How long files and functions are: a report, not a rule.
use std::fmt;

use syn::visit::{self, Visit};

use super::source::Source;
use crate::house::{LONG_FILE, LONG_FUNCTION};

/// Lines of each file and function seen, with a name to find it by.
#[derive(Default)]
pub struct Report {
    files: Vec<(usize, String)>,
    functions: Vec<(usize, String)>,
}

impl Report {
    pub fn add(&mut self, source: &Source) {
        self.files
            .push((source.text.lines().count(), source.path.clone()));
        let mut walk = Functions {
            path: &source.path,
            found: &mut self.functions,
        };
        walk.visit_file(&source.tree);
    }
}

struct Functions<'a> {
    path: &'a str,
    found: &'a mut Vec<(usize, String)>,
}

impl Functions<'_> {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let start = signature.fn_token.span.start().line;
        let lines = block
            .brace_token
            .span
            .close()
            .end()
            .line
            .saturating_sub(start)
            + 1;
        self.found
            .push((lines, format!("{}:{start} {}", self.path, signature.ident)));
    }
}

impl<'a> Visit<'a> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        section(f, "files", &self.files, LONG_FILE)?;
        section(f, "functions", &self.functions, LONG_FUNCTION)
    }
}

fn section(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    lengths: &[(usize, String)],
    long: usize,
) -> fmt::Result {
    let mut sorted: Vec<&(usize, String)> = lengths.iter().collect();
    sorted.sort_by_key(|entry| std::cmp::Reverse(entry.0));
    let median = sorted.get(sorted.len() / 2).map_or(0, |entry| entry.0);
    let over: Vec<_> = sorted.iter().take_while(|entry| entry.0 > long).collect();
    let share = 100.0 * over.len() as f64 / sorted.len().max(1) as f64;
    writeln!(
        f,
        "{} {what}: median {median} lines, {} ({share:.1}%) longer than {long}",
        sorted.len(),
        over.len()
    )?;
    over.iter()
        .try_for_each(|(lines, name)| writeln!(f, "  {lines:5}  {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_from_signature_to_brace() {
        let long = "    x();\n".repeat(80);
        let text = format!(
            "/// Doc.\n#[inline]\nfn a() {{\n{long}}}\nimpl B {{ fn c() {{}} }}\ntrait D {{ fn e() {{\n}} }}\n"
        );
        let mut report = Report::default();
        report.add(&Source::parse("crates/a/src/b.rs", &text).unwrap());
        let printed = report.to_string();
        assert_eq!(
            printed,
            "1 files: median 87 lines, 0 (0.0%) longer than 600\n\
             3 functions: median 2 lines, 1 (33.3%) longer than 70\n     82  crates/a/src/b.rs:3 a\n"
        );
    }
}
