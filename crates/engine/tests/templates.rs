//! Real chat templates: what a template writes of a call is read as that call, and the grammar of the
//! answer allows it.
#![allow(clippy::unwrap_used, reason = "a test")]

use ingle_engine::constrain::Constrainer;
use ingle_engine::tools::{Answering, Format, Piece, Reader, Style, Tool, ToolChoice};
use ingle_formats::TokenId;
use ingle_formats::gguf::{Metadata, Value as Meta};
use ingle_formats::template::{Chat, ChatTemplate, LocalTime};
use ingle_formats::vocabulary::Vocabulary;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Each template with the form of its calls; whether it writes calls of earlier turns (Kimi's changes a
/// list, which no template may).
const TEMPLATES: [(&str, Option<Format>, bool); 20] = [
    ("GLM-4.6", Some(Format::Glm), true),
    ("HuggingFaceTB-SmolLM3-3B", None, false),
    ("Kimi-K2-Instruct", Some(Format::Kimi), false),
    ("LFM2.5-Instruct", Some(Format::Lfm), false),
    (
        "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
        Some(Format::Hermes),
        true,
    ),
    ("Qwen-Qwen2.5-7B-Instruct", Some(Format::Hermes), true),
    ("Qwen-Qwen3-0.6B", Some(Format::Hermes), true),
    ("Qwen3-Coder", Some(Format::QwenXml), true),
    ("Qwen3.5-4B", Some(Format::QwenXml), true),
    (
        "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
        Some(Format::DeepSeek),
        true,
    ),
    ("deepseek-ai-DeepSeek-V3.1", Some(Format::DeepSeek31), true),
    ("google-gemma-2-2b-it", None, false),
    ("google-gemma-4-31B-it", Some(Format::Gemma4), true),
    (
        "ibm-granite-granite-3.3-2B-Instruct",
        Some(Format::PipeList),
        false,
    ),
    (
        "meta-llama-Llama-3.1-8B-Instruct",
        Some(Format::Llama),
        true,
    ),
    (
        "meta-llama-Llama-3.2-3B-Instruct",
        Some(Format::Llama),
        true,
    ),
    ("microsoft-Phi-3.5-mini-instruct", None, false),
    (
        "mistralai-Mistral-Nemo-Instruct-2407",
        Some(Format::MistralList),
        true,
    ),
    ("openai-gpt-oss-120b", Some(Format::Harmony), true),
    (
        "unsloth-mistral-Devstral-Small-2507",
        Some(Format::MistralArgs),
        true,
    ),
];

/// Control tokens of all these models.
const MARKS: [&str; 44] = [
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "<|python_tag|>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "[CALL_ID]",
    "[THINK]",
    "[/THINK]",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
    "<|channel|>",
    "<|message|>",
    "<|start|>",
    "<|end|>",
    "<|constrain|>",
    "<|call|>",
    "<|return|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|\"|>",
    "<|channel>",
    "<channel|>",
    "<|tool_call|>",
    "<|tool_call_begin|>",
    "<|tool_call_end|>",
    "<|tool_call_argument_begin|>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<turn|>",
    "<|tool_response>",
    "<|user|>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "<｜end▁of▁sentence｜>",
];

fn vocabulary() -> Arc<Vocabulary> {
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    texts.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    texts.extend(MARKS.map(str::to_owned));
    let mut kinds = vec![2_i32, 3, 3];
    kinds.extend([6; 256]);
    kinds.extend([3; MARKS.len()]);
    let pairs = [
        ("tokenizer.ggml.model", Meta::from("llama")),
        ("tokenizer.ggml.tokens", Meta::from(texts)),
        ("tokenizer.ggml.token_type", Meta::from(kinds)),
        ("tokenizer.ggml.add_space_prefix", Meta::from(false)),
    ];
    let metadata = Metadata::from_pairs(pairs).unwrap();
    Arc::new(Vocabulary::from_metadata(&metadata).unwrap())
}

/// Marks where there are such, else bytes.
fn tokens(text: &str) -> Vec<TokenId> {
    let (mut rest, mut out) = (text, Vec::new());
    while let Some(c) = rest.chars().next() {
        let found = MARKS.iter().position(|mark| rest.starts_with(mark));
        let n = found.map_or(c.len_utf8(), |i| MARKS[i].len());
        match found {
            Some(i) => out.push(TokenId(259 + i as u32)),
            None => out.extend(rest.bytes().take(n).map(|b| TokenId(3 + u32::from(b)))),
        }
        rest = &rest[n..];
    }
    out
}

fn folder() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("INGLE_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("data/templates");
    folder.is_dir().then_some(folder)
}

fn parameters() -> Value {
    json!({
        "type": "object",
        "properties": { "city": { "type": "string" }, "days": { "type": "integer" } },
        "required": ["city"],
        "additionalProperties": false,
    })
}

fn render(template: &ChatTemplate, messages: Vec<Value>, prompt: bool) -> Option<String> {
    let function = json!({ "name": "weather", "description": "Tells the weather.", "parameters": parameters() });
    let mut variables = Map::new();
    for (name, text) in [("bos_token", "<s>"), ("eos_token", "</s>")] {
        variables.insert(name.into(), text.into());
    }
    let chat = Chat {
        messages,
        tools: Some(vec![json!({ "type": "function", "function": function })]),
        documents: None,
        add_generation_prompt: prompt,
        variables,
    };
    let made = template.render(&chat, LocalTime::from_unix(1_795_226_400));
    made.map_err(|e| println!("{e}")).ok()
}

fn conversation() -> Vec<Value> {
    vec![json!({ "role": "user", "content": "How is it in Ulm?" })]
}

fn called(city: &str) -> Value {
    json!({
        "role": "assistant", "content": "",
        "tool_calls": [{
            "id": "abcdefghi", "type": "function",
            "function": { "name": "weather", "arguments": { "city": city, "days": 2 } },
        }],
    })
}

/// The prompt of a conversation, and what the template writes behind it of an answer that is a call.
fn answer(template: &ChatTemplate, city: &str) -> Option<(String, String)> {
    let prompt = render(template, conversation(), true)?;
    let mut messages = conversation();
    messages.push(called(city));
    let all = render(template, messages, false)?;
    // A prompt may say that the model is to think; an earlier turn is shown without.
    let at = all
        .char_indices()
        .zip(prompt.chars())
        .take_while(|((_, a), b)| a == b);
    let same = at.last().map_or(0, |((i, c), _)| i + c.len_utf8());
    // Not in the middle of a mark.
    let mark = all[..same]
        .rfind('<')
        .filter(|at| !all[*at..same].contains('>'));
    let same = mark.unwrap_or(same);
    let mut answer = all[same..].to_owned();
    if let Some(open) = ["<think>", "</think>"].iter().find_map(|m| answer.find(m)) {
        answer = answer[open..].to_owned();
    }
    let ends = [
        "<|im_end|>",
        "<|eot_id|>",
        "</s>",
        "<｜end▁of▁sentence｜>",
        "<|call|>",
        "<turn|>",
        "<|tool_response>",
        "<|user|>",
    ];
    let end = ends.iter().filter_map(|end| answer.find(end)).min();
    answer.truncate(end.unwrap_or(answer.len()));
    Some((prompt[..same.min(prompt.len())].to_owned(), answer))
}

/// Text and calls of an answer that comes in pieces of these sizes.
fn read(style: &Style, prompt: &str, text: &str, cuts: &[usize]) -> (String, Vec<(String, Value)>) {
    let tool = tool();
    let mut reader = Reader::new(style, prompt, std::slice::from_ref(&tool));
    let chars: Vec<char> = text.chars().collect();
    let (mut pieces, mut at, mut cuts) = (Vec::new(), 0, cuts.iter().cycle());
    while at < chars.len() {
        let end = (at + cuts.next().unwrap()).min(chars.len());
        pieces.extend(reader.push(&chars[at..end].iter().collect::<String>()));
        at = end;
    }
    pieces.extend(reader.finish());
    let (mut said, mut calls) = (String::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Text(text) => said += &text,
            Piece::CallBegin { name } => calls.push((name, String::new())),
            Piece::CallArguments(more) => calls.last_mut().unwrap().1 += &more,
            Piece::Reasoning(_) | Piece::CallEnd { .. } => {}
        }
    }
    let parsed = |(name, arguments): (String, String)| {
        (
            name,
            serde_json::from_str(&arguments).unwrap_or(arguments.into()),
        )
    };
    (said, calls.into_iter().map(parsed).collect())
}

