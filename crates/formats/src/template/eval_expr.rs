//! Evaluates expressions.
use std::rc::Rc;
use std::sync::Arc;

use super::access;
use super::ast::{self, Compare, Expr, FilterCall, Math, Name};
use super::call::{self, Args};
use super::checks;
use super::clock;
use super::error::{Fault, Run, failed};
use super::eval::Machine;
use super::filters;
use super::meter::Text;
use super::methods;
use super::ops;
use super::print;
use super::scope::Scope;
use super::value::{Dict, Range, Value};

/// The functions that every template has.
const FUNCTIONS: &[&str] = &[
    "range",
    "dict",
    "namespace",
    "raise_exception",
    "strftime_now",
];

/// The longest `range`, as in the sandbox of Jinja2.
const LONGEST_RANGE: usize = 100_000;

impl Machine {
    pub(super) fn expr(&mut self, expr: &Expr, scope: &Rc<Scope>) -> Run<Value> {
        self.meter.enter()?;
        let value = self.inner_expr(expr, scope)?;
        self.meter.leave();
        Ok(value)
    }

    fn inner_expr(&mut self, expr: &Expr, scope: &Rc<Scope>) -> Run<Value> {
        Ok(match expr {
            Expr::None => Value::None,
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Int(value) => Value::Int(*value),
            Expr::Float(value) => Value::Float(*value),
            Expr::Str(text) => Value::Str(Arc::clone(text)),
            Expr::Name(name) => self.lookup(name, scope),
            Expr::List(items) => {
                let items = self.exprs(items, scope)?;
                Value::list(&mut self.meter, items)?
            }
            Expr::Tuple(items) => {
                let items = self.exprs(items, scope)?;
                Value::tuple(&mut self.meter, items)?
            }
            Expr::Dict(items) => self.dict(items, scope)?,
            Expr::Math(first, rest) => self.math(first, rest, scope)?,
            Expr::Concat(parts) => self.concat(parts, scope)?,
            Expr::Compare(first, rest) => self.compare(first, rest, scope)?,
            Expr::And(parts) => self.first_where(parts, scope, |value| !value.is_true())?,
            Expr::Or(parts) => self.first_where(parts, scope, Value::is_true)?,
            Expr::Not(value) => Value::Bool(!self.expr(value, scope)?.is_true()),
            Expr::Negative(value) => match self.expr(value, scope)? {
                // -0.0 is not 0 - 0.0.
                Value::Float(value) => Value::Float(-value),
                other => ops::math(&mut self.meter, Math::Sub, &Value::Int(0), &other)?,
            },
            Expr::Positive(value) => {
                let value = self.expr(value, scope)?;
                ops::math(&mut self.meter, Math::Add, &Value::Int(0), &value)?
            }
            Expr::If(parts, otherwise) => {
                let [then, test] = parts.as_ref();
                match (self.expr(test, scope)?.is_true(), otherwise) {
                    (true, _) => self.expr(then, scope)?,
                    (false, Some(otherwise)) => self.expr(otherwise, scope)?,
                    (false, None) => Value::undefined("an `if` without `else`"),
                }
            }
            Expr::Attribute(value, name) => {
                let value = self.expr(value, scope)?;
                access::attribute(&mut self.meter, &value, name)?
            }
            Expr::Item(value, key) => {
                let value = self.expr(value, scope)?;
                let key = self.expr(key, scope)?;
                access::item(&mut self.meter, &value, &key)?
            }
            Expr::Slice(value, parts) => {
                let value = self.expr(value, scope)?;
                let mut bounds = [Value::None, Value::None, Value::None];
                for (bound, part) in bounds.iter_mut().zip(parts.iter()) {
                    if let Some(part) = part {
                        *bound = self.expr(part, scope)?;
                    }
                }
                ops::slice(&mut self.meter, &value, bounds)?
            }
            Expr::Call(callee, args) => {
                let callee = self.expr(callee, scope)?;
                let args = self.args(args, scope)?;
                self.call(&callee, args)?
            }
            Expr::Filter(value, filter) => self.filter(value, filter, scope)?,
            Expr::Test(value, test) => self.test(value, test, scope)?,
        })
    }

