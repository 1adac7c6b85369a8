//! Names of what was said: the same conversation has the same ones, in whichever dialect it comes back.

use super::{Image, Message, Part, ToolCall};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A digest of one message.
///
/// It depends on what was said, by whom, and what was called with which arguments. It does not depend on
/// what clients leave out or change when they send a message back: reasoning, names of calls and of
/// speakers, white space at the ends of texts, how texts are cut into parts, and how the JSON of arguments
/// is written.
pub fn message_digest(message: &Message) -> Digest {
    let mut hash = Sha256::new();
    put(&mut hash, "message", message.role.word());
    let mut text = String::new();
    for part in &message.parts {
        match part {
            Part::Text(more) => text.push_str(more),
            Part::Image(image) => {
                put_text(&mut hash, &text);
                text.clear();
                put_image(&mut hash, image);
            }
        }
    }
    put_text(&mut hash, &text);
    for call in &message.calls {
        put_call(&mut hash, call);
    }
    Digest(hash.finalize().into())
}

/// A digest of each beginning of a conversation: of the first message, of the first two and so on to all of
/// them. `tenant` parts the names of one tenant's texts from another's.
///
/// System texts count where they stand: the same turns under another system text are another conversation.
pub fn prefix_digests(tenant: &str, messages: &[Message]) -> Vec<Digest> {
    let digests: Vec<Digest> = messages.iter().map(message_digest).collect();
    prefixes_of(tenant, &digests)
}

/// The same of messages whose digests are known.
pub fn prefixes_of(tenant: &str, messages: &[Digest]) -> Vec<Digest> {
    let mut hash = Sha256::new();
    put(&mut hash, "tenant", tenant);
    let mut before: [u8; 32] = hash.finalize().into();
    let digests = messages.iter().map(|message| {
        let mut hash = Sha256::new();
        hash.update(before);
        hash.update(message.0);
        before = hash.finalize().into();
        Digest(before)
    });
    digests.collect()
}

/// Kind and length first, so that no two contents run together to the same bytes.
fn put(hash: &mut Sha256, kind: &str, text: &str) {
    hash.update(kind.as_bytes());
    hash.update([0]);
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

fn put_text(hash: &mut Sha256, text: &str) {
    let text = text.trim();
    if !text.is_empty() {
        put(hash, "text", text);
    }
}

fn put_image(hash: &mut Sha256, image: &Image) {
    match image {
        Image::Inline { media_type, base64 } => {
            put(hash, "image", media_type);
            put(hash, "base64", base64);
        }
        Image::Url(url) => put(hash, "url", url),
    }
}

fn put_call(hash: &mut Sha256, call: &ToolCall) {
    put(hash, "call", &call.name);
    let arguments = match serde_json::from_str::<Value>(&call.arguments) {
        Ok(mut value) => {
            value.sort_all_objects();
            value.to_string()
        }
        Err(_) => call.arguments.trim().to_owned(),
    };
    put(hash, "arguments", &arguments);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Role;
    use proptest::prelude::*;

    fn said(role: Role, text: &str) -> Message {
        Message::text(role, text)
    }

    fn called(id: &str, arguments: &str) -> Message {
        Message {
            parts: Vec::new(),
            calls: vec![ToolCall {
                id: id.into(),
                name: "f".into(),
                arguments: arguments.into(),
            }],
            ..said(Role::Assistant, "")
        }
    }

    #[test]
    fn what_clients_change_on_the_way_back_changes_nothing() {
        let whole = said(Role::Assistant, "One. Two.");
        let parts = Message {
            parts: vec![
                Part::Text("One. ".into()),
                Part::Text("Two.\n".into()),
                Part::Text(String::new()),
            ],
            reasoning: Some("Hm.".into()),
            name: Some("model".into()),
            ..whole.clone()
        };
        assert_eq!(message_digest(&whole), message_digest(&parts));
        let a = called("call_1", "{\"a\": 1, \"b\": {\"d\": 2, \"c\": 3}}");
        let b = called("toolu_1", "{\"b\":{\"c\":3,\"d\":2},\"a\":1}");
        assert_eq!(message_digest(&a), message_digest(&b));
    }

    #[test]
    fn what_was_said_changes_it() {
        let one = message_digest(&said(Role::User, "a"));
        let image = Message {
            parts: vec![Part::Image(Image::Url("a".into()))],
            ..said(Role::User, "")
        };
        let others = [
            said(Role::User, "b"),
            said(Role::Assistant, "a"),
            said(Role::System, "a"),
            image,
            called("", "{}"),
        ];
        for other in others {
            assert_ne!(one, message_digest(&other), "{other:?}");
        }
        assert_ne!(
            message_digest(&called("", "{\"a\":1}")),
            message_digest(&called("", "{\"a\":2}"))
        );
    }

    #[test]
    fn names_stay_as_they_are() {
        // They are kept on disk: another one would forget what a conversation held.
        let digests = prefix_digests("-", &[said(Role::User, "Hello"), called("x", "{\"a\": 1}")]);
        let names: Vec<String> = digests.iter().map(Digest::to_string).collect();
        assert_eq!(
            names,
            [
                "d9861b1856646ca7e49c944f56632ba47223dcfe9231f1779b9cfc804aa486d8",
                "d9f4b9f1f432f873c17fd2d63897de999c6ef36a0e670fd4feae1d1676625a91",
            ]
        );
    }

    proptest! {
        #[test]
        fn a_beginning_has_the_names_of_the_whole(texts in prop::collection::vec("[ab ]{0,3}", 1..6), cut in 0usize..6) {
            let messages: Vec<Message> = texts.iter().map(|t| said(Role::User, t)).collect();
            let cut = cut.min(messages.len());
            let all = prefix_digests("t", &messages);
            prop_assert_eq!(&prefix_digests("t", &messages[..cut]), &all[..cut]);
            prop_assert_ne!(&prefix_digests("u", &messages), &all);
            prop_assert_eq!(all.len(), messages.len());
        }
    }
}
