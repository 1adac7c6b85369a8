//! Names of models: `MODEL:TAG`, where the tag `latest` may be left out and case does not matter.

use crate::App;
use crate::call::Call;
use crate::error::ApiError;
use crate::lookup;
use http::StatusCode;
use serde_json::Value;

/// The tag that may be left out.
const LATEST: &str = ":latest";

/// The name with a tag, as lists show it.
pub(super) fn tagged(id: &str) -> String {
    let last = id.rsplit('/').next().unwrap_or(id);
    match last.contains(':') {
        true => id.to_owned(),
        false => format!("{id}{LATEST}"),
    }
}

/// Other ways to write a name, the likeliest first.
pub(super) fn ways(name: &str) -> Vec<String> {
    let mut ways = vec![name.to_owned()];
    let bare = name
        .len()
        .checked_sub(LATEST.len())
        .and_then(|at| name.split_at_checked(at))
        .filter(|(_, tag)| tag.eq_ignore_ascii_case(LATEST));
    match bare {
        Some((bare, _)) => ways.push(bare.to_owned()),
        None => ways.push(tagged(name)),
    }
    for i in 0..ways.len() {
        let lower = ways.get(i).map(|way| way.to_lowercase());
        ways.extend(lower.filter(|lower| !ways.contains(lower)));
    }
    ways.dedup();
    ways
}

/// The name by which the server knows the model that a client calls `name`.
///
/// # Errors
/// 404, in the words that clients look for.
pub(super) fn id(call: &Call, name: &str) -> Result<String, ApiError> {
    let mut refused = None;
    for way in ways(name) {
        match lookup::id(call, Some(&way)) {
            Ok(_) => return Ok(way),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(match refused {
        Some(error) if error.status == StatusCode::NOT_FOUND => not_found(name, &error),
        Some(error) => error,
        None => ApiError::invalid("model", "`model` is required"),
    })
}

/// What the server calls the model that a body names, if it knows it.
pub(crate) fn meant(app: &App, body: &Value) -> Option<String> {
    let given = |field: &str| body.get(field)?.as_str().filter(|name| !name.is_empty());
    let ways = ways(given("model").or_else(|| given("name"))?);
    let known = |way: &String| app.models.name_of(Some(way)).ok();
    ways.iter().find_map(known)
}

/// There is no such model.
pub(super) fn not_found(name: &str, error: &ApiError) -> ApiError {
    // A name of any length is not repeated.
    let shown: String = name
        .chars()
        .take(100)
        .flat_map(char::escape_debug)
        .collect();
    ApiError {
        message: format!("model '{shown}' not found: {}", error.message),
        ..error.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_may_be_left_out() {
        assert_eq!(tagged("qwen3"), "qwen3:latest");
        assert_eq!(tagged("qwen3:4b"), "qwen3:4b");
        assert_eq!(tagged("hf.co:80/a/b"), "hf.co:80/a/b:latest");
        assert_eq!(ways("mini"), ["mini", "mini:latest"]);
        assert_eq!(ways("mini:latest"), ["mini:latest", "mini"]);
        assert_eq!(ways("qwen3:4b"), ["qwen3:4b"]);
        assert_eq!(
            ways("Mini:LATEST"),
            ["Mini:LATEST", "Mini", "mini:latest", "mini"]
        );
        assert_eq!(ways(""), ["", ":latest"]);
    }
}
