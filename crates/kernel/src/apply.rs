//! Applies steps, and undoes them.
//!
//! Steps for one namespace are sent together. A batch is one system call, so a kill cannot come between a
//! link and its tag. Three things end a batch: a step for another namespace, a sysctl (which is a file), and
//! a step that needs the index of a link which the batch itself creates.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use ashore_core::net::family::Family;
use ashore_core::net::link::{LinkSpec, LinkType, Netns, Place, Tag};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::Link;
use ashore_core::net::step::{Address, Step, Sysctl};
use netlink_packet_route::link::LinkAttribute;
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;

use crate::error::{InsideError, StepError};
use crate::kernel::{Inside, Kernel, MOST_OPEN};
use crate::message::{self, Places, Request};
use crate::netlink::{Nack, Route};
use crate::netns::Namespace;

/// What to do when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Undo the completed steps, and stop.
    Undo,
    /// Continue with the rest, and report all errors.
    GoOn,
}

/// The result of applying steps.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The steps that were applied and not undone.
    pub done: Vec<Step>,
    /// The errors. With [`OnError::Undo`] there is at most one, unless undoing failed too.
    pub errors: Vec<StepError>,
    /// With [`OnError::Undo`], the routes that the kernel refused and that are not essential
    /// ([`Step::is_extra`]). Nothing is undone because of them.
    pub refused: Vec<StepError>,
}

impl Kernel {
    /// Applies steps in order.
    pub fn apply(&self, steps: &[Step], on_error: OnError) -> Outcome {
        let mut run = Run::new(self, on_error);
        run.make(steps);
        let outcome = run.end(false);
        self.look_again_after(steps);
        outcome
    }

    /// The kernel does not notify of all that steps do in containers.
    fn look_again_after(&self, steps: &[Step]) {
        let places = steps.iter().map(Step::place);
        let changed =
            places.filter_map(|place| if let Place::Netns(netns) = place { Some(netns) } else { None });
        self.known_views.borrow_mut().forget(changed);
    }

    /// Removes a link in a container by its index, because the container may rename the link at any moment.
    /// Returns whether the link existed.
    pub fn take_away(&self, netns: &Netns, link: &Link) -> Result<bool, Box<StepError>> {
        let step = Step::DelLink { place: Place::Netns(netns.clone()), link: link.name.clone() };
        let fault = |nack| Box::new(StepError::new(&step, nack));
        let entered = self.enter(netns).map_err(|error| fault(Nack::of_inside(&error)))?;
        let Some(inside) = entered else { return Ok(false) };
        let answers = inside.route.batch(vec![message::del_link_at(link.index)]);
        self.keep(inside);
        match answers.map_err(|error| fault(nack_of(&error)))?.into_iter().next() {
            Some(Err(nack)) if !is_absence(nack.errno) => Err(fault(nack)),
            answer => Ok(matches!(answer, Some(Ok(())))),
        }
    }

    /// Applies steps in order, all or none. Before the first step for which `waits` is true, it calls
    /// `may_go_on`, which may take a while. If that returns `false`, all steps are undone and the result is
    /// `None`.
    pub fn apply_if(
        &self,
        steps: &[Step],
        waits: impl Fn(&Step) -> bool,
        may_go_on: impl FnOnce() -> bool,
    ) -> Option<Outcome> {
        let (first, then) = steps.split_at(steps.iter().position(waits).unwrap_or(steps.len()));
        let mut run = Run::new(self, OnError::Undo);
        run.make(first);
        let is_called_off = !run.must_stop() && !may_go_on();
        if !is_called_off && !run.must_stop() {
            run.make(then);
        }
        let outcome = run.end(is_called_off);
        self.look_again_after(steps);
        (!is_called_off).then_some(outcome)
    }
}

