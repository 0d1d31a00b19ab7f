//! Docker, Podman and a CNI runtime on one NAS: one network for all of them, one range, and no address twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ashore_lab::{Containerd, Podman, Ran};
use home::both::{SUBNET, with_both, words};
use home::told::Told;
use home::{HOST, eventually, ip, reaches, sibling_made_by_hand, who_answers};
use serde_json::json;

/// The words that start a container that does nothing.
fn begin<'a>(run: &'a str, name: &'a str) -> Vec<&'a str> {
    [&words(run)[..], &[name, "box", "sleep", "1000"]].concat()
}

/// A CNI configuration for the network that Docker has made.
fn conflist() -> String {
    let own =
        json!({ "subnet": "192.168.88.0/24", "ip_range": "192.168.88.192/27", "gateway": "192.168.88.1" });
    let plugin = json!({ "type": "ashore", "master": "eth0", "ashore": own });
    json!({ "cniVersion": "1.0.0", "name": "lan", "plugins": [plugin] }).to_string()
}

#[test]
fn containers_of_all_engines_share_a_range_and_reach_each_other() {
    with_both("docker beside podman beside containerd", |nas, engines| {
        let home = &nas.home;
        let foreign = sibling_made_by_hand(home, "192.168.88.193/24");
        let containerd = Containerd::start(engines, "sid", &home.nas, home.directory.path()).unwrap();
        containerd.install_plugin("ashore", &home::cni::plug()).unwrap();
        containerd.configure("10-lan.conflist", &conflist()).unwrap();
        nas.docker(&format!("network create -d ashore --ipam-driver ashore {SUBNET} -o parent=eth0 lan"));
        nas.podman(&format!("network create -d ashore {SUBNET} -o parent=eth0 lan"));

        // All at the same time.
        let run = "run -d --init --network lan --name";
        let mut begun =
            Vec::from(["d1", "d2", "d3"].map(|name| nas.docker.begin(&begin(run, name)).unwrap()));
        let run = "run -d --network lan --name";
        begun.extend(["p1", "p2", "p3"].map(|name| nas.podman.begin(&begin(run, name)).unwrap()));
        for name in ["c1", "c2", "c3"] {
            let ran = containerd.run_box(&["--detach"], name, &["/bin/sleep", "1000"]).unwrap();
            nas.succeeded(name, &ran);
        }
        for child in begun {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}\n{}", home.daemon().log());
        }

        let places = nas.places();
        let names: Vec<&str> = places.keys().map(String::as_str).collect();
        assert_eq!(names, ["d1", "d2", "d3", "default-c1", "default-c2", "default-c3", "p1", "p2", "p3"]);
        let addresses: BTreeSet<IpAddr> = places.values().map(|(at, _)| *at).collect();
        assert_eq!(addresses.len(), 9, "{places:?}");
        assert!(!addresses.contains(&ip("192.168.88.193")), "{places:?}");
        for (name, (at, mac)) in &places {
            reaches(&home.laptop, *at);
            reaches(&home.nas, *at);
            assert_eq!(who_answers(&home.laptop, "eth0", *at), BTreeSet::from([mac.clone()]), "{name}");
        }
        reaches(&home.laptop, ip("192.168.88.193"));
        let at = |name: &str| places[name].0;
        for to in [at("p1"), at("default-c1"), ip(HOST)] {
            nas.docker(&format!("exec d1 ping -c 1 -w 2 {to}"));
        }
        for to in [at("d1"), at("default-c1"), ip(HOST)] {
            nas.podman(&format!("exec p1 ping -c 1 -w 2 {to}"));
        }
        for to in [at("d1"), at("p1")] {
            let exec = ["tasks", "exec", "--exec-id", "ping", "c1", "/bin/ping", "-c", "1", "-w", "2"];
            let ran = containerd.run(&[&exec[..], &[&to.to_string()]].concat()).unwrap();
            nas.succeeded("ctr exec", &ran);
        }

        // What a container of one engine had is its name's, and no other engine's next container gets it.
        nas.docker("rm -f d2");
        nas.podman("rm -f -t 0 p2");
        eventually("both are off the LAN", || nas.places().len() == 7);
        nas.podman("run -d --name other --network lan box sleep 1000");
        let later = nas.places();
        assert!(later.iter().all(|(name, place)| name == "other" || places[name] == *place), "{later:?}");
        assert!(!addresses.contains(&later["other"].0), "{later:?}");
        drop(foreign);
    });
}

/// A stack whose containers have names of their own, on a network with one.
const STACK: &str = r"
services:
  web: { image: box, init: true, command: sleep 1000, container_name: web, networks: [lan] }
  db:
    image: box
    init: true
    command: sleep 1000
    container_name: db
    networks: { lan: { ipv4_address: 192.168.88.200 } }
