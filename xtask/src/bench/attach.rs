//! `cargo xtask bench attach`: how long it takes to attach and detach a container.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::lease::LeaseWishes;
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::rules::attach::AttachSpec;
use ashore_lab::{Daemon, Engines, Machine, World};

use super::contender::{Contender, Plugin, check, host_local};
use super::{Bench, feed, machine, median};

pub(super) fn run(bench: &Bench, rounds: usize) -> anyhow::Result<()> {
    let engines = Engines::find().map_err(anyhow::Error::msg)?;
    let world = World::new(None)?;
    let (laptop, nas) = (world.machine("laptop", 50)?, world.machine("nas", 9)?);
    let directory = bench.fresh("attach");
    let daemon = Daemon::start(&bench.program, &nas, &directory)?;
    for (network, range, conflict) in [("lan", "192", "quick"), ("unchecked", "160", "off")] {
        let range = format!("192.168.88.{range}/27");
        let create = ["network", "create", network, "--parent", "eth0", "--subnet", "192.168.88.0/24"];
        let options = ["--ip-range", &range, "--gateway", "192.168.88.1", "--conflict", conflict];
        daemon.run(&[&create[..], &options[..]].concat())?.expect_success();
    }
    // The first endpoint creates the shim. A home server has one all the time.
    let resident = world.container("resident")?;
    let mut first = Through { network: "lan", daemon: &daemon, name: "" };
    first.attach(&resident)?;
    // While a home server is idle, the next candidates are probed ahead.
    std::thread::sleep(Duration::from_secs(2));

    let mut contenders: Vec<Box<dyn Contender + '_>> = vec![
        Box::new(Batch { engines: &engines, nas: &nas }),
        Box::new(Through { network: "lan", daemon: &daemon, name: "daemon, conflict quick" }),
        Box::new(Through { network: "unchecked", daemon: &daemon, name: "daemon, conflict off" }),
        Box::new(Whole { daemon: &daemon }),
        Box::new(Plugin {
            name: "CNI macvlan + host-local",
            nas: &nas,
            path: engines.path("usr/lib/cni/macvlan"),
            socket: daemon.plug_socket(),
            id: Some("web"),
            config: host_local("1.0.0", &directory.join("cni")),
        }),
    ];
    let mut times: Vec<(Vec<Duration>, Vec<Duration>)> = vec![Default::default(); contenders.len()];
    for round in 0..rounds {
        for (contender, (attaches, detaches)) in contenders.iter_mut().zip(&mut times) {
            let container = world.container("web")?;
            let begun = Instant::now();
            contender.attach(&container)?;
            attaches.push(begun.elapsed());
            if round == 0 {
                check(&laptop, &container, contender.name())?;
            }
            let begun = Instant::now();
            contender.detach(&container)?;
            detaches.push(begun.elapsed());
        }
    }
    println!("\nMedian of {rounds}, interleaved, on {}:\n", machine());
    println!("| | attach | of `ip -batch` | of CNI | detach | of `ip -batch` | of CNI |");
    println!("|---|---|---|---|---|---|---|");
    let medians: Vec<(f64, f64)> =
        times.into_iter().map(|(one, other)| (median(one), median(other))).collect();
    let (batch, cni) = (medians[0], medians[medians.len() - 1]);
    for (contender, (attach, detach)) in contenders.iter().zip(&medians) {
        println!(
            "| {} | {attach:.2} ms | {:.2} | {:.2} | {detach:.2} ms | {:.2} | {:.2} |",
            contender.name(),
            attach / batch.0,
            attach / cni.0,
            detach / batch.1,
            detach / cni.1
        );
    }
    burst(&world, &daemon)
}

/// How many containers start in a burst.
const BURST: usize = 20;
/// How many of them start before the addresses of the others are probed ahead.
const FIRST: usize = 4;
/// How often a burst is measured.
const BURSTS: usize = 3;
/// After this time without an attach, no more addresses are probed ahead than at rest.
const REST: Duration = Duration::from_secs(62);

