//! A container on the LAN through a real Docker engine.

mod home;

use ashore_lab::{Daemon, Docker, Engines, cannot_run};
use home::{HOST, Home, PROGRAM, eventually, ip, reaches};

/// A home whose NAS runs Docker; nothing where there is no engine.
fn home(test: &str) -> Option<(Docker, Home)> {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => {
            cannot_run(test, &why);
            return None;
        }
    };
    let mut home = Home::new();
    home.daemon = None;
    let docker = Docker::start(engines, &home.nas, home.directory.path()).unwrap();
    let daemon = Daemon::start_beside(PROGRAM.as_ref(), &home.nas, home.directory.path(), Some(&docker));
    home.daemon = Some(daemon.unwrap());
    Some((docker, home))
}

fn docker_ok(docker: &Docker, home: &Home, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let ran = docker.run(&words).unwrap();
    let logs = || format!("daemon: {}\nengine: {}", home.daemon().log(), docker.log());
    assert_eq!(ran.code, Some(0), "docker {command}: {}\n{}", ran.stderr, logs());
    ran.stdout.trim().to_owned()
}

const CREATE: &str = "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
                      --gateway 192.168.88.1 -o parent=eth0 --aux-address host=192.168.88.222 lan";

fn address_of(docker: &Docker, home: &Home, container: &str) -> (String, String) {
    let format = "{{range.NetworkSettings.Networks}}{{.IPAddress}}|{{.MacAddress}}{{end}}";
    let shown = docker_ok(docker, home, &format!("inspect --format {format} {container}"));
    let (ip, mac) = shown.split_once('|').unwrap();
    (ip.to_owned(), mac.to_owned())
}

