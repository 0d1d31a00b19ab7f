//! Which namespaces can be attached, and that the daemon recognises each by any path.

use std::process::Command;

use home::{Home, addresses, eventually, ip, reaches};

#[test]
fn the_hosts_own_namespace_is_refused_and_left_alone() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    let (links, routes) = (home.made_links(), home.made_routes());
    let own = home.nas.namespace().path().display().to_string();
    for path in [own.as_str(), "/proc/self/ns/net"] {
        for verb in ["attach", "plan attach"] {
            let ran =
                home.run(&format!("{verb} lan --netns {path} --name host --ifname eth7 --no-default-route"));
            assert_eq!(ran.code, Some(3), "{}", ran.stderr);
            assert!(ran.stderr.contains("the host's own namespace"), "{}", ran.stderr);
        }
    }
    assert_eq!((home.made_links(), home.made_routes()), (links, routes));
}

#[test]
fn two_endpoints_of_one_namespace_live_side_by_side_whatever_path_names_it() {
    let home = Home::new();
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 \
         --gateway 192.168.88.1 --gateway fd88::1",
    );
    let web = home.world.container("web").unwrap();
    let first = addresses(&home.attach("lan", &web, ""));
    let mut process = web.command("sleep").unwrap().arg("600").spawn().unwrap();
    let attach = format!("attach lan --pid {} --name second --ifname eth1", process.id());
    let refused = home.run(&attach);
    assert_eq!(refused.code, Some(5), "{}", refused.stderr);
    assert!(refused.stderr.contains("--no-default-route"), "{}", refused.stderr);

    let second: serde_json::Value =
        serde_json::from_str(&home.ok(&format!("{attach} --no-default-route --json"))).unwrap();
    for to in first.iter().chain(&addresses(&second)) {
        reaches(&home.laptop, *to);
        reaches(&home.nas, *to);
    }
    reaches(&web, ip(home::HOST6));
    assert_eq!(home.ok("plan").trim(), "# nothing to change");

    // The process ends. The endpoint that was attached by its pid goes, and the other one stays.
    process.kill().unwrap();
    process.wait().unwrap();
    home.ok("detach lan second");
    home.attach("lan", &web, "");
    for to in first {
        reaches(&home.laptop, to);
    }
    let links = web.kernel().observe(&[]).unwrap().host.links;
    let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["lo", "eth0"]);
}

#[test]
fn a_namespace_made_anew_under_its_name_is_attached_anew() {
    let home = Home::new();
    home.create_lan();
    let path = home.directory.path().join("again");
    let attach = format!("attach lan --netns {}", path.display());
    for _ in 0..5 {
        // The kernel tends to give a new namespace the inode number of the one that has just ended.
        let namespace = ashore_kernel::Namespace::new().unwrap().bind(&path).unwrap();
        home.ok(&attach);
        let there = namespace.run(|| Command::new("true").status()).unwrap();
        assert!(there.is_ok());
        reaches(&home.laptop, ip("192.168.88.192"));
        drop(namespace);
        ashore_kernel::Namespace::unbind(&path).unwrap();
    }
}

#[test]
fn one_that_nobody_sees_keeps_its_address_while_its_link_is_down() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    // The daemon cannot find who holds this socket.
    let socket = web.inside(|| std::net::UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    web.set_up("eth0", false).unwrap();
    drop(web);
    home.nudge();
    let status = || home.status().to_string();
    eventually("it is reported", || status().contains("may still be on the LAN"));
    // Two looks have found nothing by then.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert!(status().contains("may still be on the LAN"), "{}", status());
    drop(socket);
    eventually("it has gone", || home.status()["endpoints"].as_array().unwrap().is_empty());
}
