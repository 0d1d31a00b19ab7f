//! The places where a service may run, in one world: on the host itself, in Ashore's containers, and in
//! Docker's. Each kind of container has a host of its own, because Docker's rules and a bridge change what
//! passes a host, and the first host must stay as a host without containers is.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail};
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::Step;
use ashore_kernel::Namespace;
use ashore_lab::{Daemon, Docker, Engines, Machine, World};

use super::traffic::PORT;
use crate::bench::Bench;

/// The Debian release whose engine is measured.
const SUITE: &str = "sid";

/// Where a client is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// On another machine of the LAN.
    Lan,
    /// On the service's own host.
    Host,
}

impl Origin {
    pub(super) fn shown(self) -> &'static str {
        match self {
            Origin::Lan => "the LAN",
            Origin::Host => "its own host",
        }
    }
}

/// A place where a service may run.
pub(super) struct Site {
    pub(super) name: &'static str,
    /// The namespace in which it listens.
    pub(super) service: Namespace,
    /// The address by which clients reach it.
    pub(super) address: SocketAddr,
    host: Namespace,
}

/// All sites. The first is a host without containers.
pub(super) struct Sites {
    pub(super) all: Vec<Site>,
    /// Why other sites are missing.
    pub(super) missing: Vec<String>,
    // Dropped in this order, so that programs end before their machines do.
    daemons: Vec<Daemon>,
    dockers: Vec<Docker>,
    machines: Vec<Machine>,
    laptop: Machine,
    world: World,
}

impl Sites {
    pub(super) fn new(bench: &Bench) -> anyhow::Result<Self> {
        let world = World::new(None)?;
        bridges_pass_no_firewall(world.switch())?;
        let laptop = world.machine("laptop", 50)?;
        let mut sites = Sites {
            all: Vec::new(),
            missing: Vec::new(),
            world,
            laptop,
            daemons: Vec::new(),
            dockers: Vec::new(),
            machines: Vec::new(),
        };
        let directory = bench.fresh("data");
        let alone = sites.world.machine("alone", 2)?;
        sites.host_itself("host", alone, 2);
        sites.ashore(bench, &directory.join("macvlan"), "Ashore, macvlan", "macvlan:bridge", 3)?;
        let on_bridge = on_bridge(&sites.world, "on-bridge", "192.168.88.4/24")?;
        sites.host_itself("host, on a bridge", on_bridge, 4);
        sites.ashore(bench, &directory.join("bridge"), "Ashore, bridge", "bridge", 5)?;
        let ipvlan = sites.ashore(bench, &directory.join("ipvlan"), "Ashore, ipvlan", "ipvlan:l2", 6);
        if let Err(why) = ipvlan {
            sites
                .missing
                .push(format!("Ashore, ipvlan is not measured: {}", first_line(&format!("{why:#}"))));
        }
        sites.docker(&directory.join("docker"), 7)?;
        Ok(sites)
    }

    fn host_itself(&mut self, name: &'static str, host: Machine, last: u8) {
        let namespace = host.namespace().clone();
        let address = SocketAddr::new([192, 168, 88, last].into(), PORT);
        self.all.push(Site { name, service: namespace.clone(), address, host: namespace });
        self.machines.push(host);
    }

    /// A container of Ashore's, on a host of its own.
    fn ashore(
        &mut self,
        bench: &Bench,
        directory: &Path,
        name: &'static str,
        kind: &str,
        last: u8,
    ) -> anyhow::Result<()> {
        let (host, parent) = if kind == "bridge" {
            (on_bridge(&self.world, "nas-bridge", &format!("192.168.88.{last}/24"))?, "br0")
        } else {
            (self.world.machine(&format!("nas{last}"), last)?, "eth0")
        };
        let daemon = Daemon::start(&bench.program, &host, directory)?;
        let ip = format!("192.168.88.{}", 100 + u32::from(last));
        let create = format!(
            "network create lan --parent {parent} --kind {kind} --subnet 192.168.88.0/24 --ip-range {ip}/32 --gateway \
             192.168.88.1 --conflict off"
        );
        let container = self.world.container(&format!("web{last}"))?;
        let netns = container.namespace().path().display().to_string();
        let attach = ["attach", "lan", "--netns", &netns, "--name", "web"];
        for words in [&create.split(' ').collect::<Vec<_>>()[..], &attach[..]] {
            let ran = daemon.run(words)?;
            if ran.code != Some(0) {
                bail!("{}", ran.stderr.trim());
            }
        }
        let address = SocketAddr::new(ip.parse()?, PORT);
        let service = container.namespace().clone();
        self.all.push(Site { name, service, address, host: host.namespace().clone() });
        self.daemons.push(daemon);
        self.machines.extend([host, container]);
        Ok(())
    }

