//! The filters that take a sequence.
use super::access;
use super::call::{self, Args};
use super::error::{Run, failed};
use super::meter::{Meter, Text};
use super::methods;
use super::ops;
use super::print;
use super::value::{Key, Value};

/// `value | name(args)`.
pub(super) fn call(meter: &mut Meter, name: &str, value: &Value, args: Args) -> Run<Value> {
    match name {
        "join" => join(meter, value, args),
        "list" => {
            let [] = args.bind("list", [])?;
            let items = value.items(meter)?;
            Value::list(meter, items)
        }
        "first" | "last" => ends(meter, name, value, args),
        "reverse" => reverse(meter, value, args),
        "items" => {
            let [] = args.bind("items", [])?;
            match value {
                Value::Dict(dict) => methods::pairs(meter, dict),
                Value::Undefined(_) => Value::iter(meter, Vec::new()),
                _ => failed("Can only get item pairs from a mapping."),
            }
        }
        "dictsort" => dict_sort(meter, value, args),
        "sort" => sort(meter, value, args),
        "unique" => unique(meter, value, args),
        "groupby" => group_by(meter, value, args),
        "min" | "max" => extreme(meter, name, value, args),
        "sum" => sum(meter, value, args),
        "batch" => batch(meter, value, args),
        "slice" => slice(meter, value, args),
        unknown => failed(format!("there is no filter '{unknown}'")),
    }
}

fn join(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let [separator, attribute] = args.bind("join", ["d", "attribute"])?;
    let separator = call::text_or(meter, separator, "")?;
    let items = value.items(meter)?;
    let mut out = Text::new(meter);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(&separator)?;
        }
        match &attribute {
            Some(attribute) => {
                let found = access::path(out.meter, item, attribute)?;
                print::write_text(&mut out, &found)?;
            }
            None => print::write_text(&mut out, item)?,
        }
    }
    Ok(Value::Str(out.finish().into()))
}

fn ends(meter: &mut Meter, name: &str, value: &Value, args: Args) -> Run<Value> {
    let [] = args.bind(name, [])?;
    let found = match (name, value) {
        ("first", Value::Iter(once)) => once.items.borrow_mut().pop(),
        ("last", Value::Iter(_)) => return failed("'generator' object is not reversible"),
        ("first", _) => value.items(meter)?.into_iter().next(),
        _ => value.items(meter)?.pop(),
    };
    Ok(found.unwrap_or_else(|| Value::undefined(&format!("the {name} item of nothing"))))
}

fn reverse(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let [] = args.bind("reverse", [])?;
    if let Value::Str(text) = value {
        return meter.text(&text.chars().rev().collect::<String>());
    }
    let mut items = value.items(meter)?;
    items.reverse();
    Value::iter(meter, items)
}

/// The sort key of a value: strings without regard to case, unless asked for.
fn key(meter: &mut Meter, value: Value, case_sensitive: bool) -> Run<Value> {
    match value {
        Value::Str(text) if !case_sensitive => meter.text(&text.to_lowercase()),
        other => Ok(other),
    }
}

fn attribute_of(meter: &mut Meter, item: &Value, attribute: Option<&Value>) -> Run<Value> {
    match attribute {
        Some(attribute) => access::path(meter, item, attribute),
        None => Ok(item.clone()),
    }
}

/// The keys of all items, beside them. Several attributes, with commas, make a tuple.
fn keyed(
    meter: &mut Meter,
    items: Vec<Value>,
    attribute: Option<Value>,
    case_sensitive: bool,
) -> Run<Vec<(Value, Value)>> {
    let attributes: Vec<Value> = match &attribute {
        None | Some(Value::None) => Vec::new(),
        Some(Value::Str(text)) => text
            .split(',')
            .map(|part| Value::Str(part.into()))
            .collect(),
        Some(other) => vec![other.clone()],
    };
    let mut pairs = Vec::new();
    for item in items {
        let found = match attributes.as_slice() {
            [] | [_] => {
                let found = attribute_of(meter, &item, attributes.first())?;
                key(meter, found, case_sensitive)?
            }
            several => {
                let mut parts = Vec::new();
                for attribute in several {
                    let found = access::path(meter, &item, attribute)?;
                    parts.push(key(meter, found, case_sensitive)?);
                }
                Value::tuple(meter, parts)?
            }
        };
        pairs.push((found, item));
    }
    Ok(pairs)
}

fn sort(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let [reverse, case_sensitive, attribute] =
        args.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
    let items = value.items(meter)?;
    let pairs = keyed(
        meter,
        items,
        attribute,
        call::flag_or(case_sensitive, false),
    )?;
    // Keys are compared inside a list, as Jinja2 does it: equal ones need no order.
    let mut listed = Vec::new();
    for (key, item) in pairs {
        listed.push((Value::list(meter, vec![key])?, item));
    }
    let reverse = call::flag_or(reverse, false);
    let sorted = ops::sorted(meter, listed, |pair| Ok(pair.0.clone()), reverse)?;
    Value::list(meter, sorted.into_iter().map(|(_, item)| item).collect())
}

