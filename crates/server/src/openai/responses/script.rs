//! A response while it comes: what it is so far, and the events that tell of it.

use super::request::Spaces;
use crate::body::with;
use crate::error::ApiError;
use crate::talk::{End, News, Usage};
use serde_json::{Map, Value, json};

/// An event: its name and what it says.
pub type Event = (&'static str, Value);

/// A response while it comes.
#[derive(Debug)]
pub struct Script {
    /// All that is known of it but its output.
    head: Map<String, Value>,
    /// Items that are complete.
    output: Vec<Value>,
    /// The item that is being written.
    open: Option<Open>,
    /// How probable tokens were whose text is still held back.
    waiting: Vec<Value>,
    /// Events told so far.
    told: u64,
    random: fn() -> u64,
    /// Functions of namespaces.
    spaces: Spaces,
}

/// An item that is being written.
#[derive(Debug)]
struct Open {
    kind: Kind,
    id: String,
    text: String,
    logprobs: Vec<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Reasoning,
    Message,
    Call {
        call_id: String,
        name: String,
        namespace: Option<String>,
    },
}

impl Open {
    fn item(&self, status: &str) -> Value {
        match &self.kind {
            Kind::Reasoning => json!({
                "id": self.id, "type": "reasoning", "summary": [], "status": status,
                "content": self.part().map_or_else(Vec::new, |part| vec![part]),
            }),
            Kind::Message => json!({
                "id": self.id, "type": "message", "status": status, "role": "assistant",
                "content": self.part().map_or_else(Vec::new, |part| vec![part]),
            }),
            Kind::Call {
                call_id,
                name,
                namespace,
            } => {
                let call = json!({
                    "id": self.id, "type": "function_call", "status": status,
                    "call_id": call_id, "name": name, "arguments": self.text,
                });
                match namespace {
                    Some(namespace) => with(call, "namespace", namespace.as_str()),
                    None => call,
                }
            }
        }
    }

    /// The item before anything is in it.
    fn begun(&self) -> Value {
        let mut item = self.item("in_progress");
        if let Some(content) = item.get_mut("content") {
            *content = json!([]);
        }
        item
    }

    fn part(&self) -> Option<Value> {
        match self.kind {
            Kind::Reasoning => Some(json!({ "type": "reasoning_text", "text": self.text })),
            Kind::Message => Some(json!({
                "type": "output_text", "text": self.text, "annotations": [], "logprobs": self.logprobs,
            })),
            Kind::Call { .. } => None,
        }
    }

    /// The names of the events that tell of its text.
    fn names(&self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::Reasoning => (
                "response.reasoning_text.delta",
                "response.reasoning_text.done",
            ),
            Kind::Message => ("response.output_text.delta", "response.output_text.done"),
            Kind::Call { .. } => (
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
            ),
        }
    }
}

impl Script {
    /// A response of which nothing has come; `head` has its name and what it repeats of the request.
    pub fn new(head: Map<String, Value>, random: fn() -> u64) -> Self {
        Self {
            head,
            output: Vec::new(),
            open: None,
            waiting: Vec::new(),
            told: 0,
            random,
            spaces: Spaces::new(),
        }
    }

    /// Calls of these are shown under both of their names.
    pub fn with_spaces(mut self, spaces: Spaces) -> Self {
        self.spaces = spaces;
        self
    }

    /// Its last event says who gave it.
    pub fn tells(&mut self, told: Option<Value>) {
        if let Some(told) = told {
            self.head.insert("ingle".into(), told);
        }
    }

    /// The events with which it begins.
    pub fn begin(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for name in ["response.created", "response.in_progress"] {
            let response = self.response();
            self.tell(&mut events, name, json!({ "response": response }));
        }
        events
    }

    /// The response as it is.
    pub fn response(&self) -> Value {
        let mut response = self.head.clone();
        response.insert("output".into(), self.output.clone().into());
        response.into()
    }

