//! A server for a program that has nothing else to do.

use crate::{App, serve};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::Notify;

/// Serves on a runtime of its own until Ctrl-C or SIGTERM, which it listens for while it runs: then
/// answers finish first, as [`serve`] says, and `ending` is called; once more ends at once.
///
/// # Errors
/// The listener cannot be used, or the system starts no thread.
pub fn run(listener: TcpListener, app: Arc<App>, ending: impl Fn()) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The processors are the engine's.
        .worker_threads(2)
        .enable_all()
        .build()?;
    listener.set_nonblocking(true)?;
    let (first, second) = (Notify::new(), Notify::new());
    let done = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let signals = async {
            signal().await;
            ending();
            first.notify_one();
            signal().await;
            second.notify_one();
            std::future::pending::<io::Result<()>>().await
        };
        tokio::select! {
            served = serve(listener, app, first.notified(), second.notified()) => served,
            never = signals => never,
        }
    });
    // What still reads a body nobody wants is not waited for.
    runtime.shutdown_background();
    done
}

/// Ctrl-C or SIGTERM.
async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
