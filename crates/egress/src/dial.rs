//! From a permit to a connection: look up, check, dial exactly what was checked.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::door::Inner;
use crate::log::Event;
use crate::response::Attempt;
use crate::{EgressError, Origin, Permit, Proxy, Wait, address};

/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

/// Patience with an address while there are others.
const FIRST_PATIENCE: Duration = Duration::from_secs(4);

/// How much a proxy may say before the tunnel is open.
const MAX_PROXY_ANSWER: usize = 8 << 10;

/// Looks names up. The door asks once for each connection and dials what it was told.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, the preferred one first.
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

/// A look-up under way.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// A connection on which HTTP can be spoken.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens the connection that `permit` allows.
pub(crate) async fn dial(
    door: &Inner,
    permit: &Permit,
    attempt: &Attempt,
) -> Result<Box<dyn Stream>, EgressError> {
    let to = &permit.origin;
    let proxy = door.options.proxy.as_ref().filter(|proxy| proxy.serves(to));
    let addresses = match proxy {
        // A proxy was named by the user; what lies behind it is looked at by name.
        Some(proxy) => {
            if let Some(address) = to.address() {
                address::check(&to.host(), address, permit.named)?;
            }
            look_up(door, proxy.origin(), true, attempt).await?
        }
        None => look_up(door, to, permit.named, attempt).await?,
    };
    let tcp = connect(to, proxy, &addresses, attempt).await?;
    let mut stream = Counted {
        tcp,
        counts: attempt.counts.clone(),
    };
    let limit = attempt.limits.connect;
    let rest = async {
        if let Some(proxy) = proxy {
            tunnel(&mut stream, proxy, to).await?;
        }
        match to.is_tls() {
            true => secure(door, permit, stream).await,
            false => Ok(Box::new(stream) as Box<dyn Stream>),
        }
    };
    attempt.within(limit, Wait::Connect, rest).await?
}

/// The addresses of `host` that may be dialled.
async fn look_up(
    door: &Inner,
    host: &Origin,
    named: bool,
    attempt: &Attempt,
) -> Result<Vec<SocketAddr>, EgressError> {
    let found = match (host.address(), host.name()) {
        (Some(address), _) => vec![address],
        (None, name) => {
            let look = door.options.resolver.resolve(name.unwrap_or_default());
            let found = attempt
                .within(attempt.limits.connect, Wait::Dns, look)
                .await?;
            found.map_err(|error| EgressError::Dns {
                host: host.host(),
                reason: error.to_string(),
            })?
        }
    };
    let mut refusal = EgressError::Dns {
        host: host.host(),
        reason: "it has no address".to_owned(),
    };
    let mut allowed = Vec::new();
    for address in found {
        match address::check(&host.host(), address, named) {
            Ok(()) => allowed.push(SocketAddr::new(address, host.port())),
            Err(error) => refusal = error,
        }
    }
    allowed.truncate(MAX_ADDRESSES);
    match allowed.is_empty() {
        true => Err(refusal),
        false => Ok(allowed),
    }
}

/// The first of `addresses` that answers.
async fn connect(
    to: &Origin,
    proxy: Option<&Proxy>,
    addresses: &[SocketAddr],
    attempt: &Attempt,
) -> Result<TcpStream, EgressError> {
    let mut last = None;
    for (i, address) in addresses.iter().enumerate() {
        attempt.record(Event::Dial {
            address: *address,
            proxy: proxy.map(|proxy| proxy.origin().to_string()),
        })?;
        let limit = match i.saturating_add(1) == addresses.len() {
            true => attempt.limits.connect,
            false => attempt.limits.connect.min(FIRST_PATIENCE),
        };
        match attempt
            .within(limit, Wait::Connect, TcpStream::connect(address))
            .await
        {
            Ok(Ok(tcp)) => {
                // Requests are small and written whole.
                drop(tcp.set_nodelay(true));
                return Ok(tcp);
            }
            Ok(Err(error)) => last = Some(error.to_string()),
            Err(error @ EgressError::Timeout { .. }) => last = Some(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    let reason = last.unwrap_or_default();
    Err(match proxy {
        Some(proxy) => EgressError::Proxy {
            proxy: proxy.origin().to_string(),
            host: to.host(),
            reason,
        },
        None => EgressError::Connect {
            host: to.host(),
            reason,
        },
    })
}

/// Asks `proxy` for a tunnel to `to` (RFC 9110, section 9.3.6).
async fn tunnel(stream: &mut Counted, proxy: &Proxy, to: &Origin) -> Result<(), EgressError> {
    let failed = |reason: String| EgressError::Proxy {
        proxy: proxy.origin().to_string(),
        host: to.host(),
        reason,
    };
    let request = proxy.connect_request(to);
    let sent = stream.write_all(request.as_bytes()).await;
    sent.map_err(|error| failed(error.to_string()))?;
    // Byte by byte, because the first byte after the empty line belongs to TLS.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await;
        answer.push(byte.map_err(|error| failed(error.to_string()))?);
        if answer.len() > MAX_PROXY_ANSWER {
            return Err(failed("its answer is too long".to_owned()));
        }
    }
    let line = answer
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let status = line.split(' ').nth(1).unwrap_or_default();
    match line.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2') {
        true => Ok(()),
        false => Err(failed(format!("it says `{}`", crate::origin::shown(&line)))),
    }
}

/// Speaks TLS on `stream` and makes sure who answers.
async fn secure(
    door: &Inner,
    permit: &Permit,
    stream: Counted,
) -> Result<Box<dyn Stream>, EgressError> {
    let to = &permit.origin;
    let failed = |reason: String| EgressError::Tls {
        host: to.host(),
        reason,
    };
    let name = match (to.address(), to.name()) {
        (Some(address), _) => ServerName::IpAddress(address.into()),
        (None, name) => ServerName::try_from(name.unwrap_or_default().to_owned())
            .map_err(|error| failed(error.to_string()))?,
    };
    let config = match permit.authorities() {
        Some(own) => own.tls()?,
        None => door.tls()?,
    };
    let connector = TlsConnector::from(config);
    match connector.connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        // The library's own errors come wrapped; all others are the connection's.
        Err(error)
            if error
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>()) =>
        {
            Err(failed(error.to_string()))
        }
        // Nothing of the request was sent.
        Err(error) => Err(EgressError::Connect {
            host: to.host(),
            reason: format!("TLS was not agreed on: {error}"),
        }),
    }
}

/// Bytes that went over a connection.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) up: AtomicU64,
    pub(crate) down: AtomicU64,
}

/// A connection that counts.
struct Counted {
    tcp: TcpStream,
    counts: Arc<Counts>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(context, buffer);
        let read = buffer.filled().len().saturating_sub(before);
        self.counts.down.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.counts.up.fetch_add(written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
