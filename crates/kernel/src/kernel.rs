//! Open handles on the kernel's network state: the host's namespace for good, containers' namespaces for a
//! short time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;

use ashore_core::net::link::Netns;
use ashore_core::net::name::IfName;
use ashore_core::net::step::ROUTE_PROTOCOL;
use nix::errno::Errno;

use crate::error::InsideError;
use crate::genetlink::Wireless;
use crate::known_routes::KnownRoutes;
use crate::known_views::KnownViews;
use crate::netlink::Route;
use crate::netns::{Found, Namespace, NamespaceError};
use crate::{cookie, message};

/// How many containers' namespaces are open at once. Each one takes two descriptors.
pub(crate) const MOST_OPEN: usize = 8;

/// The kernel's network state, as seen from the namespace that holds the parents.
pub struct Kernel {
    pub(crate) host: Namespace,
    pub(crate) route: RefCell<Route>,
    pub(crate) wireless: Wireless,
    /// The host's routes, as far as they are known without a look at all of them.
    pub(crate) known_routes: RefCell<KnownRoutes>,
    /// Containers' namespaces, as far as they are known without a look into them.
    pub(crate) known_views: RefCell<KnownViews>,
    /// `net.ipv4.conf.all.rp_filter` and `.arp_ignore`. An open sysctl file belongs to the namespace in which
    /// it was opened.
    pub(crate) of_all: [Option<File>; 2],
    /// Containers' namespaces that were entered. `None` unless they are to be kept open.
    inside: RefCell<Option<HashMap<FileNumbers, Inside>>>,
    /// The host's nsid of each container's namespace, by the number in the namespace's cookie.
    pub(crate) numbered: RefCell<HashMap<u64, i32>>,
    /// The `rtm_protocol` of the routes that steps add and remove.
    pub(crate) route_protocol: u8,
}

impl Kernel {
    /// Opens the calling thread's namespace as the host's namespace.
    pub fn here() -> Result<Self, NamespaceError> {
        Self::of(&Namespace::current()?)
    }

    /// Opens the given namespace as the host's namespace.
    pub fn of(host: &Namespace) -> Result<Self, NamespaceError> {
        let fault = |source| NamespaceError::System { path: host.path().to_owned(), source };
        let of_all = |key: &str| File::open(format!("/proc/sys/net/ipv4/conf/all/{key}")).ok();
        let of_all = || ["rp_filter", "arp_ignore"].map(of_all);
        let open = || Ok((Route::open()?, Wireless::open()?, of_all()));
        let (route, wireless, of_all) = host.run(open).and_then(|opened| opened).map_err(fault)?;
        let (route, inside) = (RefCell::new(route), RefCell::new(None));
        let (host, numbered, route_protocol) = (host.clone(), RefCell::default(), ROUTE_PROTOCOL);
        Ok(Kernel {
            host,
            route,
            wireless,
            known_routes: RefCell::default(),
            known_views: RefCell::default(),
            of_all,
            inside,
            numbered,
            route_protocol,
        })
    }

    /// Returns the same handle, for routes with another `rtm_protocol` than Ashore's.
    #[must_use]
    pub fn with_route_protocol(self, route_protocol: u8) -> Self {
        Kernel { route_protocol, ..self }
    }

    /// The namespace that holds the parents.
    pub fn host(&self) -> &Namespace {
        &self.host
    }

    /// Returns whether the caller may change the host's namespace (`CAP_NET_ADMIN` over it). To find out, it
    /// asks the kernel to delete a link that cannot exist: the kernel's error differs with and without the
    /// privilege.
    pub fn may_administer(&self) -> bool {
        let Some(nobody) = IfName::seen(b"ashore-nobody") else { return false };
        let asked = self.route.borrow().batch(vec![message::del_link(&nobody)]);
        asked.is_ok_and(|answers| !matches!(answers.first(), Some(Err(nack)) if nack.errno == Errno::EPERM))
    }

    /// Keeps a few containers' namespaces open between observations and plans, until [`Kernel::leave`]. This
    /// saves the thread that it takes to enter a namespace. An open namespace outlives its container, so do
    /// not keep it for long.
    pub fn stay(&self) {
        self.inside.borrow_mut().get_or_insert_default();
    }

    /// Closes the containers' namespaces that [`Kernel::stay`] kept open.
    pub fn leave(&self) {
        self.inside.take();
    }

    /// The identity of a container's namespace, including the kernel's cookie. Reading the cookie requires
    /// entering the namespace.
    pub fn identify(&self, namespace: &Namespace) -> io::Result<Netns> {
        let enter = || Ok((Route::open()?, cookie::here()?));
        let (route, cookie) = namespace.run(enter).and_then(|entered: io::Result<_>| entered)?;
        let namespace = namespace.clone().known_by(cookie);
        self.number(&namespace);
        let netns = namespace.identity();
        self.keep(Inside { namespace, route });
        Ok(netns)
    }

    /// Enters a container's namespace. Returns `None` if it is gone.
    pub(crate) fn enter(&self, netns: &Netns) -> Result<Option<Inside>, InsideError> {
        // A kept namespace is still alive, and no other namespace has its inode number. If the path differs,
        // it must be resolved again, because it may lead nowhere.
        let kept = self.inside.borrow_mut().as_mut().and_then(|inside| inside.remove(&file_of(netns)));
        let is_meant = |kept: &Inside| {
            let there = kept.namespace.identity();
            there.path == netns.path && (netns.cookie.is_none() || there.cookie == netns.cookie)
        };
        if let Some(kept) = kept.filter(is_meant) {
            return Ok(Some(kept));
        }
        let namespace = match Namespace::find(netns) {
            Found::There(namespace) => namespace,
            Found::Gone => return Ok(None),
            Found::Unclear(error) => return Err(InsideError::Open(error)),
        };
        let known = namespace.identity().cookie;
        let open = || Ok((Route::open()?, known.map_or_else(cookie::here, |cookie| Ok(Some(cookie)))?));
        match namespace.run(open).and_then(|opened: io::Result<_>| opened) {
            Ok((route, cookie)) => {
                let namespace = namespace.known_by(cookie);
                self.number(&namespace);
                Ok(Some(Inside { namespace, route }))
            }
            // The inode number was reused for another namespace, which happens only once the first one is
            // gone.
            Err(error) if error.raw_os_error() == Some(Errno::ESTALE as i32) => Ok(None),
            Err(error) => Err(InsideError::Enter(error)),
        }
    }

    /// Keeps the namespace open for the next caller, if [`Kernel::stay`] asked for that.
    pub(crate) fn keep(&self, inside: Inside) {
        if let Some(kept) = self.inside.borrow_mut().as_mut().filter(|kept| kept.len() < MOST_OPEN) {
            kept.insert(file_of(&inside.namespace.identity()), inside);
        }
    }
}

/// Device and inode, which identify an open namespace: no other namespace has the same inode while it is
/// open.
type FileNumbers = (u64, u64);

fn file_of(netns: &Netns) -> FileNumbers {
    (netns.dev, netns.ino)
}

/// A container's namespace and a socket in it, held for a short time. Both keep the namespace alive.
pub(crate) struct Inside {
    pub(crate) namespace: Namespace,
    pub(crate) route: Route,
}