    /// Takes what is new, but an end, and tells of it. `probable`: how probable the tokens of its text
    /// were, as it is shown.
    pub fn news(&mut self, news: Vec<News>, probable: Vec<Value>) -> Vec<Event> {
        let mut events = Vec::new();
        let mut probable = Some(probable);
        for news in news {
            match news {
                News::Reasoning(text) => {
                    self.waiting.clear();
                    self.turn_to(Kind::Reasoning, &mut events);
                    self.text(&text, Vec::new(), &mut events);
                }
                News::Content(text) => {
                    self.turn_to(Kind::Message, &mut events);
                    let mut all = std::mem::take(&mut self.waiting);
                    all.extend(probable.take().unwrap_or_default());
                    self.text(&text, all, &mut events);
                }
                News::CallBegin { id, name, .. } => {
                    let (namespace, name) = match self.spaces.get(&name) {
                        Some((space, name)) => (Some(space.clone()), name.clone()),
                        None => (None, name),
                    };
                    let kind = Kind::Call {
                        call_id: id,
                        name,
                        namespace,
                    };
                    self.waiting.clear();
                    self.close("completed", &mut events);
                    self.open(kind, &mut events);
                }
                News::CallArguments { text, .. } => self.text(&text, Vec::new(), &mut events),
                News::CallEnd { whole, .. } => {
                    self.close(if whole { "completed" } else { "incomplete" }, &mut events);
                }
                News::Logprob(_) | News::End(_) | News::Failed(_) => {}
            }
        }
        // A token may be part of a character, or of what may become a mark: its text comes later.
        let in_text = match &self.open {
            None => self.output.is_empty(),
            Some(open) => open.kind == Kind::Message,
        };
        match in_text {
            true => self.waiting.extend(probable.unwrap_or_default()),
            false => self.waiting.clear(),
        }
        events
    }

    /// Ends it.
    pub fn end(&mut self, end: Result<&End, &ApiError>, usage: &Usage, now: i64) -> Vec<Event> {
        let mut events = Vec::new();
        let cut = !matches!(end, Ok(End::Stop | End::StopText(_) | End::Calls));
        if !cut && self.output.is_empty() && self.open.is_none() {
            // An answer of no words is one all the same.
            self.open(Kind::Message, &mut events);
        }
        self.close(if cut { "incomplete" } else { "completed" }, &mut events);
        let (status, name) = match end {
            Ok(End::Length) => ("incomplete", "response.incomplete"),
            Ok(_) => ("completed", "response.completed"),
            Err(_) => ("failed", "response.failed"),
        };
        let mut set = |name: &str, value: Value| self.head.insert(name.into(), value);
        set("status", status.into());
        match end {
            Ok(End::Length) => drop(set(
                "incomplete_details",
                json!({ "reason": "max_output_tokens" }),
            )),
            Ok(_) => drop(set("completed_at", now.into())),
            Err(error) => drop(set(
                "error",
                json!({ "code": "server_error", "message": error.message }),
            )),
        }
        set(
            "usage",
            json!({
                "input_tokens": usage.prompt,
                "input_tokens_details": { "cached_tokens": usage.cached },
                "output_tokens": usage.generated,
                "output_tokens_details": { "reasoning_tokens": usage.reasoning },
                "total_tokens": usage.prompt + usage.generated,
            }),
        );
        let response = self.response();
        self.tell(&mut events, name, json!({ "response": response }));
        events
    }

    /// Goes on with the open item if it is of this kind, or begins one.
    fn turn_to(&mut self, kind: Kind, events: &mut Vec<Event>) {
        if self.open.as_ref().is_none_or(|open| open.kind != kind) {
            self.close("completed", events);
            self.open(kind, events);
        }
    }

    fn open(&mut self, kind: Kind, events: &mut Vec<Event>) {
        let prefix = match &kind {
            Kind::Reasoning => "rs",
            Kind::Message => "msg",
            Kind::Call { .. } => "fc",
        };
        let open = Open {
            id: format!("{prefix}_{:016x}", (self.random)()),
            kind,
            text: String::new(),
            logprobs: Vec::new(),
        };
        let index = self.output.len();
        let (id, item, part) = (open.id.clone(), open.begun(), open.part());
        self.open = Some(open);
        let added = json!({ "output_index": index, "item": item });
        self.tell(events, "response.output_item.added", added);
        if let Some(part) = part {
            let added = json!({
                "item_id": id, "output_index": index, "content_index": 0, "part": part,
            });
            self.tell(events, "response.content_part.added", added);
        }
    }

