//! Two hosts on one LAN. For two minutes everything goes wrong at random: containers start, stop and die,
//! daemons are killed, cables are pulled, and a machine sends arbitrary claims. Then the faults stop, and
//! everything must match the state: no address twice, nothing missing, and in the end nothing left.
//!
//! The test prints its seed. To repeat a run: `ASHORE_CHAOS=SEED[,SECONDS] cargo xtask test chaos`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ashore_kernel::PacketSocket;
use ashore_lab::{Daemon, Machine, Ran, World};
use ashore_wire::conflict::{announcement, probe_frame};
use ashore_wire::{Mac, filter};
use home::{Home, PROGRAM, addresses, eventually, eventually_within, ip, mac_known_to};

const LASTS: Duration = Duration::from_secs(120);
/// More than the smaller range has addresses, so that some are refused.
const NAMES: u64 = 10;
/// The exit codes that a command may end with: success, not found, in use, the LAN cannot be probed, no
/// daemon answers.
const ENDS: [Option<i32>; 5] = [Some(0), Some(4), Some(5), Some(6), Some(8)];

/// Random numbers from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// A container, and the mount by which it is attached, as `ip netns` makes them. The number of a descriptor would
/// soon lead to the next container, while a command about this one is still on its way.
struct Container {
    machine: Machine,
    mount: PathBuf,
}

impl Container {
    fn new(world: &World, name: &str, mount: PathBuf) -> Container {
        let machine = world.container(name).unwrap();
        File::create_new(&mount).unwrap();
        let mounted =
            Command::new("mount").arg("--bind").arg(machine.namespace().path()).arg(&mount).status();
        assert!(mounted.unwrap().success());
        Container { machine, mount }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // If it fails, the mount ends with the test's namespace.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).status();
    }
}

/// A host with its containers.
struct Host {
    machine: Machine,
    daemon: Option<Daemon>,
    directory: tempfile::TempDir,
    /// The containers that live, attached or not.
    containers: BTreeMap<String, Container>,
    /// How many containers there have been.
    started: u32,
    /// The commands that are running.
    commands: Vec<Child>,
    range: &'static str,
}

impl Host {
    fn begin(machine: Machine, range: &'static str) -> Host {
        let directory = tempfile::tempdir().unwrap();
        let (daemon, containers, commands) = (None, BTreeMap::new(), Vec::new());
        let mut host = Host { machine, daemon, directory, containers, started: 0, commands, range };
        host.start();
        host.ok(&format!(
            "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range {range} --gateway 192.168.88.1"
        ));
        host
    }

    fn start(&mut self) {
        let daemon = Daemon::start(PROGRAM.as_ref(), &self.machine, self.directory.path());
        self.daemon = Some(daemon.unwrap());
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it is started anew at once")
    }

    fn ok(&self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        self.daemon().run(&words).unwrap().expect_success()
    }

