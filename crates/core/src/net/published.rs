//! Ports that a user has an engine publish on the host, as `-p` of Docker and Podman does. On a flat network the container
//! has an address of its own for that, and nothing is published.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::text::list;

/// How many are kept of one container. A user may publish a range of thousands.
const MOST: usize = 16;
/// How many a host has: those of each protocol.
const ALL: usize = 3 * 65_535;
/// How many are shown.
const SHOWN: usize = 3;

/// A port of a container, and the one of the host that was to lead to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The host's port, if its user has chosen one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u16>,
    /// The container's port.
    pub own: u16,
    /// The protocol, if it is another one than TCP: `udp` or `sctp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<Other>,
}

/// A protocol that is not TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Other {
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// The ports of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The first ones.
    #[serde(default, rename = "ports", skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<Published>,
    /// How many more there are.
    #[serde(default, rename = "more_ports", skip_serializing_if = "is_zero")]
    pub more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(more: &usize) -> bool {
    *more == 0
}

impl Ports {
    /// The first ones of all, and their number.
    pub fn of(all: impl IntoIterator<Item = Published>) -> Self {
        let mut all = all.into_iter().take(ALL);
        Ports { first: all.by_ref().take(MOST).collect(), more: all.count() }
    }

    /// That these do nothing on a network, and where the ports are. `None` if there are none.
    pub fn note(&self, who: &str, network: &str, at: impl Iterator<Item = IpAddr>) -> Option<String> {
        let count = self.first.len() + self.more;
        if count == 0 {
            return None;
        }
        let more = count.saturating_sub(SHOWN);
        let shown = |of: &dyn Fn(&Published) -> String| {
            let more = (more > 0).then(|| format!("{more} more"));
            list(self.first.iter().take(SHOWN).map(of).chain(more))
        };
        let (does, ports) = if count == 1 { ("does", "port") } else { ("do", "ports") };
        let at: Vec<IpAddr> = at.collect();
        let at = if at.is_empty() { String::new() } else { format!(" at {}", list(at.iter())) };
        Some(format!(
            "{} {does} nothing on network `{network}`: the LAN reaches {who} itself{at}, {ports} {}",
            shown(&|one| format!("-p {one}")),
            shown(&Published::inside)
        ))
    }
}

impl Published {
    fn inside(&self) -> String {
        format!("{}{}", self.own, self.suffix())
    }

    fn suffix(&self) -> &'static str {
        match self.other {
            None => "",
            Some(Other::Udp) => "/udp",
            Some(Other::Sctp) => "/sctp",
        }
    }
}

/// As it is typed behind `-p`.
impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.map_or(Ok(()), |host| write!(f, "{host}:"))?;
        f.write_str(&self.inside())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_nothing_is_told_with_what_does() {
        let one = |host, own, other| Published { host, own, other };
        let at = || [IpAddr::from([192, 168, 88, 192])].into_iter();
        assert_eq!(Ports::default().note("`web`", "lan", at()), None);
        assert_eq!(
            Ports::of([one(Some(8080), 80, None)]).note("`web`", "lan", at()).unwrap(),
            "-p 8080:80 does nothing on network `lan`: the LAN reaches `web` itself at 192.168.88.192, port 80"
        );
        let many = Ports::of((0..40).map(|port| one(None, 9000 + port, Some(Other::Udp))));
        let stored = serde_json::to_string(&many).unwrap();
        let kept: Ports = serde_json::from_str(&stored).unwrap();
        assert_eq!((kept.first.len(), &kept), (MOST, &many));
        assert_eq!(
            kept.note("the container", "lan", [].into_iter()).unwrap(),
            "-p 9000/udp, -p 9001/udp, -p 9002/udp and 37 more do nothing on network `lan`: the LAN reaches the \
             container itself, ports 9000/udp, 9001/udp, 9002/udp and 37 more"
        );
    }
}
