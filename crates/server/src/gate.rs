//! Who may ask: against web pages that reach for a server on the visitor's own machine.
//!
//! A page under an attacker's name can make that name mean 127.0.0.1 (DNS rebinding,
//! CVE-2024-28224): the browser then sends the name as `Host`, which is refused. A page that calls
//! 127.0.0.1 directly is known by its `Origin`, or by `Sec-Fetch-Site` where a browser sends none.

use crate::error::ApiError;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use std::net::{IpAddr, Ipv6Addr};

/// Names and origins that are allowed beside the usual ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Web pages that may ask, as `https://app.example` or `http://localhost:*`; `*` for all.
    pub origins: Vec<String>,
    /// Names under which the server is reached, beside `localhost` and addresses.
    pub hosts: Vec<String>,
}

/// An origin that may read the answer.
pub(crate) type Origin = Option<HeaderValue>;

impl Allowed {
    /// Lets a request in, or says why not. Answers the origin that may read the answer.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<Origin, ApiError> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|h| h.to_str().ok());
        let host = match (host, hosts.next()) {
            (Some(host), None) => host,
            _ => {
                return Err(ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "bad_host",
                    "send one `Host` header",
                ));
            }
        };
        if !self.is_ours(name_of(host)) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                "this server does not answer under that name, which protects it from web pages that pretend to be it; use 127.0.0.1 or localhost, or start it with --allow-host NAME",
            ));
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
                None | Some(b"none" | b"same-origin") => Ok(None),
                Some(_) => Err(page_not_allowed()),
            };
        };
        let text = origin.to_str().unwrap_or_default();
        let same = text
            .split_once("://")
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host));
        let listed = self.origins.iter().any(|pattern| fits(pattern, text));
        if same || listed {
            return Ok(Some(origin.clone()));
        }
        Err(page_not_allowed())
    }

    /// A name cannot be made to mean another machine where it is an address.
    fn is_ours(&self, name: &str) -> bool {
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
        match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => {
                name.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4())
                    || name.eq_ignore_ascii_case("localhost")
                    || self.hosts.iter().any(|h| h.eq_ignore_ascii_case(name))
            }
        }
    }
}

/// Whether an origin is one of those that a pattern stands for: `*` is anything, at its one place.
fn fits(pattern: &str, origin: &str) -> bool {
    let (pattern, origin) = (pattern.to_ascii_lowercase(), origin.to_ascii_lowercase());
    match pattern.split_once('*') {
        None => pattern == origin,
        Some((before, after)) => {
            let rest = origin.strip_prefix(before);
            rest.is_some_and(|rest| rest.ends_with(after))
        }
    }
}

fn page_not_allowed() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "origin_not_allowed",
        "web pages may not use this server; to allow one, start it with --allow-origin ORIGIN, as https://app.example",
    )
}

/// `Host` without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Lets the page of `origin` read the answer.
pub(crate) fn readable<B>(response: &mut Response<B>, origin: Origin) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// Whether a browser asks what a page may do.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a page that is let in may do: everything that the paths here do, with any headers.
pub(crate) fn preflight<B: Default>(asked: &HeaderMap) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, value);
    set(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, OPTIONS"),
    );
    set(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("600"),
    );
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if asked.contains_key("access-control-request-private-network") {
        set(
            HeaderName::from_static("access-control-allow-private-network"),
            HeaderValue::from_static("true"),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Allowed {
        Allowed {
            origins: vec!["https://app.example".into()],
            hosts: vec!["box.lan".into()],
        }
    }

    fn code(pairs: &[(&'static str, &str)]) -> Result<Origin, &'static str> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let headers: HeaderMap = pairs.collect();
        allowed().check(&headers).map_err(|e| e.code.unwrap())
    }

    #[test]
    fn cve_2024_28224_a_name_that_was_rebound_is_refused() {
        for host in [
            "evil.example",
            "evil.example:11435",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[evil]",
            "1.2.3",
            "",
        ] {
            assert_eq!(code(&[("host", host)]), Err("host_not_allowed"), "{host}");
        }
        for host in [
            "127.0.0.1:11435",
            "localhost",
            "LOCALHOST:1",
            "[::1]:11435",
            "192.168.1.5",
            "box.lan:80",
        ] {
            assert_eq!(code(&[("host", host)]), Ok(None), "{host}");
        }
        assert_eq!(code(&[]), Err("bad_host"));
    }

    #[test]
    fn a_pattern_stands_for_some() {
        for (pattern, origin, want) in [
            ("*", "https://a.example", true),
            ("http://localhost:*", "http://LOCALHOST:3000", true),
            ("http://localhost:*", "http://localhost.evil:3000", false),
            ("app://*", "app://obsidian.md", true),
            ("https://*.a.example", "https://b.a.example", true),
            ("https://*.a.example", "https://a.example", false),
            ("https://a.example", "https://a.example", true),
        ] {
            assert_eq!(fits(pattern, origin), want, "{pattern} {origin}");
        }
    }

    #[test]
    fn a_page_is_let_in_by_name_only() {
        let host = ("host", "127.0.0.1:11435");
        for origin in [
            "https://evil.example",
            "null",
            "http://localhost:3000",
            "https://app.example.evil",
        ] {
            assert_eq!(
                code(&[host, ("origin", origin)]),
                Err("origin_not_allowed"),
                "{origin}"
            );
        }
        for origin in ["https://app.example", "http://127.0.0.1:11435"] {
            assert_eq!(
                code(&[host, ("origin", origin)]),
                Ok(Some(origin.parse().unwrap()))
            );
        }
        assert_eq!(
            code(&[host, ("sec-fetch-site", "cross-site")]),
            Err("origin_not_allowed")
        );
        assert_eq!(code(&[host, ("sec-fetch-site", "none")]), Ok(None));
    }
}
