//! File descriptors. Containers hold none for long, however many containers there are. A daemon without free
//! descriptors cannot look into its containers, and must not conclude from this that they are gone.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_kernel::Namespace;
use ashore_lab::Ran;
use home::{Home, Watched, addresses, does_not_reach, eventually, eventually_within, ip, reaches};

const MOST: usize = 64;

/// The limit that an init system sets for a service by default.
const USUAL: usize = 1024;

#[test]
fn containers_take_none_however_many_there_are() {
    // The larger number takes minutes.
    let all = std::env::var_os("ASHORE_TEST_ALL").is_some();
    let count = if all { 2000 } else { 700 };
    ashore_kernel::raise_descriptor_limit().unwrap();
    let limit = format!("--nofile={USUAL}:{USUAL}");
    let mut home = Home::new();
    home.daemon = None;
    home.start_by(&["prlimit", &limit]);
    home.nas.add_address("eth0", "10.66.0.9/16".parse().unwrap()).unwrap();
    home.laptop.add_address("eth0", "10.66.0.50/16".parse().unwrap()).unwrap();
    home.router.add_address("eth0", "10.66.0.1/16".parse().unwrap()).unwrap();
    home.ok(
        "network create big --parent eth0 --subnet 10.66.0.0/16 --ip-range 10.66.16.0/20 --gateway 10.66.0.1 --conflict off",
    );
    let namespaces: Vec<Namespace> = (0..count).map(|_| Namespace::new().unwrap()).collect();
    populate(&home, &namespaces);

    let patience = Duration::from_secs(if all { 600 } else { 120 });
    let addresses_at = |n: usize| ip(&format!("10.66.{}.{}", 16 + n / 256, n % 256));
    home.nudge();
    eventually_within(patience, "all are on the LAN", || {
        // What is still to be made has not been taken away by its container.
        let meanwhile = home.ok("status");
        assert!(!meanwhile.contains("has moved its link"), "{meanwhile}");
        home.made_routes().len() == count
    });
    for round in 0..2 {
        let status = home.status();
        assert_eq!(status["endpoints"].as_array().unwrap().len(), count);
        assert_eq!(
            (&status["troubles"], &status["pending"]),
            (&serde_json::json!([]), &serde_json::json!([]))
        );
        // A reconciliation of so many takes a while, and may come between.
        eventually("nothing is to be changed", || home.ok("plan").trim() == "# nothing to change");
        assert!(open_descriptors(&home) < 100, "{}", open_descriptors(&home));
        for ip in [0, count / 2, count - 1].map(addresses_at) {
            // A broadcast is copied to every child of the parent, and a processor's queue holds 1,000 frames
            // (`netdev_max_backlog`). Larger numbers of containers are not resolved by ARP.
            if !all {
                reaches(&home.laptop, ip);
                reaches(&home.nas, ip);
            }
        }
        home.nudge();
        if round == 0 {
            home.daemon.take().unwrap().kill().unwrap();
            home.start_by(&["prlimit", &limit]);
        }
    }
    let log = home.daemon().log();
    assert!(!log.contains("Too many open files") && !log.contains("could not reconcile"), "{log}");

    let next = home.world.container("next").unwrap();
    let at = addresses(&home.attach("big", &next, ""))[0];
    assert_eq!(at, addresses_at(count));
    for n in [0, count / 2, count - 1] {
        home.ok(&format!("detach big c{n}"));
        does_not_reach(&home.laptop, addresses_at(n));
    }
}

