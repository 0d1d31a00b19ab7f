//! The options of Docker's built-in macvlan driver, as containers and the LAN see them.

use home::site::{Site, on_an_engine};
use home::told::Told;
use home::{does_not_reach, eventually, ip, mac_known_to, reaches};

const CREATE: &str = "network create -d ashore --ipam-driver ashore";
const LAN: &str = "--subnet 192.168.88.0/24 --gateway 192.168.88.1";
const LAN6: &str = "--ipv6 --subnet fd88::/64 --gateway fd88::1";
const OPT: &str = "com.docker.network.endpoint";

/// The IPv6 address of a container on one network.
fn address6_of(site: &Site, container: &str) -> String {
    site.ok(&format!(
        "inspect --format {{{{range.NetworkSettings.Networks}}}}{{{{.GlobalIPv6Address}}}}{{{{end}}}} {container}"
    ))
}

#[test]
fn an_interface_has_the_name_and_the_sysctls_that_were_asked_for() {
    on_an_engine("docker, endpoint options", |site| {
        site.create_lan();
        let run = |name: &str, option: &str| {
            format!("run -d --init --name {name} --network name=lan,driver-opt={option} box sleep 1000")
        };
        site.ok(&run("web", &format!("{OPT}.ifname=lan0")));
        let (web, _) = site.address_of("web");
        for _ in 0..2 {
            let shown = site.ok("exec web ip -4 addr show dev lan0");
            assert!(shown.contains(&format!("inet {web}/24")), "{shown}");
            reaches(&site.home.laptop, ip(&web));
            site.ok("restart -t 1 web");
        }
        site.ok("network create --subnet 10.9.0.0/24 side");
        site.ok("run -d --init --name db --network side box sleep 1000");
        site.ok(&format!("network connect --driver-opt {OPT}.ifname=lan0 lan db"));
        site.ok("exec db ip link show dev lan0");

        // What an engine would silently ignore is refused or reported.
        site.engine_refuses(&run("bare", &format!("{OPT}.ifname=lan")), &["29.8", "ifname=lan0"]);
        site.engine_refuses(&run("long", &format!("{OPT}.ifname=an-interface-too-long0")), &["at most 15"]);
        site.engine_refuses(&run("typo", "ifname=lan0"), &["no option `ifname`", &format!("`{OPT}.ifname`")]);
        site.ok(&run("seven", &format!("{OPT}.ifname=lan7")));
        eventually("the other name is told", || {
            site.home.ok("status").contains("`seven` has the link name lan0, but lan7 was asked for")
        });

        let sysctls = format!("{OPT}.sysctls=net.ipv4.conf.IFNAME.log_martians=1");
        if site.suite == "sid" {
            site.ok(&run("careful", &sysctls));
        } else {
            site.engine_refuses(&run("refused", &sysctls), &["Docker 20.10", "came with 27", "--sysctl"]);
            site.start("careful", "--sysctl net.ipv4.conf.eth0.log_martians=1");
        }
        assert_eq!(site.ok("exec careful cat /proc/sys/net/ipv4/conf/eth0/log_martians"), "1");
    });
}

