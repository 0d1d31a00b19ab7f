//! Ten containers with leases that start at once after the host has booted.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ashore_lab::{Beside, Daemon, Engines, Machine, Podman, Ran, World, WorldError};

use super::super::dhcp::{Running, dnsmasq, peers};
use super::super::{Bench, machine, median, print_calls};
use super::{SUITE, inside, nothing};

/// How many containers start at once.
const CONTAINERS: usize = 10;
/// How long the host may take to be off.
const PATIENCE: Duration = Duration::from_secs(20);

/// The network of Ashore's.
const OURS: &str = "lan";
/// Each with the options of its network, which is called after it.
const CONTENDERS: [(&str, &str, &[&str]); 3] = [
    (
        "netavark's macvlan and dhcp-proxy",
        "plain",
        &["macvlan", "-o", "parent=eth0", "--ipam-driver", "dhcp"],
    ),
    ("a plugin that does nothing", "idle", &["nothing", "--ipam-driver", "none"]),
    ("Ashore", OURS, &["ashore", "--ipam-driver", "dhcp"]),
];

/// The LAN, and what lasts of the NAS.
struct Ground<'a> {
    engines: &'a Engines,
    program: PathBuf,
    plug: &'a Path,
    directory: PathBuf,
    world: World,
    laptop: Machine,
    _server: Running,
    _router: Machine,
}

/// The daemon, and netavark's own.
struct Services {
    daemon: Daemon,
    _proxy: Running,
}

/// The NAS while it is on.
struct Nas {
    podman: Podman,
    machine: Machine,
    /// The file with the id of the boot.
    boot: PathBuf,
}

pub(super) fn run(bench: &Bench, plug: &Path, engines: &Engines, boots: usize) -> anyhow::Result<()> {
    let (world, directory) = (World::new(None)?, bench.fresh("podman-boot"));
    let (router, laptop) = (world.machine("router", 1)?, world.machine("laptop", 50)?);
    std::fs::create_dir_all(&directory)?;
    let pool = "192.168.88.100,192.168.88.249,255.255.255.0,1h";
    let server = dnsmasq(engines, &router, &directory, pool, "192.168.88.1")?;
    let program = inside(&bench.program, &directory)?;
    let ground =
        Ground { engines, program, plug, directory, world, laptop, _server: server, _router: router };
    let before = ground.first_start()?;
    let mut times: [Vec<Duration>; CONTENDERS.len()] = Default::default();
    let mut log = String::new();
    for _ in 0..boots {
        for ((shown, network, _), times) in CONTENDERS.iter().zip(&mut times) {
            let nas = ground.boot(|machine| Podman::at_rest(engines, SUITE, machine, &ground.directory))?;
            let begun = Instant::now();
            let services = ground.services(&nas)?;
            let logged = services.daemon.log().len();
            at_once(&nas, network)?;
            times.push(begun.elapsed());
            if *network == OURS {
                log.push_str(services.daemon.log().get(logged..).unwrap_or_default());
                let now = ground.addresses(&nas)?;
                ensure!(now == before, "{shown}: {now:?} instead of {before:?}");
            }
        }
    }
    println!(
        "\n{CONTAINERS} `podman start` at once after a boot, with the start of the daemon; dnsmasq, {SUITE};"
    );
    println!("median of {boots}, interleaved, on {}:\n", machine());
    println!("| | until the last one runs | over doing nothing |");
    println!("|---|---|---|");
    let medians = times.map(median);
    for ((shown, ..), took) in CONTENDERS.iter().zip(medians) {
        println!("| {shown} | {took:.0} ms | {:+.0} ms |", took - medians[1]);
    }
    println!("| aim | 3000 ms | |");
    print_calls(&log);
    Ok(())
}

