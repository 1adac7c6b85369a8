//! The values that a template computes with: those of Python, as far as templates can reach them.
//!
//! All values but namespaces are immutable, as in the immutable sandbox of Jinja2. Every container
//! knows how deep it is, so that none is built which would exhaust the stack when it is printed or
//! dropped.
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{For, Macro, Name};
use super::error::{Bound, Fault, Run, failed};
use super::meter::Meter;
use super::number::{float_key, int_to_float};
use super::scope::Scope;

/// Levels that a value may nest. JSON from a parser is limited to 128 elsewhere.
pub(super) const DEPTH: usize = 200;

#[derive(Clone)]
pub(super) enum Value {
    /// Nothing: what was looked for, for the message when it is used.
    Undefined(Arc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
    List(Rc<Seq>),
    Tuple(Rc<Seq>),
    Dict(Rc<Dict>),
    /// `dict.keys()`, `.values()` or `.items()`: iterable with a length, but not to be indexed.
    View(&'static str, Rc<Seq>),
    Range(Range),
    /// A generator: can be gone through once. The rest of its items stand in reverse.
    Iter(Rc<Once>),
    Namespace(Rc<Namespace>),
    Loop(Rc<Loop>),
    Macro(Rc<Closure>),
    Function(&'static str),
    /// A method and what it was taken from.
    Method(Rc<(Value, Name)>),
}

/// Items of a list or a tuple.
pub(super) struct Seq {
    pub(super) items: Vec<Value>,
    depth: usize,
}

impl Seq {
    pub(super) fn new(meter: &mut Meter, items: Vec<Value>) -> Run<Rc<Self>> {
        meter.items(items.len())?;
        let depth = depth_above(items.iter())?;
        Ok(Rc::new(Self { items, depth }))
    }
}

/// A generator's remaining items, the next one last.
pub(super) struct Once {
    pub(super) items: RefCell<Vec<Value>>,
    depth: usize,
}

/// `range(start, stop, step)`; `count` numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: i128,
    pub(super) stop: i128,
    pub(super) step: i128,
    pub(super) count: usize,
}

impl Range {
    pub(super) fn get(&self, index: usize) -> Option<Value> {
        let index = i128::try_from(index).ok().filter(|_| index < self.count)?;
        self.step
            .checked_mul(index)?
            .checked_add(self.start)
            .map(Value::Int)
    }

    pub(super) fn items(self) -> Vec<Value> {
        (0..self.count)
            .filter_map(|index| self.get(index))
            .collect()
    }
}

/// A dictionary in the order of insertion.
#[derive(Default)]
pub(super) struct Dict {
    entries: Vec<(Value, Value)>,
    index: HashMap<Key, usize>,
    depth: usize,
}

impl Dict {
    pub(super) fn new(
        meter: &mut Meter,
        items: impl IntoIterator<Item = (Value, Value)>,
    ) -> Run<Rc<Self>> {
        let mut dict = Self::default();
        for (key, value) in items {
            dict.insert(meter, key, value)?;
        }
        dict.depth = depth_above(dict.entries.iter().flat_map(|(key, value)| [key, value]))?;
        Ok(Rc::new(dict))
    }

    fn insert(&mut self, meter: &mut Meter, key: Value, value: Value) -> Run<()> {
        meter.items(4)?;
        let hashed = Key::of(meter, &key)?;
        match self
            .index
            .get(&hashed)
            .and_then(|at| self.entries.get_mut(*at))
        {
            Some(entry) => entry.1 = value,
            None => {
                self.index.insert(hashed, self.entries.len());
                self.entries.push((key, value));
            }
        }
        Ok(())
    }

    pub(super) fn entries(&self) -> &[(Value, Value)] {
        &self.entries
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Value> {
        self.index
            .get(key)
            .and_then(|at| self.entries.get(*at))
            .map(|entry| &entry.1)
    }

    pub(super) fn get_str(&self, key: &str) -> Option<&Value> {
        self.get(&Key::Str(Arc::from(key)))
    }
}

/// A value as a dictionary's key: equal numbers are one key, whatever their type.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Key {
    Undefined,
    None,
    Int(i128),
    /// The bits of a float that is no integer.
    Float(u64),
    Str(Arc<str>),
    Tuple(Vec<Key>),
    /// Anything else is itself and equal to nothing else.
    Address(usize),
}

impl Key {
    pub(super) fn of(meter: &mut Meter, value: &Value) -> Run<Self> {
        Ok(match value {
            Value::Undefined(_) => Self::Undefined,
            Value::None => Self::None,
            Value::Bool(value) => Self::Int(i128::from(*value)),
            Value::Int(value) => Self::Int(*value),
            Value::Float(value) => float_key(*value).map_or_else(Self::Float, Self::Int),
            Value::Str(text) => {
                meter.scan(text.len())?;
                Self::Str(Arc::clone(text))
            }
            Value::Tuple(tuple) => {
                meter.items(tuple.items.len())?;
                let keys = tuple.items.iter().map(|item| Self::of(meter, item));
                Self::Tuple(keys.collect::<Run<_>>()?)
            }
            Value::Namespace(ns) => Self::Address(Rc::as_ptr(ns).addr()),
            Value::Macro(closure) => Self::Address(Rc::as_ptr(closure).addr()),
            other => return failed(format!("unhashable type: '{}'", other.type_name())),
        })
    }
}

/// What `namespace()` makes: the one value that can change.
#[derive(Default)]
pub(super) struct Namespace {
    pub(super) attributes: RefCell<Vec<(Arc<str>, Value)>>,
}

impl Namespace {
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        let attributes = self.attributes.borrow();
        attributes
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| value.clone())
    }

