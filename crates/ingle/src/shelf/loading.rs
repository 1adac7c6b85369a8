//! Loading a model into what memory there is, and making room for it.

use super::catalog::Spec;
use super::wanted::NoRoom;
use super::{Inner, Slot};
use crate::load::{Company, Planned, load_planned, plan_for};
use crate::{clock, out};
use ingle::engine::{EngineHandle, Patience, Plan, PlanError};
use ingle_server::{KeepAlive, Limit, Served};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// A model that is loaded.
pub struct Ready {
    pub model: Arc<Served>,
    /// Where its file lies.
    pub path: Option<PathBuf>,
    /// When somebody asked for it last, or was seen using it.
    pub used: Instant,
}

impl Ready {
    /// Whether a request holds it. The shelf holds one `Arc`.
    pub fn is_used(&self) -> bool {
        Arc::strong_count(&self.model) > 1
    }

    /// Ends its engine and waits until its memory is given back.
    pub fn end(self) {
        let engine = self.model.engine.clone();
        drop(self.model);
        engine.stop();
        engine.join();
    }
}

impl Inner {
    /// Loads a model, after those have left that must.
    pub(super) fn load(&self, spec: &Spec) -> anyhow::Result<(Ready, Plan)> {
        let _one = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        let planned = self.room_for(spec)?;
        let path = planned.loader.files().paths().next().map(PathBuf::from);
        let loaded = load_planned(planned, &spec.load)?;
        let fingerprint = loaded.fingerprint();
        let token_bytes = loaded.work.bytes();
        let limit = self.catalog.read_rate().map(|read_rate| Limit {
            token_bytes,
            read_rate,
        });
        let identity = loaded.identity.clone();
        let (engine, prompter) = loaded.model.into_parts();
        let start = Instant::now();
        let plan = engine.plan().clone();
        let turns = self.catalog.shared().turns;
        let patience = Patience::default();
        let engine = EngineHandle::start(engine, turns, patience, move || start.elapsed())?;
        let model = Served {
            fingerprint,
            identity,
            aliases: spec.aliases.clone(),
            created: clock::unix(),
            keep_alive: KeepAlive::new(spec.keep_alive),
            limit,
            ..Served::new(spec.id.clone(), &plan, prompter, engine)
        };
        let ready = Ready {
            model: Arc::new(model),
            path,
            used: Instant::now(),
        };
        Ok((ready, plan))
    }

    /// How the model is loaded: as it would be alone, if those whom nobody uses make room enough; else
    /// within what is free.
    fn room_for(&self, spec: &Spec) -> anyhow::Result<Planned> {
        let budget = self.catalog.budget();
        let plan = |memory| {
            let load = spec.load.clone().in_house(self.catalog.shared(), memory);
            plan_for(
                spec.model.as_deref(),
                &load,
                Company::Several(spec.parallel),
            )
        };
        let wish = plan(budget.limit())?;
        let wanted = wish.loader.plan().total();
        while wanted > budget.free() && self.evict_one() {}
        if wanted <= budget.free() {
            return Ok(wish);
        }
        let was_streamed = wish.loader.plan().streamed.is_some();
        drop(wish);
        let no_room =
            |why: String| anyhow::Error::new(NoRoom(self.who_is_in_the_way(wanted, &why)));
        match plan(budget.free()) {
            // Reading weights from disk is for models that would not fit alone.
            Ok(less) if less.loader.plan().streamed.is_none() || was_streamed => Ok(less),
            Ok(_) => Err(no_room(String::new())),
            Err(error) => match error.downcast_ref::<ingle::Error>() {
                Some(ingle::Error::Plan(
                    PlanError::Weights { .. }
                    | PlanError::Budget { .. }
                    | PlanError::Context { .. },
                )) => Err(no_room(format!(": {error}"))),
                _ => Err(error),
            },
        }
    }

    /// Takes out the model that was used longest ago, of those whom nobody uses. `false`: there is none.
    fn evict_one(&self) -> bool {
        let mut state = self.lock();
        let idle = state.ready().filter(|ready| !ready.is_used());
        let oldest = idle
            .min_by_key(|ready| ready.used)
            .map(|ready| ready.model.id.clone());
        let Some(ready) = oldest.and_then(|id| state.take_idle(&id)) else {
            return false;
        };
        drop(state);
        out::note(format!(
            "{} leaves: its memory is wanted",
            out::plain(&ready.model.id)
        ));
        ready.end();
        true
    }

    fn who_is_in_the_way(&self, wanted: u64, why: &str) -> String {
        let state = self.lock();
        let used = state.slots.iter().filter_map(|slot| match slot {
            Slot::Ready(ready) => Some(format!(
                "`{}` with {}",
                ready.model.id,
                out::bytes(ready.model.bytes)
            )),
            Slot::Loading { .. } => None,
        });
        let used: Vec<String> = used.collect();
        let (free, limit) = (self.catalog.budget().free(), self.catalog.budget().limit());
        let names = match used.is_empty() {
            true => "no model".to_owned(),
            false => used.join(", "),
        };
        format!(
            "this model wants {} and {} of {} are free; in use: {names}{why}; ask again when they are idle, or start the server with more --memory",
            out::bytes(wanted),
            out::bytes(free),
            out::bytes(limit)
        )
    }
}
