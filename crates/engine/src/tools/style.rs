//! In which form a model writes calls and reasoning, by its template and vocabulary.

use crate::reasoning::Marks;
use crate::thinking::Thinking;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::{Encode, TokenKind, Vocabulary};
use serde_json::Value;

/// How a model writes its calls of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Hermes, Qwen 2.5 and 3.
    Hermes,
    /// `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>`:
    /// Qwen3-Coder, Qwen 3.5.
    QwenXml,
    /// `<tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value></tool_call>`: GLM 4.5.
    Glm,
    /// `{"name": ..., "parameters": {...}}` alone, or behind `<|python_tag|>`: Llama 3.
    Llama,
    /// `[TOOL_CALLS][{"name": ..., "arguments": {...}}]`: Mistral up to 2407.
    MistralList,
    /// `[TOOL_CALLS]NAME[ARGS]{...}`: Mistral since then.
    MistralArgs,
    /// `<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME` and a block of JSON: DeepSeek V3, R1.
    DeepSeek,
    /// `<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{...}<｜tool▁call▁end｜>`: DeepSeek V3.1.
    DeepSeek31,
    /// Channels and recipients: gpt-oss.
    Harmony,
    /// `<|tool_call>call:NAME{key:value}<tool_call|>`: Gemma 4.
    Gemma4,
    /// `<start_function_call>call:NAME{key:value}<end_function_call>`: FunctionGemma.
    FunctionGemma,
    /// `<|tool_call|>[{"name": ..., "arguments": {...}}]`: Granite 3, Phi-4-mini.
    PipeList,
    /// `<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{...}`: Kimi K2.
    Kimi,
    /// `<|tool_call_start|>[NAME(key=value)]<|tool_call_end|>`: LFM2.
    Lfm,
}

/// The marks of a format.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallMarks {
    /// Around all calls of an answer, where there are such marks.
    pub section: Option<(&'static str, &'static str)>,
    /// At which a call, or a list of calls, begins; the first is the usual one.
    pub open: &'static [&'static str],
    /// At which it ends, where there is such a mark.
    pub close: Option<&'static str>,
    /// Between the parts of a call.
    pub between: &'static [&'static str],
}

const fn marks(open: &'static [&'static str], close: Option<&'static str>) -> CallMarks {
    CallMarks {
        section: None,
        open,
        close,
        between: &[],
    }
}

impl Format {
    /// The format that a template asks for.
    fn detect(template: &str, vocabulary: &Vocabulary) -> Option<Self> {
        let says = |text: &str| template.contains(text);
        let tests: &[(bool, Self)] = &[
            (says("<|channel|>") && says("<|message|>"), Self::Harmony),
            (says("<|tool_call>"), Self::Gemma4),
            (says("<start_function_call>"), Self::FunctionGemma),
            (
                says("<｜tool▁call▁begin｜>") && says("```json"),
                Self::DeepSeek,
            ),
            (says("<｜tool▁call▁begin｜>"), Self::DeepSeek31),
            (says("<|tool_call_begin|>"), Self::Kimi),
            (says("<|tool_call_start|>"), Self::Lfm),
            (says("<function="), Self::QwenXml),
            (says("<tool_call>") && says("<arg_key>"), Self::Glm),
            (says("<tool_call>"), Self::Hermes),
            (says("[TOOL_CALLS]") && says("[ARGS]"), Self::MistralArgs),
            (says("[TOOL_CALLS]"), Self::MistralList),
            (says("<|tool_call|>"), Self::PipeList),
            (
                says("tools") && (says("<|python_tag|>") || says("ipython")),
                Self::Llama,
            ),
            (
                says("tools") && vocabulary.token_id("<|tool_call_start|>").is_some(),
                Self::Lfm,
            ),
        ];
        let found = tests.iter().find(|(is, _)| *is);
        found.map(|(_, format)| *format)
    }

