//! What is to be done by the writer, and who waits for it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::sync::oneshot;

use super::LedgerError;
use super::writer::Work;

/// The answer of the writer: on the disk when it is there. It may be dropped; what was asked for is done
/// all the same.
#[must_use = "an error is told here only"]
pub struct Ack<T> {
    answer: oneshot::Receiver<Result<T, LedgerError>>,
    then: fn(T) -> T,
}

impl<T> Ack<T> {
    /// Waits for it, in a thread that may wait: not in one of tokio's.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn wait(self) -> Result<T, LedgerError> {
        let waker = Waker::from(Arc::new(Awake(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut this = pin!(self);
        loop {
            match this.as_mut().poll(&mut context) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// Applied to what is handed over.
    pub(super) fn then(self, then: fn(T) -> T) -> Self {
        Self { then, ..self }
    }
}

impl<T> Future for Ack<T> {
    type Output = Result<T, LedgerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let then = self.then;
        Pin::new(&mut self.answer)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(LedgerError::Closed)).map(then))
    }
}

struct Awake(Thread);

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// One thing to do.
pub(super) trait Do: Send {
    /// Does it, within a transaction that may be undone: then it is done again, or not.
    fn run(&mut self, work: &mut Work<'_>) -> Result<(), LedgerError>;
    /// Tells whoever waits. `Ok` only when it is on the disk.
    fn finish(self: Box<Self>, done: Result<(), LedgerError>);
    /// Whether somebody waits to be told that it is on the disk.
    fn is_waited_for(&self) -> bool;
    /// Whether it is tried again later when the disk or a lock was in the way.
    fn keeps(&self) -> bool;
}

/// A job: `run` makes a value within the transaction, `wrap` turns it into the answer once it is on the
/// disk.
pub(super) struct Job<R, V, W> {
    run: R,
    value: Option<V>,
    wrap: W,
    keeps: bool,
}

impl<R, V, T, W> Job<R, V, W>
where
    R: FnMut(&mut Work<'_>) -> Result<V, LedgerError> + Send + 'static,
    V: Send + 'static,
    W: FnOnce(V) -> T + Send + 'static,
    T: Send + 'static,
{
    pub(super) fn new(run: R, wrap: W) -> Self {
        Self {
            run,
            value: None,
            wrap,
            keeps: false,
        }
    }

    /// What must not be lost because a lock or a full disk was in the way.
    pub(super) fn counted(self) -> Self {
        Self {
            keeps: true,
            ..self
        }
    }

    pub(super) fn is_counted(&self) -> bool {
        self.keeps
    }

    /// With somebody to answer to.
    pub(super) fn asked(self) -> (Box<dyn Do>, Ack<T>) {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { job: self, reply };
        let ack = Ack {
            answer,
            then: |value| value,
        };
        (Box::new(asked), ack)
    }
}

struct Asked<R, V, W, T> {
    job: Job<R, V, W>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
}

impl<R, V, T, W> Do for Asked<R, V, W, T>
where
    R: FnMut(&mut Work<'_>) -> Result<V, LedgerError> + Send + 'static,
    V: Send + 'static,
    W: FnOnce(V) -> T + Send + 'static,
    T: Send + 'static,
{
    fn run(&mut self, work: &mut Work<'_>) -> Result<(), LedgerError> {
        self.job.value = None;
        self.job.value = Some((self.job.run)(work)?);
        Ok(())
    }

    fn finish(self: Box<Self>, done: Result<(), LedgerError>) {
        let Self { job, reply } = *self;
        let answer = match (done, job.value) {
            (Ok(()), Some(value)) => Ok((job.wrap)(value)),
            (Ok(()), None) => Err(LedgerError::Closed),
            (Err(error), _) => Err(error),
        };
        // Whoever asked may have gone.
        drop(reply.send(answer));
    }

    fn is_waited_for(&self) -> bool {
        !self.reply.is_closed()
    }

    fn keeps(&self) -> bool {
        self.job.keeps
    }
}