    fn lookup(&mut self, name: &Name, scope: &Rc<Scope>) -> Value {
        scope.get(name).unwrap_or_else(|| {
            let function = FUNCTIONS.iter().find(|known| **known == name.as_ref());
            function.map_or_else(
                || Value::Undefined(Arc::clone(name)),
                |name| Value::Function(name),
            )
        })
    }

    fn exprs(&mut self, items: &[Expr], scope: &Rc<Scope>) -> Run<Vec<Value>> {
        items.iter().map(|item| self.expr(item, scope)).collect()
    }

    fn dict(&mut self, items: &[(Expr, Expr)], scope: &Rc<Scope>) -> Run<Value> {
        let mut entries = Vec::new();
        for (key, value) in items {
            entries.push((self.expr(key, scope)?, self.expr(value, scope)?));
        }
        Dict::new(&mut self.meter, entries).map(Value::Dict)
    }

    fn math(&mut self, first: &Expr, rest: &[(Math, Expr)], scope: &Rc<Scope>) -> Run<Value> {
        let mut value = self.expr(first, scope)?;
        for (op, right) in rest {
            let right = self.expr(right, scope)?;
            value = ops::math(&mut self.meter, *op, &value, &right)?;
        }
        Ok(value)
    }

    fn compare(&mut self, first: &Expr, rest: &[(Compare, Expr)], scope: &Rc<Scope>) -> Run<Value> {
        let mut left = self.expr(first, scope)?;
        for (op, right) in rest {
            let right = self.expr(right, scope)?;
            let meter = &mut self.meter;
            let holds = match op {
                Compare::Eq => ops::equal(meter, &left, &right)?,
                Compare::Ne => !ops::equal(meter, &left, &right)?,
                Compare::Lt => ops::compare(meter, &left, &right)?.is_lt(),
                Compare::Le => ops::compare(meter, &left, &right)?.is_le(),
                Compare::Gt => ops::compare(meter, &left, &right)?.is_gt(),
                Compare::Ge => ops::compare(meter, &left, &right)?.is_ge(),
                Compare::In => ops::contains(meter, &right, &left)?,
                Compare::NotIn => !ops::contains(meter, &right, &left)?,
            };
            if !holds {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    /// The first value that ends the chain, else the last.
    fn first_where(
        &mut self,
        parts: &[Expr],
        scope: &Rc<Scope>,
        ends: fn(&Value) -> bool,
    ) -> Run<Value> {
        let mut value = Value::None;
        for part in parts {
            value = self.expr(part, scope)?;
            if ends(&value) {
                break;
            }
        }
        Ok(value)
    }

    fn filter(&mut self, value: &Expr, filter: &FilterCall, scope: &Rc<Scope>) -> Run<Value> {
        let value = self.expr(value, scope)?;
        let args = self.args(&filter.args, scope)?;
        filters::call(&mut self.meter, &filter.name, &value, args)
    }

    fn test(&mut self, value: &Expr, test: &FilterCall, scope: &Rc<Scope>) -> Run<Value> {
        let value = self.expr(value, scope)?;
        let args = self.args(&test.args, scope)?;
        checks::call(&mut self.meter, &test.name, &value, &args.positional).map(Value::Bool)
    }

    /// Evaluates the arguments of a call.
    pub(super) fn args(&mut self, args: &ast::Args, scope: &Rc<Scope>) -> Run<Args> {
        let mut positional = self.exprs(&args.positional, scope)?;
        let mut named = Vec::new();
        for (name, value) in &args.named {
            named.push((Arc::clone(name), self.expr(value, scope)?));
        }
        if let Some(star) = &args.star {
            positional.extend(self.expr(star, scope)?.items(&mut self.meter)?);
        }
        if let Some(star) = &args.double_star {
            let Value::Dict(dict) = self.expr(star, scope)? else {
                return failed("what follows `**` must be a mapping");
            };
            self.meter.items(dict.entries().len())?;
            for (name, value) in dict.entries() {
                named.push((Name::from(call::text(name)?), value.clone()));
            }
        }
        Ok(Args { positional, named })
    }

    /// `callee(args)`.
    pub(super) fn call(&mut self, callee: &Value, args: Args) -> Run<Value> {
        match callee {
            Value::Method(method) => methods::call(&mut self.meter, &method.0, &method.1, args),
            Value::Macro(closure) => self.call_macro(closure, args, None),
            Value::Loop(state) => self.recurse(state, args),
            Value::Function(name) => self.function(name, args),
            Value::Undefined(what) => failed(format!("{what} is undefined")),
            other => failed(format!("'{}' object is not callable", other.type_name())),
        }
    }

    fn function(&mut self, name: &str, args: Args) -> Run<Value> {
        match name {
            "range" => self.range(args),
            "raise_exception" => {
                let [message] = args.bind(name, ["message"])?;
                let message = print::to_text(&mut self.meter, &message.unwrap_or(Value::None))?;
                Err(Fault::Raised(message))
            }
            "strftime_now" => {
                let [pattern] = args.bind(name, ["format"])?;
                let pattern = pattern.unwrap_or(Value::None);
                let mut out = Text::new(&mut self.meter);
                clock::write_time(&mut out, self.now, call::text(&pattern)?)?;
                Ok(Value::Str(out.finish().into()))
            }
            _ => {
                let entries = self.entries(args)?;
                if name == "dict" {
                    return Dict::new(&mut self.meter, entries).map(Value::Dict);
                }
                let mut attributes = Vec::new();
                for (name, value) in entries {
                    attributes.push((Name::from(call::text(&name)?), value));
                }
                self.namespace(attributes)
            }
        }
    }

    /// The entries that `dict(mapping or pairs, **named)` names.
    fn entries(&mut self, args: Args) -> Run<Vec<(Value, Value)>> {
        let mut entries = Vec::new();
        match args.positional.as_slice() {
            [] => {}
            [Value::Dict(dict)] => {
                self.meter.items(dict.entries().len())?;
                entries.extend(dict.entries().iter().cloned());
            }
            [pairs] => {
                for pair in pairs.items(&mut self.meter)? {
                    match pair.items(&mut self.meter)?.as_slice() {
                        [key, value] => entries.push((key.clone(), value.clone())),
                        _ => return failed("a dictionary is made of pairs"),
                    }
                }
            }
            _ => return failed("dict expected at most 1 argument"),
        }
        entries.extend(
            args.named
                .into_iter()
                .map(|(name, value)| (Value::Str(name), value)),
        );
        Ok(entries)
    }

    fn range(&mut self, args: Args) -> Run<Value> {
        let mut bounds = Vec::new();
        for value in &args.positional {
            match value.as_int() {
                Some(int) => bounds.push(int),
                None => {
                    let name = value.type_name();
                    return failed(format!(
                        "'{name}' object cannot be interpreted as an integer"
                    ));
                }
            }
        }
        let (start, stop, step) = match (bounds.as_slice(), args.named.is_empty()) {
            ([stop], true) => (0, *stop, 1),
            ([start, stop], true) => (*start, *stop, 1),
            ([start, stop, step], true) if *step != 0 => (*start, *stop, *step),
            _ => return failed("range expects one to three integers, and a step that is not 0"),
        };
        let (low, high) = if step > 0 {
            (start, stop)
        } else {
            (stop, start)
        };
        let span = high.saturating_sub(low).max(0).unsigned_abs();
        let count = usize::try_from(span.div_ceil(step.unsigned_abs())).unwrap_or(usize::MAX);
        if count > LONGEST_RANGE {
            return failed(format!(
                "range too big: the longest has {LONGEST_RANGE} numbers"
            ));
        }
        Ok(Value::Range(Range {
            start,
            stop,
            step,
            count,
        }))
    }
}
