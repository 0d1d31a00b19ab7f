//! A daemon that has no file descriptor left sees nothing of its containers, and takes that for nothing else.

mod home;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use ashore_core::request::{Reply, Request};
use home::{Home, Watched, addresses, does_not_reach, eventually, reaches};

const MOST: usize = 64;

fn open_descriptors(home: &Home) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", home.daemon().pid())).unwrap().count()
}

/// Clients that say nothing. The daemon hangs up on each after ten seconds, and then takes the next one.
fn idle_clients(home: &Home) -> Vec<UnixStream> {
    // As many as wait in the socket's queue, and some.
    (0..MOST + 100).map(|_| UnixStream::connect(home.daemon().socket()).unwrap()).collect()
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

    // One that has been let in before, and may ask.
    let asking = UnixStream::connect(home.daemon().socket()).unwrap();
    let idle = idle_clients(&home);
    eventually("no descriptor is left", || open_descriptors(&home) == MOST);
    home.nudge();
    eventually("the daemon says that it sees nothing", || {
        home.daemon().log().contains("cannot be looked into: it cannot be opened: Too many open files")
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
    eventually("they are let go", || home.run("status").code == Some(0));
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

    // Whoever comes next gets an address of his own.
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
