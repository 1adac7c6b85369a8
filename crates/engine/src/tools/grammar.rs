//! The grammar of an answer that may think, speak and call tools.
//!
//! Free text goes on until the mark at which a call begins; from there on nothing may come but a call
//! of a tool that there is, with arguments that its schema validates. A call that must come begins at
//! once, behind the reasoning.

use super::lark::Lark;
use super::{Format, Style, Tool, ToolChoice};
use crate::constrain::{Constrainer, Constraint, ConstraintError, Grammar};

/// What an answer may be.
#[derive(Debug, Clone, Copy)]
pub struct Answering<'a> {
    /// How the model writes.
    pub style: &'a Style,
    /// What it answers, which may have opened the reasoning.
    pub prompt: &'a str,
    /// Tools that may be called.
    pub tools: &'a [Tool],
    /// Whether they are.
    pub choice: &'a ToolChoice,
    /// Whether several may be, in one answer.
    pub parallel: bool,
    /// What the text must be, where no tool is called.
    pub form: Option<&'a Constraint>,
}

impl Constrainer {
    /// The grammar of an answer; `None`: it may be anything.
    ///
    /// # Errors
    /// [`ConstraintError`]: as [`Self::compile`]; a schema of a tool that must be kept to cannot be;
    /// there is no tool of the name, or the model's template knows no calls.
    pub fn answer(&self, answering: &Answering<'_>) -> Result<Option<Grammar>, ConstraintError> {
        let Answering { tools, choice, .. } = *answering;
        let calls = !tools.is_empty() && *choice != ToolChoice::None;
        let must = matches!(choice, ToolChoice::Required | ToolChoice::Named(_));
        if must && tools.is_empty() {
            return Err(ConstraintError::NoTool {
                name: String::new(),
            });
        }
        let chosen: Vec<&Tool> = match choice {
            _ if !calls => Vec::new(),
            ToolChoice::Named(name) => tools.iter().filter(|tool| tool.name == *name).collect(),
            _ => tools.iter().collect(),
        };
        if let ToolChoice::Named(name) = choice
            && chosen.is_empty()
        {
            return Err(ConstraintError::NoTool { name: name.clone() });
        }
        if chosen.is_empty() && answering.form.is_none() {
            return Ok(None);
        }
        if calls && answering.style.calls.is_none() {
            return Err(ConstraintError::NoCalls);
        }
        let write = |lenient| Writer::new(self, answering, &chosen, must, lenient)?.write();
        let strict = chosen.iter().all(|tool| tool.strict);
        let made = write(false).and_then(|lark| self.trusted(lark));
        match made {
            // What cannot be kept to is left out where nobody insists on it.
            Err(ConstraintError::Tool { .. } | ConstraintError::Grammar { .. })
                if calls && !strict =>
            {
                let made = write(true).and_then(|lark| self.trusted(lark));
                made.map(Some)
            }
            made => made.map(Some),
        }
    }
}

struct Writer<'a> {
    answering: &'a Answering<'a>,
    tools: &'a [&'a Tool],
    must: bool,
    lark: Lark<'a>,
}

