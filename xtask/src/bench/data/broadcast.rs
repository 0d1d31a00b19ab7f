//! What broadcasts cost a host with many containers. Every child of a parent gets a copy of each. A macvlan's
//! parent puts them into a queue, which a thread of the kernel's empties; a bridge copies them at once.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::Context;
use ashore_core::net::observed::Link;
use ashore_kernel::{Namespace, PacketSocket};
use ashore_lab::{Daemon, Machine, World};
use ashore_wire::Mac;
use ashore_wire::arp::{Arp, Operation};
use ashore_wire::filter::Instruction;

use super::cutoff;
use super::processor::OfMachine;
use super::sites::{bridges_pass_no_firewall, on_bridge};
use super::table::{Spread, cell};
use super::traffic::{self, PORT};
use crate::bench::attach::Through;
use crate::bench::{Bench, machine};

/// How many ARP requests come in a second.
const RATE: u32 = 1000;
/// How many come back to back in a burst: twice what the kernel's default queue holds.
const BURST: u32 = 2000;
/// How long a burst may take to be delivered.
const SETTLED: Duration = Duration::from_millis(500);

/// How the containers are on the LAN.
struct Variant {
    name: &'static str,
    kind: &'static str,
    /// Options of the network.
    options: &'static [&'static str],
    /// Whether the parent has no broadcast queue.
    at_once: bool,
}

/// The kernel takes the longest queue that any child asks for. The shim asks for the default of 1000, so a
/// shorter one counts only without a shim.
const VARIANTS: [Variant; 5] = [
    Variant { name: "macvlan, the kernel's queue (1000)", kind: "macvlan", options: &[], at_once: false },
    Variant {
        name: "macvlan, `--bc-queue-len 10 --host-access no`",
        kind: "macvlan",
        options: &["--bc-queue-len", "10", "--host-access", "no"],
        at_once: false,
    },
    Variant {
        name: "macvlan, `--bc-queue-len 10000`",
        kind: "macvlan",
        options: &["--bc-queue-len", "10000"],
        at_once: false,
    },
    Variant { name: "macvlan, no queue (`bccutoff -1`)", kind: "macvlan", options: &[], at_once: true },
    Variant { name: "bridge", kind: "bridge", options: &[], at_once: false },
];

/// What one round of one contender shows.
struct Sample {
    /// The share of one processor that the broadcasts take, in percent.
    processor: f64,
    /// The round-trip times under broadcasts, of those without.
    p50: f64,
    p99: f64,
    /// Broadcasts that the host's NIC dropped, in percent.
    dropped: f64,
    /// The share of a burst that reached the last container, in percent.
    delivered: f64,
}

pub(super) fn run(bench: &Bench, lasting: Duration, rounds: u32, counts: &[u16]) -> anyhow::Result<()> {
    ashore_kernel::raise_descriptor_limit()?;
    println!(
        "\n{RATE} ARP requests a second. Median of {rounds}, {} s each, interleaved, on {}; half of the rounds are \
         within the parentheses. A burst is {BURST} requests back to back.\n",
        lasting.as_secs_f64(),
        machine()
    );
    println!(
        "| containers | | of one processor | more than the host alone, points | UDP p50, of that at rest | p99, of that \
         at rest | dropped | of a burst delivered |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for count in counts {
        let grounds = Ground::all(bench, usize::from(*count))?;
        let mut samples: Vec<Vec<Sample>> = grounds.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds as usize {
            let mut order: Vec<usize> = (0..grounds.len()).collect();
            order.rotate_left(round % grounds.len());
            for at in order {
                samples[at].push(grounds[at].sample(lasting).context(grounds[at].name)?);
            }
        }
        for (ground, own) in grounds.iter().zip(&samples) {
            let spread = |figure: fn(&Sample) -> f64| Spread::of(own.iter().map(figure).collect());
            let more = own.iter().zip(&samples[0]).map(|(own, alone)| own.processor - alone.processor);
            println!(
                "| {} | {} | {} % | {} | {} | {} | {} % | {} % |",
                ground.containers.len(),
                ground.name,
                cell(spread(|sample| sample.processor), 1),
                cell(Spread::of(more.collect()), 1),
                cell(spread(|sample| sample.p50), 2),
                cell(spread(|sample| sample.p99), 2),
                cell(spread(|sample| sample.dropped), 1),
                cell(spread(|sample| sample.delivered), 1),
            );
        }
    }
    Ok(())
}

/// The machine that sends the broadcasts.
struct Sender {
    socket: PacketSocket,
    mac: Mac,
}

