//! One parsed Rust file, and its tokens laid flat.
use proc_macro2::{TokenStream, TokenTree};

/// A Rust file as text, syntax tree and flat list of words.
pub struct Source {
    /// Relative to the repository root, with forward slashes.
    pub path: String,
    pub text: String,
    pub tree: syn::File,
    /// Every identifier in order of appearance, inside macros and attributes too, with its line.
    /// Comments and strings are not words. `::` appears as a word of its own.
    pub words: Vec<(String, usize)>,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> syn::Result<Self> {
        let tree = syn::parse_file(text)?;
        let mut words = Vec::new();
        flatten(text.parse::<TokenStream>()?, &mut words);
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tree,
            words,
        })
    }

    /// Whether the file lies at or under one of the paths (a trailing slash names a folder).
    pub fn is_under(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| match path.ends_with('/') {
            true => self.path.starts_with(path),
            false => self.path == *path,
        })
    }

    /// Whether the file holds tests or examples only, by its place.
    pub fn is_test_file(&self) -> bool {
        let folders: Vec<&str> = self.path.split('/').collect();
        let (name, folders) = match folders.split_last() {
            Some((name, folders)) => (*name, folders),
            None => return false,
        };
        name == "tests.rs"
            || folders
                .iter()
                .any(|f| ["tests", "examples", "benches", "fuzz_targets"].contains(f))
    }

    /// Whether the file is the root of a library or a binary.
    pub fn is_crate_root(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        matches!(
            parts.as_slice(),
            ["crates", _, "src", "lib.rs" | "main.rs"]
                | ["xtask", "src", "main.rs"]
                | ["crates", _, "src", "bin", _]
        )
    }
}

fn flatten(tokens: TokenStream, words: &mut Vec<(String, usize)>) {
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(word) => words.push((word.to_string(), word.span().start().line)),
            TokenTree::Group(group) => flatten(group.stream(), words),
            TokenTree::Punct(mark) if mark.as_char() == ':' => {
                colons += 1;
                if colons == 2 {
                    words.push(("::".to_owned(), mark.span().start().line));
                    colons = 0;
                }
                continue;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        colons = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_leave_out_comments_and_strings() {
        let text = "// unsafe\nfn f() -> a::b { m!(inner [deep]); \"unsafe\" }";
        let source = Source::parse("x.rs", text).unwrap();
        let words: Vec<&str> = source.words.iter().map(|(word, _)| word.as_str()).collect();
        assert_eq!(words, ["fn", "f", "a", "::", "b", "m", "inner", "deep"]);
        assert_eq!(source.words.first().unwrap().1, 2);
    }

    #[test]
    fn a_file_knows_its_place() {
        let at = |path| Source::parse(path, "").unwrap();
        assert!(at("crates/tensor/src/lib.rs").is_crate_root());
        assert!(at("xtask/src/main.rs").is_crate_root());
        assert!(!at("crates/tensor/src/ops.rs").is_crate_root());
        assert!(at("crates/a/tests/x.rs").is_test_file());
        assert!(at("crates/a/src/quant/tests.rs").is_test_file());
        assert!(!at("crates/a/src/contests.rs").is_test_file());
        assert!(at("a/b/c.rs").is_under(&["a/b/"]));
        assert!(at("a/b.rs").is_under(&["a/b.rs"]));
        assert!(!at("a/b.rs.rs").is_under(&["a/b.rs"]));
    }
}