    pub(super) fn set(&self, name: &str, value: Value) {
        let mut attributes = self.attributes.borrow_mut();
        match attributes.iter_mut().find(|(known, _)| **known == *name) {
            Some(entry) => entry.1 = value,
            None => attributes.push((Arc::from(name), value)),
        }
    }
}

/// The variable `loop`.
pub(super) struct Loop {
    pub(super) items: Vec<Value>,
    pub(super) index: Cell<usize>,
    /// How many loops of the same recursion stand around it.
    pub(super) outer: usize,
    /// What to run again for `loop(items)`, and in which scope.
    pub(super) recursion: Option<(Arc<For>, Rc<Scope>)>,
    /// What `loop.changed` was last called with.
    pub(super) last: RefCell<Option<Vec<Value>>>,
    depth: usize,
}

impl Loop {
    pub(super) fn new(
        items: Vec<Value>,
        outer: usize,
        recursion: Option<(Arc<For>, Rc<Scope>)>,
    ) -> Run<Rc<Self>> {
        let depth = depth_above(items.iter())?;
        let (index, last) = (Cell::new(0), RefCell::new(None));
        Ok(Rc::new(Self {
            items,
            index,
            outer,
            recursion,
            last,
            depth,
        }))
    }
}

/// A macro and the scope it was defined in.
pub(super) struct Closure {
    pub(super) code: Arc<Macro>,
    pub(super) scope: Rc<Scope>,
}

/// One level more than the deepest of the values.
fn depth_above<'v>(values: impl Iterator<Item = &'v Value>) -> Run<usize> {
    let depth = values
        .map(Value::depth)
        .max()
        .unwrap_or(0)
        .saturating_add(1);
    match depth > DEPTH {
        true => Err(Fault::Limit(
            Bound::Depth,
            u64::try_from(DEPTH).unwrap_or(u64::MAX),
        )),
        false => Ok(depth),
    }
}

impl Value {
    pub(super) fn undefined(what: &str) -> Self {
        Self::Undefined(Arc::from(what))
    }

    pub(super) fn list(meter: &mut Meter, items: Vec<Self>) -> Run<Self> {
        Seq::new(meter, items).map(Self::List)
    }

