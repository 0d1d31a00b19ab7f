//! `cargo xtask bench dhcp`: how long containers wait for an address from the LAN's DHCP server, and what
//! idle leases cost.

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ashore_lab::{Daemon, Engines, Machine, World};

use super::{Bench, machine, median};

pub(super) mod peers;

/// How many containers start at once.
const COUNTS: [usize; 3] = [1, 10, 50];
/// The DHCP range. It is so large that the leases of earlier rounds do not exhaust it.
const POOL: &str = "10.77.1.0,10.77.99.255,255.255.0.0,1h";
/// How long the DHCP server may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// One way to get an address. It provides commands, because many of them run at once.
trait Contender {
    fn name(&self) -> String;
    /// The PID of the process that keeps the leases.
    fn keeper(&self) -> u32;
    fn attach(&self, container: &Machine) -> anyhow::Result<Call>;
    fn detach(&self, container: &Machine) -> anyhow::Result<Call>;
    /// Forgets a container and releases its lease. Returns `None` for a contender that does not remember
    /// containers.
    fn forget(&self, _: &Machine) -> Option<Call> {
        None
    }
}

/// A command and its standard input.
struct Call {
    command: Command,
    input: String,
}

/// `ashore attach`, from its start to its end.
struct Ashore<'a> {
    daemon: &'a Daemon,
    network: &'static str,
    conflict: &'static str,
}

impl Contender for Ashore<'_> {
    fn name(&self) -> String {
        format!("Ashore, conflict {}", self.conflict)
    }

    fn keeper(&self) -> u32 {
        self.daemon.pid()
    }

    fn attach(&self, container: &Machine) -> anyhow::Result<Call> {
        let netns = container.namespace().path().display().to_string();
        Ok(self.call(&["attach", self.network, "--netns", &netns, "--name", container.name()]))
    }

    fn detach(&self, container: &Machine) -> anyhow::Result<Call> {
        Ok(self.call(&["detach", self.network, container.name()]))
    }

    fn forget(&self, container: &Machine) -> Option<Call> {
        Some(self.call(&["forget", "--network", self.network, container.name()]))
    }
}

impl Ashore<'_> {
    fn call(&self, words: &[&str]) -> Call {
        let mut command = self.daemon.client();
        command.args(words);
        Call { command, input: String::new() }
    }
}

/// A home LAN in 10.77.0.0/16, beside the lab's own subnet, which is too small for all rounds.
struct Ground {
    world: World,
    laptop: Machine,
    nas: Machine,
    /// The router's DHCP server, which ends with this value.
    _server: Running,
    _router: Machine,
}

impl Ground {
    fn new(engines: &Engines, directory: &Path) -> anyhow::Result<Self> {
        let world = World::new(None)?;
        let (router, laptop) = (world.machine("router", 1)?, world.machine("laptop", 50)?);
        let nas = world.machine("nas", 9)?;
        for (machine, last) in [(&router, 1), (&laptop, 50), (&nas, 9)] {
            machine.add_address("eth0", format!("10.77.0.{last}/16").parse()?)?;
        }
        std::fs::create_dir_all(directory)?;
        let server = dnsmasq(engines, &router, directory, POOL, "10.77.0.1")?;
        Ok(Ground { world, laptop, nas, _server: server, _router: router })
    }
}

