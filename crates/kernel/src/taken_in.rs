//! The MACs that a link receives frames for besides its own.
//!
//! A macvlan child that is up adds its MAC to its parent, in whatever namespace the child is. So the host
//! notices a child even if it cannot find it. But anyone who may open a packet socket in a container can add
//! any MAC too.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType};
use ashore_core::net::name::IfName;
use ashore_wire::Mac;
use nix::errno::Errno;

use crate::apply::unused_name;
use crate::bytes::{Attributes, Messages, u8_at, u32_at};
use crate::kernel::Kernel;
use crate::message::{self, Places};
use crate::netlink::{Dump, GET, Nack, Route};
use crate::netns::Namespace;
use crate::read::{AF_BRIDGE, RTM_NEWNEIGH};

impl Kernel {
    /// Same as [`Kernel::taken_in`], for the link with the given name. Returns an empty set if there is no
    /// such link.
    pub fn macs_on(&self, link: &IfName) -> io::Result<Option<BTreeSet<Mac>>> {
        match self.on_host(|route| route.index_of(link))? {
            Some(index) => self.taken_in(index),
            None => Ok(Some(BTreeSet::new())),
        }
    }

    /// The MACs that a link of the host receives frames for on behalf of others. Returns `None` if the link
    /// is down, or if its driver keeps a table of its own and does not report it (`ndo_fdb_dump`).
    pub fn taken_in(&self, link: u32) -> io::Result<Option<BTreeSet<Mac>>> {
        // `struct ndmsg`.
        let mut body = vec![0; 12];
        body[0] = AF_BRIDGE;
        body[4..8].copy_from_slice(&link.to_ne_bytes());
        let answer =
            self.on_host(|route| route.dump(&Dump { kind: RTM_NEWNEIGH + GET, body: body.clone() }))?;
        Ok(macs(&answer, link))
    }
}

impl Kernel {
    /// Returns whether a macvlan child of a link is up with the given MAC, in any namespace. The kernel
    /// refuses to bring up a second child with the same MAC. So this brings one up for a moment, in a
    /// namespace of its own.
    pub fn has_child_with(&self, link: &IfName, mac: Mac) -> io::Result<bool> {
        let apart = Namespace::new()?;
        let kind = LinkType::Macvlan {
            parent: link.clone(),
            mode: MacvlanMode::Bridge,
            bc_queue_len: None,
            bc_limit: None,
        };
        let spec = LinkSpec { name: unused_name(), kind, mac: Some(mac), mtu: None };
        let places = Places { own: Some(apart.as_fd().as_raw_fd()), peer: None };
        let refused = |nack: &Nack| io::Error::from(nack.errno);
        let made = self.on_host(|route| {
            let parent = route.index_of(link)?.ok_or(Errno::ENODEV)?;
            route.batch(vec![message::add_link(&spec, &spec.name, Some(parent), &places)])
        })?;
        made.first().map_or(Ok(()), |made| made.as_ref().map_err(refused).copied())?;
        let answers = apart.run(|| {
            // The test link must send nothing.
            let quiet = message::set_link(&spec.name, message::no_link_local());
            let [up, down] = [true, false].map(|up| message::set_up(&spec.name, up));
            Route::open()?.batch(vec![quiet, up, down, message::del_link(&spec.name)])
        })??;
        match answers.get(1) {
            Some(Ok(())) => Ok(false),
            Some(Err(nack)) if nack.errno == Errno::EADDRINUSE => Ok(true),
            Some(Err(nack)) => Err(refused(nack)),
            None => Err(Errno::EIO.into()),
        }
    }
}

/// Returns `None` if the dump lists no multicast group. Any link that is up is in some group, so an empty
/// list means that the driver does not report its MACs.
fn macs(dump: &[u8], link: u32) -> Option<BTreeSet<Mac>> {
    const HEADER: usize = 12;
    const NTF_SELF: u8 = 2;
    const NDA_LLADDR: u16 = 2;
    let of_link = Messages::of(dump).filter(|message| {
        let own = u8_at(message.body, 10).is_some_and(|flags| flags & NTF_SELF != 0);
        message.kind == RTM_NEWNEIGH && u32_at(message.body, 4) == Some(link) && own
    });
    let address = |body| Attributes::after(HEADER, body).get(NDA_LLADDR)?.try_into().ok().map(Mac);
    let (single, groups): (BTreeSet<Mac>, BTreeSet<Mac>) =
        of_link.filter_map(|message| address(message.body)).partition(|mac| mac.is_station());
    (!groups.is_empty()).then_some(single)
}
