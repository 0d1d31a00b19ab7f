//! Many containers are looked into once, and then again when something has changed in them, whoever changed it.

mod ground;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use ashore_core::net::family::Family;
use ashore_core::net::link::{LinkType, Netns, Place};
use ashore_core::net::observed::{Link, Observed, View};
use ashore_core::net::step::{Address, Route, Step, Sysctl, SysctlKey};
use ashore_kernel::{Kernel, Namespace, OnError};
use ground::{Ground, link, name};

const MANY: usize = 70;

/// Many containers, each with a link `eth0`, found by a path as engines have it.
struct Containers {
    ground: Ground,
    all: Vec<Option<Namespace>>,
    netns: Vec<Netns>,
    directory: tempfile::TempDir,
}

impl Containers {
    fn new() -> Containers {
        let ground = Ground::new();
        let directory = tempfile::tempdir().unwrap();
        let all: Vec<Namespace> =
            (0..MANY).map(|n| Namespace::new().unwrap().bind(&at(directory.path(), n)).unwrap()).collect();
        let netns: Vec<Netns> = all.iter().map(|one| ground.kernel.identify(one).unwrap()).collect();
        for netns in &netns {
            let peer = LinkType::Veth { peer: name("peer"), peer_place: in_it(netns), peer_mac: None };
            ground.make(&[
                Step::AddLink { place: in_it(netns), link: link("eth0", peer) },
                Step::SetNoLinkLocal { place: in_it(netns), link: name("eth0") },
                Step::SetNoLinkLocal { place: in_it(netns), link: name("peer") },
                Step::SetUp { place: in_it(netns), link: name("eth0"), up: true },
                Step::SetUp { place: in_it(netns), link: name("peer"), up: true },
            ]);
        }
        Containers { ground, all: all.into_iter().map(Some).collect(), netns, directory }
    }

    /// Looks until the kernel has notified of all that the containers' first steps caused.
    fn settle(&self) {
        self.observe();
        std::thread::sleep(std::time::Duration::from_secs(2));
        self.observe();
    }

    fn observe(&self) -> Observed {
        self.ground.kernel.observe(&self.netns).unwrap()
    }

    fn view(&self, n: usize) -> View {
        self.observe().netns.remove(&self.netns[n]).expect("it can be looked into")
    }

    fn link(&self, n: usize, link: &str) -> Link {
        self.view(n).link(&name(link)).expect("the link is there").clone()
    }

    /// Somebody else's steps in a container.
    fn by_other(&self, n: usize, steps: &[Step]) {
        let other = Kernel::of(self.all[n].as_ref().unwrap()).unwrap();
        assert!(other.apply(steps, OnError::Undo).errors.is_empty());
    }

    /// What the kernel notifies nobody of.
    fn change_silently(&self, n: usize) {
        let write = || std::fs::write("/proc/sys/net/ipv4/conf/eth0/arp_filter", "1");
        self.all[n].as_ref().unwrap().run(write).unwrap().unwrap();
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for n in 0..MANY {
            let _ = Namespace::unbind(&at(self.directory.path(), n));
        }
    }
}

fn at(directory: &Path, n: usize) -> PathBuf {
    directory.join(format!("c{n}"))
}

fn in_it(netns: &Netns) -> Place {
    Place::Netns(netns.clone())
}

#[test]
fn a_container_in_which_nothing_happened_is_not_entered_until_it_is_asked_for() {
    let containers = Containers::new();
    assert_eq!(containers.observe().netns.len(), MANY);
    containers.settle();
    containers.change_silently(3);
    assert_eq!(containers.link(3, "eth0").arp_filter, Some(0));
    // A few are entered each time.
    let few = containers.ground.kernel.observe(&containers.netns[..4]).unwrap();
    let few = few.netns[&containers.netns[3]].link(&name("eth0")).unwrap().arp_filter;
    assert_eq!(few, Some(1));
    assert_eq!(containers.link(3, "eth0").arp_filter, Some(1));

    containers.change_silently(4);
    assert_eq!(containers.link(4, "eth0").arp_filter, Some(0));
    containers.ground.kernel.look_again(&containers.netns[4..5]);
    assert_eq!(containers.link(4, "eth0").arp_filter, Some(1));
}