/// Steps that will be sent to one namespace in one call.
#[derive(Default)]
struct Batch {
    place: Option<Place>,
    steps: Vec<Step>,
    requests: Vec<Request>,
    /// Links that the batch creates. They have no index yet.
    new: Vec<IfName>,
    /// Namespaces whose descriptors the requests contain.
    peers: Vec<Namespace>,
}

/// A plan that is being applied.
struct Run<'a> {
    kernel: &'a Kernel,
    on_error: OnError,
    places: HashMap<Netns, Inside>,
    batch: Batch,
    /// Links that could not be created. A link with such a name belongs to someone else.
    refused: Vec<(Place, IfName)>,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    fn new(kernel: &'a Kernel, on_error: OnError) -> Self {
        Run {
            kernel,
            on_error,
            places: HashMap::new(),
            batch: Batch::default(),
            refused: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    fn make(&mut self, steps: &[Step]) {
        for step in steps {
            self.add(step);
            if self.must_stop() {
                break;
            }
        }
        self.flush();
    }

    /// Finishes the run. Undoes the applied steps if the run was called off, or if a step failed and
    /// [`OnError::Undo`] was requested.
    fn end(mut self, is_called_off: bool) -> Outcome {
        self.let_go();
        if is_called_off || self.must_stop() {
            let back: Vec<Step> =
                self.outcome.done.drain(..).rev().filter_map(|step| step.inverse()).collect();
            let undone = self.kernel.apply(&back, OnError::GoOn);
            self.outcome.errors.extend(undone.errors);
        }
        self.outcome
    }

    fn must_stop(&self) -> bool {
        self.on_error == OnError::Undo && !self.outcome.errors.is_empty()
    }

    fn add(&mut self, step: &Step) {
        let needs_index = index_needed(step);
        let same_place = self.batch.place.as_ref() == Some(sender(step));
        let cut = !same_place
            || matches!(step, Step::AddLink { .. } | Step::SetSysctl { .. })
            || needs_index.is_some_and(|name| self.batch.new.contains(name));
        if cut {
            self.flush();
            if self.must_stop() {
                return;
            }
        }
        if self.is_refused(step) {
            return;
        }
        let added = match step {
            Step::SetSysctl { place, sysctl, value, .. } => {
                let written = self.write_sysctl(place, sysctl, *value);
                self.settle(step, written);
                return;
            }
            Step::AddLink { place: Place::Netns(netns), link } => {
                let made = self.make_inside(step, netns, link);
                self.settle(step, made);
                return;
            }
            _ => self.request(step),
        };
        match added {
            Ok(request) => {
                self.batch.place = Some(sender(step).clone());
                if let Step::AddLink { link, .. } = step {
                    self.batch.new.push(link.name.clone());
                    if let LinkType::Veth { peer, .. } = &link.kind {
                        self.batch.new.push(peer.clone());
                    }
                }
                self.batch.steps.push(step.clone());
                self.batch.requests.push(request);
            }
            Err(nack) => self.settle(step, Err(nack)),
        }
    }

    fn flush(&mut self) {
        let Batch { place, steps, requests, peers: _peers, .. } = std::mem::take(&mut self.batch);
        let Some(place) = place else { return };
        match self.send(&place, requests) {
            Ok(answers) => {
                for (step, answer) in steps.iter().zip(answers) {
                    if self.is_refused(step) {
                        self.untag(step, &answer);
                    } else {
                        self.settle(step, answer);
                    }
                }
            }
            Err(error) => self.settle(&steps[0], Err(nack_of(&error))),
        }
    }

    /// Returns whether a step was meant for a link that could not be created.
    fn is_refused(&self, step: &Step) -> bool {
        self.refused.iter().any(|(place, link)| place == step.place() && link == step.link())
    }

    /// Removes a tag that was set on the wrong link. If creating the link failed because another program took
    /// its name first, the steps that followed in the same call applied to that other link. The tag alone
    /// would make it look like Ashore's.
    fn untag(&mut self, step: &Step, answer: &Result<(), Nack>) {
        if let Step::SetAlias { place, link, .. } = step
            && answer.is_ok()
        {
            let none = message::set_link(link, LinkAttribute::IfAlias(String::new()));
            let _ = self.send(place, vec![none]);
        }
    }

    fn send(&mut self, place: &Place, requests: Vec<Request>) -> io::Result<Vec<Result<(), Nack>>> {
        let count = requests.len();
        self.by_route(place, |route| route.batch(requests)).unwrap_or_else(|nack| Ok(vec![Err(nack); count]))
    }

    /// Records the result of a step.
    fn settle(&mut self, step: &Step, answer: Result<(), Nack>) {
        match answer {
            Ok(()) => self.outcome.done.push(step.clone()),
            // The object to remove does not exist, so the step is done and there is nothing to undo.
            Err(nack) if is_removal(step) && is_absence(nack.errno) => {}
            Err(nack) if self.on_error == OnError::Undo && step.is_extra() => {
                self.outcome.refused.push(StepError::new(step, nack));
            }
            Err(nack) => {
                if let Step::AddLink { place, link } = step {
                    self.refused.push((place.clone(), link.name.clone()));
                }
                if !self.must_stop() {
                    self.outcome.errors.push(StepError::new(step, nack));
                }
            }
        }
    }

    fn by_route<T>(&mut self, place: &Place, act: impl FnOnce(&Route) -> T) -> Result<T, Nack> {
        Ok(match place {
            Place::Host => act(&self.kernel.route.borrow()),
            Place::Netns(netns) => act(&self.inside(netns)?.route),
        })
    }

    /// Enters a container's namespace and keeps it open for the following steps.
    fn inside(&mut self, netns: &Netns) -> Result<&Inside, Nack> {
        if !self.places.contains_key(netns) {
            if self.places.len() >= MOST_OPEN {
                self.let_go();
            }
            let entered = self.kernel.enter(netns).map_err(|error| Nack::of_inside(&error))?;
            self.places.insert(netns.clone(), entered.ok_or_else(gone)?);
        }
        Ok(&self.places[netns])
    }

    fn let_go(&mut self) {
        self.places.drain().for_each(|(_, inside)| self.kernel.keep(inside));
    }

    fn index(&mut self, place: &Place, link: &IfName) -> Result<u32, Nack> {
        let index = self.by_route(place, |route| route.index_of(link))?;
        index.map_err(|error| nack_of(&error))?.ok_or_else(|| no_link(link))
    }

    /// Builds the netlink message for a step that is a message.
    fn request(&mut self, step: &Step) -> Result<Request, Nack> {
        Ok(match step {
            Step::AddLink { link, .. } => {
                let parent = self.parent_index(link)?;
                let peer = self.peer_namespace(link)?;
                let places = Places { own: None, peer: peer.as_ref().map(descriptor) };
                self.batch.peers.extend(peer);
                message::add_link(link, &link.name, parent, &places)
            }
            Step::DelLink { link, .. } => message::del_link(link),
            Step::SetAlias { link, tag, .. } => {
                let alias = tag.as_ref().map(Tag::to_string).unwrap_or_default();
                message::set_link(link, LinkAttribute::IfAlias(alias))
            }
            Step::SetNoLinkLocal { link, .. } => message::set_link(link, message::no_link_local()),
            Step::SetMaster { place, link, master, .. } => {
                let index = match master {
                    Some(master) => self.index(place, master)?,
                    None => 0,
                };
                message::set_link(link, LinkAttribute::Controller(index))
            }
            Step::SetPort { link, option, on, .. } => {
                message::set_link(link, message::port_option(*option, *on))
            }
            Step::SetPortVlan { place, link, vlan, membership, .. } => {
                message::set_port_vlan(self.index(place, link)?, *vlan, *membership)
            }
            Step::DelPortVlan { place, link, vlan, .. } => {
                message::del_port_vlan(self.index(place, link)?, *vlan)
            }
            Step::SetMtu { link, mtu, .. } => message::set_link(link, LinkAttribute::Mtu(*mtu)),
            Step::SetMode { link, kind, .. } => message::set_link(link, message::set_mode(*kind)),
            Step::SetGvrp { link, on, .. } => message::set_link(link, message::set_gvrp(*on)),
            Step::SetUp { link, up, .. } => message::set_up(link, *up),
            Step::AddAddress { place, link, address } => {
                message::add_address(self.index(place, link)?, address)
            }
            Step::DelAddress { place, link, address } => {
                message::del_address(self.index(place, link)?, address)
            }
            Step::SetDeprecated { place, link, net, on } => {
                message::set_deprecated(self.index(place, link)?, *net, *on)
            }
            Step::SetRoute { place, route, instead_of } => {
                let index = self.index(place, &route.dev)?;
                message::set_route(index, route, self.kernel.route_protocol, instead_of.is_some())
            }
            Step::DelRoute { place, route } => {
                message::del_route(self.index(place, &route.dev)?, route, self.kernel.route_protocol)
            }
            Step::AddNeighbour { place, link, ip, mac } => {
                message::add_neighbour(self.index(place, link)?, *ip, *mac)
            }
            Step::DelNeighbour { place, link, ip, .. } => {
                message::del_neighbour(self.index(place, link)?, *ip)
            }
            Step::PutHostAddress { place, link, address } => {
                message::put_host_address(self.index(place, link)?, address)
            }
            Step::DelHostAddress { place, link, address } => {
                let address = Address { net: address.net, nodad: false };
                message::del_address(self.index(place, link)?, &address)
            }
            Step::Reroute { place, route, .. } => {
                message::reroute(self.index(place, &route.route.dev)?, route)
            }
            Step::SetSysctl { .. } => unreachable!("a sysctl is a file"),
        })
    }

    fn parent_index(&mut self, link: &LinkSpec) -> Result<Option<u32>, Nack> {
        match &link.kind {
            LinkType::Macvlan { parent, .. }
            | LinkType::Ipvlan { parent, .. }
            | LinkType::Vlan { parent, .. } => self.index(&Place::Host, parent).map(Some),
            LinkType::Veth { .. } | LinkType::Bridge => Ok(None),
        }
    }

    fn peer_namespace(&mut self, link: &LinkSpec) -> Result<Option<Namespace>, Nack> {
        match &link.kind {
            LinkType::Veth { peer_place: Place::Netns(netns), .. } => {
                Ok(Some(self.inside(netns)?.namespace.clone()))
            }
            _ => Ok(None),
        }
    }

    /// Creates a link in a container's namespace, with a request from the host's, which knows the parent. Up
    /// to Linux 6.1 the kernel checks the name in the sender's namespace, so a container's `eth0` collides
    /// with the host's. In that case the link is created under an unused name and renamed inside.
    fn make_inside(&mut self, step: &Step, netns: &Netns, link: &LinkSpec) -> Result<(), Nack> {
        let place = step.place();
        let (own, peer) = (self.inside(netns)?.namespace.clone(), self.peer_namespace(link)?);
        let places = Places { own: Some(descriptor(&own)), peer: peer.as_ref().map(descriptor) };
        let parent = self.parent_index(link)?;
        let host = self.kernel.route.borrow();
        let add = |name: &IfName| {
            host.batch(vec![message::add_link(link, name, parent, &places)])
                .map_err(|error| nack_of(&error))
                .and_then(|mut answers| answers.remove(0))
        };
        match add(&link.name) {
            Err(nack) if nack.errno == Errno::EEXIST => {
                if self.index(place, &link.name).is_ok() {
                    return Err(nack);
                }
                let unused = unused_name();
                add(&unused)?;
                let index = self.index(place, &unused)?;
                let rename = vec![message::rename_link(index, &link.name)];
                let renamed =
                    self.send(place, rename).map_err(|error| nack_of(&error)).and_then(|mut a| a.remove(0));
                renamed.inspect_err(|_| {
                    // The name was taken a moment ago. The link under the unused name is ours.
                    let _ = self.send(place, vec![message::del_link(&unused)]);
                })
            }
            answer => answer,
        }
    }

    fn write_sysctl(&mut self, place: &Place, sysctl: &Sysctl, value: i32) -> Result<(), Nack> {
        let family = match sysctl.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let path = format!("/proc/sys/net/{family}/conf/{}/{}", sysctl.link, sysctl.key.as_str());
        let write = || match std::fs::write(&path, value.to_string()) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                make_sysctls_writable()?;
                std::fs::write(&path, value.to_string())
            }
            written => written,
        };
        let written = match place {
            Place::Host => self.kernel.host.run(write),
            Place::Netns(netns) => self.inside(netns)?.namespace.run(write),
        };
        written.and_then(|written| written).map_err(|error| nack_of(&error))
    }
}

