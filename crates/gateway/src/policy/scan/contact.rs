//! What is recognised by its own marks: e-mail and web addresses, addresses of machines.

use super::page::{Cue, Page};
use super::{Raw, forms};
use crate::policy::Kind;
use regex_automata::meta::{BuildError, Regex};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// The forms of what is found here.
pub struct Contact {
    forms: Regex,
}

/// In the order of `FORMS`.
const EMAIL: usize = 0;
const SPELLED: usize = 1;
const URL: usize = 2;
const IPV4: usize = 3;
const MAC: usize = 4;
const IPV6: usize = 5;
const UUID: usize = 6;
const ABROAD: usize = 7;

const FORMS: &[&str] = &[
    r"(?i:[a-z0-9!#$%&'*+/=?^_`{|}~.-]+@[a-z0-9][a-z0-9.-]*\.(?:xn--[a-z0-9-]+|[a-z]{2,24}))",
    r"(?i:[a-z0-9._+-]+ ?[(\[{<] ?(?:at|@) ?[)\]}>] ?[a-z0-9-]+(?: ?(?:[(\[{<] ?(?:dot|\.) ?[)\]}>]|\.) ?[a-z0-9-]{2,63})+)",
    r#"(?i:\b(?:https?|ftp|wss?)://[^\s"'<>`{}|\\^\x00-\x20]+)"#,
    r"\b[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b",
    r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b|\b[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\b",
    r"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{1,4})?",
    r"\b[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\b",
    // In other writings (RFC 6531), of which some letters look like Latin ones; where such a text goes on behind
    // ASCII, the first form has it.
    r"(?i:(?:(?:[a-z0-9._%+-]|[\xC3-\xDF][\x80-\xBF])+|[\xE0-\xEF][\x80-\xFF0-9._-]*)@(?:[a-z0-9\x80-\xFF-]+\.)+(?:(?:[a-z]|[\xC3-\xDF][\x80-\xBF]){2,24}|[\x80-\xFF]{3,63}))",
];

impl Contact {
    pub fn new() -> Result<Self, Box<BuildError>> {
        let forms = forms(FORMS)?;
        Ok(Self { forms })
    }

    /// Finds, and ranges in which nothing else is to be looked for.
    pub fn find(&self, page: &Page<'_>, finds: &mut Vec<Raw>, taken: &mut Vec<Range<usize>>) {
        for found in self.forms.find_iter(page.text) {
            let range = found.range();
            let raw = match found.pattern().as_usize() {
                EMAIL | ABROAD => email(page, within(page, range.clone())),
                SPELLED => Some(Raw::new(Kind::Email, "spelled", range.clone())),
                URL => url(page, range.clone()),
                IPV4 => ipv4(page, range.clone()),
                MAC => mac(page, range.clone()),
                IPV6 => ipv6(page, range.clone()),
                UUID => {
                    taken.push(range.clone());
                    None
                }
                _ => None,
            };
            if let Some(raw) = raw {
                if raw.kind != Kind::WebAddress {
                    taken.push(raw.range.clone());
                }
                finds.push(raw);
            }
        }
        // What stands in a web address may be an e-mail address too.
        let inner: Vec<Raw> = finds
            .iter()
            .filter(|raw| raw.kind == Kind::WebAddress)
            .flat_map(|raw| inside(page, &raw.range))
            .collect();
        finds.extend(inner);
    }
}

/// E-mail addresses in a web address (`?mail=anna@example.org`), not the part before its host.
fn inside(page: &Page<'_>, range: &Range<usize>) -> Option<Raw> {
    let text = page.cut(range.clone());
    let at = text.rfind('@')?;
    let local = text
        .get(..at)?
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || "._+-".contains(c)))?;
    let tail = text.get(at.saturating_add(1)..)?;
    let end = tail
        .find(|c: char| !(c.is_ascii_alphanumeric() || ".-".contains(c)))
        .unwrap_or(tail.len());
    let host = tail.get(..end)?;
    let start = range.start.saturating_add(local).saturating_add(1);
    let end = range
        .start
        .saturating_add(at)
        .saturating_add(1)
        .saturating_add(end);
    (host.contains('.') && local.saturating_add(1) < at && text.get(..at)?.contains(['?', '/']))
        .then(|| Raw::new(Kind::Email, "", start..end))
}

/// To whole characters.
fn within(page: &Page<'_>, range: Range<usize>) -> Range<usize> {
    page.text.ceil_char_boundary(range.start)..page.text.floor_char_boundary(range.end)
}

