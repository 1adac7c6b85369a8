mod grammar;

use super::*;
use crate::reasoning::Marks;
use proptest::prelude::*;
use serde_json::json;

pub(super) fn style(format: Format) -> Style {
    let reasoning = match format {
        Format::Gemma4 => Marks::GEMMA,
        _ => Marks::THINK,
    };
    Style {
        calls: Some(format),
        reasoning,
        reasons: true,
        shows_tools: true,
    }
}

pub(super) fn tools() -> Vec<Tool> {
    let parameters = json!({
        "type": "object",
        "properties": {
            "city": { "type": "string" }, "days": { "type": "integer" },
            "tags": { "type": "array" }, "when": { "type": ["string", "null"] },
        },
    });
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        parameters: Some(parameters.clone()),
        strict: true,
    };
    vec![tool("weather"), tool("news")]
}

/// What a reader of the pieces has in the end.
#[derive(Debug, Default, PartialEq, Clone)]
struct Heard {
    reasoning: String,
    text: String,
    calls: Vec<(String, String, bool)>,
}

fn hear(format: Format, text: &str, cuts: &[usize]) -> Heard {
    let mut reader = Reader::new(&style(format), "", &tools());
    let chars: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    let (mut at, mut cuts) = (0, cuts.iter().cycle());
    while at < chars.len() {
        let end = (at + cuts.next().unwrap_or(&1)).min(chars.len());
        pieces.extend(reader.push(&chars[at..end].iter().collect::<String>()));
        at = end;
    }
    pieces.extend(reader.finish());
    let mut heard = Heard::default();
    let mut open = false;
    for piece in pieces {
        match piece {
            Piece::Reasoning(text) => heard.reasoning += &text,
            Piece::Text(text) => heard.text += &text,
            Piece::CallBegin { name } => {
                assert!(!open, "a call begins inside another");
                open = true;
                heard.calls.push((name, String::new(), false));
            }
            Piece::CallArguments(text) => {
                assert!(open, "arguments outside of a call");
                heard.calls.last_mut().unwrap().1 += &text;
            }
            Piece::CallEnd { whole } => {
                assert!(open, "an end without a call");
                open = false;
                heard.calls.last_mut().unwrap().2 = whole;
            }
        }
    }
    assert!(!open, "a call has no end");
    heard
}

/// The same however it is cut.
fn all_cuts(format: Format, text: &str) -> Heard {
    let whole = hear(format, text, &[10_000]);
    for size in 1..23 {
        assert_eq!(hear(format, text, &[size]), whole, "{text:?} by {size}");
    }
    whole
}

fn check(format: Format, text: &str, said: &str, calls: &[(&str, Value)]) {
    let heard = all_cuts(format, text);
    assert_eq!(heard.text, said, "{text:?}");
    let got: Vec<(String, Value)> = heard
        .calls
        .iter()
        .map(|(name, arguments, whole)| {
            assert!(whole, "{text:?}: {arguments}");
            (
                name.clone(),
                serde_json::from_str(arguments).unwrap_or_else(|e| panic!("{arguments}: {e}")),
            )
        })
        .collect();
    let want: Vec<(String, Value)> = calls
        .iter()
        .map(|(n, a)| ((*n).to_owned(), a.clone()))
        .collect();
    assert_eq!(got, want, "{text:?}");
}

