//! The Ethernet, IPv6 and UDP headers around a message. Frames are read and written on the parent, because
//! the container may not have a link yet.

use std::net::Ipv6Addr;

use crate::Mac;
use crate::ipv6::{Packet, group_mac};
use crate::udp::{self, Checksum, UDP};

/// The UDP port on which clients listen.
pub const CLIENT_PORT: u16 = 546;
/// The UDP port on which servers and relays listen.
pub const SERVER_PORT: u16 = 547;
/// The group of all servers and relays on a link, to which a client sends all its messages (RFC 8415, 7.1).
pub const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// A UDP datagram that carries a message, with its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The sender of the frame.
    pub source_mac: Mac,
    /// The receiver of the frame.
    pub destination_mac: Mac,
    /// The sender's IPv6 address.
    pub source: Ipv6Addr,
    /// The receiver's IPv6 address.
    pub destination: Ipv6Addr,
    /// The message's bytes.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Parses a frame. Returns `None` unless it holds a complete datagram for the client port.
    pub fn to_client(frame: &'a [u8], sum: Checksum) -> Option<Self> {
        let Packet { source_mac, destination_mac, source, destination, next_header, payload, .. } =
            Packet::parse(frame)?;
        if next_header != UDP {
            return None;
        }
        let payload = udp::read(&source.octets(), &destination.octets(), payload, CLIENT_PORT, sum)?;
        Some(Datagram { source_mac, destination_mac, source, destination, payload })
    }

    fn frame(&self, ports: [u16; 2], hop_limit: u8) -> Vec<u8> {
        let Datagram { source_mac, destination_mac, source, destination, payload } = *self;
        let datagram = udp::write(&source.octets(), &destination.octets(), ports, payload);
        Packet {
            source_mac,
            destination_mac,
            source,
            destination,
            next_header: UDP,
            hop_limit,
            payload: &datagram,
        }
        .frame()
    }
}

/// The frame that carries a client's message to all servers. Its hop limit is 1, because no router forwards
/// packets to this group.
pub(super) fn to_servers(source_mac: Mac, source: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let (destination, destination_mac) = (ALL_SERVERS, group_mac(ALL_SERVERS));
    Datagram { source_mac, destination_mac, source, destination, payload }
        .frame([CLIENT_PORT, SERVER_PORT], 1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const SERVER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    /// A frame from a server to a client.
    pub(crate) fn reply(payload: &[u8]) -> Vec<u8> {
        let (source, destination) = (SERVER.link_local(), CLIENT.link_local());
        Datagram { source_mac: SERVER, destination_mac: CLIENT, source, destination, payload }
            .frame([SERVER_PORT, CLIENT_PORT], 64)
    }

    /// A frame from a client to the servers.
    pub(crate) fn question(payload: &[u8]) -> Vec<u8> {
        to_servers(CLIENT, CLIENT.link_local(), payload)
    }

    proptest! {
        #[test]
        fn a_datagram_reads_back_with_and_without_ethernets_padding(
            payload in prop::collection::vec(any::<u8>(), 0..600), padding in 0..50usize,
        ) {
            let mut frame = reply(&payload);
            frame.resize(frame.len() + padding, 0xee);
            let read = Datagram::to_client(&frame, Checksum::Whole).unwrap();
            prop_assert_eq!((read.payload, read.destination_mac), (payload.as_slice(), CLIENT));
            prop_assert_eq!((read.source, read.destination), (SERVER.link_local(), CLIENT.link_local()));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..90), behind in any::<bool>()) {
            let mut frame = if behind { reply(b"message")[..18].to_vec() } else { Vec::new() };
            frame.extend(bytes);
            let _ = Datagram::to_client(&frame, Checksum::Partial);
        }

        // Traffic class, flow label and hop limit are not covered by a checksum.
        #[test]
        fn a_flipped_bit_is_noticed(at in (18..14 + 40 + 8 + 7usize).prop_filter("hop limit", |at| *at != 21), bit in 0..8u8) {
            let mut frame = reply(b"message");
            frame[at] ^= 1 << bit;
            prop_assert_eq!(Datagram::to_client(&frame, Checksum::Whole), None);
        }
    }

    #[test]
    fn a_checksum_that_is_not_ready_is_not_asked_for_and_one_that_is_not_there_is_wrong() {
        let mut frame = reply(b"message");
        for sum in [[0, 0], [1, 0]] {
            frame[14 + 40 + 6..][..2].copy_from_slice(&sum);
            assert!(Datagram::to_client(&frame, Checksum::Whole).is_none(), "{sum:?}");
            assert!(Datagram::to_client(&frame, Checksum::Partial).is_some());
        }
    }

    #[test]
    fn what_a_client_asks_goes_to_all_servers_of_the_link_and_no_further() {
        let frame = question(b"message");
        assert_eq!(frame[..6], [0x33, 0x33, 0, 1, 0, 2]);
        assert_eq!(frame[14 + 7], 1, "hop limit");
        assert_eq!(frame[14 + 8..][..16], CLIENT.link_local().octets());
        assert_eq!(frame[14 + 40..][..4], [2, 34, 2, 35]);
        assert_eq!(Datagram::to_client(&frame, Checksum::Whole), None, "this frame is for a server");
        let whole = reply(b"message");
        for length in 0..whole.len() {
            assert_eq!(Datagram::to_client(&whole[..length], Checksum::Whole), None, "{length}");
        }
    }
}
