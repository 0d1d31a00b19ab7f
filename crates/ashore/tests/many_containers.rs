//! Where there are many containers, the daemon enters only those in which something has changed, and still knows at
//! once what has.

use std::net::IpAddr;
use std::path::PathBuf;

use ashore_kernel::Namespace;
use home::strace::Strace;
use home::{Home, eventually, ip, reaches, type_ip};

const MANY: u8 = 70;

/// The system calls by which the daemon enters namespaces while this is done.
fn entered(home: &Home, strace: &Strace, done: impl FnOnce()) -> usize {
    let trace = strace.trace(home.daemon().pid(), "setns", &home.directory.path().join("trace"));
    done();
    trace.end().lines().filter(|line| line.contains("setns(")).count()
}

/// The address of the n-th container.
fn address(n: u8) -> IpAddr {
    ip(&format!("192.168.88.{}", 100 + n))
}

struct Containers<'a> {
    home: &'a Home,
    namespaces: Vec<Option<Namespace>>,
}

impl<'a> Containers<'a> {
    fn attach(home: &'a Home) -> Self {
        let mut containers = Containers { home, namespaces: Vec::new() };
        (0..MANY).for_each(|n| containers.add(n));
        containers
    }

    fn add(&mut self, n: u8) {
        let at = self.at(n);
        self.namespaces.push(Some(Namespace::new().unwrap().bind(&at).unwrap()));
        self.home.ok(&format!("attach big --name c{n} --netns {} --ip {}", at.display(), address(n)));
    }

    /// A path as engines have it.
    fn at(&self, n: u8) -> PathBuf {
        self.home.directory.path().join(format!("netns-{n}"))
    }

    fn namespace(&self, n: u8) -> &Namespace {
        self.namespaces[usize::from(n)].as_ref().unwrap()
    }

    fn end(&mut self, n: u8) {
        Namespace::unbind(&self.at(n)).unwrap();
        self.namespaces[usize::from(n)] = None;
    }
}

impl Drop for Containers<'_> {
    fn drop(&mut self) {
        let there = (0..MANY).filter(|n| self.namespaces.get(usize::from(*n)).is_some_and(Option::is_some));
        there.for_each(|n| _ = Namespace::unbind(&self.at(n)));
    }
}

#[test]
fn only_those_in_which_something_has_changed_are_entered_and_every_change_is_known() {
    let Some(strace) = Strace::find("many containers") else { return };
    let home = Home::new();
    home.ok("network create big --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.100-192.168.88.180 --conflict off");
    let mut containers = Containers::attach(&home);
    reaches(&home.laptop, address(0));
    reaches(&home.laptop, address(MANY - 1));
    let quiet =
        || eventually("nothing is pending", || home.status()["pending"].as_array().unwrap().is_empty());
    quiet();
    // One look into each after the last change, on the sockets of those that read.
    home.status();
    home.status();
    // The daemon looks for troubles by itself now and then, and two that look at the same time have sockets of their own.
    let by_status = (0..4).map(|_| entered(&home, &strace, || _ = home.status())).min().unwrap();
    assert!(by_status <= 4, "{by_status}");
    // Those that were not entered for a minute are.
    home.nudge();
    home.nudge();
    let by_reconciliation = (0..4).map(|_| entered(&home, &strace, || home.nudge())).min().unwrap();
    assert!(by_reconciliation <= 4, "{by_reconciliation}");

    // Somebody in a container takes its address away, and its link down.
    assert!(type_ip(containers.namespace(5), &[b"address", b"flush", b"dev", b"eth0"]));
    assert!(type_ip(containers.namespace(6), &[b"link", b"set", b"eth0", b"down"]));
    let pending = home.status()["pending"].to_string();
    for n in [5, 6] {
        let is_pending =
            pending.contains(&format!("netns-{n}\"")) || pending.contains(&format!("netns-{n} "));
        // On a busy machine a reconciliation may have come before.
        assert!(is_pending || home.laptop.ping(address(n)).is_some(), "{n}: {pending}");
    }
    home.nudge();
    reaches(&home.laptop, address(5));
    reaches(&home.laptop, address(6));
    quiet();

    // One that ends is let go of, and the others stay.
    containers.end(7);
    home.nudge();
    let names = || home.status()["endpoints"].to_string();
    eventually("what ended is off the LAN", || {
        home.nudge();
        !names().contains("\"c7\"")
    });
    assert!(names().contains("\"c8\""));
    reaches(&home.laptop, address(8));
}
