//! `cargo xtask bench cni`: what a CNI runtime waits for.

use std::path::Path;
use std::time::{Duration, Instant};

use ashore_lab::{Daemon, Engines, Machine, World};
use serde_json::{Value, json};

use super::contender::{Contender, Plugin, check, host_local};
use super::{Bench, feed, machine, median, print_calls};

/// The pause between two calls, so that none pays for the aftermath of another.
const PAUSE: Duration = Duration::from_millis(100);

/// The configuration of a network of Ashore's, which comes with its first container.
fn ashore(network: &str, range: &str, conflict: &str) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": network, "type": "ashore", "master": "eth0",
        "ashore": {
            "subnet": "192.168.88.0/24", "ip_range": range, "gateway": "192.168.88.1", "conflict": conflict,
        },
    })
}

/// A macvlan with an address, which iproute2 deletes. How it is made is not compared.
struct LinkDel<'a> {
    engines: &'a Engines,
    nas: &'a Machine,
}

impl LinkDel<'_> {
    fn ip(&self, machine: &Machine, words: &str) -> anyhow::Result<()> {
        let mut command = machine.command(self.engines.path("sbin/ip"))?;
        feed(self.engines.equip(&mut command).args(words.split(' ')), "")
    }
}

impl Contender for LinkDel<'_> {
    fn name(&self) -> &'static str {
        "`ip link del`"
    }

    fn attach(&mut self, container: &Machine) -> anyhow::Result<()> {
        let netns = container.namespace().path().display();
        let link = "link add link eth0 name eth0 netns";
        self.ip(self.nas, &format!("{link} {netns} address 02:00:00:00:00:77 type macvlan mode bridge"))?;
        self.ip(container, "addr add 192.168.88.45/24 dev eth0 brd +")?;
        self.ip(container, "link set dev eth0 up")?;
        self.ip(container, "route add default via 192.168.88.1 dev eth0")
    }

    fn detach(&mut self, container: &Machine) -> anyhow::Result<()> {
        self.ip(container, "link del dev eth0")
    }
}

pub(super) fn run(bench: &Bench, plug: &Path, rounds: usize) -> anyhow::Result<()> {
    let engines = Engines::find().map_err(anyhow::Error::msg)?;
    let world = World::new(None)?;
    let (laptop, nas) = (world.machine("laptop", 50)?, world.machine("nas", 9)?);
    let directory = bench.fresh("cni");
    let launcher = ["env", "ASHORE_LOG=info,ashore::call=debug"];
    let daemon = Daemon::start_by(&launcher, &bench.program, &nas, &directory)?;
    let plugin = |name, path: &Path, id, config| {
        let (path, socket) = (path.to_owned(), daemon.plug_socket());
        Plugin { name, nas: &nas, path, socket, id, config }
    };
    let reference = engines.tree("sid").join("usr/lib/cni/macvlan");
    let (quick, off) = (
        ashore("lan", "192.168.88.51-192.168.88.150", "quick"),
        ashore("unchecked", "192.168.88.151-192.168.88.250", "off"),
    );

    // The first container of a network makes the network and the shim. It stays, as a home server has one all the
    // time.
    let mut firsts = Vec::new();
    for (id, config) in [("resident", &quick), ("resident-unchecked", &off)] {
        let (container, mut first) = (world.container(id)?, plugin(id, plug, None, config.clone()));
        let begun = Instant::now();
        first.attach(&container)?;
        firsts.push((begun.elapsed(), container));
    }
    let mut contenders: Vec<Box<dyn Contender + '_>> = vec![
        Box::new(LinkDel { engines: &engines, nas: &nas }),
        Box::new(plugin(
            "macvlan + host-local",
            &reference,
            Some("web"),
            host_local("1.1.0", &directory.join("cni")),
        )),
        Box::new(plugin("Ashore, conflict quick (the default), a new name", plug, None, quick.clone())),
        Box::new(plugin("Ashore, conflict quick, a name that comes back", plug, Some("web"), quick)),
        Box::new(plugin("Ashore, conflict off, a new name", plug, None, off)),
    ];
    // The first round is to warm up, and to see that everybody does his work.
    let mut times: Vec<(Vec<Duration>, Vec<Duration>)> = vec![Default::default(); contenders.len()];
    for round in 0..=rounds {
        for turn in 0..contenders.len() {
            let which = (round + turn) % contenders.len();
            let container = world.container(&format!("c{round}-{which}"))?;
            let contender = &mut contenders[which];
            std::thread::sleep(PAUSE);
            let begun = Instant::now();
            contender.attach(&container)?;
            let attached = begun.elapsed();
            if round == 0 {
                check(&laptop, &container, contender.name())?;
            }
            std::thread::sleep(PAUSE);
            let begun = Instant::now();
            contender.detach(&container)?;
            let detached = begun.elapsed();
            if round > 0 {
                times[which].0.push(attached);
                times[which].1.push(detached);
            }
        }
    }
    println!(
        "\nMedian of {rounds}, interleaved, whole processes, CNI plugins of Debian sid, on {}:\n",
        machine()
    );
    println!("| | ADD | of macvlan + host-local | DEL | of `ip link del` |");
    println!("|---|---|---|---|---|");
    let medians: Vec<(f64, f64)> =
        times.into_iter().map(|(adds, dels)| (median(adds), median(dels))).collect();
    let ((_, link_del), (reference, _)) = (medians[0], medians[1]);
    for (which, (contender, (add, del))) in contenders.iter().zip(&medians).enumerate() {
        let adding =
            if which == 0 { "– | –".to_owned() } else { format!("{add:.2} ms | {:.2}", add / reference) };
        println!("| {} | {adding} | {del:.2} ms | {:.2} |", contender.name(), del / link_del);
    }
    println!("| aim | | 0.25 | | 1.00 |");
    print_calls(&daemon.log());
    let [quick, off] = [0, 1].map(|at| firsts[at].0.as_secs_f64() * 1e3);
    println!(
        "\nThe first container of a network, which is made for it: {quick:.0} ms, while the LAN is asked for"
    );
    println!(
        "DHCP servers and its address is probed; with conflict off {off:.0} ms. Those of later ones were probed"
    );
    println!("ahead, and are probed once more.");
    Ok(())
}
