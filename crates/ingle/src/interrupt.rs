//! Ctrl-C stops the answer and not the program; pressed again before the answer has stopped, it
//! stops the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a program that Ctrl-C ended: 128 and the signal's number.
const ENDED: i32 = 130;

/// Whether somebody has pressed Ctrl-C.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system does not let a handler be set.
    pub fn listen() -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let flag = interrupt.clone();
        ctrlc::set_handler(move || {
            if flag.0.swap(true, Ordering::Relaxed) {
                std::process::exit(ENDED);
            }
        })?;
        Ok(interrupt)
    }

    /// Somebody has.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// It has been seen to.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
