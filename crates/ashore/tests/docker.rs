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

    docker_ok("rm -f web db");
    docker_ok("network rm lan");
    eventually("nothing is left", || home.made_links().is_empty() && home.made_routes().is_empty());
    let state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
    let rows = state["rows"].as_object().unwrap().keys();
    let left: Vec<&String> = rows.filter(|key| !key.starts_with("identity/") && *key != "seed").collect();
    assert!(left.is_empty(), "{left:?}");
}
