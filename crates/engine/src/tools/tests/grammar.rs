use super::{samples, style, tools};
use crate::constrain::{Constrainer, Constraint, ConstraintError, Grammar};
use crate::tools::*;
use ingle_formats::TokenId;
use ingle_formats::gguf::{Metadata, Value as Meta};
use ingle_formats::vocabulary::Vocabulary;
use serde_json::json;
use std::sync::Arc;

/// Bytes, an end, and these texts as control tokens.
fn vocabulary(marks: &[&str]) -> Arc<Vocabulary> {
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    texts.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    texts.extend(marks.iter().map(|mark| (*mark).to_owned()));
    let mut kinds = vec![2_i32, 3, 3];
    kinds.extend([6; 256]);
    kinds.extend(vec![3; marks.len()]);
    let pairs = [
        ("tokenizer.ggml.model", Meta::from("llama")),
        ("tokenizer.ggml.tokens", Meta::from(texts)),
        ("tokenizer.ggml.token_type", Meta::from(kinds)),
        ("tokenizer.ggml.add_space_prefix", Meta::from(false)),
    ];
    let metadata = Metadata::from_pairs(pairs).unwrap();
    Arc::new(Vocabulary::from_metadata(&metadata).unwrap())
}

fn all_marks(format: Format) -> Vec<&'static str> {
    let marks = format.marks();
    let section = marks.section.into_iter().flat_map(|(a, b)| [a, b]);
    let mut all: Vec<&str> = section.collect();
    all.extend(marks.open.iter().chain(marks.between));
    all.extend(marks.close);
    all.extend(style(format).reasoning.texts());
    if format == Format::Harmony {
        all.extend(["<|call|>", "<|return|>"]); // or `<|end|>` would end an answer
    }
    all.retain(|mark| !mark.contains("analysis") && *mark != "<function=");
    all.sort_unstable();
    all.dedup();
    all
}