/// `0123.4567.89ab` is one; a number in groups is none.
fn mac(page: &Page<'_>, range: Range<usize>) -> Option<Raw> {
    let dotted = page.at(range.start.saturating_add(4)) == Some(b'.');
    let letter = page
        .cut(range.clone())
        .bytes()
        .any(|b| b.is_ascii_alphabetic());
    (letter || !dotted).then(|| Raw::new(Kind::MacAddress, "", range))
}

fn email(page: &Page<'_>, range: Range<usize>) -> Option<Raw> {
    let text = page.cut(range.clone());
    // Quotes and brackets around it are none of it.
    let skip = text.len()
        - text
            .trim_start_matches([
                '.', '\'', '/', '=', '{', '|', '`', '*', '-', '?', '&', '!', '#',
            ])
            .len();
    let text = text.get(skip..)?;
    let (local, host) = text.split_once('@')?;
    let tail = host.rsplit('.').next().unwrap_or_default();
    // `git@host:path` and files (`icon@2x.png`) are no person's.
    let file = [
        "png", "jpg", "jpeg", "svg", "gif", "webp", "css", "js", "ts",
    ]
    .contains(&tail);
    let person = !(local.is_empty() || file || local == "git" && page.at(range.end) == Some(b':'));
    let start = range.start.saturating_add(skip);
    let detail = if is_example_host(host) { "example" } else { "" };
    person.then(|| Raw::new(Kind::Email, detail, start..range.end))
}

/// Hosts that belong to nobody (RFC 2606).
fn is_example_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    ["example.com", "example.org", "example.net"].contains(&host.as_str())
        || [".example", ".test", ".invalid", ".localhost"]
            .iter()
            .any(|end| host.ends_with(end))
}

fn url(page: &Page<'_>, range: Range<usize>) -> Option<Raw> {
    let text = page.cut(range.clone());
    let text = text.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '*', '_']);
    let host = text.split_once("://")?.1;
    (!host.is_empty()).then(|| {
        Raw::new(
            Kind::WebAddress,
            "",
            range.start..range.start.saturating_add(text.len()),
        )
    })
}

/// Addresses that say nothing of anybody: of this machine, of documentation (RFC 5737), of nothing.
fn ipv4(page: &Page<'_>, range: Range<usize>) -> Option<Raw> {
    // A fifth number, or a word before it, makes it a version.
    let longer = page.at(range.end) == Some(b'.')
        && page
            .at(range.end.saturating_add(1))
            .is_some_and(|b| b.is_ascii_digit());
    let before = page.before(range.start);
    let version =
        before.is_some_and(|b| b == b'.' || b == b'-' || b == b'/' || b.is_ascii_alphabetic());
    let address: Ipv4Addr = page.cut(range.clone()).parse().ok()?;
    let [a, ..] = address.octets();
    let nobody = address.is_loopback()
        || address.is_unspecified()
        || address.is_documentation()
        || address.is_broadcast()
        || address.is_multicast()
        || a == 0
        || a >= 240;
    let release = before.is_some() && is_release(page, range.start);
    let found = !(longer || version && before != Some(b'/') || nobody || release);
    found.then(|| Raw::new(Kind::IpAddress, "ipv4", range))
}

/// Whether a word before says that four numbers are a version.
fn is_release(page: &Page<'_>, at: usize) -> bool {
    let before = page
        .lower
        .get(at.saturating_sub(12)..at)
        .unwrap_or_default();
    ["version", "release", "build", "ver", "v"]
        .iter()
        .any(|word| before.trim_end_matches([' ', ':', '=']).ends_with(word))
}

fn ipv6(page: &Page<'_>, range: Range<usize>) -> Option<Raw> {
    let joined =
        |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || b == b':' || b == b'_');
    if joined(page.before(range.start)) || joined(page.at(range.end)) {
        return None;
    }
    let text = page.cut(range.clone());
    let address: Ipv6Addr = text.parse().ok()?;
    // `::` and a time such as 10:20:30 are none; nor is a path in a program (`std::fs`).
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let nobody = address.is_loopback()
        || address.is_unspecified()
        || address.segments().starts_with(&[0x2001, 0xdb8]);
    (digits >= 4 && !nobody && !page.says(Cue::Digest, &range, 4, 0))
        .then(|| Raw::new(Kind::IpAddress, "ipv6", range))
}
