//! The ways on which a responder speaks and listens.

use std::ops::{BitAnd, BitOr};

/// How many channels a responder may have: IPv4 and IPv6, on the parent and on the shim.
pub const CHANNELS: usize = 4;

/// One way to the LAN: a link of the host with a version of IP, a socket of the caller's. Peers that are heard on one
/// need not be heard on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(u8);

/// A set of channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channels(u8);

impl Channel {
    /// The channel of this number. `None` from [`CHANNELS`] on.
    pub fn new(number: usize) -> Option<Self> {
        (number < CHANNELS).then_some(Channel(number as u8))
    }

    /// Its number.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }
}

impl Channels {
    /// No channel.
    pub const NONE: Self = Channels(0);

    /// Whether it is one of them.
    pub fn contains(self, channel: Channel) -> bool {
        self.0 & (1 << channel.0) != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Channel> {
        (0..CHANNELS as u8).map(Channel).filter(move |channel| self.contains(*channel))
    }
}

impl From<Channel> for Channels {
    fn from(channel: Channel) -> Self {
        Channels(1 << channel.0)
    }
}

impl FromIterator<Channel> for Channels {
    fn from_iter<I: IntoIterator<Item = Channel>>(channels: I) -> Self {
        channels.into_iter().fold(Channels::NONE, |all, channel| all | channel.into())
    }
}

impl BitOr for Channels {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Channels(self.0 | other.0)
    }
}

impl BitAnd for Channels {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Channels(self.0 & other.0)
    }
}
