//! The table `filter` of iptables-legacy (`linux/netfilter_ipv4/ip_tables.h` and the same for IPv6).

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd;

use ashore_core::net::family::Family;
use ipnet::IpNet;
use socket2::{Domain, Protocol, Type};

use super::register::compared;
use super::walk::{Does, Of, met, walk};
use super::xtables::{all_of, matched, name_at, target};
use super::{Fate, Packets, Rules};
use crate::bytes::{i32_at, u8_at, u16_at};

/// `struct ipt_getinfo`. `ip6t_getinfo` is the same.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct TableInfo {
    name: [u8; 32],
    valid_hooks: u32,
    hook_entry: [u32; 5],
    underflow: [u32; 5],
    entries: u32,
    size: u32,
}

/// The table of a family.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) family: Family,
    hooks: [u32; 5],
    entries: Vec<u8>,
}

/// Where the parts of an entry are.
struct Layout {
    /// How long an address is. The sender, the receiver and the mask of each come first.
    address: usize,
    inverted: usize,
    protocol: usize,
    target: usize,
    matches: usize,
}

impl Layout {
    fn of(family: Family) -> Self {
        match family {
            Family::Ipv4 => Layout { address: 4, protocol: 80, inverted: 83, target: 88, matches: 112 },
            Family::Ipv6 => Layout { address: 16, protocol: 128, inverted: 132, target: 140, matches: 168 },
        }
    }
}