/// Measures new containers that are attached one after the other, with conflict detection.
fn burst(world: &World, daemon: &Daemon) -> anyhow::Result<()> {
    let (mut all, mut later) = (Vec::new(), Vec::new());
    for round in 0..BURSTS {
        let network = format!("burst{round}");
        let create = ["network", "create", &network, "--parent", "eth0", "--subnet", "192.168.88.0/24"];
        let options = ["--ip-range", "192.168.88.64/26", "--gateway", "192.168.88.1"];
        daemon.run(&[&create[..], &options[..]].concat())?.expect_success();
        let through = Through { network: &network, daemon, name: "" };
        let names = (0..=BURST).map(|number| format!("{network}-{number}"));
        let containers = names.map(|name| world.container(&name)).collect::<Result<Vec<_>, _>>()?;
        let put = |container: &Machine| through.put(container.name(), container.namespace().path());
        // The first one of a network waits for its address.
        put(&containers[0])?;
        std::thread::sleep(REST);
        let mut times = Vec::new();
        for container in &containers[1..] {
            let begun = Instant::now();
            put(container)?;
            times.push(begun.elapsed());
        }
        let mean = |times: &[Duration]| {
            let count = u32::try_from(times.len()).expect("a burst is short");
            times.iter().sum::<Duration>() / count
        };
        all.push(mean(&times));
        later.push(mean(&times[FIRST..]));
        for container in &containers {
            for command in [&["detach", &network, container.name()][..], &["forget", container.name()][..]] {
                daemon.run(command)?.expect_success();
            }
        }
        daemon.run(&["network", "rm", &network])?.expect_success();
    }
    println!("\n{BURST} in a row, quick, mean for each, median of {BURSTS}: {:.2} ms;", median(all));
    println!("of those after the first {FIRST}: {:.2} ms", median(later));
    Ok(())
}

/// Requests on the control socket, as a front end makes them.
pub(super) struct Through<'a> {
    pub(super) network: &'a str,
    pub(super) daemon: &'a Daemon,
    pub(super) name: &'static str,
}

impl Through<'_> {
    fn ask(&self, request: &Request) -> anyhow::Result<()> {
        let mut stream = UnixStream::connect(self.daemon.socket())?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        match serde_json::from_str(&answer)? {
            Reply::Refused(refusal) => bail!("{refusal}"),
            _ => Ok(()),
        }
    }
}

impl Through<'_> {
    /// Attaches a namespace under a name.
    pub(super) fn put(&self, name: &str, netns: &Path) -> anyhow::Result<()> {
        self.ask(&Request::Attach(AttachSpec {
            network: self.network.parse()?,
            name: name.parse()?,
            netns: netns.to_owned(),
            ips: Vec::new(),
            mac: None,
            ifname: "eth0".parse()?,
            default_route: true,
            own_routes: OwnRoutes::default(),
            unaddressed: false,
            only_requested: false,
            wishes: LeaseWishes::default(),
            caller: None,
        }))
    }
}

impl Contender for Through<'_> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn attach(&mut self, container: &Machine) -> anyhow::Result<()> {
        self.put(container.name(), container.namespace().path())
    }

    fn detach(&mut self, container: &Machine) -> anyhow::Result<()> {
        self.ask(&Request::Detach { network: self.network.parse()?, name: container.name().parse()? })
    }
}

/// `ashore attach`, from its start to its end.
struct Whole<'a> {
    daemon: &'a Daemon,
}

impl Contender for Whole<'_> {
    fn name(&self) -> &'static str {
        "`ashore attach`, whole process"
    }

    fn attach(&mut self, container: &Machine) -> anyhow::Result<()> {
        let netns = container.namespace().path().display().to_string();
        self.daemon.run(&["attach", "lan", "--netns", &netns, "--name", "whole"])?.expect_success();
        Ok(())
    }

    fn detach(&mut self, _: &Machine) -> anyhow::Result<()> {
        self.daemon.run(&["detach", "lan", "whole"])?.expect_success();
        Ok(())
    }
}

/// The same netlink work by iproute2: one process for the host's side, one for the container's.
pub(super) struct Batch<'a> {
    pub(super) engines: &'a Engines,
    pub(super) nas: &'a Machine,
}

impl Batch<'_> {
    fn ip(&self, machine: &Machine, lines: &str) -> anyhow::Result<()> {
        let mut command = machine.command(self.engines.path("sbin/ip"))?;
        command.args(["-batch", "-"]);
        feed(self.engines.equip(&mut command), lines)
    }
}

impl Contender for Batch<'_> {
    fn name(&self) -> &'static str {
        "`ip -batch`"
    }

    fn attach(&mut self, container: &Machine) -> anyhow::Result<()> {
        let netns = container.namespace().path().display();
        self.ip(
            self.nas,
            &format!(
                "link add link eth0 name eth0 netns {netns} address 02:00:00:00:00:77 type macvlan mode bridge\n\
                 route add 192.168.88.77/32 dev shim-eth0 src 192.168.88.9\n"
            ),
        )?;
        self.ip(
            container,
            "link set dev eth0 alias bench\naddr add 192.168.88.77/24 dev eth0 brd +\nlink set dev eth0 up\n\
             route add default via 192.168.88.1 dev eth0\n",
        )
    }

    fn detach(&mut self, container: &Machine) -> anyhow::Result<()> {
        self.ip(container, "link del dev eth0\n")?;
        self.ip(self.nas, "route del 192.168.88.77/32 dev shim-eth0\n")
    }
}
