//! A server of this process alone, for an answer that may come from a provider: `ingle run --route` asks it
//! as it would ask one that runs, so that the same rules hold and the same rows are written.

use crate::commands::serve::{model_id, random};
use crate::config::Config;
use crate::load::{BUILT_IN_NAME, LoadArgs};
use crate::shelf::{Catalog, Shelf, Spec};
use crate::sockets::{Owner, Running};
use crate::through::{Route, Through, parameters};
use crate::{clock, routing};
use anyhow::Context;
use ingle::Sampling;
use ingle_server::{
    Allowed, App, Config as ServerConfig, Keys, Limits, Need, Preset, Sockets, run_until_stopped,
};
use serde_json::{Map, Value};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The server; it ends with this.
pub struct OwnServer {
    /// What it calls its model.
    id: String,
    running: Running,
    shelf: Shelf,
    thread: Option<JoinHandle<()>>,
    /// Its file goes with it.
    _socket: Owner,
}

impl OwnServer {
    /// Loads `model` and serves it to this process. `usual`: how it samples where a request says nothing.
    ///
    /// # Errors
    /// The model or the gateway of ingle.toml cannot be had, or there is no place for a socket.
    pub fn start(
        model: Option<&str>,
        load: &LoadArgs,
        usual: &Sampling,
        config: &Config,
        offline: bool,
    ) -> anyhow::Result<Self> {
        let gateway = routing::gateway(config, offline)?;
        let first = Spec {
            id: model.map_or_else(|| BUILT_IN_NAME.to_owned(), model_id),
            aliases: model.map(str::to_owned).into_iter().collect(),
            model: model.map(str::to_owned),
            load: load.clone(),
            parallel: Some(1),
            keep_alive: None,
            preset: Preset {
                parameters: own_way(usual),
                ..Preset::default()
            },
            base: None,
        };
        let shelf = Shelf::new(Catalog::new(first, Vec::new(), None, load.shared()?))?;
        let (id, _) = shelf.load_first()?;
        let settings = ServerConfig {
            limits: Limits::default(),
            allowed: Allowed::default(),
            unix_time: clock::unix,
            random,
            log: Arc::new(|_| {}),
            transcript: None,
        };
        // Nobody has a key: only who comes through the socket is let in.
        let keys = Keys::new(Need::Always);
        let app = App::with_gateway(settings, Arc::new(shelf.clone()), keys, gateway);
        let socket = Owner::listen().context("a socket cannot be made; set HOME")?;
        let sockets = Sockets {
            tcp: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
            tls: None,
            #[cfg(unix)]
            owner: socket.listener(),
        };
        let serve = move || drop(run_until_stopped(sockets, app));
        let thread = std::thread::Builder::new()
            .name("server".into())
            .spawn(serve)?;
        let own = std::process::id();
        let running = Running::all().into_iter().find(|server| server.pid == own);
        Ok(Self {
            id,
            running: running.context("the socket of this process cannot be reached")?,
            shelf,
            thread: Some(thread),
            _socket: socket,
        })
    }

    /// To ask it.
    pub fn through(&self, route: Route) -> Through {
        Through::own(self.running.clone(), self.id.clone(), route)
    }
}

/// How a model samples that is loaded here, as what requests mean that say nothing. A seed is each answer's own.
fn own_way(usual: &Sampling) -> Map<String, Value> {
    let all = parameters(usual).into_iter();
    let all = all.filter(|(flag, ..)| !matches!(*flag, "seed" | "logit_bias"));
    all.map(|(_, name, value)| (name.to_owned(), value))
        .collect()
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // What it says to that nobody waits for.
        let nothing = serde_json::json!({});
        drop(self.running.ask("POST", "/ingle/stop", Some(&nothing)));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        self.shelf.join();
    }
}