/// One call of each format, and two.
pub(super) fn samples() -> Vec<(Format, &'static str, &'static str)> {
    use Format::*;
    vec![
        (
            Hermes,
            "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2}}\n</tool_call>",
            "\n<tool_call>\n{\"name\": \"news\", \"arguments\": {}}\n</tool_call>",
        ),
        (
            QwenXml,
            "<tool_call>\n<function=weather>\n<parameter=city>\nUlm\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>",
            "\n<tool_call>\n<function=news>\n</function>\n</tool_call>",
        ),
        (
            Glm,
            "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Ulm</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>",
            "\n<tool_call>news\n</tool_call>",
        ),
        (
            Llama,
            "{\"name\": \"weather\", \"parameters\": {\"city\": \"Ulm\", \"days\": 2}}",
            "; {\"name\": \"news\", \"parameters\": {}}",
        ),
        (
            MistralList,
            "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2}, \"id\": \"abcdefghi\"}",
            ", {\"name\": \"news\", \"arguments\": {}}]",
        ),
        (
            MistralArgs,
            "[TOOL_CALLS]weather[ARGS]{\"city\": \"Ulm\", \"days\": 2}",
            "[TOOL_CALLS]news[ARGS]{}",
        ),
        (
            DeepSeek,
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\": \"Ulm\", \"days\": 2}\n```<｜tool▁call▁end｜>",
            "\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>news\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ),
        (
            DeepSeek31,
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"city\": \"Ulm\", \"days\": 2}<｜tool▁call▁end｜>",
            "<｜tool▁call▁begin｜>news<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ),
        (
            Gemma4,
            "<|tool_call>call:weather{city:<|\"|>Ulm<|\"|>,days:2}<tool_call|>",
            "<|tool_call>call:news{}<tool_call|>",
        ),
        (
            FunctionGemma,
            "<start_function_call>call:weather{city:<escape>Ulm<escape>,days:2}<end_function_call>",
            "<start_function_call>call:news{}<end_function_call>",
        ),
        (
            PipeList,
            "<|tool_call|>[{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2}}",
            ", {\"name\": \"news\", \"arguments\": {}}]",
        ),
        (
            Kimi,
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{\"city\": \"Ulm\", \"days\": 2}<|tool_call_end|>",
            "<|tool_call_begin|>functions.news:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
        ),
        (
            Lfm,
            "<|tool_call_start|>[weather(city=\"Ulm\", days=2)",
            ", news()]<|tool_call_end|>",
        ),
    ]
}

#[test]
fn calls_of_every_format() {
    let ulm = json!({ "city": "Ulm", "days": 2 });
    for (format, one, two) in samples() {
        let both = [("weather", ulm.clone()), ("news", json!({}))];
        check(format, &format!("{one}{two}"), "", &both);
        let before = if format == Format::Llama {
            ""
        } else {
            "Let me see."
        };
        check(format, &format!("{before}\n{one}{two}\n"), before, &both);
        if !matches!(format, Format::MistralList | Format::PipeList | Format::Lfm) {
            check(format, one, "", &both[..1]);
        }
    }
}

#[test]
fn thoughts_come_before_calls() {
    for (format, one, two) in samples() {
        let (open, close) = match format {
            Format::Gemma4 => ("<|channel>thought\n", "<channel|>"),
            _ => ("<think>", "</think>\n\n"),
        };
        let heard = all_cuts(format, &format!("{open}Hm?{close}{one}{two}"));
        assert_eq!(
            (heard.reasoning.as_str(), heard.text.as_str()),
            ("Hm?", ""),
            "{format:?}"
        );
        assert_eq!(heard.calls.len(), 2, "{format:?}");
    }
}

#[test]
fn the_harmony_format() {
    let call = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"Ulm\"}<|call|>";
    let heard = all_cuts(Format::Harmony, call);
    assert_eq!((heard.reasoning.as_str(), heard.text.as_str()), ("Hm.", ""));
    assert_eq!(
        heard.calls,
        [("weather".into(), "{\"city\": \"Ulm\"}".into(), true)]
    );
    let other = " to=functions.weather<|channel|>commentary json<|message|>{\"city\": \"Ulm\"}";
    check(
        Format::Harmony,
        other,
        "",
        &[("weather", json!({ "city": "Ulm" }))],
    );
    let said = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes < no.<|return|>";
    let heard = all_cuts(Format::Harmony, said);
    assert_eq!(
        (heard.reasoning.as_str(), heard.text.as_str()),
        ("Hm.", "Yes < no.")
    );
    check(Format::Harmony, "Plain.", "Plain.", &[]);
    check(
        Format::Harmony,
        "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.news <|constrain|>json<|message|>{}",
        "I look.",
        &[("news", json!({}))],
    );
}

#[test]
fn odd_but_meant() {
    use Format::*;
    let weather = |arguments| vec![("weather", arguments)];
    check(
        Hermes,
        "<tool_call>{\"name\":\"weather\"}</tool_call>",
        "",
        &weather(json!({})),
    );
    check(
        Hermes,
        "<tool_call>{\"arguments\":{\"days\":1},\"name\":\"weather\"}</tool_call>",
        "",
        &weather(json!({"days": 1})),
    );
    check(
        Hermes,
        "<tool_call>{\"name\":\"weather\",\"arguments\":\"{\\\"days\\\":1}\"}</tool_call>",
        "",
        &weather(json!({"days": 1})),
    );
    check(
        Hermes,
        "<tool_call>{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"parameters\":null}}</tool_call>",
        "",
        &weather(json!({})),
    );
    check(
        Hermes,
        "<tool_call>{\"name\":\"weather\",\"arguments\":{\"city\":\"a\nb\"}}",
        "",
        &weather(json!({"city": "a\nb"})),
    );
    check(
        Hermes,
        "<tool_call>\n{\"name\":\"weather\"}\n{\"name\":\"weather\"}\n</tool_call> ok",
        "ok",
        &[("weather", json!({})), ("weather", json!({}))],
    );
    check(
        QwenXml,
        "<function=weather>\n<parameter=city>\n a\n\"b\"\n\n</parameter>\n<parameter=tags>\n[1, \"x\"]\n</parameter>\n<parameter=when>\nnull\n</parameter>\n</function>",
        "",
        &weather(json!({"city": " a\n\"b\"\n", "tags": [1, "x"], "when": null})),
    );
    check(
        QwenXml,
        "<tool_call>\n<function=weather>\n<parameter=city>\nUlm\n<parameter=days>\n3\n</function>\n</tool_call>",
        "",
        &weather(json!({"city": "Ulm", "days": 3})),
    );
    check(
        Llama,
        "<|python_tag|>weather.call(city=\"Ulm\", days=3)",
        "",
        &weather(json!({"city": "Ulm", "days": 3})),
    );
    check(
        Llama,
        "<|python_tag|>{\"name\": \"weather\", \"parameters\": {}}",
        "",
        &weather(json!({})),
    );
    check(
        MistralArgs,
        "[TOOL_CALLS]weather[CALL_ID]abc[ARGS]{\"days\": 1}",
        "",
        &weather(json!({"days": 1})),
    );
    check(
        MistralArgs,
        "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {}}]",
        "",
        &weather(json!({})),
    );
    check(
        Gemma4,
        "<|tool_call>call:weather{city:<|\"|>a}\n\"b\\<|\"|>,tags:[<|\"|>x<|\"|>,{<|\"|>k<|\"|>:null}, -1.5],when:true}<tool_call|>",
        "",
        &weather(json!({"city": "a}\n\"b\\", "tags": ["x", {"k": null}, -1.5], "when": true})),
    );
    check(
        Lfm,
        "<|tool_call_start|>[weather(city='it\\'s \"x\"', tags=[1, {'a': None}], when=True)]<|tool_call_end|>Done.",
        "Done.",
        &weather(json!({"city": "it's \"x\"", "tags": [1, {"a": null}], "when": true})),
    );
    check(
        PipeList,
        "<|tool_call|>[{\"name\": \"weather\", \"arguments\": {}}]<|/tool_call|>",
        "",
        &weather(json!({})),
    );
}

#[test]
fn what_is_no_call_is_text() {
    use Format::*;
    for (format, text) in [
        (Hermes, "Hi < there <tool\n"),
        (Hermes, "<tool_call>{\"name\": 1}</tool_call> x"),
        (Hermes, "a <tool_call>{\"na"),
        (Hermes, "a <tool_call> b"),
        (Hermes, "a <tool_call></tool_call> b"),
        (QwenXml, "a <function=> b"),
        (QwenXml, "a <tool_call> <functio"),
        (Glm, "a <tool_call> b c</tool_call>"),
        (Llama, "{\"a\": 1} is JSON"),
        (Llama, "{\"a\": [1, 2"),
        (MistralArgs, "a [TOOL_CALLS] b c {}"),
        (Gemma4, "a <|tool_call>cal:x{}<tool_call|>"),
        (Lfm, "a <|tool_call_start|>[b c]<|tool_call_end|>"),
        (Kimi, "a <|tool_call_begin|>b{}"),
        (DeepSeek, "a <｜tool▁calls▁begin｜> b"),
    ] {
        let heard = all_cuts(format, text);
        assert_eq!(
            (heard.text.as_str(), heard.calls.len()),
            (text, 0),
            "{format:?}"
        );
    }
}

#[test]
fn a_call_that_goes_wrong_ends_and_is_given_back() {
    let heard = all_cuts(
        Format::Hermes,
        "<tool_call>{\"name\": \"weather\", \"arguments\": {\"a\": x}}</tool_call>",
    );
    assert_eq!(heard.calls, [("weather".into(), "{\"a\": ".into(), false)]);
    assert_eq!(
        heard.text,
        "<tool_call>{\"name\": \"weather\", \"arguments\": {\"a\": x}}</tool_call>"
    );
    let cut = all_cuts(
        Format::Hermes,
        "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"U",
    );
    assert_eq!(
        cut.calls,
        [("weather".into(), "{\"city\": \"U".into(), false)]
    );
    assert_eq!(cut.text, "");
}

#[test]
fn code_is_a_call_of_the_tool_that_runs_it() {
    let tool = Tool {
        name: "python".into(),
        parameters: None,
        strict: false,
    };
    for size in 1..9 {
        let mut reader = Reader::new(&style(Format::Llama), "", std::slice::from_ref(&tool));
        let chars: Vec<char> = "<|python_tag|>print(\"a\")\nx = 1".chars().collect();
        let mut pieces: Vec<Piece> = chars
            .chunks(size)
            .flat_map(|c| reader.push(&c.iter().collect::<String>()))
            .collect();
        pieces.extend(reader.finish());
        let arguments: String = pieces
            .iter()
            .filter_map(|p| match p {
                Piece::CallArguments(t) => Some(t.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(
            serde_json::from_str::<Value>(&arguments).unwrap(),
            json!({ "code": "print(\"a\")\nx = 1" })
        );
    }
}

fn formats() -> impl Strategy<Value = Format> {
    let mut all: Vec<Format> = samples().iter().map(|s| s.0).collect();
    all.push(Format::Harmony);
    prop::sample::select(all)
}

/// Texts of marks and what may stand between them.
fn soup() -> impl Strategy<Value = String> {
    let mut words: Vec<String> = samples()
        .iter()
        .flat_map(|(format, one, two)| {
            let marks = format.marks();
            let all = marks
                .open
                .iter()
                .chain(marks.between)
                .copied()
                .chain(marks.close);
            all.chain([*one, *two])
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let more = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "name",
        "weather",
        "(",
        ")",
        "=",
        "\n",
        " ",
        "é",
        "<",
        "<think>",
        "</think>",
        "{\"name\": \"weather\"",
        "\"arguments\": {}",
        "<|end|>",
        "<|call|>",
        "<|channel|>analysis",
        "<|message|>",
        " to=functions.news",
        "</function>",
        "<parameter=city>",
        "</parameter>",
        "call:weather{",
    ];
    words.extend(more.map(str::to_owned));
    prop::collection::vec(prop::sample::select(words), 0..12).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn the_cut_does_not_matter(format in formats(), text in soup(), cuts in prop::collection::vec(1_usize..9, 1..6)) {
        let (cut, whole) = (hear(format, &text, &cuts), hear(format, &text, &[10_000]));
        prop_assert_eq!(&cut, &whole);
        for (_, arguments, is_whole) in whole.calls {
            if is_whole {
                prop_assert!(serde_json::from_str::<Value>(&arguments).is_ok_and(|v| v.is_object()), "{}", arguments);
            }
        }
    }
}
