//! The key-value pairs of a file, asked for by type.

use super::{Array, GgufError, StringArray, Value};

/// The key-value pairs of a file, in file order; every key is there once.
///
/// The typed getters answer `Ok(None)` where the key is absent and an error that names the key
/// where it holds something else. Integers of any width are accepted where their value fits,
/// because converters differ in the width they write.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    #[allow(
        clippy::vec_box,
        reason = "a slot takes less than the smallest pair does in a file, so the list is never larger than the file"
    )]
    pairs: Vec<Box<(String, Value)>>,
    /// Indices into `pairs`, sorted by key.
    by_key: Vec<usize>,
}

impl Metadata {
    /// Metadata of these pairs.
    ///
    /// # Errors
    /// [`GgufError::DuplicateKey`] where a key is there twice.
    pub fn from_pairs<K: Into<String>, V: Into<Value>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, GgufError> {
        let boxed = |(key, value): (K, V)| Box::new((key.into(), value.into()));
        Self::from_boxed(pairs.into_iter().map(boxed).collect())
    }

    #[allow(clippy::vec_box, reason = "see `pairs`")]
    pub(super) fn from_boxed(pairs: Vec<Box<(String, Value)>>) -> Result<Self, GgufError> {
        let name = |index: usize| pairs.get(index).map_or("", |pair| pair.0.as_str());
        let by_key = super::sorted_by_name(pairs.len(), name)
            .map_err(|key| GgufError::DuplicateKey { key })?;
        Ok(Self { pairs, by_key })
    }