impl<'a> Writer<'a> {
    fn new(
        constrainer: &'a Constrainer,
        answering: &'a Answering<'a>,
        tools: &'a [&'a Tool],
        must: bool,
        lenient: bool,
    ) -> Result<Self, ConstraintError> {
        let mut lark = Lark::new(constrainer.vocabulary());
        for (i, tool) in tools.iter().enumerate() {
            lark.tool(i, tool, lenient)?;
        }
        Ok(Self {
            answering,
            tools,
            must,
            lark,
        })
    }

    fn write(mut self) -> Result<String, ConstraintError> {
        if self.answering.style.calls == Some(Format::Harmony) {
            return self.harmony();
        }
        let body = match self.answering.form {
            Some(form) => {
                let form = self.lark.form(form)?;
                self.body(&form)
            }
            None => self.body("TEXT"),
        };
        self.lark.rule("body", &body);
        let start = self.reasoning();
        self.lark.rule("start", &start);
        Ok(self.lark.finish())
    }

    /// The start of an answer: what is thought, and the body.
    fn reasoning(&mut self) -> String {
        let style = self.answering.style;
        let marks = style.reasoning;
        let prompt = self.answering.prompt;
        if !style.may_think(self.lark.vocabulary(), prompt) {
            return "body".to_owned();
        }
        if marks.opened_by(prompt) {
            let end = self.lark.text_until(marks.close);
            return format!("{end} ws body");
        }
        let open = self.lark.mark(marks.open);
        let end = self.lark.text_until(marks.close);
        format!("(ws {open} {end} ws)? body")
    }

    /// What follows the reasoning; `text` is what may be said in place of calls.
    fn body(&mut self, text: &str) -> String {
        let Some(format) = self
            .answering
            .style
            .calls
            .filter(|_| !self.tools.is_empty())
        else {
            return text.to_owned();
        };
        let (call, list) = self.call(format);
        self.lark.rule("call", &call);
        let repeat = self.answering.parallel && !list;
        if format == Format::Llama {
            let tag = self.lark.mark("<|python_tag|>");
            let more = if repeat { "(\";\" ws call)*" } else { "" };
            let calls = format!("({tag})? call {more}");
            return match (self.must, text) {
                (true, _) => format!("ws {calls}"),
                // Text that begins as a call would be taken for one.
                (false, "TEXT") => {
                    self.lark.rule("PLAIN", "/([^{\\s](?s:.*))?/");
                    format!("PLAIN | {calls}")
                }
                (false, form) => format!("{form} | {tag} call {more}"),
            };
        }
        let marks = format.marks();
        let trigger = marks.section.map_or(marks.open[0], |(open, _)| open);
        let mark = self.lark.mark(trigger);
        let more = if repeat {
            format!("(ws {mark} call)* ws")
        } else {
            "ws".to_owned()
        };
        match (self.must, text) {
            (true, _) => format!("ws {mark} call {more}"),
            (false, "TEXT") => {
                let head = self.lark.text_until(trigger);
                format!("TEXT | {head} call {more}")
            }
            (false, form) => format!("{form} | ws {mark} call {more}"),
        }
    }

    /// What follows the mark at which calls begin, and whether that is several calls already.
    fn call(&mut self, format: Format) -> (String, bool) {
        let marks = format.marks();
        let close = marks
            .close
            .map(|close| self.lark.mark(close))
            .unwrap_or_default();
        let between = marks.between.first().map(|mark| self.lark.mark(mark));
        let between = between.unwrap_or_default();
        let n = self.tools.len();
        match format {
            Format::Hermes => {
                let any = self.lark.objects("arguments", None, false);
                (format!("ws {any} ws {close}"), false)
            }
            Format::Llama => (self.lark.objects("parameters", None, false), false),
            Format::MistralList => (
                self.lark
                    .objects("arguments", Some(self.answering.parallel), true),
                true,
            ),
            Format::PipeList => {
                let any = self
                    .lark
                    .objects("arguments", Some(self.answering.parallel), false);
                (format!("ws {any} ({close})?"), true)
            }
            Format::MistralArgs => {
                let one = |lark: &mut Lark<'_>, i| {
                    format!("{} {between} {}", lark.name(i), lark.arguments(i))
                };
                (self.each(n, one), false)
            }
            Format::QwenXml => {
                let one = |lark: &mut Lark<'_>, i| lark.function(i);
                (format!("ws ({}) ws {close}", self.each(n, one)), false)
            }
            Format::Glm => {
                let one = |lark: &mut Lark<'_>, i| lark.arg_keys(i);
                (format!("({}) {close}", self.each(n, one)), false)
            }
            Format::DeepSeek | Format::DeepSeek31 | Format::Kimi => {
                let one = |lark: &mut Lark<'_>, i: usize| {
                    let (name, arguments) = (lark.name(i), lark.arguments(i));
                    match format {
                        Format::DeepSeek => format!(
                            "\"function\" {between} {name} \"\\n```json\\n\" {arguments} \"\\n```\""
                        ),
                        Format::Kimi => format!(
                            "\"functions.\" {name} \":\" /[0-9]{{1,3}}/ {between} {arguments}"
                        ),
                        _ => format!("{name} {between} {arguments}"),
                    }
                };
                let any = self.each(n, one);
                let open = self.lark.mark(marks.open[0]);
                let end = marks.section.map_or("", |(_, end)| end);
                let end = self.lark.mark(end);
                self.lark
                    .rule("section_call", &format!("{open} ({any}) {close}"));
                let more = if self.answering.parallel {
                    "(ws section_call)*"
                } else {
                    ""
                };
                (format!("ws section_call {more} ws {end}"), true)
            }
            Format::Gemma4 | Format::FunctionGemma => {
                let quote = marks.between[0];
                let one = |lark: &mut Lark<'_>, i: usize| {
                    format!("\"call:\" {} {}", lark.name(i), lark.gemma(i, quote))
                };
                (format!("({}) {close}", self.each(n, one)), false)
            }
            Format::Lfm => {
                let one =
                    |lark: &mut Lark<'_>, i: usize| format!("{} {}", lark.name(i), lark.python(i));
                let any = self.each(n, one);
                self.lark.rule("one_call", &any);
                let more = if self.answering.parallel {
                    "(\",\" ws one_call)*"
                } else {
                    ""
                };
                (format!("\"[\" one_call {more} \"]\" {close}"), true)
            }
            Format::Harmony => (String::new(), false), // written by itself
        }
    }

    fn each(&mut self, n: usize, mut one: impl FnMut(&mut Lark<'a>, usize) -> String) -> String {
        let all: Vec<String> = (0..n).map(|i| one(&mut self.lark, i)).collect();
        all.join(" | ")
    }

    /// Messages: thoughts, words before a call, then the answer or a call.
    fn harmony(mut self) -> Result<String, ConstraintError> {
        let form = match self.answering.form {
            Some(form) => self.lark.form(form)?,
            None => "TEXT".to_owned(),
        };
        let [channel, message, start, constrain] =
            ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"]
                .map(|mark| self.lark.mark(mark));
        let told = self.lark.text_until("<|end|>");
        for (rule, name) in [("thought", "analysis"), ("preamble", "commentary")] {
            let body = format!("{channel} \"{name}\" {message} {told} {start} \"assistant\"");
            self.lark.rule(rule, &body);
        }
        self.lark.rule(
            "final",
            &format!("{channel} \"final\" (\" \" {constrain} \"json\")? {message} {form}"),
        );
        let json = format!("(\" json\" | \" \"? {constrain} \"json\")?");
        let one = |lark: &mut Lark<'_>, i: usize| {
            let (name, arguments) = (lark.name(i), lark.arguments(i));
            let to = format!("\"to=functions.\" {name}");
            format!(
                "({channel} \"commentary \" {to} {json} | \" \" {to} {channel} \"commentary\" {json}) {message} {arguments}"
            )
        };
        let calls = self.each(self.tools.len(), one);
        let last = match (self.tools.is_empty(), self.must) {
            (true, _) => "final",
            (false, true) => "call",
            (false, false) => "final | call",
        };
        if !self.tools.is_empty() {
            self.lark.rule("call", &calls);
        }
        let before = if self.tools.is_empty() {
            "thought*"
        } else {
            "(thought | preamble)*"
        };
        self.lark.rule("start", &format!("{before} ({last})"));
        Ok(self.lark.finish())
    }
}