fn dict_sort(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let [case_sensitive, by, reverse] =
        args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let Value::Dict(dict) = value else {
        return failed(format!(
            "'{}' object has no attribute 'items'",
            value.type_name()
        ));
    };
    let by_value = match &by {
        Some(by) => call::text(by)? == "value",
        None => false,
    };
    let case_sensitive = call::flag_or(case_sensitive, false);
    let mut pairs = Vec::new();
    for (name, value) in dict.entries() {
        let sorted_by = if by_value { value } else { name };
        let sorted_by = key(meter, sorted_by.clone(), case_sensitive)?;
        pairs.push((
            sorted_by,
            Value::tuple(meter, vec![name.clone(), value.clone()])?,
        ));
    }
    let reverse = call::flag_or(reverse, false);
    let pairs = ops::sorted(meter, pairs, |pair| Ok(pair.0.clone()), reverse)?;
    Value::list(meter, pairs.into_iter().map(|(_, pair)| pair).collect())
}

fn unique(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let [case_sensitive, attribute] = args.bind("unique", ["case_sensitive", "attribute"])?;
    let items = value.items(meter)?;
    let mut seen = std::collections::HashSet::new();
    let mut kept = Vec::new();
    for (key, item) in keyed(
        meter,
        items,
        attribute,
        call::flag_or(case_sensitive, false),
    )? {
        meter.items(4)?;
        if seen.insert(Key::of(meter, &key)?) {
            kept.push(item);
        }
    }
    Value::iter(meter, kept)
}

fn group_by(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let [attribute, default, case_sensitive] =
        args.bind("groupby", ["attribute", "default", "case_sensitive"])?;
    let case_sensitive = call::flag_or(case_sensitive, false);
    let mut pairs = Vec::new();
    for item in value.items(meter)? {
        let mut found = attribute_of(meter, &item, attribute.as_ref())?;
        if let (Value::Undefined(_), Some(default)) = (&found, &default) {
            found = default.clone();
        }
        pairs.push((found, item));
    }
    let mut folded = Vec::new();
    for pair in pairs {
        folded.push((key(meter, pair.0.clone(), case_sensitive)?, pair));
    }
    let folded = ops::sorted(meter, folded, |entry| Ok(entry.0.clone()), false)?;
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for (key, (shown, item)) in folded {
        match groups.last_mut() {
            Some(group) if ops::equal(meter, &group.0, &key)? => group.2.push(item),
            _ => groups.push((key, shown, vec![item])),
        }
    }
    let mut tuples = Vec::new();
    for (_, shown, items) in groups {
        let items = Value::list(meter, items)?;
        tuples.push(Value::tuple(meter, vec![shown, items])?);
    }
    Value::list(meter, tuples)
}

fn extreme(meter: &mut Meter, name: &str, value: &Value, args: Args) -> Run<Value> {
    let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
    let items = value.items(meter)?;
    let mut best: Option<(Value, Value)> = None;
    for pair in keyed(
        meter,
        items,
        attribute,
        call::flag_or(case_sensitive, false),
    )? {
        let better = match &best {
            Some(best) => {
                let order = ops::compare(meter, &pair.0, &best.0)?;
                if name == "min" {
                    order.is_lt()
                } else {
                    order.is_gt()
                }
            }
            None => true,
        };
        if better {
            best = Some(pair);
        }
    }
    Ok(best.map_or_else(
        || Value::undefined("the item of an empty sequence"),
        |pair| pair.1,
    ))
}

fn sum(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let [attribute, start] = args.bind("sum", ["attribute", "start"])?;
    let attribute = attribute.filter(|attribute| !matches!(attribute, Value::None));
    let mut total = start.unwrap_or(Value::Int(0));
    if matches!(total, Value::Str(_)) {
        return failed("sum() can't sum strings");
    }
    for item in value.items(meter)? {
        let item = attribute_of(meter, &item, attribute.as_ref())?;
        total = ops::math(meter, super::ast::Math::Add, &total, &item)?;
    }
    Ok(total)
}

/// Rows of `linecount` items; the last is filled up where there is something to fill it with.
fn batch(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let [count, fill] = args.bind("batch", ["linecount", "fill_with"])?;
    let count = call::size_or(count, 0)?.max(1);
    let mut rows = Vec::new();
    for row in value.items(meter)?.chunks(count) {
        let mut row = row.to_vec();
        if let Some(fill) = fill.as_ref().filter(|fill| !matches!(fill, Value::None)) {
            let missing = count.saturating_sub(row.len());
            meter.items(missing)?;
            row.extend(std::iter::repeat_n(fill.clone(), missing));
        }
        rows.push(Value::list(meter, row)?);
    }
    Value::iter(meter, rows)
}

/// `slices` columns of nearly equal length.
fn slice(meter: &mut Meter, value: &Value, args: Args) -> Run<Value> {
    let [slices, fill] = args.bind("slice", ["slices", "fill_with"])?;
    let slices = call::size_or(slices, 0)?.max(1);
    meter.items(slices)?;
    let items = value.items(meter)?;
    let (each, more) = (items.len() / slices, items.len() % slices);
    let mut rest = items.as_slice();
    let mut columns = Vec::new();
    for column in 0..slices {
        let length = each.saturating_add(usize::from(column < more));
        let (items, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        rest = after;
        let mut items = items.to_vec();
        if let Some(fill) = fill.as_ref().filter(|fill| !matches!(fill, Value::None))
            && column >= more
        {
            items.push(fill.clone());
        }
        columns.push(Value::list(meter, items)?);
    }
    Value::iter(meter, columns)
}
