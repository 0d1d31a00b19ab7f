//! A container's identity: its name keeps its MAC and address, however often the container, the engine and
//! the host restart.

use std::time::Duration;

use home::site::{Site, on_an_engine, on_every_engine};
use home::together::{Place, Together, rounds, start_at_once};
use home::{comes_true, eventually, ip, reaches};

#[test]
fn two_containers_restarted_at_once_keep_what_they_had() {
    on_an_engine("docker, restarts at once", |site| {
        site.create_lan();
        for name in ["web", "db", "mail"] {
            site.start(name, "");
        }
        let before = site.addresses_of(&["web", "db", "mail"]);
        site.ok("restart -t 0 web db mail");
        // Docker's command restarts containers one after the other; these restart at the same moment.
        std::thread::scope(|scope| {
            for name in ["web", "db", "mail"] {
                let docker = &site.docker;
                scope.spawn(move || docker.run(&["restart", "-t", "0", name]).unwrap().expect_success());
            }
        });
        eventually("each has its own address again", || {
            let names = ["web", "db", "mail"].iter();
            names.zip(&before).all(|(name, before)| site.place_of(name).is_some_and(|now| now.0 == before.0))
        });
        for (address, _) in &before {
            eventually("the laptop reaches it", || site.home.laptop.ping(ip(address)).is_some());
            eventually("the host reaches it", || site.home.nas.ping(ip(address)).is_some());
        }
        // One by one, no identity is in doubt.
        for name in ["web", "db", "mail"] {
            site.ok(&format!("restart -t 0 {name}"));
        }
        assert_eq!(site.addresses_of(&["web", "db", "mail"]), before);
    });
}

#[test]
fn containers_that_start_at_once_are_themselves_every_time() {
    on_every_engine("docker, started at once", |site| {
        site.create_lan();
        site.start("web", "");
        site.start("db", "");
        site.start("fixed", "--ip 192.168.88.215");
        site.start("own", "--mac-address 02:42:aa:00:00:01");
        let all = Together::of(site, &["web", "db", "fixed", "own"]);
        for round in rounds() {
            all.start_anew(site);
            all.are_as_at_first(site, &format!("start {round}"));
        }
        let known = identities(site);
        assert_eq!(known, ["db", "fixed", "own", "web"], "a name for want of one is not remembered");
    });
}

/// The names that are remembered.
fn identities(site: &Site) -> Vec<String> {
    let state: serde_json::Value = serde_json::from_str(&site.home.ok("state export")).unwrap();
    let names = state["rows"].as_object().unwrap().keys().filter_map(|key| key.strip_prefix("identity/lan/"));
    names.map(str::to_owned).collect()
}

#[test]
fn where_all_addresses_of_the_range_are_some_containers_they_change_places_until_each_has_its_own() {
    on_an_engine("docker, started at once, full range", |site| {
        site.create_lan_as("lan", "192.168.88.192/30");
        let names = ["aa", "bb", "cc", "dd"];
        for name in names {
            site.start(name, "");
        }
        let all = Together::of(site, &names);
        for round in rounds() {
            all.start_anew(site);
            all.are_as_at_first(site, &format!("start {round}"));
        }
    });
}

