//! A request on its way to a dialect.

use crate::App;
use crate::caller::Caller;
use http::HeaderMap;
use std::sync::Arc;

/// A request that found its path.
#[derive(Debug)]
pub(crate) struct Call {
    pub app: Arc<App>,
    pub caller: Caller,
    /// What stands in the path where its pattern has `{id}`.
    pub id: String,
    /// Behind the question mark.
    pub query: String,
    pub headers: HeaderMap,
    /// Empty for methods that send none.
    pub body: Vec<u8>,
}

impl Call {
    /// A parameter behind the question mark.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescaped(key) == name).then(|| unescaped(&value.replace('+', " ")))
        });
        pairs.into_iter().next()
    }
}

/// `%2F` and the like.
pub(crate) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = ahead;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(unescaped("a%2Fb%zz%"), "a/b%zz%");
    }
}
