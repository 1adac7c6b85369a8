//! Who may be called, what for, and where a redirect may lead.

use std::fmt;

use serde::Serialize;
use url::Url;

use crate::{Authorities, Cause, EgressError, Origin, address, origin};

/// Redirects that are followed for one request.
pub(crate) const MAX_REDIRECTS: u32 = 8;

/// What a request is for. A host is allowed for one purpose, never for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Purpose {
    /// To fetch a model and what describes it.
    Pull,
    /// To have a request answered by somebody else's model, and to ask whether he could.
    Provider,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull",
            Self::Provider => "provider",
        })
    }
}

/// A line of the allow-list: one origin, one purpose, and where its redirects may lead.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(crate) purpose: Purpose,
    pub(crate) origin: Origin,
    pub(crate) named: bool,
    pub(crate) redirects: Redirects,
    authorities: Option<Authorities>,
}

impl Endpoint {
    /// An endpoint that ships with the program: https, and on public addresses only.
    ///
    /// # Errors
    /// [`EgressError::ClearText`] for http.
    pub fn public(
        purpose: Purpose,
        origin: Origin,
        redirects: Redirects,
    ) -> Result<Self, EgressError> {
        if !origin.is_tls() {
            return Err(EgressError::ClearText {
                origin: origin.to_string(),
            });
        }
        Ok(Self {
            purpose,
            origin,
            named: false,
            redirects,
            authorities: None,
        })
    }

    /// An endpoint that the user named: it may speak http and lie on a private address or on this
    /// machine.
    #[must_use]
    pub fn named(purpose: Purpose, origin: Origin, redirects: Redirects) -> Self {
        Self {
            purpose,
            origin,
            named: true,
            redirects,
            authorities: None,
        }
    }

    /// An endpoint as it stands in a configuration. It may speak http and lie on a private address where
    /// that can be seen in what was written (a private address, `localhost`, a name of a private network),
    /// or where `private` says so. Any other name must lead to a public address, by https: it is not the
    /// name's owner who says that it lies in this network.
    ///
    /// # Errors
    /// [`EgressError::ClearText`] for http to a public place.
    pub fn configured(
        purpose: Purpose,
        origin: Origin,
        private: bool,
    ) -> Result<Self, EgressError> {
        let seen = match (origin.address(), origin.name()) {
            (Some(address), _) => address::check("", address, false).is_err(),
            (None, name) => is_local_name(name.unwrap_or_default()),
        };
        match private || seen {
            true => Ok(Self::named(purpose, origin, Redirects::none())),
            false => Self::public(purpose, origin, Redirects::none()),
        }
    }

    /// Only these vouch for it.
    #[must_use]
    pub fn vouched_for_by(mut self, authorities: Authorities) -> Self {
        self.authorities = Some(authorities);
        self
    }

    /// The origin.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Where an endpoint may redirect to, besides itself.
#[derive(Debug, Clone, Default)]
pub struct Redirects {
    suffixes: Vec<String>,
    any_public: bool,
    origins: Vec<Origin>,
}

impl Redirects {
    /// Nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// To these domains and the names below them, by https on its own port, on public addresses.
    #[must_use]
    pub fn domains<'a>(domains: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            suffixes: domains.into_iter().map(str::to_ascii_lowercase).collect(),
            ..Self::default()
        }
    }

    /// To any host name, by https on its own port, on public addresses.
    #[must_use]
    pub fn public_https() -> Self {
        Self {
            any_public: true,
            ..Self::default()
        }
    }

    /// Also to an origin that the user named, wherever it lies.
    #[must_use]
    pub fn and(mut self, origin: Origin) -> Self {
        self.origins.push(origin);
        self
    }

    /// Whether `to` is allowed, and whether its address was named by the user.
    fn allow(&self, to: &Origin) -> Result<bool, &'static str> {
        if self.origins.contains(to) {
            return Ok(true);
        }
        if !to.is_tls() {
            return Err("it is http");
        }
        let Some(name) = to.name() else {
            return Err("it is a bare address and not a name");
        };
        if to.port() != 443 {
            return Err("it is an unusual port");
        }
        if is_local_name(name) {
            return Err("it is a name of a private network");
        }
        let below = |suffix: &String| {
            name.strip_suffix(suffix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if self.any_public || self.suffixes.iter().any(below) {
            return Ok(false);
        }
        Err("it is not one of the endpoint's download hosts")
    }
}