fn tool() -> Tool {
    Tool {
        name: "weather".into(),
        parameters: Some(parameters()),
        strict: true,
    }
}

fn templates() -> Vec<(&'static str, ChatTemplate, Style, bool)> {
    let Some(folder) = folder() else {
        println!("skipped: there are no templates");
        return Vec::new();
    };
    let vocabulary = vocabulary();
    let one = |(name, format, writes): (&'static str, Option<Format>, bool)| {
        let source = std::fs::read_to_string(folder.join(format!("{name}.jinja"))).unwrap();
        let mut style = Style::detect(&source, &vocabulary);
        if name.contains("SmolLM3") || name.contains("gemma-2") || name.contains("Phi") {
            style.calls = style.calls.filter(|f| *f != Format::Lfm); // the vocabulary is everybody's
        }
        assert_eq!(style.calls, format, "{name}");
        (name, ChatTemplate::new(&source).unwrap(), style, writes)
    };
    TEMPLATES.into_iter().map(one).collect()
}

#[test]
fn what_templates_write_is_read_and_allowed() {
    let constrainer = Constrainer::new(vocabulary()).unwrap();
    let tools = [tool()];
    for (name, template, style, _) in templates().into_iter().filter(|t| t.3) {
        let (prompt, text) = answer(&template, "Ulm \"x\" <y>").unwrap_or_else(|| panic!("{name}"));
        let want = vec![(
            "weather".to_owned(),
            json!({ "city": "Ulm \"x\" <y>", "days": 2 }),
        )];
        for size in [1, 2, 3, 7, 1000] {
            let (said, calls) = read(&style, &prompt, &text, &[size]);
            assert_eq!(
                (said.trim(), &calls),
                ("", &want),
                "{name} by {size}: {text:?}"
            );
        }
        for choice in [
            ToolChoice::Auto,
            ToolChoice::Required,
            ToolChoice::Named("weather".into()),
        ] {
            let answering = Answering {
                style: &style,
                prompt: &prompt,
                tools: &tools,
                choice: &choice,
                parallel: true,
                form: None,
            };
            let grammar = constrainer.answer(&answering).unwrap().unwrap();
            assert!(
                grammar.accepts(&tokens(&text)),
                "{name} {choice:?}: {text:?} after {:?}",
                &prompt[prompt.len().saturating_sub(40)..]
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn however_it_is_cut(cuts in prop::collection::vec(1_usize..12, 1..8), city in "[ -~é\n]{0,12}") {
        for (name, template, style, _) in templates().into_iter().filter(|t| t.3) {
            let Some((prompt, text)) = answer(&template, &city) else { continue };
            if city.contains("</") || city.contains("<|") || city.trim() != city || city.contains('\\') {
                continue;
            }
            let (said, calls) = read(&style, &prompt, &text, &cuts);
            let want = vec![("weather".to_owned(), json!({ "city": city, "days": 2 }))];
            prop_assert_eq!((said.trim(), &calls), ("", &want), "{}: {:?}", name, text);
        }
    }
}