/// The tokens of a text: marks where there are such, else bytes.
fn tokens(marks: &[&str], text: &str) -> Vec<TokenId> {
    let (mut rest, mut out) = (text, Vec::new());
    while let Some(byte) = rest.bytes().next() {
        let found = marks.iter().position(|mark| rest.starts_with(mark));
        match found {
            Some(i) => {
                out.push(TokenId(259 + i as u32));
                rest = &rest[marks[i].len()..];
            }
            None => {
                out.push(TokenId(3 + u32::from(byte)));
                // Bytes of one character.
                let c = rest.chars().next().unwrap();
                let mut utf8 = [0; 4];
                let more = c.encode_utf8(&mut utf8).bytes().skip(1);
                out.extend(more.map(|b| TokenId(3 + u32::from(b))));
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

struct Case {
    marks: Vec<&'static str>,
    constrainer: Constrainer,
    style: Style,
}

impl Case {
    /// With marks as tokens, and as text.
    fn both(format: Format) -> [Self; 2] {
        let marks = all_marks(format);
        [marks, Vec::new()].map(|marks| Self {
            constrainer: Constrainer::new(vocabulary(&marks)).unwrap(),
            style: style(format),
            marks,
        })
    }

    fn grammar(&self, choice: &ToolChoice, parallel: bool) -> Grammar {
        let tools = strict_tools();
        let answering = Answering {
            style: &self.style,
            prompt: "",
            tools: &tools,
            choice,
            parallel,
            form: None,
        };
        self.constrainer.answer(&answering).unwrap().unwrap()
    }

    fn accepts(&self, grammar: &Grammar, text: &str) -> bool {
        grammar.accepts(&tokens(&self.marks, text))
    }
}

fn strict_tools() -> Vec<Tool> {
    let mut tools = tools();
    tools[0].parameters.as_mut().unwrap()["required"] = json!(["city"]);
    for tool in &mut tools {
        tool.parameters.as_mut().unwrap()["additionalProperties"] = json!(false);
    }
    tools
}

#[test]
fn calls_are_what_the_format_says() {
    let named = ToolChoice::Named("news".into());
    for (format, one, two) in samples() {
        for case in Case::both(format) {
            let told = format!("{format:?}, {} marks", case.marks.len());
            let auto = case.grammar(&ToolChoice::Auto, true);
            let must = case.grammar(&ToolChoice::Required, true);
            let single = case.grammar(&ToolChoice::Auto, false);
            let both = format!("{one}{two}");
            for grammar in [&auto, &must] {
                assert!(case.accepts(grammar, &both), "{told}: {both}");
            }
            assert!(!case.accepts(&single, &both), "{told}: only one");
            let wrong = both.replace("weather", "whether");
            assert!(!case.accepts(&must, &wrong), "{told}: no such tool");
            let wrong = both.replace("Ulm", "Ulm\u{0}").replace("days", "dais");
            assert!(!case.accepts(&must, &wrong), "{told}: no such argument");
            assert!(case.accepts(&auto, "Hello < there."), "{told}: text");
            assert!(!case.accepts(&must, "Hello."), "{told}: a call must come");
            if format != Format::Llama {
                let spoken = format!("Let me see.\n{both}");
                assert!(case.accepts(&auto, &spoken), "{told}: {spoken}");
                assert!(!case.accepts(&must, &spoken), "{told}: {spoken}");
                let leaked = both.replace("weather", "whether");
                assert!(!case.accepts(&auto, &leaked), "{told}: {leaked}");
            }
            let only = case.grammar(&named, true);
            assert!(!case.accepts(&only, &both), "{told}: another tool is named");
            assert!(
                case.accepts(&must, &format!("<think>Hm.</think>\n\n{both}"))
                    || format == Format::Gemma4,
                "{told}: thought before"
            );
        }
    }
}

#[test]
fn the_harmony_format() {
    for case in Case::both(Format::Harmony) {
        let auto = case.grammar(&ToolChoice::Auto, true);
        let must = case.grammar(&ToolChoice::Required, true);
        let thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant";
        let call = "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"Ulm\"}";
        let said = "<|channel|>final<|message|>Yes.";
        assert!(case.accepts(&auto, &format!("{thought}{said}")));
        for grammar in [&auto, &must] {
            assert!(case.accepts(grammar, &format!("{thought}{call}")));
            assert!(case.accepts(
                grammar,
                " to=functions.news<|channel|>commentary json<|message|>{}"
            ));
        }
        assert!(!case.accepts(&must, &format!("{thought}{said}")));
        assert!(!case.accepts(&must, &call.replace("weather", "whether")));
        assert!(!case.accepts(&must, &call.replace("city", "town")));
    }
}

#[test]
fn text_of_a_form_or_a_call() {
    let [case, _] = Case::both(Format::Hermes);
    let tools = strict_tools();
    let form = Constraint::JsonSchema(
        json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "required": ["a"], "additionalProperties": false }),
    );
    let forms = [
        form,
        Constraint::Choice(vec!["yes".into(), "no/".into()]),
        Constraint::Regex("a/[b-d]+".into()),
        Constraint::Gbnf("root ::= \"x\" y\ny ::= \"y\"*".into()),
        Constraint::Lark("start: \"x\" y\ny: \"y\"".into()),
    ];
    let texts = ["{\"a\": 1}", "no/", "a/bc", "xyy", "xy"];
    for (form, text) in forms.iter().zip(texts) {
        let answering = Answering {
            style: &case.style,
            prompt: "<|im_start|>assistant\n<think>\n",
            tools: &tools,
            choice: &ToolChoice::Auto,
            parallel: true,
            form: Some(form),
        };
        let grammar = case.constrainer.answer(&answering).unwrap().unwrap();
        assert!(
            case.accepts(&grammar, &format!("Hm.</think>\n\n{text}")),
            "{text}"
        );
        assert!(
            !case.accepts(&grammar, text),
            "{text} without an end of reasoning"
        );
        assert!(
            !case.accepts(&grammar, &format!("</think>{text}!")),
            "{text}"
        );
        let call = "</think>\n\n<tool_call>\n{\"name\": \"news\", \"arguments\": {}}\n</tool_call>";
        assert!(case.accepts(&grammar, call), "{text}");
        let alone = Answering {
            tools: &[],
            ..answering
        };
        let grammar = case.constrainer.answer(&alone).unwrap().unwrap();
        assert!(
            case.accepts(&grammar, &format!("Hm.</think>\n\n{text}")),
            "{text}"
        );
        assert!(!case.accepts(&grammar, call), "{text}");
    }
}

#[test]
fn schemas_of_tools_are_kept_to_where_they_can_be() {
    let [case, _] = Case::both(Format::Hermes);
    let schema = json!({ "type": "object", "properties": { "a": { "type": "array", "uniqueItems": true }, "b": { "$ref": "#/$defs/n" } }, "required": ["a"], "$defs": { "n": { "type": "integer" } } });
    let tool = |strict| Tool {
        name: "f".into(),
        parameters: Some(schema.clone()),
        strict,
    };
    let ask = |tools: &[Tool], choice: &ToolChoice| {
        let answering = Answering {
            style: &case.style,
            prompt: "",
            tools,
            choice,
            parallel: false,
            form: None,
        };
        case.constrainer.answer(&answering)
    };
    let error = ask(&[tool(true)], &ToolChoice::Auto).unwrap_err();
    insta::assert_snapshot!(error);
    let grammar = ask(&[tool(false)], &ToolChoice::Required).unwrap().unwrap();
    let call = |arguments: &str| {
        format!("<tool_call>{{\"name\": \"f\", \"arguments\": {arguments}}}</tool_call>")
    };
    assert!(case.accepts(&grammar, &call("{\"a\": [1, 1], \"b\": 2}")));
    assert!(!case.accepts(&grammar, &call("{\"a\": 1}")));
    assert!(!case.accepts(&grammar, &call("{\"a\": [], \"b\": \"2\"}")));
    let named = ToolChoice::Named("g".into());
    assert!(matches!(
        ask(&[tool(false)], &named),
        Err(ConstraintError::NoTool { .. })
    ));
    assert!(matches!(
        ask(&[], &ToolChoice::Required),
        Err(ConstraintError::NoTool { .. })
    ));
    assert!(matches!(ask(&[], &ToolChoice::Auto), Ok(None)));
}