    pub(super) fn tuple(meter: &mut Meter, items: Vec<Self>) -> Run<Self> {
        Seq::new(meter, items).map(Self::Tuple)
    }

    pub(super) fn view(
        meter: &mut Meter,
        kind: &'static str,
        items: impl IntoIterator<Item = Self>,
    ) -> Run<Self> {
        Seq::new(meter, items.into_iter().collect()).map(|seq| Self::View(kind, seq))
    }

    /// A generator over the items.
    pub(super) fn iter(meter: &mut Meter, mut items: Vec<Self>) -> Run<Self> {
        meter.items(items.len())?;
        let depth = depth_above(items.iter())?;
        items.reverse();
        Ok(Self::Iter(Rc::new(Once {
            items: RefCell::new(items),
            depth,
        })))
    }

    fn depth(&self) -> usize {
        match self {
            Self::List(seq) | Self::Tuple(seq) | Self::View(_, seq) => seq.depth,
            Self::Dict(dict) => dict.depth,
            Self::Iter(once) => once.depth,
            Self::Loop(state) => state.depth,
            Self::Method(method) => method.0.depth(),
            _ => 0,
        }
    }

    /// The name of the type in Python.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::View(kind, _) => kind,
            Self::Range(_) => "range",
            Self::Iter(_) => "generator",
            Self::Namespace(_) => "Namespace",
            Self::Loop(_) => "LoopContext",
            Self::Macro(_) => "Macro",
            Self::Function(_) => "function",
            Self::Method(_) => "builtin_function_or_method",
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(seq) | Self::Tuple(seq) | Self::View(_, seq) => !seq.items.is_empty(),
            Self::Dict(dict) => !dict.entries.is_empty(),
            Self::Range(range) => range.count > 0,
            Self::Loop(state) => !state.items.is_empty(),
            _ => true,
        }
    }

    /// How many items or characters it has, if it has a length.
    pub(super) fn len(&self, meter: &mut Meter) -> Run<Option<usize>> {
        Ok(match self {
            Self::Undefined(_) => Some(0),
            Self::Str(text) => {
                meter.scan(text.len())?;
                Some(text.chars().count())
            }
            Self::List(seq) | Self::Tuple(seq) | Self::View(_, seq) => Some(seq.items.len()),
            Self::Dict(dict) => Some(dict.entries.len()),
            Self::Range(range) => Some(range.count),
            Self::Loop(state) => Some(state.items.len()),
            _ => None,
        })
    }

    /// A number as an integer; `True` is 1.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Self::Bool(value) => Some(i128::from(*value)),
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A number as a float.
    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            other => other.as_int().map(int_to_float),
        }
    }

    /// The items, for a loop or a filter; a generator is used up.
    pub(super) fn items(&self, meter: &mut Meter) -> Run<Vec<Self>> {
        let count = match self {
            Self::Str(text) => text.len(),
            other => other.len(meter)?.unwrap_or(1),
        };
        meter.steps(count.saturating_add(1))?;
        Ok(match self {
            Self::Undefined(_) => Vec::new(),
            Self::Str(text) => {
                meter.items(count)?;
                text.chars()
                    .map(|c| Self::Str(Arc::from(&*c.encode_utf8(&mut [0; 4]))))
                    .collect()
            }
            Self::List(seq) | Self::Tuple(seq) | Self::View(_, seq) => seq.items.clone(),
            Self::Dict(dict) => dict.entries.iter().map(|(key, _)| key.clone()).collect(),
            Self::Range(range) => range.items(),
            Self::Iter(once) => {
                let mut items = once.items.take();
                items.reverse();
                meter.steps(items.len())?;
                items
            }
            Self::Loop(_) => return failed("`loop` cannot be gone through a second time"),
            other => return failed(format!("'{}' object is not iterable", other.type_name())),
        })
    }
}
