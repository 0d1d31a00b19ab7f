//! An IPv6 router that is a DHCPv6 server too, and whose frames have a priority tag and are in no VLAN (VLAN 0), as a
//! switch or a Wi-Fi bridge sends them.

use std::net::Ipv6Addr;

use ashore_lab::Machine;
use ashore_wire::Mac;
use ashore_wire::dhcp6::{CLIENT_PORT, Kind, Message, Options, SERVER_PORT, code};

use super::scripted::checksum;
use super::voice::Answering;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ICMPV6: u8 = 58;
const UDP: u8 = 17;
// The lengths of the headers.
const ETHERNET: usize = 14;
const IPV6: usize = 40;
const UDP_HEADER: usize = 8;

/// Advertises, when it is asked, that `fd88::/64` is on the link and that a DHCPv6 server has the addresses, and leases
/// this one to whoever asks.
pub fn router(on: &Machine, leased: Ipv6Addr) -> Answering {
    let host = on.kernel().observe(&[]).unwrap().host;
    let mac = host.link(&"eth0".parse().unwrap()).unwrap().mac.unwrap();
    Answering::all_by(on, "eth0", move |frame| answer(frame, mac, leased))
}

fn answer(frame: &[u8], mac: Mac, leased: Ipv6Addr) -> Option<Vec<u8>> {
    /// A router solicitation.
    const SOLICITATION: u8 = 133;
    let payload = frame.get(ETHERNET + IPV6..)?;
    if frame[12..14] != [0x86, 0xdd] {
        return None;
    }
    let asker = Mac(*frame[6..].first_chunk()?);
    let source = Ipv6Addr::from(*frame[ETHERNET + 8..].first_chunk::<16>()?);
    let to_server = || payload.get(2..4) == Some(&SERVER_PORT.to_be_bytes()[..]);
    match frame[ETHERNET + 6] {
        ICMPV6 if payload.first() == Some(&SOLICITATION) => {
            let group = Mac([0x33, 0x33, 0, 0, 0, 1]);
            Some(tagged(mac, group, ALL_NODES, ICMPV6, &advertisement(), 2))
        }
        UDP if to_server() => {
            let said = reply(&Message::decode(payload.get(UDP_HEADER..)?)?, leased)?.encode();
            let length = ((UDP_HEADER + said.len()) as u16).to_be_bytes();
            let ports = [SERVER_PORT.to_be_bytes(), CLIENT_PORT.to_be_bytes()].concat();
            let datagram = [&ports[..], &length, &[0, 0], &said].concat();
            Some(tagged(mac, asker, source, UDP, &datagram, 6))
        }
        _ => None,
    }
}

/// A router for half an hour, and DHCPv6 for addresses (flag M). The prefix is on the link, and no addresses are made of
/// it.
fn advertisement() -> Vec<u8> {
    let prefix = Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 0).octets();
    let times = [7200u32, 3600, 0].map(u32::to_be_bytes).concat();
    [&[134, 0, 0, 0, 64, 0x80, 0x07, 0x08][..], &[0; 8], &[3, 4, 64, 0x80], &times, &prefix].concat()
}

fn reply(asked: &Message, leased: Ipv6Addr) -> Option<Message> {
    let mut options = Options::default();
    match asked.kind {
        Kind::Solicit => options.push(code::RAPID_COMMIT, []),
        Kind::Request | Kind::Confirm | Kind::Renew | Kind::Rebind => {}
        _ => return None,
    }
    options.push(code::CLIENT_ID, asked.options.get(code::CLIENT_ID)?);
    options.push(code::SERVER_ID, [0, 3, 0, 1, 2, 0, 0, 0, 0, 9]);
    // The number of the interface, and the times that are left to the client.
    let mut association = asked.options.get(code::IA_NA)?.get(..4)?.to_vec();
    association.extend([0; 8]);
    association.extend([0, 5, 0, 24]);
    association.extend(leased.octets());
    association.extend([3600u32, 7200].map(u32::to_be_bytes).concat());
    options.push(code::IA_NA, association);
    Some(Message { kind: Kind::Reply, xid: asked.xid, options })
}

/// The frame of a packet from a machine's link-local address, with the tag, and with the payload's checksum at this
/// offset.
fn tagged(from: Mac, to_mac: Mac, to: Ipv6Addr, next: u8, payload: &[u8], sum_at: usize) -> Vec<u8> {
    let (source, to, length) = (from.link_local().octets(), to.octets(), payload.len() as u16);
    let mut payload = payload.to_vec();
    let sum = checksum(&[&source, &to, &u32::from(length).to_be_bytes(), &[0, 0, 0, next], &payload]);
    payload[sum_at..sum_at + 2].copy_from_slice(&sum);
    let header = [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[next, 255], &source, &to].concat();
    [&to_mac.0[..], &from.0, &[0x81, 0, 0xe0, 0], &[0x86, 0xdd], &header, &payload].concat()
}
