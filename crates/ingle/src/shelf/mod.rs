//! The models of a server: which there are, which are loaded, and who leaves when memory is wanted.
//!
//! All share one budget of memory and one team of threads. A model is loaded when somebody asks for
//! it, on a thread of its own, one at a time; those who ask meanwhile wait for that one load, and
//! other models go on answering. Where there is no room, models that nobody uses leave, the one that
//! was used longest ago first. A model in use never leaves.

pub mod answers;
mod catalog;
mod loading;
mod wanted;

pub use catalog::{Catalog, Puller, Spec, progress};

use ingle::engine::Plan;
use ingle_server::{
    ApiError, Details, InMemory, Later, Offer, Preset, Room, Served, Watcher, in_memory,
};
use loading::Ready;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The status of an answer.
pub(crate) type Status = ingle_server::StatusCode;

/// The models of a server. Clones are the same one.
#[derive(Clone)]
pub struct Shelf(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    state: Mutex<State>,
    /// Held while a model is loaded: one at a time, so that two do not take the same memory.
    load: Mutex<()>,
}

#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    closed: bool,
}

/// A model that is loaded, or on its way.
enum Slot {
    Loading {
        id: String,
        /// Told when it is over.
        done: watch::Receiver<Option<Result<(), ApiError>>>,
    },
    Ready(Ready),
}

impl Slot {
    fn id(&self) -> &str {
        match self {
            Self::Loading { id, .. } => id,
            Self::Ready(ready) => &ready.model.id,
        }
    }
}

/// What to do about a model that is wanted.
enum Next {
    Take(Arc<Served>),
    Wait(watch::Receiver<Option<Result<(), ApiError>>>),
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}

impl Shelf {
    /// Waits until the engines of models that were told to end have, and what they keep on disk is written.
    pub fn join(&self) {
        let engines: Vec<_> = self
            .0
            .lock()
            .ready()
            .map(|ready| ready.model.engine.clone())
            .collect();
        engines.iter().for_each(ingle::engine::EngineHandle::join);
    }

    /// A shelf with nothing loaded, and the thread that looks after it.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn new(catalog: Catalog) -> std::io::Result<Self> {
        let shelf = Self(Arc::new(Inner {
            catalog,
            state: Mutex::default(),
            load: Mutex::default(),
        }));
        let inner = Arc::downgrade(&shelf.0);
        let look = move || {
            /// How often it is looked whether somebody has to leave.
            const GLANCE: Duration = Duration::from_millis(500);
            loop {
                std::thread::sleep(GLANCE);
                match inner.upgrade() {
                    Some(inner) => inner.dismiss(),
                    None => return,
                }
            }
        };
        std::thread::Builder::new()
            .name("shelf".into())
            .spawn(look)?;
        Ok(shelf)
    }

    /// Loads the first model on this thread, before anybody is served.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load_first(&self) -> anyhow::Result<(String, Plan)> {
        let spec = self.0.catalog.first().clone();
        let (ready, plan) = self.0.load(&spec)?;
        let id = ready.model.id.clone();
        self.0.lock().slots.push(Slot::Ready(ready));
        Ok((id, plan))
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model if it is there; else whom to wait for, a load that this begins if nobody has.
    fn next(self: &Arc<Self>, id: &str) -> Result<Next, ApiError> {
        let mut state = self.lock();
        if state.closed {
            return Err(stopping());
        }
        match state.slots.iter_mut().find(|slot| slot.id() == id) {
            Some(Slot::Ready(ready)) if ready.model.engine.is_open() => {
                ready.used = Instant::now();
                return Ok(Next::Take(Arc::clone(&ready.model)));
            }
            Some(Slot::Loading { done, .. }) => return Ok(Next::Wait(done.clone())),
            // Its engine has ended by a fault: it is loaded anew.
            Some(Slot::Ready(_)) => state.slots.retain(|slot| slot.id() != id),
            None => {}
        }
        let spec = self.catalog.spec(id)?;
        let (tell, done) = watch::channel(None);
        state.slots.push(Slot::Loading {
            id: id.to_owned(),
            done: done.clone(),
        });
        drop(state);
        let inner = Arc::clone(self);
        let wanted = id.to_owned();
        let work = move || {
            let loaded =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inner.load(&spec)));
            let loaded = loaded.unwrap_or_else(|_| Err(anyhow::anyhow!("a fault in Ingle")));
            let mut state = inner.lock();
            state.slots.retain(|slot| slot.id() != wanted);
            let told = match loaded {
                Ok((ready, _)) if !state.closed => {
                    state.slots.push(Slot::Ready(ready));
                    Ok(())
                }
                Ok((ready, _)) => {
                    ready.model.engine.stop();
                    Err(stopping())
                }
                Err(error) => Err(wanted::refusal(&error)),
            };
            drop(state);
            let _ = tell.send(Some(told));
        };
        let started = std::thread::Builder::new().name("load".into()).spawn(work);
        if started.is_err() {
            self.lock().slots.retain(|slot| slot.id() != id);
            return Err(ApiError::internal("the system starts no thread"));
        }
        Ok(Next::Wait(done))
    }

    async fn open(self: &Arc<Self>, id: &str) -> Result<Arc<Served>, ApiError> {
        loop {
            let mut done = match self.next(id)? {
                Next::Take(model) => return Ok(model),
                Next::Wait(done) => done,
            };
            let told = done.wait_for(Option::is_some).await;
            match told.map(|told| told.clone()) {
                Ok(Some(Err(error))) => return Err(error),
                Ok(_) => {}
                Err(_) => return Err(ApiError::internal("a fault in Ingle")),
            }
        }
    }

    /// Takes a model out, where it is loaded and nobody uses it.
    fn take(&self, id: &str) -> Result<Option<Ready>, ApiError> {
        let mut state = self.lock();
        if !state.ready().any(|ready| ready.model.id == id) {
            return Ok(None);
        }
        state.take_idle(id).map(Some).ok_or_else(|| {
            let message = "the model is in use; ask again when its answers are over";
            ApiError::new(Status::CONFLICT, "model_in_use", message)
        })
    }

    /// Takes out those whose time is over.
    fn dismiss(&self) {
        let now = Instant::now();
        let mut over = Vec::new();
        let mut state = self.lock();
        for slot in &mut state.slots {
            let Slot::Ready(ready) = slot else { continue };
            if ready.is_used() {
                ready.used = now;
            } else if let Some(time) = ready.model.keep_alive.get()
                && now.duration_since(ready.used) >= time
            {
                over.push(ready.model.id.clone());
            }
        }
        let gone = over.iter().filter_map(|id| state.take_idle(id));
        let gone: Vec<Ready> = gone.collect();
        drop(state);
        gone.into_iter().for_each(Ready::end);
    }
}