    /// Starts a command, and does not wait for it.
    fn begin_command(&mut self, command: &str) {
        let mut client = self.daemon().client();
        client.args(command.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = client.spawn().unwrap();
        self.commands.push(child);
    }

    /// Waits for all commands. A refused command is fine; one that failed otherwise is a fault.
    fn end_commands(&mut self) {
        for command in self.commands.drain(..) {
            let ran = Ran::of_output(command.wait_with_output().unwrap());
            let cut_off = ran.code == Some(1) && ran.stderr.contains("the daemon went away");
            let died = ran.code == Some(3) && ran.stderr.contains("network namespace");
            assert!(cut_off || died || ENDS.contains(&ran.code), "{ran:?}");
        }
    }

    fn attach(&mut self, world: &World, name: &str) {
        let container = self.containers.entry(name.to_owned()).or_insert_with(|| {
            self.started += 1;
            Container::new(world, name, self.directory.path().join(format!("netns{}", self.started)))
        });
        let netns = container.mount.display().to_string();
        self.begin_command(&format!("attach lan --netns {netns} --name {name}"));
    }

    /// The endpoints by name, with address and MAC.
    fn endpoints(&self) -> BTreeMap<String, (IpAddr, String)> {
        let status: serde_json::Value = serde_json::from_str(&self.ok("status --json")).unwrap();
        let all = status["endpoints"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        all.map(|one| (text(&one["name"]), (addresses(one)[0], text(&one["mac"])))).collect()
    }

    /// The destinations of Ashore's routes.
    fn routes(&self) -> BTreeSet<String> {
        let routes = self.machine.kernel().observe(&[]).unwrap().host.routes;
        let ours = routes.into_iter().filter(|route| route.protocol == 65);
        ours.map(|route| route.route.to.addr().to_string()).collect()
    }

    fn any_of_range(&self, dice: &mut Dice) -> Ipv4Addr {
        let (first, last) = self.range.split_once('-').unwrap();
        let last_byte = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets()[3];
        let (first, last) = (last_byte(first), last_byte(last));
        let byte = u64::from(first) + dice.roll(u64::from(last - first) + 1);
        [192, 168, 88, u8::try_from(byte).unwrap()].into()
    }
}

/// A machine that sends arbitrary claims.
struct Mallory(PacketSocket);

impl Mallory {
    fn on(machine: &Machine) -> Mallory {
        let nic = machine.kernel().observe(&[]).unwrap().host.link(&"eth0".parse().unwrap()).unwrap().index;
        Mallory(PacketSocket::open(machine.namespace(), nic, &filter::arp_and_ndp()).unwrap())
    }

    fn say(&self, about: IpAddr, known: &[Mac], dice: &mut Dice) {
        let made_up = Mac([2, 0xbd, 0, 0, 0, u8::try_from(dice.roll(8)).unwrap()]);
        let mac = match known.get(usize::try_from(dice.roll(2 * known.len() as u64 + 1)).unwrap()) {
            Some(known) => *known,
            None => made_up,
        };
        let mut frame = if dice.roll(3) == 0 { probe_frame(mac, about) } else { announcement(mac, about) };
        if dice.roll(4) == 0 {
            let at = usize::try_from(dice.roll(frame.len() as u64)).unwrap();
            frame[at] = u8::try_from(dice.roll(256)).unwrap();
            frame.truncate(frame.len() - usize::try_from(dice.roll(8)).unwrap());
        }
        // The machine's own cable may be unplugged.
        let _ = self.0.send(&frame);
    }
}

/// The seed, and how long the run lasts.
fn chosen() -> (u64, Duration) {
    let given = std::env::var("ASHORE_CHAOS").unwrap_or_default();
    let (seed, seconds) = given.split_once(',').unwrap_or((&given, ""));
    (seed.parse().unwrap_or_else(|_| now()), seconds.parse().map_or(LASTS, Duration::from_secs))
}

/// A seed from the present time.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as u64
}

#[test]
fn after_two_minutes_of_everything_going_wrong_all_is_as_the_state_says() {
    let (seed, lasts) = chosen();
    println!("ASHORE_CHAOS={seed},{}", lasts.as_secs());
    let mut dice = Dice(seed);
    let mut home = Home::new();
    home.daemon = None;
    let Home { world, laptop, nas, .. } = &mut home;
    let other = world.machine("nas2", 10).unwrap();
    let mallory = Mallory::on(&world.machine("mallory", 66).unwrap());
    let nas = std::mem::replace(nas, world.container("nobody").unwrap());
    let mut hosts = [
        Host::begin(nas, "192.168.88.192-192.168.88.207"),
        Host::begin(other, "192.168.88.208-192.168.88.214"),
    ];

    let mut unplugged = [false; 2];
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        let at = usize::try_from(dice.roll(2)).unwrap();
        let name = format!("c{}", dice.roll(NAMES));
        let host = &mut hosts[at];
        match dice.roll(20) {
            0..7 => host.attach(world, &name),
            7..10 => host.begin_command(&format!("detach lan {name}")),
            // The container dies without a detach.
            10..12 => _ = host.containers.remove(&name),
            12 => {
                host.daemon.take().expect("it runs").kill().unwrap();
                host.end_commands();
                host.start();
            }
            13 => {
                unplugged[at] = !unplugged[at];
                world.set_cable(&host.machine, !unplugged[at]).unwrap();
            }
            14 => host.begin_command("status"),
            _ => {
                let macs: Vec<Mac> =
                    host.endpoints().values().filter_map(|(_, mac)| mac.parse().ok()).collect();
                for _ in 0..dice.roll(40) {
                    let about = host.any_of_range(&mut dice).into();
                    mallory.say(about, &macs, &mut dice);
                }
            }
        }
        if hosts[at].commands.len() > 4 {
            hosts[at].end_commands();
        }
        std::thread::sleep(Duration::from_millis(dice.roll(200)));
    }

    for host in &mut hosts {
        world.set_cable(&host.machine, true).unwrap();
        host.end_commands();
    }
    for host in &hosts {
        eventually_within(Duration::from_secs(150), "nothing is left to do", || {
            let is_there = |name: &String| host.containers.contains_key(name);
            host.ok("plan").contains("nothing to change") && host.endpoints().keys().all(is_there)
        });
    }
    let all: Vec<(IpAddr, String)> = hosts.iter().flat_map(|host| host.endpoints().into_values()).collect();
    println!("{} endpoints are left", all.len());
    let different: BTreeSet<&IpAddr> = all.iter().map(|(at, _)| at).collect();
    assert_eq!(different.len(), all.len(), "{all:?}");
    for (at, mac) in &all {
        eventually("the laptop reaches it", || laptop.ping(*at).is_some());
        eventually("at its own MAC", || laptop.ping(*at).is_some() && mac_known_to(laptop, *at) == *mac);
    }
    for host in &mut hosts {
        let there: BTreeSet<String> = host.endpoints().into_values().map(|(at, _)| at.to_string()).collect();
        assert_eq!(host.routes(), there);
        for name in host.containers.keys() {
            host.ok(&format!("detach lan {name}"));
        }
        host.ok("network rm lan");
        eventually("nothing is left", || {
            let links = host.machine.kernel().observe(&[]).unwrap().host.links;
            host.routes().is_empty() && links.iter().all(|link| ["lo", "eth0"].contains(&link.name.as_str()))
        });
        let inside = |machine: &Machine| machine.kernel().observe(&[]).unwrap().host.links.len();
        assert!(host.containers.values().all(|container| inside(&container.machine) == 1));
    }
    // Nothing answers for the released addresses.
    for (at, _) in &all {
        assert!(laptop.ping(*at).is_none(), "{at} answers");
    }
    assert!(laptop.ping(ip("192.168.88.1")).is_some());
}