/// Makes `/proc/sys` writable. Docker mounts it read-only for a managed plugin (moby, `oci/defaults.go`),
/// whatever the plugin's capabilities. The calling thread, which is about to end, gets a mount namespace of
/// its own in which `/proc/sys` is writable.
fn make_sysctls_writable() -> io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    let again =
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(nix::mount::mount(None::<&str>, "/proc/sys", None::<&str>, again, None::<&str>)?)
}

/// The namespace whose socket a step is sent through.
fn sender(step: &Step) -> &Place {
    step.place()
}

/// The link whose index a step's message carries.
fn index_needed(step: &Step) -> Option<&IfName> {
    match step {
        Step::AddAddress { link, .. }
        | Step::DelAddress { link, .. }
        | Step::SetDeprecated { link, .. }
        | Step::AddNeighbour { link, .. }
        | Step::DelNeighbour { link, .. }
        | Step::PutHostAddress { link, .. }
        | Step::DelHostAddress { link, .. }
        | Step::SetPortVlan { link, .. }
        | Step::DelPortVlan { link, .. } => Some(link),
        Step::Reroute { route, .. } => Some(&route.route.dev),
        Step::SetRoute { route, .. } | Step::DelRoute { route, .. } => Some(&route.dev),
        Step::SetMaster { master, .. } => master.as_ref(),
        _ => None,
    }
}