#[test]
fn of_two_subnets_each_address_is_the_containers_own() {
    on_an_engine("docker, started at once, dual stack", |site| {
        site.ok("network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
                 --gateway 192.168.88.1 --ipv6 --subnet fd88::/64 --ip-range fd88::c0/123 --gateway fd88::1 \
                 -o parent=eth0 lan");
        site.start("web", "");
        site.start("four", "--ip 192.168.88.215");
        site.start("six", "--ip6 fd88::d5");
        site.start("own", "--mac-address 02:42:aa:00:00:01");
        let all = Together::of(site, &["web", "four", "six", "own"]);
        assert_eq!(all.place("six").v6, "fd88::d5");
        for round in rounds() {
            all.start_anew(site);
            all.are_as_at_first(site, &format!("start {round}"));
        }
    });
}

#[test]
fn on_each_of_two_networks_a_container_is_itself() {
    on_an_engine("docker, started at once, two networks", |site| {
        // The LAN has two subnets.
        site.home.nas.add_address("eth0", "10.77.0.9/24".parse().unwrap()).unwrap();
        site.create_lan();
        site.ok("network create -d ashore --ipam-driver ashore --subnet 10.77.0.0/24 --gateway 10.77.0.1 -o parent=eth0 other");
        let names = ["web", "db"];
        for name in names {
            site.start(name, "");
            site.ok(&format!("network connect other {name}"));
        }
        let places = || names.map(|name| ["lan", "other"].map(|network| Place::on(site, name, network)));
        let before = places();
        assert!(before.iter().flatten().all(Option::is_some));
        for round in rounds() {
            site.ok("stop -t 0 web db");
            start_at_once(&site.docker, names);
            eventually(&format!("start {round}: each is as before on both"), || places() == before);
        }
    });
}

/// How many containers are connected anew while something dies: the engine and the daemon in turn.
const PULLED: usize = 4;
/// After so many rounds it is clear that this does not happen.
const TRIES: usize = 20;
/// How long after its start a container may begin to be connected anew.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn whoever_dies_while_a_container_is_connected_anew_it_comes_back_to_its_network() {
    on_an_engine("docker, killed while connecting anew", |site| {
        site.create_lan();
        site.start("web", "--restart always");
        site.start("db", "--restart always --ip 192.168.88.215");
        site.start("mail", "--restart always --mac-address 02:42:aa:00:00:01");
        let all = Together::of(site, &["web", "db", "mail"]);
        let (mut pulled, mut died) = (0, 0);
        // Whether one is connected anew is a matter of chance.
        for round in 1..=TRIES {
            if pulled >= PULLED && died > 0 {
                break;
            }
            site.ok("stop -t 0 web db mail");
            let anew = |site: &Site| site.home.daemon().log().matches("reconnecting it, to give it").count();
            let before = anew(site);
            let mut clients = ["web", "db", "mail"].map(|name| site.docker.begin(&["start", name]).unwrap());
            let mut all_run = || clients.iter_mut().all(|client| client.try_wait().unwrap().is_some());
            // The kill falls between the two steps, or a moment before or after.
            let is_anew = || anew(site) > before;
            comes_true(Duration::from_secs(30), || is_anew() || all_run());
            if comes_true(SOON, is_anew) {
                pulled += 1;
                if pulled % 2 == 0 {
                    site.docker.kill_dockerd().unwrap();
                    site.docker.start_dockerd(&site.home.nas).unwrap();
                } else {
                    site.home.daemon.take().unwrap().kill().unwrap();
                    died += usize::from(!disconnected(site).is_empty());
                    site.start_daemon();
                }
            }
            for mut client in clients {
                let _ = client.wait();
            }
            all.start_after_a_kill(site);
            all.are_as_at_first(site, &format!("death {round}"));
            eventually("nobody is off its network", || disconnected(site).is_empty());
        }
        assert!(pulled >= PULLED && died > 0, "{pulled} were connected anew, over which {died} daemons died");
    });
}

/// The containers that were disconnected and have to be connected again.
fn disconnected(site: &Site) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(site.home.directory.path().join("state/disconnected"));
    files.into_iter().flatten().map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_container_that_gets_anothers_chosen_address_harms_neither() {
    on_an_engine("docker, a chosen address moves", |site| {
        site.create_lan();
        site.start("files", "--ip 192.168.88.215");
        site.start("web", "");
        let before = Together::of(site, &["files", "web"]);
        let files = before.place("files").clone();
        site.ok("rm -f files");
        site.ok("create --init --name files --network lan --ip 192.168.88.216 box sleep 1000");
        site.ok("create --init --name other --network lan --ip 192.168.88.215 box sleep 1000");
        site.ok("stop -t 0 web");
        start_at_once(&site.docker, ["files", "other", "web"]);
        let place = |name| Place::of(site, name);
        eventually("files has its MAC, web all of its own, and other the address", || {
            place("files").is_some_and(|now| now.v4 == "192.168.88.216" && now.mac == files.mac)
                && place("web").as_ref() == Some(before.place("web"))
                && place("other").is_some_and(|now| now.v4 == files.v4 && now.mac != files.mac)
        });
        let all = Together::of(site, &["files", "other", "web"]);
        for round in 1..=3 {
            all.start_anew(site);
            all.are_as_at_first(site, &format!("start {round}"));
        }
    });
}