    fn text(&mut self, text: &str, logprobs: Vec<Value>, events: &mut Vec<Event>) {
        let index = self.output.len();
        let Some(open) = &mut self.open else {
            return;
        };
        open.text.push_str(text);
        open.logprobs.extend_from_slice(&logprobs);
        let mut delta = json!({ "item_id": open.id, "output_index": index });
        let (name, _) = open.names();
        if let Some(delta) = delta.as_object_mut() {
            if open.part().is_some() {
                delta.insert("content_index".into(), 0.into());
            }
            delta.insert("delta".into(), text.into());
            if open.kind == Kind::Message {
                delta.insert("logprobs".into(), logprobs.into());
            }
        }
        self.tell(events, name, delta);
    }

    fn close(&mut self, status: &str, events: &mut Vec<Event>) {
        let Some(open) = self.open.take() else {
            return;
        };
        let index = self.output.len();
        let (_, name) = open.names();
        let at = |rest: Value| {
            let mut at = json!({ "item_id": open.id, "output_index": index });
            if let (Some(at), Value::Object(rest)) = (at.as_object_mut(), rest) {
                at.extend(rest);
            }
            at
        };
        let done = match &open.kind {
            Kind::Reasoning => json!({ "content_index": 0, "text": open.text }),
            Kind::Message => {
                json!({ "content_index": 0, "text": open.text, "logprobs": open.logprobs })
            }
            Kind::Call { name, .. } => json!({ "name": name, "arguments": open.text }),
        };
        self.tell(events, name, at(done));
        if let Some(part) = open.part() {
            let done = at(json!({ "content_index": 0, "part": part }));
            self.tell(events, "response.content_part.done", done);
        }
        let item = open.item(status);
        let done = json!({ "output_index": index, "item": item });
        self.tell(events, "response.output_item.done", done);
        self.output.push(item);
    }

