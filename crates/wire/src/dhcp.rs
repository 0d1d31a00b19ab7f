//! What DHCP for IPv4 and for IPv6 have in common.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

mod held_lease;

pub(crate) use held_lease::HeldLease;
pub use held_lease::{Change, Held, Lease, Recorded};

/// A client of either, as whoever drives it sees it: who does what [`Client::poll`] says until it says [`Action::Wait`], tells what
/// comes meanwhile, and polls again.
///
/// The times given must never go back, and must count those in which the machine sleeps (`CLOCK_BOOTTIME`, as an offset from some
/// `Instant`): a lease runs out meanwhile.
pub trait Client {
    /// What it gets.
    type Lease: Lease;
    /// What it sends.
    type Outgoing;

    /// What to do at a moment.
    fn poll(&mut self, now: Instant) -> Action<Self::Lease, Self::Outgoing>;

    /// The lease, if it is good at this moment. One from the record is so before any server has confirmed it.
    fn held(&self, now: Instant) -> Option<&Held<Self::Lease>>;

    /// Nobody has the address. Another than what was asked about changes nothing.
    fn clear(&mut self, ip: <Self::Lease as Lease>::Ip);

    /// Another machine has the address: it is declined, also if the lease was good until now. While the link has no carrier nobody
    /// can have been heard to have it, and nothing changes.
    fn taken(&mut self, ip: <Self::Lease as Lease>::Ip, now: Instant);

    /// Whether the link has no carrier, as far as it was told.
    fn is_down(&self) -> bool;

    /// The link has no carrier: nothing is sent, and the lease runs on.
    fn link_down(&mut self);

    /// Whether it asks, and no server has answered yet.
    fn is_unanswered(&self) -> bool;

    /// The link has a carrier, perhaps to another LAN (RFC 2131, 3.7; RFC 8415, 18.2.12).
    fn link_up(&mut self, now: Instant);

    /// Gives the lease back. What is to be told and sent is asked for as ever; then nothing more comes. A client that is to find its
    /// lease again is not released but dropped.
    fn release(&mut self, now: Instant);
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<L: Lease, Outgoing> {
    /// Send this, and ask again.
    Send(Outgoing),
    /// Nothing before this moment, if any, unless something is heard.
    Wait(Option<Instant>),
    /// Find out whether anybody has this address (RFC 2131, 2.2; RFC 8415, 18.2.10.1), and say so by [`Client::clear`] or
    /// [`Client::taken`]. It is asked once.
    Probe(L::Ip),
    /// The lease is good: put on the link, or change there, what it says.
    Bound(Held<L>, Change<L::Part>),
    /// The recorded lease may be used, since it has not ended and no server has answered (RFC 2131, 3.2 (4); RFC 8415, 18.2.3). The
    /// client goes on asking.
    Unconfirmed(Held<L>),
    /// The address must be used no longer, and no lease is on record.
    Lost(Loss),
}

/// Whose answers count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers<Id> {
    /// These alone; all if there are none.
    pub allow: Vec<Id>,
    /// Never these.
    pub deny: Vec<Id>,
}

impl<Id> Default for Servers<Id> {
    fn default() -> Self {
        Servers { allow: Vec::new(), deny: Vec::new() }
    }
}

impl<Id: PartialEq> Servers<Id> {
    /// Whether a server's do.
    pub fn accept(&self, server: &Id) -> bool {
        (self.allow.is_empty() || self.allow.contains(server)) && !self.deny.contains(server)
    }
}

/// Who is to write the client's address into the DNS (RFC 4702, 2.1; RFC 4704, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// The server: the flag S.
    Server,
    /// The client itself: no flag.
    Client,
    /// Nobody: the flag N.
    Nobody,
}

/// Why a lease is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// A server says that it is void, and perhaps why.
    Refused(Option<String>),
    /// It ended, and nobody renewed it.
    Expired,
    /// Another machine has the address.
    Taken,
    /// It was given back.
    Released,
}

/// The shortest lease that is taken, in seconds: one that is shorter would be spent on renewing it.
pub const SHORTEST: u32 = 10;

/// The least between a DECLINE and the next attempt to get an address: RFC 2131, 3.1 (5), has it, and RFC 8415 has nothing that
/// would keep a server and its client from going in a circle.
pub(crate) const AFTER_DECLINE: Duration = Duration::from_secs(10);

/// A server's words. They end in logs: what is not printable is left out.
pub(crate) fn words(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// An identifier as text: its bytes in hexadecimal with colons between, as servers show it and take it in a reservation.
pub(crate) mod hexadecimal {
    use std::fmt;

    pub(crate) fn write(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in bytes.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }

    pub(crate) fn read(text: &str) -> Option<Vec<u8>> {
        let is_byte =
            |digits: &&str| digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = |digits: &str| u8::from_str_radix(Some(digits).filter(is_byte)?, 16).ok();
        text.split(':').map(byte).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_heard_if_it_is_allowed_and_not_denied() {
        assert!(Servers::default().accept(&1));
        let allowing = Servers { allow: vec![1], deny: vec![] };
        assert!(allowing.accept(&1) && !allowing.accept(&2));
        let denying = Servers { allow: vec![1, 2], deny: vec![1] };
        assert!(!denying.accept(&1) && denying.accept(&2));
    }

    #[test]
    fn what_a_server_says_in_words_cannot_write_to_a_terminal() {
        assert_eq!(words(b"wrong\x1b[2J subnet\r\n\0").unwrap(), "wrong[2J subnet");
        assert_eq!(words(b"\r\n"), None);
    }
}