#[test]
fn a_container_that_is_renamed_takes_its_address_along() {
    on_an_engine("docker, rename", |site| {
        site.create_lan();
        site.start("web", "");
        let before = site.address_of("web");
        site.ok("rename web www");
        eventually("the status has the new name", || site.home.ok("status").contains("www"));
        reaches(&site.home.laptop, ip(&before.0));
        site.ok("restart -t 0 www");
        assert_eq!(site.address_of("www"), before);
        site.start("web", "");
        let other = site.address_of("web");
        assert!(other.0 != before.0 && other.1 != before.1, "{other:?} beside {before:?}");
        // Nobody chose that MAC, so on a copied disk it is another.
        site.ok("stop -t 0 web www");
        let rekeyed = site.home.run("state rekey");
        assert!(rekeyed.code == Some(0) && !rekeyed.stderr.contains("www"), "{rekeyed:?}");
        site.ok("start www");
        assert_ne!(site.address_of("www").1, before.1);
        site.ok("rm -f web www");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn a_container_that_gets_the_name_of_one_that_still_runs_is_another() {
    on_an_engine("docker, a name is handed on", |site| {
        site.create_lan();
        site.start("web", "");
        let before = site.address_of("web");
        site.ok("rename web old");
        eventually("the status has the new name", || site.home.ok("status").contains("old"));
        site.start("web", "");
        let other = site.address_of("web");
        for address in [&before, &other] {
            reaches(&site.home.laptop, ip(&address.0));
        }
        let pings = site.home.laptop.pings(ip(&other.0));
        site.ok("stop -t 0 old");
        eventually("nothing of it stays on the host", || {
            site.home.made_links() == ["shim-eth0"] && site.home.made_routes().len() == 1
        });
        let counted = pings.end();
        assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
        site.ok("start old");
        assert_eq!(site.address_of("old"), before);
        reaches(&site.home.laptop, ip(&other.0));
        site.ok("rm -f web old");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn a_stopped_container_beside_it_leaves_no_doubt() {
    on_an_engine("docker, stopped siblings", |site| {
        site.create_lan();
        for name in ["web", "old", "older"] {
            site.start(name, "");
        }
        let web = site.address_of("web");
        site.ok("stop -t 0 web old older");
        site.ok("start web");
        assert_eq!(site.address_of("web"), web);
        site.ok("create --init --name never --network lan box sleep 1000");
        site.ok("restart -t 0 web");
        assert_eq!(site.address_of("web"), web);
        assert!(!site.home.ok("status").contains("at-192"), "{}", site.home.ok("status"));
    });
}

#[test]
fn what_is_forgotten_is_free_again() {
    on_an_engine("docker, forget", |site| {
        site.create_lan();
        site.start("web", "--ip 192.168.88.200");
        let (code, said) = site.refused("forget web");
        assert!(code == Some(5) && said.contains("attached to network `lan`"), "{said}");
        site.ok("rm -f web");
        site.start("web", "");
        assert_eq!(site.address_of("web").0, "192.168.88.200");
        site.ok("rm -f web");
        let said = site.home.ok("forget web");
        assert!(said.contains("web is forgotten on lan: 192.168.88.200"), "{said}");
        site.start("web", "");
        assert_eq!(site.address_of("web").0, "192.168.88.192");
        let (code, said) = site.refused("forget nobody");
        assert!(code == Some(4) && said.contains("nothing is remembered"), "{said}");
    });
}

/// Two names that are equal for longer than an endpoint's name can be.
fn alike() -> [String; 2] {
    let begin = "a-project-with-a-long-name-and-a-service-that-has-one-too";
    ["web-1", "web-2"].map(|end| format!("{begin}-{begin}-{end}"))
}

#[test]
fn names_that_begin_alike_keep_what_each_had() {
    on_an_engine("docker, long names", |site| {
        site.create_lan();
        let [one, other] = &alike();
        for name in [one, other] {
            site.start(name, "");
        }
        let before = site.addresses_of(&[one, other]);
        assert!(before[0].0 != before[1].0 && before[0].1 != before[1].1, "{before:?}");
        site.ok(&format!("restart -t 0 {one} {other}"));
        assert_eq!(site.addresses_of(&[one, other]), before);
        site.ok(&format!("rm -f {one} {other}"));
        for name in [other, one] {
            site.start(name, "");
        }
        assert_eq!(site.addresses_of(&[one, other]), before);
        for (address, _) in &before {
            reaches(&site.home.laptop, ip(address));
        }
    });
}

#[test]
fn a_long_name_keeps_what_an_earlier_version_gave_it() {
    on_an_engine("docker, long names of an earlier version", |site| {
        site.create_lan();
        let [one, other] = &alike();
        // Other containers have had addresses, so a new name would not get the same one by chance.
        site.start("first", "");
        site.start(one, "");
        let before = site.address_of(one);
        site.ok(&format!("rm -f first {one}"));
        // An earlier version stored the name cut short.
        let state: serde_json::Value = serde_json::from_str(&site.home.ok("state export")).unwrap();
        let known = state["rows"].as_object().unwrap().keys().find(|key| key.contains("a-project")).unwrap();
        let name = known.rsplit('/').next().unwrap();
        let earlier = state.to_string().replace(name, &one[..63]);
        let file = site.home.directory.path().join("earlier.json");
        std::fs::write(&file, earlier).unwrap();
        let mut import = site.home.daemon().client();
        import.args(["state", "import"]).stdin(std::fs::File::open(file).unwrap());
        assert!(import.status().unwrap().success());
        site.start(one, "");
        assert_eq!(site.address_of(one), before);
        reaches(&site.home.laptop, ip(&before.0));
        // Another name is not taken for it.
        site.start(other, "");
        assert_ne!(site.address_of(other), before);
        site.ok(&format!("rm -f {one} {other}"));
        site.start(other, "");
        site.start(one, "");
        assert_eq!(site.address_of(one), before);
    });
}
