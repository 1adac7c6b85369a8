//! Arguments of calls.
use super::ast::Name;
use super::error::{Run, failed};
use super::meter::Meter;
use super::print;
use super::value::Value;

/// Evaluated arguments.
#[derive(Default)]
pub(super) struct Args {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Name, Value)>,
}

impl Args {
    /// The arguments by parameter, where `what` takes the parameters `names` in this order.
    pub(super) fn bind<const N: usize>(
        self,
        what: &str,
        names: [&str; N],
    ) -> Run<[Option<Value>; N]> {
        if self.positional.len() > N {
            return failed(format!("{what} takes at most {N} arguments"));
        }
        let mut slots = [const { None }; N];
        for (slot, value) in slots.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let at = names.iter().position(|known| **known == *name);
            match at.and_then(|at| slots.get_mut(at)) {
                Some(slot) if slot.is_none() => *slot = Some(value),
                Some(_) => return failed(format!("{what} got two values for '{name}'")),
                None => return failed(format!("{what} takes no argument '{name}'")),
            }
        }
        Ok(slots)
    }
}

/// The text of a string argument.
pub(super) fn text(value: &Value) -> Run<&str> {
    match value {
        Value::Str(text) => Ok(text),
        other => failed(format!("expected a string, not '{}'", other.type_name())),
    }
}

/// A string argument as text, anything else as it prints; `default` when absent.
pub(super) fn text_or(meter: &mut Meter, value: Option<Value>, default: &str) -> Run<String> {
    match value {
        Some(value) => print::to_text(meter, &value),
        None => Ok(default.to_owned()),
    }
}

/// An integer argument; `default` when absent or `None`.
pub(super) fn int_or(value: Option<Value>, default: i128) -> Run<i128> {
    match value {
        None | Some(Value::None) => Ok(default),
        Some(value) => match value.as_int() {
            Some(int) => Ok(int),
            None => failed(format!("expected an integer, not '{}'", value.type_name())),
        },
    }
}

/// A size argument: an integer, below zero as zero.
pub(super) fn size_or(value: Option<Value>, default: i128) -> Run<usize> {
    let int = int_or(value, default)?;
    Ok(usize::try_from(int.max(0)).unwrap_or(usize::MAX))
}

/// Whether an argument is true; `default` when absent.
pub(super) fn flag_or(value: Option<Value>, default: bool) -> bool {
    value.map_or(default, |value| value.is_true())
}