/// Reads the table of a family in this thread's namespace. `None` if there is none.
pub(super) fn read(family: Family) -> io::Result<Option<Table>> {
    const GET_INFO: i32 = 64;
    const GET_ENTRIES: i32 = 65;
    /// Size of `struct ipt_get_entries` without its rules.
    const BEFORE_RULES: usize = 40;
    let (tables, domain, level) = match family {
        Family::Ipv4 => ("ip_tables_names", Domain::IPV4, nix::libc::IPPROTO_IP),
        Family::Ipv6 => ("ip6_tables_names", Domain::IPV6, nix::libc::IPPROTO_IPV6),
    };
    // Asking for a table that does not exist would create it.
    let names = match std::fs::read_to_string(format!("/proc/thread-self/net/{tables}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        names => names?,
    };
    if !names.lines().any(|name| name == "filter") {
        return Ok(None);
    }
    let socket = socket2::Socket::new(domain, Type::RAW, Some(Protocol::from(nix::libc::IPPROTO_RAW)))?;
    let mut info = TableInfo::default();
    info.name[..6].copy_from_slice(b"filter");
    let name = info.name;
    // SAFETY: any bytes are a valid TableInfo, and the slice ends before the value does.
    let bytes =
        unsafe { std::slice::from_raw_parts_mut((&raw mut info).cast::<u8>(), size_of::<TableInfo>()) };
    ask(&socket, level, GET_INFO, bytes)?;
    let mut entries = vec![0; BEFORE_RULES + info.size as usize];
    entries[..32].copy_from_slice(&name);
    entries[32..36].copy_from_slice(&info.size.to_ne_bytes());
    ask(&socket, level, GET_ENTRIES, &mut entries)?;
    entries.drain(..BEFORE_RULES);
    Ok(Some(Table { family, hooks: info.hook_entry, entries }))
}

fn ask(socket: &socket2::Socket, level: i32, option: i32, answer: &mut [u8]) -> io::Result<()> {
    let mut length = answer.len() as nix::libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the buffer, which is borrowed for the call.
    let result = unsafe {
        nix::libc::getsockopt(socket.as_raw_fd(), level, option, answer.as_mut_ptr().cast(), &raw mut length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Table {
    /// What becomes of packets in it.
    pub(super) fn fate(&self, packets: &Packets) -> Fate {
        let rules = |at: &usize| self.rules_from(*at, packets);
        let walked = walk(self.hooks[packets.hook as usize] as usize, &rules);
        // The last rule of a chain with a hook is its policy.
        walked.fate(true, || Rules::Legacy)
    }

    /// What packets meet in it.
    pub(super) fn met(&self, packets: &Packets) -> Vec<(Of, Does<usize>)> {
        met(self.hooks[packets.hook as usize] as usize, &|at: &usize| self.rules_from(*at, packets))
    }

    fn rules_from<'a>(
        &'a self,
        at: usize,
        packets: &'a Packets,
    ) -> impl Iterator<Item = (Of, Does<usize>)> + 'a {
        let next = Layout::of(self.family).target + 2;
        let mut rest = self.entries.get(at..).unwrap_or_default();
        let mut position = at;
        std::iter::from_fn(move || {
            let length = usize::from(u16_at(rest, next)?);
            let entry = rest.get(..length).filter(|_| length > next)?;
            rest = &rest[length..];
            position += length;
            Some(match rule(self.family, entry, packets) {
                // A rule without a target goes on to the next one.
                Some((of, Does::Jump(to))) if to == position => (of, Does::Nothing),
                rule => rule.unwrap_or((Of::Unread, Does::Unread)),
            })
        })
    }
}

/// What a rule is about and does. `None` if its parts are not where they should be.
fn rule(family: Family, entry: &[u8], packets: &Packets) -> Option<(Of, Does<usize>)> {
    /// Bits of `invflags`.
    const INTO: u8 = 0x01;
    const OUT: u8 = 0x02;
    const SOURCE: u8 = 0x08;
    const DESTINATION: u8 = 0x10;
    const PROTOCOL: u8 = 0x40;
    let layout = Layout::of(family);
    let inverted = u8_at(entry, layout.inverted)?;
    let is = |bit: u8| inverted & bit == 0;
    let links = 4 * layout.address;
    let by = |at: usize, link: &Option<super::By>, bit| {
        let (pattern, mask) = (entry.get(at..at + 16)?, entry.get(at + 32..at + 48)?);
        let mut name = [0; 16];
        let own = link.as_ref().map_or(&[][..], |by| by.name.as_str().as_bytes());
        name.get_mut(..own.len())?.copy_from_slice(own);
        let same = name.iter().zip(pattern).zip(mask).all(|((one, other), mask)| (one ^ other) & mask == 0);
        Some(if same == is(bit) { Of::All } else { Of::None })
    };
    let address = |at: usize| {
        let bytes = entry.get(at..at + layout.address)?;
        let ip = match <[u8; 4]>::try_from(bytes) {
            Ok(four) => IpAddr::from(four),
            Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        };
        Some(ip)
    };
    let net = |at: usize| {
        let mask = address(at + 2 * layout.address)?;
        IpNet::with_netmask(address(at)?, mask).ok()
    };
    let of_net = |at: usize, own: &IpNet, bit| net(at).map_or(Of::Unread, |net| compared(own, &net, is(bit)));
    let protocol = match u16_at(entry, layout.protocol)? {
        0 => Of::All,
        _ if is(PROTOCOL) => Of::Some,
        _ => Of::Unread,
    };
    let target_at = usize::from(u16_at(entry, layout.target)?);
    let mut conditions = vec![
        by(links, &packets.into, INTO)?,
        by(links + 16, &packets.out, OUT)?,
        of_net(0, &packets.source, SOURCE),
        of_net(layout.address, &packets.destination, DESTINATION),
        protocol,
    ];
    let mut matches = entry.get(layout.matches..target_at)?;
    while !matches.is_empty() {
        let length = usize::from(u16_at(matches, 0)?);
        let one = matches.get(..length).filter(|_| length >= 32)?;
        let (name, revision) = (name_at(one, 2, 29)?, u8_at(one, 31)?);
        conditions.push(matched(name, revision.into(), &one[32..], packets));
        matches = &matches[length..];
    }
    let there = entry.get(target_at..)?;
    Some((all_of(conditions), does(there)?))
}

/// What the target of a rule does.
fn does(there: &[u8]) -> Option<Does<usize>> {
    /// `-NF_DROP - 1` and so on; `XT_RETURN`.
    const DROP: i32 = -1;
    const ACCEPT: i32 = -2;
    const RETURN: i32 = -5;
    let name = name_at(there, 2, 29)?;
    if !name.is_empty() {
        return Some(target(name));
    }
    Some(match i32_at(there, 32)? {
        DROP => Does::Drop,
        ACCEPT => Does::Accept,
        RETURN => Does::Return,
        at => usize::try_from(at).map_or(Does::Unread, Does::Jump),
    })
}
