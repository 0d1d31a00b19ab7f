//! Ports that a user has an engine publish on the host, as `-p` of Docker and Podman does. On a flat network the container
//! has an address of its own for that, and nothing is published.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::text::list;

/// How many are kept of one container. A user may publish a range of thousands.
const MOST: usize = 16;
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

impl Published {
    /// The first ones of all.
    pub fn first(all: impl IntoIterator<Item = Published>) -> Vec<Published> {
        all.into_iter().take(MOST).collect()
    }

    /// That these do nothing on a network, and where the ports are. `None` if there are none.
    pub fn note(
        all: &[Published],
        who: &str,
        network: &str,
        at: impl Iterator<Item = IpAddr>,
    ) -> Option<String> {
        if all.is_empty() {
            return None;
        }
        let more = all.len().saturating_sub(SHOWN);
        let shown = |of: &dyn Fn(&Published) -> String| {
            let more = (more > 0).then(|| format!("{more} more"));
            list(all.iter().take(SHOWN).map(of).chain(more))
        };
        let ports = if all.len() == 1 { "port" } else { "ports" };
        let at: Vec<IpAddr> = at.collect();
        let at = if at.is_empty() { String::new() } else { format!(" at {}", list(at.iter())) };
        Some(format!(
            "{} does nothing on network `{network}`: the LAN reaches {who} itself{at}, {ports} {}",
            shown(&|one| format!("-p {one}")),
            shown(&Published::inside)
        ))
    }

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
        assert_eq!(Published::note(&[], "`web`", "lan", at()), None);
        assert_eq!(
            Published::note(&[one(Some(8080), 80, None)], "`web`", "lan", at()).unwrap(),
            "-p 8080:80 does nothing on network `lan`: the LAN reaches `web` itself at 192.168.88.192, port 80"
        );
        let many: Vec<Published> = (0..40).map(|port| one(None, 9000 + port, Some(Other::Udp))).collect();
        let kept = Published::first(many);
        assert_eq!(
            Published::note(&kept, "the container", "lan", [].into_iter()).unwrap(),
            "-p 9000/udp, -p 9001/udp, -p 9002/udp and 13 more does nothing on network `lan`: the LAN reaches the \
             container itself, ports 9000/udp, 9001/udp, 9002/udp and 13 more"
        );
    }
}
