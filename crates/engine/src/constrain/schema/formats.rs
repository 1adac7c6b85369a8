//! `format`: as expressions that every text they match is of the form.
//!
//! Each is a part of what the form allows (no leap seconds, no obsolete spellings), so that no
//! validator says no to what was written.

use super::super::ConstraintError;
use super::refuse;
use serde_json::{Value, json};

const DATE: &str = concat!(
    r"(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))",
    r"|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)"
);
const TIME: &str = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+\-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
const BYTE: &str = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const SEGMENT: &str = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*";

/// The expression of a form, for the whole text; `None`: it is not known.
fn expression(format: &str) -> Option<String> {
    let date_time = format!("{DATE}T{TIME}");
    // Labels of up to 20 characters, 8 at most: well within what is allowed.
    let label = "[A-Za-z0-9](?:[A-Za-z0-9]{0,17}[A-Za-z0-9])?";
    let host = format!("{label}(?:\\.{label}){{0,7}}");
    let uri = format!(
        "[A-Za-z][A-Za-z0-9+\\-.]{{0,20}}://{host}(?::[0-9]{{1,4}})?(?:/{SEGMENT}){{0,64}}(?:\\?{SEGMENT})?(?:#{SEGMENT})?"
    );
    Some(match format {
        "date" => DATE.to_owned(),
        "time" => TIME.to_owned(),
        "date-time" => date_time,
        "duration" => {
            let time = "T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S)";
            format!("P(?:[0-9]{{1,9}}W|(?:[0-9]{{1,9}}Y(?:[0-9]{{1,9}}M(?:[0-9]{{1,9}}D)?)?|[0-9]{{1,9}}M(?:[0-9]{{1,9}}D)?|[0-9]{{1,9}}D)(?:{time})?|{time})")
        }
        "ipv4" => format!("{BYTE}(?:\\.{BYTE}){{3}}"),
        "ipv6" => "[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){7}|::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?|[0-9A-Fa-f]{1,4}::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,5})?|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,4})?".to_owned(),
        "uuid" => "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}".to_owned(),
        "hostname" | "idn-hostname" => host,
        "email" | "idn-email" => {
            let word = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\-]{1,16}";
            format!("{word}(?:\\.{word}){{0,2}}@{host}")
        }
        "uri" | "url" | "iri" | "uri-reference" | "iri-reference" | "uri-template" => uri,
        "relative-json-pointer" => "[0-9](?:#|(?:/(?:[^~/]|~[01])*)+)".to_owned(),
        // Letters and digits stand for themselves in every notation.
        "regex" => "\\^?[A-Za-z0-9 _]{0,200}\\$?".to_owned(),
        "byte" => "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?".to_owned(),
        "json-pointer" => "(?:/(?:[^~/]|~[01])*)*".to_owned(),
        _ => return None,
    })
}

/// The range of integers of a machine's size, as far as it is exact in JSON.
fn integers(format: &str) -> Option<(i64, i64)> {
    const EXACT: i64 = (1 << 53) - 1;
    Some(match format {
        "int8" => (-128, 127),
        "uint8" => (0, 255),
        "int16" => (-32_768, 32_767),
        "uint16" => (0, 65_535),
        "int32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "uint32" => (0, i64::from(u32::MAX)),
        "int" | "int64" => (-EXACT, EXACT),
        "uint" | "uint64" => (0, EXACT),
        _ => return None,
    })
}

/// What a format asks for, as a schema.
pub(super) fn schema(value: &Value, path: &str) -> Result<Option<Value>, ConstraintError> {
    let Some(format) = value.as_str() else {
        return Err(refuse(path, "it must be a string"));
    };
    // Notes for programs, as generators of schemas write them: they ask for nothing that JSON does not.
    const NOTES: [&str; 8] = [
        "float",
        "double",
        "password",
        "binary",
        "path",
        "file-path",
        "directory-path",
        "decimal",
    ];
    if NOTES.contains(&format) {
        return Ok(None);
    }
    if let Some((least, most)) = integers(format) {
        return Ok(Some(json!({
            "anyOf": [
                { "type": ["null", "boolean", "string", "array", "object"] },
                { "type": "integer", "minimum": least, "maximum": most },
            ],
        })));
    }
    let Some(expression) = expression(format) else {
        let why = format!(
            "the form `{format}` is not kept to; use `pattern`, or one of date-time, date, time, duration, email, hostname, ipv4, ipv6, uri, uuid, json-pointer"
        );
        return Err(refuse(path, &why));
    };
    let pattern = format!("^(?:{expression})$");
    Ok(Some(json!({
        "anyOf": [
            { "type": ["null", "boolean", "number", "array", "object"] },
            { "type": "string", "pattern": pattern },
        ],
    })))
}
