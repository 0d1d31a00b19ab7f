//! `cargo xtask bench scale`: what more endpoints cost.

use std::fs::{File, read_to_string};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use ashore_kernel::Namespace;
use ashore_lab::{Daemon, Engines, Machine, Ran, World};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;

use super::attach::{Batch, Through};
use super::contender::Contender;
use super::{Bench, machine, median};

/// How many containers attach at the same time.
const AT_ONCE: u32 = 50;
/// How long the daemon is observed at rest.
const REST: Duration = Duration::from_secs(65);
/// How long the daemon may take to put all endpoints on the LAN.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What one number of endpoints costs. Times are medians in milliseconds.
struct Row {
    endpoints: usize,
    batch: f64,
    attach: f64,
    detach: f64,
    at_once: f64,
    status: f64,
    reconcile: f64,
    start: f64,
    /// Resident memory in MiB.
    memory: f64,
    /// Share of one processor at rest, in percent.
    rest: f64,
}

pub(super) fn run(bench: &Bench, counts: &[usize], rounds: usize) -> anyhow::Result<()> {
    ashore_kernel::raise_descriptor_limit()?;
    let engines = Engines::find().map_err(anyhow::Error::msg)?;
    hide_mounts().context("a mount namespace of its own")?;
    let rows = counts.iter().map(|&count| at(bench, &engines, count, rounds));
    let rows = rows.collect::<anyhow::Result<Vec<Row>>>()?;
    let first = &rows[0];
    println!("\nConflict detection off; medians of {rounds}, on {}:\n", machine());
    println!(
        "| endpoints | `ip -batch` | attach | of the first row | detach | {AT_ONCE} at once, each | `status` | `plan` | start | \
         memory | at rest |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for row in &rows {
        println!(
            "| {} | {:.1} ms | {:.1} ms | {:.2} | {:.1} ms | {:.1} ms | {:.0} ms | {:.0} ms | {:.0} ms | {:.0} MiB | {:.2} % |",
            row.endpoints,
            row.batch,
            row.attach,
            row.attach / first.attach,
            row.detach,
            row.at_once,
            row.status,
            row.reconcile,
            row.start,
            row.memory,
            row.rest
        );
    }
    Ok(())
}

/// The mounts that follow are this process's and its children's alone, and go with them.
fn hide_mounts() -> nix::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
}

fn at(bench: &Bench, engines: &Engines, count: usize, rounds: usize) -> anyhow::Result<Row> {
    println!("{count} endpoints");
    let world = World::new(None)?;
    let nas = world.machine("nas", 9)?;
    nas.add_address("eth0", "10.66.0.9/16".parse()?)?;
    let directory = bench.fresh("scale");
    let daemon = Daemon::start(&bench.program, &nas, &directory)?;
    let create = "network create big --parent eth0 --subnet 10.66.0.0/16 --ip-range 10.66.16.0/20 --gateway 10.66.0.1 \
                  --conflict off";
    daemon.run(&create.split(' ').collect::<Vec<_>>())?.expect_success();
    // Each is found by a path, as those of an engine's containers are.
    let names = bench.fresh("scale-names");
    std::fs::create_dir_all(&names)?;
    let container = |n| Namespace::new()?.bind(&names.join(format!("c{n}")));
    let namespaces = (0..count).map(container).collect::<std::io::Result<Vec<_>>>()?;
    populate(&daemon, &world, &namespaces, &directory)?;
    await_all(&daemon, &nas, count)?;

    daemon.kill()?;
    let begun = Instant::now();
    let daemon = Daemon::start(&bench.program, &nas, &directory)?;
    let start = begun.elapsed().as_secs_f64() * 1e3;
    await_all(&daemon, &nas, count)?;

    let whole = |words: &[&str]| -> anyhow::Result<f64> {
        let mut times = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            daemon.run(words)?.expect_success();
            times.push(begun.elapsed());
        }
        Ok(median(times))
    };
    let (status, reconcile) = (whole(&["status"])?, whole(&["plan"])?);
    sleep(Duration::from_secs(2));
    let before = processor(&daemon)?;
    sleep(REST);
    let used = processor(&daemon)?.saturating_sub(before);
    let rest = used.as_secs_f64() / REST.as_secs_f64() * 1e2;

    let mut batch = Batch { engines, nas: &nas };
    let mut through = Through { network: "big", daemon: &daemon, name: "" };
    let (batch, _) = alone(&world, &mut batch, rounds)?;
    let (attach, detach) = alone(&world, &mut through, rounds)?;
    let at_once = at_once(&world, &daemon)?;
    let memory = resident(&daemon)?;
    (0..count).try_for_each(|n| Namespace::unbind(&names.join(format!("c{n}"))))?;
    Ok(Row { endpoints: count, batch, attach, detach, at_once, status, reconcile, start, memory, rest })
}

