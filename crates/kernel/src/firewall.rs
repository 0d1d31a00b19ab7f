//! Whether the host's firewall drops traffic that only crosses a bridge.
//!
//! With `br_netfilter`, bridged packets pass the hooks for routed packets. A FORWARD policy of DROP, which
//! Docker sets, then cuts machines on one bridge off from each other. This module only reads, and never
//! changes a rule. It does not evaluate rules that accept some of the traffic, because only the rules
//! themselves define what they match.

use std::io;
use std::os::fd::AsRawFd;

use ashore_core::net::family::Family;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use socket2::{Domain, Protocol, Type};

use crate::bytes::u8_at;
use crate::genetlink::dump;
use crate::netns::Namespace;

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETCHAIN`.
const GET_CHAIN: u16 = 10 << 8 | 4;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const NF_INET_FORWARD: u32 = 2;
const NF_DROP: u32 = 0;

/// The families whose bridged packets meet a FORWARD policy of DROP in a namespace. A table that cannot be
/// read counts as one that drops nothing.
pub fn drops_bridged(namespace: &Namespace) -> Vec<Family> {
    namespace.run(in_this_namespace).unwrap_or_default()
}

fn in_this_namespace() -> Vec<Family> {
    let passes_hooks = |family: &Family| {
        let key = match family {
            Family::Ipv4 => "bridge-nf-call-iptables",
            Family::Ipv6 => "bridge-nf-call-ip6tables",
        };
        // The file is missing if br_netfilter is not loaded.
        std::fs::read_to_string(format!("/proc/sys/net/bridge/{key}")).is_ok_and(|value| value.trim() == "1")
    };
    let mut families = vec![Family::Ipv4, Family::Ipv6];
    families.retain(passes_hooks);
    if families.is_empty() {
        return families;
    }
    let nftables = nftables().unwrap_or_default();
    families.retain(|family| nftables.contains(family) || legacy(*family).unwrap_or(false));
    families
}

/// The families with an nftables base chain in the forward hook whose policy is drop. iptables-nft creates
/// such chains.
fn nftables() -> io::Result<Vec<Family>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut dropping = Vec::new();
    let number = |value: &[u8]| Some(u32::from_be_bytes(value.try_into().ok()?));
    dump(&socket, GET_CHAIN, [0; 4], |header, attributes| {
        let hook = attributes.within(NFTA_CHAIN_HOOK).get(NFTA_HOOK_HOOKNUM).and_then(number);
        let policy = attributes.get(NFTA_CHAIN_POLICY).and_then(number);
        if hook == Some(NF_INET_FORWARD) && policy == Some(NF_DROP) {
            dropping.extend(match u8_at(header, 0).unwrap_or_default() {
                NFPROTO_INET => &[Family::Ipv4, Family::Ipv6][..],
                NFPROTO_IPV4 => &[Family::Ipv4],
                NFPROTO_IPV6 => &[Family::Ipv6],
                _ => &[],
            });
        }
    })?;
    Ok(dropping)
}

/// `struct ipt_getinfo` of `linux/netfilter_ipv4/ip_tables.h`. `ip6t_getinfo` is the same.
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

/// Returns whether the FORWARD policy of iptables-legacy is DROP. The policy is the verdict of the chain's
/// last rule, which the kernel calls the underflow.
fn legacy(family: Family) -> io::Result<bool> {
    const GET_INFO: i32 = 64;
    const GET_ENTRIES: i32 = 65;
    /// Size of `struct ipt_get_entries` without its rules.
    const BEFORE_RULES: usize = 40;
    /// Size of `struct xt_entry_target`, which precedes the verdict of a standard target.
    const BEFORE_VERDICT: usize = 32;
    const DROP: i32 = -1;
    let (tables, domain, level, target_offset) = match family {
        Family::Ipv4 => ("ip_tables_names", Domain::IPV4, nix::libc::IPPROTO_IP, 88),
        Family::Ipv6 => ("ip6_tables_names", Domain::IPV6, nix::libc::IPPROTO_IPV6, 140),
    };
    // Asking for a table that does not exist would create it.
    let names = std::fs::read_to_string(format!("/proc/thread-self/net/{tables}"))?;
    if !names.lines().any(|name| name == "filter") {
        return Ok(false);
    }
    let socket = socket2::Socket::new(domain, Type::RAW, Some(Protocol::from(nix::libc::IPPROTO_RAW)))?;
    let mut info = TableInfo::default();
    info.name[..6].copy_from_slice(b"filter");
    let name = info.name;
    // SAFETY: any bytes are a valid TableInfo, and the slice ends before the value does.
    let bytes =
        unsafe { std::slice::from_raw_parts_mut((&raw mut info).cast::<u8>(), size_of::<TableInfo>()) };
    ask(&socket, level, GET_INFO, bytes)?;
    let mut table = vec![0; BEFORE_RULES + info.size as usize];
    table[..32].copy_from_slice(&name);
    table[32..36].copy_from_slice(&info.size.to_ne_bytes());
    ask(&socket, level, GET_ENTRIES, &mut table)?;
    let policy = BEFORE_RULES + info.underflow[NF_INET_FORWARD as usize] as usize;
    let verdict = table.get(policy + target_offset..policy + target_offset + 2).and_then(|offset| {
        let at = policy + usize::from(u16::from_ne_bytes(offset.try_into().ok()?)) + BEFORE_VERDICT;
        Some(i32::from_ne_bytes(table.get(at..at + 4)?.try_into().ok()?))
    });
    Ok(verdict == Some(DROP))
}

fn ask(socket: &socket2::Socket, level: i32, option: i32, answer: &mut [u8]) -> io::Result<()> {
    let mut length = answer.len() as nix::libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the buffer, which is borrowed for the call.
    let result = unsafe {
        nix::libc::getsockopt(socket.as_raw_fd(), level, option, answer.as_mut_ptr().cast(), &raw mut length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
