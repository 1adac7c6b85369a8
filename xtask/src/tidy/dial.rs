//! One door out: no other code opens a connection or looks up a host.
use super::Finding;
use super::source::Source;
use crate::house::{DIAL_ALLOWED, DIAL_CALLS, DIAL_NAMES};

pub fn check(source: &Source) -> Vec<Finding> {
    if source.is_under(DIAL_ALLOWED) {
        return Vec::new();
    }
    let at = |line, what: &str| {
        let message = format!("`{what}`: connections and host names go through crates/egress only");
        Finding::new(&source.path, line, message)
    };
    let mut findings = Vec::new();
    for (word, line) in &source.words {
        if DIAL_NAMES.contains(&word.as_str()) {
            findings.push(at(*line, word));
        }
    }
    for pair in source.words.windows(3) {
        let [(kind, line), (colons, _), (call, _)] = pair else {
            continue;
        };
        if colons == "::" && DIAL_CALLS.contains(&(kind.as_str(), call.as_str())) {
            findings.push(at(*line, &format!("{kind}::{call}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Source::parse(path, text).unwrap())
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn dialers_are_found_outside_the_door() {
        let text = "use std::net::{TcpStream,\n UdpSocket};\nfn f() { TcpStream::connect(a); }";
        assert_eq!(lines("crates/store/src/pull.rs", text), [2, 3]);
        assert_eq!(lines("crates/egress/src/lib.rs", text), [0; 0]);
    }

    #[test]
    fn listening_is_not_dialling() {
        let text = "use std::net::{IpAddr, TcpListener, TcpStream};\nfn f(s: TcpStream) {}";
        assert_eq!(lines("crates/server/src/lib.rs", text), [0; 0]);
    }

    #[test]
    fn a_lookup_in_a_macro_is_found() {
        assert_eq!(
            lines("crates/store/src/a.rs", "m!(x.to_socket_addrs());"),
            [1]
        );
    }
}
