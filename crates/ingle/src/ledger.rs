//! The ledger of this machine's user: where it lies, and whose days it counts.

use crate::Usage;
use crate::config::Ledger as Settings;
use crate::environment::Environment;
use anyhow::Context;
use ingle_egress::Clock;
use ingle_gateway::ledger::{Energy, Ledger, Options, Rapl, Reader, Span, TimeZone, Zone};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where Linux tells what a machine draws.
const POWERCAP: &str = "/sys/class/powercap";

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The clock of this machine.
pub fn clock() -> Clock {
    Arc::new(now)
}

/// Where it lies: as ingle.toml says, else with what else Ingle must remember.
///
/// # Errors
/// There is no such place.
pub fn path(settings: &Settings, environment: &Environment) -> anyhow::Result<PathBuf> {
    let named = settings.file.clone();
    named.or_else(|| environment.ledger_file()).context(
        "there is no place for the ledger; set HOME or XDG_STATE_HOME, or [ledger] file in ingle.toml",
    )
}

/// Whose days and months: as ingle.toml says, else this machine's, else UTC.
pub fn zone(settings: &Settings) -> Zone {
    let named = settings.zone.as_ref().map(|(_, zone)| zone.clone());
    Zone::new(named.unwrap_or_else(|| TimeZone::try_system().unwrap_or(TimeZone::UTC)))
}

/// The ledger, to be written.
///
/// # Errors
/// It cannot be opened or begun.
pub fn open(settings: &Settings, environment: &Environment) -> anyhow::Result<Ledger> {
    let path = path(settings, environment)?;
    if let Some(folder) = path.parent() {
        let made = std::fs::create_dir_all(folder);
        made.with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    open_at(&path, settings)
}

/// The one at `path`.
///
/// # Errors
/// As [`open`].
pub fn open_at(path: &Path, settings: &Settings) -> anyhow::Result<Ledger> {
    let options = Options {
        caps: settings.caps.clone(),
        zone: zone(settings),
        keep_texts: settings.keep_texts,
        keep_days: settings.keep_days,
    };
    Ok(Ledger::open(path, options, clock())?)
}

/// The ledger, to be read: another one where `file` names it.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn read(
    file: Option<&Path>,
    settings: &Settings,
    environment: &Environment,
) -> anyhow::Result<Reader> {
    let path = match file {
        Some(file) => file.to_owned(),
        None => path(settings, environment)?,
    };
    Ok(Reader::open(&path)?)
}

/// What this machine draws.
///
/// # Errors
/// Why that is not known, in words.
pub fn energy(settings: &Settings) -> Result<Energy, String> {
    if settings.energy == Some(false) {
        return Err("[ledger] energy is false".into());
    }
    let rapl = Rapl::open(Path::new(POWERCAP)).map_err(|error| error.to_string())?;
    Ok(Energy::new(Box::new(rapl)))
}

/// A span of time, as it is typed.
#[derive(clap::Args)]
pub struct SpanArgs {
    /// From this day on: 2026-11-21, today, yesterday, or 7d for the last seven days
    #[arg(long, value_name = "DAY")]
    since: Option<String>,
    /// Up to and with this day
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
}

impl SpanArgs {
    /// In milliseconds since 1970.
    ///
    /// # Errors
    /// A day that does not exist.
    pub fn span(&self, zone: &Zone, now: u64) -> anyhow::Result<Span> {
        let since = self.since.as_deref().map(|day| start(day, zone, now));
        let until = self.until.as_deref().map(|day| start(day, zone, now));
        let span = Span {
            since: since.transpose()?,
            until: until.transpose()?.map(|at| zone.day(at).end),
        };
        match (span.since, span.until) {
            (Some(since), Some(until)) if since >= until => {
                Err(Usage("--since lies after --until".into()).into())
            }
            _ => Ok(span),
        }
    }
}

/// The first moment of a day.
fn start(text: &str, zone: &Zone, now: u64) -> anyhow::Result<u64> {
    let back = match text {
        "today" => Some(0),
        "yesterday" => Some(1),
        // Seven days with today.
        _ => text
            .strip_suffix('d')
            .and_then(|days| days.parse::<u32>().ok())
            .filter(|days| *days > 0)
            .map(|days| days - 1),
    };
    if let Some(days) = back {
        let mut at = zone.day(now).start;
        for _ in 0..days.min(40_000) {
            at = zone.day(at.saturating_sub(1)).start;
        }
        return Ok(at);
    }
    let wrong = || {
        Usage(format!(
            "`{}` is no day; write 2026-11-21, today, yesterday or 7d",
            crate::out::plain(text)
        ))
    };
    Ok(zone.start_of(text).ok_or_else(wrong)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_as_they_are_typed() {
        let zone = Zone::default();
        // 2026-11-21 17:40 UTC.
        let now = 1_795_282_800_000;
        let date = |text: &str| start(text, &zone, now).map(|at| zone.date(at)).ok();
        assert_eq!(date("today").as_deref(), Some("2026-11-21"));
        assert_eq!(date("yesterday").as_deref(), Some("2026-11-20"));
        assert_eq!(date("1d").as_deref(), Some("2026-11-21"));
        assert_eq!(date("30d").as_deref(), Some("2026-10-23"));
        assert_eq!(date("2026-02-28").as_deref(), Some("2026-02-28"));
        for wrong in ["", "d", "0d", "-3d", "2026-02-30", "tomorrow"] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
        let args = |since: &str, until: &str| SpanArgs {
            since: Some(since.to_owned()),
            until: Some(until.to_owned()),
        };
        let span = args("2026-11-20", "2026-11-21").span(&zone, now).unwrap();
        assert_eq!(span.until.unwrap() - span.since.unwrap(), 2 * 86_400_000);
        assert!(args("2026-11-21", "2026-11-20").span(&zone, now).is_err());
    }
}
