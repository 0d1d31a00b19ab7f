//! `ashore lab`: demonstrates a whole home LAN.

use std::io::{BufRead, IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use ashore_core::net::observed::{Link, ObservedKind};
use ashore_kernel::{SandboxError, enter_sandbox};
use ashore_lab::{Daemon, Machine, World, WorldError};
use serde::Serialize;

use crate::cli::{LabArgs, Scene};
use crate::client::{Failure, print_json};
use crate::messages::message;
use crate::out::say;

mod next;
mod scenes;
mod tell;
mod vlan;

use tell::{Row, Teller};
use vlan::Vlan;

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    ok: bool,
    rows: &'a [Row],
}

/// The directory of the daemons' state and sockets. It is in the sandbox's own `/run`, so nothing has to
/// remove it.
const DIRECTORY: &str = "/run/lab";

const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 88, 9));
const LAPTOP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 88, 50));
const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 88, 1));

pub(crate) fn run(args: &LabArgs) -> Result<(), Failure> {
    // Before anything else, because a process with several threads may not change its user namespace.
    enter_sandbox().map_err(|error| match error {
        SandboxError::Restricted { remedy, .. } => Failure::Restricted { message: error.to_string(), remedy },
        SandboxError::System { .. } => Failure::Internal(error.into()),
    })?;
    if args.has_vlan() {
        vlan::check_kernel()?;
    }
    let started = Instant::now();
    let lab = Lab::build(Path::new(DIRECTORY), args.has_vlan()).context("building the lab")?;
    let mut teller = Teller::new(args.json);
    teller.say(&message!("lab-introduction"));
    if args.has_vlan() {
        teller.say(&message!("lab-introduction-vlan"));
    }
    play(args, &lab, &mut teller)?;
    teller.hush(false);
    if args.keep {
        lab.keep()?;
    }
    let left = lab.take_away()?;
    let (all, good) = teller.counted();
    let ok = all == good && left.is_empty();
    let seconds = format!("{:.0}", started.elapsed().as_secs_f32());
    let summary = if left.is_empty() {
        message!("lab-summary", good = good, all = all, seconds = seconds)
    } else {
        message!("lab-summary-left", good = good, all = all, seconds = seconds)
    };
    if args.json {
        print_json(&Report { ok, rows: teller.rows() })?;
    } else {
        if left.is_empty() {
            teller.begin(&message!("lab-taken-away"));
            if args.has_vlan() {
                teller.say(&message!("lab-taken-away-vlan"));
            }
        }
        teller.sum_up(ok, &summary);
        if ok {
            teller.say(&next::steps(std::env::args_os().next()));
        }
    }
    if !left.is_empty() {
        return Err(Failure::NotAsExpected(message!("lab-left", what = left.join(", "))));
    }
    if !ok {
        return Err(Failure::NotAsExpected(message!("lab-not-every-row")));
    }
    Ok(())
}

/// Plays the scenes that are to be shown. The first two build what all others need, and are built in any case.
fn play(args: &LabArgs, lab: &Lab, teller: &mut Teller) -> Result<(), Failure> {
    teller.hush(!args.shows(Scene::Host));
    scenes::host(lab, teller)?;
    teller.hush(!args.shows(Scene::Lan));
    scenes::lan(lab, teller)?;
    teller.hush(false);
    if let (Some(vlan), true) = (&lab.vlan, args.shows(Scene::Vlan)) {
        vlan.play(lab, teller)?;
    }
    if args.shows(Scene::Theft) {
        scenes::theft(lab, teller)?;
    }
    if args.shows(Scene::Cable) {
        scenes::cable(lab, teller)?;
    }
    Ok(())
}

/// A host of containers.
struct Nas {
    machine: Machine,
    daemon: Daemon,
    networks: Vec<Network>,
}

/// A network of a host, with the containers to attach to it.
struct Network {
    name: &'static str,
    /// The options for `ashore network create`.
    options: String,
    containers: Vec<Machine>,
}

