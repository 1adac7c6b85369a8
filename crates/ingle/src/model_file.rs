//! The argument MODEL: a path or a name, or nothing for the model that is built in.

use crate::environment::Environment;
use crate::load::BUILT_IN_NAME;
use crate::{Usage, out};
use ingle::store::{
    CachePolicy, Found, ModelFiles, OpenOptions, Place, PlaceError, Reference, alias,
};
use std::path::Path;

/// Whether an argument names a model and is not, say, a prompt. A name without a slash or a tag is a
/// prompt unless such a model is known or here.
pub fn is_model(argument: &str) -> bool {
    let path = Path::new(argument);
    let ends = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    // A prompt may hold a slash or a colon; a name does not hold spaces, nor end as a question does.
    let one_word = !argument.contains(char::is_whitespace);
    let tagged = argument
        .split_once(':')
        .is_some_and(|(name, tag)| !name.is_empty() && !tag.is_empty() && !tag.contains(':'));
    let looks = one_word && (argument.contains('/') || tagged);
    !argument.is_empty()
        && (ends
            || looks
            || path.is_file()
            || path.join("config.json").is_file()
            || argument == BUILT_IN_NAME
            || (one_word && (alias(argument).is_some() || is_here(argument))))
}

/// Whether a model of this name lies on this machine.
fn is_here(name: &str) -> bool {
    let found = Reference::parse(name).map(|name| Environment::of_process().places().locate(&name));
    matches!(found, Ok(Ok(_) | Err(PlaceError::Ambiguous { .. })))
}

/// Where the model lies that an argument names.
///
/// # Errors
/// [`PlaceError`]; [`Usage`] for what is no name.
pub fn find(argument: &str) -> anyhow::Result<Found> {
    let reference =
        Reference::parse(argument).map_err(|error| Usage(PlaceError::from(error).to_string()))?;
    Ok(Environment::of_process().places().locate(&reference)?)
}

/// Opens a model.
///
/// # Errors
/// It is not here, or not a model; the message says what to do.
pub fn open(argument: &str) -> anyhow::Result<ModelFiles> {
    open_with(argument, CachePolicy::Keep)
}

/// [`open`], with a choice of what happens to the page cache behind what is read.
///
/// # Errors
/// As [`open`].
pub fn open_with(argument: &str, cache: CachePolicy) -> anyhow::Result<ModelFiles> {
    Ok(open_found(argument, cache)?.0)
}

/// [`open_with`], and where the model was found.
///
/// # Errors
/// As [`open`].
pub fn open_found(argument: &str, cache: CachePolicy) -> anyhow::Result<(ModelFiles, Found)> {
    let found = find(argument)?;
    if found.path.is_dir() && !found.path.join("config.json").is_file() {
        return Err(Usage(format!(
            "`{argument}` is a folder and not that of a model; give one .gguf file in it, or the folder of a model (`ingle list {argument}` shows them)"
        ))
        .into());
    }
    let io = Environment::of_process().io();
    let options = OpenOptions { io, cache };
    let files = ModelFiles::open_with(&found.path, options)?;
    Ok((files, found))
}

/// Says where a model was found by its name.
pub fn note_place(found: &Found) {
    if found.place != Place::Path {
        let path = out::plain(&found.path.display().to_string());
        out::note(format!("{}, in {}: {path}", found.name, found.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_prompts() {
        for model in [
            "a.gguf",
            "./x",
            "dir/model",
            "/m/A.GGUF",
            "../my models/a.gguf",
            "hf.co/a/b",
            "qwen3:4b",
            "qwen3",
            "ingle-mini",
            "nobody:knows",
            "Qwen/Qwen3-4B-GGUF:Q8_0",
        ] {
            assert!(is_model(model), "{model}");
        }
        for prompt in [
            "",
            "Tell me a story",
            "and/or what?",
            "fox",
            "say\nhello",
            "Sum up: this",
            "why:",
            ":)",
            "a:b:c",
        ] {
            assert!(!is_model(prompt), "{prompt}");
        }
    }

    #[test]
    fn what_cannot_be_opened_says_what_to_do() {
        let message = |argument: &str| open(argument).unwrap_err().to_string();
        assert!(
            message("hf.co/no-such/repository").contains("ingle pull hf.co/no-such/repository")
        );
        assert!(message("/").contains("ingle list /"));
        assert!(message("/no/such.gguf").contains("ingle list"));
        assert!(message("a b c").contains("ingle list --available"));
    }
}