/// Attaches and detaches one container after another, and returns both medians.
fn alone(world: &World, contender: &mut dyn Contender, rounds: usize) -> anyhow::Result<(f64, f64)> {
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let container = world.container("one")?;
        let begun = Instant::now();
        contender.attach(&container)?;
        times.0.push(begun.elapsed());
        let begun = Instant::now();
        contender.detach(&container)?;
        times.1.push(begun.elapsed());
    }
    Ok((median(times.0), median(times.1)))
}

/// Attaches containers at the same time, and returns the time for each.
fn at_once(world: &World, daemon: &Daemon) -> anyhow::Result<f64> {
    let names = (0..AT_ONCE).map(|n| format!("burst{n}"));
    let containers = names.map(|name| world.container(&name)).collect::<Result<Vec<Machine>, _>>()?;
    let through = Through { network: "big", daemon, name: "" };
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let attach = |container: &Machine| {
            let (name, netns) = (container.name().to_owned(), container.namespace().path().to_owned());
            let through = &through;
            scope.spawn(move || through.put(&name, &netns))
        };
        let all: Vec<_> = containers.iter().map(attach).collect();
        all.into_iter().try_for_each(|one| one.join().expect("an attach does not panic"))
    })?;
    let took = begun.elapsed().as_secs_f64() * 1e3 / f64::from(AT_ONCE);
    for container in &containers {
        daemon.run(&["detach", "big", container.name()])?.expect_success();
    }
    Ok(took)
}

/// Gives the daemon endpoints that it still has to put on the LAN. It does so for all in one plan.
fn populate(
    daemon: &Daemon,
    world: &World,
    namespaces: &[Namespace],
    directory: &Path,
) -> anyhow::Result<()> {
    let model = world.container("model")?;
    Through { network: "big", daemon, name: "" }.attach(&model)?;
    let mut state: serde_json::Value =
        serde_json::from_str(&daemon.run(&["state", "export"])?.expect_success())?;
    let rows = state["rows"].as_object_mut().context("the export has rows")?;
    rows.retain(|key, _| !key.starts_with("identity/"));
    let mut row = rows.remove("endpoint/big/model").context("the model is an endpoint")?;
    row.as_object_mut().context("a row is an object")?.remove("seen");
    for (n, namespace) in namespaces.iter().enumerate() {
        let mut row = row.clone();
        row["name"] = format!("c{n}").into();
        // `ip -batch` has a MAC of its own.
        row["mac"] = format!("02:00:00:01:{:02x}:{:02x}", n / 256, n % 256).into();
        row["addresses"] = serde_json::json!([format!("10.66.{}.{}/16", 16 + n / 256, n % 256)]);
        row["home"]["netns"]["netns"] = serde_json::to_value(namespace.identity())?;
        rows.insert(format!("endpoint/big/c{n}"), row);
    }
    let file = directory.join("many.json");
    File::create(&file)?.write_all(state.to_string().as_bytes())?;
    daemon.run(&["detach", "big", "model"])?.expect_success();
    let mut import = daemon.client();
    Ran::of(import.args(["state", "import"]).stdin(Stdio::from(File::open(file)?)))?.expect_success();
    Ok(())
}

/// Waits until every endpoint is on the LAN and nothing is left to do.
fn await_all(daemon: &Daemon, nas: &Machine, count: usize) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut other = false;
    while !daemon.run(&["plan"])?.expect_success().contains("nothing to change") {
        anyhow::ensure!(Instant::now() < end, "the daemon does not get {count} endpoints onto the LAN");
        // A change of the host has the daemon look at it.
        let elsewhere = "192.168.77.1/32".parse()?;
        if other {
            nas.del_address("eth0", elsewhere)?;
        } else {
            nas.add_address("eth0", elsewhere)?;
        }
        other = !other;
        sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// The processor time that the daemon has used.
fn processor(daemon: &Daemon) -> anyhow::Result<Duration> {
    let stat = read_to_string(format!("/proc/{}/stat", daemon.pid()))?;
    let (_, fields) = stat.rsplit_once(") ").context("stat of the daemon")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // `USER_HZ` is 100 on every architecture that Debian has.
    Ok(Duration::from_millis(ticks * 10))
}

/// The daemon's resident memory in MiB.
fn resident(daemon: &Daemon) -> anyhow::Result<f64> {
    let status = read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}
