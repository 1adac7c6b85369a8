//! Operators: arithmetic, comparison, membership, slices.
use std::cmp::Ordering;

use super::ast::Math;
use super::error::{Run, failed};
use super::format;
use super::meter::{Meter, Text};
use super::number::{float_to_int, int_to_float};
use super::value::{Key, Value};

/// `left op right`.
pub(super) fn math(meter: &mut Meter, op: Math, left: &Value, right: &Value) -> Run<Value> {
    if let (Some(a), Some(b)) = (left.as_int(), right.as_int()) {
        return int_math(op, a, b);
    }
    if let (Some(a), Some(b)) = (left.as_float(), right.as_float()) {
        return float_math(op, a, b).map(Value::Float);
    }
    match (op, left, right) {
        (Math::Add, Value::Str(a), Value::Str(b)) => {
            let mut out = Text::new(meter);
            out.push(a)?;
            out.push(b)?;
            Ok(Value::Str(out.finish().into()))
        }
        (Math::Add, Value::List(a), Value::List(b)) => {
            meter.items(a.items.len().saturating_add(b.items.len()))?;
            Value::list(meter, a.items.iter().chain(&b.items).cloned().collect())
        }
        (Math::Add, Value::Tuple(a), Value::Tuple(b)) => {
            meter.items(a.items.len().saturating_add(b.items.len()))?;
            Value::tuple(meter, a.items.iter().chain(&b.items).cloned().collect())
        }
        (Math::Mul, value, times) | (Math::Mul, times, value)
            if times.as_int().is_some()
                && matches!(value, Value::Str(_) | Value::List(_) | Value::Tuple(_)) =>
        {
            repeat(meter, value, times.as_int().unwrap_or(0))
        }
        (Math::Mod, Value::Str(pattern), _) => format::percent(meter, pattern, right),
        (_, Value::Undefined(what), _) | (_, _, Value::Undefined(what)) => {
            failed(format!("{what} is undefined"))
        }
        _ => failed(format!(
            "unsupported operand types: '{}' and '{}'",
            left.type_name(),
            right.type_name()
        )),
    }
}

fn repeat(meter: &mut Meter, value: &Value, times: i128) -> Run<Value> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    match value {
        Value::Str(text) => {
            let mut out = Text::new(meter);
            out.repeat(text, if text.is_empty() { 0 } else { times })?;
            Ok(Value::Str(out.finish().into()))
        }
        Value::List(seq) | Value::Tuple(seq) => {
            let times = if seq.items.is_empty() { 0 } else { times };
            meter.items(seq.items.len().saturating_mul(times))?;
            let items = std::iter::repeat_n(&seq.items, times)
                .flatten()
                .cloned()
                .collect();
            match value {
                Value::List(_) => Value::list(meter, items),
                _ => Value::tuple(meter, items),
            }
        }
        other => failed(format!(
            "a value of type '{}' cannot be repeated",
            other.type_name()
        )),
    }
}

fn int_math(op: Math, a: i128, b: i128) -> Run<Value> {
    if b == 0 && matches!(op, Math::Div | Math::FloorDiv | Math::Mod) {
        return failed("division by zero");
    }
    let result = match op {
        Math::Add => a.checked_add(b),
        Math::Sub => a.checked_sub(b),
        Math::Mul => a.checked_mul(b),
        Math::Div => return float_math(op, int_to_float(a), int_to_float(b)).map(Value::Float),
        Math::FloorDiv => floor_div(a, b),
        Math::Mod => floor_div(a, b)
            .and_then(|quotient| quotient.checked_mul(b))
            .and_then(|product| a.checked_sub(product)),
        Math::Pow if b < 0 => {
            return float_math(op, int_to_float(a), int_to_float(b)).map(Value::Float);
        }
        Math::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
    };
    match result {
        Some(value) => Ok(Value::Int(value)),
        None => failed("a number is too large"),
    }
}

/// The quotient rounded towards minus infinity.
fn floor_div(a: i128, b: i128) -> Option<i128> {
    let quotient = a.checked_div(b)?;
    let exact = quotient.checked_mul(b)? == a;
    if exact || (a < 0) == (b < 0) {
        Some(quotient)
    } else {
        quotient.checked_sub(1)
    }
}

fn float_math(op: Math, a: f64, b: f64) -> Run<f64> {
    if b == 0.0 && matches!(op, Math::Div | Math::FloorDiv | Math::Mod) {
        return failed("division by zero");
    }
    Ok(match op {
        Math::Add => a + b,
        Math::Sub => a - b,
        Math::Mul => a * b,
        Math::Div => a / b,
        Math::FloorDiv => (a / b).floor(),
        Math::Mod => {
            let remainder = a % b;
            if remainder != 0.0 && (remainder < 0.0) != (b < 0.0) {
                remainder + b
            } else {
                remainder
            }
        }
        Math::Pow => a.powf(b),
    })
}

