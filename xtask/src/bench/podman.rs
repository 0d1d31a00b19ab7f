//! `cargo xtask bench podman`: what Podman's users wait for, and how much of it is netavark's and Podman's own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ashore_lab::{Beside, Daemon, Engines, Machine, Podman, World};
use serde_json::{Value, json};

use super::contender::check;
use super::{Bench, feed, machine, median, print_calls};

mod boot;

/// The Debian release whose Podman is measured.
const SUITE: &str = "sid";
/// The pause between two operations. Ashore takes a link off a second after the teardown, and nobody else is to pay
/// for it.
const PAUSE: Duration = Duration::from_millis(1300);
/// What netavark says to a plugin about a container, as it was recorded.
const RECORDED: &str = include_str!("../../../crates/ashore/tests/netavark/setup_bare.json");

/// A network that a container is on.
#[derive(Debug, Clone, Copy)]
struct Contender {
    shown: &'static str,
    network: &'static str,
    /// The container's name. `None`: each is new, and has its own.
    name: Option<&'static str>,
}

/// The first one is what the others are compared with.
const CONTENDERS: [Contender; 4] = [
    Contender { shown: "netavark's macvlan", network: "plain", name: Some("plain") },
    Contender { shown: "a plugin that does nothing", network: "idle", name: Some("idle") },
    Contender { shown: "Ashore, a name that comes back", network: "lan", name: Some("web") },
    Contender { shown: "Ashore, a new name each time", network: "lan", name: None },
];

/// A NAS with Podman and the networks of all contenders.
struct Site {
    // They end before the machine on which they run.
    daemon: Daemon,
    podman: Podman,
    engines: Engines,
    nas: Machine,
    laptop: Machine,
    world: World,
    directory: PathBuf,
}

pub(super) fn run(bench: &Bench, plug: &Path, rounds: usize, boots: usize) -> anyhow::Result<()> {
    let engines = Engines::find().map_err(anyhow::Error::msg)?;
    if rounds > 0 {
        let site = Site::new(bench, plug, &engines)?;
        site.netavark_alone(rounds)?;
        site.with_daemon_inside(bench)?.whole_containers(rounds)?;
    }
    if boots > 0 {
        boot::run(bench, plug, &engines, boots)?;
    }
    Ok(())
}

impl Site {
    fn new(bench: &Bench, plug: &Path, engines: &Engines) -> anyhow::Result<Self> {
        let world = World::new(None)?;
        let (laptop, nas) = (world.machine("laptop", 50)?, world.machine("nas", 9)?);
        let directory = bench.fresh("podman");
        std::fs::create_dir_all(&directory)?;
        let podman = Podman::start(engines, SUITE, &nas, &directory)?;
        podman.install_plugin("ashore", plug)?;
        podman.install_plugin("nothing", &nothing(engines, &directory)?)?;
        let daemon =
            Daemon::start_beside(&bench.program, &nas, &directory, Beside::TimedPodman(&podman, None))?;
        let engines = engines.clone();
        let site = Site { daemon, podman, engines, nas, laptop, world, directory };
        let subnet = ["--subnet", "192.168.88.0/24", "--gateway", "192.168.88.1", "--ip-range"];
        let create = ["network", "create", "-d"];
        site.podman(&[&create[..], &["nothing", "--ipam-driver", "none", "idle"]].concat())?;
        let plain = [&subnet[..], &["192.168.88.10-192.168.88.40", "plain"]].concat();
        site.podman(&[&create[..], &["macvlan", "-o", "parent=eth0"], &plain].concat())?;
        site.podman(&[&create[..], &["ashore"], &subnet, &["192.168.88.64-192.168.88.250", "lan"]].concat())?;
        // A home server has a container all the time, and so a shim.
        site.podman(&["run", "-d", "--name", "resident", "--network", "lan", "box", "sleep", "99999"])?;
        Ok(site)
    }

    /// The same with the daemon in Podman's world, where it reaches a container by the path that Podman tells. Outside it
    /// would have to look for it among all processes.
    fn with_daemon_inside(self, bench: &Bench) -> anyhow::Result<Self> {
        let Site { daemon, podman, nas, directory, .. } = self;
        daemon.kill()?;
        let boot = Path::new("/proc/sys/kernel/random/boot_id");
        let program = inside(&bench.program, &directory)?;
        let daemon =
            Daemon::start_beside(&program, &nas, &directory, Beside::TimedPodman(&podman, Some(boot)))?;
        Ok(Site { daemon, podman, nas, directory, ..self })
    }

    fn podman(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let ran = self.podman.run(arguments)?;
        ensure!(ran.code == Some(0), "podman {}: {}", arguments.join(" "), ran.stderr);
        Ok(ran.stdout)
    }

    /// netavark on the NAS, by the loader of its own release, so that no time goes to entering Podman's world.
    fn netavark(&self, what: &str, container: &Machine) -> anyhow::Result<Command> {
        let (tree, arch) = (self.engines.tree(SUITE), std::env::consts::ARCH);
        let libraries = tree.join(format!("usr/lib/{arch}-linux-gnu"));
        let mut loaders = std::fs::read_dir(&libraries)?.flatten().map(|entry| entry.path());
        let is_loader = |path: &PathBuf| path.to_string_lossy().contains("/ld-linux-");
        let loader = loaders.find(is_loader).context("the tree has no loader")?;
        let mut command = self.nas.command(loader)?;
        command.arg("--library-path").arg(libraries).arg(tree.join("usr/lib/podman/netavark"));
        command.arg("--config").arg(self.directory.join("netavark"));
        command.arg("--plugin-directory").arg(self.podman.at("/usr/local/lib/netavark"));
        command.env("NETAVARK_FW", "none").env("ASHORE_PLUG_SOCKET", self.daemon.plug_socket());
        command.arg(what).arg(container.namespace().path());
        Ok(command)
    }

