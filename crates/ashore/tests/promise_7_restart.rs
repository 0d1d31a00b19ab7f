//! Promise 7: the daemon can be killed, restarted and stopped without a lost ping.

use home::untouched::{is_untouched, untouched};
use home::{HOST, Home, addresses, ip};

#[test]
fn no_ping_is_lost_while_the_daemon_dies_and_comes_back() {
    let mut home = Home::new();
    let before = untouched(&home);
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 \
         --gateway 192.168.88.1",
    );
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let (at_web, at_db) = (addresses(&home.attach("lan", &web, "")), addresses(&home.attach("lan", &db, "")));
    home.restart();
    let streams = [
        home.laptop.pings(at_web[0]),
        home.laptop.pings(at_web[1]),
        home.nas.pings(at_web[0]),
        home.nas.pings(at_db[1]),
        web.pings(ip(HOST)),
        db.pings(at_web[0]),
        db.pings(ip("192.168.88.1")),
    ];
    for _ in 0..5 {
        home.restart();
        home.ok("status");
    }
    // As the init system stops it.
    let mut daemon = home.daemon.take().unwrap();
    daemon.terminate().unwrap();
    assert!(daemon.ended_within(std::time::Duration::from_secs(5)).unwrap());
    home.start();
    home.ok("status");
    for stream in streams {
        let counted = stream.end();
        assert!(counted.sent > 20, "{counted:?}");
        assert_eq!(counted.lost, 0, "{counted:?}");
    }
    is_untouched(&home, &before);
}

#[test]
fn a_daemon_that_starts_changes_nothing_that_is_as_it_should_be() {
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    let seen = |home: &Home| {
        let mut host = home.nas.kernel().observe(&[]).unwrap().host;
        // Neighbour entries come and go by themselves.
        host.neighbours.clear();
        host
    };
    let before = seen(&home);
    home.restart();
    assert_eq!(seen(&home), before);
}

#[test]
fn what_was_answered_outlives_a_daemon_that_dies_in_the_next_moment() {
    let mut home = Home::new();
    home.create_lan();
    let db = home.world.container("db").unwrap();
    home.attach("lan", &db, "");
    let web = home.world.container("web").unwrap();
    for _ in 0..5 {
        let before = home.attach("lan", &web, "");
        let pings = home.laptop.pings(addresses(&before)[0]);
        home.restart();
        let status = home.status();
        let after = status["endpoints"].as_array().unwrap().iter().find(|there| there["name"] == "web");
        for known in ["mac", "addresses", "stage", "since"] {
            assert_eq!(after.unwrap()[known], before[known], "{status}");
        }
        let counted = pings.end();
        assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");

        home.ok("detach lan web");
        home.restart();
        let status = home.status();
        assert_eq!(status["endpoints"].as_array().unwrap().len(), 1, "{status}");
        assert_eq!(home.made_routes().len(), 1);
    }
}
