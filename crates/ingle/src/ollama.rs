//! What the variables of Ollama's server mean for `ingle serve --ollama`.

use crate::Usage;
use crate::keep_alive;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The port that Ollama's clients call.
pub const PORT: u16 = 11434;
/// How long a model stays where nobody says how long.
pub const KEEP_ALIVE: Option<Duration> = Some(Duration::from_secs(300));
/// Web pages that may ask where nobody says which: those of this machine, and of programs on it.
pub const ORIGINS: [&str; 11] = [
    "http://localhost",
    "https://localhost",
    "http://localhost:*",
    "https://localhost:*",
    "http://127.0.0.1",
    "https://127.0.0.1",
    "http://127.0.0.1:*",
    "https://127.0.0.1:*",
    "app://*",
    "tauri://*",
    "vscode-webview://*",
];

/// What the variables say; what they do not say is as the server has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `OLLAMA_HOST`: where to listen.
    pub host: Option<IpAddr>,
    /// The port of `OLLAMA_HOST`.
    pub port: Option<u16>,
    /// `OLLAMA_KEEP_ALIVE`; the inner `None` is until the memory is wanted.
    pub keep_alive: Option<Option<Duration>>,
    /// `OLLAMA_CONTEXT_LENGTH`.
    pub context: Option<u32>,
    /// `OLLAMA_NUM_PARALLEL`.
    pub parallel: Option<u32>,
    /// `OLLAMA_MAX_QUEUE`.
    pub queue: Option<u32>,
    /// `OLLAMA_ORIGINS`.
    pub origins: Vec<String>,
}

/// Variables that are set when a model runs on a GPU, or say what is so anyway or cannot be so here.
const WITHOUT_MEANING: [&str; 14] = [
    "OLLAMA_FLASH_ATTENTION",
    "OLLAMA_KV_CACHE_TYPE",
    "OLLAMA_MAX_LOADED_MODELS",
    "OLLAMA_LOAD_TIMEOUT",
    "OLLAMA_GPU_OVERHEAD",
    "OLLAMA_SCHED_SPREAD",
    "OLLAMA_LLM_LIBRARY",
    "OLLAMA_NOPRUNE",
    "OLLAMA_DEBUG",
    "OLLAMA_GO_TEMPLATE",
    "OLLAMA_VULKAN",
    "OLLAMA_IGPU_ENABLE",
    "OLLAMA_REMOTES",
    "OLLAMA_AUTH",
];

impl Settings {
    /// Reads the variables of this environment.
    ///
    /// # Errors
    /// One has a value that makes no sense, or that is not done here.
    pub fn read(environment: impl Fn(&str) -> Option<String>) -> Result<Self, Usage> {
        // As Ollama reads them: quotes around a value are no part of it.
        let text = |name: &str| {
            let value = environment(name)?;
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            (!value.is_empty()).then_some(value)
        };
        let number = |name: &str, most: u32| match text(name) {
            None => Ok(None),
            Some(value) => match value.parse().ok().filter(|n| (1..=most).contains(n)) {
                Some(n) => Ok(Some(n)),
                None => Err(wrong(
                    name,
                    &value,
                    &format!("a whole number from 1 to {most}"),
                )),
            },
        };
        let (host, port) = match text("OLLAMA_HOST") {
            Some(value) => address(&value)?,
            None => (None, None),
        };
        let keep_alive = match text("OLLAMA_KEEP_ALIVE") {
            None => None,
            Some(value) => {
                let what = "a time, as 5m, 300, 0 or -1";
                let time = keep_alive::parse(&value);
                Some(time.map_err(|_| wrong("OLLAMA_KEEP_ALIVE", &value, what))?)
            }
        };
        let origins = text("OLLAMA_ORIGINS").unwrap_or_default();
        let origins = origins.split(',').map(str::trim).filter(|o| !o.is_empty());
        Ok(Self {
            host,
            port,
            keep_alive,
            // 0 says what leaving it out says.
            context: match text("OLLAMA_CONTEXT_LENGTH").as_deref() {
                Some("0") => None,
                _ => number("OLLAMA_CONTEXT_LENGTH", u32::MAX)?,
            },
            parallel: match text("OLLAMA_NUM_PARALLEL").as_deref() {
                Some("0") => None,
                _ => number("OLLAMA_NUM_PARALLEL", 64)?,
            },
            queue: number("OLLAMA_MAX_QUEUE", 4096)?,
            origins: origins.map(str::to_owned).collect(),
        })
    }

