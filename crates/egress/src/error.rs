//! Why nothing went out, or nothing came back.

use std::net::IpAddr;
use std::time::Duration;

use crate::Purpose;

/// Why a request was refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// The user wants no network.
    #[error(
        "nothing was sent to {host}: the network is switched off ({why}); allow it, or use a model that is on this machine"
    )]
    Offline {
        /// The host that was asked for.
        host: String,
        /// What switched the network off, as the user wrote it.
        why: String,
    },
    /// A text that is no URL, or one that cannot be used.
    #[error("`{url}` cannot be used: {reason}; give a URL like https://host/path")]
    BadUrl {
        /// The URL, without secrets.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A host that no rule allows.
    #[error(
        "nothing was sent to {origin}: it is not on the list of hosts for the purpose `{purpose}`; name it as the endpoint if you trust it"
    )]
    NotAllowed {
        /// Scheme, host and port.
        origin: String,
        /// What for.
        purpose: Purpose,
    },
    /// A host that would have been read in clear text.
    #[error(
        "nothing was sent to {origin}: http is only for an endpoint that you name yourself; use https"
    )]
    ClearText {
        /// Scheme, host and port.
        origin: String,
    },
    /// A server sent us somewhere that no rule allows.
    #[error(
        "{from} redirects to {to}, which was refused: {reason}; nothing was sent there. If you did not expect this, do not trust that endpoint"
    )]
    Redirect {
        /// Who redirected.
        from: String,
        /// Where to, without secrets.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// A chain of redirects without end.
    #[error(
        "{from} redirects again and again ({limit} times); its files cannot be got from there: try later or another endpoint"
    )]
    RedirectLoop {
        /// Where the chain began.
        from: String,
        /// Redirects that are followed.
        limit: u32,
    },
    /// A request of somebody that does not say whose it is and why it may leave.
    #[error(
        "nothing was sent: a permit for a provider names the request and the rule that allowed it; this is a fault of the program, please report it"
    )]
    NoCause,
    /// The name leads to an address that may not be dialled.
    #[error(
        "nothing was sent to {host}: it lies at {address}, {kind}; if that is where it should be, name it as the endpoint yourself"
    )]
    Address {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What sort of address it is.
        kind: &'static str,
    },
    /// The name leads to an address that nobody may dial.
    #[error("nothing was sent to {host}: it lies at {address}, {kind}, where a model can never be")]
    NoHost {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What sort of address it is.
        kind: &'static str,
    },
    /// The name is not known.
    #[error("{host} was not found ({reason}); check the name and that this machine is online")]
    Dns {
        /// The host.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody answered at any of the addresses.
    #[error("{host} does not answer ({reason}); check that this machine is online, or try later")]
    Connect {
        /// The host.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The proxy does not do its part.
    #[error(
        "the proxy {proxy} gives no way to {host} ({reason}); check HTTPS_PROXY, or add the host to NO_PROXY"
    )]
    Proxy {
        /// The proxy, without its password.
        proxy: String,
        /// The host behind it.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// A proxy that cannot be used.
    #[error("`{proxy}` cannot be used as a proxy: {reason}; give it as http://host:port")]
    BadProxy {
        /// The proxy, without its password.
        proxy: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Who answered is not who was asked, or cannot show it.
    #[error(
        "{host} cannot be trusted ({reason}); check the clock of this machine, and that no one stands between"
    )]
    Tls {
        /// The host.
        host: String,
        /// What the TLS library said.
        reason: String,
    },
    /// This machine has no list of authorities that vouch for hosts.
    #[error(
        "this machine has no usable list of certificate authorities ({reason}); install its package `ca-certificates`"
    )]
    NoAuthorities {
        /// What the TLS library said.
        reason: String,
    },
    /// A file with authorities that cannot be used.
    #[error("the certificates of authorities cannot be used: {reason}; give a PEM file")]
    BadAuthorities {
        /// What is wrong with it.
        reason: String,
    },
    /// The server was silent for too long.
    #[error("{host} was silent for {} s while {wait}; try again later", limit.as_secs_f32())]
    Timeout {
        /// The host.
        host: String,
        /// What was waited for.
        wait: Wait,
        /// How long.
        limit: Duration,
    },
    /// The server sends, but so little that it would not end.
    #[error("{host} sent only {bytes} bytes in {} s; try again later", window.as_secs_f32())]
    TooSlow {
        /// The host.
        host: String,
        /// What came in the last window.
        bytes: u64,
        /// The window.
        window: Duration,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {host} was cut ({reason}); try again")]
    Cut {
        /// The host.
        host: String,
        /// What the library said.
        reason: String,
    },
    /// What came is not HTTP, or is beyond the bounds.
    #[error(
        "the answer of {host} cannot be understood ({reason}); check that the endpoint is right"
    )]
    BadAnswer {
        /// The host.
        host: String,
        /// What the library said.
        reason: String,
    },
    /// A body that should be small is not.
    #[error("the answer of {host} is longer than {limit} bytes; check that the endpoint is right")]
    TooLarge {
        /// The host.
        host: String,
        /// Bytes that are read.
        limit: u64,
    },
    /// A token that no header can carry.
    #[error(
        "the access token for {origin} holds characters that no token has; copy it again, without quotes or line breaks"
    )]
    BadToken {
        /// Whom it is for.
        origin: String,
    },
    /// A header that HTTP cannot carry or that is not the caller's to set.
    #[error("the header `{name}` cannot be sent")]
    BadHeader {
        /// Its name.
        name: String,
    },
    /// The user stopped it.
    #[error("stopped")]
    Cancelled,
    /// What goes out must be written down first, and could not be.
    #[error(
        "nothing was sent to {host}, because it could not be written into the log ({reason}); make room or mend the log's permissions"
    )]
    Log {
        /// The host.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The system gave no runtime for the request.
    #[error("the request to {host} could not be started ({reason})")]
    Runtime {
        /// The host.
        host: String,
        /// What is missing.
        reason: String,
    },
}

/// What was waited for when the patience ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Its address.
    Dns,
    /// The connection, TLS and a proxy's consent included.
    Connect,
    /// The first byte of the answer.
    Answer,
    /// The next byte of the body.
    Body,
    /// The end of the body.
    Whole,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dns => "its address was looked up",
            Self::Connect => "a connection was made",
            Self::Answer => "an answer was awaited",
            Self::Body => "the next bytes were awaited",
            Self::Whole => "the end of the answer was awaited",
        })
    }
}

impl EgressError {
    /// Whether the request may have reached the server, who may have done what it asks: not where the
    /// error came before its first byte.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Timeout { wait, .. } => !matches!(wait, Wait::Dns | Wait::Connect),
            Self::TooSlow { .. }
            | Self::Cut { .. }
            | Self::BadAnswer { .. }
            | Self::TooLarge { .. }
            | Self::Cancelled => true,
            _ => false,
        }
    }

    /// Whether the same request may succeed a little later: the network's fault or a busy server's,
    /// not a rule's or the user's.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Dns { .. }
                | Self::Connect { .. }
                | Self::Proxy { .. }
                | Self::Timeout { .. }
                | Self::TooSlow { .. }
                | Self::Cut { .. }
                | Self::BadAnswer { .. }
        )
    }
}
