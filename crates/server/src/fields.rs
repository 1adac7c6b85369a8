//! Reading JSON objects by name: a wrong type is an error that names the field, `null` is absence.

use crate::bounds;
use crate::error::ApiError;
use serde_json::{Map, Value};

/// An object of a request, and where it stands in it.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

type Read<T> = Result<Option<T>, ApiError>;

impl<'a> Fields<'a> {
    /// The object of a whole request.
    pub fn of_body(value: &'a Value) -> Result<Self, ApiError> {
        let map = value.as_object().ok_or_else(|| ApiError {
            param: None,
            ..ApiError::invalid("", "the body must be a JSON object")
        })?;
        let path = String::new();
        Ok(Self { map, path })
    }

    /// An object at `path`.
    pub fn at(value: &'a Value, path: String) -> Result<Self, ApiError> {
        match value.as_object() {
            Some(map) => Ok(Self { map, path }),
            None => Err(wrong(&path, "an object", value)),
        }
    }

    /// Where a field stands.
    pub fn path(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// A field that is there and not `null`.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(&self, name: &str, what: &str, as_it: impl Fn(&'a Value) -> Option<T>) -> Read<T> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match as_it(value) {
            Some(it) => Ok(Some(it)),
            None => Err(wrong(&self.path(name), what, value)),
        }
    }

    /// A text.
    pub fn str(&self, name: &str) -> Read<&'a str> {
        self.read(name, "a string", Value::as_str)
    }

    /// True or false.
    pub fn bool(&self, name: &str) -> Read<bool> {
        self.read(name, "true or false", Value::as_bool)
    }

    /// A number; what f32 cannot hold is out of every range.
    pub fn f32(&self, name: &str) -> Read<f32> {
        self.read(name, "a number", |v| v.as_f64().map(|x| x as f32))
    }

    /// A whole number from `low` to `high`.
    pub fn u32(&self, name: &str, low: u32, high: u32) -> Read<u32> {
        let what = format!("a whole number from {low} to {high}");
        self.read(name, &what, |v| {
            let n = u32::try_from(v.as_u64()?).ok()?;
            (low..=high).contains(&n).then_some(n)
        })
    }

    /// A whole number of 64 bits, negative or not.
    pub fn bits(&self, name: &str) -> Read<u64> {
        self.read(name, "a whole number of 64 bits", |v| {
            v.as_u64().or_else(|| Some(v.as_i64()?.cast_unsigned()))
        })
    }

    /// A list.
    pub fn list(&self, name: &str) -> Read<&'a [Value]> {
        self.read(name, "a list", |v| v.as_array().map(Vec::as_slice))
    }

    /// An object.
    pub fn object(&self, name: &str) -> Read<Fields<'a>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        Fields::at(value, self.path(name)).map(Some)
    }

    /// The pairs of the object itself.
    pub fn map(&self) -> &'a Map<String, Value> {
        self.map
    }

    /// Refuses a field by name, unless it asks for no more than `fine` says.
    pub fn refuse(
        &self,
        name: &str,
        fine: impl Fn(&Value) -> bool,
        why: &str,
    ) -> Result<(), ApiError> {
        match self.get(name) {
            Some(value) if !fine(value) => Err(ApiError::unsupported(
                self.path(name),
                format!("`{}`: {why}", self.path(name)),
            )),
            _ => Ok(()),
        }
    }
}

/// A field has a value of another type or range.
pub fn wrong(path: &str, what: &str, value: &Value) -> ApiError {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(n) => n.to_string(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    ApiError::invalid(path, format!("`{path}` must be {what}, not {found}"))
}

/// A body as JSON, within the bounds of [`crate::bounds`].
pub fn parse(body: &[u8]) -> Result<Value, ApiError> {
    bounds::scan(body)?;
    let body = serde_json::from_slice(body).map_err(|error| ApiError {
        param: None,
        code: Some("invalid_json"),
        ..ApiError::invalid(
            "",
            format!("the body is not JSON that can be read: {error}"),
        )
    })?;
    bounds::check(&body)?;
    Ok(body)
}
