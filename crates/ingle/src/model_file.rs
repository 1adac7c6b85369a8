//! The argument MODEL: a path, or nothing for the model that is built in.

use crate::Usage;
use ingle::store::{CachePolicy, ModelFiles, OpenOptions};
use std::path::Path;

/// Whether an argument names a model file and is not, say, a prompt.
pub fn is_path(argument: &str) -> bool {
    let path = Path::new(argument);
    let ends = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    // A prompt may hold a slash; a path does not hold line ends, and rarely a space before a slash.
    let looks = argument.contains('/') && !argument.contains(char::is_whitespace);
    !argument.is_empty() && (ends || looks || path.is_file() || path.join("config.json").is_file())
}

/// Opens a model file.
///
/// # Errors
/// The file is not there or not a model; or a name was given that only a later version understands.
pub fn open(argument: &str) -> anyhow::Result<ModelFiles> {
    open_with(argument, CachePolicy::Keep)
}

/// [`open`], with a choice of what happens to the page cache behind what is read.
///
/// # Errors
/// As [`open`].
pub fn open_with(argument: &str, cache: CachePolicy) -> anyhow::Result<ModelFiles> {
    if argument.starts_with("hf.co/") || argument.starts_with("https://") {
        return Err(Usage(format!(
            "`{argument}` is not on this machine, and this version downloads nothing; download the .gguf file yourself and give its path"
        ))
        .into());
    }
    if Path::new(argument).is_dir() && !Path::new(argument).join("config.json").is_file() {
        return Err(Usage(format!(
            "`{argument}` is a folder and not that of a model; give one .gguf file in it, or the folder of a model (`ingle list {argument}` shows them)"
        ))
        .into());
    }
    let options = OpenOptions {
        cache,
        ..OpenOptions::default()
    };
    Ok(ModelFiles::open_with(argument, options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_prompts() {
        for path in [
            "a.gguf",
            "./x",
            "dir/model",
            "/m/A.GGUF",
            "../my models/a.gguf",
        ] {
            assert!(is_path(path), "{path}");
        }
        for prompt in ["", "Tell me a story", "and/or what?", "fox", "say\nhello"] {
            assert!(!is_path(prompt), "{prompt}");
        }
    }

    #[test]
    fn what_cannot_be_opened_says_what_to_do() {
        let message = |argument: &str| open(argument).unwrap_err().to_string();
        assert!(message("hf.co/a/b").contains("download the .gguf file yourself"));
        assert!(message("/").contains("ingle list /"));
        assert!(message("/no/such.gguf").contains("ingle list"));
    }
}
