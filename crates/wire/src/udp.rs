//! UDP (RFC 768) above either version of IP, whose addresses come as bytes: what DHCP's messages go in.

use crate::checksum::checksum;

/// Its number in IP's headers.
pub(crate) const UDP: u8 = 17;
const HEADER: usize = 8;

/// Whether a frame's UDP checksum is filled in. A virtual NIC hands over frames of the same machine without it, and the packet
/// socket says so (`TP_STATUS_CSUMNOTREADY` of `PACKET_AUXDATA`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// It is, and is verified.
    Whole,
    /// It is not.
    Partial,
}

/// The payload of a datagram, if it is whole and for this port. What is behind it pads the packet.
pub(crate) fn read<'a>(
    source: &[u8],
    destination: &[u8],
    packet: &'a [u8],
    port: u16,
    sum: Checksum,
) -> Option<&'a [u8]> {
    let short = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let datagram = packet.get(..usize::from(short(4)?))?;
    let payload = datagram.get(HEADER..)?;
    let unverified = match (sum, short(6)?) {
        (Checksum::Partial, _) => true,
        // The sender made none, which IPv6 forbids (RFC 8200, 8.1).
        (Checksum::Whole, 0) => source.len() == 4,
        (Checksum::Whole, _) => false,
    };
    let good = short(2)? == port && (unverified || sum_of(source, destination, datagram) == 0);
    good.then_some(payload)
}

/// A datagram from one port to another.
pub(crate) fn write(source: &[u8], destination: &[u8], [from, to]: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let length = HEADER + payload.len();
    let mut datagram = Vec::with_capacity(length);
    for number in [from, to, length as u16, 0] {
        datagram.extend(number.to_be_bytes());
    }
    datagram.extend(payload);
    // A sum of zero would say that there is none.
    let sum = Some(sum_of(source, destination, &datagram)).filter(|sum| *sum != 0).unwrap_or(0xffff);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// IPv6's pseudo-header has four bytes for the length where IPv4's has two; the others are zero and add nothing.
fn sum_of(source: &[u8], destination: &[u8], datagram: &[u8]) -> u16 {
    let length = (datagram.len() as u16).to_be_bytes();
    checksum(&[source, destination, &[0, UDP], &length, datagram])
}
