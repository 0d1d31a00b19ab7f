//! The sockets by which names are heard and told.
//!
//! One ear for each parent: a packet socket on it that gets what the host sends there too. So it hears the wire, the host's
//! own programs and the containers, while nobody binds the port: avahi, systemd-resolved and the like on the host lose
//! nothing. Three mouths, because nobody hears all: a frame on the parent does not reach the containers, one on the shim not
//! the host's programs. A frame for a group on the shim would go to the wire as well, so each container is told by its MAC.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use ashore_core::net::name::IfName;
use ashore_kernel::{GroupSocket, Namespace, PacketSocket};
use ashore_wire::filter;
use ashore_wire::mdns::Channel;

use super::Tap;
use super::names::{Mouth, Names};

/// How many frames are read from a parent before it is somebody else's turn. What a message asks may take a while to find, and
/// the LAN thread has leases and addresses to look after.
const MOST_AT_ONCE: usize = 16;

/// The sockets, by the parent.
#[derive(Default)]
pub(super) struct Mouths {
    on: BTreeMap<IfName, Opened>,
}

struct Opened {
    tap: Tap,
    host: Option<(IfName, u32)>,
    ear: PacketSocket,
    to_host: BTreeMap<Channel, GroupSocket>,
}

impl Mouths {
    /// Opens sockets on the parents that have none, and closes those that are of no use any more. Returns the parents where it
    /// hears from now on.
    pub(super) fn open(
        &mut self,
        namespace: &Namespace,
        taps: &BTreeMap<IfName, Tap>,
        names: &Names,
    ) -> Vec<IfName> {
        let mut new = Vec::new();
        let mut before = std::mem::take(&mut self.on);
        for (parent, host) in names.parents() {
            let Some(tap) = taps.get(parent) else { continue };
            let same = |there: &Opened| there.tap == *tap && there.host.as_ref() == host;
            if let Some(there) = before.remove(parent).filter(same) {
                self.on.insert(parent.clone(), there);
                continue;
            }
            match Opened::new(namespace, tap, host) {
                Ok(opened) => {
                    self.on.insert(parent.clone(), opened);
                    new.push(parent.clone());
                }
                // The next turn tries again.
                Err(error) => tracing::debug!(%parent, "names cannot be told: {error}"),
            }
        }
        new
    }

    /// Returns whether it hears on a parent.
    pub(super) fn hears(&self, parent: &IfName) -> bool {
        self.on.contains_key(parent)
    }

    /// What is to be waited for.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.on.values().map(|there| there.ear.as_fd())
    }

    /// Reads what was said.
    pub(super) fn hear(&self, names: &mut Names) {
        let mut buffer = [0; 2048];
        for (parent, there) in &self.on {
            for _ in 0..MOST_AT_ONCE {
                let Ok(Some(frame)) = there.ear.receive(&mut buffer) else { break };
                names.hear(parent, frame);
            }
        }
    }

    /// Says something. `shim` sends a frame through the shim of a parent. What cannot be sent is lost, as it may be on the
    /// wire.
    pub(super) fn say(
        &self,
        parent: &IfName,
        mouth: Mouth,
        bytes: &[u8],
        shim: impl FnOnce(&[u8]) -> io::Result<()>,
    ) {
        let Some(there) = self.on.get(parent) else { return };
        let said = match mouth {
            Mouth::Wire => there.ear.send(bytes),
            Mouth::Siblings => shim(bytes),
            Mouth::Host(channel) => there.to_host.get(&channel).map_or(Ok(()), |host| host.send(bytes)),
        };
        if let Err(error) = said {
            tracing::debug!(%parent, ?mouth, "a name is not told: {error}");
        }
    }
}

impl Opened {
    fn new(namespace: &Namespace, tap: &Tap, host: Option<&(IfName, u32)>) -> io::Result<Self> {
        let mut ear = PacketSocket::open_with_sent(namespace, tap.parent, &filter::mdns())?;
        ear.take_in(&BTreeSet::from(Channel::ALL.map(Channel::group_mac)))?;
        let mut to_host = BTreeMap::new();
        if let Some((name, link)) = host {
            for channel in Channel::ALL {
                match GroupSocket::join(namespace, (name.as_str(), *link), channel.group()) {
                    Ok(socket) => drop(to_host.insert(channel, socket)),
                    // The host may have no IPv6.
                    Err(error) => tracing::debug!(%name, ?channel, "the host hears no names: {error}"),
                }
            }
        }
        Ok(Opened { tap: tap.clone(), host: host.cloned(), ear, to_host })
    }
}