    /// Variables that are set and change nothing.
    pub fn without_meaning(environment: impl Fn(&str) -> Option<String>) -> Vec<&'static str> {
        let set = |name: &&str| environment(name).is_some();
        WITHOUT_MEANING.into_iter().filter(set).collect()
    }
}

fn wrong(name: &str, value: &str, what: &str) -> Usage {
    Usage(format!(
        "{name} is `{}`; it must be {what}",
        crate::out::plain(value)
    ))
}

/// `HOST`, `HOST:PORT`, `:PORT`, all of them also behind `http://`.
fn address(text: &str) -> Result<(Option<IpAddr>, Option<u16>), Usage> {
    let what = "an address of this machine, as 127.0.0.1, 0.0.0.0:11434 or :8000";
    let wrong = || wrong("OLLAMA_HOST", text, what);
    let (rest, usual) = match text.split_once("://") {
        None => (text, None),
        Some(("http", rest)) => (rest, Some(80)),
        Some(("https", _)) => {
            let message = "OLLAMA_HOST begins with https; leave that out, and give the certificate with --tls-cert and --tls-key";
            return Err(Usage(message.into()));
        }
        Some(_) => return Err(wrong()),
    };
    let rest = rest.trim_end_matches('/');
    if let Ok(ip) = rest.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
        return Ok((Some(ip.into()), usual));
    }
    let (host, port) = match rest.rsplit_once(':') {
        None => (rest, usual),
        Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
    };
    let host = match host.trim_matches(['[', ']']) {
        "" => None,
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => Some(host.parse().map_err(|_| wrong())?),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(of(values)).map_err(|error| error.to_string())
    }

    fn of(values: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let values = values.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        let values: Vec<_> = values.collect();
        move |name| {
            values
                .iter()
                .find(|(k, _)| k == name)
                .map(|(_, v)| v.clone())
        }
    }

    #[test]
    fn addresses_are_those_of_ollama() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for (text, want) in [
            ("127.0.0.1", (ip("127.0.0.1"), None)),
            ("0.0.0.0:8000", (ip("0.0.0.0"), Some(8000))),
            (":8000", (None, Some(8000))),
            ("localhost", (ip("127.0.0.1"), None)),
            ("http://1.2.3.4", (ip("1.2.3.4"), Some(80))),
            ("http://1.2.3.4:56/", (ip("1.2.3.4"), Some(56))),
            ("[::1]:7", (ip("::1"), Some(7))),
            ("[::1]", (ip("::1"), None)),
            ("::", (ip("::"), None)),
        ] {
            assert_eq!(address(text).unwrap_or((None, Some(1))), want, "{text}");
        }
        for text in ["https://1.2.3.4", "ftp://1.2.3.4", "box.lan", "1.2.3.4:x"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_variable_counts() {
        let all = read(&[
            ("OLLAMA_HOST", "\"0.0.0.0\""),
            ("OLLAMA_KEEP_ALIVE", "1h"),
            ("OLLAMA_CONTEXT_LENGTH", "8192"),
            ("OLLAMA_NUM_PARALLEL", "4"),
            ("OLLAMA_MAX_QUEUE", "512"),
            ("OLLAMA_ORIGINS", "https://a.example, app://*"),
        ]);
        let all = all.unwrap();
        assert_eq!(
            (all.host, all.port),
            (Some("0.0.0.0".parse().unwrap()), None)
        );
        assert_eq!(all.keep_alive, Some(Some(Duration::from_secs(3600))));
        assert_eq!(
            (all.context, all.parallel, all.queue),
            (Some(8192), Some(4), Some(512))
        );
        assert_eq!(all.origins, ["https://a.example", "app://*"]);
        assert_eq!(read(&[]), Ok(Settings::default()));
        assert_eq!(
            read(&[("OLLAMA_KEEP_ALIVE", "-1")]).unwrap().keep_alive,
            Some(None)
        );
        assert_eq!(
            read(&[("OLLAMA_CONTEXT_LENGTH", "0")]).unwrap().context,
            None
        );
        for (name, values) in [
            ("OLLAMA_NUM_PARALLEL", &[("OLLAMA_NUM_PARALLEL", "many")]),
            ("OLLAMA_KEEP_ALIVE", &[("OLLAMA_KEEP_ALIVE", "soon")]),
            ("OLLAMA_MAX_QUEUE", &[("OLLAMA_MAX_QUEUE", "0")]),
        ] {
            assert!(read(values).unwrap_err().starts_with(name));
        }
        let set = of(&[("OLLAMA_DEBUG", "1"), ("OLLAMA_HOST", "::")]);
        assert_eq!(Settings::without_meaning(set), ["OLLAMA_DEBUG"]);
    }
}
