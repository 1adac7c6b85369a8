//! What the requests of a model mean where they say nothing themselves.
//!
//! Written into the request before its dialect reads it, under the names of that dialect: so a preset
//! means the same to every client, and what a client says itself always wins.

use serde_json::{Map, Value, json};

/// What the requests of a model mean where they say nothing themselves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preset {
    /// What the model is told first.
    pub system: Option<String>,
    /// How tokens are chosen, under OpenAI's and llama.cpp's names: `temperature`, `top_k`.
    pub parameters: Map<String, Value>,
    /// Texts at which answers end.
    pub stop: Vec<String>,
    /// Tokens of an answer at most.
    pub max_tokens: Option<u32>,
}

impl Preset {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Writes what is missing into the body of a request for `path`.
    pub(crate) fn fill(&self, path: &str, body: &mut Value) {
        let Some(fields) = body.as_object_mut() else {
            return;
        };
        self.system(path, fields);
        if !generates(path) {
            return;
        }
        let (stop, max_tokens): (&str, &[&str]) = match path {
            "/api/chat" | "/api/generate" => ("stop", &["num_predict"]),
            "/v1/messages" => ("stop_sequences", &["max_tokens"]),
            "/v1/responses" => ("stop", &["max_output_tokens"]),
            "/completion" | "/completions" | "/infill" => ("stop", &["n_predict", "max_tokens"]),
            _ => (
                "stop",
                &["max_tokens", "max_completion_tokens", "n_predict"],
            ),
        };
        let target = match path {
            "/api/chat" | "/api/generate" => {
                let options = fields.entry("options").or_insert_with(|| json!({}));
                if options.is_null() {
                    *options = json!({});
                }
                match options.as_object_mut() {
                    Some(options) => options,
                    None => return,
                }
            }
            _ => fields,
        };
        for (name, value) in &self.parameters {
            missing(target, name, || value.clone());
        }
        if !self.stop.is_empty() {
            missing(target, stop, || self.stop.clone().into());
        }
        let says = |name: &&str| target.get(*name).is_some_and(|value| !value.is_null());
        if let (Some(most), Some(name)) = (self.max_tokens, max_tokens.first())
            && !max_tokens.iter().any(says)
        {
            target.insert((*name).to_owned(), most.into());
        }
    }

    fn system(&self, path: &str, fields: &mut Map<String, Value>) {
        let Some(system) = &self.system else {
            return;
        };
        match path {
            // A text that goes on as it stands is told nothing.
            "/api/generate" if as_it_stands(fields) => {}
            "/v1/messages" | "/v1/messages/count_tokens" | "/api/generate" => {
                missing(fields, "system", || system.clone().into());
            }
            "/v1/responses" | "/v1/responses/input_tokens" => {
                missing(fields, "instructions", || system.clone().into());
            }
            "/v1/chat/completions" | "/api/chat" | "/apply-template" => {
                let Some(messages) = fields.get_mut("messages").and_then(Value::as_array_mut)
                else {
                    return;
                };
                let tells = |message: &Value| {
                    let role = message.get("role").and_then(Value::as_str);
                    matches!(role, Some("system" | "developer"))
                };
                if !messages.iter().any(tells) {
                    messages.insert(0, json!({ "role": "system", "content": system }));
                }
            }
            _ => {}
        }
    }
}

/// Whether no template is run on what `/api/generate` is asked.
fn as_it_stands(fields: &Map<String, Value>) -> bool {
    let suffix = fields.get("suffix").and_then(Value::as_str);
    fields.get("raw") == Some(&true.into()) || suffix.is_some_and(|suffix| !suffix.is_empty())
}

/// Whether a path's requests have parameters of sampling.
fn generates(path: &str) -> bool {
    matches!(
        path,
        "/v1/chat/completions"
            | "/v1/completions"
            | "/v1/responses"
            | "/v1/messages"
            | "/api/chat"
            | "/api/generate"
            | "/completion"
            | "/completions"
            | "/infill"
    )
}

/// Sets a field that is not there, or `null`.
fn missing(fields: &mut Map<String, Value>, name: &str, value: impl FnOnce() -> Value) {
    if fields.get(name).is_none_or(Value::is_null) {
        fields.insert(name.to_owned(), value());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset() -> Preset {
        let parameters = json!({ "temperature": 0.5, "top_k": 7 });
        Preset {
            system: Some("Be brief.".into()),
            parameters: parameters.as_object().unwrap().clone(),
            stop: vec!["!".into()],
            max_tokens: Some(9),
        }
    }

    fn filled(path: &str, mut body: Value) -> Value {
        preset().fill(path, &mut body);
        body
    }

    #[test]
    fn what_a_request_says_itself_wins() {
        let body = json!({
            "messages": [{"role": "developer", "content": "x"}], "temperature": 0, "stop": "?",
            "max_completion_tokens": 3, "top_k": null,
        });
        let want = json!({
            "messages": [{"role": "developer", "content": "x"}], "temperature": 0, "stop": "?",
            "max_completion_tokens": 3, "top_k": 7,
        });
        assert_eq!(filled("/v1/chat/completions", body), want);
    }

    #[test]
    fn every_dialect_gets_its_own_names() {
        let chat = filled("/v1/chat/completions", json!({"messages": []}));
        assert_eq!(chat["messages"][0]["content"], "Be brief.");
        assert_eq!(
            (&chat["top_k"], &chat["max_tokens"]),
            (&json!(7), &json!(9))
        );
        let ollama = filled(
            "/api/chat",
            json!({"messages": [], "options": {"top_k": 1}}),
        );
        assert_eq!(ollama["messages"][0]["role"], "system");
        assert_eq!(
            ollama["options"],
            json!({"top_k": 1, "temperature": 0.5, "stop": ["!"], "num_predict": 9})
        );
        let generate = |name: &str, value: Value| {
            let body = json!({ "prompt": "a", name: value });
            filled("/api/generate", body)["system"].clone()
        };
        assert_eq!(generate("raw", false.into()), "Be brief.");
        assert_eq!(generate("suffix", "".into()), "Be brief.");
        assert_eq!(generate("raw", true.into()), Value::Null);
        assert_eq!(generate("suffix", "b".into()), Value::Null);
        let anthropic = filled("/v1/messages", json!({"max_tokens": 5}));
        assert_eq!(anthropic["system"], "Be brief.");
        assert_eq!(anthropic["stop_sequences"], json!(["!"]));
        assert_eq!(anthropic["max_tokens"], 5);
        let responses = filled("/v1/responses", json!({}));
        assert_eq!(responses["instructions"], "Be brief.");
        assert_eq!(responses["max_output_tokens"], 9);
        let counted = filled("/v1/responses/input_tokens", json!({"input": "x"}));
        assert_eq!(counted["instructions"], "Be brief.");
        assert_eq!(counted.get("temperature"), None);
        let embeddings = json!({"input": "x"});
        assert_eq!(filled("/v1/embeddings", embeddings.clone()), embeddings);
        assert_eq!(filled("/v1/chat/completions", json!([1])), json!([1]));
    }
}
