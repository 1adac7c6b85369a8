//! From what is wanted to what the engine takes.

use super::calls;
use super::conversation::{Conversation, ToolChoice};
use super::names::Names;
use super::wanted::{Form, Input, Reasoning, Text, Wanted};
use crate::call::Call;
use crate::error::ApiError;
use crate::served::Served;
use ingle_formats::TokenId;
use ingle_formats::prompt::{Prompt, Prompter};
use ingle_formats::template::{Chat, LocalTime};
use ingle_formats::vocabulary::{Decode, Encode};
use serde_json::Value;
use std::sync::Arc;

/// A request that the engine can take.
#[derive(Debug)]
pub struct Ready {
    /// Who answers.
    pub model: Arc<Served>,
    /// What it continues.
    pub prompts: Vec<Prompt>,
    /// The answer is that of a conversation, not a text.
    pub chat: bool,
    /// Tools may be called.
    pub calls: bool,
}

/// Finds the model and makes the prompts. It may take long, and so does not belong where connections
/// are served.
///
/// # Errors
/// 404: there is no such model. 400: a field asks for what this model, or Ingle, does not do; `names`
/// says what the field is called.
pub(crate) fn prepare(call: &Call, wanted: &Wanted, names: &Names) -> Result<Ready, ApiError> {
    let model = call.model_blocking(wanted.model.as_deref())?;
    refuse_forms(wanted, names)?;
    let (prompts, chat, calls) = match &wanted.input {
        Input::Chat(conversation) => {
            let now = LocalTime::from_unix((call.app.config.unix_time)());
            let chat = template_chat(conversation, &wanted.reasoning, &model.prompter, names)?;
            let mut prompt = model.prompter.chat(&chat, now)?;
            put_behind(&conversation.before, &mut prompt, &model.prompter);
            if let Some(prefill) = &conversation.prefill {
                go_on(&mut prompt, prefill, &model.prompter);
            }
            (vec![prompt], true, chat.tools.is_some())
        }
        Input::Texts(texts) => {
            let prompts = texts.iter().map(|text| prompt_of(text, &model, names));
            (prompts.collect::<Result<_, _>>()?, false, false)
        }
    };
    Ok(Ready {
        model,
        prompts,
        chat,
        calls,
    })
}

/// What is not done yet.
fn refuse_forms(wanted: &Wanted, names: &Names) -> Result<(), ApiError> {
    if wanted.form != Form::Text {
        let message = format!(
            "`{}`: constrained answers are not supported yet",
            names.form
        );
        return Err(ApiError::unsupported(names.form, message));
    }
    if wanted.reasoning.budget.is_some() {
        let message = format!("`{}`: reasoning cannot be bounded yet", names.budget);
        return Err(ApiError::unsupported(names.budget, message));
    }
    let Input::Chat(conversation) = &wanted.input else {
        return Ok(());
    };
    match &conversation.tool_choice {
        ToolChoice::Auto | ToolChoice::None => {}
        ToolChoice::Required | ToolChoice::Named(_) => {
            let param = names.tool_choice;
            let message = format!("`{param}`: a call cannot be forced yet");
            return Err(ApiError::unsupported(param, message));
        }
    }
    Ok(())
}

/// The conversation as this model's template knows it.
fn template_chat(
    conversation: &Conversation,
    reasoning: &Reasoning,
    prompter: &Prompter,
    names: &Names,
) -> Result<Chat, ApiError> {
    let mentions = |name: &str| prompter.template_mentions(name);
    let offers = !conversation.tools.is_empty() && conversation.tool_choice != ToolChoice::None;
    if offers && !(mentions("tools") && calls::understands(mentions)) {
        let param = names.tools;
        let message = format!(
            "`{param}`: this model's template has no form of calls that this version reads"
        );
        return Err(ApiError::unsupported(param, message));
    }
    let developer = mentions("developer");
    let messages = conversation.messages.iter().map(|m| m.shown(developer));
    let tools = conversation.tools.iter().map(|tool| tool.shown.clone());
    let mut variables = conversation.variables.clone();
    if let Some(effort) = &reasoning.effort {
        if mentions("reasoning_effort") {
            variables.insert("reasoning_effort".into(), effort.as_str().into());
        } else if !reasoning.lenient {
            return Err(no_switch(names.effort));
        }
    }
    match reasoning.on {
        None => {}
        Some(on) if mentions("enable_thinking") => {
            variables.insert("enable_thinking".into(), on.into());
        }
        Some(on) if mentions("thinking") && !mentions("<think>") => {
            variables.insert("thinking".into(), on.into());
        }
        // A model that does not think need not be told not to.
        Some(false) if !mentions("think") && !mentions("reasoning") => {}
        Some(true) if reasoning.effort.is_some() => {}
        // A model that always thinks need not be told to.
        Some(true) if mentions("<think>") => {}
        Some(_) if reasoning.lenient => {}
        Some(_) => return Err(no_switch(names.effort)),
    }
    Ok(Chat {
        messages: messages.collect(),
        tools: offers.then(|| tools.collect::<Vec<Value>>()),
        documents: None,
        add_generation_prompt: true,
        variables,
    })
}

fn no_switch(param: &str) -> ApiError {
    let message = format!("`{param}`: this model's template has no such switch; leave it out");
    ApiError::unsupported(param, message)
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
