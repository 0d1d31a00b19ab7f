//! Who a container is: its name keeps MAC and address, however often container, engine and host go and come.

mod home;

use home::site::on_every_engine;
use home::{eventually, ip, reaches};

#[test]
fn two_containers_restarted_at_once_keep_what_they_had() {
    on_every_engine("docker, restarts at once", |site| {
        site.create_lan();
        for name in ["web", "db", "mail"] {
            site.start(name, "");
        }
        let before = site.addresses_of(&["web", "db", "mail"]);
        site.ok("restart -t 0 web db mail");
        // Docker's command restarts one after the other; these are really at once.
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
        // One by one nothing is in doubt.
        for name in ["web", "db", "mail"] {
            site.ok(&format!("restart -t 0 {name}"));
        }
        assert_eq!(site.addresses_of(&["web", "db", "mail"]), before);
    });
}

#[test]
fn a_container_that_is_renamed_takes_its_address_along() {
    on_every_engine("docker, rename", |site| {
        site.create_lan();
        site.start("web", "");
        let before = site.address_of("web");
        site.ok("rename web www");
        eventually("status knows the new name", || site.home.ok("status").contains("www"));
        reaches(&site.home.laptop, ip(&before.0));
        site.ok("restart -t 0 www");
        assert_eq!(site.address_of("www"), before);
        site.start("web", "");
        let other = site.address_of("web");
        assert!(other.0 != before.0 && other.1 != before.1, "{other:?} beside {before:?}");
        site.ok("rm -f web www");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn a_stopped_container_beside_it_leaves_no_doubt() {
    on_every_engine("docker, stopped siblings", |site| {
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
    on_every_engine("docker, forget", |site| {
        site.create_lan();
        site.start("web", "--ip 192.168.88.200");
        let (code, said) = site.refused("forget web");
        assert!(code == Some(5) && said.contains("network `lan` now"), "{said}");
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
