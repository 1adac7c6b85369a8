//! The door against servers, names and logs that misbehave.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod addresses;
mod bounds;
mod ledger;
mod messages;
mod posts;
mod proxy;
mod server;
mod tokens;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use ingle_egress::{
    Door, DoorOptions, EgressError, Endpoint, Event, Follow, Limits, Log, Origin, Purpose,
    Redirects, Request, Resolve, Resolving, Row, Url,
};

/// Rows in memory.
#[derive(Default)]
pub(crate) struct Rows(Mutex<Vec<Row>>);

impl Log for Rows {
    fn record(&self, row: &Row) -> io::Result<()> {
        self.0.lock().unwrap().push(row.clone());
        Ok(())
    }
}

impl Rows {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|row| row.event.clone())
            .collect()
    }

    /// The kinds of the rows, in order.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        let kind = |event: &Event| match event {
            Event::Refused { .. } => "refused",
            Event::Asked { .. } => "asked",
            Event::Dial { .. } => "dial",
            Event::End { .. } => "end",
        };
        self.events().iter().map(kind).collect()
    }
}

/// A resolver that knows a few names, and counts.
#[derive(Default)]
pub(crate) struct Names {
    known: HashMap<String, Vec<IpAddr>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    /// `hub.test`, `cdn.test` and `proxy.test` are this machine.
    pub(crate) fn local() -> Arc<Self> {
        Self::of(&[
            ("hub.test", &["127.0.0.1"]),
            ("cdn.test", &["127.0.0.1"]),
            ("proxy.test", &["127.0.0.1"]),
        ])
    }

    pub(crate) fn of(known: &[(&str, &[&str])]) -> Arc<Self> {
        let line = |(name, addresses): &(&str, &[&str])| {
            let addresses = addresses.iter().map(|text| text.parse().unwrap());
            ((*name).to_owned(), addresses.collect())
        };
        Arc::new(Self {
            known: known.iter().map(line).collect(),
            asked: Mutex::default(),
        })
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        self.asked.lock().unwrap().push(host.to_owned());
        let found = self.known.get(host).cloned();
        Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// Settings for a door to one named endpoint.
pub(crate) fn options(endpoint: Origin, redirects: Redirects) -> DoorOptions {
    DoorOptions {
        endpoints: vec![Endpoint::named(Purpose::Pull, endpoint, redirects)],
        limits: Limits {
            slowest: None,
            ..Limits::default()
        },
        authorities: vec![server::AUTHORITY.to_vec()],
        resolver: Names::local(),
        ..DoorOptions::default()
    }
}

pub(crate) fn get(door: &Door, url: &Url) -> Result<Request, EgressError> {
    Ok(Request::get(door.permit(Purpose::Pull, url)?).follow(Follow::Allowed))
}

/// The body behind `url`, as text.
pub(crate) fn fetch(door: &Door, url: &Url) -> Result<String, EgressError> {
    let body = door.send_blocking(get(door, url)?)?.bytes(1000)?;
    Ok(String::from_utf8(body).unwrap())
}
