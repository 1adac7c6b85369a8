//! The parts of a gateway as they are.

mod books;
mod judged;
mod policies;
mod remote;

pub use books::Ledgered;
pub use judged::{AimSetting, Feedback, Judged, JudgedSettings};
pub use policies::Policies;
pub use remote::Remote;
