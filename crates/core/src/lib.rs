//! ashore-core