networks:
  lan:
    name: lan
    driver: ashore
    labels: { ashore.parent: eth0 }
    ipam:
      driver: ashore
      config: [{ subnet: 192.168.88.0/24, ip_range: 192.168.88.192/27, gateway: 192.168.88.1 }]
";

#[test]
fn a_stack_moves_from_one_engine_to_the_other_and_back_and_keeps_what_it_had() {
    with_both("compose, between engines", |nas, _| {
        let home = &nas.home;
        let file = home.directory.path().join("compose.yaml");
        std::fs::write(&file, STACK).unwrap();
        let service = Service::of(&nas.podman);
        let on_docker = |command: &str| {
            nas.succeeded(command, &nas.docker.compose(&[&file], &words(command)).unwrap());
        };
        let on_podman = |command: &str| {
            nas.succeeded(command, &service.compose(&nas.podman, &file, &words(command)));
        };
        on_docker("up -d");
        let first = nas.places();
        assert_eq!(first.len(), 2, "{first:?}");
        assert_eq!(first["db"].0, ip("192.168.88.200"));
        let is_as_before = |on: &str| {
            let mut seen = BTreeMap::new();
            eventually(&format!("it has on {on} what it had"), || {
                seen = nas.places();
                seen == first
            });
            for (at, _) in first.values() {
                reaches(&home.laptop, *at);
            }
        };
        let is_gone = || eventually("it is off the LAN", || nas.places().is_empty());
        on_docker("down -t 1");
        is_gone();
        on_podman("up -d");
        is_as_before("Podman");
        on_podman("down -t 1");
        is_gone();
        on_docker("up -d");
        is_as_before("Docker");
        on_docker("down -t 1");
        is_gone();
    });
}

/// Podman's API for Docker's clients.
struct Service {
    socket: PathBuf,
    child: std::process::Child,
}

impl Service {
    fn of(podman: &Podman) -> Service {
        let socket = PathBuf::from("/run/podman.sock");
        let mut command = podman.command("podman");
        command.args(["system", "service", "--time", "0", &format!("unix://{}", socket.display())]);
        let child = command.spawn().unwrap();
        let seen = podman.at(&socket.display().to_string());
        eventually("Podman's API is there", || seen.exists());
        Service { socket, child }
    }

    fn compose(&self, podman: &Podman, file: &Path, arguments: &[&str]) -> Ran {
        let mut command = podman.command("docker-compose");
        command.arg("--file").arg(file).args(arguments);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        Ran::of(&mut command).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn of_two_containers_of_one_name_each_has_a_place_of_its_own() {
    with_both("one name in two engines", |nas, _| {
        let home = &nas.home;
        nas.docker(&format!("network create -d ashore --ipam-driver ashore {SUBNET} -o parent=eth0 lan"));
        nas.podman("network create -d ashore lan");
        nas.docker("run -d --init --name web --network lan box sleep 1000");
        let first = nas.places();
        // A network has a name once: Podman's container is told so, before anything is made.
        let ran = nas.podman.run(&words("run -d --name web --network lan box sleep 1000")).unwrap();
        assert_ne!(ran.code, Some(0), "{}", ran.stdout);
        assert!(ran.stderr.contains("web"), "{}", ran.stderr);
        assert_eq!(nas.places(), first);
        reaches(&home.laptop, first["web"].0);
        nas.podman("rm -f -t 0 web");
        nas.docker("stop -t 0 web");
        eventually("Docker's is off the LAN", || nas.places().is_empty());
        nas.podman("run -d --name web --network lan box sleep 1000");
        assert_eq!(nas.places(), first, "the name has its place, whichever engine runs it");
        reaches(&home.laptop, first["web"].0);
        // Docker does not say whom it asks an address for: its container gets another one.
        nas.docker("start web");
        let places = nas.places();
        assert_eq!((places.len(), &places["web"]), (2, &first["web"]), "{places:?}");
        let mut addresses = BTreeSet::new();
        for (at, mac) in places.values() {
            assert_eq!(who_answers(&home.laptop, "eth0", *at), BTreeSet::from([mac.clone()]));
            addresses.insert(*at);
        }
        assert_eq!(addresses.len(), 2, "{places:?}");
        // The user is told, with the command that gives one of them another name.
        eventually("both are known by their name", || home.codes().contains(&"name-twice".to_owned()));
        let told = Told::of(home, "web");
        let words = ["`web`", "Docker's, on network `lan`", "Podman's, on network `lan`", "rename web NEW"];
        told.is_only("name-twice", 10, &words);
        nas.docker("rename web page");
        eventually("neither has two addresses", || !home.codes().contains(&"name-twice".to_owned()));
        nas.docker("rename page web");
        nas.podman("rm -f -t 0 web");
        nas.docker("stop -t 0 web");
        eventually("both are off the LAN", || nas.places().is_empty());
        nas.docker("start web");
        eventually("it has its own again", || nas.places() == first);
        reaches(&home.laptop, first["web"].0);
    });
}