#[test]
fn a_container_answers_the_lan_and_its_host_and_keeps_its_address() {
    let Some((docker, home)) = home("docker") else { return };
    let docker_ok = |command: &str| docker_ok(&docker, &home, command);
    docker_ok(CREATE);
    docker_ok("run -d --init --name web --network lan box sleep 1000");
    let (web, mac) = address_of(&docker, &home, "web");
    reaches(&home.laptop, ip(&web));
    reaches(&home.nas, ip(&web));
    docker_ok(&format!("exec web ping -c 1 -w 2 {HOST}"));
    docker_ok("exec web ping -c 1 -w 2 192.168.88.1");

    docker_ok("restart -t 1 web");
    assert_eq!(address_of(&docker, &home, "web"), (web.clone(), mac.clone()));
    reaches(&home.laptop, ip(&web));

    docker_ok("run -d --init --name db --network lan box sleep 1000");
    let (db, _) = address_of(&docker, &home, "db");
    assert_ne!(db, web);
    docker_ok(&format!("exec web ping -c 1 -w 2 {db}"));

    docker_ok("rm -f web");
    docker_ok("run -d --init --name web --network lan box sleep 1000");
    assert_eq!(address_of(&docker, &home, "web"), (web.clone(), mac));
    reaches(&home.laptop, ip(&web));

    // What is Docker's, Docker removes; it is known by the name that its user gave it.
    for (command, remedy) in
        [("network rm lan", "docker network rm lan"), ("detach lan web", "docker network disconnect lan web")]
    {
        let ran = home.run(command);
        assert!(ran.code == Some(5) && ran.stderr.contains(remedy), "{command}: {}", ran.stderr);
    }
    home.ok("network inspect lan");

    docker_ok("rm -f web db");
    docker_ok("network rm lan");
    eventually("nothing is left", || home.made_links().is_empty() && home.made_routes().is_empty());
    let state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
    let rows = state["rows"].as_object().unwrap().keys();
    let left: Vec<&String> = rows.filter(|key| !key.starts_with("identity/") && *key != "seed").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn by_ipv6_the_container_and_its_host_reach_each_other_too() {
    let Some((docker, home)) = home("docker, IPv6") else { return };
    let docker_ok = |command: &str| docker_ok(&docker, &home, command);
    docker_ok(
        "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway \
         192.168.88.1 --ipv6 --subnet fd88::/64 --ip-range fd88::c0/124 --gateway fd88::1 -o parent=eth0 lan",
    );
    docker_ok("run -d --init --name web --network lan box sleep 1000");
    let format = "{{range.NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}";
    let web = docker_ok(&format!("inspect --format {format} web"));
    assert_eq!(web, "fd88::c0");
    reaches(&home.laptop, ip(&web));
    eventually("the host reaches it", || home.nas.ping(ip(&web)).is_some());
    docker_ok("exec web ping -c 1 -w 2 fd88::9");
    docker_ok("exec web ping -c 1 -w 2 fd88::1");
    docker_ok("restart -t 1 web");
    assert_eq!(docker_ok(&format!("inspect --format {format} web")), web);
    eventually("the host reaches it again", || home.nas.ping(ip(&web)).is_some());
    docker_ok("rm -f web");
    docker_ok("network rm lan");
    eventually("nothing is left", || home.made_links().is_empty() && home.made_routes().is_empty());
}

#[test]
fn a_parent_that_is_a_bridge_takes_a_veth() {
    use ashore_core::link::{LinkSpec, LinkType, Place};
    use ashore_core::step::Step;
    let Some((docker, home)) = home("docker, bridge") else { return };
    let docker_ok = |command: &str| docker_ok(&docker, &home, command);
    let name = |text: &str| text.parse().unwrap();
    let bridge = LinkSpec { name: name("br0"), kind: LinkType::Bridge, mac: None, mtu: None };
    home.nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
    home.nas
        .apply(&[
            Step::AddLink { place: Place::Host, link: bridge },
            Step::SetMaster { place: Place::Host, link: name("eth0"), master: Some(name("br0")), was: None },
            Step::SetUp { place: Place::Host, link: name("br0"), up: true },
        ])
        .unwrap();
    home.nas.add_address("br0", "192.168.88.9/24".parse().unwrap()).unwrap();
    docker_ok(
        "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway \
         192.168.88.1 -o parent=br0 -o kind=bridge lan",
    );
    docker_ok("run -d --init --name web --network lan box sleep 1000");
    let (web, _) = address_of(&docker, &home, "web");
    reaches(&home.laptop, ip(&web));
    reaches(&home.nas, ip(&web));
    docker_ok("exec web ping -c 1 -w 2 192.168.88.9");
    docker_ok("rm -f web");
    docker_ok("network rm lan");
    eventually("nothing is left", || home.made_links() == ["br0"]);
}

#[test]
fn what_is_wrong_with_a_network_stands_in_the_engines_own_error() {
    let Some((docker, home)) = home("docker, refusals") else { return };
    let refused = |command: &str, words: &[&str]| {
        let ran = docker.run(&command.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_ne!(ran.code, Some(0), "{command}");
        for word in words {
            assert!(ran.stderr.contains(word), "{word:?} is not in: {}", ran.stderr);
        }
    };
    let create = "network create -d ashore --ipam-driver ashore";
    let lan = "--subnet 192.168.88.0/24 --gateway 192.168.88.1";
    refused(&format!("{create} lan"), &["subnet", "--subnet"]);
    refused(&format!("{create} {lan} lan"), &["-o parent="]);
    refused(&format!("{create} {lan} -o parent=eth7 lan"), &["`eth7` does not exist", "has eth0"]);
    refused(&format!("{create} {lan} -o parnet=eth0 lan"), &["`parnet`", "did you mean `parent`"]);
    refused(&format!("{create} {lan} -o parent=eth0 -o macvlan_mode=brige lan"), &["macvlan_mode=brige"]);
    refused(
        &format!("{create} --subnet 10.7.0.0/24 --gateway 10.7.0.1 -o parent=eth0 lan"),
        &["10.7.0.0/24", "192.168.88.9/24"],
    );
    refused(&format!("{create} {lan} --ipam-opt a=b -o parent=eth0 lan"), &["--ipam-opt a"]);
    let names = docker_ok(&docker, &home, "network ls --format {{.Name}}");
    assert!(!names.lines().any(|name| name == "lan"), "{names}");
    assert!(home.made_links().is_empty());
    let state = home.ok("state export");
    assert!(!state.contains("network/") && !state.contains("pool/"), "{state}");
}