fn is_removal(step: &Step) -> bool {
    matches!(
        step,
        Step::DelLink { .. }
            | Step::DelAddress { .. }
            | Step::DelHostAddress { .. }
            | Step::DelRoute { .. }
            | Step::DelNeighbour { .. }
            | Step::DelPortVlan { .. }
            | Step::SetAlias { tag: None, .. }
            | Step::SetUp { up: false, .. }
    )
}

fn is_absence(errno: Errno) -> bool {
    matches!(errno, Errno::ENODEV | Errno::ENOENT | Errno::ESRCH | Errno::EADDRNOTAVAIL)
}

fn descriptor(namespace: &Namespace) -> RawFd {
    namespace.as_fd().as_raw_fd()
}

/// A name that no link has.
pub(crate) fn unused_name() -> IfName {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("ash{:x}-{next:x}", std::process::id())
        .parse()
        .expect("two numbers of at most 5 and 6 digits fit")
}

fn gone() -> Nack {
    Nack { errno: Errno::ENODEV, says: Some("the namespace is gone".into()) }
}

fn no_link(link: &IfName) -> Nack {
    Nack { errno: Errno::ENODEV, says: Some(format!("there is no `{link}`")) }
}

impl Nack {
    /// The refusal for a namespace that may exist but cannot be entered. What was to be done there is not
    /// done.
    fn of_inside(error: &InsideError) -> Self {
        Nack { errno: error.errno(), says: Some(error.to_string()) }
    }
}

fn nack_of(error: &io::Error) -> Nack {
    let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    Nack { errno, says: error.raw_os_error().is_none().then(|| error.to_string()) }
}
