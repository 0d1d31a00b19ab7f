//! What DHCPv4 and DHCPv6 have in common.

use std::time::Duration;

use crate::Boottime;

use serde::{Deserialize, Serialize};

mod held_lease;

pub(crate) use held_lease::HeldLease;
pub use held_lease::{Change, Held, Lease, Recorded};

/// A DHCPv4 or DHCPv6 client, as its driver sees it. The driver carries out what [`Client::poll`] returns
/// until that is [`Action::Wait`], reports what happens meanwhile, and polls again.
///
/// The times passed in must never go back.
pub trait Client {
    /// The kind of lease that the client gets.
    type Lease: Lease;
    /// The kind of message that the client sends.
    type Outgoing;

    /// Returns what to do at time `now`.
    fn poll(&mut self, now: Boottime) -> Action<Self::Lease, Self::Outgoing>;

    /// The lease, if it is valid at time `now`. A recorded lease counts as valid even before a server has
    /// confirmed it.
    fn held(&self, now: Boottime) -> Option<&Held<Self::Lease>>;

    /// Reports that no other host has the address. A report about an address that the client did not ask to
    /// probe changes nothing.
    fn clear(&mut self, ip: <Self::Lease as Lease>::Ip);

    /// Reports that another host has the address. The client declines it, even if the lease was valid until
    /// now. While the link has no carrier, no other host can have been heard, so the call changes nothing.
    fn taken(&mut self, ip: <Self::Lease as Lease>::Ip, now: Boottime);

    /// Whether the link was last reported to have no carrier.
    fn is_down(&self) -> bool;

    /// Reports that the link has no carrier. The client sends nothing, and the lease runs on.
    fn link_down(&mut self);

    /// Whether the client is asking and no server has answered yet.
    fn is_unanswered(&self) -> bool;

    /// Reports that the link has a carrier, perhaps to another LAN (RFC 2131, 3.7; RFC 8415, 18.2.12).
    fn link_up(&mut self, now: Boottime);

    /// Releases the lease. The driver goes on polling for what is left to report and send; after that,
    /// nothing more comes. To keep the lease for a later start, drop the client instead.
    fn release(&mut self, now: Boottime);
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<L: Lease, Outgoing> {
    /// Send this message, and poll again.
    Send(Outgoing),
    /// Do nothing until this moment, or without limit if `None`, unless something is heard.
    Wait(Option<Boottime>),
    /// Probe whether any other host has this address (RFC 2131, 2.2; RFC 8415, 18.2.10.1), and report the
    /// result by [`Client::clear`] or [`Client::taken`]. The client asks for this once per candidate.
    Probe(L::Ip),
    /// The lease is valid: apply it to the link, or apply what has changed.
    Bound(Held<L>, Change<L::Part>),
    /// The recorded lease may be used: it has not expired and no server has answered (RFC 2131, 3.2 (4);
    /// RFC 8415, 18.2.3). The client goes on asking.
    Unconfirmed(Held<L>),
    /// The address must no longer be used, and its lease must be removed from the record.
    Lost(Loss),
}

/// Which servers' answers the client accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers<Id> {
    /// Only these servers; all servers if the list is empty.
    pub allow: Vec<Id>,
    /// None of these servers, even if `allow` lists them.
    pub deny: Vec<Id>,
}

impl<Id> Default for Servers<Id> {
    fn default() -> Self {
        Servers { allow: Vec::new(), deny: Vec::new() }
    }
}

impl<Id: PartialEq> Servers<Id> {
    /// Whether answers of `server` are accepted.
    pub fn accept(&self, server: &Id) -> bool {
        (self.allow.is_empty() || self.allow.contains(server)) && !self.deny.contains(server)
    }
}

/// Who updates the DNS with the client's address (RFC 4702, 2.1; RFC 4704, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// The server: flag S.
    Server,
    /// The client itself: no flag.
    Client,
    /// Neither: flag N.
    Nobody,
}

/// Why a lease is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// A server says that the lease is void, with its reason if it gives one.
    Refused(Option<String>),
    /// The lease expired without being renewed.
    Expired,
    /// Another host has the address.
    Taken,
    /// The client released it.
    Released,
}

/// The shortest lease that is accepted, in seconds. A shorter one would be spent on renewing it.
pub const SHORTEST: u32 = 10;

/// The shortest wait between a DECLINE and the next attempt to get an address. RFC 2131, 3.1 (5), demands it.
/// RFC 8415 has no such rule, but without the wait a server and its client could go in circles.
pub(crate) const AFTER_DECLINE: Duration = Duration::from_secs(10);

/// A server's text with control characters removed, because it ends up in logs. Returns `None` if nothing is
/// left.
pub(crate) fn words(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// An identifier as text: its bytes in hexadecimal, separated by colons. Servers show identifiers in this
/// form and accept it in a reservation.
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
