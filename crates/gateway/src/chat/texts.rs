//! Every text of a request that would leave with it.

use super::{Format, Image, Message, Part, Request, ToolChoice};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Where in a request a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a message: its content, reasoning, name, calls or their arguments.
    Message(usize),
    /// In the declaration of a tool.
    Tool(usize),
    /// Anywhere else: the beginning of the answer, stop texts, the format, the name of a tool to be called.
    Rest,
}

/// A text of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a> {
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub text: Cow<'a, str>,
    /// It names something (a tool, a call, a member of a schema) or is a number: it cannot be replaced
    /// without breaking the request, only kept here.
    pub is_name: bool,
}

impl Request {
    /// Every text that would leave if a provider were asked, in the order of the request. Inline images are
    /// not texts: see [`Request::has_images`].
    pub fn texts(&self) -> Vec<Text<'_>> {
        let mut texts = Vec::new();
        for (i, message) in self.messages.iter().enumerate() {
            of_message(message, Place::Message(i), &mut texts);
        }
        for (i, tool) in self.tools.iter().enumerate() {
            let place = Place::Tool(i);
            texts.push(name(place, &tool.name));
            texts.extend(tool.description.as_deref().map(|text| words(place, text)));
            if let Some(parameters) = &tool.parameters {
                of_json(parameters, place, &mut texts);
            }
        }
        let rest = self.prefill.iter().chain(&self.stop);
        texts.extend(rest.map(|text| words(Place::Rest, text)));
        if let Format::JsonSchema(schema) = &self.format {
            of_json(schema, Place::Rest, &mut texts);
        }
        if let ToolChoice::Named(tool) = &self.tool_choice {
            texts.push(name(Place::Rest, tool));
        }
        texts.extend(
            self.reasoning
                .effort
                .as_deref()
                .map(|e| name(Place::Rest, e)),
        );
        texts
    }

    /// Gives every text of [`Self::texts`] that is no name to `change`, which may write another one.
    pub fn each_text_mut(&mut self, change: &mut dyn FnMut(Place, &mut String)) {
        for (i, message) in self.messages.iter_mut().enumerate() {
            let place = Place::Message(i);
            for part in &mut message.parts {
                match part {
                    Part::Text(text) | Part::Image(Image::Url(text)) => change(place, text),
                    Part::Image(Image::Inline { .. }) => {}
                }
            }
            let calls = message.calls.iter_mut().map(|call| &mut call.arguments);
            let others = message.reasoning.iter_mut();
            calls.chain(others).for_each(|text| change(place, text));
        }
        for (i, tool) in self.tools.iter_mut().enumerate() {
            let place = Place::Tool(i);
            tool.description.iter_mut().for_each(|t| change(place, t));
            if let Some(parameters) = &mut tool.parameters {
                json_mut(parameters, &mut |text| change(place, text));
            }
        }
        let rest = self.prefill.iter_mut().chain(&mut self.stop);
        rest.for_each(|text| change(Place::Rest, text));
        if let Format::JsonSchema(schema) = &mut self.format {
            json_mut(schema, &mut |text| change(Place::Rest, text));
        }
    }
}

fn words(place: Place, text: &str) -> Text<'_> {
    Text {
        place,
        text: Cow::Borrowed(text),
        is_name: false,
    }
}

fn name(place: Place, text: &str) -> Text<'_> {
    Text {
        is_name: true,
        ..words(place, text)
    }
}

fn of_message<'a>(message: &'a Message, place: Place, texts: &mut Vec<Text<'a>>) {
    for part in &message.parts {
        match part {
            Part::Text(text) | Part::Image(Image::Url(text)) => texts.push(words(place, text)),
            Part::Image(Image::Inline { media_type, .. }) => texts.push(name(place, media_type)),
        }
    }
    for call in &message.calls {
        texts.push(name(place, &call.id));
        texts.push(name(place, &call.name));
        texts.push(words(place, &call.arguments));
    }
    texts.extend(message.reasoning.as_deref().map(|text| words(place, text)));
    let names = message.call_id.iter().chain(&message.name);
    texts.extend(names.map(|text| name(place, text)));
}

/// The strings and numbers of a schema, and the names of its members.
fn of_json<'a>(value: &'a Value, place: Place, texts: &mut Vec<Text<'a>>) {
    match value {
        Value::String(text) => texts.push(words(place, text)),
        Value::Array(items) => items.iter().for_each(|item| of_json(item, place, texts)),
        Value::Object(members) => {
            for (member, value) in members {
                texts.push(name(place, member));
                of_json(value, place, texts);
            }
        }
        Value::Number(number) => texts.push(Text {
            text: Cow::Owned(number.to_string()),
            ..name(place, "")
        }),
        Value::Null | Value::Bool(_) => {}
    }
}

fn json_mut(value: &mut Value, change: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| json_mut(item, change)),
        Value::Object(members) => values_mut(members, change),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn values_mut(members: &mut Map<String, Value>, change: &mut dyn FnMut(&mut String)) {
    members
        .values_mut()
        .for_each(|value| json_mut(value, change));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Role, Tool, ToolCall};
    use serde_json::json;

    /// A request whose every text that leaves holds `MARK`.
    fn marked() -> Request {
        let mark = || "MARK".to_owned();
        let message = Message {
            role: Role::Assistant,
            parts: vec![Part::Text(mark()), Part::Image(Image::Url(mark()))],
            reasoning: Some(mark()),
            calls: vec![ToolCall {
                id: mark(),
                name: mark(),
                arguments: mark(),
            }],
            call_id: Some(mark()),
            name: Some(mark()),
        };
        Request {
            prefill: Some(mark()),
            stop: vec![mark()],
            tools: vec![Tool {
                name: mark(),
                description: Some(mark()),
                parameters: Some(json!({ "MARK": ["MARK", { "MARK": "MARK" }] })),
                strict: false,
            }],
            tool_choice: ToolChoice::Named(mark()),
            format: Format::JsonSchema(json!({ "MARK": "MARK" })),
            reasoning: super::super::Reasoning {
                effort: Some(mark()),
                ..Default::default()
            },
            ..Request::new("id", vec![message])
        }
    }

    #[test]
    fn no_text_is_left_out() {
        let request = marked();
        // `Serialize` writes every field there is: what it says and `texts` does not was forgotten here.
        let written = serde_json::to_string(&request).unwrap();
        let named = request.texts();
        assert_eq!(named.len(), written.matches("MARK").count());
        assert!(named.iter().all(|text| text.text == "MARK"));
    }

    #[test]
    fn all_but_names_can_be_changed() {
        let mut request = marked();
        request.each_text_mut(&mut |_, text| *text = text.replace("MARK", "[1]"));
        let left = request.texts();
        assert!(
            left.iter().all(|t| t.is_name == (t.text == "MARK")),
            "{left:?}"
        );
        assert!(left.iter().any(|t| t.text == "[1]"));
    }
}