impl Sender {
    fn on(machine: &Machine) -> anyhow::Result<Self> {
        let eth0 = nic(machine.namespace())?;
        // It receives nothing.
        let nothing = [Instruction { code: 0x06, jt: 0, jf: 0, k: 0 }];
        let socket = PacketSocket::open(machine.namespace(), eth0.index, &nothing)?;
        Ok(Sender { socket, mac: eth0.mac.context("the laptop's MAC")? })
    }

    /// Sends requests at the rate, and at the end those that are late. Returns their number.
    fn send_at_rate(&self, lasting: Duration) -> anyhow::Result<u32> {
        let (begun, total) = (Instant::now(), lasting.as_millis() as u32 * RATE / 1000);
        let mut sent = 0;
        for number in 0..total {
            let due = begun + Duration::from_secs(1) * number / RATE;
            sleep(due.saturating_duration_since(Instant::now()));
            sent += u32::from(self.send(number)?);
        }
        Ok(sent)
    }

    /// Asks for an address that nobody has. Returns whether the request was sent: a full queue takes none.
    fn send(&self, number: u32) -> anyhow::Result<bool> {
        let request = Arp {
            operation: Operation::Request,
            sender_mac: self.mac,
            sender_ip: Ipv4Addr::new(10, 66, 0, 50),
            target_mac: Mac::ZERO,
            target_ip: Ipv4Addr::new(10, 66, 200, (number % 250) as u8),
        };
        match self.socket.send(&request.broadcast_frame()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.raw_os_error() == Some(ashore_kernel::Errno::ENOBUFS as i32) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A LAN of its own for each contender, so that nobody else hears its broadcasts.
struct Ground {
    name: &'static str,
    /// The service that the laptop speaks to while broadcasts come: the first container, or the host.
    service: (Namespace, SocketAddr),
    /// Whoever hears a burst last: the last container, or the host.
    last: Namespace,
    sender: Sender,
    // Dropped in this order, so that the daemon ends before its machine does.
    _daemon: Option<Daemon>,
    containers: Vec<Namespace>,
    nas: Machine,
    laptop: Machine,
    _world: World,
}

impl Ground {
    /// The host alone, and all variants.
    fn all(bench: &Bench, count: usize) -> anyhow::Result<Vec<Ground>> {
        let directory = bench.fresh("broadcast");
        let mut grounds = vec![Ground::new(bench, &directory, None, 0)?];
        for (at, variant) in VARIANTS.iter().enumerate() {
            let directory = directory.join(at.to_string());
            let ground = Ground::new(bench, &directory, Some(variant), count).context(variant.name)?;
            grounds.push(ground);
        }
        Ok(grounds)
    }

    fn new(bench: &Bench, directory: &Path, variant: Option<&Variant>, count: usize) -> anyhow::Result<Self> {
        let world = World::new(None)?;
        bridges_pass_no_firewall(world.switch())?;
        let laptop = world.machine("laptop", 50)?;
        laptop.add_address("eth0", "10.66.0.50/16".parse()?)?;
        let is_bridge = variant.is_some_and(|variant| variant.kind == "bridge");
        let nas = if is_bridge {
            on_bridge(&world, "nas", "10.66.0.9/16")?
        } else {
            let nas = world.machine("nas", 9)?;
            nas.add_address("eth0", "10.66.0.9/16".parse()?)?;
            nas
        };
        let containers = (0..count).map(|_| Namespace::new()).collect::<io::Result<Vec<_>>>()?;
        let mut daemon = None;
        if let Some(variant) = variant {
            daemon = Some(attach_all(bench, &nas, directory, variant, &containers)?);
        }
        let first = containers.first().unwrap_or(nas.namespace());
        let ip = if containers.is_empty() { "10.66.0.9".parse()? } else { address_of(first)? };
        if let (Some(Variant { at_once: true, .. }), Some(first)) = (variant, containers.first()) {
            cutoff::set(first, nic(first)?.index, -1).context("IFLA_MACVLAN_BC_CUTOFF, of Linux 6.4")?;
        }
        Ok(Ground {
            name: variant.map_or("the host alone", |variant| variant.name),
            service: (first.clone(), SocketAddr::new(ip.into(), PORT)),
            last: containers.last().unwrap_or(nas.namespace()).clone(),
            sender: Sender::on(&laptop)?,
            _daemon: daemon,
            containers,
            nas,
            laptop,
            _world: world,
        })
    }

    fn sample(&self, lasting: Duration) -> anyhow::Result<Sample> {
        let path =
            traffic::Path { from: self.laptop.namespace(), to: self.service.1, service: &self.service.0 };
        let rest = path.udp_round_trips(lasting)?;
        let idle = busy(|| {
            sleep(lasting);
            Ok(())
        })?;
        let loaded = busy(|| self.sender.send_at_rate(lasting).map(drop))?;
        let before = Counters::of(self.nas.namespace())?;
        let requests = &self.sender;
        let (under, sent) = scope(|scope| {
            let sender = scope.spawn(|| requests.send_at_rate(lasting));
            let under = path.udp_round_trips(lasting);
            let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, anyhow::Error>((under?, sent?))
        })?;
        let dropped = Counters::of(self.nas.namespace())?.dropped.saturating_sub(before.dropped);
        Ok(Sample {
            processor: (loaded.as_secs_f64() - idle.as_secs_f64()) / lasting.as_secs_f64() * 1e2,
            p50: under.micros(50) / rest.micros(50),
            p99: under.micros(99) / rest.micros(99),
            dropped: f64::from(dropped) / f64::from(sent) * 1e2,
            delivered: self.burst()?,
        })
    }

    /// Sends a burst. Returns the share that arrives, in percent.
    fn burst(&self) -> anyhow::Result<f64> {
        let before = Counters::of(&self.last)?;
        let mut sent = 0;
        for number in 0..BURST {
            sent += u32::from(self.sender.send(number)?);
        }
        sleep(SETTLED);
        let received = Counters::of(&self.last)?.received.saturating_sub(before.received);
        Ok(f64::from(received) / f64::from(sent) * 1e2)
    }
}

/// Starts a daemon and attaches the containers.
fn attach_all(
    bench: &Bench,
    nas: &Machine,
    directory: &Path,
    variant: &Variant,
    containers: &[Namespace],
) -> anyhow::Result<Daemon> {
    let daemon = Daemon::start(&bench.program, nas, directory)?;
    let parent = if variant.kind == "bridge" { "br0" } else { "eth0" };
    let create = format!(
        "network create big --parent {parent} --kind {} --subnet 10.66.0.0/16 --ip-range 10.66.16.0/20 --gateway \
         10.66.0.1 --conflict off",
        variant.kind
    );
    let mut words: Vec<&str> = create.split(' ').collect();
    words.extend(variant.options);
    daemon.run(&words)?.expect_success();
    let through = Through { network: "big", daemon: &daemon, name: "" };
    for (number, container) in containers.iter().enumerate() {
        through.put(&format!("c{number}"), container.path())?;
    }
    Ok(daemon)
}

/// The time in which processors were busy while something happened.
fn busy(act: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let before = OfMachine::until_now()?;
    act()?;
    Ok(OfMachine::until_now()?.since(before).busy)
}

/// A namespace's `eth0`.
fn nic(namespace: &Namespace) -> anyhow::Result<Link> {
    let links = ashore_kernel::Kernel::of(namespace)?.observe(&[])?.host.links;
    links.into_iter().find(|link| link.name.as_str() == "eth0").context("eth0")
}

/// The IPv4 address of a namespace's `eth0`.
fn address_of(namespace: &Namespace) -> anyhow::Result<Ipv4Addr> {
    let addresses = ashore_kernel::Kernel::of(namespace)?.observe(&[])?.host.addresses;
    let mut ips = addresses.iter().filter_map(|address| match address.net.addr() {
        std::net::IpAddr::V4(ip) if !ip.is_loopback() => Some(ip),
        _ => None,
    });
    ips.next_back().context("the container has no address")
}

/// What the kernel counts for a namespace's `eth0`.
#[derive(Debug, PartialEq, Eq)]
struct Counters {
    received: u32,
    dropped: u32,
}

impl Counters {
    fn of(namespace: &Namespace) -> anyhow::Result<Self> {
        // `/proc/net` would be that of the process, which is not in the namespace.
        Self::parse(&namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??)
    }

    fn parse(dev: &str) -> anyhow::Result<Self> {
        let line = dev.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).context("eth0")?;
        let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        match numbers[..] {
            [_bytes, received, _errors, dropped, ..] => {
                Ok(Counters { received: received as u32, dropped: dropped as u32 })
            }
            _ => anyhow::bail!("/proc/net/dev has too few columns"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_those_of_the_nic() {
        let dev =
            "Inter-|   Receive\n face |bytes\n    lo: 1 2 3 4 5 6 7 8\n  eth0: 4200 100 1 7 0 0 0 9 0 0\n";
        assert_eq!(Counters::parse(dev).unwrap(), Counters { received: 100, dropped: 7 });
        assert!(Counters::parse("    lo: 1 2 3 4\n").is_err());
    }
}