    fn tell(&mut self, events: &mut Vec<Event>, name: &'static str, says: Value) {
        let mut event = Map::new();
        event.insert("type".into(), name.into());
        event.insert("sequence_number".into(), self.told.into());
        if let Value::Object(says) = says {
            event.extend(says);
        }
        self.told += 1;
        events.push((name, event.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn script() -> Script {
        let head = json!({ "id": "resp_1", "status": "in_progress", "output": [] });
        let Value::Object(head) = head else {
            unreachable!("an object");
        };
        Script::new(head, || 7)
    }

    fn told(batches: Vec<Vec<News>>, end: Result<&End, &ApiError>) -> (Vec<Event>, Value) {
        let mut script = script();
        let mut events = script.begin();
        for news in batches {
            events.extend(script.news(news, Vec::new()));
        }
        events.extend(script.end(end, &Usage::default(), 9));
        (events, script.response())
    }

    fn lines(events: &[Event]) -> String {
        let lines = events.iter().map(|(name, event)| {
            assert_eq!(event["type"], *name);
            event.to_string()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn begin(index: u32) -> News {
        News::CallBegin {
            index,
            id: format!("call_{index}"),
            name: "f".into(),
        }
    }

    fn arguments(index: u32, text: &str) -> News {
        let text = text.into();
        News::CallArguments { index, text }
    }

    #[test]
    fn a_call_of_a_namespace_has_both_names() {
        let both = ("agents".to_owned(), "stop".to_owned());
        let spaces = Spaces::from([("agents__stop".to_owned(), both)]);
        let mut script = Script::new(Map::new(), || 1).with_spaces(spaces);
        let begin = News::CallBegin {
            index: 0,
            id: "c".into(),
            name: "agents__stop".into(),
        };
        let events = script.news(vec![begin], Vec::new());
        let item = &events[0].1["item"];
        let found = [&item["namespace"], &item["name"]];
        assert_eq!(found, [&json!("agents"), &json!("stop")]);
    }

    #[test]
    fn no_token_of_a_text_is_left_out() {
        let mut script = script();
        let said = |text: &str| vec![News::Content(text.into())];
        let thought = vec![News::Reasoning("Hm".into())];
        // A mark that opens the reasoning, what is thought, and the mark behind it.
        for (news, token) in [(Vec::new(), 1), (thought, 2), (Vec::new(), 3)] {
            script.news(news, vec![token.into()]);
        }
        // The second character takes two tokens.
        for (news, token) in [(said("a"), 4), (Vec::new(), 5), (said("é"), 6)] {
            script.news(news, vec![token.into()]);
        }
        script.end(Ok(&End::Stop), &Usage::default(), 9);
        let told = &script.response()["output"][1]["content"][0];
        assert_eq!(told["text"], "aé");
        assert_eq!(told["logprobs"], json!([4, 5, 6]));
    }

    #[test]
    fn a_response_is_told_like_this() {
        let batches = vec![
            vec![News::Reasoning("Hm".into())],
            vec![
                News::Reasoning("m.".into()),
                News::Content("I look.".into()),
            ],
            vec![begin(0), arguments(0, "{\"a\":")],
            vec![
                arguments(0, "1}"),
                News::CallEnd {
                    index: 0,
                    whole: true,
                },
            ],
        ];
        let (events, _) = told(batches, Ok(&End::Calls));
        insta::assert_snapshot!(lines(&events));
    }

    #[test]
    fn one_that_is_cut_or_fails_is_told_like_this() {
        let said = || vec![vec![News::Content("Once".into())]];
        let (cut, _) = told(said(), Ok(&End::Length));
        let error = ApiError::internal("weights are gone");
        let (failed, _) = told(said(), Err(&error));
        let last = |events: &[Event]| lines(&events[events.len() - 2..]);
        insta::assert_snapshot!(format!("{}\n\n{}", last(&cut), last(&failed)));
    }

    fn any_news() -> impl Strategy<Value = News> {
        prop_oneof![
            "[a-c]{1,3}".prop_map(News::Reasoning),
            "[a-c]{1,3}".prop_map(News::Content),
            Just(begin(0)),
            "[a-c]{1,3}".prop_map(|text| arguments(0, &text)),
            Just(News::CallEnd {
                index: 0,
                whole: true
            }),
        ]
    }

    proptest! {
        /// Whatever comes, events are in order, pieces add up, and the end says what was told.
        #[test]
        fn what_was_told_is_what_there_is(batches in prop::collection::vec(prop::collection::vec(any_news(), 1..4), 0..8)) {
            let (events, response) = told(batches, Ok(&End::Stop));
            let mut open: Option<u64> = None;
            let mut pieces: HashMap<u64, String> = HashMap::new();
            let mut done = Vec::new();
            for (i, (name, event)) in events.iter().enumerate() {
                prop_assert_eq!(event["sequence_number"].as_u64(), Some(i as u64));
                let index = event["output_index"].as_u64();
                match *name {
                    "response.output_item.added" => {
                        prop_assert_eq!(open, None);
                        prop_assert_eq!(index, Some(done.len() as u64));
                        open = index;
                    }
                    "response.output_item.done" => {
                        prop_assert_eq!(open.take(), index);
                        done.push(event["item"].clone());
                    }
                    name if name.ends_with(".delta") => {
                        prop_assert_eq!(open, index);
                        pieces.entry(done.len() as u64).or_default().push_str(event["delta"].as_str().unwrap());
                    }
                    name if name.ends_with("text.done") || name.ends_with("arguments.done") => {
                        let text = event.get("text").or(event.get("arguments")).and_then(Value::as_str);
                        let all = pieces.get(&(done.len() as u64)).map_or("", String::as_str);
                        prop_assert_eq!(text, Some(all));
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(open, None);
            prop_assert_eq!(&response["output"], &Value::from(done));
            prop_assert_eq!(&events.last().unwrap().1["response"], &response);
        }
    }
}
