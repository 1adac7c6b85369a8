//! Floor 0: the only door out of the machine.
#![forbid(unsafe_code)]
