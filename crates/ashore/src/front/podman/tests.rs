//! Calls of real engines, and what comes of them.