struct Lab {
    laptop: Machine,
    router: Machine,
    tv: Machine,
    /// A container of nas1's without Ashore.
    plain: Machine,
    nas: [Nas; 2],
    vlan: Option<Vlan>,
    /// Owns the switch.
    world: World,
}

impl Lab {
    fn build(directory: &Path, with_vlan: bool) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?;
        let world = World::new(Some("/run/netns".into()))?;
        let router = world.machine("router", 1)?;
        let laptop = world.machine("laptop", 50)?;
        let tv = world.machine("tv", 66)?;
        let plain = world.container("plain")?;
        let nas = |name: &str, last: u8, range: &str, containers: &[&str]| -> anyhow::Result<Nas> {
            let machine = world.machine(name, last)?;
            let daemon = Daemon::start(&program, &machine, &directory.join(name))?;
            let options =
                format!("--parent eth0 --subnet 192.168.88.0/24 --ip-range {range} --gateway 192.168.88.1");
            let lan = Network::new(&world, "lan", options, containers)?;
            Ok(Nas { machine, daemon, networks: vec![lan] })
        };
        let mut nas = [
            nas("nas1", 9, "192.168.88.192/28", &["web", "media", "db"])?,
            nas("nas2", 10, "192.168.88.208/28", &["backup"])?,
        ];
        let vlan = with_vlan.then(|| Vlan::build(&world, &router, &mut nas[0])).transpose()?;
        Ok(Lab { laptop, router, tv, plain, nas, vlan, world })
    }

    /// Creates a network by the command that a user would type.
    fn create(nas: &Nas, network: &Network, teller: &Teller) -> Result<(), Failure> {
        Self::typed(nas, &format!("network create {} {}", network.name, network.options), teller)
    }

    /// Attaches a container by the command that a user would type.
    fn attach(nas: &Nas, network: &Network, container: &Machine, teller: &Teller) -> Result<(), Failure> {
        Self::typed(nas, &format!("attach {} --netns /run/netns/{}", network.name, container.name()), teller)
    }

    fn typed(nas: &Nas, command: &str, teller: &Teller) -> Result<(), Failure> {
        let answer = nas.run(command)?;
        teller.typed(&nas.machine, &format!("ashore {command}"));
        teller.say(answer.trim_end());
        Ok(())
    }

    /// All networks, each with its host.
    fn networks(&self) -> impl Iterator<Item = (&Nas, &Network)> {
        self.nas.iter().flat_map(|nas| nas.networks.iter().map(move |network| (nas, network)))
    }

    /// All machines and containers.
    fn machines(&self) -> impl Iterator<Item = &Machine> {
        let hosts = self.nas.iter().flat_map(|nas| std::iter::once(&nas.machine).chain(nas.containers()));
        [&self.laptop, &self.router, &self.tv, &self.plain]
            .into_iter()
            .chain(hosts)
            .chain(self.vlan.iter().map(Vlan::camera))
    }

    fn machine(&self, name: &str) -> Result<&Machine, Failure> {
        let found = self.machines().find(|machine| machine.name() == name);
        found.ok_or_else(|| anyhow::anyhow!("there is no `{name}`").into())
    }

    fn address(&self, name: &str) -> Result<IpAddr, Failure> {
        for nas in &self.nas {
            let status: serde_json::Value =
                serde_json::from_str(&nas.run("status --json")?).context("the status")?;
            let mut endpoints = status["endpoints"].as_array().into_iter().flatten();
            if let Some(endpoint) = endpoints.find(|endpoint| endpoint["name"] == name) {
                let net = endpoint["addresses"][0].as_str().unwrap_or_default();
                let net: ipnet::IpNet = net.parse().with_context(|| format!("the address of {name}"))?;
                return Ok(net.addr());
            }
        }
        Err(anyhow::anyhow!("{name} has no address").into())
    }

    /// Lets the user explore the lab.
    fn keep(&self) -> Result<(), Failure> {
        let names: Vec<&str> = self.machines().map(Machine::name).collect();
        say!("\n{}", message!("lab-keep"));
        say!("{}.", names.join(", "));
        let nas = &self.nas[0];
        say!("{}", message!("lab-keep-status"));
        loop {
            print!("{}> ", message!("lab-keep-prompt"));
            std::io::stdout().flush().context("the terminal")?;
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line).context("the terminal")? == 0
                || line.trim().is_empty()
            {
                return Ok(());
            }
            let Some(machine) = self.machines().find(|machine| machine.name() == line.trim()) else {
                say!("{}", message!("lab-keep-no-machine", name = line.trim()));
                continue;
            };
            let owner = self.nas.iter().find(|nas| nas.machine.name() == machine.name()).unwrap_or(nas);
            // A shell below /run, as on NixOS, is not visible here.
            let shell = std::env::var("SHELL").ok().filter(|shell| Path::new(shell).exists());
            let shell = shell.unwrap_or_else(|| "/bin/sh".into());
            let mut command = machine.command(shell).context("a shell")?;
            command.env("ASHORE_SOCKET", owner.daemon.socket()).env("PS1", format!("{}$ ", machine.name()));
            // bash's own start file sets PS1 anew, and this then sets it back.
            command.env("PROMPT_COMMAND", format!("PS1='{}$ '", machine.name()));
            command.env("PATH", path_with_this_program()?);
            if std::io::stdin().is_terminal() {
                command.arg("-i");
            }
            command.status().context("a shell")?;
        }
    }

    /// Detaches all containers and removes the networks. Returns what is left of Ashore's objects.
    fn take_away(&self) -> Result<Vec<String>, Failure> {
        for (nas, network) in self.networks() {
            for container in &network.containers {
                nas.run(&format!("detach {} {}", network.name, container.name()))?;
            }
            nas.run(&format!("network rm {}", network.name))?;
        }
        let mut left = Vec::new();
        for machine in self.nas.iter().flat_map(|nas| nas.containers().chain([&nas.machine])) {
            let view = machine.kernel().observe(&[]).map_err(anyhow::Error::from)?.host;
            // No machine here has a VLAN interface of its own.
            let ours = |link: &&Link| link.tag().is_some() || matches!(link.kind, ObservedKind::Vlan { .. });
            let links = view.links.iter().filter(ours).map(|link| link.name.to_string());
            let routes =
                view.routes.iter().filter(|route| route.protocol == ashore_core::net::step::ROUTE_PROTOCOL);
            let found = links.chain(routes.map(|route| route.route.to_string()));
            left.extend(found.map(|what| message!("lab-left-on", what = what, machine = machine.name())));
        }
        Ok(left)
    }
}

impl Network {
    fn new(
        world: &World,
        name: &'static str,
        options: String,
        containers: &[&str],
    ) -> Result<Self, WorldError> {
        let containers = containers.iter().map(|name| world.container(name)).collect::<Result<_, _>>()?;
        Ok(Network { name, options, containers })
    }
}

impl Nas {
    fn containers(&self) -> impl Iterator<Item = &Machine> {
        self.networks.iter().flat_map(|network| &network.containers)
    }

    fn run(&self, command: &str) -> Result<String, Failure> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let ran = self.daemon.run(&words).context("a client")?;
        if ran.code == Some(0) {
            Ok(ran.stdout)
        } else {
            Err(anyhow::anyhow!("`ashore {command}` on {}: {}", self.machine.name(), ran.stderr.trim())
                .into())
        }
    }
}

/// The search path with this program's directory first, because `cargo run` does not add it.
fn path_with_this_program() -> anyhow::Result<std::ffi::OsString> {
    let program = std::env::current_exe().context("this program's own path")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = program.parent().map(PathBuf::from).into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(directories).context("the search path")
}
