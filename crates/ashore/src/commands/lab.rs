//! `ashore lab`: demonstrates a whole home LAN.

use std::io::{BufRead, IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::observed::{Link, ObservedKind};
use ashore_core::net::step::Step;
use ashore_kernel::{SandboxError, enter_sandbox};
use ashore_lab::{Daemon, Machine, World, WorldError};
use serde::Serialize;

use super::table;
use crate::cli::LabArgs;
use crate::client::{Failure, print_json};
use crate::out::say;

mod vlan;

use vlan::Vlan;

/// Who reaches whom.
#[derive(Debug, Serialize)]
struct Row {
    from: String,
    to: String,
    expected: bool,
    reached: bool,
    rtt_us: Option<u128>,
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    rows: Vec<Row>,
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
    if args.vlan {
        vlan::check_kernel()?;
    }
    let say = |text: &str| {
        if !args.json {
            say!("{text}");
        }
    };
    let started = Instant::now();
    let lab = Lab::build(Path::new(DIRECTORY), args.vlan).context("building the lab")?;
    say(
        "A home LAN in network namespaces of its own: a switch, a router (192.168.88.1), a laptop (.50), two NAS hosts",
    );
    say(
        "(nas1 .9, nas2 .10), and four containers that have no network yet. Nothing outside of it is touched.",
    );
    if args.vlan {
        say(vlan::INTRODUCTION);
    }
    say("");
    lab.attach(&say)?;

    let mut rows = Vec::new();
    let mut tell = |heading: &str, answers: Vec<Row>| {
        if !args.json {
            say!("\n{heading}\n");
            show(&answers);
        }
        rows.extend(answers);
    };
    tell("Who reaches whom:", lab.matrix()?);
    tell("For contrast, a macvlan made by hand on nas1, without Ashore:", lab.contrast()?);
    if let Some(vlan) = &lab.vlan {
        tell("VLAN 200, on the same cables:", vlan.matrix(&lab)?);
        tell("For contrast, while the router forwards nothing:", vlan.contrast(&lab)?);
    }
    if args.keep {
        lab.keep()?;
    }
    let left = lab.take_away()?;
    let as_expected = rows.iter().all(|row| row.reached == row.expected);
    let ok = as_expected && left.is_empty();
    if args.json {
        print_json(&Report { ok, rows })?;
    } else if left.is_empty() {
        say!("\nTaken away: not a link, route or address of Ashore's is left on nas1 and nas2.");
        if args.vlan {
            say!("eth0.200 on nas1 is gone as well: it was created and removed with the network.");
        }
        say!("All of it took {:.1} s.", started.elapsed().as_secs_f32());
    }
    match (left.as_slice(), as_expected) {
        ([], true) => Ok(()),
        ([], false) => Err(Failure::NotAsExpected("not every row is as expected".into())),
        (left, _) => Err(Failure::NotAsExpected(format!("left behind: {}", left.join(", ")))),
    }
}

fn show(rows: &[Row]) {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let time = row.rtt_us.map_or("no answer".into(), |us| format!("{us} µs"));
            let verdict = if row.reached == row.expected { "as expected" } else { "NOT AS EXPECTED" };
            vec![row.from.clone(), row.to.clone(), time, verdict.to_owned()]
        })
        .collect();
    table::print(&["FROM", "TO", "ROUND TRIP", ""], &cells);
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
        Ok(Lab { laptop, router, nas, vlan, world })
    }

    /// Creates the networks of both hosts and attaches all containers, by the commands that a user would
    /// type.
    fn attach(&self, say: &dyn Fn(&str)) -> Result<(), Failure> {
        for (nas, network) in self.networks() {
            let create = format!("network create {} {}", network.name, network.options);
            if nas.machine.name() == "nas1" {
                say(&format!("nas1$ ashore {create}"));
            }
            nas.run(&create)?;
        }
        let [first, _] = &self.nas;
        let attach = "attach lan --netns /run/netns/web";
        say(&format!("nas1$ ashore plan {attach}"));
        say(first.run(&format!("plan {attach}"))?.trim_end());
        for (nas, network) in self.networks() {
            for container in &network.containers {
                let command = format!("attach {} --netns /run/netns/{}", network.name, container.name());
                let answer = nas.run(&command)?;
                say(&format!("{}$ ashore {command}\n{}", nas.machine.name(), answer.trim_end()));
            }
        }
        Ok(())
    }

    /// All networks, each with its host.
    fn networks(&self) -> impl Iterator<Item = (&Nas, &Network)> {
        self.nas.iter().flat_map(|nas| nas.networks.iter().map(move |network| (nas, network)))
    }

    /// All machines and containers.
    fn machines(&self) -> impl Iterator<Item = &Machine> {
        let hosts = self.nas.iter().flat_map(|nas| std::iter::once(&nas.machine).chain(nas.containers()));
        [&self.laptop, &self.router].into_iter().chain(hosts).chain(self.vlan.iter().map(Vlan::camera))
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

    fn matrix(&self) -> Result<Vec<Row>, Failure> {
        let [nas1, _] = &self.nas;
        let (web, media, backup) = (self.machine("web")?, self.machine("media")?, self.machine("backup")?);
        let [at_web, at_media, at_backup] =
            [self.address("web")?, self.address("media")?, self.address("backup")?];
        Ok(vec![
            row(&self.laptop, "web", at_web, true),
            row(&self.laptop, "backup", at_backup, true),
            row(&self.router, "web", at_web, true),
            row(&nas1.machine, "web (its own container)", at_web, true),
            row(web, "nas1 (its own host)", HOST, true),
            row(web, "media (same host)", at_media, true),
            row(media, "backup (other host)", at_backup, true),
            row(backup, "web (other host)", at_web, true),
            row(web, "router", GATEWAY, true),
            row(web, "laptop", LAPTOP, true),
            row(&self.laptop, "nas1", HOST, true),
        ])
    }

    /// What a macvlan can do without Ashore, and what it cannot.
    fn contrast(&self) -> Result<Vec<Row>, Failure> {
        let [nas1, _] = &self.nas;
        let plain = self.world.container("plain").context("a container")?;
        let name = |text: &str| text.parse().expect("the lab's names are interface names");
        let kind = LinkType::Macvlan {
            parent: name("eth0"),
            mode: MacvlanMode::Bridge,
            bc_queue_len: None,
            bc_limit: None,
        };
        let place = Place::Netns(plain.namespace().identity());
        let link = LinkSpec { name: name("eth0"), kind, mac: None, mtu: None };
        nas1.machine.apply(&[Step::AddLink { place, link }]).context("a plain macvlan")?;
        let ip = IpAddr::from([192, 168, 88, 77]);
        plain
            .set_up("eth0", true)
            .and_then(|()| plain.add_address("eth0", ipnet::IpNet::new(ip, 24).expect("24 bits fit")))
            .context("a plain macvlan")?;
        Ok(vec![
            row(&self.laptop, "plain", ip, true),
            row(&nas1.machine, "plain (its own container)", ip, false),
            row(&plain, "nas1 (its own host)", HOST, false),
        ])
    }

    /// Lets the user explore the lab.
    fn keep(&self) -> Result<(), Failure> {
        let names: Vec<&str> = self.machines().map(Machine::name).collect();
        say!(
            "\nThe lab runs until you enter an empty line. Enter a machine's name for a shell in it: {}.",
            names.join(", ")
        );
        let nas = &self.nas[0];
        say!("On nas1, `ashore status` asks the daemon of that host.");
        loop {
            print!("machine> ");
            std::io::stdout().flush().context("the terminal")?;
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line).context("the terminal")? == 0
                || line.trim().is_empty()
            {
                return Ok(());
            }
            let Some(machine) = self.machines().find(|machine| machine.name() == line.trim()) else {
                say!("there is no `{}`", line.trim());
                continue;
            };
            let owner = self.nas.iter().find(|nas| nas.machine.name() == machine.name()).unwrap_or(nas);
            // A shell below /run, as on NixOS, is not visible here.
            let shell = std::env::var("SHELL").ok().filter(|shell| Path::new(shell).exists());
            let shell = shell.unwrap_or_else(|| "/bin/sh".into());
            let mut command = machine.command(shell).context("a shell")?;
            command.env("ASHORE_SOCKET", owner.daemon.socket()).env("PS1", format!("{}$ ", machine.name()));
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
            left.extend(found.map(|what| format!("{what} on {}", machine.name())));
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

fn row(from: &Machine, to: &str, ip: IpAddr, expected: bool) -> Row {
    let rtt = from.ping(ip);
    Row {
        from: from.name().to_owned(),
        to: format!("{to} {ip}"),
        expected,
        reached: rtt.is_some(),
        rtt_us: rtt.map(|rtt| rtt.as_micros()),
    }
}
