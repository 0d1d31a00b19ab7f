//! The Compose example, with the Compose of each engine's release: 1.29 and 2.40.

use std::path::PathBuf;

use home::site::{Site, on_an_engine};
use home::{HOST, eventually, ip, reaches};

const EXAMPLE: &str = include_str!("../../../examples/compose/compose.yaml");
const SERVICES: [&str; 3] = ["files", "media", "home"];

/// Writes the example where the engine finds it, with the only image that exists.
fn example(site: &Site) -> [PathBuf; 2] {
    let directory = site.home.directory.path().join("nas");
    std::fs::create_dir_all(&directory).unwrap();
    let files = [directory.join("compose.yaml"), directory.join("compose.test.yaml")];
    let service = |name| format!("  {name}: {{ image: box, init: true, command: sleep 1000 }}\n");
    let services: String = SERVICES.iter().map(service).collect();
    std::fs::write(&files[0], EXAMPLE).unwrap();
    std::fs::write(&files[1], format!("services:\n{services}")).unwrap();
    files
}

#[test]
fn services_keep_their_addresses_and_macs_by_name_and_leave_nothing() {
    on_an_engine("docker compose", |site| {
        let home = &site.home;
        let files = example(site);
        let compose = |command: &str| {
            let words: Vec<&str> = command.split_whitespace().collect();
            let ran = site.docker.compose(&[&files[0], &files[1]], &words).unwrap();
            assert_eq!(ran.code, Some(0), "compose {command}: {}\n{}", ran.stderr, site.logs());
        };
        let between = site.on("-", "_");
        let container = |service: &str, number: u8| format!("nas{between}{service}{between}{number}");
        let all = || SERVICES.map(|service| site.address_of(&container(service, 1)));

        compose("up -d");
        let first = all();
        let [files_at, media_at, home_at] = &first;
        assert_eq!(files_at.1, "02:00:00:00:88:01");
        assert_eq!(media_at.0, "192.168.88.200");
        for (service, (address, _)) in SERVICES.iter().zip(&first) {
            reaches(&home.laptop, ip(address));
            reaches(&home.nas, ip(address));
            site.container_reaches(&container(service, 1), HOST);
        }
        site.container_reaches(&container("home", 1), "192.168.88.50");
        site.ok(&format!("exec {} busybox nslookup media 127.0.0.11", container("home", 1)));

        // Compose starts them at the same moment. An engine before 29 does not tell them apart at first.
        let own_again = || {
            eventually("each has its own again", || {
                let places = SERVICES.map(|service| site.place_of(&container(service, 1)));
                places.iter().zip(&first).all(|(place, first)| place.as_ref() == Some(first))
            });
        };
        compose("up -d --force-recreate");
        own_again();
        reaches(&home.laptop, ip(&home_at.0));

        compose("restart -t 1");
        own_again();

        compose("up -d --scale home=3");
        let scaled = [1, 2, 3].map(|number| site.address_of(&container("home", number)));
        assert_eq!(scaled[0], *home_at);
        for (address, _) in &scaled {
            reaches(&home.laptop, ip(address));
        }
        let others = [&scaled[1], &scaled[2], &first[0], &first[1], &first[2]];
        let distinct: std::collections::BTreeSet<_> = others.iter().map(|(address, _)| address).collect();
        assert_eq!(distinct.len(), others.len(), "{others:?}");

        // Containers created again under the same names have the same addresses.
        compose("down -t 1");
        site.assert_nothing_left();
        compose("up -d");
        own_again();
    });
}

#[test]
fn a_network_that_was_moved_goes_on_and_is_made_anew_on_the_parent_that_is_there() {
    on_an_engine("docker compose, moved", |site| {
        let home = &site.home;
        let directory = home.directory.path().join("moved");
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("compose.yaml");
        let on = |parent: &str| {
            let config = "[{ subnet: 192.168.88.0/24, ip_range: 192.168.88.192/27, gateway: 192.168.88.1 }]";
            let network = format!(
                "{{ name: lan, driver: ashore, driver_opts: {{ parent: {parent} }}, ipam: {{ driver: ashore, config: {config} }} }}"
            );
            let service = "{ image: box, init: true, command: sleep 1000, container_name: web }";
            let text =
                format!("version: '3.5'\nservices:\n  web: {service}\nnetworks:\n  default: {network}\n");
            std::fs::write(&file, text).unwrap();
        };
        let compose = |command: &str| {
            let words: Vec<&str> = command.split_whitespace().collect();
            let ran = site.docker.compose(&[&file], &words).unwrap();
            assert_eq!(ran.code, Some(0), "compose {command}: {}\n{}", ran.stderr, site.logs());
        };
        on("eth0");
        compose("up -d");
        let at = site.address_of("web");
        let is_as_before = || {
            eventually("the LAN reaches it", || home.laptop.ping(ip(&at.0)).is_some());
            assert_eq!(site.address_of("web"), at);
        };
        home.nas.remove_link("eth0").unwrap();
        home.world.plug_in_by(&home.nas, "usb0").unwrap();
        home.nas.add_address("usb0", format!("{HOST}/24").parse().unwrap()).unwrap();
        home.ok("network move lan --parent usb0");
        is_as_before();
        for command in ["up -d", "up -d --force-recreate", "restart -t 1"] {
            compose(command);
            is_as_before();
        }
        compose("down -t 1");
        on("usb0");
        compose("up -d");
        is_as_before();
        compose("down -t 1");
        home.nas.remove_link("usb0").unwrap();
        site.assert_nothing_left();
    });
}