#[test]
fn addresses_and_macs_are_those_that_were_asked_for() {
    on_an_engine("docker, addresses and MACs", |site| {
        let home = &site.home;
        site.ok(&format!(
            "{CREATE} {LAN} --ip-range 192.168.88.192/30 {LAN6} --ip-range fd88::c0/124 -o parent=eth0 \
             --aux-address printer=192.168.88.192 --aux-address tv=192.168.88.194 lan"
        ));
        site.start(
            "web",
            "--ip 192.168.88.77 --ip6 fd88::77 --mac-address 02:00:00:00:00:77 --network-alias shop",
        );
        for _ in 0..2 {
            assert_eq!(site.address_of("web"), ("192.168.88.77".into(), "02:00:00:00:00:77".into()));
            assert_eq!(address6_of(site, "web"), "fd88::77");
            for address in ["192.168.88.77", "fd88::77"] {
                reaches(&home.laptop, ip(address));
                eventually("the host reaches it", || home.nas.ping(ip(address)).is_some());
            }
            assert_eq!(mac_known_to(&home.laptop, ip("192.168.88.77")), "02:00:00:00:00:77");
            site.ok("restart -t 1 web");
        }
        site.engine_refuses(
            "run --rm --name double --network lan --mac-address 02:00:00:00:00:77 box sleep 0",
            &["02:00:00:00:00:77", "`web`"],
        );
        site.engine_refuses("run --rm --network lan --ip 192.168.88.77 box sleep 0", &["192.168.88.77"]);
        site.engine_refuses("run --rm --network lan --ip 192.168.88.194 box sleep 0", &["--aux-address tv"]);
        site.engine_refuses(
            "run --rm --network lan --ip 192.168.88.9 box sleep 0",
            &["this host's own address"],
        );
        site.engine_refuses(
            "run --rm --network lan --ip 192.168.88.50 box sleep 0",
            &["in use on the LAN by"],
        );
        if site.suite == "sid" {
            site.ok(
                "run -d --init --name scoped --network name=lan,mac-address=02:00:00:00:00:78,ip=192.168.88.78 \
                 box sleep 1000",
            );
            assert_eq!(site.address_of("scoped"), ("192.168.88.78".into(), "02:00:00:00:00:78".into()));
        }
        // In the range, .192 and .194 are reserved.
        site.start("one", "");
        site.start("two", "");
        let mut chosen = [site.address_of("one").0, site.address_of("two").0];
        chosen.sort();
        assert_eq!(chosen, ["192.168.88.193", "192.168.88.195"]);
        site.engine_refuses("run --rm --network lan box sleep 0", &["192.168.88.192/30", "used up"]);
        site.ok("rm -f one");
        site.start("three", "");
    });
}

#[test]
fn each_option_of_a_network_does_what_it_says() {
    on_an_engine("docker, network options", |site| {
        let home = &site.home;
        let create =
            |options: &str, name: &str| site.ok(&format!("{CREATE} {options} -o parent=eth0 {name}"));
        let run = |network: &str, command: &str| {
            site.ok(&format!("run --rm --init --network {network} box {command}"))
        };

        create(&format!("{LAN} -o host_access=no"), "apart");
        site.ok("run -d --init --name apart --network apart box sleep 1000");
        let (apart, _) = site.address_of("apart");
        reaches(&home.laptop, ip(&apart));
        does_not_reach(&home.nas, ip(&apart));
        assert!(home.made_routes().is_empty());

        // Beside the first network, on the same parent and subnet.
        create(&format!("--internal {LAN}"), "inner");
        assert!(!run("inner", "ip route").contains("default"));
        run("inner", "ping -c 1 -w 2 192.168.88.50");
        create(&format!("{LAN} -o mtu=1400"), "small");
        assert!(run("small", "ip link show dev eth0").contains("mtu 1400"));
        create(&format!("{LAN} -o com.docker.network.driver.mtu=1300"), "smaller");
        assert!(run("smaller", "ip link show dev eth0").contains("mtu 1300"));
        let advertise = "-o com.docker.network.advertise_addr_nmsgs=1";
        create(&format!("{LAN} -o conflict=off -o bc_queue_len=500 {advertise}"), "tuned");
        run("tuned", "ping -c 1 -w 2 192.168.88.1");
        let tuned: serde_json::Value = serde_json::from_str(&home.ok("network inspect tuned")).unwrap();
        assert_eq!((&tuned["conflict"], &tuned["bc_queue_len"]), (&"off".into(), &500.into()));
        let routes = run("tuned", "ip route");
        assert!(routes.contains("default via 192.168.88.1 dev eth0"), "{routes}");

        // IPv4 only: the engine removes IPv6 from the interface. Then both, and IPv6 only, which is new.
        assert!(!run("tuned", "ip addr show dev eth0").contains("inet6"));
        create(&format!("{LAN} {LAN6}"), "dual");
        let both = run("dual", "ip addr show dev eth0");
        assert!(both.contains("inet 192.168.88.") && both.contains("inet6 fd88:"), "{both}");
        if site.suite == "sid" {
            create(&format!("--ipv4=false {LAN6}"), "six");
            let six = run("six", "ip addr show dev eth0");
            assert!(!six.contains("inet ") && six.contains("inet6 fd88:"), "{six}");
            site.ok("run -d --init --name six --network six box sleep 1000");
            let six = address6_of(site, "six");
            reaches(&home.laptop, ip(&six));
            eventually("the host reaches it", || home.nas.ping(ip(&six)).is_some());
            site.container_reaches("six", "fd88::1");
        } else {
            site.engine_refuses(&format!("{CREATE} --ipv4=false {LAN6} six"), &["unknown flag"]);
        }
        assert!(run("dual", "ip -6 route").contains("default via fd88::1 dev eth0"));
    });
}

