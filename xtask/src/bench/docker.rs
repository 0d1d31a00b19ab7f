//! `cargo xtask bench docker`: what the engine's users wait for. It uses the engine's API as the docker
//! command does.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ashore_lab::{Beside, Daemon, Docker, Engines, Machine, World};
use serde_json::{Value, json};

use super::{Bench, machine, median, print_calls};

/// The Debian releases whose engines are measured, and the names of these engines.
const SUITES: [(&str, &str); 2] = [("sid", "Docker 28.5"), ("bookworm", "Docker 20.10")];
/// The pause between two operations, so that none pays for the aftermath of another.
const PAUSE: Duration = Duration::from_millis(200);
const OPERATIONS: [Operation; 3] = [Operation::Connect, Operation::Disconnect, Operation::Run];

#[derive(Debug, Clone, Copy)]
enum Operation {
    Connect,
    Disconnect,
    /// Like `docker run --rm`: until the container is removed.
    Run,
}

impl Operation {
    fn shown(self) -> &'static str {
        match self {
            Operation::Connect => "`docker network connect`",
            Operation::Disconnect => "`docker network disconnect`",
            Operation::Run => "`docker run --rm … true`",
        }
    }
}

/// A network, and a container that runs all the time and is on no other network.
struct Contender {
    network: &'static str,
    container: String,
}

pub(super) fn run(bench: &Bench, rounds: usize) -> anyhow::Result<()> {
    let engines = Engines::find().map_err(anyhow::Error::msg)?;
    for (suite, engine) in SUITES {
        measure(bench, &engines, suite, engine, rounds).context(engine)?;
    }
    Ok(())
}

fn measure(bench: &Bench, engines: &Engines, suite: &str, engine: &str, rounds: usize) -> anyhow::Result<()> {
    let world = World::new(None)?;
    let (laptop, nas) = (world.machine("laptop", 50)?, world.machine("nas", 9)?);
    let directory = bench.fresh("docker");
    let docker = Docker::start(engines, suite, &nas, &directory)?;
    let daemon = Daemon::start_beside(&bench.program, &nas, &directory, Beside::TimedEngine(&docker))?;
    let api = Api(docker.socket());
    let plain = Contender::begin(&docker, &laptop, "macvlan", "default", "plain", 64)?;
    let ours = Contender::begin(&docker, &laptop, "ashore", "ashore", "lan", 192)?;

    let mut times: [[Vec<Duration>; 2]; 3] = Default::default();
    let before = daemon.log().len();
    for round in 0..rounds {
        for (operation, times) in OPERATIONS.into_iter().zip(&mut times) {
            let mut order = [(&plain, 0), (&ours, 1)];
            order.rotate_left(round % 2);
            for (contender, which) in order {
                std::thread::sleep(PAUSE);
                let begun = Instant::now();
                contender.perform(&api, operation)?;
                times[which].push(begun.elapsed());
            }
        }
    }
    println!("\nMedian of {rounds}, interleaved, {engine} on {}:\n", machine());
    println!("| | macvlan | Ashore | of macvlan |");
    println!("|---|---|---|---|");
    for (operation, [plain, ours]) in OPERATIONS.into_iter().zip(times) {
        let (plain, ours) = (median(plain), median(ours));
        println!("| {} | {plain:.1} ms | {ours:.1} ms | {:.2} |", operation.shown(), ours / plain);
    }
    print_calls(daemon.log().get(before..).unwrap_or_default());
    Ok(())
}

impl Contender {
    /// Creates the network, starts its container, checks that it is on the LAN, and disconnects it.
    fn begin(
        docker: &Docker,
        laptop: &Machine,
        driver: &str,
        ipam: &str,
        network: &'static str,
        first: u8,
    ) -> anyhow::Result<Self> {
        let range = format!("192.168.88.{first}/27");
        let create =
            ["network", "create", "-d", driver, "--ipam-driver", ipam, "--subnet", "192.168.88.0/24"];
        let options = ["--ip-range", &range, "--gateway", "192.168.88.1", "-o", "parent=eth0", network];
        docker.run(&[&create[..], &options].concat())?.expect_success();
        let container = format!("on-{network}");
        let run = ["run", "-d", "--init", "--network", network, "--name", &container, "box", "sleep", "9999"];
        docker.run(&run)?.expect_success();
        let format = "{{range.NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = docker.run(&["inspect", "--format", format, &container])?.expect_success();
        laptop.ping(address.trim().parse()?).with_context(|| format!("{address} does not answer"))?;
        docker.run(&["network", "disconnect", network, &container])?.expect_success();
        Ok(Contender { network, container })
    }

    fn perform(&self, api: &Api, operation: Operation) -> anyhow::Result<()> {
        let connection = |verb: &str| format!("/networks/{}/{verb}", self.network);
        let container = json!({ "Container": self.container });
        match operation {
            Operation::Connect => api.post(&connection("connect"), &container),
            Operation::Disconnect => api.post(&connection("disconnect"), &container),
            Operation::Run => {
                let name = format!("job-{}", self.network);
                let what = json!({
                    "Image": "box",
                    "Cmd": ["/bin/busybox", "true"],
                    "HostConfig": { "NetworkMode": self.network, "AutoRemove": true },
                });
                api.post(&format!("/containers/create?name={name}"), &what)?;
                let ended = api.ask(&format!("/containers/{name}/wait?condition=removed"), &Value::Null)?;
                api.post(&format!("/containers/{name}/start"), &Value::Null)?;
                ended.receive()
            }
        }
    }
}

/// The engine's API.
struct Api(PathBuf);

/// A request that is not answered yet.
struct Asked {
    stream: UnixStream,
    path: String,
}

impl Api {
    fn post(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        self.ask(path, body)?.receive()
    }

    /// Sends an HTTP/1.0 request. Its answer ends with the connection.
    fn ask(&self, path: &str, body: &Value) -> anyhow::Result<Asked> {
        let mut stream = UnixStream::connect(&self.0)?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {length}"
        );
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
        Ok(Asked { stream, path: path.to_owned() })
    }
}

impl Asked {
    fn receive(mut self) -> anyhow::Result<()> {
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('2') {
            bail!("{}: {answer}", self.path);
        }
        Ok(())
    }
}
