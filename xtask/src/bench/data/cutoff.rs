//! `IFLA_MACVLAN_BC_CUTOFF` of a macvlan (Linux 6.4): with -1 its parent has no broadcast queue and delivers
//! every broadcast at once. Ashore does not set it, and the `ip` of Debian 12 does not know it.

use std::io;

use ashore_kernel::Namespace;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

// linux/netlink.h, linux/rtnetlink.h, linux/if_link.h.
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 1 << 15;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_BC_CUTOFF: u16 = 9;

/// Sets it on the parent of the macvlan with this index.
pub(super) fn set(namespace: &Namespace, link: u32, cutoff: i32) -> io::Result<()> {
    let mut socket = namespace.run(|| Socket::new(NETLINK_ROUTE))??;
    socket.bind_auto()?;
    socket.send_to(&request(link, cutoff), &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    result(&answer)
}

fn request(link: u32, cutoff: i32) -> Vec<u8> {
    let data = attribute(IFLA_MACVLAN_BC_CUTOFF, &cutoff.to_ne_bytes());
    let kind = attribute(IFLA_INFO_KIND, b"macvlan");
    let info = [kind, attribute(IFLA_INFO_DATA | NLA_F_NESTED, &data)].concat();
    // `struct ifinfomsg`: of these fields only the index is not zero.
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&link.to_ne_bytes());
    let body = [&header[..], &attribute(IFLA_LINKINFO | NLA_F_NESTED, &info)].concat();
    let mut message = (body.len() as u32 + 16).to_ne_bytes().to_vec();
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Reads the kernel's answer: an error number, which is 0 for success.
fn result(answer: &[u8]) -> io::Result<()> {
    let is_error = answer.get(4..6) == Some(&NLMSG_ERROR.to_ne_bytes());
    match answer.get(16..20).and_then(|number| number.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) if is_error => Ok(()),
        Some(number) if is_error => Err(io::Error::from_raw_os_error(-number)),
        _ => Err(io::Error::other("the kernel's answer is none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_long_as_it_says_and_every_attribute_begins_at_a_multiple_of_four() {
        let message = request(7, -1);
        assert_eq!(message[..4], (message.len() as u32).to_ne_bytes());
        assert_eq!(message[20..24], 7_u32.to_ne_bytes());
        // The value comes last, behind its own header and the two around it.
        assert_eq!(message[message.len() - 4..], (-1_i32).to_ne_bytes());
        assert_eq!(message.len(), 16 + 16 + 4 + 12 + 4 + 8);
    }

    #[test]
    fn an_answer_is_an_error_number_or_none() {
        let answer = |number: i32| {
            let mut bytes = [0; 20];
            bytes[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
            bytes[16..].copy_from_slice(&number.to_ne_bytes());
            bytes
        };
        assert!(result(&answer(0)).is_ok());
        assert_eq!(result(&answer(-22)).unwrap_err().raw_os_error(), Some(22));
        assert!(result(&[0; 20]).is_err() && result(&[]).is_err());
    }
}
