//! The current state: a namespace's dumps of links, addresses, routes and neighbours, requested and combined.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use ashore_core::net::link::Netns;
use ashore_core::net::observed::{Observed, View};

use crate::bytes::Messages;
use crate::error::{InsideError, ObserveError};
use crate::kernel::Kernel;
use crate::known_routes::KnownRoutes;
use crate::known_views::FEW;
use crate::netlink::{Dump, GET, Look, Route, is_nothing, routes};
use crate::netns::Namespace;
use crate::read::{
    AF_BRIDGE, AF_INET, AF_INET6, RT_TABLE_MAIN, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWNEXTHOP,
    RTM_NEWROUTE, Reader, router_of_next_hop, routers_of_route,
};

impl Kernel {
    /// Reads the host's namespace and the given containers' namespaces, each once. A namespace that is gone
    /// is missing from the result. A namespace that cannot be read is listed as unreadable, and does not
    /// prevent the others from being read. If several paths lead to one namespace, it is listed under the
    /// first path that comes with the kernel's cookie.
    ///
    /// Of many namespaces it enters only those of which the kernel has notified since the last look, those
    /// that it cannot hear of, and in turn some of the others.
    pub fn observe(&self, netns: &[Netns]) -> Result<Observed, ObserveError> {
        if netns.len() > FEW {
            self.known_views.borrow_mut().catch_up(&self.host, netns);
        } else {
            self.known_views.borrow_mut().catch_up_if_open(&self.host);
            self.look_again(netns);
        }
        self.observe_by(Look::Passing, netns)
    }

    /// Has the next look enter these namespaces, whatever was notified of.
    pub fn look_again(&self, netns: &[Netns]) {
        self.known_views.borrow_mut().forget(netns);
    }

    /// Same as [`Kernel::observe`], for containers that are about to be changed. It reads as much as possible
    /// even from a container with much or constantly changing state.
    pub fn observe_closely(&self, netns: &[Netns]) -> Result<Observed, ObserveError> {
        self.observe_by(Look::Close, netns)
    }

    /// Same as [`Kernel::observe_closely`], but of the host's routes that are Ashore's and lead to a single
    /// address, only those to the given addresses are looked at. The others are missing from the result.
    pub fn observe_about(
        &self,
        netns: &[Netns],
        addresses: BTreeSet<IpAddr>,
    ) -> Result<Observed, ObserveError> {
        let host = self.on_host(|route| {
            let mut known = self.known_routes.borrow_mut();
            if !known.listens()
                && let Ok(Ok(opened)) = self.host.run(KnownRoutes::open)
            {
                *known = opened;
            }
            let look = |reader: &mut Reader| known.about(route, &addresses, |routes| reader.take(routes));
            view_with(route, Look::Whole, None, look)
        })?;
        let mut observed = self.with_containers(host, Look::Close, netns);
        observed.about = Some(addresses);
        Ok(observed)
    }

    /// Looks also at the host's routes to these addresses, if it was not looked at all of them.
    pub fn observe_also(&self, observed: &mut Observed, addresses: &[IpAddr]) -> Result<(), ObserveError> {
        let Some(about) = &mut observed.about else { return Ok(()) };
        let new: BTreeSet<IpAddr> = addresses.iter().copied().filter(|ip| about.insert(*ip)).collect();
        let mut reader = Reader::on(&observed.host.links);
        self.on_host(|route| {
            route.look(Look::Whole);
            let mut known = self.known_routes.borrow_mut();
            known.to(route, &new, |routes| reader.take(routes))
        })?;
        observed.host.routes.extend(reader.view().routes);
        Ok(())
    }

    /// Reads all of the host's routes with the next look, whatever was notified of.
    pub fn forget_routes(&self) {
        self.known_routes.borrow_mut().forget();
    }

    fn observe_by(&self, look: Look, netns: &[Netns]) -> Result<Observed, ObserveError> {
        let host = self.on_host(|route| view(route, Look::Whole, None))?;
        Ok(self.with_containers(host, look, netns))
    }

    /// What was observed of the host, together with what is in containers.
    fn with_containers(&self, mut host: View, look: Look, netns: &[Netns]) -> Observed {
        self.wireless.mark(&mut host.links, &self.host);
        [host.rp_filter, host.arp_ignore] = self.of_all.each_ref().map(|file| read_number(file.as_ref()?));
        let mut observed = Observed { host, ..Observed::default() };
        let (known, others): (Vec<&Netns>, Vec<&Netns>) =
            netns.iter().partition(|netns| netns.cookie.is_some());
        for netns in known.into_iter().chain(others) {
            // Entries of the same file are adjacent. The entry without a cookie sorts first.
            let next = observed.netns.range(netns..).next().map(|(seen, _)| seen);
            let is_same =
                |seen: &&Netns| *seen == netns || (netns.cookie.is_none() && seen.has_file_of(netns));
            let seen = next.filter(is_same).cloned();
            let is_seen = seen.is_some();
            observed.paths.insert(netns.path.clone(), seen.unwrap_or_else(|| netns.clone()));
            if is_seen {
                continue;
            }
            let known = match look {
                Look::Passing => self.known_views.borrow().of(netns).cloned(),
                Look::Whole | Look::Close => None,
            };
            match known.map_or_else(|| self.look_into(netns, look), |view| Ok(Some(view))) {
                Ok(Some(view)) => _ = observed.netns.insert(netns.clone(), view),
                Ok(None) => {}
                Err(error) => _ = observed.unreadable.insert(netns.clone(), error.to_string()),
            }
        }
        // The same namespace was read by another path.
        observed.unreadable.retain(|netns, _| !observed.netns.contains_key(netns));
        observed
    }

