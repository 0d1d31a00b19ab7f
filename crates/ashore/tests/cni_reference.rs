//! Ashore beside the reference plugins of CNI: the same results, addresses that one of them chooses for Ashore's links,
//! and addresses that Ashore chooses for their links.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ashore_lab::{Engines, Machine, cannot_run};
use home::cni::{Container, Plugins, Said};
use home::{Home, does_not_reach, eventually, ip, reaches};
use serde_json::{Value, json};

const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// What is wrong about a call.
type Change = dyn Fn(&mut Container<'_>, &mut Value);

/// A home with the reference plugins.
fn beside_the_reference(test: &str, home: impl Fn() -> Home, run: impl Fn(&mut Home, &Plugins)) {
    match Engines::find() {
        Ok(engines) => {
            let mut home = home();
            let plugins = Plugins::beside_the_reference(&home, &engines);
            run(&mut home, &plugins);
        }
        Err(why) => cannot_run(test, &why),
    }
}

fn conf(version: &str, kind: &str, more: &Value) -> Value {
    let mut conf = json!({ "cniVersion": version, "name": "lan", "type": kind });
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    conf
}

fn with(conf: &Value, key: &str, value: &Value) -> Value {
    let mut conf = conf.clone();
    conf[key] = value.clone();
    conf
}

/// Where host-local keeps the addresses that it has chosen.
fn chosen(home: &Home) -> Vec<String> {
    let directory = home.directory.path().join("chosen/lan");
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = files.map(|file| file.file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("192."));
    names.sort();
    names
}

fn host_local(home: &Home, first: u8, last: u8) -> Value {
    json!({
        "type": "host-local",
        "ranges": [[{
            "subnet": "192.168.88.0/24", "gateway": "192.168.88.1",
            "rangeStart": format!("192.168.88.{first}"), "rangeEnd": format!("192.168.88.{last}"),
        }]],
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "10.9.0.0/16", "gw": "192.168.88.2" }],
        "dataDir": home.directory.path().join("chosen"),
    })
}

fn address(result: &Value) -> String {
    result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned()
}

/// The keys of a value and the kinds of their values, at all depths.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(all) => all.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(all) => all.iter().map(shape).collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        other => other.clone(),
    }
}

fn endpoints(home: &Home) -> BTreeMap<String, String> {
    let status = home.status();
    let all = status["endpoints"].as_array().unwrap().iter();
    all.map(|one| (one["name"].as_str().unwrap().to_owned(), home::addresses(one)[0].to_string())).collect()
}

/// What must be the same in two results, whatever was chosen.
fn agreed(result: &Value, sandbox: &str) -> Value {
    let is_inside = |link: &&Value| link["sandbox"] == sandbox;
    let link =
        result["interfaces"].as_array().unwrap().iter().find(is_inside).expect("a link in the container");
    let ips = result["ips"].as_array().unwrap().iter();
    let ips = ips.map(|ip| {
        let (_, prefix) = ip["address"].as_str().unwrap().split_once('/').unwrap();
        let at = ip["interface"].as_u64().unwrap() as usize;
        json!([prefix, ip["gateway"], ip["version"], result["interfaces"][at]["sandbox"] == sandbox])
    });
    json!([result["cniVersion"], link["name"], ips.collect::<Value>(), result["routes"], result["dns"]])
}

fn machines(home: &Home, names: [&str; 3]) -> [Machine; 3] {
    names.map(|name| home.world.container(name).unwrap())
}

#[test]
fn results_are_those_of_the_reference_plugins_key_by_key() {
    beside_the_reference("CNI's reference, results", Home::new, |home, plugins| {
        let [one, two, three] = machines(home, ["one", "two", "three"]);
        for version in VERSIONS {
            let more = json!({ "master": "eth0", "ipam": host_local(home, 100, 110) });
            let dns = json!({ "nameservers": ["192.168.88.1"], "search": ["home.arpa"] });
            for more in [more.clone(), with(&more, "dns", &dns)] {
                compare(home, plugins, "macvlan", version, &more, [&one, &two, &three]);
            }
        }
    });
    beside_the_reference("CNI's reference, results of bridge", Home::bridged, |home, plugins| {
        let [one, two, three] = machines(home, ["one", "two", "three"]);
        for version in VERSIONS {
            let more = json!({ "bridge": "br0", "ipam": host_local(home, 100, 110) });
            compare(home, plugins, "bridge", version, &more, [&one, &two, &three]);
        }
    });
}