    pub(crate) fn marks(self) -> CallMarks {
        const HERMES: Option<&str> = Some("</tool_call>");
        const DEEPSEEK: CallMarks = CallMarks {
            section: Some(("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")),
            open: &["<｜tool▁call▁begin｜>"],
            close: Some("<｜tool▁call▁end｜>"),
            between: &["<｜tool▁sep｜>"],
        };
        match self {
            Self::Hermes | Self::Glm => marks(&["<tool_call>"], HERMES),
            Self::QwenXml => marks(&["<tool_call>", "<function="], HERMES),
            Self::Llama => marks(&["<|python_tag|>"], None),
            Self::MistralList | Self::MistralArgs => CallMarks {
                between: &["[ARGS]", "[CALL_ID]"],
                ..marks(&["[TOOL_CALLS]"], None)
            },
            Self::DeepSeek | Self::DeepSeek31 => DEEPSEEK,
            Self::Harmony => CallMarks {
                between: &["<|channel|>", "<|message|>", "<|constrain|>", "<|end|>"],
                ..marks(&["<|start|>"], None)
            },
            Self::Gemma4 => CallMarks {
                between: &["<|\"|>"],
                ..marks(&["<|tool_call>"], Some("<tool_call|>"))
            },
            Self::FunctionGemma => CallMarks {
                between: &["<escape>"],
                ..marks(&["<start_function_call>"], Some("<end_function_call>"))
            },
            Self::PipeList => marks(&["<|tool_call|>"], Some("<|/tool_call|>")),
            Self::Kimi => CallMarks {
                section: Some(("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>")),
                open: &["<|tool_call_begin|>"],
                close: Some("<|tool_call_end|>"),
                between: &["<|tool_call_argument_begin|>"],
            },
            Self::Lfm => marks(&["<|tool_call_start|>"], Some("<|tool_call_end|>")),
        }
    }
}

/// The form of a model's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Of calls; `None`: the template knows no tools.
    pub calls: Option<Format>,
    /// Of reasoning.
    pub reasoning: Marks,
    /// Whether the template itself speaks of these marks.
    pub reasons: bool,
    /// Whether the template shows the model its tools. Where it knows calls and shows no tools, they
    /// must be told in words: see [`Style::instructions`].
    pub shows_tools: bool,
}

impl Style {
    /// The style that a chat template asks for.
    pub fn detect(template: &str, vocabulary: &Vocabulary) -> Self {
        let calls = Format::detect(template, vocabulary);
        let reasoning = match calls {
            Some(Format::Harmony) => Some(Marks::HARMONY),
            _ => Marks::detect(template),
        };
        Self {
            calls,
            reasoning: reasoning.unwrap_or(Marks::THINK),
            reasons: reasoning.is_some(),
            shows_tools: template.contains("tools"),
        }
    }

    /// The control tokens that stand for marks of this style: a request must show them in its text
    /// ([`crate::Request::shown`]), so that a [`super::Reader`] finds them.
    pub fn shown(&self, vocabulary: &Vocabulary) -> Vec<TokenId> {
        let calls = self.calls.map(|format| {
            let marks = format.marks();
            let section = marks.section.into_iter().flat_map(|(a, b)| [a, b]);
            let call = marks.open.iter().chain(marks.between).copied();
            section.chain(call).chain(marks.close).collect::<Vec<_>>()
        });
        let all = calls.unwrap_or_default();
        let all = all.into_iter().chain(self.reasoning.texts());
        let tokens = all.filter_map(|mark| vocabulary.token_id(mark));
        let is_control = |t: &TokenId| {
            vocabulary.kind(*t) == Some(TokenKind::Control) && !vocabulary.is_end_of_generation(*t)
        };
        tokens.filter(is_control).collect()
    }

    /// What is to stand in the system message where the template does not show tools itself; `tools` are
    /// the function objects, with name, description and parameters.
    pub fn instructions(&self, tools: &[Value]) -> Option<String> {
        if self.calls.is_none() || self.shows_tools || tools.is_empty() {
            return None;
        }
        let mut text = String::from("## Tools\nYou have access to the following tools:\n");
        for tool in tools {
            let function = tool.get("function").unwrap_or(tool);
            let word = |name| {
                function
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let object = Value::from_iter([("type", "object")]);
            let parameters = function.get("parameters").unwrap_or(&object);
            text.push_str(&format!(
                "\n### {}\nDescription: {}\nParameters: {parameters}\n",
                word("name"),
                word("description")
            ));
        }
        text.push_str(
            "\nCall a tool where it helps, with arguments that are valid by its parameters.",
        );
        Some(text)
    }

    /// Whether an answer to `prompt` may begin with reasoning.
    pub fn may_think(&self, vocabulary: &Vocabulary, prompt: &str) -> bool {
        let marks = self.reasoning;
        let thinks = self.reasons || vocabulary.token_id(marks.open).is_some();
        marks.opened_by(prompt) || thinks && !prompt.trim_end().ends_with(marks.close)
    }

    /// A bound on the reasoning of an answer to `prompt`: after `budget` tokens its closing mark is
    /// forced.
    pub fn thinking(&self, vocabulary: &Vocabulary, prompt: &str, budget: u32) -> Thinking {
        let close = match self.calls {
            Some(Format::Harmony) => {
                "<|end|><|start|>assistant<|channel|>final<|message|>".to_owned()
            }
            _ => format!("\n{}\n\n", self.reasoning.close),
        };
        let encode = Encode {
            parse_special: true,
            ..Encode::default()
        };
        Thinking {
            marks: self.reasoning,
            opened: self.reasoning.opened_by(prompt),
            budget,
            close: vocabulary.encode(&close, encode),
        }
    }
}
