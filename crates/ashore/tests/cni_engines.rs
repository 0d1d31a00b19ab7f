//! Containers on the LAN through CNI as real engines call it: containerd's `ctr`, and the Podman that has no other
//! plugins.

use ashore_lab::{Containerd, Engines, Ran, cannot_run};
use home::cni::{Container, config};
use home::podman::PodmanSite;
use home::site::on_an_engine;
use home::{Home, eventually, ip, reaches};
use serde_json::json;

/// A list with this plugin alone.
fn list(version: &str) -> String {
    json!({
        "cniVersion": version,
        "name": "lan",
        "plugins": [{
            "type": "ashore",
            "master": "eth0",
            "capabilities": { "ips": true, "mac": true },
            "ashore": {
                "subnet": "192.168.88.0/24", "ip_range": "192.168.88.192/27", "gateway": "192.168.88.1"
            },
        }],
    })
    .to_string()
}

fn endpoints(home: &Home) -> Vec<(String, String)> {
    let status = home.status();
    let all = status["endpoints"].as_array().unwrap().iter();
    all.map(|one| {
        let address = home::addresses(one)[0].to_string();
        (one["name"].as_str().unwrap().to_owned(), address)
    })
    .collect()
}

#[test]
fn a_network_of_dockers_is_found_by_its_name() {
    on_an_engine("docker and CNI", |site| {
        site.create_lan();
        site.start("web", "");
        let home = &site.home;
        let pod = home.world.container("pod").unwrap();
        let config = config("1.0.0", json!({ "name": "pods", "ashore": { "network": "lan" } }));
        let container = Container::new(home, &pod, "c1");
        let result = container.call("ADD", &config).ok();
        let address = result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap();
        assert_ne!(address, site.address_of("web").0);
        reaches(&home.laptop, ip(address));
        site.container_reaches("web", address);
        container.call("DEL", &config).ok();
        site.ok("rm -f web");
        site.ok("network rm lan");
    });
}

#[test]
fn containers_of_containerd_are_on_the_lan() {
    const TEST: &str = "containerd";
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run(TEST, &why),
    };
    let home = Home::new();
    let containerd = Containerd::start(&engines, "sid", &home.nas, home.directory.path()).unwrap();
    containerd.install_plugin("ashore", &home::cni::plug()).unwrap();
    containerd.configure("10-lan.conflist", &list("1.1.0")).unwrap();
    let ok = |ran: Ran| {
        assert_eq!(ran.code, Some(0), "{}{}\n{}", ran.stdout, ran.stderr, home.daemon().log());
        ran.stdout
    };
    let start = || ok(containerd.run_box(&["--detach"], "web", &["/bin/sleep", "1000"]).unwrap());
    start();
    let first = endpoints(&home);
    assert_eq!(first.len(), 1);
    // containerd's namespace, and the name that its user gave.
    assert_eq!(first[0].0, "default-web");
    reaches(&home.laptop, ip(&first[0].1));
    reaches(&home.nas, ip(&first[0].1));
    ok(containerd
        .run(&["tasks", "exec", "--exec-id", "1", "web", "/bin/ping", "-c", "1", "-w", "2", home::HOST])
        .unwrap());

    let remove = || {
        ok(containerd.run(&["tasks", "kill", "--signal", "SIGKILL", "web"]).unwrap());
        eventually("it has ended", || containerd.run(&["tasks", "list"]).unwrap().stdout.contains("STOPPED"));
        ok(containerd.run(&["tasks", "delete", "web"]).unwrap());
        ok(containerd.run(&["containers", "delete", "web"]).unwrap());
    };
    remove();
    assert!(endpoints(&home).is_empty());
    start();
    assert_eq!(endpoints(&home), first, "the name has its address again");
    reaches(&home.laptop, ip(&first[0].1));

    let shown = ok(containerd.run_box(&["--rm"], "once", &["/bin/ip", "addr", "show", "eth0"]).unwrap());
    assert!(shown.contains("192.168.88.") && shown.contains("UP"), "{shown}");
    eventually("it is off the LAN", || endpoints(&home) == first);
    remove();
    eventually("nothing is left", || endpoints(&home).is_empty());
}

#[test]
fn containers_of_a_podman_without_plugins_of_its_own_are_on_the_lan() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("podman 4.3, CNI", &why),
    };
    let mut site = PodmanSite::without_daemon(&engines, "bookworm");
    site.install_ashore();
    let home = &site.home;
    let configs = site.podman.at("/etc/cni/net.d");
    std::fs::create_dir_all(&configs).unwrap();
    std::fs::write(configs.join("lan.conflist"), list("0.4.0")).unwrap();
    site.start_on_lan("web", "");
    let (web, mac) = site.address_of("web");
    assert_eq!(endpoints(home), [("web".to_owned(), web.clone())]);
    reaches(&home.laptop, ip(&web));
    reaches(&home.nas, ip(&web));
    site.ok(&format!("exec web ping -c 1 -w 2 {}", home::HOST));

    site.ok("restart -t 0 web");
    assert_eq!(site.address_of("web"), (web.clone(), mac.clone()));
    reaches(&home.laptop, ip(&web));
    site.ok("network reload web");
    assert_eq!(site.address_of("web"), (web.clone(), mac.clone()));
    reaches(&home.laptop, ip(&web));
    site.ok("rm -f -t 0 web");
    assert!(endpoints(home).is_empty());
    site.start_on_lan("web", "");
    assert_eq!(site.address_of("web"), (web, mac));

    site.start_on_lan("db", "--ip 192.168.88.200 --mac-address 02:aa:bb:cc:dd:ee");
    assert_eq!(site.address_of("db"), ("192.168.88.200".into(), "02:aa:bb:cc:dd:ee".into()));
    reaches(&home.laptop, ip("192.168.88.200"));
    site.podman_refuses(
        "run -d --name third --network lan --ip 192.168.88.50 box sleep 9",
        &["192.168.88.50"],
    );
    site.ok("rm -f -t 0 web db third");
    eventually("nothing is left", || endpoints(home).is_empty());
}