    /// What Podman says to netavark: what netavark was seen to pass on, of the network as Podman keeps it.
    fn said(&self, contender: &Contender, container: &str) -> anyhow::Result<Value> {
        let recorded: Value = serde_json::from_str(RECORDED)?;
        let network = self.podman.at(&format!("/etc/containers/networks/{}.json", contender.network));
        let network: Value = serde_json::from_str(&std::fs::read_to_string(network)?)?;
        let mut options = recorded["network_options"].clone();
        if contender.network == "plain" {
            // Podman chooses for netavark's own drivers.
            options["static_ips"] = json!(["192.168.88.20"]);
        }
        // Ids are long hexadecimal numbers.
        let mut id = String::new();
        for byte in container.bytes().cycle().take(32) {
            write!(id, "{byte:02x}")?;
        }
        Ok(json!({
            "container_id": id,
            "container_name": contender.name.unwrap_or(container),
            "networks": { contender.network: options },
            "network_info": { contender.network: network },
        }))
    }

    /// Setup and teardown by netavark, as Podman calls it. Its container's namespace ends after the teardown.
    fn netavark_alone(&self, rounds: usize) -> anyhow::Result<()> {
        let before = self.daemon.log().len();
        let mut times: [(Vec<Duration>, Vec<Duration>); CONTENDERS.len()] = Default::default();
        // The first round is to warm up, and to see that everybody does his work.
        for round in 0..=rounds {
            for (which, contender) in in_turn(round) {
                let container = self.world.container(&format!("c{round}-{which}"))?;
                let said = self.said(contender, container.name())?.to_string();
                let call = |what| {
                    let mut command = self.netavark(what, &container)?;
                    let begun = Instant::now();
                    feed(&mut command, &said)?;
                    anyhow::Ok(begun.elapsed())
                };
                std::thread::sleep(PAUSE);
                let setup = call("setup")?;
                if round == 0 && contender.network != "idle" {
                    check(&self.laptop, &container, contender.shown)?;
                }
                std::thread::sleep(PAUSE / 4);
                let teardown = call("teardown")?;
                if round > 0 {
                    times[which].0.push(setup);
                    times[which].1.push(teardown);
                }
            }
        }
        println!("\nnetavark of Debian {SUITE} alone; median of {rounds}, interleaved, on {}:\n", machine());
        println!("| | setup | over macvlan's | teardown | of macvlan's |");
        println!("|---|---|---|---|---|");
        let medians = times.map(|(setups, teardowns)| (median(setups), median(teardowns)));
        let (setup_of_plain, teardown_of_plain) = medians[0];
        for (contender, (setup, teardown)) in CONTENDERS.iter().zip(medians) {
            println!(
                "| {} | {setup:.2} ms | {:+.2} ms | {teardown:.2} ms | {:.2} |",
                contender.shown,
                setup - setup_of_plain,
                teardown / teardown_of_plain
            );
        }
        println!("| aim | | +3 ms | | 0.50 |");
        print_calls(self.daemon.log().get(before..).unwrap_or_default());
        Ok(())
    }

    /// `podman run --rm`, until the container is removed.
    fn whole_containers(&self, rounds: usize) -> anyhow::Result<()> {
        let before = self.daemon.log().len();
        let mut times: [Vec<Duration>; CONTENDERS.len()] = Default::default();
        for round in 0..=rounds {
            for (which, contender) in in_turn(round) {
                let named = contender.name.map(|name| ["--name", name]);
                let run = ["run", "--rm", "--network", contender.network];
                let run = [
                    &run[..],
                    named.as_ref().map_or(&[], |named| &named[..]),
                    &["box", "/bin/busybox", "true"],
                ]
                .concat();
                std::thread::sleep(PAUSE);
                let begun = Instant::now();
                self.podman(&run)?;
                let took = begun.elapsed();
                if round > 0 {
                    times[which].push(took);
                }
            }
        }
        println!("\n`podman run --rm … true` of Debian {SUITE}; median of {rounds}, interleaved:\n");
        println!("| | until it is removed | of macvlan's |");
        println!("|---|---|---|");
        let medians = times.map(median);
        for (contender, took) in CONTENDERS.iter().zip(medians) {
            println!("| {} | {took:.0} ms | {:.2} |", contender.shown, took / medians[0]);
        }
        println!("| aim | | 1.00 |");
        print_calls(self.daemon.log().get(before..).unwrap_or_default());
        Ok(())
    }
}

/// The contenders, each with its number, another one first in each round.
fn in_turn(round: usize) -> impl Iterator<Item = (usize, &'static Contender)> {
    CONTENDERS.iter().enumerate().cycle().skip(round % CONTENDERS.len()).take(CONTENDERS.len())
}

/// Copies a program to where it is in Podman's world too.
fn inside(program: &Path, directory: &Path) -> anyhow::Result<PathBuf> {
    let copy = directory.join("ashore");
    std::fs::copy(program, &copy).with_context(|| program.display().to_string())?;
    Ok(copy)
}

/// Writes the plugin that does nothing but read what it is told, as netavark insists on: a script, whose interpreter is
/// static and at the same path in Podman's world.
fn nothing(engines: &Engines, directory: &Path) -> anyhow::Result<PathBuf> {
    let (awk, script) = (directory.join("awk"), directory.join("nothing"));
    std::fs::copy(engines.path("usr/bin/busybox"), &awk)?;
    let text = "BEGIN { call = ARGV[1]; ARGC = 1 } call == \"create\" { print } END { if (call == \"setup\") print \"{}\" }";
    std::fs::write(&script, format!("#!{} -f\n{text}\n", awk.display()))?;
    Ok(script)
}
