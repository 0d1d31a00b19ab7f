//! The Ethernet, IPv4 and UDP headers around a message. A client without an address cannot use a UDP socket,
//! so it reads and writes whole frames.

use std::net::Ipv4Addr;

use crate::Mac;
use crate::ipv4::Packet;
use crate::udp::{self, Checksum, UDP};

/// The UDP port on which clients listen.
pub const CLIENT_PORT: u16 = 68;
/// The UDP port on which servers and relays listen.
pub const SERVER_PORT: u16 = 67;

/// A UDP datagram that carries a message, with its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The sender of the frame: the server, or the router in between.
    pub source_mac: Mac,
    /// The receiver of the frame.
    pub destination_mac: Mac,
    /// The sender's IPv4 address.
    pub source: Ipv4Addr,
    /// The receiver's IPv4 address.
    pub destination: Ipv4Addr,
    /// The message's bytes.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Parses a frame. Returns `None` unless it holds a complete datagram for the client port.
    pub fn to_client(frame: &'a [u8], sum: Checksum) -> Option<Self> {
        let Packet { source_mac, destination_mac, source, destination, protocol, payload, .. } =
            Packet::parse(frame)?;
        if protocol != UDP {
            return None;
        }
        let payload = udp::read(&source.octets(), &destination.octets(), payload, CLIENT_PORT, sum)?;
        Some(Datagram { source_mac, destination_mac, source, destination, payload })
    }

    /// The frame that carries the datagram to the server port.
    pub fn to_server(&self) -> Vec<u8> {
        self.frame(CLIENT_PORT, SERVER_PORT)
    }

    fn frame(&self, from: u16, to: u16) -> Vec<u8> {
        let Datagram { source_mac, destination_mac, source, destination, payload } = *self;
        let datagram = udp::write(&source.octets(), &destination.octets(), [from, to], payload);
        Packet {
            source_mac,
            destination_mac,
            source,
            destination,
            protocol: UDP,
            ttl: 64,
            payload: &datagram,
        }
        .frame()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::checksum::checksum;
    use proptest::prelude::*;

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);

    /// A frame from a server to a client.
    pub(crate) fn reply(payload: &[u8]) -> Vec<u8> {
        let (source, destination) = (Ipv4Addr::new(192, 168, 88, 1), Ipv4Addr::BROADCAST);
        let source_mac = Mac([2, 0, 0, 0, 0, 2]);
        let datagram = Datagram { source_mac, destination_mac: CLIENT, source, destination, payload };
        datagram.frame(SERVER_PORT, CLIENT_PORT)
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
            prop_assert_eq!(read.source, Ipv4Addr::new(192, 168, 88, 1));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), behind in any::<bool>()) {
            let mut frame = if behind { reply(b"message")[..16].to_vec() } else { Vec::new() };
            frame.extend(bytes);
            let _ = Datagram::to_client(&frame, Checksum::Partial);
        }

        #[test]
        fn a_flipped_bit_is_noticed(at in 12..14 + 20 + 8 + 7usize, bit in 0..8u8) {
            let mut frame = reply(b"message");
            frame[at] ^= 1 << bit;
            prop_assert_eq!(Datagram::to_client(&frame, Checksum::Whole), None);
        }
    }

    #[test]
    fn a_checksum_that_is_not_there_or_not_ready_is_not_asked_for() {
        let mut frame = reply(b"message");
        frame[14 + 20 + 6..][..2].copy_from_slice(&[0, 0]);
        assert!(Datagram::to_client(&frame, Checksum::Whole).is_some());
        frame[14 + 20 + 6] = 1;
        assert!(Datagram::to_client(&frame, Checksum::Whole).is_none());
        assert!(Datagram::to_client(&frame, Checksum::Partial).is_some());
    }

    #[test]
    fn fragments_other_ports_and_what_is_cut_off_are_none_of_ours() {
        let whole = reply(b"message");
        for flags in [[0x20, 0], [0, 1]] {
            let mut frame = whole.clone();
            frame[14 + 6..][..2].copy_from_slice(&flags);
            frame[14 + 10..][..2].fill(0);
            let sum = checksum(&[&frame[14..34]]).to_be_bytes();
            frame[14 + 10..][..2].copy_from_slice(&sum);
            assert_eq!(Datagram::to_client(&frame, Checksum::Whole), None);
        }
        let asked = Datagram::to_client(&whole, Checksum::Whole).unwrap().to_server();
        assert_eq!(Datagram::to_client(&asked, Checksum::Whole), None, "this frame is for a server");
        for length in 0..whole.len() {
            assert_eq!(Datagram::to_client(&whole[..length], Checksum::Whole), None, "{length}");
        }
    }
}
