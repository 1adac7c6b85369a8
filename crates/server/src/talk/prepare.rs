//! From what is wanted to what the engine takes.

use super::conversation::{Conversation, Message, ToolChoice};
use super::grammars::constraint;
use super::likeliest::{Allowed, allowed};
use super::names::Names;
use super::picture;
use super::switches::switches;
use super::voice::{nine, nine_characters};
use super::wanted::{Form, Input, Text, Wanted};
use crate::call::Call;
use crate::error::{ApiError, refused_constraint, refused_prompt};
use crate::served::Served;
use ingle_engine::Thinking;
use ingle_engine::constrain::Grammar;
use ingle_engine::tools::{self, Answering, Style, Tool};
use ingle_formats::TokenId;
use ingle_formats::prompt::{Prompt, Prompter};
use ingle_formats::template::{Chat, LocalTime};
use ingle_formats::vocabulary::{Decode, Encode};
use serde_json::{Value, json};
use std::sync::Arc;

/// A request that the engine can take.
#[derive(Debug)]
pub struct Ready {
    /// Who answers.
    pub model: Arc<Served>,
    /// What it continues.
    pub prompts: Vec<Prompt>,
    /// How the model writes an answer to a conversation; none: it continues a text.
    pub style: Option<Style>,
    /// Tools that may be called.
    pub tools: Vec<Tool>,
    /// What an answer must be.
    pub grammar: Option<Grammar>,
    /// How long the model may think.
    pub thinking: Option<Thinking>,
    /// The answers among which the likeliest is to be found.
    pub(super) allowed: Vec<Allowed>,
}

/// Finds the model and makes the prompts. It may take long, and so does not belong where connections
/// are served.
///
/// # Errors
/// 404: there is no such model. 400: a field asks for what this model, or Ingle, does not do; `names`
/// says what the field is called.
pub(crate) fn prepare(call: &Call, wanted: &Wanted, names: &Names) -> Result<Ready, ApiError> {
    if let Input::Chat(conversation) = &wanted.input {
        for message in &conversation.messages {
            picture::refuse(&message.images)?;
        }
    }
    let mut ready = Ready {
        model: call.model_blocking(wanted.model.as_deref())?,
        prompts: Vec::new(),
        style: None,
        tools: Vec::new(),
        grammar: None,
        thinking: None,
        allowed: Vec::new(),
    };
    match &wanted.input {
        Input::Chat(conversation) => {
            let now = LocalTime::from_unix((call.app.config.unix_time)());
            ready.chat(conversation, wanted, names, now)?;
        }
        Input::Texts(texts) => {
            let prompts = texts
                .iter()
                .map(|text| prompt_of(text, &ready.model, names));
            ready.prompts = prompts.collect::<Result<_, _>>()?;
            if let Some(constraint) = constraint(&wanted.form) {
                let grammars = ready.model.grammars.of(&ready.model.prompter);
                let made = grammars.and_then(|grammars| grammars.compile(&constraint));
                ready.grammar = Some(made.map_err(|e| refused_constraint(&e, names))?);
            }
        }
    }
    ready.allowed = allowed(wanted, &ready);
    Ok(ready)
}

impl Ready {
    /// Makes the prompt of a conversation, and says what the answer may be.
    fn chat(
        &mut self,
        conversation: &Conversation,
        wanted: &Wanted,
        names: &Names,
        now: LocalTime,
    ) -> Result<(), ApiError> {
        let prompter = Arc::clone(&self.model.prompter);
        let vocabulary = prompter.vocabulary();
        let style = Style::detect(prompter.template().unwrap_or_default(), vocabulary);
        let switches = switches(&wanted.reasoning, &prompter, &style, names)?;
        let mut chat = template_chat(conversation, &prompter, &style, names)?;
        chat.variables.extend(switches.variables);
        let prompt = prompter.chat(&chat, now);
        let mut prompt = prompt.map_err(|e| refused_prompt(e, names))?;
        put_behind(&conversation.before, &mut prompt, &prompter);
        if let Some(prefill) = &conversation.prefill {
            go_on(&mut prompt, prefill, &prompter);
        }
        if chat.tools.is_some() {
            let tools = conversation.tools.iter().map(|tool| Tool {
                name: tool.name.clone(),
                parameters: tool.parameters.clone(),
                strict: tool.strict,
            });
            self.tools = tools.collect();
        }
        let budget = switches.budget;
        self.thinking = budget.map(|budget| style.thinking(vocabulary, &prompt.text, budget));
        self.grammar = self.grammar_of(conversation, &wanted.form, &style, &prompt.text, names)?;
        self.prompts = vec![prompt];
        self.style = Some(style);
        Ok(())
    }