    /// Docker's containers, one on its macvlan and one with a published port on its bridge.
    fn docker(&mut self, directory: &Path, last: u8) -> anyhow::Result<()> {
        let engines = Engines::find().map_err(anyhow::Error::msg)?;
        let host = self.world.machine("nas-docker", last)?;
        bridges_pass_no_firewall(&host)?;
        let docker = Docker::start_with(&engines, SUITE, &host, directory, &["--iptables=true"])?;
        let ip = format!("192.168.88.{}", 100 + u32::from(last));
        let create =
            "network create -d macvlan --subnet 192.168.88.0/24 --gateway 192.168.88.1 -o parent=eth0 plain";
        docker.run(&create.split(' ').collect::<Vec<_>>())?.expect_success();
        docker
            .run(&["network", "create", "-d", "bridge", "--subnet", "172.30.0.0/24", "nat"])?
            .expect_success();
        let (tcp, udp) = (format!("{PORT}:{PORT}/tcp"), format!("{PORT}:{PORT}/udp"));
        let macvlan = ["--network", "plain", "--ip", &ip];
        let nat = ["--network", "nat", "-p", &tcp, "-p", &udp];
        let published = format!("192.168.88.{last}");
        for (name, container, options, ip) in [
            ("Docker, macvlan", "on-macvlan", &macvlan[..], &ip),
            ("Docker, bridge with `-p`", "on-bridge", &nat[..], &published),
        ] {
            let run = [&["run", "-d", "--init", "--name", container], options, &["box", "sleep", "99999"]];
            docker.run(&run.concat())?.expect_success();
            let format = "{{.NetworkSettings.SandboxKey}}";
            let key = docker.run(&["inspect", "--format", format, container])?.expect_success();
            let service = Namespace::open(&docker.root().join(key.trim().trim_start_matches('/')))?;
            let address = SocketAddr::new(ip.parse()?, PORT);
            self.all.push(Site { name, service, address, host: host.namespace().clone() });
        }
        self.dockers.push(docker);
        self.machines.push(host);
        Ok(())
    }

    /// The namespace of a client.
    pub(super) fn namespace<'a>(&'a self, origin: Origin, site: &'a Site) -> &'a Namespace {
        match origin {
            Origin::Lan => self.laptop.namespace(),
            Origin::Host => &site.host,
        }
    }

    /// Whether a client can reach a site at all. Nobody can be compared with what does not work.
    pub(super) fn reaches(&self, origin: Origin, site: &Site) -> bool {
        let from = self.namespace(origin, site);
        from.run(|| ashore_lab::ping(site.address.ip(), 2)).is_ok_and(|answer| answer.is_some())
    }
}

/// A machine whose NIC is a port of its bridge `br0`, which has the machine's address.
pub(super) fn on_bridge(world: &World, name: &str, address: &str) -> anyhow::Result<Machine> {
    let machine = world.container(name)?;
    world.plug_in(&machine)?;
    let (bridge, place) = ("br0".parse()?, Place::Host);
    let spec = LinkSpec { name: "br0".parse()?, kind: LinkType::Bridge, mac: None, mtu: None };
    let nic = "eth0".parse()?;
    machine.apply(&[
        Step::AddLink { place: place.clone(), link: spec },
        Step::SetMaster { place, link: nic, master: Some(bridge), was: None },
    ])?;
    machine.set_up("br0", true)?;
    machine.add_address("br0", address.parse()?)?;
    bridges_pass_no_firewall(&machine)?;
    Ok(machine)
}

/// Keeps bridged packets out of the machine's firewall, as on a host that has not loaded `br_netfilter`. A
/// switch has no firewall at all.
pub(super) fn bridges_pass_no_firewall(machine: &Machine) -> anyhow::Result<()> {
    let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    match machine.inside(|| std::fs::write(path, "0"))? {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context(path),
        _ => Ok(()),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
