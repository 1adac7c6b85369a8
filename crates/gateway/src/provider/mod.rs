//! Upstreams: who may be asked beyond this machine, in which dialect, and what to do when one fails.
