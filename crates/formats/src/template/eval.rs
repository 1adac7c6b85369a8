//! Runs the statements of a template.
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{Block, Expr, FilterCall, For, Macro, Name, Stmt, StmtKind, Target};
use super::call::Args;
use super::clock::LocalTime;
use super::error::{Bound, Fault, Run, failed};
use super::filters;
use super::meter::{Meter, Text};
use super::print;
use super::scope::Scope;
use super::value::{Closure, Loop, Namespace, Value};

/// How a block ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// One rendering.
pub(super) struct Machine {
    pub(super) meter: Meter,
    /// The line of the statement that runs.
    pub(super) line: usize,
    pub(super) now: LocalTime,
    /// All namespaces made, and all scopes that a macro holds: they may refer to one another in
    /// circles, and are emptied at the end.
    namespaces: Vec<Rc<Namespace>>,
    held: Vec<Rc<Scope>>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            namespace.attributes.take();
        }
        for scope in &self.held {
            scope.clear();
        }
    }
}

impl Machine {
    pub(super) fn new(meter: Meter, now: LocalTime) -> Self {
        Self {
            meter,
            line: 1,
            now,
            namespaces: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Runs a whole template and returns what it printed.
    pub(super) fn run(&mut self, body: &Block, scope: &Rc<Scope>) -> Run<String> {
        let mut out = String::new();
        self.block(body, scope, &mut out)?;
        Ok(out)
    }

    pub(super) fn namespace(&mut self, attributes: Vec<(Name, Value)>) -> Run<Value> {
        self.meter.items(attributes.len().saturating_add(4))?;
        let namespace = Rc::new(Namespace::default());
        for (name, value) in attributes {
            self.meter.items(1)?;
            namespace.set(&name, value);
        }
        self.namespaces.push(Rc::clone(&namespace));
        Ok(Value::Namespace(namespace))
    }

    fn closure(&mut self, code: &Arc<Macro>, scope: &Rc<Scope>) -> Run<Value> {
        self.meter.items(4)?;
        self.held.push(Rc::clone(scope));
        let (code, scope) = (Arc::clone(code), Rc::clone(scope));
        Ok(Value::Macro(Rc::new(Closure { code, scope })))
    }

    fn emit(&mut self, out: &mut String, piece: &str) -> Run<()> {
        self.meter.memory(piece.len())?;
        out.push_str(piece);
        let limit = self.meter.output_limit();
        match u64::try_from(out.len()) {
            Ok(length) if length <= limit => Ok(()),
            _ => Err(Fault::Limit(Bound::Output, limit)),
        }
    }

    fn block(&mut self, body: &Block, scope: &Rc<Scope>, out: &mut String) -> Run<Flow> {
        for stmt in body {
            self.line = stmt.line;
            self.meter.enter()?;
            let flow = self.statement(stmt, scope, out)?;
            self.meter.leave();
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// What a block prints, as a value.
    fn captured(&mut self, body: &Block, scope: &Rc<Scope>) -> Run<Value> {
        let mut out = String::new();
        self.block(body, &scope.inner()?, &mut out)?;
        Ok(Value::Str(out.into()))
    }

    fn statement(&mut self, stmt: &Stmt, scope: &Rc<Scope>, out: &mut String) -> Run<Flow> {
        match &stmt.kind {
            StmtKind::Text(text) => self.emit(out, text)?,
            StmtKind::Print(value) => {
                let value = self.expr(value, scope)?;
                self.print(&value, out)?;
            }
            StmtKind::If(branches, otherwise) => {
                for (test, body) in branches {
                    if self.expr(test, scope)?.is_true() {
                        return self.block(body, scope, out);
                    }
                }
                return self.block(otherwise, scope, out);
            }
            StmtKind::For(code) => {
                let items = self.expr(&code.iter, scope)?.items(&mut self.meter)?;
                self.run_loop(code, items, 0, scope, out)?;
            }
            StmtKind::Set(target, value) => {
                let value = self.expr(value, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::SetBlock(target, filters, body) => {
                let value = self.captured(body, scope)?;
                let value = self.filtered(value, filters, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::Macro(code) => {
                let closure = self.closure(code, scope)?;
                scope.set(&code.name, closure);
            }
            StmtKind::Call(call, caller) => {
                let caller = self.closure(caller, scope)?;
                let value = self.call_with(call, Some(caller), scope)?;
                self.print(&value, out)?;
            }
            StmtKind::FilterBlock(filters, body) => {
                let value = self.captured(body, scope)?;
                let value = self.filtered(value, filters, scope)?;
                self.print(&value, out)?;
            }
            StmtKind::With(values, body) => {
                let inner = scope.inner()?;
                for (target, value) in values {
                    let value = self.expr(value, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.block(body, &inner, out);
            }
            StmtKind::Scope(body) => return self.block(body, &scope.inner()?, out),
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
            StmtKind::Load(what) => {
                return failed(format!(
                    "`{what}` asks for another template, and there is none"
                ));
            }
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, value: &Value, out: &mut String) -> Run<()> {
        match value {
            Value::Str(text) => self.emit(out, text),
            other => {
                let text = print::to_text(&mut self.meter, other)?;
                self.emit(out, &text)
            }
        }
    }

    fn filtered(
        &mut self,
        mut value: Value,
        filters: &[FilterCall],
        scope: &Rc<Scope>,
    ) -> Run<Value> {
        for filter in filters {
            let args = self.args(&filter.args, scope)?;
            value = filters::call(&mut self.meter, &filter.name, &value, args)?;
        }
        Ok(value)
    }

    fn assign(&mut self, target: &Target, value: Value, scope: &Rc<Scope>) -> Run<()> {
        self.meter.steps(1)?;
        match target {
            Target::Name(name) => scope.set(name, value),
            Target::Tuple(targets) => {
                let items = value.items(&mut self.meter)?;
                if items.len() != targets.len() {
                    return failed(format!(
                        "{} values for {} names",
                        items.len(),
                        targets.len()
                    ));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item, scope)?;
                }
            }
            Target::Attribute(name, attribute) => match scope.get(name) {
                Some(Value::Namespace(namespace)) => {
                    self.meter.steps(namespace.attributes.borrow().len() / 8)?;
                    namespace.set(attribute, value);
                }
                _ => return failed("cannot assign attribute on non-namespace object"),
            },
        }
        Ok(())
    }

    /// Goes through the items; `outer` loops of the same recursion stand around this one.
    pub(super) fn run_loop(
        &mut self,
        code: &Arc<For>,
        mut items: Vec<Value>,
        outer: usize,
        scope: &Rc<Scope>,
        out: &mut String,
    ) -> Run<()> {
        if let Some(filter) = &code.filter {
            let mut kept = Vec::new();
            for item in items {
                let inner = scope.inner()?;
                self.assign(&code.target, item.clone(), &inner)?;
                if self.expr(filter, &inner)?.is_true() {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            self.block(&code.otherwise, &scope.inner()?, out)?;
            return Ok(());
        }
        let recursion = code.recursive.then(|| (Arc::clone(code), Rc::clone(scope)));
        let state = Loop::new(items, outer, recursion)?;
        let loop_name = Name::from("loop");
        for (index, item) in state.items.iter().enumerate() {
            self.meter.steps(1)?;
            state.index.set(index);
            let inner = scope.inner()?;
            inner.set(&loop_name, Value::Loop(Rc::clone(&state)));
            self.assign(&code.target, item.clone(), &inner)?;
            if self.block(&code.body, &inner, out)? == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    /// `loop(items)` inside a recursive loop.
    pub(super) fn recurse(&mut self, state: &Loop, args: Args) -> Run<Value> {
        let [items] = args.bind("loop", ["iterable"])?;
        let (Some(items), Some((code, scope))) = (items, &state.recursion) else {
            return failed("only a loop marked `recursive` can be called, with what to go through");
        };
        let items = items.items(&mut self.meter)?;
        let mut out = String::new();
        let line = self.line;
        self.run_loop(code, items, state.outer.saturating_add(1), scope, &mut out)?;
        self.line = line;
        Ok(Value::Str(out.into()))
    }

    pub(super) fn call_macro(
        &mut self,
        closure: &Closure,
        args: Args,
        mut caller: Option<Value>,
    ) -> Run<Value> {
        let code = &closure.code;
        let scope = closure.scope.inner()?;
        let mut positional = args.positional.into_iter();
        let mut named = args.named;
        if let Some(at) = named.iter().position(|(name, _)| &**name == "caller") {
            caller = Some(named.remove(at).1);
        }
        for (name, default) in &code.params {
            let by_name = named.iter().position(|(known, _)| known == name);
            let value = match (positional.next(), by_name) {
                (Some(_), Some(_)) => {
                    return failed(format!("'{}' got two values for '{name}'", code.name));
                }
                (Some(value), None) => value,
                (None, Some(at)) => named.remove(at).1,
                (None, None) => match default {
                    Some(default) => self.expr(default, &scope)?,
                    None => Value::undefined(&format!("the parameter '{name}'")),
                },
            };
            scope.set(name, value);
        }
        self.special_names(code, &scope, positional.collect(), named, caller)?;
        let line = self.line;
        let mut out = String::new();
        self.block(&code.body, &scope, &mut out)?;
        self.line = line;
        Ok(Value::Str(out.into()))
    }

    /// `varargs`, `kwargs` and `caller`, for a macro that reads them; left over arguments are an
    /// error for one that does not.
    fn special_names(
        &mut self,
        code: &Macro,
        scope: &Rc<Scope>,
        positional: Vec<Value>,
        named: Vec<(Name, Value)>,
        caller: Option<Value>,
    ) -> Run<()> {
        if code.uses.varargs {
            scope.set(
                &Name::from("varargs"),
                Value::tuple(&mut self.meter, positional)?,
            );
        } else if !positional.is_empty() {
            return failed(format!(
                "macro '{}' takes not more than {} arguments",
                code.name,
                code.params.len()
            ));
        }
        if code.uses.kwargs {
            let named = named
                .into_iter()
                .map(|(name, value)| (Value::Str(name), value));
            let dict = super::value::Dict::new(&mut self.meter, named)?;
            scope.set(&Name::from("kwargs"), Value::Dict(dict));
        } else if let Some((name, _)) = named.first() {
            return failed(format!("macro '{}' takes no argument '{name}'", code.name));
        }
        if code.uses.caller {
            let caller = caller.unwrap_or_else(|| Value::undefined("`caller`"));
            scope.set(&Name::from("caller"), caller);
        } else if caller.is_some() {
            return failed(format!("macro '{}' takes no argument 'caller'", code.name));
        }
        Ok(())
    }

    /// `{% call %}`: a call whose body is handed in as `caller`.
    fn call_with(&mut self, call: &Expr, caller: Option<Value>, scope: &Rc<Scope>) -> Run<Value> {
        let Expr::Call(callee, args) = call else {
            return failed("`{% call %}` needs a call");
        };
        let callee = self.expr(callee, scope)?;
        let args = self.args(args, scope)?;
        match &callee {
            Value::Macro(closure) => self.call_macro(closure, args, caller),
            _ => self.call(&callee, args),
        }
    }

    /// The text of several values, one after the other.
    pub(super) fn concat(&mut self, parts: &[Expr], scope: &Rc<Scope>) -> Run<Value> {
        let mut values = Vec::new();
        for part in parts {
            values.push(self.expr(part, scope)?);
        }
        let mut out = Text::new(&mut self.meter);
        for value in &values {
            print::write_text(&mut out, value)?;
        }
        Ok(Value::Str(out.finish().into()))
    }
}