    /// The same, with this value under a key that is there; where it is not, nothing changes.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.0 == key) {
            pair.1 = value.into();
        }
        self
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The pairs, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|pair| (pair.0.as_str(), &pair.1))
    }

    /// The value under this key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let name = |&index: &usize| self.pairs.get(index).map_or("", |pair| pair.0.as_str());
        let found = self
            .by_key
            .binary_search_by(|index| name(index).cmp(key))
            .ok()?;
        Some(&self.pairs.get(*self.by_key.get(found)?)?.1)
    }

    /// An unsigned integer of 32 bits.
    ///
    /// # Errors
    /// As described at [`Metadata`]; the same holds for every getter.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.integer(key, "an unsigned integer of 32 bits")
    }

    /// An unsigned integer of 64 bits.
    ///
    /// # Errors
    /// As described at [`Metadata`].
    pub fn u64(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.integer(key, "an unsigned integer of 64 bits")
    }

    /// A signed integer of 64 bits.
    ///
    /// # Errors
    /// As described at [`Metadata`].
    pub fn i64(&self, key: &str) -> Result<Option<i64>, GgufError> {
        self.integer(key, "an integer of 64 bits")
    }

    /// A number with a fraction, of 32 bits.
    ///
    /// # Errors
    /// As described at [`Metadata`].
    pub fn f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.typed(key, "f32", |value| match value {
            Value::F32(v) => Some(*v),
            _ => None,
        })
    }

    /// True or false.
    ///
    /// # Errors
    /// As described at [`Metadata`].
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "bool", |value| match value {
            Value::Bool(v) => Some(*v),
            _ => None,
        })
    }

    /// A text.
    ///
    /// # Errors
    /// As described at [`Metadata`].
    pub fn str(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "a string", |value| match value {
            Value::String(v) => Some(v.as_str()),
            _ => None,
        })
    }

    /// An array of texts.
    ///
    /// # Errors
    /// As described at [`Metadata`].
    pub fn strings(&self, key: &str) -> Result<Option<&StringArray>, GgufError> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Array(Array::Strings(v)) => Some(v),
            _ => None,
        })
    }

    /// An array of f32.
    ///
    /// # Errors
    /// As described at [`Metadata`].
    pub fn f32s(&self, key: &str) -> Result<Option<&[f32]>, GgufError> {
        self.typed(key, "an array of f32", |value| match value {
            Value::Array(Array::F32(v)) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// An array of i32.
    ///
    /// # Errors
    /// As described at [`Metadata`].
    pub fn i32s(&self, key: &str) -> Result<Option<&[i32]>, GgufError> {
        self.typed(key, "an array of i32", |value| match value {
            Value::Array(Array::I32(v)) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// An array of true and false.
    ///
    /// # Errors
    /// As described at [`Metadata`].
    pub fn bools(&self, key: &str) -> Result<Option<&[bool]>, GgufError> {
        self.typed(key, "an array of bool", |value| match value {
            Value::Array(Array::Bool(v)) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// An array of integers of any width, each of which fits in 32 unsigned bits.
    ///
    /// # Errors
    /// As described at [`Metadata`].
    pub fn u32s(&self, key: &str) -> Result<Option<Vec<u32>>, GgufError> {
        let wanted = "an array of unsigned integers of 32 bits";
        let wide = self.typed(key, wanted, |value| match value {
            Value::Array(array) => array.integers(),
            _ => None,
        })?;
        wide.map(|values| {
            let narrow = |value| fit(key, "an unsigned integer of 32 bits", value);
            values.into_iter().map(narrow).collect()
        })
        .transpose()
    }

    /// One unsigned integer a layer: an array of `n_layers`, or a single value that holds for all.
    /// The caller has bounded `n_layers`: so many values are allocated.
    ///
    /// # Errors
    /// As described at [`Metadata`]; [`GgufError::Length`] where the array has another length.
    pub fn u32_per_layer(&self, key: &str, n_layers: usize) -> Result<Option<Vec<u32>>, GgufError> {
        let Some(Value::Array(_)) = self.get(key) else {
            return Ok(self.u32(key)?.map(|value| vec![value; n_layers]));
        };
        let values = self.u32s(key)?;
        match &values {
            Some(v) if v.len() != n_layers => Err(GgufError::Length {
                key: key.to_owned(),
                wanted: n_layers,
                found: v.len(),
            }),
            _ => Ok(values),
        }
    }

    /// [`Metadata::u32`], and an error where the key is absent.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], and those of the getter; the same holds for every `require_`.
    pub fn require_u32(&self, key: &str) -> Result<u32, GgufError> {
        required(key, self.u32(key)?)
    }

    /// [`Metadata::u64`], and an error where the key is absent.
    ///
    /// # Errors
    /// As [`Metadata::require_u32`].
    pub fn require_u64(&self, key: &str) -> Result<u64, GgufError> {
        required(key, self.u64(key)?)
    }

    /// [`Metadata::f32`], and an error where the key is absent.
    ///
    /// # Errors
    /// As [`Metadata::require_u32`].
    pub fn require_f32(&self, key: &str) -> Result<f32, GgufError> {
        required(key, self.f32(key)?)
    }

    /// [`Metadata::bool`], and an error where the key is absent.
    ///
    /// # Errors
    /// As [`Metadata::require_u32`].
    pub fn require_bool(&self, key: &str) -> Result<bool, GgufError> {
        required(key, self.bool(key)?)
    }

    /// [`Metadata::str`], and an error where the key is absent.
    ///
    /// # Errors
    /// As [`Metadata::require_u32`].
    pub fn require_str(&self, key: &str) -> Result<&str, GgufError> {
        required(key, self.str(key)?)
    }

    /// [`Metadata::strings`], and an error where the key is absent.
    ///
    /// # Errors
    /// As [`Metadata::require_u32`].
    pub fn require_strings(&self, key: &str) -> Result<&StringArray, GgufError> {
        required(key, self.strings(key)?)
    }

    fn integer<T: TryFrom<i128>>(
        &self,
        key: &str,
        wanted: &'static str,
    ) -> Result<Option<T>, GgufError> {
        self.typed(key, wanted, Value::as_integer)?
            .map(|value| fit(key, wanted, value))
            .transpose()
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &'static str,
        pick: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match pick(value) {
            Some(picked) => Ok(Some(picked)),
            None => Err(GgufError::WrongType {
                key: key.to_owned(),
                wanted,
                found: value.kind(),
            }),
        }
    }
}

fn required<T>(key: &str, value: Option<T>) -> Result<T, GgufError> {
    value.ok_or_else(|| GgufError::MissingKey {
        key: key.to_owned(),
    })
}

fn fit<T: TryFrom<i128>>(key: &str, wanted: &'static str, value: i128) -> Result<T, GgufError> {
    T::try_from(value).map_err(|_| GgufError::OutOfRange {
        key: key.to_owned(),
        wanted,
        value,
    })
}