/// `a == b`.
pub(super) fn equal(meter: &mut Meter, a: &Value, b: &Value) -> Run<bool> {
    meter.enter()?;
    let result = match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::Str(a), Value::Str(b)) => {
            meter.scan(a.len().min(b.len()))?;
            a == b
        }
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            let mut same = x.items.len() == y.items.len();
            for (x, y) in x.items.iter().zip(&y.items) {
                same = same && equal(meter, x, y)?;
            }
            same
        }
        (Value::Dict(x), Value::Dict(y)) => {
            let mut same = x.entries().len() == y.entries().len();
            for (key, x) in x.entries() {
                let key = Key::of(meter, key)?;
                same = match y.get(&key) {
                    Some(y) => same && equal(meter, x, y)?,
                    None => false,
                };
            }
            same
        }
        (Value::Range(x), Value::Range(y)) => x == y,
        (Value::Namespace(x), Value::Namespace(y)) => std::rc::Rc::ptr_eq(x, y),
        (Value::Macro(x), Value::Macro(y)) => std::rc::Rc::ptr_eq(x, y),
        _ => match (a.as_int(), b.as_int()) {
            (Some(a), Some(b)) => a == b,
            _ => matches!((a.as_float(), b.as_float()), (Some(a), Some(b)) if a == b),
        },
    };
    meter.leave();
    Ok(result)
}

/// The order of two values.
///
/// # Errors
/// The types have no order, as a string and a number.
pub(super) fn compare(meter: &mut Meter, a: &Value, b: &Value) -> Run<Ordering> {
    meter.enter()?;
    let result = match (a, b) {
        (Value::Str(a), Value::Str(b)) => {
            meter.scan(a.len().min(b.len()))?;
            a.cmp(b)
        }
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            let mut order = Ordering::Equal;
            for (x, y) in x.items.iter().zip(&y.items) {
                if !equal(meter, x, y)? {
                    order = compare(meter, x, y)?;
                    break;
                }
            }
            order.then(x.items.len().cmp(&y.items.len()))
        }
        (Value::Undefined(what), _) | (_, Value::Undefined(what)) => {
            return failed(format!("{what} is undefined"));
        }
        _ => {
            let ints = a.as_int().zip(b.as_int()).map(|(a, b)| a.cmp(&b));
            // A comparison with NaN is false in Python; here it counts as equal.
            let floats = || {
                a.as_float()
                    .zip(b.as_float())
                    .map(|(a, b)| a.partial_cmp(&b))
            };
            match ints.or_else(|| floats().map(|order| order.unwrap_or(Ordering::Equal))) {
                Some(order) => order,
                None => {
                    return failed(format!(
                        "no order between '{}' and '{}'",
                        a.type_name(),
                        b.type_name()
                    ));
                }
            }
        }
    };
    meter.leave();
    Ok(result)
}

