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

/// Names that are alike for longer than an endpoint's name can be.
fn alike() -> [String; 2] {
    let begin = "a-project-with-a-long-name-and-a-service-that-has-one-too";
    ["web-1", "web-2"].map(|end| format!("{begin}-{begin}-{end}"))
}

#[test]
fn names_that_begin_alike_keep_what_each_had() {
    on_every_engine("docker, long names", |site| {
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
    on_every_engine("docker, long names of an earlier version", |site| {
        site.create_lan();
        let [one, other] = &alike();
        // Others have had addresses, so that a new name would not get the same by chance.
        site.start("first", "");
        site.start(one, "");
        let before = site.address_of(one);
        site.ok(&format!("rm -f first {one}"));
        // As an earlier version has written it down: the name cut short.
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
        // Another one is not taken for it.
        site.start(other, "");
        assert_ne!(site.address_of(other), before);
        site.ok(&format!("rm -f {one} {other}"));
        site.start(other, "");
        site.start(one, "");
        assert_eq!(site.address_of(one), before);
    });
}
