//! The tests of Jinja2, as in `x is defined`.
//!
//! Source: the Jinja2 documentation, "List of Builtin Tests".
use super::ast::Math;
use super::error::{Run, failed};
use super::meter::Meter;
use super::ops;
use super::print;
use super::text;
use super::value::Value;

/// `value is name(args)`.
pub(super) fn call(meter: &mut Meter, name: &str, value: &Value, args: &[Value]) -> Run<bool> {
    meter.steps(1)?;
    let wanted = match name {
        "eq" | "equalto" | "==" | "ne" | "!=" | "lt" | "lessthan" | "<" | "le" | "<=" | "gt"
        | "greaterthan" | ">" | "ge" | ">=" | "in" | "divisibleby" | "sameas" => 1,
        _ => 0,
    };
    if args.len() != wanted {
        return failed(format!(
            "the test '{name}' takes {wanted} arguments, not {}",
            args.len()
        ));
    }
    match args.first() {
        Some(other) => binary(meter, name, value, other),
        None => unary(meter, name, value),
    }
}

fn binary(meter: &mut Meter, name: &str, value: &Value, other: &Value) -> Run<bool> {
    Ok(match name {
        "eq" | "equalto" | "==" => ops::equal(meter, value, other)?,
        "ne" | "!=" => !ops::equal(meter, value, other)?,
        "lt" | "lessthan" | "<" => ops::compare(meter, value, other)?.is_lt(),
        "le" | "<=" => ops::compare(meter, value, other)?.is_le(),
        "gt" | "greaterthan" | ">" => ops::compare(meter, value, other)?.is_gt(),
        "ge" | ">=" => ops::compare(meter, value, other)?.is_ge(),
        "in" => ops::contains(meter, other, value)?,
        "divisibleby" => {
            let rest = ops::math(meter, Math::Mod, value, other)?;
            !rest.is_true()
        }
        // Python compares addresses; equal constants have the same.
        _ => value.type_name() == other.type_name() && ops::equal(meter, value, other)?,
    })
}

fn unary(meter: &mut Meter, name: &str, value: &Value) -> Run<bool> {
    Ok(match name {
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_)),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        // Whatever has a length and items by position; an undefined value has both.
        "sequence" => matches!(
            value,
            Value::Str(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Range(_)
                | Value::Undefined(_)
        ),
        "iterable" => !matches!(
            value,
            Value::None
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Float(_)
                | Value::Namespace(_)
                | Value::Macro(_)
                | Value::Function(_)
                | Value::Method(_)
        ),
        "callable" => {
            matches!(
                value,
                Value::Macro(_)
                    | Value::Function(_)
                    | Value::Method(_)
                    | Value::Loop(_)
                    | Value::Undefined(_)
            )
        }
        "odd" | "even" => {
            let rest = ops::math(meter, Math::Mod, value, &Value::Int(2))?;
            let wanted = Value::Int(i128::from(name == "odd"));
            ops::equal(meter, &rest, &wanted)?
        }
        "lower" | "upper" => {
            let text = print::to_text(meter, value)?;
            text::property(
                &text,
                if name == "lower" {
                    "islower"
                } else {
                    "isupper"
                },
            )
            .unwrap_or(false)
        }
        "escaped" => false,
        "filter" | "test" => return failed(format!("the test '{name}' is not for prompts")),
        unknown => return failed(format!("there is no test '{unknown}'")),
    })
}
