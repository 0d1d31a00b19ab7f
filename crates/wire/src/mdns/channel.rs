//! The ways on which a responder speaks and listens.

use std::net::IpAddr;
use std::ops::{BitAnd, BitOr};

/// How many channels there are.
pub(super) const CHANNELS: usize = Channel::ALL.len();

/// One way to the LAN: a version of IP. A peer that hears one need not hear the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A set of channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channels(u8);

impl Channel {
    /// Both of them.
    pub const ALL: [Self; 2] = [Channel::V4, Channel::V6];

    /// The channel of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Channel::V4 } else { Channel::V6 }
    }

    /// Its place in an array of [`CHANNELS`].
    pub(super) fn number(self) -> usize {
        self as usize
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Channels {
    /// No channel.
    pub const NONE: Self = Channels(0);

    /// Whether it is one of them.
    pub fn contains(self, channel: Channel) -> bool {
        self.0 & channel.bit() != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Channel> {
        Channel::ALL.into_iter().filter(move |channel| self.contains(*channel))
    }
}

impl From<Channel> for Channels {
    fn from(channel: Channel) -> Self {
        Channels(channel.bit())
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
