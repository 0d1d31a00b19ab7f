//! The host's routes, kept between looks and brought up to date by the kernel's notifications.
//!
//! The host has a route to each endpoint's address. To read all of them for each change of one takes longer the
//! more endpoints there are. So they are read once, and of those to endpoints only those that are asked for are
//! looked at.
//!
//! The kernel notifies of a route before the request that changed it ends. It does not notify of the IPv4
//! routes that go with a link or an address. So after any notification but that of one of Ashore's own routes
//! that comes or goes, all are read anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use ashore_core::net::step::ROUTE_PROTOCOL;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;

use crate::bytes::{Attributes, Message, Messages, u8_at, u32_at};
use crate::error::ObserveError;
use crate::netlink::{Route, is_nothing, routes};
use crate::read::{AF_INET, AF_INET6, RT_TABLE_MAIN, RTM_NEWLINK, RTM_NEWROUTE, ip, rta};

const RTM_NEWADDR: u16 = 20;
const RTM_DELROUTE: u16 = RTM_NEWROUTE + 1;
const NLM_F_REPLACE: u16 = 0x100;

const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
/// Since Linux 5.3. Before, there are no next-hop objects.
const RTNLGRP_NEXTHOP: u32 = 32;

/// The routes of a namespace, and a socket that hears of their changes.
#[derive(Default)]
pub(crate) struct KnownRoutes {
    /// `None` before the first look, and after an error.
    news: Option<Socket>,
    /// `None` if they have to be read anew.
    known: Option<Known>,
}

/// Routes of the main table, as messages of the kernel.
#[derive(Default)]
struct Known {
    /// Those that are not Ashore's, or that lead to more than a single address.
    others: Vec<u8>,
    /// Ashore's own to single addresses.
    own: BTreeMap<IpAddr, Vec<u8>>,
    /// The addresses to which there is more than one.
    several: BTreeSet<IpAddr>,
}

/// What a notification says about the routes.
enum News {
    Nothing,
    /// A route of Ashore's to a single address has come.
    Came(IpAddr),
    /// Such a route has gone.
    Went(IpAddr),
    Unclear,
}

impl KnownRoutes {
    /// Whether it hears of changes. If not, all routes are read anew with each look.
    pub(crate) fn listens(&self) -> bool {
        self.news.is_some()
    }

