//! Promise 6: Ashore adds no NAT and no rule to the host's filter tables, and turns no switch of the host's.

mod home;

use std::collections::BTreeMap;
use std::path::Path;

use ashore_lab::{Engines, Machine, Ran, cannot_run};
use home::{Home, addresses, ip, seen_as};

/// A home with a rule of the host's own, and what `nft` shows of a machine.
fn ruleset(engines: &Engines, machine: &Machine) -> String {
    let mut command = machine.command(engines.path("usr/sbin/nft")).unwrap();
    Ran::of(engines.equip(&mut command).args(["--stateless", "list", "ruleset"])).unwrap().expect_success()
}

#[test]
fn the_hosts_rules_are_as_they_were_and_the_containers_have_none() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("promise 6, nft", &why),
    };
    let home = Home::new();
    let own =
        "add table inet own { chain input { type filter hook input priority 0; policy accept; counter; }; }";
    let mut command = home.nas.command(engines.path("usr/sbin/nft")).unwrap();
    Ran::of(engines.equip(&mut command).arg(own)).unwrap().expect_success();
    let before = ruleset(&engines, &home.nas);
    assert!(before.contains("table inet own"), "{before}");

    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    assert_eq!(ruleset(&engines, &home.nas), before);
    assert_eq!(ruleset(&engines, &web), "");
    for names in ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"] {
        let legacy = home.nas.inside(|| std::fs::read_to_string(names).unwrap_or_default()).unwrap();
        assert_eq!(legacy, "", "{names}");
    }
    home.ok("detach lan web");
    home.ok("network rm lan");
    assert_eq!(ruleset(&engines, &home.nas), before);
}

/// All of `net.` that a machine has, but for the links that are not its own.
fn sysctls(machine: &Machine, skip: &str) -> BTreeMap<String, String> {
    fn walk(directory: &Path, skip: &str, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if entry.file_name().to_string_lossy() != skip {
                    walk(&path, skip, found);
                }
            } else if let Ok(value) = std::fs::read_to_string(&path) {
                found.insert(path.display().to_string(), value);
            }
        }
    }
    let mut found = BTreeMap::new();
    machine.inside(|| walk(Path::new("/proc/sys/net"), skip, &mut found)).unwrap();
    // Counters and one-shot draws, not switches.
    found.retain(|path, _| !path.contains("netfilter/nf_conntrack_count") && !path.contains("/random"));
    found
}

#[test]
fn no_switch_of_the_hosts_is_turned() {
    let home = Home::new();
    let before = sysctls(&home.nas, "shim-eth0");
    assert_eq!(before["/proc/sys/net/ipv4/ip_forward"].trim(), "0");
    assert!(before.contains_key("/proc/sys/net/ipv4/conf/eth0/arp_filter"));
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    assert_eq!(sysctls(&home.nas, "shim-eth0"), before);
    home.ok("detach lan web");
    home.ok("network rm lan");
    assert_eq!(sysctls(&home.nas, ""), before);
}

#[test]
fn both_ends_of_a_connection_see_the_same_addresses() {
    let home = Home::new();
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 \
         --ip-range fd88::c0/122 --gateway 192.168.88.1",
    );
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""));
    assert_eq!(seen_as(&web, &home.laptop, ip("192.168.88.50")), at[0]);
    assert_eq!(seen_as(&home.laptop, &web, at[0]), ip("192.168.88.50"));
    assert_eq!(seen_as(&web, &home.laptop, ip("fd88::50")), at[1]);
    assert_eq!(seen_as(&web, &home.nas, ip(home::HOST)), at[0]);
    assert_eq!(seen_as(&home.nas, &web, at[0]), ip(home::HOST));
    assert_eq!(seen_as(&home.nas, &web, at[1]), ip(home::HOST6));
}