/// Compares what a reference plugin says with what Ashore says in its place, with addresses that are chosen elsewhere
/// and with its own.
fn compare(
    home: &Home,
    plugins: &Plugins,
    kind: &str,
    version: &str,
    more: &Value,
    [one, two, three]: [&Machine; 3],
) {
    let reference = plugins.container(home, kind, one, "one");
    let (conf_of_reference, conf_of_ours) = (conf(version, kind, more), conf(version, "ashore", more));
    let ours = plugins.container(home, "ashore", two, "two");
    let own = plugins.container(home, "ashore", three, "three");
    let mut conf_of_own = conf_of_ours.clone();
    conf_of_own.as_object_mut().unwrap().remove("ipam");
    let all = [(&reference, &conf_of_reference), (&ours, &conf_of_ours), (&own, &conf_of_own)];
    let results = all.map(|(container, conf)| container.call("ADD", conf).ok());
    for (result, (container, _)) in results.iter().zip(all) {
        reaches(&home.laptop, ip(&address(result)));
        let (said, wanted) = (agreed(result, &container.netns), agreed(&results[0], &reference.netns));
        if container.id == "three" {
            // The routes that host-local was told of are not Ashore's own choice.
            assert_eq!(
                (&said[0], &said[1], &said[2]),
                (&wanted[0], &wanted[1], &wanted[2]),
                "{kind} {version}"
            );
            assert_eq!(said[3], json!([{ "dst": "0.0.0.0/0" }]));
        } else {
            assert_eq!(said, wanted, "{kind} {version}");
        }
    }
    if kind == "macvlan" {
        assert_eq!(shape(&results[1]), shape(&results[0]), "{version}: {} {}", results[1], results[0]);
    } else {
        // The reference tells of the bridge and of the host's end too.
        let inside =
            |result: &Value| shape(&result["interfaces"].as_array().unwrap().last().unwrap().clone());
        assert_eq!(inside(&results[1]), inside(&results[0]), "{version}: {} {}", results[1], results[0]);
        for key in ["ips", "routes", "dns"] {
            assert_eq!(shape(&results[1][key]), shape(&results[0][key]), "{version} {key}");
        }
        let keys = |result: &Value| result.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&results[1]), keys(&results[0]), "{version}");
    }
    for (result, (container, conf)) in results.iter().zip(all) {
        let checked = with(conf, "prevResult", result);
        if version != "0.3.1" {
            assert_eq!(container.call("CHECK", &checked).ok(), Value::Null, "{kind} {version}");
        }
        for _ in 0..2 {
            assert_eq!(container.call("DEL", &checked).ok(), Value::Null, "{kind} {version}");
        }
    }
    assert_eq!(chosen(home), [""; 0], "{kind} {version}");
    assert!(endpoints(home).is_empty());
}

