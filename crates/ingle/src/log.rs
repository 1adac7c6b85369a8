//! What a server tells of its work on standard error: a line for each request, or events with the spans
//! they belong to.
//!
//! Events are those of Ingle's own crates, which hold no word of a request. Those of other crates, of which
//! nobody here can say that, are not written, whatever the level.

use tracing::Level;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line for each request, when it ends
    Lines,
    /// Events as text, with times and the name of their request
    Text,
    /// The same as JSON, an object a line
    Json,
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Detail {
    /// The end of each request
    Info,
    /// Also its prompt, its first token and its last, in numbers
    Debug,
}

impl From<Detail> for Level {
    fn from(detail: Detail) -> Self {
        match detail {
            Detail::Info => Self::INFO,
            Detail::Debug => Self::DEBUG,
        }
    }
}

/// From now on events are written; for [`Format::Lines`] there is nothing to do.
pub fn begin(format: Format, detail: Detail) {
    let ours = filter_fn(|about| {
        let target = about.target();
        target == "ingle" || target.starts_with("ingle::") || target.starts_with("ingle_")
    });
    let wanted = ours.and(LevelFilter::from_level(detail.into()));
    let events = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let all = tracing_subscriber::registry();
    // Somebody else has asked for events already: they get them.
    let _ = match format {
        Format::Lines => return,
        Format::Text => all.with(events.with_filter(wanted)).try_init(),
        Format::Json => all.with(events.json().with_filter(wanted)).try_init(),
    };
}
