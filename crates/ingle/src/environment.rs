//! What the environment says: where other programs keep models, how the hub is reached, where Ingle
//! writes. Read here and handed down as values.

use ingle::store::{Io, Places};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The value of a variable.
type Get = dyn Fn(&str) -> Option<OsString>;

/// The variables of the environment.
pub struct Environment {
    get: Box<Get>,
}

impl Environment {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            get: Box::new(|name| std::env::var_os(name)),
        }
    }

    /// A variable that is set and not empty.
    pub fn value(&self, name: &str) -> Option<OsString> {
        (self.get)(name).filter(|value| !value.is_empty())
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name)?.into_string().ok()
    }

    /// Whether a variable switches something on: `1`, `true`, `yes`, `on`, as the hub's own library
    /// reads them.
    pub fn is_on(&self, name: &str) -> bool {
        let value = self.text(name).unwrap_or_default().to_ascii_lowercase();
        matches!(value.as_str(), "1" | "true" | "yes" | "on")
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.value(name)?);
        match (path.strip_prefix("~"), self.home()) {
            (Ok(rest), Some(home)) => Some(home.join(rest)),
            _ => Some(path),
        }
    }

    fn home(&self) -> Option<PathBuf> {
        let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        self.value(name).map(PathBuf::from)
    }

    /// The folder of the hub's own programs: `HF_HOME`, else `huggingface` in the user's cache.
    pub fn hub_home(&self) -> Option<PathBuf> {
        let cache = || {
            self.path("XDG_CACHE_HOME")
                .or_else(|| Some(self.home()?.join(".cache")))
        };
        self.path("HF_HOME")
            .or_else(|| Some(cache()?.join("huggingface")))
    }

    /// The Hugging Face cache: `HF_HUB_CACHE` (or its old name), else `hub` in its home.
    pub fn hub_cache(&self) -> Option<PathBuf> {
        let named = self
            .path("HF_HUB_CACHE")
            .or_else(|| self.path("HUGGINGFACE_HUB_CACHE"));
        named.or_else(|| Some(self.hub_home()?.join("hub")))
    }

    /// Ollama's stores: `OLLAMA_MODELS`, else that of the user and those of the system's service.
    fn ollama(&self) -> Vec<PathBuf> {
        const SERVICES: [&str; 2] = [
            "/usr/share/ollama/.ollama/models",
            "/var/lib/ollama/.ollama/models",
        ];
        if let Some(named) = self.path("OLLAMA_MODELS") {
            return vec![named];
        }
        let user = self.home().map(|home| home.join(".ollama").join("models"));
        let services = SERVICES
            .iter()
            .map(PathBuf::from)
            .filter(|path| path.is_dir());
        user.into_iter().chain(services).collect()
    }

    /// Where models lie.
    pub fn places(&self) -> Places {
        Places::new(self.hub_cache(), self.ollama())
    }

    /// Where Ingle keeps what it must remember: the ledger, keys, names.
    pub fn state_folder(&self) -> Option<PathBuf> {
        let base = if cfg!(windows) {
            self.path("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            self.home()
                .map(|home| home.join("Library/Application Support"))
        } else {
            let named = self
                .path("XDG_STATE_HOME")
                .filter(|path| path.is_absolute());
            named.or_else(|| Some(self.home()?.join(".local/state")))
        };
        base.map(|base| base.join("ingle"))
    }

    /// What was computed of texts: it may be removed at any time.
    pub fn prefix_folder(&self) -> Option<PathBuf> {
        let base = if cfg!(windows) {
            self.path("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            self.home().map(|home| home.join("Library/Caches"))
        } else {
            let named = self
                .path("XDG_CACHE_HOME")
                .filter(|path| path.is_absolute());
            named.or_else(|| Some(self.home()?.join(".cache")))
        };
        base.map(|base| base.join("ingle").join("prefix"))
    }

    /// The secret that it is encrypted with, in another folder.
    pub fn prefix_secret(&self) -> Option<PathBuf> {
        self.state_folder().map(|folder| folder.join("prefix.key"))
    }

    /// Where people keep what they have set: ingle.toml.
    pub fn config_file(&self) -> Option<PathBuf> {
        let base = if cfg!(windows) {
            self.path("APPDATA")
        } else if cfg!(target_os = "macos") {
            self.home()
                .map(|home| home.join("Library/Application Support"))
        } else {
            let named = self
                .path("XDG_CONFIG_HOME")
                .filter(|path| path.is_absolute());
            named.or_else(|| Some(self.home()?.join(".config")))
        };
        base.map(|base| base.join("ingle").join("ingle.toml"))
    }

    /// The file in which keys are kept, hashed.
    pub fn keys_file(&self) -> Option<PathBuf> {
        self.state_folder().map(|folder| folder.join("keys.json"))
    }

    /// The file in which names are kept that were given to models.
    pub fn names_file(&self) -> Option<PathBuf> {
        self.state_folder().map(|folder| folder.join("names.json"))
    }

    /// The folder with a socket for each server that runs: `XDG_RUNTIME_DIR`, else that of the state.
    pub fn servers_folder(&self) -> Option<PathBuf> {
        let named = self
            .path("XDG_RUNTIME_DIR")
            .filter(|path| path.is_absolute());
        let base = named.map(|base| base.join("ingle"));
        base.or_else(|| self.state_folder())
            .map(|base| base.join("servers"))
    }

    /// The ledger, in which every use of the network is written down too.
    pub fn ledger_file(&self) -> Option<PathBuf> {
        self.state_folder()
            .map(|folder| folder.join("ledger.sqlite"))
    }

    /// The folder of what was learned about how sure models may be.
    pub fn calibrations_folder(&self) -> Option<PathBuf> {
        self.state_folder()
            .map(|folder| folder.join("calibrations"))
    }

    /// The database of what came of answers.
    pub fn outcomes_file(&self) -> Option<PathBuf> {
        self.state_folder().map(|folder| folder.join("outcomes.db"))
    }

    /// The file in which the disks that were measured are remembered.
    pub fn disks_file(&self) -> Option<PathBuf> {
        self.state_folder().map(|folder| folder.join("disks.json"))
    }

    /// How files are read: `INGLE_IO` is `portable`, `positioned` (no io_uring), or anything else for the best.
    pub fn io(&self) -> Io {
        match self.text("INGLE_IO").unwrap_or_default().as_str() {
            "portable" => Io::Portable,
            "positioned" => Io::Positioned,
            _ => Io::Native,
        }
    }

    /// The access token for the hub: `HF_TOKEN` (or its old name), else the file that `hf auth login`
    /// wrote; none where `HF_HUB_DISABLE_IMPLICIT_TOKEN` says so.
    pub fn hub_token(&self) -> Option<String> {
        let named = self
            .text("HF_TOKEN")
            .or_else(|| self.text("HUGGING_FACE_HUB_TOKEN"));
        let file = || {
            let path = self
                .path("HF_TOKEN_PATH")
                .or_else(|| Some(self.hub_home()?.join("token")))?;
            read_token(&path)
        };
        let implicit = !self.is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        let token = named.or_else(|| implicit.then(file).flatten())?;
        Some(token.trim().to_owned()).filter(|token| !token.is_empty())
    }
}

/// The text of a token's file; a wrong path must not fill memory.
fn read_token(path: &Path) -> Option<String> {
    const MOST: u64 = 64 << 10;
    let short = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= MOST);
    short.then(|| std::fs::read_to_string(path).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(values: &'static [(&str, &str)]) -> Environment {
        let get = |name: &str| {
            let found = values.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Environment { get: Box::new(get) }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn places_of_a_plain_machine() {
        let plain = environment(&[("HOME", "/h")]);
        let path = |path: Option<PathBuf>| path.unwrap().display().to_string();
        assert_eq!(path(plain.hub_cache()), "/h/.cache/huggingface/hub");
        assert_eq!(
            plain.ollama().first().unwrap(),
            Path::new("/h/.ollama/models")
        );
        assert_eq!(
            path(plain.ledger_file()),
            "/h/.local/state/ingle/ledger.sqlite"
        );
        assert_eq!(plain.hub_token(), None);
        assert_eq!(path(plain.config_file()), "/h/.config/ingle/ingle.toml");
        assert_eq!(path(plain.keys_file()), "/h/.local/state/ingle/keys.json");
        assert_eq!(
            path(plain.servers_folder()),
            "/h/.local/state/ingle/servers"
        );
        assert!(
            environment(&[]).hub_cache().is_none()
                && environment(&[]).ollama().iter().all(|p| p.is_dir())
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn every_variable_counts() {
        let path = |path: Option<PathBuf>| path.unwrap().display().to_string();
        let cache = |values| path(environment(values).hub_cache());
        assert_eq!(
            cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]),
            "/c/huggingface/hub"
        );
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "~/f")]), "/h/f/hub");
        assert_eq!(cache(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/u")]), "/u");
        assert_eq!(
            cache(&[("HF_HOME", "/f"), ("HUGGINGFACE_HUB_CACHE", "/o")]),
            "/o"
        );
        assert_eq!(cache(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "")]), "/f/hub");
        let ollama = environment(&[("HOME", "/h"), ("OLLAMA_MODELS", "/m")]).ollama();
        assert_eq!(ollama, [PathBuf::from("/m")]);
        let state = |values| path(environment(values).state_folder());
        assert_eq!(
            state(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]),
            "/s/ingle"
        );
        assert_eq!(
            state(&[("HOME", "/h"), ("XDG_STATE_HOME", "relative")]),
            "/h/.local/state/ingle"
        );
        for (value, on) in [
            ("1", true),
            ("TRUE", true),
            ("yes", true),
            ("0", false),
            ("off", false),
            ("", false),
        ] {
            let environment = Environment {
                get: Box::new(move |_| Some(value.into())),
            };
            assert_eq!(environment.is_on("HF_HUB_OFFLINE"), on, "{value}");
        }
    }

    #[test]
    fn reads_can_be_forced() {
        let io = |value: &'static str| {
            let get = move |_: &str| Some(value.into());
            Environment { get: Box::new(get) }.io()
        };
        assert_eq!(io("portable"), Io::Portable);
        assert_eq!(io("positioned"), Io::Positioned);
        assert_eq!((io("native"), io("")), (Io::Native, Io::Native));
    }

    #[test]
    fn the_token_comes_from_a_variable_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let home = folder.path().as_os_str().to_owned();
        let token = |variable: &'static str, off: &'static str| {
            let home = home.clone();
            let get = move |name: &str| match name {
                "HF_HOME" => Some(home.clone()),
                "HF_TOKEN" => Some(variable.into()),
                "HF_HUB_DISABLE_IMPLICIT_TOKEN" => Some(off.into()),
                _ => None,
            };
            Environment { get: Box::new(get) }.hub_token()
        };
        assert_eq!(token("hf_variable", "").as_deref(), Some("hf_variable"));
        assert_eq!(token("", "").as_deref(), Some("hf_file"));
        assert_eq!(token("", "1"), None);
        assert_eq!(token("hf_variable", "1").as_deref(), Some("hf_variable"));
    }
}