/// `item in container`.
pub(super) fn contains(meter: &mut Meter, container: &Value, item: &Value) -> Run<bool> {
    match (container, item) {
        (Value::Str(text), Value::Str(part)) => {
            meter.scan(text.len())?;
            Ok(text.contains(&**part))
        }
        (Value::Str(_), other) => failed(format!(
            "'in <string>' requires string as left operand, not {}",
            other.type_name()
        )),
        (Value::Dict(dict), key) => Ok(dict.get(&Key::of(meter, key)?).is_some()),
        _ => {
            for other in container.items(meter)? {
                if equal(meter, &other, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// Sorts by a key, keeping the order of equal items. Unlike the sort of the standard library this one
/// may fail, and does not mind an order that is no order.
pub(super) fn sorted<T: Clone>(
    meter: &mut Meter,
    items: Vec<T>,
    mut key: impl FnMut(&T) -> Run<Value>,
    reverse: bool,
) -> Run<Vec<T>> {
    meter.items(items.len())?;
    let mut runs: Vec<Vec<(Value, T)>> = Vec::new();
    for item in items {
        runs.push(vec![(key(&item)?, item)]);
    }
    // Merge neighbours until one run is left.
    while runs.len() > 1 {
        let mut merged = Vec::new();
        let mut pairs = runs.into_iter();
        while let Some(left) = pairs.next() {
            merged.push(match pairs.next() {
                Some(right) => merge(meter, left, right, reverse)?,
                None => left,
            });
        }
        runs = merged;
    }
    Ok(runs
        .pop()
        .unwrap_or_default()
        .into_iter()
        .map(|(_, item)| item)
        .collect())
}

fn merge<T>(
    meter: &mut Meter,
    left: Vec<(Value, T)>,
    right: Vec<(Value, T)>,
    reverse: bool,
) -> Run<Vec<(Value, T)>> {
    let mut merged = Vec::with_capacity(left.len().saturating_add(right.len()));
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let order = compare(meter, &b.0, &a.0)?;
        let right_first = if reverse {
            order.is_gt()
        } else {
            order.is_lt()
        };
        merged.extend(if right_first {
            right.next()
        } else {
            left.next()
        });
    }
    merged.extend(left.chain(right));
    Ok(merged)
}

/// `value[start:stop:step]`.
pub(super) fn slice(meter: &mut Meter, value: &Value, parts: [Value; 3]) -> Run<Value> {
    let mut bounds = [None; 3];
    for (bound, part) in bounds.iter_mut().zip(&parts) {
        *bound = match part {
            Value::None => None,
            other => match other.as_int() {
                Some(int) => Some(int),
                None => {
                    return failed("slice indices must be integers or None");
                }
            },
        };
    }
    let Some(length) = value
        .len(meter)?
        .filter(|_| !matches!(value, Value::Dict(_) | Value::View(..)))
    else {
        return failed(format!("'{}' object cannot be sliced", value.type_name()));
    };
    meter.items(length)?;
    let indices = slice_indices(length, bounds)?;
    match value {
        Value::Str(text) => {
            meter.memory(text.len())?;
            let chars: Vec<char> = text.chars().collect();
            let part: String = indices.iter().filter_map(|at| chars.get(*at)).collect();
            Ok(Value::Str(part.into()))
        }
        Value::List(seq) => Value::list(
            meter,
            indices
                .iter()
                .filter_map(|at| seq.items.get(*at))
                .cloned()
                .collect(),
        ),
        Value::Tuple(seq) => Value::tuple(
            meter,
            indices
                .iter()
                .filter_map(|at| seq.items.get(*at))
                .cloned()
                .collect(),
        ),
        Value::Range(range) => Value::list(
            meter,
            indices.iter().filter_map(|at| range.get(*at)).collect(),
        ),
        other => failed(format!("'{}' object cannot be sliced", other.type_name())),
    }
}

/// The positions that a slice of a sequence of `length` items names, as Python's `slice.indices`.
fn slice_indices(length: usize, [start, stop, step]: [Option<i128>; 3]) -> Run<Vec<usize>> {
    let step = step.unwrap_or(1);
    let length = i128::try_from(length).unwrap_or(i128::MAX);
    let last = length.saturating_sub(1);
    let (low, high) = if step < 0 { (-1, last) } else { (0, length) };
    let clamp = |bound: i128| {
        let bound = if bound < 0 {
            bound.saturating_add(length)
        } else {
            bound
        };
        bound.clamp(low, high)
    };
    let (from, to) = match step {
        0 => return failed("slice step cannot be zero"),
        step if step < 0 => (start.map_or(last, clamp), stop.map_or(-1, clamp)),
        _ => (start.map_or(0, clamp), stop.map_or(length, clamp)),
    };
    let mut indices = Vec::new();
    let mut at = from;
    while if step < 0 { at > to } else { at < to } {
        indices.extend(usize::try_from(at));
        at = at.saturating_add(step);
    }
    Ok(indices)
}

/// `value[index]` for a sequence or a string; negative positions count from the end.
pub(super) fn at(meter: &mut Meter, value: &Value, index: i128) -> Run<Option<Value>> {
    let Some(length) = value.len(meter)? else {
        return Ok(None);
    };
    let position = match index < 0 {
        true => index.checked_add(i128::try_from(length).unwrap_or(i128::MAX)),
        false => Some(index),
    };
    let Some(position) = position.and_then(|position| usize::try_from(position).ok()) else {
        return Ok(None);
    };
    Ok(match value {
        Value::List(seq) | Value::Tuple(seq) => seq.items.get(position).cloned(),
        Value::Range(range) => range.get(position),
        Value::Str(text) => {
            meter.scan(text.len())?;
            text.chars()
                .nth(position)
                .map(|c| Value::Str(c.to_string().into()))
        }
        _ => None,
    })
}

/// `int(value)` as the filter has it: `None` where Python's `int` and `float` fail.
pub(super) fn to_int(value: &Value, base: u32) -> Option<i128> {
    match value {
        Value::Float(value) => float_to_int(*value),
        Value::Str(text) => {
            let text = text.trim_matches(super::lexer::is_space).replace('_', "");
            let (sign, digits) = match text.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, text.strip_prefix('+').unwrap_or(&text)),
            };
            let prefix = match base {
                16 => ["0x", "0X"],
                8 => ["0o", "0O"],
                2 => ["0b", "0B"],
                _ => ["", ""],
            };
            let digits = prefix
                .iter()
                .find_map(|p| digits.strip_prefix(p))
                .unwrap_or(digits);
            let int = match digits.starts_with(['+', '-']) {
                true => None,
                false => i128::from_str_radix(digits, base).ok(),
            };
            int.and_then(|int| int.checked_mul(sign))
                .or_else(|| to_float(value).and_then(float_to_int))
        }
        other => other.as_int(),
    }
}

/// `float(value)`: `None` where Python's fails.
pub(super) fn to_float(value: &Value) -> Option<f64> {
    match value {
        Value::Str(text) => {
            let text = text.trim_matches(super::lexer::is_space).replace('_', "");
            text.parse().ok()
        }
        other => other.as_float(),
    }
}