impl Ground<'_> {
    /// The NAS with its power on. That of an earlier one is cut before.
    fn boot(&self, podman: impl Fn(&Machine) -> Result<Podman, WorldError>) -> anyhow::Result<Nas> {
        let end = Instant::now() + PATIENCE;
        // The kernel destroys a namespace, and its NIC with it, when nothing uses it any more.
        let machine = loop {
            match self.world.machine("nas", 9) {
                Ok(machine) => break machine,
                Err(error) if Instant::now() > end => return Err(error).context("the NAS stays on"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let (podman, boot) = (podman(&machine)?, self.directory.join("boot_id"));
        let earlier = std::fs::read_to_string(&boot).unwrap_or_default();
        let number = u32::from_str_radix(earlier.get(..8).unwrap_or("0"), 16)? + 1;
        std::fs::write(&boot, format!("{number:08x}-0000-4000-8000-000000000000\n"))?;
        Ok(Nas { podman, machine, boot })
    }

    /// What else starts with the NAS, for whichever network.
    fn services(&self, nas: &Nas) -> anyhow::Result<Services> {
        let mut proxy = nas.podman.command("/usr/lib/podman/netavark");
        proxy.args(["dhcp-proxy", "--activity-timeout", "0"]).stdin(Stdio::null());
        std::fs::create_dir_all(nas.podman.at("/run/podman"))?;
        let log = std::fs::File::create(self.directory.join("proxy.log"))?;
        let proxy = Running(proxy.stdout(Stdio::null()).stderr(log).spawn()?);
        let beside = Beside::TimedPodman(&nas.podman, Some(&nas.boot));
        let daemon = Daemon::start_beside(&self.program, &nas.machine, &self.directory, beside)?;
        peers::wait_for(&nas.podman.at("/run/podman/nv-proxy.sock"))?;
        Ok(Services { daemon, _proxy: proxy })
    }

    /// Creates the networks and the containers, and starts these for the first time. Returns the addresses of Ashore's.
    fn first_start(&self) -> anyhow::Result<Vec<String>> {
        let nas = self.boot(|machine| Podman::start(self.engines, SUITE, machine, &self.directory))?;
        nas.podman.install_plugin("ashore", self.plug)?;
        nas.podman.install_plugin("nothing", &nothing(self.engines, &self.directory)?)?;
        let _services = self.services(&nas)?;
        for (_, network, options) in CONTENDERS {
            nas.run(&[&["network", "create", "-d"], options, &[network]].concat())?;
            for name in names(network) {
                nas.run(&["create", "--name", &name, "--network", network, "box", "sleep", "99999"])?;
            }
            at_once(&nas, network)?;
        }
        self.addresses(&nas)
    }

    /// The addresses of Ashore's containers, all of which answer the LAN.
    fn addresses(&self, nas: &Nas) -> anyhow::Result<Vec<String>> {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let mut all = Vec::new();
        for name in names(OURS) {
            let address = nas.run(&["inspect", "--format", format, &name])?.trim().to_owned();
            let answers = self.laptop.ping(address.parse().with_context(|| format!("{name}: {address}"))?);
            answers.with_context(|| format!("{name}: {address} does not answer"))?;
            all.push(address);
        }
        Ok(all)
    }
}

impl Nas {
    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let ran = self.podman.run(arguments)?;
        ensure!(ran.code == Some(0), "podman {}: {}", arguments.join(" "), ran.stderr);
        Ok(ran.stdout)
    }
}

fn names(network: &str) -> impl Iterator<Item = String> {
    (0..CONTAINERS).map(move |number| format!("{network}{number}"))
}

/// Starts all containers of a network, as units of the init system do: each by a process of its own.
fn at_once(nas: &Nas, network: &str) -> anyhow::Result<()> {
    let begin = |name: String| nas.podman.begin(&["start", &name]);
    let all = names(network).map(begin).collect::<Result<Vec<_>, _>>()?;
    for child in all {
        let ran = Ran::of_output(child.wait_with_output()?);
        ensure!(ran.code == Some(0), "podman start, on {network}: {}", ran.stderr);
    }
    Ok(())
}
