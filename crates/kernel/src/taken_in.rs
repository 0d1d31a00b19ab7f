//! Which MACs a link takes in beside its own.
//!
//! A macvlan child that is up has its parent take in its MAC, in whatever namespace the child is. So the host sees that one is there
//! which it cannot find.

use std::collections::BTreeSet;
use std::io;

use ashore_core::name::IfName;
use ashore_wire::Mac;

use crate::bytes::{Attributes, Messages, u8_at, u32_at};
use crate::kernel::Kernel;
use crate::netlink::Dump;
use crate::observe::GET;
use crate::read::{AF_BRIDGE, RTM_NEWNEIGH};

impl Kernel {
    /// The same of the link of a name; nothing if there is no such link.
    pub fn macs_on(&self, link: &IfName) -> io::Result<Option<BTreeSet<Mac>>> {
        match self.on_host(|route| route.index_of(link))? {
            Some(index) => self.taken_in(index),
            None => Ok(Some(BTreeSet::new())),
        }
    }

    /// The MACs that a link of the host takes in for others; none where its driver keeps a table of its own instead of telling
    /// (`ndo_fdb_dump`), or the link is down.
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

/// Any link that is up listens to some group. One that tells of none does not tell at all.
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