/// A process that is killed when this value is dropped.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A router's DHCP server. It does not ping an address before it offers it, because that takes three
/// seconds for every client.
pub(super) fn dnsmasq(
    engines: &Engines,
    router: &Machine,
    directory: &Path,
    pool: &str,
    gateway: &str,
) -> anyhow::Result<Running> {
    let mut command = router.command(engines.path("usr/sbin/dnsmasq"))?;
    engines.equip(&mut command).args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0"]);
    command.args(["--user=root", "--group=root", "--dhcp-authoritative", "--no-ping", "--interface=eth0"]);
    command.args(["--bind-interfaces", "--dhcp-lease-max=20000", "--no-resolv", "--no-hosts"]);
    command.arg(format!("--dhcp-range={pool}")).arg(format!("--dhcp-option=option:router,{gateway}"));
    let log = directory.join("dnsmasq.log");
    command.arg(format!("--log-facility={}", log.display()));
    command.arg(format!("--pid-file={}", directory.join("dnsmasq.pid").display()));
    command.arg(format!("--dhcp-leasefile={}", directory.join("dnsmasq.leases").display()));
    let server = Running(command.stdin(Stdio::null()).spawn()?);
    let end = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&log).unwrap_or_default().contains("DHCP, IP range") {
        ensure!(Instant::now() < end, "dnsmasq does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}

pub(super) fn run(bench: &Bench, rounds: usize, leases: u32) -> anyhow::Result<()> {
    let engines = Engines::find().map_err(anyhow::Error::msg)?;
    let directory = bench.fresh("dhcp");
    let ground = Ground::new(&engines, &directory)?;
    let daemon = Daemon::start(&bench.program, &ground.nas, &directory)?;
    for (network, conflict) in [("lan", "quick"), ("unchecked", "off")] {
        let create = ["network", "create", network, "--parent", "eth0", "--subnet", "10.77.0.0/16"];
        let options = ["--gateway", "10.77.0.1", "--dhcp", "--conflict", conflict];
        daemon.run(&[&create[..], &options].concat())?.expect_success();
    }
    let cni = peers::Cni::start(&engines, &ground.nas, &directory)?;
    let netavark = peers::Netavark::start(&engines.tree("trixie"), &ground.nas)?;
    let contenders: [&dyn Contender; 4] = [
        &Ashore { daemon: &daemon, network: "lan", conflict: "quick" },
        &Ashore { daemon: &daemon, network: "unchecked", conflict: "off" },
        &cni,
        &netavark,
    ];
    if rounds > 0 {
        times(&ground, &contenders, rounds)?;
    }
    // The peers keep only a tenth: their attaches take longer, and the cost per lease does not depend on the
    // number.
    costs(&ground, &[(contenders[0], leases), (contenders[2], leases / 10), (contenders[3], leases / 10)])
}

/// The median times until all containers of a row have their addresses.
fn times(ground: &Ground, contenders: &[&dyn Contender], rounds: usize) -> anyhow::Result<()> {
    println!("\nMedian of {rounds}, interleaved, all containers of a row at once, on {}:\n", machine());
    println!("| | {} | of CNI |", COUNTS.map(|count| count.to_string()).join(" | of CNI | "));
    println!("|---|{}", "---|".repeat(COUNTS.len() * 2));
    let mut taken = vec![[const { (Vec::new(), Vec::new()) }; COUNTS.len()]; contenders.len()];
    for round in 0..rounds {
        for (which, count) in COUNTS.into_iter().enumerate() {
            for (contender, taken) in contenders.iter().zip(&mut taken) {
                let (fresh, known) = &mut taken[which];
                // Every name is new, because the server assigns a returning name its earlier address, which
                // was probed a moment ago.
                let named = |n: usize| ground.world.container(&format!("c{round}-{count}-{n}"));
                let containers: Vec<Machine> = (0..count).map(named).collect::<Result<_, _>>()?;
                fresh.push(at_once(&containers, |container| contender.attach(container))?);
                if round == 0 {
                    check(&ground.laptop, &containers, &contender.name())?;
                }
                at_once(&containers, |container| contender.detach(container))?;
                if let Some(forget) = containers.iter().map(|container| contender.forget(container)).collect()
                {
                    known.push(at_once(&containers, |container| contender.attach(container))?);
                    at_once(&containers, |container| contender.detach(container))?;
                    run_all(forget)?;
                }
            }
        }
    }
    let shown: Vec<(String, Vec<f64>)> = contenders
        .iter()
        .zip(taken)
        .flat_map(|(contender, taken)| {
            let (fresh, known): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
            let row = |times: Vec<Vec<Duration>>| times.into_iter().map(median).collect();
            let fresh = (format!("{}, fresh", contender.name()), row(fresh));
            let comes_back = known.iter().all(|times: &Vec<_>| !times.is_empty());
            let known = comes_back.then(|| (format!("{}, known", contender.name()), row(known)));
            std::iter::once(fresh).chain(known)
        })
        .collect();
    let cni = shown.iter().find(|(name, _)| name.starts_with("CNI")).context("CNI is among them")?.1.clone();
    for (name, times) in &shown {
        let cells = times.iter().zip(&cni).map(|(time, cni)| format!("{time:.0} ms | {:.2}", time / cni));
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}

/// Runs the call for all containers at once. Returns the time until all calls have ended.
fn at_once(
    containers: &[Machine],
    call: impl Fn(&Machine) -> anyhow::Result<Call>,
) -> anyhow::Result<Duration> {
    let calls = containers.iter().map(call).collect::<anyhow::Result<Vec<_>>>()?;
    let begun = Instant::now();
    run_all(calls)?;
    Ok(begun.elapsed())
}

fn run_all(calls: Vec<Call>) -> anyhow::Result<()> {
    let mut running = Vec::new();
    for Call { mut command, input } in calls {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().expect("stdin is piped").write_all(input.as_bytes())?;
        running.push((command, child));
    }
    for (command, child) in running {
        let ended = child.wait_with_output()?;
        let said = [ended.stdout, ended.stderr].concat();
        ensure!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}

/// Checks that the containers are on the LAN. Otherwise a contender's time is not worth comparing.
fn check(laptop: &Machine, containers: &[Machine], name: &str) -> anyhow::Result<()> {
    for container in containers {
        let addresses = container.kernel().observe(&[])?.host.addresses;
        let leased = addresses.iter().map(|address| address.net.addr());
        let ip = leased.into_iter().find(|ip| matches!(ip, IpAddr::V4(ip) if ip.octets()[..2] == [10, 77]));
        let ip = ip.with_context(|| format!("{name} gave {} no address", container.name()))?;
        // Another contender's container may have had the address a moment ago, and netavark sends no
        // announcements. So the container pings first, and the laptop learns the new MAC from its ARP
        // request.
        let from = || container.ping(IpAddr::from([10, 77, 0, 50]));
        let answers = from().and_then(|_| laptop.ping(ip));
        answers.with_context(|| format!("{name}: {ip} of {} does not answer", container.name()))?;
    }
    Ok(())
}

/// What the leases cost the process that keeps them: memory, and processor time while nothing happens.
fn costs(ground: &Ground, contenders: &[(&dyn Contender, u32)]) -> anyhow::Result<()> {
    const AT_REST: Duration = Duration::from_secs(60);
    const AT_ONCE: usize = 10;
    println!("\nLeases of an hour, and a minute in which nothing happens:\n");
    println!("| | leases | memory before | grown by | for each lease | processor |");
    println!("|---|---|---|---|---|---|");
    for (contender, leases) in contenders.iter().copied() {
        let before = resident(contender.keeper())?;
        let named = |n: u32| ground.world.container(&format!("m{n}"));
        let containers: Vec<Machine> = (0..leases).map(named).collect::<Result<_, _>>()?;
        for some in containers.chunks(AT_ONCE) {
            at_once(some, |container| contender.attach(container))?;
        }
        // The latest leases are still being written and announced.
        std::thread::sleep(Duration::from_secs(10));
        let grown = resident(contender.keeper())?.saturating_sub(before);
        let worked = processor(contender.keeper())?;
        std::thread::sleep(AT_REST);
        let worked = processor(contender.keeper())?.saturating_sub(worked);
        println!(
            "| {} | {leases} | {:.1} MB | {:.1} MB | {:.1} kB | {} ms |",
            contender.name(),
            f64::from(before) / 1024.0,
            f64::from(grown) / 1024.0,
            f64::from(grown) / f64::from(leases),
            worked.as_millis()
        );
        for some in containers.chunks(AT_ONCE) {
            at_once(some, |container| contender.detach(container))?;
        }
    }
    Ok(())
}

/// The resident memory of a process, in kB.
fn resident(pid: u32) -> anyhow::Result<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The processor time of a process, with a resolution of 10 ms (`proc_pid_stat(5)`).
fn processor(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The fields after the program's name, which may contain spaces.
    let (_, rest) = stat.rsplit_once(") ").context("no name")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let (user, system): (u64, u64) = (fields[11].parse()?, fields[12].parse()?);
    Ok(Duration::from_millis((user + system) * 10))
}