/// Names that lead into a private network whatever their address (RFC 6761, RFC 6762, RFC 8375, and
/// the zone `internal`). Behind a proxy, which resolves names itself, this is the only look there is.
fn is_local_name(name: &str) -> bool {
    const ZONES: &[&str] = &[
        "localhost",
        "local",
        "internal",
        "home.arpa",
        "lan",
        "intranet",
        "corp",
        "home",
    ];
    !name.contains('.')
        || ZONES.iter().any(|zone| {
            name.strip_suffix(zone)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

/// Leave for one request: to one URL, for one purpose. Only a [`Door`](crate::Door) writes one.
#[derive(Debug, Clone)]
pub struct Permit {
    pub(crate) purpose: Purpose,
    pub(crate) url: Url,
    pub(crate) origin: Origin,
    /// Whose request it is, and the rule that let it go.
    pub(crate) cause: Option<Cause>,
    /// Whether private addresses are allowed.
    pub(crate) named: bool,
    /// The line of the allow-list from which the chain of redirects began.
    endpoint: Endpoint,
    hops: u32,
}

impl Permit {
    /// Where the permit leads.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What the permit is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whose request it is and the rule that let it go, where it is somebody's.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// Who alone vouches for where it leads, if not those of the system: of an endpoint itself, not of
    /// where it redirects to.
    pub(crate) fn authorities(&self) -> Option<&Authorities> {
        let own = self.endpoint.authorities.as_ref();
        own.filter(|_| self.origin == self.endpoint.origin)
    }

    /// A permit by a line of the allow-list.
    pub(crate) fn new(
        list: &[Endpoint],
        purpose: Purpose,
        url: &Url,
        cause: Option<Cause>,
    ) -> Result<Self, EgressError> {
        let origin = Origin::of(url)?;
        if purpose == Purpose::Provider && cause.is_none() {
            return Err(EgressError::NoCause);
        }
        let Some(endpoint) = list
            .iter()
            .find(|line| line.purpose == purpose && line.origin == origin)
        else {
            return Err(EgressError::NotAllowed {
                origin: origin.to_string(),
                purpose,
            });
        };
        Ok(Self {
            purpose,
            url: url.clone(),
            origin,
            cause,
            named: endpoint.named,
            endpoint: endpoint.clone(),
            hops: 0,
        })
    }

    /// A permit for where this one was redirected to.
    pub(crate) fn redirect(&self, location: &Location) -> Result<Self, EgressError> {
        let refused = |reason| EgressError::Redirect {
            from: self.origin.to_string(),
            to: origin::shown(&location.text),
            reason,
        };
        let hops = self.hops.saturating_add(1);
        if hops > MAX_REDIRECTS {
            return Err(EgressError::RedirectLoop {
                from: self.endpoint.origin.to_string(),
                limit: MAX_REDIRECTS,
            });
        }
        let Some(url) = &location.url else {
            return Err(refused("it is not a URL"));
        };
        let to = Origin::of(url).map_err(|_| refused("it is not a plain https URL"))?;
        if self.origin.is_tls() && !to.is_tls() {
            return Err(refused("it leads from https to http"));
        }
        let named = match to == self.endpoint.origin {
            true => self.endpoint.named,
            false => self.endpoint.redirects.allow(&to).map_err(refused)?,
        };
        Ok(Self {
            purpose: self.purpose,
            url: url.clone(),
            origin: to,
            cause: self.cause.clone(),
            named,
            endpoint: self.endpoint.clone(),
            hops,
        })
    }
}

/// What a `Location` header says.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    pub(crate) text: String,
    /// Made absolute; `None` where that is not possible.
    pub(crate) url: Option<Url>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn permit(endpoint: Endpoint, url: &str) -> Result<Permit, EgressError> {
        Permit::new(&[endpoint], Purpose::Pull, &url.parse().unwrap(), None)
    }

    fn redirect(from: &Permit, to: &str) -> Result<Permit, EgressError> {
        from.redirect(&Location {
            text: to.to_owned(),
            url: from.url.join(to).ok(),
        })
    }

    fn hub() -> Permit {
        let origin = Origin::parse("hub.example").unwrap();
        let redirects = Redirects::domains(["cdn.example"]);
        let endpoint = Endpoint::public(Purpose::Pull, origin, redirects).unwrap();
        permit(endpoint, "https://hub.example/a/b").unwrap()
    }

    #[test]
    fn the_hub_redirects_to_its_download_hosts_only() {
        for to in [
            "/c",
            "../c?x=1",
            "https://hub.example/d",
            "https://cdn.example/x",
            "https://eu.cdn.example/x",
        ] {
            redirect(&hub(), to).unwrap();
        }
        for to in [
            "https://evil.example/x",
            "https://evilcdn.example/x",
            "https://cdn.example.evil.example/x",
            "https://cdn.example:8443/x",
            "https://cdn.example./x",
            "https://user@cdn.example/x",
            "http://cdn.example/x",
            "http://hub.example/a",
            "https://hub.example:444/a",
            "https://1.1.1.1/x",
            "https://127.0.0.1/x",
            "https://[::1]/x",
            "https://localhost/x",
            "ftp://cdn.example/x",
            "file:///etc/passwd",
            "https://",
        ] {
            assert!(redirect(&hub(), to).is_err(), "{to}");
        }
    }

    #[test]
    fn an_endpoint_that_was_named_redirects_to_public_https_only() {
        let origin = Origin::parse("http://mirror.lan:8080").unwrap();
        let endpoint = Endpoint::named(Purpose::Pull, origin, Redirects::public_https());
        let mirror = permit(endpoint, "http://mirror.lan:8080/a").unwrap();
        assert!(redirect(&mirror, "/b").unwrap().named);
        let away = redirect(&mirror, "https://bucket.example/b").unwrap();
        assert!(!away.named);
        // And back, but not by http once https was reached.
        assert!(redirect(&away, "http://mirror.lan:8080/c").is_err());
        for to in [
            "http://bucket.example/b",
            "http://mirror.lan:8081/b",
            "https://printer/x",
            "https://metadata.google.internal/x",
            "https://nas.local/x",
            "https://10.0.0.1/x",
        ] {
            assert!(redirect(&mirror, to).is_err(), "{to}");
        }
    }

    #[test]
    fn what_is_private_must_be_written_so() {
        let configured = |text: &str, private| {
            Endpoint::configured(Purpose::Provider, Origin::parse(text).unwrap(), private)
        };
        for private in [
            "http://127.0.0.1:8000",
            "http://10.0.0.5:8000",
            "http://localhost:1",
            "http://gpu-1:8000",
            "https://vllm.lan",
            "http://[fd00::1]:8000",
        ] {
            assert!(configured(private, false).unwrap().named, "{private}");
        }
        assert!(!configured("https://cloud.example", false).unwrap().named);
        assert!(configured("https://vllm.corp.example", true).unwrap().named);
        for clear in ["http://cloud.example", "http://1.1.1.1"] {
            assert!(matches!(
                configured(clear, false),
                Err(EgressError::ClearText { .. })
            ));
        }
    }

    #[test]
    fn a_chain_of_redirects_ends() {
        let mut permit = hub();
        for _ in 0..MAX_REDIRECTS {
            permit = redirect(&permit, "/again").unwrap();
        }
        assert!(matches!(
            redirect(&permit, "/again"),
            Err(EgressError::RedirectLoop { .. })
        ));
    }

    #[test]
    fn a_providers_permit_names_request_and_rule() {
        let origin = Origin::parse("cloud.example").unwrap();
        let list = [Endpoint::named(
            Purpose::Provider,
            origin,
            Redirects::none(),
        )];
        let url = "https://cloud.example/v1".parse().unwrap();
        let permit = |purpose, cause| Permit::new(&list, purpose, &url, cause);
        let cause = || Some(Cause::new("req_1", "policy.rule[2]").unwrap());
        let given = permit(Purpose::Provider, cause()).unwrap();
        assert_eq!(given.cause(), cause().as_ref());
        assert!(matches!(
            permit(Purpose::Provider, None),
            Err(EgressError::NoCause)
        ));
        assert!(matches!(
            permit(Purpose::Pull, cause()),
            Err(EgressError::NotAllowed { .. })
        ));
        // A redirect's permit is for the same request.
        assert_eq!(redirect(&given, "/v2").unwrap().cause(), cause().as_ref());
    }

    #[test]
    fn only_what_is_listed_is_permitted() {
        let origin = Origin::parse("hub.example").unwrap();
        let endpoint = Endpoint::public(Purpose::Pull, origin, Redirects::none()).unwrap();
        for url in [
            "http://hub.example/",
            "https://hub.example:8443/",
            "https://www.hub.example/",
            "https://cdn.example/",
        ] {
            assert!(matches!(
                permit(endpoint.clone(), url),
                Err(EgressError::NotAllowed { .. })
            ));
        }
        let clear = Origin::parse("http://hub.example").unwrap();
        assert!(Endpoint::public(Purpose::Pull, clear, Redirects::none()).is_err());
    }

    proptest! {
        /// Whatever a `Location` says: who is allowed is below a known domain, by https on its port.
        #[test]
        fn no_spelling_leads_elsewhere(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("https:".to_owned()), Just("http:".to_owned()), Just("//".to_owned()),
                    Just("cdn.example".to_owned()), Just("hub.example".to_owned()),
                    Just("evil.example".to_owned()), Just("127.0.0.1".to_owned()),
                    Just("@".to_owned()), Just(":443".to_owned()), Just(":80".to_owned()),
                    Just(".".to_owned()), Just("/".to_owned()), Just("\\".to_owned()),
                    Just("#".to_owned()), Just("?".to_owned()), Just("\t".to_owned()),
                    Just("\u{3002}".to_owned()), Just("%2e".to_owned()), "[ -~]{0,3}",
                ],
                0..8,
            )
        ) {
            let to = parts.concat();
            if let Ok(permit) = redirect(&hub(), &to) {
                let host = permit.url.host_str().unwrap();
                let known = host == "hub.example" || host == "cdn.example" || host.ends_with(".cdn.example");
                prop_assert!(known, "{to} leads to {}", permit.url);
                prop_assert_eq!(permit.url.scheme(), "https");
                prop_assert_eq!(permit.url.port_or_known_default(), Some(443));
                prop_assert!(permit.url.username().is_empty() && permit.url.password().is_none());
            }
        }
    }
}
