//! ashore-kernel
