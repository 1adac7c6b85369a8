//! Floor 0: the only door out of the machine.
//!
//! ```text
//! Door::permit(purpose, url)  ->  Permit  ->  Request  ->  Door::send  ->  Response
//! ```
//!
//! A [`Door`] is made once, by the binary, from an allow-list, an offline switch and a [`Log`]. It is
//! the only thing in the house that opens a connection beyond this machine or looks up a name. It reads
//! no environment variable and no clock: a proxy and the time come as values. (The system's list of
//! certificate authorities is the one exception: where `SSL_CERT_FILE` names another, it is used.)
//!
//! # Who may be called
//! - **The endpoint.** Each line of the allow-list is an [`Endpoint`]: scheme, host, port and one
//!   [`Purpose`]. A request to anything else is refused.
//! - **The hosts an endpoint redirects to.** A redirect is never followed by the HTTP library. Each one
//!   needs a new [`Permit`], by the [`Redirects`] of the endpoint at which the chain began:
//!   - back to the endpoint itself: yes;
//!   - to an origin that the user named besides it: yes;
//!   - otherwise only by https, on port 443, to a host *name* (never a bare address, never a name of a
//!     private network such as `nas.local` or a name without a dot), and, for the public hub, only to
//!     its own download domains;
//!   - from https to http: never. At most eight in a row.
//! - **Addresses.** The door resolves a name itself, once for each connection, and dials exactly an
//!   address that it has checked, so that a name cannot change its mind in between (DNS rebinding).
//!   An address that is not public (private, loopback, link-local, unique-local, shared, documentation,
//!   or one of these inside an IPv6 address) is dialled only for an endpoint that the user *named*;
//!   clouds' metadata services, multicast and unspecified addresses are dialled for nobody.
//! - **http** is spoken only to an endpoint that the user named.
//! - **Offline**: refused before anything is looked up.
//! - **Behind a proxy** ([`Proxy`]) names are resolved by the proxy. The rules on names and on bare
//!   addresses hold; what a name leads to is the proxy's to decide.
//!
//! # Requests of people
//! A request that carries what somebody wrote ([`Purpose::Provider`]) leaves by [`Door::permit_for`] only:
//! its permit names the request and the rule that let it go ([`Cause`]), and both stand in the log. Its
//! body is sent to the origin of the permit; a redirect that would turn the POST into a GET is not
//! followed. [`EgressError::may_have_arrived`] says of a failure whether the server may have acted.
//!
//! # Tokens
//! A [`Token`] belongs to one origin. It is sent there and nowhere else: not to another host, port or
//! scheme, whatever the redirects; and by http only to this machine itself. It is a bearer token, or the
//! value of a header of its own ([`Token::in_header`]).
//!
//! # The log
//! Every request is written down *before* its first packet ([`Event::Asked`]), before each connection
//! with its address ([`Event::Dial`]), and when it is over ([`Event::End`]); every refusal too. If a row
//! cannot be written, nothing is sent. [`FileLog`] keeps rows in a file that only grows.
//!
//! # Bounds
//! See [`Limits`]: there is a bound on each wait, on the slowest body, on the head of an answer, and
//! [`Response::bytes`] wants one for a body. A request may bring its own ([`Request::limits`]), one on
//! the whole among them, which a large file does not have, since it takes its time.
//!
//! One request is one connection: a connection that is kept may be closed by the other side just when a
//! request is written to it, and nobody could say whether that was answered, and paid for, or not. TLS
//! sessions are resumed. A caller who drops a request or its response closes its connection. Compressed bodies are not asked for, since digests and lengths are of
//! the bytes as they are stored.
#![forbid(unsafe_code)]

mod address;
mod blocking;
mod cancel;
mod cause;
mod dial;
mod door;
mod error;
mod log;
mod origin;
mod proxy;
mod request;
mod response;
mod rules;
mod tls;

pub use blocking::BlockingResponse;
pub use cancel::Cancel;
pub use cause::Cause;
pub use dial::{Resolve, Resolving, SystemResolver};
pub use door::{Door, DoorOptions, Limits, Slowest};
pub use error::{EgressError, Wait};
pub use log::{Clock, Event, FileLog, Log, Row};
pub use origin::{Origin, parse_url, plain};
pub use proxy::Proxy;
pub use request::{Follow, Method, Request, Token};
pub use response::{Head, Response};
pub use rules::{Endpoint, Permit, Purpose, Redirects};
pub use tls::Authorities;
pub use url::Url;
