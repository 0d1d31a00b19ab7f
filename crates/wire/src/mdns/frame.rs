//! The headers around a message: Ethernet, IP and UDP. What is said of containers comes from their addresses, which no
//! socket of the host has.

use std::net::{IpAddr, SocketAddr};

use crate::udp::{self, Checksum, UDP};
use crate::{Mac, ipv4, ipv6};

use super::channel::Channel;
use super::{GROUP_V4, GROUP_V6, PORT};

/// How many more routers a message may pass (RFC 6762, 11).
const HOP_LIMIT: u8 = 255;

/// A message in a frame, with its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The MAC of the sender.
    pub source_mac: Mac,
    /// The MAC of the receiver.
    pub destination_mac: Mac,
    /// Who sent it.
    pub from: SocketAddr,
    /// To which address it is sent.
    pub to: IpAddr,
    /// The message.
    pub payload: &'a [u8],
}

impl Channel {
    /// The group in which all speak.
    pub fn group(self) -> IpAddr {
        match self {
            Channel::V4 => GROUP_V4.into(),
            Channel::V6 => GROUP_V6.into(),
        }
    }

    /// The MAC of the group (RFC 1112, 6.4; RFC 2464, 7).
    pub fn group_mac(self) -> Mac {
        match self {
            Channel::V4 => Mac([0x01, 0, 0x5e, 0, 0, 0xfb]),
            Channel::V6 => ipv6::group_mac(GROUP_V6),
        }
    }
}

impl<'a> Frame<'a> {
    /// Parses a frame. Returns `None` unless it holds a complete datagram for the port. The UDP checksum is not verified:
    /// frames of programs of the same host have none yet.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        if let Some(packet) = ipv4::Packet::parse(frame) {
            let ipv4::Packet { source_mac, destination_mac, source, destination, protocol, payload, .. } =
                packet;
            let ips = (source.into(), destination.into());
            return Self::within((source_mac, destination_mac), ips, protocol, payload);
        }
        let packet = ipv6::Packet::parse(frame)?;
        let ipv6::Packet { source_mac, destination_mac, source, destination, next_header, payload, .. } =
            packet;
        let ips = (source.into(), destination.into());
        Self::within((source_mac, destination_mac), ips, next_header, payload)
    }

    fn within(
        (source_mac, destination_mac): (Mac, Mac),
        (source, to): (IpAddr, IpAddr),
        protocol: u8,
        datagram: &'a [u8],
    ) -> Option<Self> {
        if protocol != UDP {
            return None;
        }
        let port = u16::from_be_bytes(*datagram.first_chunk()?);
        // Without its checksum it does not matter between which addresses it is.
        let payload = udp::read(&[], &[], datagram, PORT, Checksum::Partial)?;
        Some(Frame { source_mac, destination_mac, from: SocketAddr::new(source, port), to, payload })
    }
}

/// The frame that carries a message from the port of a container to somebody else. Returns `None` if one of the addresses is
/// IPv4 and the other IPv6.
pub fn frame(
    (source_mac, source): (Mac, IpAddr),
    (destination_mac, to): (Mac, SocketAddr),
    payload: &[u8],
) -> Option<Vec<u8>> {
    let ports = [PORT, to.port()];
    match (source, to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let datagram = udp::write(&source.octets(), &destination.octets(), ports, payload);
            let (protocol, ttl, payload) = (UDP, HOP_LIMIT, datagram.as_slice());
            Some(
                ipv4::Packet { source_mac, destination_mac, source, destination, protocol, ttl, payload }
                    .frame(),
            )
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let datagram = udp::write(&source.octets(), &destination.octets(), ports, payload);
            let (next_header, hop_limit, payload) = (UDP, HOP_LIMIT, datagram.as_slice());
            Some(
                ipv6::Packet {
                    source_mac,
                    destination_mac,
                    source,
                    destination,
                    next_header,
                    hop_limit,
                    payload,
                }
                .frame(),
            )
        }
        _ => None,
    }
}

/// The packet that carries a message from a container to the group within this host: with none left of its hop limit, it
/// does not leave the host.
pub fn packet_within_host(source: IpAddr, payload: &[u8]) -> Vec<u8> {
    let (source_mac, destination_mac, ports) = (Mac::ZERO, Mac::ZERO, [PORT, PORT]);
    match source {
        IpAddr::V4(source) => {
            let destination = GROUP_V4;
            let datagram = udp::write(&source.octets(), &destination.octets(), ports, payload);
            let (protocol, ttl, payload) = (UDP, 0, datagram.as_slice());
            ipv4::Packet { source_mac, destination_mac, source, destination, protocol, ttl, payload }.bytes()
        }
        IpAddr::V6(source) => {
            let destination = GROUP_V6;
            let datagram = udp::write(&source.octets(), &destination.octets(), ports, payload);
            let (next_header, hop_limit, payload) = (UDP, 0, datagram.as_slice());
            ipv6::Packet { source_mac, destination_mac, source, destination, next_header, hop_limit, payload }
                .bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter;
    use proptest::prelude::*;

    const WEB: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn to_group(channel: Channel, payload: &[u8]) -> Vec<u8> {
        let source = match channel {
            Channel::V4 => IpAddr::from([192, 168, 88, 192]),
            Channel::V6 => WEB.link_local().into(),
        };
        let to = (channel.group_mac(), SocketAddr::new(channel.group(), PORT));
        frame((WEB, source), to, payload).unwrap()
    }

    #[test]
    fn a_message_reads_back_has_passed_no_router_and_stays_within_the_host_where_it_should() {
        for (channel, mac, at) in
            [(Channel::V4, "01:00:5e:00:00:fb", 14 + 8), (Channel::V6, "33:33:00:00:00:fb", 14 + 7)]
        {
            let bytes = to_group(channel, b"message");
            let read = Frame::parse(&bytes).unwrap();
            assert_eq!((read.payload, read.source_mac, read.to), (&b"message"[..], WEB, channel.group()));
            assert_eq!((read.destination_mac.to_string(), read.from.port()), (mac.to_owned(), PORT));
            assert_eq!(bytes[at], 255);
            let packet = packet_within_host(read.from.ip(), b"message");
            assert_eq!((packet[at - 14], packet.len()), (0, bytes.len() - 14));
        }
        let web = (WEB, IpAddr::from([192, 168, 88, 192]));
        assert_eq!(frame(web, (WEB, "[fe80::9]:5353".parse().unwrap()), b""), None);
        let elsewhere = frame(web, (WEB, "192.168.88.20:53".parse().unwrap()), b"message").unwrap();
        assert_eq!(Frame::parse(&elsewhere), None);
    }

    proptest! {
        #[test]
        fn whatever_is_read_has_passed_the_filter(
            v4 in any::<bool>(), flips in prop::collection::vec((12..70usize, any::<u8>()), 0..4),
        ) {
            let mut frame = to_group(if v4 { Channel::V4 } else { Channel::V6 }, b"message");
            for (at, value) in flips {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            let has_tag = [0x81, 0x88].contains(&frame[12]);
            prop_assert!(has_tag || Frame::parse(&frame).is_none() || filter::runs(&filter::mdns(), &frame, None));
        }
    }
}
