//! Addresses (`linux/if_addr.h`).

use ashore_core::net::observed::{LinkAddress, Standing};
use ashore_core::net::step::Life;
use ipnet::IpNet;
use nix::libc;

use super::ip;
use crate::bytes::{Attributes, u8_at, u32_at};

/// `struct ifaddrmsg`.
const HEADER: usize = 8;

const IFA_F_NOPREFIXROUTE: u32 = 0x200;

pub(super) fn address(body: &[u8]) -> Option<LinkAddress> {
    /// `IFA_ADDRESS`, `_LOCAL`, `_BROADCAST`, `_CACHEINFO`, `_FLAGS`.
    const NEEDED: [u16; 5] = [1, 2, 4, 6, 8];
    let [address, local, broadcast, life, flags] = Attributes::after(HEADER, body).pick(NEEDED);
    let (prefix_length, scope, index) = (u8_at(body, 1)?, u8_at(body, 3)?, u32_at(body, 4)?);
    let flags = flags.and_then(|value| u32_at(value, 0)).unwrap_or_else(|| u32::from(body[2]));
    let is = |flag: u32| flags & flag != 0;
    let address = address.and_then(ip);
    let ip = local.and_then(ip).or(address)?;
    // IFA_F_SECONDARY means "another address in the same subnet" for IPv4, and "temporary" for IPv6.
    let temporary = ip.is_ipv6() && is(libc::IFA_F_SECONDARY);
    let standing = if temporary || is(libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED) {
        Standing::Unsteady
    } else if is(libc::IFA_F_DEPRECATED) {
        Standing::Deprecated
    } else {
        Standing::Steady
    };
    Some(LinkAddress {
        index,
        net: IpNet::new(ip, prefix_length).ok()?,
        broadcast: broadcast.and_then(|value| Some(<[u8; 4]>::try_from(value).ok()?.into())),
        life: life.and_then(lifetimes).filter(|_| !is(libc::IFA_F_PERMANENT)),
        noprefixroute: is(IFA_F_NOPREFIXROUTE),
        peer: address.filter(|peer| *peer != ip),
        link_scope: scope == libc::RT_SCOPE_LINK,
        standing,
    })
}

/// `struct ifa_cacheinfo`.
fn lifetimes(value: &[u8]) -> Option<Life> {
    Some(Life { preferred: u32_at(value, 0)?, valid: u32_at(value, 4)? })
}