    /// What the answer to a conversation must be.
    fn grammar_of(
        &self,
        conversation: &Conversation,
        form: &Form,
        style: &Style,
        prompt: &str,
        names: &Names,
    ) -> Result<Option<Grammar>, ApiError> {
        let form = constraint(form);
        let choice = match &conversation.tool_choice {
            ToolChoice::Auto => tools::ToolChoice::Auto,
            ToolChoice::None => tools::ToolChoice::None,
            ToolChoice::Required => tools::ToolChoice::Required,
            ToolChoice::Named(name) => tools::ToolChoice::Named(name.clone()),
        };
        let must = matches!(
            choice,
            tools::ToolChoice::Required | tools::ToolChoice::Named(_)
        );
        if self.tools.is_empty() && !must && form.is_none() {
            return Ok(None);
        }
        let answering = Answering {
            style,
            prompt,
            tools: &self.tools,
            choice: &choice,
            parallel: !conversation.one_call,
            form: form.as_ref(),
        };
        let grammars = self.model.grammars.of(&self.model.prompter);
        let made = grammars.and_then(|grammars| grammars.answer(&answering));
        made.map_err(|e| refused_constraint(&e, names))
    }
}

/// The conversation as this model's template knows it.
fn template_chat(
    conversation: &Conversation,
    prompter: &Prompter,
    style: &Style,
    names: &Names,
) -> Result<Chat, ApiError> {
    let offers = !conversation.tools.is_empty() && conversation.tool_choice != ToolChoice::None;
    if offers && style.calls.is_none() {
        let param = names.tools;
        let message =
            format!("`{param}`: this model's template has no form of calls that is known here");
        return Err(ApiError::unsupported(param, message));
    }
    let developer = prompter.template_mentions("developer");
    let nine = style.calls.is_some_and(nine_characters);
    let messages = conversation.messages.iter();
    let messages = messages.map(|m| match nine {
        true => short_ids(m).shown(developer),
        false => m.shown(developer),
    });
    let tools = conversation.tools.iter().map(|tool| tool.shown.clone());
    let (mut messages, tools): (Vec<Value>, Vec<Value>) = (messages.collect(), tools.collect());
    if let Some(told) = style.instructions(&tools).filter(|_| offers) {
        tell(&mut messages, &told);
    }
    Ok(Chat {
        messages,
        tools: offers.then_some(tools),
        documents: None,
        add_generation_prompt: true,
        variables: conversation.variables.clone(),
    })
}

/// Adds words to the system message, which may have to be made.
fn tell(messages: &mut Vec<Value>, words: &str) {
    let first = messages.first_mut();
    let system = first.filter(|message| message.get("role") == Some(&"system".into()));
    match system.and_then(|message| message.get_mut("content")) {
        Some(Value::String(text)) => *text = format!("{text}\n\n{words}"),
        _ => messages.insert(0, json!({ "role": "system", "content": words })),
    }
}

/// Some templates refuse names of calls that are not nine letters and digits, as another server may have
/// given them.
fn short_ids(message: &Message) -> Message {
    let fits = |id: &str| id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let short = |id: &String| match fits(id) {
        true => id.clone(),
        // FNV-1a: the same name becomes the same.
        false => nine(id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })),
    };
    let mut message = message.clone();
    message.call_id = message.call_id.as_ref().map(short);
    for call in &mut message.calls {
        call.id = short(&call.id);
    }
    message
}

/// Puts a prompt behind tokens of an earlier conversation; there is one beginning token.
fn put_behind(before: &[TokenId], prompt: &mut Prompt, prompter: &Prompter) {
    if before.is_empty() {
        return;
    }
    let again = prompt.tokens.first().copied();
    let again = again.filter(|first| Some(*first) == prompter.vocabulary().bos());
    let rest = prompt.tokens.iter().skip(usize::from(again.is_some()));
    prompt.tokens = before.iter().chain(rest).copied().collect();
}

/// Lets the answer begin with words that are given; none of them becomes a control token.
fn go_on(prompt: &mut Prompt, prefill: &str, prompter: &Prompter) {
    let plain = Encode {
        add_special: false,
        parse_special: false,
    };
    prompt.text.push_str(prefill);
    let more = prompter.vocabulary().encode(prefill, plain);
    prompt.tokens.extend(more);
}

fn prompt_of(text: &Text, model: &Served, names: &Names) -> Result<Prompt, ApiError> {
    let vocabulary = model.prompter.vocabulary();
    Ok(match text {
        Text::Plain(text) => Prompt {
            tokens: model.prompter.text(text),
            text: text.clone(),
        },
        Text::Tokens(tokens) => {
            let decode = Decode {
                special: true,
                start_of_text: true,
                clean_up: false,
            };
            Prompt {
                text: vocabulary.decode(tokens, decode),
                tokens: tokens.clone(),
            }
        }
        Text::Infill(infill) => Prompt {
            tokens: infill.tokens(vocabulary, names.suffix)?,
            text: infill.prefix.clone(),
        },
    })
}