#[test]
fn errors_have_the_codes_of_the_reference_plugins() {
    beside_the_reference("CNI's reference, errors", Home::new, |home, plugins| {
        let web = home.world.container("web").unwrap();
        let more = json!({ "master": "eth0", "ipam": host_local(home, 100, 110) });
        let fails = |kind: &str, change: &Change| {
            let (mut container, mut conf) =
                (plugins.container(home, kind, &web, "c1"), conf("1.0.0", kind, &more));
            change(&mut container, &mut conf);
            let Said { code, answer, .. } = container.call("ADD", &conf);
            assert_eq!(code, Some(1), "{kind}: {answer}");
            let keys = answer.as_object().unwrap().keys().filter(|key| *key != "details").cloned();
            (answer["code"].clone(), keys.collect::<Vec<_>>())
        };
        let changes: [&Change; 5] = [
            &|_, conf| conf["cniVersion"] = "9.0.0".into(),
            &|container, _| container.ifname = "",
            &|container, _| container.ifname = "far-too-long-a-name",
            &|container, _| container.id = "",
            &|_, conf| conf["name"] = "".into(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let ((ours, our_keys), (theirs, their_keys)) =
                (fails("ashore", change), fails("macvlan", change));
            assert_eq!(ours, theirs, "change {number}");
            // The specification has the version too, which the reference leaves out.
            assert!(their_keys.iter().all(|key| our_keys.contains(key)), "{our_keys:?} {their_keys:?}");
        }
        let versions = |plugin: &str| {
            let said =
                plugins.call_for_network(home, plugin, "VERSION", &json!({ "cniVersion": "1.0.0" })).ok();
            assert!(said["cniVersion"].is_string(), "{said}");
            said["supportedVersions"].as_array().unwrap().clone()
        };
        let (ours, theirs) = (versions("ashore"), versions("macvlan"));
        assert!(ours.iter().all(|version| theirs.contains(version)), "{ours:?} {theirs:?}");
    });
}

#[test]
fn addresses_may_be_chosen_by_another_plugin() {
    beside_the_reference("CNI's reference, host-local", Home::new, |home, plugins| {
        let web = home.world.container("web").unwrap();
        let conf_of = |first, last| {
            conf("1.1.0", "ashore", &json!({ "master": "eth0", "ipam": host_local(home, first, last) }))
        };
        let container = plugins.container(home, "ashore", &web, "c1");
        let result = container.call("ADD", &conf_of(100, 110)).ok();
        assert_eq!(
            (address(&result).as_str(), chosen(home)),
            ("192.168.88.100", vec!["192.168.88.100".to_owned()])
        );
        reaches(&home.laptop, ip("192.168.88.100"));
        reaches(&home.nas, ip("192.168.88.100"));
        let routes = home::shown_on(&web, "ip route");
        for route in ["default via 192.168.88.1 dev eth0", "10.9.0.0/16 via 192.168.88.2 dev eth0"] {
            assert!(routes.contains(route), "{route} is not in {routes}");
        }
        // Nobody else gets it, by whatever way.
        let db = home.world.container("db").unwrap();
        let refused =
            home.run(&format!("attach lan --netns {} --ip 192.168.88.100", db.namespace().path().display()));
        assert!(refused.stderr.contains("192.168.88.100"), "{refused:?}");
        // ADD of what is there fails, and gives nothing back.
        container.call("ADD", &conf_of(100, 110)).failed(103, &["eth0"]);
        assert_eq!(chosen(home), ["192.168.88.100"]);
        // Nor does an ADD in another namespace that host-local refuses: one address for each container.
        let elsewhere = plugins.container(home, "ashore", &db, "c1").call("ADD", &conf_of(100, 110));
        assert!(elsewhere.code == Some(1) && elsewhere.stderr.contains("may be in use"), "{elsewhere:?}");
        assert_eq!(chosen(home), ["192.168.88.100"]);
        reaches(&home.laptop, ip("192.168.88.100"));
        let checked = with(&conf_of(100, 110), "prevResult", &result);
        container.call("CHECK", &checked).ok();
        plugins.call_for_network(home, "ashore", "STATUS", &conf_of(100, 110)).ok();
        // host-local misses an address of its own.
        std::fs::remove_file(home.directory.path().join("chosen/lan/192.168.88.100")).unwrap();
        assert_eq!(container.call("CHECK", &checked).code, Some(1));
        // A second link gets no second default route, and its result tells of none.
        let second = Container { ifname: "net1", ..plugins.container(home, "ashore", &web, "c1") };
        let told = second.call("ADD", &conf_of(120, 130)).ok();
        assert_eq!(told["routes"], json!([{ "dst": "10.9.0.0/16", "gw": "192.168.88.2" }]));
        assert_eq!(home::shown_on(&web, "ip route show default").lines().count(), 1);
        second.call("DEL", &conf_of(120, 130)).ok();
        container.call("DEL", &checked).ok();
        does_not_reach(&home.laptop, ip("192.168.88.100"));

        // The LAN's laptop has it: it is given back.
        container.call("ADD", &conf_of(50, 50)).failed(105, &["192.168.88.50"]);
        assert_eq!(chosen(home), [""; 0]);
        // The plugin's own refusal.
        container.call("ADD", &conf_of(100, 100)).ok();
        let said = plugins.container(home, "ashore", &db, "c2").call("ADD", &conf_of(100, 100));
        assert!(said.code == Some(1) && said.answer["msg"].as_str().unwrap().contains("range"), "{said:?}");
        assert_eq!(chosen(home), ["192.168.88.100"]);
        let gc = with(&conf_of(100, 100), "cni.dev/valid-attachments", &json!([]));
        plugins.call_for_network(home, "ashore", "GC", &gc).ok();
        // host-local 1.9 succeeds and collects nothing.
        assert!(endpoints(home).is_empty());
        container.call("DEL", &conf_of(100, 100)).ok();
        assert_eq!(chosen(home), [""; 0]);
        let other = json!({ "type": "nobodys" });
        container.call("ADD", &with(&conf_of(100, 100), "ipam", &other)).failed(7, &["ipam.type", "nobodys"]);
        let other = json!({
            "type": "static", "addresses": [{ "address": "192.168.88.100/16", "gateway": "192.168.88.1" }],
        });
        container
            .call("ADD", &with(&conf_of(100, 100), "ipam", &other))
            .failed(7, &["/16", "192.168.88.0/24"]);
        assert!(endpoints(home).is_empty());
    });
}

#[test]
fn without_a_daemon_an_address_of_another_plugin_is_given_back() {
    beside_the_reference("CNI's reference, no daemon", Home::new, |home, plugins| {
        let web = home.world.container("web").unwrap();
        let lan = conf("1.0.0", "ashore", &json!({ "master": "eth0", "ipam": host_local(home, 100, 110) }));
        plugins.container(home, "ashore", &web, "c1").call("ADD", &lan).ok();
        home.daemon.take().unwrap().kill().unwrap();
        plugins.container(home, "ashore", &web, "c1").call("DEL", &lan).ok();
        assert_eq!(chosen(home), [""; 0]);
        plugins.container(home, "ashore", &web, "c1").call("ADD", &lan).failed(11, &["daemon"]);
        assert_eq!(chosen(home), [""; 0]);
        drop(web);
        home.start();
        eventually("what has ended is gone", || endpoints(home).is_empty());
    });
}

#[test]
fn static_addresses_are_those_of_the_configuration_or_of_a_wish() {
    beside_the_reference("CNI's reference, static", Home::new, |home, plugins| {
        let web = home.world.container("web").unwrap();
        let lan = conf(
            "0.4.0",
            "ashore",
            &json!({
                "master": "eth0",
                "capabilities": { "ips": true },
                "ipam": {
                    "type": "static",
                    "addresses": [{ "address": "192.168.88.201/24", "gateway": "192.168.88.1" }],
                    "dns": { "nameservers": ["192.168.88.1"] },
                },
            }),
        );
        let container = plugins.container(home, "ashore", &web, "c1");
        let result = container.call("ADD", &lan).ok();
        assert_eq!((address(&result).as_str(), result.get("routes")), ("192.168.88.201", None));
        assert_eq!(result["dns"], json!({ "nameservers": ["192.168.88.1"] }));
        assert!(!home::shown_on(&web, "ip route").contains("default"), "no route is asked for");
        reaches(&home.laptop, ip("192.168.88.201"));
        container.call("DEL", &lan).ok();
        // The other plugin follows what the runtime wishes.
        let wish = json!({ "ips": ["192.168.88.202/24"] });
        let mut wished = with(&lan, "runtimeConfig", &wish);
        wished["ipam"].as_object_mut().unwrap().remove("addresses");
        assert_eq!(address(&container.call("ADD", &wished).ok()), "192.168.88.202");
        container.call("DEL", &wished).ok();
        // Of a family that the other plugin leaves out there is no address.
        home.ok(
            "network create both --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.224/28 --subnet fd88::/64 \
             --ip-range fd88::c0/124",
        );
        let addresses = json!([{ "address": "192.168.88.203/24" }]);
        let ipam = json!({ "type": "static", "addresses": addresses });
        let both = conf("1.1.0", "ashore", &json!({ "ashore": { "network": "both" }, "ipam": ipam }));
        let result = container.call("ADD", &both).ok();
        assert_eq!(result["ips"].as_array().unwrap().len(), 1, "{result}");
        assert_eq!(home::shown_on(&web, "ip -6 addr show dev eth0 scope global"), "");
        container.call("DEL", &both).ok();
    });
}

/// Addresses for the links of a reference plugin.
fn lends(home: &mut Home, plugins: &Plugins, kind: &str, place: &Value) {
    let ashore = json!({
        "type": "ashore", "subnet": "192.168.88.0/24", "ip_range": "192.168.88.192/27", "gateway": "192.168.88.1",
    });
    let mut lan = conf("1.1.0", kind, place);
    lan["ipam"] = ashore;
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let container =
        Container { args: "IgnoreUnknown=1;K8S_POD_NAME=web", ..plugins.container(home, kind, &web, "c1") };
    let other = Container {
        args: "IgnoreUnknown=1;K8S_POD_NAME=db;IP=192.168.88.200",
        ..plugins.container(home, kind, &db, "c2")
    };
    let result = container.call("ADD", &lan).ok();
    let first = address(&result);
    assert!(
        first.starts_with("192.168.88.") && result["routes"] == json!([{ "dst": "0.0.0.0/0" }]),
        "{result}"
    );
    reaches(&home.laptop, ip(&first));
    let second = other.call("ADD", &lan).ok();
    assert_eq!(address(&second), "192.168.88.200");
    assert_eq!(
        endpoints(home),
        BTreeMap::from([("web".to_owned(), first.clone()), ("db".to_owned(), "192.168.88.200".to_owned())])
    );
    let mac = result["interfaces"].as_array().unwrap().last().unwrap()["mac"].as_str().unwrap();
    assert!(home.status().to_string().contains(mac), "the MAC is that of the link that is there");
    let checked = with(&lan, "prevResult", &result);
    container.call("CHECK", &checked).ok();

    // It is kept against others, also over a restart of the daemon.
    let third = home.world.container("third").unwrap();
    let netns = third.namespace().path().display().to_string();
    home.daemon.take().unwrap().kill().unwrap();
    home.start();
    let refused = home.run(&format!("attach lan --netns {netns} --ip {first}"));
    assert!(refused.stderr.contains(&first), "{refused:?}");
    let container =
        Container { args: "IgnoreUnknown=1;K8S_POD_NAME=web", ..plugins.container(home, kind, &web, "c1") };
    container.call("CHECK", &checked).ok();
    for _ in 0..2 {
        container.call("DEL", &checked).ok();
    }
    assert_eq!(endpoints(home).into_keys().collect::<Vec<_>>(), ["db"]);
    // The name has its address again.
    assert_eq!(address(&container.call("ADD", &lan).ok()), first);
    container.call("DEL", &lan).ok();
    // The LAN's laptop has it.
    let taken = Container { args: "IP=192.168.88.50", ..plugins.container(home, kind, &third, "c3") };
    let said = taken.call("ADD", &lan);
    assert!(said.code == Some(1) && said.answer.to_string().contains("192.168.88.50"), "{said:?}");
    let leases = with(&lan, "ipam", &json!({ "type": "ashore", "dhcp": true }));
    let said = Container { args: "", ..plugins.container(home, kind, &third, "c3") }.call("ADD", &leases);
    assert!(said.answer.to_string().contains("leases"), "{said:?}");
    // Its user may give back what a runtime has forgotten.
    home.ok("detach lan db");
    assert!(endpoints(home).is_empty());
    home.ok("network rm lan");
}

#[test]
fn addresses_for_the_links_of_the_reference_plugins() {
    beside_the_reference("CNI's reference, addresses for macvlan", Home::new, |home, plugins| {
        lends(home, plugins, "macvlan", &json!({ "master": "eth0" }));
    });
    beside_the_reference("CNI's reference, addresses for bridge", Home::bridged, |home, plugins| {
        // The reference plugin's CHECK fails if the bridge takes over the MAC of a port that was added since.
        home::type_on(&home.nas, "ip link set br0 address 02:00:00:00:00:b0");
        lends(home, plugins, "bridge", &json!({ "bridge": "br0" }));
    });
}

#[test]
fn nothing_but_addresses_is_done_for_the_link_of_another_plugin() {
    beside_the_reference("CNI's reference, addresses alone", Home::new, |home, plugins| {
        let web = home.world.container("web").unwrap();
        let mut lan = conf("1.0.0", "macvlan", &json!({ "master": "eth0" }));
        lan["ipam"] = json!({ "type": "ashore" });
        let container = plugins.container(home, "macvlan", &web, "c1");
        container.call("ADD", &lan).ok();
        let before = home::shown_on(&web, "ip -d link show dev eth0");
        home.ok("status");
        assert_eq!(home::shown_on(&web, "ip -d link show dev eth0"), before);
        assert!(!before.contains("alias"), "{before}");
        let alone = Container { plugin: None, ..plugins.container(home, "macvlan", &web, "c1") };
        // A link that has another MAC by now is asked for with that one.
        let mac = |home: &Home| home.status()["endpoints"][0]["mac"].as_str().unwrap().to_owned();
        let (had, other) = (mac(home), "02:aa:bb:cc:dd:ee");
        let first = address(&alone.call("ADD", &lan).ok());
        assert_eq!(mac(home), had);
        home::type_on(&web, &format!("ip link set dev eth0 address {other}"));
        assert_eq!((address(&alone.call("ADD", &lan).ok()), mac(home).as_str()), (first, other));
        home::type_on(&web, &format!("ip link set dev eth0 address {had}"));
        // DEL of the addresses alone leaves the link.
        alone.call("DEL", &lan).ok();
        assert_eq!(home::shown_on(&web, "ip -d link show dev eth0"), before);
        assert!(endpoints(home).is_empty());
        container.call("DEL", &lan).ok();
        // The name comes again in another container, and nobody has said that the first one has ended.
        let by = |args, machine: &Machine, id| {
            let container = plugins.container(home, "macvlan", machine, id);
            Container { args, ..container }.call("ADD", &lan)
        };
        let named = |machine: &Machine, id| by("IgnoreUnknown=1;K8S_POD_NAME=shop", machine, id);
        let old = home.world.container("old").unwrap();
        let first = address(&named(&old, "c8").ok());
        let fresh = home.world.container("fresh").unwrap();
        let rival = home.world.container("rival").unwrap();
        assert_eq!(named(&rival, "c7").code, Some(1), "it lives");
        drop(old);
        assert_eq!(address(&named(&fresh, "c9").ok()), first);
        home.ok("detach lan shop");
        // The path of one that has ended leads to another container by now.
        let at = home.directory.path().join("netns");
        let lead_to = |machine: &Machine| {
            let _ = std::fs::remove_file(&at);
            std::os::unix::fs::symlink(machine.namespace().path(), &at).unwrap();
        };
        let brief = home.world.container("brief").unwrap();
        lead_to(&brief);
        let args = "IgnoreUnknown=1;K8S_POD_NAME=brief";
        let netns = at.display().to_string();
        let container = plugins.container(home, "macvlan", &brief, "c10");
        let first = address(&Container { netns, args, ..container }.call("ADD", &lan).ok());
        // The reference plugin leaves its link where it gets no address.
        let [second, third] = ["second", "third"].map(|name| home.world.container(name).unwrap());
        let said = by(args, &second, "c7");
        assert_eq!(said.code, Some(1), "it lives");
        assert!(said.answer.to_string().contains("as an address for another plugin's link"), "{said:?}");
        lead_to(&fresh);
        drop(brief);
        assert_eq!(address(&by(args, &third, "c11").ok()), first);
        home.ok("detach lan brief");
        let path: PathBuf = web.namespace().path().to_owned();
        alone.call("ADD", &lan).failed(3, &["eth0", &path.display().to_string()]);
    });
}
