//! A server for a program that has nothing else to do.

use crate::{App, Listeners, Tls, serve};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::Notify;

/// Where a program listens, before there is a runtime.
#[derive(Debug)]
pub struct Sockets {
    /// The port.
    pub tcp: TcpListener,
    /// What its connections are encrypted with.
    pub tls: Option<Arc<Tls>>,
    /// The owner's own socket: see [`Listeners::owner`].
    #[cfg(unix)]
    pub owner: Option<std::os::unix::net::UnixListener>,
}

impl From<TcpListener> for Sockets {
    fn from(tcp: TcpListener) -> Self {
        Self {
            tcp,
            tls: None,
            #[cfg(unix)]
            owner: None,
        }
    }
}

impl Sockets {
    /// For the runtime that is there.
    fn listeners(self) -> io::Result<Listeners> {
        self.tcp.set_nonblocking(true)?;
        Ok(Listeners {
            tcp: tokio::net::TcpListener::from_std(self.tcp)?,
            tls: self.tls,
            #[cfg(unix)]
            owner: self
                .owner
                .map(|owner| {
                    owner.set_nonblocking(true)?;
                    tokio::net::UnixListener::from_std(owner)
                })
                .transpose()?,
        })
    }
}

/// What a program hears of while it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Answers finish, and then it ends.
    Ending,
    /// SIGHUP: what was read from files is to be read again.
    Reload,
}

/// Serves on a runtime of its own until Ctrl-C or SIGTERM, which it listens for while it runs: then
/// answers finish first, as [`serve`] says; once more ends at once. `notice` hears of both signals,
/// and of SIGHUP.
///
/// # Errors
/// The listener cannot be used, or the system starts no thread.
pub fn run(sockets: impl Into<Sockets>, app: Arc<App>, notice: impl Fn(Notice)) -> io::Result<()> {
    let (first, second) = (Notify::new(), Notify::new());
    let signals = async {
        signal(&notice).await;
        notice(Notice::Ending);
        first.notify_one();
        signal(&notice).await;
        second.notify_one();
        std::future::pending::<io::Result<()>>().await
    };
    serve_until(sockets.into(), app, (&first, &second), signals)
}

/// The same within a program that does something else too and hears signals itself: it serves until it is
/// asked to end (`POST /ingle/stop`).
///
/// # Errors
/// As [`run`].
pub fn run_until_stopped(sockets: impl Into<Sockets>, app: Arc<App>) -> io::Result<()> {
    let (first, second) = (Notify::new(), Notify::new());
    serve_until(
        sockets.into(),
        app,
        (&first, &second),
        std::future::pending(),
    )
}

fn serve_until(
    sockets: Sockets,
    app: Arc<App>,
    (first, second): (&Notify, &Notify),
    never: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The processors are the engine's.
        .worker_threads(2)
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        let listeners = sockets.listeners()?;
        tokio::select! {
            served = serve(listeners, app, first.notified(), second.notified()) => served,
            never = never => never,
        }
    });
    // What still reads a body nobody wants is not waited for.
    runtime.shutdown_background();
    done
}

/// Waits for Ctrl-C or SIGTERM.
async fn signal(notice: &impl Fn(Notice)) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = (SignalKind::terminate(), SignalKind::hangup());
        if let (Ok(mut terminate), Ok(mut hangup)) = (signal(kinds.0), signal(kinds.1)) {
            loop {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => return,
                    _ = terminate.recv() => return,
                    _ = hangup.recv() => notice(Notice::Reload),
                }
            }
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
