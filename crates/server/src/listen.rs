//! Connections: taken, bounded, and closed in order.

use crate::error::ApiError;
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
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// The body of a request.
pub(crate) use hyper::body::Incoming;

/// Serves until `drain` is ready: then nothing new is taken, answers finish within
/// [`crate::Limits::drain_time`], and what is left is cancelled, as it is when `stop` is ready.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    drain: impl Future<Output = ()>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let limits = app.config.limits.clone();
    let places = Arc::new(Semaphore::new(limits.connections));
    let (closing, closed) = watch::channel(false);
    let (mut drain, mut stop) = (pin!(drain), pin!(stop));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut drain => break,
            () = &mut stop => break,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(e) if is_theirs(&e) => continue,
            Err(_) => {
                // Too many open files, most likely: others will close some.
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let connection = connection(stream, Arc::clone(&app), closed.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(_) => drop(tokio::spawn(turn_away(stream))),
        }
    }
    drop(listener);
    let _ = closing.send(true);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let last = places.acquire_many(all);
    tokio::select! {
        _ = last => {}
        () = sleep(limits.drain_time) => {}
        () = &mut stop => {}
    }
    for model in app.models.iter() {
        model.engine.stop();
    }
    // Those that are cancelled now still hear of it.
    let _ = timeout(Duration::from_secs(2), places.acquire_many(all)).await;
    Ok(())
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

async fn connection(stream: TcpStream, app: Arc<App>, mut closing: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let limits = &app.config.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes.max(8192));
    let service = service_fn(|request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(route::answer(app, request).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
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
