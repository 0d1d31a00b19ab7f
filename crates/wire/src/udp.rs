//! UDP (RFC 768), which carries DHCP messages. It works over both versions of IP: addresses are passed as
//! bytes.

use crate::checksum::checksum;

/// The protocol number of UDP in IP headers.
pub(crate) const UDP: u8 = 17;
const HEADER: usize = 8;

/// Whether the UDP checksum of a frame is filled in. A virtual NIC hands over frames from the same host
/// without it, and the packet socket says so (`TP_STATUS_CSUMNOTREADY` of `PACKET_AUXDATA`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// It is filled in, and is verified.
    Whole,
    /// It is not filled in.
    Partial,
}

/// The payload of a UDP datagram. Returns `None` if the datagram is cut off, is for another port, or has a
/// wrong checksum. Bytes after the datagram are padding and are ignored.
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
        // A zero means that the sender computed no checksum, which IPv6 forbids (RFC 8200, 8.1).
        (Checksum::Whole, 0) => source.len() == 4,
        (Checksum::Whole, _) => false,
    };
    let good = short(2)? == port && (unverified || sum_of(source, destination, datagram) == 0);
    good.then_some(payload)
}

/// Builds a UDP datagram with its checksum.
pub(crate) fn write(source: &[u8], destination: &[u8], [from, to]: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let length = HEADER + payload.len();
    let mut datagram = Vec::with_capacity(length);
    for number in [from, to, length as u16, 0] {
        datagram.extend(number.to_be_bytes());
    }
    datagram.extend(payload);
    // A checksum of zero would mean that there is none.
    let sum = Some(sum_of(source, destination, &datagram)).filter(|sum| *sum != 0).unwrap_or(0xffff);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// The UDP checksum over the pseudo-header and the datagram. IPv6's pseudo-header has four bytes for the
/// length where IPv4's has two; the other two are zero and do not change the sum.
fn sum_of(source: &[u8], destination: &[u8], datagram: &[u8]) -> u16 {
    let length = (datagram.len() as u16).to_be_bytes();
    checksum(&[source, destination, &[0, UDP], &length, datagram])
}
