//! JSON asked for by type; an entry that is `null` counts as absent.

use serde_json::{Map, Value};

use super::HuggingFaceError;

/// Characters of a value that a message shows.
const SHOWN: usize = 60;

/// One object of a file.
#[derive(Debug, Clone)]
pub(super) struct Json {
    pub(super) file: &'static str,
    map: Map<String, Value>,
}

impl Json {
    /// The object that a whole file is. Nesting is bounded by serde_json.
    pub(super) fn parse(file: &'static str, text: &[u8]) -> Result<Self, HuggingFaceError> {
        let map = serde_json::from_slice(text).map_err(|error| HuggingFaceError::Json {
            file,
            reason: error.to_string(),
        })?;
        Ok(Self { file, map })
    }

    /// An object with nothing in it.
    pub(super) fn empty(file: &'static str) -> Self {
        let map = Map::new();
        Self { file, map }
    }

    /// What stands under a key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there and holds nothing.
    pub(super) fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    /// The object under a key.
    pub(super) fn object(&self, key: &str) -> Result<Option<Self>, HuggingFaceError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self {
                file: self.file,
                map: map.clone(),
            })),
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }

    /// The entries of the object under a key; none where there is no object.
    pub(super) fn entries(&self, key: &str) -> impl Iterator<Item = (&String, &Value)> {
        let object = self.get(key).and_then(Value::as_object);
        object.into_iter().flatten()
    }

    pub(super) fn str(&self, key: &str) -> Result<Option<&str>, HuggingFaceError> {
        self.typed(key, "a text", Value::as_str)
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>, HuggingFaceError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A whole number that fits in 32 bits, also where it is written as `4096.0`.
    pub(super) fn u32(&self, key: &str) -> Result<Option<u32>, HuggingFaceError> {
        self.typed(key, "a whole number", whole)
    }

    pub(super) fn f64(&self, key: &str) -> Result<Option<f64>, HuggingFaceError> {
        let finite = |value: &Value| value.as_f64().filter(|v| v.is_finite());
        self.typed(key, "a number", finite)
    }

    /// A number rounded to 32 bits once.
    pub(super) fn f32(&self, key: &str) -> Result<Option<f32>, HuggingFaceError> {
        self.typed(key, "a number", single)
    }

    /// An array of numbers, each rounded to 32 bits once.
    pub(super) fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>, HuggingFaceError> {
        self.typed(key, "an array of numbers", |value| {
            value.as_array()?.iter().map(single).collect()
        })
    }

    /// An array of texts.
    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<&str>>, HuggingFaceError> {
        self.typed(key, "an array of texts", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    pub(super) fn require_u32(&self, key: &str) -> Result<u32, HuggingFaceError> {
        self.u32(key)?.ok_or_else(|| self.missing(key))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &'static str,
        pick: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, HuggingFaceError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => pick(value).map(Some).ok_or_else(|| self.wrong(key, wanted)),
        }
    }

    pub(super) fn missing(&self, key: &str) -> HuggingFaceError {
        HuggingFaceError::MissingKey {
            file: self.file,
            key: key.to_owned(),
        }
    }

    pub(super) fn wrong(&self, key: &str, wanted: &'static str) -> HuggingFaceError {
        HuggingFaceError::WrongType {
            file: self.file,
            key: key.to_owned(),
            found: self.shown(key),
            wanted,
        }
    }

    /// The error that a value makes no sense; `rule` reads behind the value.
    pub(super) fn value(&self, key: &str, rule: impl Into<String>) -> HuggingFaceError {
        HuggingFaceError::Value {
            file: self.file,
            key: key.to_owned(),
            value: self.shown(key),
            rule: rule.into(),
        }
    }

    /// The error that a value asks for something not done here.
    pub(super) fn unsupported(&self, key: &str, value: &str) -> HuggingFaceError {
        HuggingFaceError::Unsupported {
            file: self.file,
            key: key.to_owned(),
            value: value.chars().take(SHOWN).collect(),
        }
    }

    fn shown(&self, key: &str) -> String {
        match self.map.get(key) {
            None => "absent".to_owned(),
            Some(value) => value.to_string().chars().take(SHOWN).collect(),
        }
    }
}

/// A whole number that fits in 32 bits.
pub(super) fn whole(value: &Value) -> Option<u32> {
    match value.as_u64() {
        Some(number) => u32::try_from(number).ok(),
        None => value.to_string().strip_suffix(".0")?.parse().ok(),
    }
}

/// A number rounded to 32 bits once: from its digits, not through 64 bits.
pub(super) fn single(value: &Value) -> Option<f32> {
    let number = value.as_number()?.to_string().parse::<f32>().ok()?;
    number.is_finite().then_some(number)
}

/// The nearest number of 32 bits; formats does without `as`, and digits say it exactly.
pub(super) fn nearest(value: f64) -> f32 {
    format!("{value:e}").parse().unwrap_or(f32::NAN)
}
