//! Floor 5: the dialects that clients speak.
#![forbid(unsafe_code)]