    /// Sends a request to the host's namespace. A socket in the middle of a dump would answer `EBUSY` for
    /// good. This socket is long-lived, so it is replaced after an error.
    pub(crate) fn on_host<T, E>(&self, ask: impl FnOnce(&Route) -> Result<T, E>) -> Result<T, E> {
        let answer = ask(&self.route.borrow());
        if answer.is_err()
            && let Ok(Ok(fresh)) = self.host.run(Route::open)
        {
            self.route.replace(fresh);
        }
        answer
    }

    /// The routers of the host's routes in all tables, each with the index of its link.
    pub fn routers(&self) -> Result<Vec<(IpAddr, u32)>, ObserveError> {
        self.on_host(|route| {
            route.look(Look::Whole);
            let mut routers = Vec::new();
            let hops = Dump { kind: RTM_NEWNEXTHOP + GET, body: vec![0; 8] };
            for request in [routes(AF_INET, 0), routes(AF_INET6, 0), hops] {
                let dump = match route.dump(&request) {
                    Err(error) if is_nothing(&error) => continue,
                    Err(source) => return Err(ObserveError { what: "routes of all tables", source }),
                    Ok(dump) => dump,
                };
                for message in Messages::of(&dump) {
                    match message.kind {
                        RTM_NEWROUTE => routers.extend(routers_of_route(message.body)),
                        RTM_NEWNEXTHOP => routers.extend(router_of_next_hop(message.body)),
                        _ => {}
                    }
                }
            }
            Ok(routers)
        })
    }

    fn look_into(&self, netns: &Netns, look: Look) -> Result<Option<View>, InsideError> {
        let Some(inside) = self.enter(netns)? else { return Ok(None) };
        let view = view(&inside.route, look, Some(&self.host))?;
        let number = inside.namespace.identity().cookie;
        let number = number.and_then(|cookie| self.numbered.borrow().get(&cookie.number).copied());
        if let (Look::Passing, Some(number)) = (look, number) {
            self.known_views.borrow_mut().keep(netns, number, &view);
        }
        self.keep(inside);
        Ok(Some(view))
    }
}

fn read_number(sysctl: &File) -> Option<i32> {
    let mut text = [0; 16];
    let length = sysctl.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

/// Reads one namespace. For a container's namespace, `host` is the host's.
fn view(route: &Route, look: Look, host: Option<&Namespace>) -> Result<View, ObserveError> {
    view_with(route, look, host, |reader| {
        for family in [AF_INET, AF_INET6] {
            match take(route, reader, "routes", &routes(family, RT_TABLE_MAIN)) {
                Err(error) if is_nothing(&error.source) => {}
                taken => taken?,
            }
        }
        Ok(())
    })
}

fn take(route: &Route, reader: &mut Reader, what: &'static str, request: &Dump) -> Result<(), ObserveError> {
    reader.take(&route.dump(request).map_err(|source| ObserveError { what, source })?);
    Ok(())
}

/// Does the same with another way to look at the routes.
fn view_with(
    route: &Route,
    look: Look,
    host: Option<&Namespace>,
    look_at_routes: impl FnOnce(&mut Reader) -> Result<(), ObserveError>,
) -> Result<View, ObserveError> {
    route.look(look);
    let mut reader = Reader::default();
    let take = |reader: &mut Reader, what, request: &Dump| take(route, reader, what, request);
    take(&mut reader, "links", &links())?;
    if let Some(host) = host.filter(|_| reader.names_namespaces()) {
        // The dump of links assigns nsids to the namespaces that it names, so this is asked afterwards.
        let number = route.number_of(host.as_fd());
        reader.host_is(number.map_err(|source| ObserveError { what: "the host's namespace", source })?);
    }
    if reader.has_filtering_bridge() {
        take(&mut reader, "bridges' VLANs", &bridges_vlans())?;
    }
    take(&mut reader, "addresses", &Dump { kind: RTM_NEWADDR + GET, body: vec![0; 8] })?;
    look_at_routes(&mut reader)?;
    if reader.needs_next_hops() {
        take(&mut reader, "next hops", &Dump { kind: RTM_NEWNEXTHOP + GET, body: vec![0; 8] })?;
    }
    // The kernel walks through the neighbours of all namespaces. Only an ipvlan in a container has one that is Ashore's.
    if host.is_none() || reader.has_ipvlan() {
        take(&mut reader, "neighbours", &Dump { kind: RTM_NEWNEIGH + GET, body: vec![0; 12] })?;
    }
    Ok(reader.view())
}

fn links() -> Dump {
    const RTEXT_FILTER_SKIP_STATS: u32 = 8;
    links_of(0, RTEXT_FILTER_SKIP_STATS)
}

/// Requests the VLANs of all bridges and their ports, including bridges that do not filter.
fn bridges_vlans() -> Dump {
    const RTEXT_FILTER_BRVLAN: u32 = 2;
    links_of(AF_BRIDGE, RTEXT_FILTER_BRVLAN)
}

fn links_of(family: u8, what: u32) -> Dump {
    const IFLA_EXT_MASK: u16 = 29;
    // `struct ifinfomsg` and one attribute of eight bytes.
    let mut body = vec![0; 16];
    body[0] = family;
    body.extend(8_u16.to_ne_bytes());
    body.extend(IFLA_EXT_MASK.to_ne_bytes());
    body.extend(what.to_ne_bytes());
    Dump { kind: RTM_NEWLINK + GET, body }
}
