//! Bounds on what a body says, looked at before and after it is read as JSON.
//!
//! A small text can become a large value: `[[],[],...` takes ten times its length. So values are
//! counted in the bytes first, and no parser sees a body with too many.

use crate::error::ApiError;
use serde_json::Value;

/// Values of a body: numbers, texts, lists, objects.
const MAX_VALUES: usize = 1 << 19;
/// Lists and objects inside each other. The parser allows one more.
const MAX_DEPTH: usize = 120;
/// Messages of a conversation: more than fit any context.
pub const MAX_MESSAGES: usize = 4096;
/// Tools that a model may call.
pub const MAX_TOOLS: usize = 512;
/// Parts of a message, and calls in it.
pub const MAX_PARTS: usize = 1024;
/// Bytes of one schema, written as JSON.
pub const MAX_SCHEMA: usize = 256 << 10;

/// Counts values and depth without reading them.
///
/// # Errors
/// 400: there are too many, or they are too deep.
pub fn scan(body: &[u8]) -> Result<(), ApiError> {
    let (mut values, mut depth, mut deepest) = (1_usize, 0_usize, 0_usize);
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => drop(bytes.next()),
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            b'[' | b'{' => {
                depth += 1;
                values += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
    }
    if deepest > MAX_DEPTH {
        return Err(too_much(
            "",
            format!("the body has lists or objects {deepest} deep; at most {MAX_DEPTH} are read"),
        ));
    }
    if values > MAX_VALUES {
        return Err(too_much(
            "",
            format!("the body has about {values} values; at most {MAX_VALUES} are read"),
        ));
    }
    Ok(())
}

/// Bounds on the parts of a request that all dialects have under the same names.
///
/// # Errors
/// 400, with the field that is too large.
pub fn check(body: &Value) -> Result<(), ApiError> {
    let Some(fields) = body.as_object() else {
        return Ok(());
    };
    if let Some(messages) = fields.get("messages").and_then(Value::as_array) {
        at_most("messages", "messages", messages.len(), MAX_MESSAGES)?;
        for (i, message) in messages.iter().enumerate() {
            for part in ["content", "tool_calls"] {
                let n = message
                    .get(part)
                    .and_then(Value::as_array)
                    .map_or(0, Vec::len);
                at_most(&format!("messages[{i}].{part}"), "parts", n, MAX_PARTS)?;
            }
        }
    }
    if let Some(input) = fields.get("input").and_then(Value::as_array)
        && input.iter().any(Value::is_object)
    {
        at_most("input", "items", input.len(), MAX_MESSAGES)?;
    }
    if let Some(tools) = fields.get("tools").and_then(Value::as_array) {
        at_most("tools", "tools", tools.len(), MAX_TOOLS)?;
        for (i, tool) in tools.iter().enumerate() {
            small(&format!("tools[{i}]"), tool)?;
        }
    }
    for name in [
        "response_format",
        "format",
        "text",
        "json_schema",
        "guided_json",
        "grammar",
    ] {
        if let Some(value) = fields.get(name)
            && (value.is_object() || name != "text")
        {
            small(name, value)?;
        }
    }
    Ok(())
}

fn at_most(param: &str, what: &str, n: usize, most: usize) -> Result<(), ApiError> {
    if n <= most {
        return Ok(());
    }
    Err(too_much(
        param,
        format!("`{param}` has {n} {what}; at most {most} are taken"),
    ))
}

fn small(param: &str, value: &Value) -> Result<(), ApiError> {
    let mut room = Room(MAX_SCHEMA);
    // Written nowhere: only counted, and no further than the bound.
    if serde_json::to_writer(&mut room, value).is_ok() {
        return Ok(());
    }
    Err(too_much(
        param,
        format!("`{param}` is longer than {MAX_SCHEMA} bytes of JSON; make it smaller"),
    ))
}

struct Room(usize);

impl std::io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(rest) => self.0 = rest,
            None => return Err(std::io::ErrorKind::WriteZero.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn too_much(param: &str, message: String) -> ApiError {
    ApiError {
        param: (!param.is_empty()).then(|| param.to_owned()),
        code: Some("request_too_large"),
        ..ApiError::invalid("", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn code(result: Result<(), ApiError>) -> Option<(Option<&'static str>, Option<String>)> {
        result.err().map(|error| (error.code, error.param))
    }

    #[test]
    fn what_is_in_texts_is_not_counted() {
        let text = format!("{{\"a\": \"{}\\\"[[[\"}}", "[,".repeat(MAX_VALUES));
        assert_eq!(code(scan(text.as_bytes())), None);
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let too_large = Some((Some("request_too_large"), None));
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert_eq!(code(scan(deep(MAX_DEPTH).as_bytes())), None);
        assert!(serde_json::from_str::<Value>(&deep(MAX_DEPTH)).is_ok());
        assert_eq!(code(scan(deep(MAX_DEPTH + 1).as_bytes())), too_large);
        let many = |n: usize| format!("[{}1]", "1,".repeat(n));
        assert_eq!(code(scan(many(MAX_VALUES - 3).as_bytes())), None);
        assert_eq!(code(scan(many(MAX_VALUES).as_bytes())), too_large);
        // What is no JSON at all does not go on for ever, and is the parser's business.
        assert_eq!(code(scan(b"\"")), None);
        assert_eq!(code(scan(b"]]]}\\")), None);
    }

    #[test]
    fn parts_are_bounded_by_name() {
        let messages = vec![json!({"role": "user"}); MAX_MESSAGES + 1];
        let parts = vec![json!({"type": "text"}); MAX_PARTS + 1];
        let long = "x".repeat(MAX_SCHEMA);
        for (body, param) in [
            (json!({"messages": messages}), "messages"),
            (
                json!({"messages": [{}, {"content": parts}]}),
                "messages[1].content",
            ),
            (json!({"tools": vec![json!({}); MAX_TOOLS + 1]}), "tools"),
            (json!({"tools": [{"parameters": long}]}), "tools[0]"),
            (
                json!({"response_format": {"json_schema": long}}),
                "response_format",
            ),
            (json!({"format": {"enum": [long]}}), "format"),
            (json!({"input": vec![json!({}); MAX_MESSAGES + 1]}), "input"),
        ] {
            let want = Some((Some("request_too_large"), Some(param.to_owned())));
            assert_eq!(code(check(&body)), want);
        }
        assert_eq!(
            code(check(&json!({"input": vec![1; 9000], "messages": 3}))),
            None
        );
        assert_eq!(code(check(&json!([1]))), None);
    }
}
