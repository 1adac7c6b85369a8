//! The variables of a block, and of the blocks around it.
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::ast::Name;
use super::error::{Bound, Fault, Run};
use super::value::Value;

/// Scopes inside one another: blocks of the source and macros defined by macros.
const DEPTH: usize = 300;

pub(super) struct Scope {
    names: RefCell<HashMap<Name, Value>>,
    around: Option<Rc<Scope>>,
    depth: usize,
}

impl Scope {
    pub(super) fn root() -> Rc<Self> {
        Rc::new(Self {
            names: RefCell::default(),
            around: None,
            depth: 0,
        })
    }

    /// A scope inside this one.
    pub(super) fn inner(self: &Rc<Self>) -> Run<Rc<Self>> {
        let depth = self.depth.saturating_add(1);
        if depth > DEPTH {
            return Err(Fault::Limit(
                Bound::Depth,
                u64::try_from(DEPTH).unwrap_or(u64::MAX),
            ));
        }
        Ok(Rc::new(Self {
            names: RefCell::default(),
            around: Some(Rc::clone(self)),
            depth,
        }))
    }

    pub(super) fn get(&self, name: &str) -> Option<Value> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if let Some(value) = here.names.borrow().get(name) {
                return Some(value.clone());
            }
            scope = here.around.as_deref();
        }
        None
    }

    pub(super) fn set(&self, name: &Name, value: Value) {
        self.names.borrow_mut().insert(Name::clone(name), value);
    }

    /// Forgets the variables of this scope, which may hold the scope itself.
    pub(super) fn clear(&self) -> HashMap<Name, Value> {
        self.names.take()
    }
}
