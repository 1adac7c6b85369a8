//! Tools, in Anthropic's shape.

use crate::error::ApiError;
use crate::fields::Fields;
use crate::talk::{Tool, ToolChoice, check_tools};
use serde_json::Value;

/// What may be called.
pub(super) fn tools(fields: &Fields<'_>) -> Result<Vec<Tool>, ApiError> {
    let list = fields.list("tools")?.unwrap_or_default();
    let one = |(i, value)| tool(&Fields::at(value, format!("tools[{i}]"))?);
    let tools: Vec<Tool> = list.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    check_tools(&tools)?;
    Ok(tools)
}

fn tool(fields: &Fields<'_>) -> Result<Tool, ApiError> {
    fields.refuse(
        "type",
        |v| v == "custom",
        "tools that a server runs or defines are not there; give its name, description and input_schema",
    )?;
    let no = |v: &Value| v.as_bool() == Some(false);
    fields.refuse("defer_loading", no, "all tools are shown to the model")?;
    let direct = |v: &Value| {
        v.as_array()
            .is_some_and(|who| who.iter().any(|w| w == "direct"))
    };
    fields.refuse("allowed_callers", direct, "only the model calls tools")?;
    // Arguments always come as they are made.
    fields.bool("eager_input_streaming")?;
    let missing = |name: &str| {
        let path = fields.path(name);
        ApiError::invalid(&path, format!("`{path}` is missing"))
    };
    let name = fields.str("name")?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| missing("name"))?;
    let schema = fields.object("input_schema")?;
    let schema = schema.ok_or_else(|| missing("input_schema"))?;
    let schema = Value::Object(schema.map().clone());
    let mut description = fields.str("description")?.map(str::to_owned);
    for example in fields.list("input_examples")?.unwrap_or_default() {
        let said = description.get_or_insert_default();
        said.push_str(&format!("\nExample of its input: {example}"));
    }
    Ok(Tool {
        strict: fields.bool("strict")?.unwrap_or(false),
        ..Tool::new(name, description.as_deref(), Some(schema))
    })
}

/// Whether something is to be called, and whether only once.
pub(super) fn choice(fields: &Fields<'_>, tools: &[Tool]) -> Result<(ToolChoice, bool), ApiError> {
    let Some(choice) = fields.object("tool_choice")? else {
        return Ok((ToolChoice::Auto, false));
    };
    let one_call = choice.bool("disable_parallel_tool_use")?.unwrap_or(false);
    let path = choice.path("type");
    let choice = match choice.str("type")?.unwrap_or_default() {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "any" => ToolChoice::Required,
        "tool" => {
            let path = choice.path("name");
            let name = choice.str("name")?.unwrap_or_default();
            if !tools.iter().any(|tool| tool.name == name) {
                let message = format!("`{path}` must be the name of one of `tools`");
                return Err(ApiError::invalid(path, message));
            }
            ToolChoice::Named(name.to_owned())
        }
        _ => {
            let message = format!("`{path}` must be auto, any, tool or none");
            return Err(ApiError::invalid(path, message));
        }
    };
    if choice == ToolChoice::Required && tools.is_empty() {
        let message = format!("`{path}` is any, and there are no `tools`");
        return Err(ApiError::invalid(path, message));
    }
    Ok((choice, one_call))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    type Read = (Vec<Tool>, ToolChoice, bool);

    fn read(body: &Value) -> Result<Read, String> {
        let fields = Fields::of_body(body).unwrap();
        let read = tools(&fields).and_then(|tools| {
            let (choice, one) = choice(&fields, &tools)?;
            Ok((tools, choice, one))
        });
        read.map_err(|error| error.param.unwrap())
    }

    #[test]
    fn tools_and_choices() {
        let tool = json!({
            "name": "f", "description": "Does.", "input_schema": {"type": "object"},
            "cache_control": {"type": "ephemeral"}, "strict": true, "input_examples": [{"a": 1}],
        });
        let with = |choice: Value| read(&json!({ "tools": [tool], "tool_choice": choice }));
        let (tools, choice, one) = with(json!(null)).unwrap();
        assert_eq!(
            tools[0].shown,
            json!({"type": "function", "function": {
                "name": "f", "description": "Does.\nExample of its input: {\"a\":1}",
                "parameters": {"type": "object"}}})
        );
        assert_eq!((choice, one), (ToolChoice::Auto, false));
        let one_any = json!({"type": "any", "disable_parallel_tool_use": true});
        let (_, choice, one) = with(one_any).unwrap();
        assert_eq!((choice, one), (ToolChoice::Required, true));
        let named = with(json!({"type": "tool", "name": "f"})).unwrap();
        assert_eq!(named.1, ToolChoice::Named("f".into()));
        assert_eq!(with(json!({"type": "none"})).unwrap().1, ToolChoice::None);
        let twice = read(&json!({ "tools": [tool, tool] }));
        assert_eq!(twice, Err("tools".to_owned()));
        for (choice, want) in [
            (json!({"type": "tool", "name": "g"}), "tool_choice.name"),
            (json!({"type": "must"}), "tool_choice.type"),
            (json!("any"), "tool_choice"),
        ] {
            assert_eq!(with(choice), Err(want.to_owned()));
        }
        for (tool, want) in [
            (
                json!({"type": "web_search_20250305", "name": "web_search"}),
                "tools[0].type",
            ),
            (json!({"name": "f"}), "tools[0].input_schema"),
            (json!({"name": "", "input_schema": {}}), "tools[0].name"),
            (
                json!({"name": "f", "input_schema": {}, "defer_loading": true}),
                "tools[0].defer_loading",
            ),
        ] {
            assert_eq!(read(&json!({ "tools": [tool] })), Err(want.to_owned()));
        }
        let none = json!({"tool_choice": {"type": "any"}});
        assert_eq!(read(&none), Err("tool_choice.type".to_owned()));
    }
}