#[test]
fn a_second_subnet_on_the_wire_is_a_subnet_like_the_first() {
    on_an_engine("docker, several subnets", |site| {
        let home = &site.home;
        for (machine, last) in [(&home.router, 1), (&home.laptop, 50)] {
            machine.add_address("eth0", format!("192.168.89.{last}/24").parse().unwrap()).unwrap();
        }
        site.ok(&format!(
            "{CREATE} {LAN} --subnet 192.168.89.0/24 --gateway 192.168.89.1 {LAN6} --subnet fd89::/64 \
             --gateway fd89::1 -o parent=eth0 lan"
        ));
        for (name, subnet) in [("first", 88), ("second", 89)] {
            site.start(name, &format!("--ip 192.168.{subnet}.20 --ip6 fd{subnet}::20"));
            assert_eq!(site.address_of(name).0, format!("192.168.{subnet}.20"));
            reaches(&home.laptop, ip(&format!("192.168.{subnet}.20")));
            let route = site.ok(&format!("exec {name} ip route"));
            assert!(route.contains(&format!("default via 192.168.{subnet}.1 dev eth0")), "{route}");
            let route = site.ok(&format!("exec {name} ip -6 route"));
            assert!(route.contains(&format!("default via fd{subnet}::1 dev eth0")), "{route}");
        }
        reaches(&home.nas, ip("192.168.88.20"));
        site.start("other", "--ip 192.168.89.21 --ip6 fd89::21");
        site.container_reaches("other", "192.168.89.20");
        site.container_reaches("other", "fd89::20");
        site.ok("rm -f first second other");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn a_network_that_would_be_on_no_lan_is_refused_with_what_helps() {
    on_an_engine("docker, no LAN", |site| {
        // The built-in driver creates a dummy parent for these.
        site.engine_refuses(
            "network create -d ashore --internal --subnet 10.7.0.0/24 --gateway 10.7.0.1 lan",
            &["10.7.0.0/24", "an internal network needs a LAN", "docker network create --internal"],
        );
        site.engine_refuses("network create -d ashore -o parent=eth0 lan", &["172.", "--ipam-driver ashore"]);
        site.engine_refuses(
            &format!("{CREATE} {LAN} -o parent=eth0 -o macvlan_mod=bridge lan"),
            &["`macvlan_mod`", "did you mean `macvlan_mode`"],
        );
        site.engine_refuses(&format!("{CREATE} {LAN} -o parent=lo lan"), &["`lo`", "loopback"]);
        site.engine_refuses(&format!("{CREATE} {LAN} -o ipvlan_flag=vepa lan"), &["ipvlan_flag=vepa"]);
        // Without a parent, the one in the subnet is used.
        site.ok(&format!("{CREATE} --internal {LAN} lan"));
        site.start("web", "");
        reaches(&site.home.laptop, ip(&site.address_of("web").0));
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn a_port_that_is_published_in_vain_is_told_of_and_nothing_is_wrong() {
    on_an_engine("docker, published ports", |site| {
        site.create_lan();
        site.ok(
            "run -d --init --name web --network lan -p 8080:80 -p 5353:53/udp box busybox httpd -f -p 80",
        );
        let (at, _) = site.address_of("web");
        reaches(&site.home.laptop, ip(&at));
        let note = format!("do nothing on network `lan`: the LAN reaches `web` itself at {at}, ports ");
        eventually("status tells it", || site.home.ok("status").contains(&note));
        let told = Told::of(&site.home, "");
        told.is_well();
        assert!(
            told.ran.stdout.contains(&note) && told.ran.stdout.contains("-p 8080:80"),
            "{}",
            told.ran.stdout
        );
        let log = site.home.daemon().log();
        assert!(log.contains("do nothing on network `lan`"), "{log}");
        // A port that the image alone names is no port that its user wants published.
        site.ok("rm -f web");
        site.ok("run -d --init --name web --network lan --expose 80 box sleep 1000");
        eventually("it is there", || site.home.ok("status").contains("web"));
        assert!(!site.home.ok("status").contains("nothing on network"));
    });
}
