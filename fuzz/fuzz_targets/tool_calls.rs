//! Any answer is read, in every form of calls: the same however it is cut, with calls that are closed
//! and arguments that are JSON.
#![no_main]

use ingle_engine::reasoning::Marks;
use ingle_engine::tools::{Format, Piece, Reader, Style, Tool};
use libfuzzer_sys::fuzz_target;

const FORMATS: [Format; 14] = [
    Format::Hermes,
    Format::QwenXml,
    Format::Glm,
    Format::Llama,
    Format::MistralList,
    Format::MistralArgs,
    Format::DeepSeek,
    Format::DeepSeek31,
    Format::Harmony,
    Format::Gemma4,
    Format::FunctionGemma,
    Format::PipeList,
    Format::Kimi,
    Format::Lfm,
];

/// Text, and calls: name, arguments, whether they are whole.
type Heard = (String, Vec<(String, String, bool)>);

fn hear(style: &Style, text: &str, size: usize) -> Heard {
    let tools = [Tool {
        name: "f".into(),
        parameters: serde_json::from_str(r#"{"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}"#).ok(),
        strict: false,
    }];
    let mut reader = Reader::new(style, "", &tools);
    let chars: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    for piece in chars.chunks(size) {
        pieces.extend(reader.push(&piece.iter().collect::<String>()));
    }
    pieces.extend(reader.finish());
    let (mut said, mut calls, mut open) = (String::new(), Vec::new(), false);
    for piece in pieces {
        match piece {
            Piece::Reasoning(text) | Piece::Text(text) => said += &text,
            Piece::CallBegin { name } => {
                assert!(!std::mem::replace(&mut open, true));
                calls.push((name, String::new(), false));
            }
            Piece::CallArguments(more) => {
                assert!(open);
                calls.last_mut().unwrap().1 += &more;
            }
            Piece::CallEnd { whole } => {
                assert!(std::mem::replace(&mut open, false));
                calls.last_mut().unwrap().2 = whole;
            }
        }
    }
    assert!(!open);
    (said, calls)
}

fuzz_target!(|input: (u8, u8, &str)| {
    let (format, size, text) = input;
    let style = Style {
        calls: Some(FORMATS[usize::from(format) % FORMATS.len()]),
        reasoning: [Marks::THINK, Marks::GRANITE, Marks::GEMMA][usize::from(size) % 3],
        reasons: true,
        shows_tools: true,
    };
    let whole = hear(&style, text, usize::MAX);
    assert_eq!(hear(&style, text, 1 + usize::from(size) % 16), whole);
    for (_, arguments, is_whole) in whole.1 {
        let parsed = serde_json::from_str::<serde_json::Value>(&arguments);
        assert!(!is_whole || parsed.is_ok_and(|v| v.is_object()), "{arguments}");
    }
});
