//! Any text is a template, or is refused; a template ends within its bounds, and twice the same way.
#![no_main]

use std::sync::LazyLock;

use ingle_formats::template::{Chat, ChatTemplate, Limits, LocalTime};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

static CHAT: LazyLock<Chat> = LazyLock::new(|| {
    let variables = json!({"bos_token": "<s>", "eos_token": "</s>", "x": 1.5, "enable_thinking": true});
    Chat {
        messages: vec![
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "user", "content": [{"type": "text", "text": "é🙂\n"}, {"type": "image"}]}),
            json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": "a", "function": {"name": "f", "arguments": {"n": 1, "l": [1, "2", null]}}}]}),
            json!({"role": "tool", "content": "{}", "tool_call_id": "a"}),
        ],
        tools: Some(vec![json!({"type": "function", "function": {"name": "f", "parameters": {}}})]),
        documents: None,
        add_generation_prompt: true,
        variables: variables.as_object().cloned().unwrap_or_default(),
    }
});

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source) else {
        return;
    };
    let limits = Limits { fuel: 100_000, memory: 1 << 20, output: 1 << 16 };
    let now = LocalTime::from_unix(1_795_226_709);
    let first = template.render_within(&CHAT, now, limits);
    if let Ok(prompt) = &first {
        assert!(prompt.len() <= 1 << 16);
    }
    // A hash seed or an address must not show in a prompt.
    assert_eq!(first, template.render_within(&CHAT, now, limits));
});
