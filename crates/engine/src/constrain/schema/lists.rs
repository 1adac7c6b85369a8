//! Keywords about the items of lists.

use super::walk::{Checked, Walk};
use super::{at, logic, numbers, refuse};
use serde_json::{Map, Value, json};

/// The most items that must be of a kind.
const MAX_CONTAINED: u64 = 64;

/// `contains`, with how often: such items come first. That is one form of every such list; what they
/// say is in no other order than a reader may want, and what is written is valid.
pub(super) fn contains(
    walk: &mut Walk<'_>,
    map: &Map<String, Value>,
    value: &Value,
    path: &str,
    depth: usize,
) -> Checked {
    let parent = path.trim_end_matches("/contains");
    let count = |word: &str| {
        let value = map.get(word);
        value
            .map(|v| numbers::count(v, &at(parent, word)))
            .transpose()
    };
    let counted = walk.counts_contained();
    let least = count("minContains")?.filter(|_| counted).unwrap_or(1);
    let most = count("maxContains")?.filter(|_| counted);
    let largest = most.unwrap_or(0).max(least);
    if largest > MAX_CONTAINED {
        return Err(refuse(
            path,
            &format!("at most {MAX_CONTAINED} can be counted"),
        ));
    }
    if most.is_some_and(|most| most < least) {
        return Ok(json!({ "type": ["null", "boolean", "number", "string", "object"] }));
    }
    let item = walk.schema(value, path, depth + 1)?;
    let mut first: Vec<Value> = (0..least).map(|_| item.clone()).collect();
    let mut list = json!({ "type": "array", "minItems": least });
    if let Some(most) = most {
        let Some(other) = logic::negated(walk, value, path, 0) else {
            let why = "items that are not of this form cannot be written as a grammar; leave it out and check the answer";
            return Err(refuse(&at(parent, "maxContains"), why));
        };
        first.extend((least..most).map(|_| Value::Bool(true)));
        list["items"] = walk.schema(&other, path, depth + 1)?;
    }
    if !first.is_empty() {
        list["prefixItems"] = first.into();
    }
    let others = json!({ "type": ["null", "boolean", "number", "string", "object"] });
    Ok(json!({ "anyOf": [others, list] }))
}