    /// Opens the socket for notifications in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut news = Socket::new(NETLINK_ROUTE)?;
        news.bind(&SocketAddr::new(0, 0))?;
        for group in
            [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE]
        {
            news.add_membership(group)?;
        }
        let _ = news.add_membership(RTNLGRP_NEXTHOP);
        news.set_non_blocking(true)?;
        Ok(KnownRoutes { news: Some(news), known: None })
    }

    /// Forgets all, so that the next look reads everything.
    pub(crate) fn forget(&mut self) {
        self.known = None;
    }

    /// Gives `take` the messages of all routes that are not Ashore's or lead to more than one address, and of
    /// Ashore's routes to these addresses.
    pub(crate) fn about(
        &mut self,
        route: &Route,
        addresses: &BTreeSet<IpAddr>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), ObserveError> {
        let known = self.known_now(route)?;
        take(&known.others);
        known.to(addresses).for_each(take);
        Ok(())
    }

    /// Does so only for Ashore's routes to these addresses.
    pub(crate) fn to(
        &mut self,
        route: &Route,
        addresses: &BTreeSet<IpAddr>,
        take: impl FnMut(&[u8]),
    ) -> Result<(), ObserveError> {
        self.known_now(route)?.to(addresses).for_each(take);
        Ok(())
    }

    fn known_now(&mut self, route: &Route) -> Result<&Known, ObserveError> {
        self.catch_up();
        // Without notifications, nothing is known a moment later.
        let known = match self.known.take().filter(|_| self.news.is_some()) {
            Some(known) => known,
            None => Known::read(route)?,
        };
        Ok(self.known.insert(known))
    }

    /// Takes over what has been notified since.
    fn catch_up(&mut self) {
        let Some(news) = &self.news else { return };
        let mut buffer = Vec::with_capacity(64 * 1024);
        loop {
            buffer.clear();
            match news.recv(&mut buffer, libc::MSG_TRUNC) {
                Ok(length) if length <= buffer.len() => {
                    for message in Messages::of(&buffer) {
                        if !self.known.as_mut().is_some_and(|known| known.takes(&message)) {
                            self.known = None;
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Notifications were lost (`ENOBUFS`), or one is longer than any that is understood.
                Ok(_) => self.known = None,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.known = None,
                // Nothing is known without notifications.
                Err(_) => {
                    (self.known, self.news) = (None, None);
                    return;
                }
            }
        }
    }
}

impl Known {
    fn read(route: &Route) -> Result<Self, ObserveError> {
        let mut known = Known::default();
        for family in [AF_INET, AF_INET6] {
            let dump = match route.dump(&routes(family, RT_TABLE_MAIN)) {
                Err(error) if is_nothing(&error) => continue,
                dump => dump.map_err(|source| ObserveError { what: "routes", source })?,
            };
            for message in Messages::of(&dump) {
                match own_single(&message) {
                    Some(to) => known.add(to, message.whole),
                    None => push(&mut known.others, message.whole),
                }
            }
        }
        Ok(known)
    }

    fn to<'a>(&'a self, addresses: &'a BTreeSet<IpAddr>) -> impl Iterator<Item = &'a [u8]> {
        addresses.iter().filter_map(|ip| self.own.get(ip)).map(Vec::as_slice)
    }

    fn add(&mut self, to: IpAddr, message: &[u8]) {
        let there = self.own.entry(to).or_default();
        if !there.is_empty() {
            self.several.insert(to);
        }
        push(there, message);
    }

    /// Takes over a notification. Returns false if the routes are not known any more.
    fn takes(&mut self, message: &Message<'_>) -> bool {
        match news_in(message) {
            News::Nothing => true,
            News::Came(to) if !self.own.contains_key(&to) => {
                self.add(to, message.whole);
                true
            }
            News::Went(to) if !self.several.contains(&to) => self.own.remove(&to).is_some(),
            News::Came(_) | News::Went(_) | News::Unclear => false,
        }
    }
}

fn news_in(message: &Message<'_>) -> News {
    const IFF_UP: u32 = 1;
    match message.kind {
        // An IPv4 route goes silently with its link, or when the link goes down.
        RTM_NEWLINK if u32_at(message.body, 8).is_some_and(|flags| flags & IFF_UP != 0) => News::Nothing,
        // The route that an address brings is notified of by itself.
        RTM_NEWADDR => News::Nothing,
        RTM_NEWROUTE | RTM_DELROUTE if u8_at(message.body, 4) != Some(RT_TABLE_MAIN) => News::Nothing,
        RTM_NEWROUTE if message.flags & NLM_F_REPLACE == 0 => {
            own_single(message).map_or(News::Unclear, News::Came)
        }
        RTM_DELROUTE => own_single(message).map_or(News::Unclear, News::Went),
        _ => News::Unclear,
    }
}

/// The destination of a route in the main table that is Ashore's and leads to a single address.
fn own_single(message: &Message<'_>) -> Option<IpAddr> {
    /// `struct rtmsg`.
    const HEADER: usize = 12;
    const RTN_UNICAST: u8 = 1;
    let [family, length, table, protocol, kind] =
        [0, 1, 4, 5, 7].map(|at| u8_at(message.body, at).unwrap_or_default());
    let is_single = (family, length) == (AF_INET, 32) || (family, length) == (AF_INET6, 128);
    let is_own = (table, protocol, kind) == (RT_TABLE_MAIN, ROUTE_PROTOCOL, RTN_UNICAST);
    let to = Attributes::after(HEADER, message.body).get(rta::DST).and_then(ip);
    to.filter(|_| is_single && is_own)
}

/// Adds a message after others.
fn push(messages: &mut Vec<u8>, message: &[u8]) {
    messages.extend_from_slice(message);
    messages.resize(messages.len().next_multiple_of(4), 0);
}
