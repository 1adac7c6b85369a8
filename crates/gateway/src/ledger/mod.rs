//! What was spent and what left: append-only rows, caps held by reservations, and the words about them.
