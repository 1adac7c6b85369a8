//! Connections: taken, bounded, and closed in order.

use crate::error::ApiError;
use crate::stall::Stall;
use crate::tls::Tls;
use crate::{App, openai, route};
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// The body of a request.
pub(crate) use hyper::body::Incoming;

/// How a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// Anybody who reaches the port.
    Network,
    /// The socket in a folder that only the one can open on whose machine this is.
    Owner,
}

/// Where connections come from.
#[derive(Debug)]
pub struct Listeners {
    /// The port.
    pub tcp: TcpListener,
    /// What the port's connections are encrypted with.
    pub tls: Option<Arc<Tls>>,
    /// A socket that only the one can open on whose machine this is: whoever comes through it needs
    /// no key. It must lie in a folder that is closed to others.
    #[cfg(unix)]
    pub owner: Option<tokio::net::UnixListener>,
}

impl From<TcpListener> for Listeners {
    fn from(tcp: TcpListener) -> Self {
        Self {
            tcp,
            tls: None,
            #[cfg(unix)]
            owner: None,
        }
    }
}

/// A connection that has come.
enum Taken {
    Tcp(TcpStream),
    #[cfg(unix)]
    Owner(tokio::net::UnixStream),
}

impl Listeners {
    async fn accept(&self) -> io::Result<Taken> {
        #[cfg(unix)]
        if let Some(owner) = &self.owner {
            return tokio::select! {
                tcp = self.tcp.accept() => Ok(Taken::Tcp(tcp?.0)),
                owner = owner.accept() => Ok(Taken::Owner(owner?.0)),
            };
        }
        Ok(Taken::Tcp(self.tcp.accept().await?.0))
    }
}

/// Serves until `drain` is ready, or somebody who may asks for the end: then nothing new is taken,
/// answers finish within [`crate::Limits::drain_time`], and what is left is cancelled, as it is when
/// `stop` is ready.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listeners: impl Into<Listeners>,
    app: Arc<App>,
    drain: impl Future<Output = ()>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let listeners = listeners.into();
    let limits = app.config.limits.clone();
    let places = Arc::new(Semaphore::new(limits.connections));
    let (closing, closed) = watch::channel(false);
    let (mut drain, mut stop) = (pin!(drain), pin!(stop));
    loop {
        let taken = tokio::select! {
            accepted = listeners.accept() => accepted,
            () = &mut drain => break,
            () = &mut stop => break,
            () = app.end.notified() => break,
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(e) if is_theirs(&e) => continue,
            Err(_) => {
                // Too many open files, most likely: others will close some.
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let place = Arc::clone(&places).try_acquire_owned();
        match (taken, place) {
            (Taken::Tcp(stream), Ok(place)) => {
                let (app, closed) = (Arc::clone(&app), closed.clone());
                let tls = listeners.tls.clone();
                tokio::spawn(async move {
                    network(stream, tls, app, closed).await;
                    drop(place);
                });
            }
            (Taken::Tcp(stream), Err(_)) if listeners.tls.is_none() => {
                drop(tokio::spawn(turn_away(stream)));
            }
            // Whoever speaks TLS would not understand; the owner can ask again.
            (Taken::Tcp(_), Err(_)) => {}
            #[cfg(unix)]
            (Taken::Owner(stream), place) => {
                // Also where strangers hold all places.
                let connection = connection(stream, Arc::clone(&app), closed.clone(), Via::Owner);
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
        }
    }
    drop(listeners);
    let _ = closing.send(true);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let last = places.acquire_many(all);
    tokio::select! {
        _ = last => {}
        () = sleep(limits.drain_time) => {}
        () = &mut stop => {}
    }
    app.models.close();
    // Those that are cancelled now still hear of it.
    let _ = timeout(Duration::from_secs(2), places.acquire_many(all)).await;
    Ok(())
}

/// A connection to the port.
async fn network(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    app: Arc<App>,
    closing: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return connection(stream, app, closing, Via::Network).await;
    };
    let greeting = timeout(app.config.limits.header_time, tls.acceptor().accept(stream));
    if let Ok(Ok(stream)) = greeting.await {
        connection(stream, app, closing, Via::Network).await;
    }
}

/// The client's doing, not the listener's end.
fn is_theirs(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    app: Arc<App>,
    mut closing: watch::Receiver<bool>,
    via: Via,
) {
    let limits = &app.config.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes.max(8192));
    let service = service_fn(|request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(route::answer(app, request, via).await) }
    });
    let stream = TokioIo::new(Stall::new(stream, limits.write_stall));
    let mut connection = pin!(builder.serve_connection(stream, service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// One connection too many: it is told so, and closed.
async fn turn_away(mut stream: TcpStream) {
    let error = ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too_many_connections",
        "too many connections are open; try again soon",
    );
    let body = openai::error(&error).to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let write = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    let _ = timeout(Duration::from_secs(1), write).await;
}