impl State {
    /// Takes a model out, if nobody uses it.
    fn take_idle(&mut self, id: &str) -> Option<Ready> {
        let place = self.slots.iter().position(
            |slot| matches!(slot, Slot::Ready(ready) if ready.model.id == id && !ready.is_used()),
        )?;
        match self.slots.remove(place) {
            Slot::Ready(ready) => Some(ready),
            Slot::Loading { .. } => None,
        }
    }

    fn ready(&self) -> impl Iterator<Item = &Ready> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Ready(ready) => Some(ready),
            Slot::Loading { .. } => None,
        })
    }
}

fn stopping() -> ApiError {
    let status = Status::SERVICE_UNAVAILABLE;
    ApiError::new(status, "server_stopping", "the server is stopping").retry_after(5)
}

impl Room for Shelf {
    fn name_of(&self, name: Option<&str>) -> Result<String, ApiError> {
        self.0.catalog.id_of(name)
    }

    fn open<'a>(&'a self, id: &'a str) -> Later<'a, Arc<Served>> {
        Box::pin(self.0.open(id))
    }

    fn has_presets(&self) -> bool {
        self.0.catalog.has_presets()
    }

    fn preset(&self, id: &str) -> Option<Preset> {
        self.0.catalog.preset(id)
    }

    fn list(&self) -> Vec<Offer> {
        self.0.catalog.offers()
    }

    fn loaded(&self) -> Vec<InMemory> {
        let state = self.0.lock();
        let one = |ready: &Ready| {
            let left = ready.model.keep_alive.get();
            let left = left.map(|time| time.saturating_sub(ready.used.elapsed()));
            InMemory {
                path: ready.path.clone(),
                ..in_memory(&ready.model, left)
            }
        };
        state.ready().map(one).collect()
    }

    fn engines(&self) -> Vec<Arc<Served>> {
        let state = self.0.lock();
        state
            .ready()
            .map(|ready| Arc::clone(&ready.model))
            .collect()
    }

    fn unload<'a>(&'a self, id: &'a str) -> Later<'a, bool> {
        let taken = self.0.take(id);
        Box::pin(async move {
            let Some(ready) = taken? else {
                return Ok(false);
            };
            // Its thread may be at the end of a step.
            let _ = tokio::task::spawn_blocking(move || ready.end()).await;
            Ok(true)
        })
    }

    fn show(&self, id: &str) -> Result<Details, ApiError> {
        self.0.catalog.details(id)
    }

    fn pull(&self, name: &str, watcher: Watcher) -> Result<(), ApiError> {
        self.0.catalog.pull(name, watcher)
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), ApiError> {
        self.0.catalog.copy(from, to)
    }

    fn delete(&self, name: &str) -> Result<(), ApiError> {
        self.0.catalog.delete(name)
    }

    fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.ready().for_each(|ready| ready.model.engine.stop());
    }

    fn is_open(&self) -> bool {
        !self.0.lock().closed
    }
}