#[test]
fn whoever_changes_something_in_a_container_it_is_seen_with_the_next_look() {
    let containers = Containers::new();
    containers.settle();
    let eth0 = || name("eth0");
    let ip: IpAddr = "192.168.88.9".parse().unwrap();
    let address = Address { net: "192.168.88.9/24".parse().unwrap(), nodad: true };
    let has_address = |n| containers.view(n).addresses.iter().any(|there| there.net.addr() == ip);
    let place = || Place::Host;

    containers.by_other(1, &[Step::AddAddress { place: place(), link: eth0(), address }]);
    assert!(has_address(1) && !has_address(2));
    containers.by_other(1, &[Step::DelAddress { place: place(), link: eth0(), address }]);
    assert!(!has_address(1));
    containers.by_other(5, &[Step::SetUp { place: place(), link: eth0(), up: false }]);
    assert!(!containers.link(5, "eth0").up && containers.link(6, "eth0").up);
    containers.by_other(7, &[Step::SetMtu { place: place(), link: eth0(), mtu: 1400, was: 1500 }]);
    assert_eq!(containers.link(7, "eth0").mtu, 1400);
    let route = |to: &str| Route { to: to.parse().unwrap(), via: None, dev: eth0(), src: None, metric: None };
    let to = route("10.9.0.0/24");
    containers.by_other(8, &[Step::SetRoute { place: place(), route: to.clone(), instead_of: None }]);
    let routes = |n| containers.view(n).routes.iter().filter(|there| there.route == to).count();
    assert_eq!([routes(8), routes(9)], [1, 0]);
    // The kernel does not notify of the routes that go with a link.
    containers.by_other(8, &[Step::SetUp { place: place(), link: eth0(), up: false }]);
    assert_eq!(routes(8), 0);
    containers.by_other(10, &[Step::DelLink { place: place(), link: eth0() }]);
    assert!(containers.view(10).link(&eth0()).is_none());

    // More notifications than the kernel keeps: nothing is known any more, and everything is looked into.
    containers.change_silently(20);
    assert_eq!(containers.link(20, "eth0").arp_filter, Some(0));
    let net = |n: u32| route(&format!("10.{}.{}.0/24", 20 + n / 250, n % 250));
    let many: Vec<Step> =
        (0..40_000).map(|n| Step::SetRoute { place: place(), route: net(n), instead_of: None }).collect();
    containers.by_other(21, &many);
    assert_eq!(containers.link(20, "eth0").arp_filter, Some(1));
}

/// An engine tells the path of a container's namespace, and not the kernel's number for it.
#[test]
fn it_is_the_same_for_those_of_which_only_the_path_is_known() {
    let mut containers = Containers::new();
    containers.netns.iter_mut().for_each(|netns| netns.cookie = None);
    containers.settle();
    containers.change_silently(3);
    assert_eq!(containers.link(3, "eth0").arp_filter, Some(0));
    containers.by_other(3, &[Step::SetUp { place: Place::Host, link: name("eth0"), up: false }]);
    assert!(!containers.link(3, "eth0").up && containers.link(4, "eth0").up);
}

#[test]
fn what_steps_have_done_is_seen_though_the_kernel_notifies_nobody() {
    let containers = Containers::new();
    containers.observe();
    let sysctl = Sysctl { family: Family::Ipv4, link: name("eth0"), key: SysctlKey::ArpFilter };
    let place = in_it(&containers.netns[3]);
    containers.ground.make(&[Step::SetSysctl { place, sysctl, value: 1, was: None }]);
    assert_eq!(containers.link(3, "eth0").arp_filter, Some(1));
}

#[test]
fn a_path_that_leads_elsewhere_or_nowhere_is_noticed() {
    let mut containers = Containers::new();
    containers.observe();
    let directory = containers.directory.path().to_owned();
    // Another namespace is there now.
    Namespace::unbind(&at(&directory, 1)).unwrap();
    let other = Namespace::new().unwrap().bind(&at(&directory, 1)).unwrap();
    // The namespace lives, and its path is gone.
    Namespace::unbind(&at(&directory, 2)).unwrap();
    // It is dead, and another one may have its number.
    containers.all[3] = None;
    Namespace::unbind(&at(&directory, 3)).unwrap();
    let _next = Namespace::new().unwrap().bind(&at(&directory, 3)).unwrap();
    let seen = containers.observe();
    let there: Vec<usize> = (0..MANY).filter(|n| seen.netns.contains_key(&containers.netns[*n])).collect();
    assert_eq!(there, [0].into_iter().chain(4..MANY).collect::<Vec<_>>());
    drop(other);
}

/// Without the capability the kernel is silent of other namespaces, so nothing is kept.
#[test]
fn whoever_hears_nothing_looks_each_time() {
    const INSIDE: &str = "ASHORE_TEST_SILENT";
    if std::env::var_os(INSIDE).is_none() {
        let test = "whoever_hears_nothing_looks_each_time";
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-net_broadcast", "--inh-caps", "-net_broadcast"]);
        let ran = command.arg(own).args(["--exact", test]).env(INSIDE, "1").status().unwrap();
        assert!(ran.success());
        return;
    }
    let containers = Containers::new();
    containers.observe();
    containers.change_silently(3);
    assert_eq!(containers.link(3, "eth0").arp_filter, Some(1));
}