/// Gives the daemon containers that it still has to put on the LAN. It does so for all in one plan.
fn populate(home: &Home, namespaces: &[Namespace]) {
    let model = home.world.container("model").unwrap();
    home.attach("big", &model, "");
    let mut state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
    let rows = state["rows"].as_object_mut().unwrap();
    rows.retain(|key, _| !key.starts_with("identity/"));
    let mut row = rows.remove("endpoint/big/model").unwrap();
    row.as_object_mut().unwrap().remove("seen");
    for (n, namespace) in namespaces.iter().enumerate() {
        let (mut row, netns) = (row.clone(), namespace.identity());
        row["name"] = format!("c{n}").into();
        row["mac"] = format!("02:00:00:00:{:02x}:{:02x}", n / 256, n % 256).into();
        row["addresses"] = serde_json::json!([format!("10.66.{}.{}/16", 16 + n / 256, n % 256)]);
        row["home"]["netns"]["netns"] = serde_json::to_value(netns).unwrap();
        rows.insert(format!("endpoint/big/c{n}"), row);
    }
    let file = home.directory.path().join("many.json");
    std::fs::write(&file, state.to_string()).unwrap();
    home.ok("detach big model");
    let mut import = home.daemon().client();
    Ran::of(import.args(["state", "import"]).stdin(File::open(file).unwrap())).unwrap().expect_success();
}

fn open_descriptors(home: &Home) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", home.daemon().pid())).unwrap().count()
}

/// Clients that send nothing. The daemon disconnects each after ten seconds, and then takes the next one.
fn idle_clients(home: &Home) -> Vec<UnixStream> {
    // As many as the socket's queue holds, and some more.
    (0..MOST + 100).map(|_| UnixStream::connect(home.daemon().socket()).unwrap()).collect()
}

#[test]
fn it_takes_as_many_as_it_may_have() {
    let mut home = Home::new();
    home.daemon = None;
    home.start_by(&["prlimit", "--nofile=256:512"]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", home.daemon().pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("512"), "{line}");
}

#[test]
fn what_cannot_be_opened_is_not_gone() {
    let mut home = Home::new();
    home.daemon = None;
    home.start_by(&["prlimit", &format!("--nofile={MOST}:{MOST}")]);
    home.create_lan();
    let containers: Vec<_> =
        ["web", "db", "mail"].map(|name| home.world.container(name).unwrap()).into_iter().collect();
    let held: Vec<_> =
        containers.iter().map(|container| addresses(&home.attach("lan", container, ""))[0]).collect();
    let routes = home.made_routes();
    for ip in &held {
        reaches(&home.laptop, *ip);
    }
    let pings: Vec<_> = held.iter().map(|ip| home.laptop.pings(*ip)).collect();
    let host = Watched::begin(&home);

    // A client that was accepted before, and may send requests.
    let asking = UnixStream::connect(home.daemon().socket()).unwrap();
    let idle = idle_clients(&home);
    // A thread that waits for a client has a number that no directory shows.
    eventually("no descriptor is left", || {
        home.daemon().log().contains("control socket: Too many open files")
    });
    home.nudge();
    eventually("the daemon says that it sees nothing", || {
        home.daemon().log().contains("left as it is: it cannot be opened: Too many open files")
    });
    let detach = Request::Detach { network: "lan".parse().unwrap(), name: "web".parse().unwrap() };
    let mut line = serde_json::to_vec(&detach).unwrap();
    line.push(b'\n');
    (&asking).write_all(&line).unwrap();
    let mut answer = String::new();
    BufReader::new(&asking).read_line(&mut answer).unwrap();
    let Ok(Reply::Refused(refusal)) = serde_json::from_str(&answer) else { panic!("{answer}") };
    assert!(refusal.message.contains("Too many open files"), "{answer}");
    assert_eq!(home.made_routes(), routes);

    drop((idle, asking));
    eventually("their descriptors are free again", || home.run("status").code == Some(0));
    let status = home.status();
    let names: Vec<_> = status["endpoints"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["db", "mail", "web"]);
    assert_eq!(status["troubles"], serde_json::json!([]));
    assert_eq!(home.ok("plan").trim(), "# nothing to change");
    assert_eq!(home.made_routes(), routes);
    for counted in pings.into_iter().map(ashore_lab::Pings::end) {
        assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
    }
    host.end_with_lost(0);

    // The next container gets an address of its own.
    let next = home.world.container("next").unwrap();
    let at = addresses(&home.attach("lan", &next, ""))[0];
    assert!(!held.contains(&at), "{at}");
    reaches(&home.laptop, at);
    home.ok("detach lan web");
    does_not_reach(&home.laptop, held[0]);
    for ip in &held[1..] {
        reaches(&home.laptop, *ip);
    }
}
