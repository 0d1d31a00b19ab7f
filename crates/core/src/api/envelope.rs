//! The envelope of a request and of a reply on the control socket: the protocol's version, so that programs
//! of different versions can say what is wrong.

use serde::{Deserialize, Serialize};

/// The version of the protocol. It is raised by a change that a program of an earlier version would
/// misunderstand. A new kind of request is no such change: an earlier daemon refuses it by itself. Nor is a field
/// of another form, as when troubles became values: a program that expects the other form does not misunderstand
/// it, but says that it does not understand it, with both versions and what helps. A raised protocol would refuse
/// it all other requests too, which are as they were. Nor is a further field, such as the code of a refusal, which an
/// earlier program ignores.
pub const PROTOCOL: u64 = 1;

/// The part of an envelope that all versions understand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the protocol that the sender speaks.
    pub protocol: u64,
    /// The sender's own version.
    #[serde(default)]
    pub version: String,
}

/// A request or a reply with its head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// See [`Head::protocol`].
    pub protocol: u64,
    /// See [`Head::version`].
    #[serde(default)]
    pub version: String,
    /// The request or the reply.
    pub body: T,
}

impl<T> Envelope<T> {
    /// Puts a request or a reply into an envelope of a sender of this version.
    pub fn new(head: Head, body: T) -> Self {
        Envelope { protocol: head.protocol, version: head.version, body }
    }
}
