//! Machines on a switch.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use ashore_core::net::kind::PortOption;
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::name::IfName;
use ashore_core::net::step::{Address, Route, Step};
use ashore_core::net::vlan::Vlan;
use ashore_kernel::{InNamespace, Kernel, Namespace, NamespaceError, ObserveError, OnError, StepError};
use ipnet::IpNet;

/// `RTPROT_STATIC` of `linux/rtnetlink.h`: added by an administrator.
const RTPROT_STATIC: u8 = 4;

/// Why a world cannot be built.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::large_enum_variant, reason = "it carries the step, and is rare")]
pub enum WorldError {
    /// The kernel refused a step.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A namespace cannot be opened.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A namespace cannot be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The system returned an error.
    #[error("cannot build the lab: {0}")]
    System(#[from] io::Error),
}

/// A LAN: machines on a switch, in 192.168.88.0/24 and `fd88::/64`.
pub struct World {
    switch: Machine,
    /// A directory such as `/run/netns` in which each namespace gets a name for `ip -n`.
    names: Option<PathBuf>,
}

/// A machine.
pub struct Machine {
    name: String,
    namespace: Namespace,
    kernel: Kernel,
}

impl World {
    /// Creates a switch with nothing connected. With `names`, a file in that directory opens each machine's
    /// namespace, and the namespace stays. Without it, everything disappears with the process.
    pub fn new(names: Option<PathBuf>) -> Result<Self, WorldError> {
        let switch = Machine::new("switch", names.as_deref())?;
        let world = World { switch, names };
        let bridge = LinkSpec { name: name("br0"), kind: LinkType::Bridge, mac: None, mtu: None };
        world.switch.apply(&[
            Step::AddLink { place: Place::Host, link: bridge },
            Step::SetNoLinkLocal { place: Place::Host, link: name("br0") },
            Step::SetUp { place: Place::Host, link: name("br0"), up: true },
        ])?;
        Ok(world)
    }

    /// The switch, with its bridge `br0` and a port `p-NAME` for each machine.
    pub fn switch(&self) -> &Machine {
        &self.switch
    }

    /// Creates a machine without a cable, such as a container before it is attached.
    pub fn container(&self, name: &str) -> Result<Machine, WorldError> {
        Machine::new(name, self.names.as_deref())
    }

    /// Creates a machine that is connected to the switch by its `eth0`. `last` is the last byte of its
    /// addresses: `9` gives 192.168.88.9 and `fd88::9`. Its default route is through the router, `.1`.
    pub fn machine(&self, machine_name: &str, last: u8) -> Result<Machine, WorldError> {
        let machine = Machine::new(machine_name, self.names.as_deref())?;
        self.plug_in(&machine)?;
        let v4 = IpNet::new(IpAddr::from([192, 168, 88, last]), 24).expect("24 bits fit");
        let v6: IpNet = format!("fd88::{last}/64").parse().expect("a well-formed prefix");
        machine.add_address("eth0", v4)?;
        machine.add_address("eth0", v6)?;
        if last != 1 {
            machine.add_default_route("eth0", IpAddr::from([192, 168, 88, 1]))?;
        }
        Ok(machine)
    }

    /// Gives a machine an `eth0` whose other end is a port of the switch, and brings it up.
    pub fn plug_in(&self, machine: &Machine) -> Result<(), WorldError> {
        self.plug_in_by(machine, "eth0")
    }

    /// The same, with another NIC. A machine may also be connected to the switch of another world.
    pub fn plug_in_by(&self, machine: &Machine, nic: &str) -> Result<(), WorldError> {
        let port = name(&format!("p-{}", machine.name));
        let kind = LinkType::Veth {
            peer: port.clone(),
            peer_place: Place::Netns(self.switch.namespace.identity()),
            peer_mac: None,
        };
        machine.apply(&[
            Step::AddLink {
                place: Place::Host,
                link: LinkSpec { name: name(nic), kind, mac: None, mtu: None },
            },
            Step::SetUp { place: Place::Host, link: name(nic), up: true },
        ])?;
        self.switch.apply(&[
            Step::SetMaster { place: Place::Host, link: port.clone(), master: Some(name("br0")), was: None },
            Step::SetUp { place: Place::Host, link: port, up: true },
        ])
    }

    /// Unplugs a machine's cable or plugs it in again: brings its port on the switch down or up.
    pub fn set_cable(&self, machine: &Machine, plugged: bool) -> Result<(), WorldError> {
        let port = name(&format!("p-{}", machine.name));
        self.switch.apply(&[Step::SetUp { place: Place::Host, link: port, up: plugged }])
    }

