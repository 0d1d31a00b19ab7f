//! A switch with spanning tree: its port has carrier before it forwards. Requests and announcements sent
//! meanwhile are lost.

use std::time::Duration;

use ashore_lab::{Engines, cannot_run};
use ashore_wire::{Heard, Mac};
use home::scripted::{Reply, Scripted};
use home::voice::Voice;
use home::{Home, addresses, comes_true, eventually, eventually_within, ip, is_root, reaches};

/// The forward delays of a switch in seconds: a short one for every run, and the default where there is time.
fn delays(short: u32) -> Vec<u32> {
    let all = std::env::var_os("ASHORE_TEST_ALL").is_some();
    std::iter::once(short).chain(all.then_some(15)).collect()
}

fn mac(report: &serde_json::Value) -> Mac {
    report["mac"].as_str().unwrap().parse().unwrap()
}

#[test]
fn what_nobody_heard_is_asked_and_said_again() {
    if let Err(why) = Engines::find() {
        return cannot_run("spanning tree", &why);
    }
    for delay in delays(4) {
        let home = Home::new();
        // The first addresses are probed ahead, and no machine has them yet.
        home.create_lan();
        let [web, db] = ["web", "db"].map(|name| home.world.container(name).unwrap());
        let squatter = home.world.machine("squatter", 192).unwrap();
        home.plug_into_shut_port(delay);

        let lan = Voice::of(&home.laptop);
        let [web, db] = [&web, &db].map(|container| home.attach("lan", container, ""));
        assert_eq!(
            [&web, &db].map(|report| addresses(report)[0]),
            [ip("192.168.88.192"), ip("192.168.88.193")]
        );
        let heard = lan.heard();
        assert!(heard.iter().all(|heard| heard.sender != mac(&web)), "the port was open: {heard:?}");

        let (nic, mut said) = (home.laptop.kernel().observe(&[]).unwrap().host, Vec::new());
        let nic = nic.link(&"eth0".parse().unwrap()).unwrap().mac.unwrap();
        let announced = Heard { sender: mac(&db), ip: ip("192.168.88.193"), claims: true };
        eventually_within(Duration::from_secs(60), "the LAN hears of it, and it of the LAN", || {
            lan.claims(nic, ip("192.168.88.50"));
            std::thread::sleep(Duration::from_millis(300));
            said.extend(lan.heard());
            let claimed = home.troubles().to_string();
            said.contains(&announced) && claimed.contains("claims the address of `web`")
        });
        // The probes and announcements are sent at once, and not only at the usual time.
        let since_then = said.iter().filter(|heard| **heard == announced).count();
        assert!(since_then <= 2, "{said:?}");
        reaches(&home.laptop, ip("192.168.88.193"));
        drop(squatter);
    }
}

#[test]
fn it_is_all_said_once_more_when_the_switches_behind_forward_too() {
    if let Err(why) = Engines::find() {
        return cannot_run("spanning tree, once more", &why);
    }
    if std::env::var_os("ASHORE_TEST_ALL").is_none() {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let container = home.world.container("web").unwrap();
    let web = home.attach("lan", &container, "");
    home.plug_into_shut_port(2);
    eventually("the port forwards", || home.laptop.ping(addresses(&web)[0]).is_some());
    let lan = Voice::of(&home.laptop);
    let announced = Heard { sender: mac(&web), ip: addresses(&web)[0], claims: true };
    let mut rounds = 0;
    // By then, everything that follows from the first frame has been sent.
    comes_true(Duration::from_secs(10), || false);
    lan.heard();
    eventually_within(Duration::from_secs(60), "it is announced once more", || {
        rounds += lan.heard().iter().filter(|heard| **heard == announced).count();
        rounds > 0
    });
}

#[test]
fn a_first_lease_waits_until_somebody_is_heard() {
    if let Err(why) = Engines::find() {
        return cannot_run("spanning tree, leases", &why);
    }
    if !is_root() {
        return cannot_run("spanning tree, leases", "a DHCP server needs root");
    }
    // With a fallback range the attach waits eight seconds, without one fifteen.
    let range = "--subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --fallback range";
    for (delay, how) in delays(5).into_iter().zip([range, ""]) {
        let home = Home::new();
        let leased = [192, 168, 88, 100].into();
        let _server = Scripted::on(&home.router, move |question| {
            question.good(leased, 600).map(Reply::now).into_iter().collect()
        });
        home.ok(&format!("network create lan --parent eth0 --dhcp {how}"));
        home.plug_into_shut_port(delay);
        let web = home.world.container("web").unwrap();
        assert_eq!(addresses(&home.attach("lan", &web, "")), [leased]);
        reaches(&home.laptop, leased.into());
    }
}