    /// Makes the switch send frames back out of a machine's port, or not. Most switches do not.
    pub fn set_hairpin(&self, machine: &Machine, on: bool) -> Result<(), WorldError> {
        let (link, option) = (name(&format!("p-{}", machine.name)), PortOption::Hairpin);
        self.switch.apply(&[Step::SetPort { place: Place::Host, link, option, on }])
    }
}

impl Machine {
    fn new(machine: &str, names: Option<&std::path::Path>) -> Result<Self, WorldError> {
        let namespace = Namespace::new()?;
        let namespace = match names {
            Some(directory) => namespace.bind(&directory.join(machine))?,
            None => namespace,
        };
        // A machine's own routes belong to its administrator, not to Ashore.
        let kernel = Kernel::of(&namespace)?.with_route_protocol(RTPROT_STATIC);
        let machine = Machine { name: machine.to_owned(), namespace, kernel };
        machine.apply(&[Step::SetUp { place: Place::Host, link: name("lo"), up: true }])?;
        Ok(machine)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Applies steps on the machine, all or none.
    pub fn apply(&self, steps: &[Step]) -> Result<(), WorldError> {
        match self.kernel.apply(steps, OnError::Undo).errors.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Adds an address.
    pub fn add_address(&self, link: &str, net: IpNet) -> Result<(), WorldError> {
        let address = Address { net, nodad: net.addr().is_ipv6() };
        self.apply(&[Step::AddAddress { place: Place::Host, link: name(link), address }])
    }

    /// Removes an address.
    pub fn del_address(&self, link: &str, net: IpNet) -> Result<(), WorldError> {
        let address = Address { net, nodad: false };
        self.apply(&[Step::DelAddress { place: Place::Host, link: name(link), address }])
    }

    /// Adds a default route.
    pub fn add_default_route(&self, link: &str, via: IpAddr) -> Result<(), WorldError> {
        let route = default_route(link, via);
        self.apply(&[Step::SetRoute { place: Place::Host, route, instead_of: None }])
    }

    /// Removes a default route.
    pub fn del_default_route(&self, link: &str, via: IpAddr) -> Result<(), WorldError> {
        self.apply(&[Step::DelRoute { place: Place::Host, route: default_route(link, via) }])
    }

    /// Brings a link up or down.
    pub fn set_up(&self, link: &str, up: bool) -> Result<(), WorldError> {
        self.apply(&[Step::SetUp { place: Place::Host, link: name(link), up }])
    }

    /// Removes a link. With a veth, the other end disappears too.
    pub fn remove_link(&self, link: &str) -> Result<(), WorldError> {
        self.apply(&[Step::DelLink { place: Place::Host, link: name(link) }])
    }

    /// Creates a VLAN interface `NIC.ID` on a link, brings it up and adds an address.
    pub fn add_vlan(&self, link: &str, id: u16, net: IpNet) -> Result<(), WorldError> {
        let id = id.try_into().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let vlan = Vlan { lower: name(link), id, gvrp: false };
        let kind = LinkType::Vlan { parent: name(link), id, gvrp: false };
        let spec = LinkSpec { name: vlan.name(), kind, mac: None, mtu: None };
        self.apply(&[
            Step::AddLink { place: Place::Host, link: spec },
            Step::SetUp { place: Place::Host, link: vlan.name(), up: true },
        ])?;
        self.add_address(vlan.name().as_str(), net)
    }

    /// Sets an IPv4 sysctl of a link, or of `all`.
    pub fn set_ipv4_conf(&self, link: &str, key: &str, value: i32) -> Result<(), WorldError> {
        let path = format!("/proc/sys/net/ipv4/conf/{link}/{key}");
        Ok(self.namespace.run(|| std::fs::write(path, value.to_string()))??)
    }

    /// A command that will run on the machine and dies with the thread that starts it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command, WorldError> {
        let mut command = Command::new(program);
        command.in_namespace(&self.namespace)?;
        ashore_kernel::kill_with_parent(&mut command);
        Ok(command)
    }

    /// The round-trip time to an address. Returns `None` if two attempts of one second each get no answer.
    pub fn ping(&self, to: IpAddr) -> Option<std::time::Duration> {
        self.namespace.run(|| crate::ping(to, 2)).ok().flatten()
    }

    /// Starts to ping an address. [`Pings::end`](crate::Pings::end) stops this and returns the counts.
    pub fn pings(&self, to: IpAddr) -> crate::Pings {
        crate::Pings::begin(self.namespace.clone(), to)
    }

    /// Runs a function in the machine's namespace. Sockets opened inside belong to the machine.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, WorldError> {
        Ok(self.namespace.run(act)?)
    }
}

fn default_route(link: &str, via: IpAddr) -> Route {
    let to = if via.is_ipv4() { "0.0.0.0/0" } else { "::/0" }.parse().expect("a default route");
    Route { to, via: Some(via), dev: name(link), src: None, metric: None }
}

fn name(text: &str) -> IfName {
    text.parse().expect("the lab's names are interface names")
}
