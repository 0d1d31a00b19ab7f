//! What Podman says to a netavark plugin, as a plugin that stands in for Ashore's writes it down.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use home::podman::{PodmanSite, WITH_PLUGINS, newest, on_every_podman};
use serde_json::Value;

/// Where the calls are that Podman was seen to make.
const SEEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netavark");

/// Options of `podman network create`, and by which name its call is known.
const CREATED: &[(&str, &str)] = &[
    ("bare", ""),
    ("with_subnet", "--subnet 192.168.88.0/24"),
    ("with_range", "--subnet 192.168.88.0/24 --gateway 192.168.88.1 --ip-range 192.168.88.192/27"),
    ("with_range_from_to", "--subnet 192.168.88.0/24 --ip-range 192.168.88.192-192.168.88.200"),
    ("with_two_subnets", "--subnet 192.168.88.0/24 --subnet 192.168.89.0/24"),
    ("ipv6", "--ipv6"),
    (
        "ipv6_with_subnets",
        "--ipv6 --subnet 192.168.88.0/24 --gateway 192.168.88.1 --subnet fd88::/64 --gateway fd88::1",
    ),
    ("internal", "--internal"),
    ("ipam_dhcp", "--ipam-driver dhcp"),
    ("ipam_none", "--ipam-driver none"),
    ("ipam_host_local", "--ipam-driver host-local --subnet 192.168.88.0/24"),
    ("with_options", "-o parent=eth0 -o mode=bridge -o mtu=1400"),
    ("with_interface", "--interface-name eth0"),
    (
        "with_routes",
        "--subnet 192.168.88.0/24 --route 10.1.0.0/16,192.168.88.2 --route 10.2.0.0/16,192.168.88.2,7",
    ),
    ("with_dns", "--dns 192.168.88.1"),
    ("without_dns", "--disable-dns"),
    ("with_labels", "--label purpose=home --label lan"),
];

/// What is done with containers, and by which name the calls are known that come of it. There is a network
/// `lan` and a network `other`. A `run` without an image runs one that sleeps.
const DONE: &[(&str, &[&str])] = &[
    ("bare", &["run --network lan", "rm -f -t 0 web"]),
    ("with_ip", &["run --network lan --ip 192.168.88.200", "rm -f -t 0 web"]),
    ("with_two_ips", &["run --network lan:ip=192.168.88.200,ip=fd88::c8", "rm -f -t 0 web"]),
    ("with_mac", &["run --network lan --mac-address 02:aa:bb:cc:dd:ee", "rm -f -t 0 web"]),
    ("with_hostname", &["run --network lan --hostname web.home", "rm -f -t 0 web"]),
    ("with_alias", &["run --network lan:alias=www --hostname host", "rm -f -t 0 web"]),
    (
        "with_interface_ip_mac",
        &["run --network lan:ip=192.168.88.200,interface_name=lan0,mac=02:aa:bb:cc:dd:ee", "rm -f -t 0 web"],
    ),
    ("with_options", &["run --network lan:mtu=1400,foo=bar", "rm -f -t 0 web"]),
    ("with_port", &["run --network lan -p 8080:80", "rm -f -t 0 web"]),
    ("with_dns_and_label", &["run --network lan --dns 192.168.88.2 --label purpose=home", "rm -f -t 0 web"]),
    ("stopped", &["run --network lan", "stop -t 0 web", "start web", "stop -t 0 web", "rm web"]),
    ("restarted", &["run --network lan", "restart -t 0 web", "rm -f -t 0 web"]),
    ("ended", &["run --rm --name web --network lan box ls"]),
    (
        "created",
        &["create --name web --network lan box sleep 1000", "init web", "start web", "rm -f -t 0 web"],
    ),
    ("renamed", &["run --network lan", "rename web www", "restart -t 0 www", "rm -f -t 0 www"]),
    ("replaced", &["run --network lan", "run --replace --network lan", "rm -f -t 0 web"]),
    ("reloaded", &["run --network lan", "network reload web", "rm -f -t 0 web"]),
    (
        "joined",
        &["run --network lan", "run --name db --network container:web", "rm -f -t 0 db", "rm -f -t 0 web"],
    ),
    (
        "connected",
        &[
            "run --network lan",
            "network connect other web",
            "network disconnect other web",
            "network connect --ip 192.168.88.201 --alias www other web",
            "network disconnect lan web",
            "rm -f -t 0 web",
        ],
    ),
    (
        "connected_while_stopped",
        &[
            "create --name web --network lan box sleep 1000",
            "network connect other web",
            "start web",
            "stop -t 0 web",
            "network disconnect lan web",
            "start web",
            "rm -f -t 0 web",
        ],
    ),
    (
        "on_two",
        &[
            "run --network lan:interface_name=eth0 --network other:ip=192.168.88.201,interface_name=eth1",
            "rm -f -t 0 web",
        ],
    ),
    (
        "beside_macvlan",
        &[
            "network create -d macvlan -o parent=eth0 --subnet 192.168.88.0/24 plain",
            "run --network lan:interface_name=eth0 --network plain:ip=192.168.88.201,interface_name=eth1",
            "rm -f -t 0 web",
            "network rm plain",
        ],
    ),
    (
        "pod",
        &[
            "pod create --name both --network lan",
            "run --pod both",
            "pod stop -t 0 both",
            "pod start both",
            "pod rm -f -t 0 both",
        ],
    ),
    (
        "pod_with_ip",
        &[
            "pod create --name both --hostname two --network lan --ip 192.168.88.200",
            "pod start both",
            "pod rm -f -t 0 both",
        ],
    ),
    (
        "on_internal",
        &["network create -d ashore --internal odd", "run --network odd", "rm -f -t 0 web", "network rm odd"],
    ),
    (
        "on_one_without_dns",
        &[
            "network create -d ashore --disable-dns odd",
            "run --network odd",
            "rm -f -t 0 web",
            "network rm odd",
        ],
    ),
    (
        "on_all_there_is",
        &[
            "network create -d ashore --ipv6 --subnet 192.168.88.0/24 --gateway 192.168.88.1 \
             --ip-range 192.168.88.192/27 --subnet fd88::/64 --interface-name eth0 -o mode=bridge \
             --route 10.1.0.0/16,192.168.88.2 --route 10.2.0.0/16,192.168.88.2,7 --dns 192.168.88.1 \
             --label purpose=home odd",
            "run --network odd",
            "rm -f -t 0 web",
            "network rm odd",
        ],
    ),
];

#[test]
fn what_it_says_to_a_plugin_is_as_it_was_seen() {
    // They say the same, so one is enough for every change.
    on_every_podman("podman, calls", newest(), |site| {
        let site = &site;
        let calls = site.podman.at("calls");
        fs::create_dir(&calls).unwrap();
        site.podman.install_plugin("ashore", &Path::new(SEEN).join("relay.sh")).unwrap();
        let mut recorder =
            Recorder { site, calls, told: String::new(), failed: vec![], files: BTreeMap::new() };
        for (name, options) in CREATED {
            writeln!(recorder.told, "\n{name}").unwrap();
            recorder.perform(name, &format!("network create -d ashore {options} lan"));
            recorder.perform(name, "network rm lan");
        }
        for network in ["lan", "other"] {
            recorder.perform_unrecorded(&format!(
                "network create -d ashore --subnet 192.168.88.0/24 --gateway 192.168.88.1 {network}"
            ));
        }
        for (name, commands) in DONE {
            writeln!(recorder.told, "\n{name}").unwrap();
            for command in *commands {
                if command.starts_with("network create") {
                    recorder.perform_unrecorded(command);
                } else {
                    recorder.perform(name, command);
                }
            }
        }
        recorder.compare(&site.suite);
    });
}

/// Writes down what Podman says to the plugin.
struct Recorder<'a> {
    site: &'a PodmanSite,
    /// Where the plugin writes its calls.
    calls: PathBuf,
    /// All commands, each with the calls that it led to.
    told: String,
    failed: Vec<String>,
    /// What a call said, by its file's name.
    files: BTreeMap<String, Value>,
}

impl Recorder<'_> {
    /// Performs a command and writes down its calls. Of several of a kind, the order is netavark's own each
    /// time.
    fn perform(&mut self, case: &str, command: &str) {
        let mut calls = self.perform_unrecorded(command);
        for alike in calls.chunk_by_mut(|(one, _), (next, _)| one == next) {
            alike.sort_by_key(|(_, said)| said["network"]["name"].to_string());
        }
        for (verb, said) in calls {
            let file = self.file_of(&verb, case, said);
            writeln!(self.told, "    {verb} {file}").unwrap();
        }
    }

    /// Performs a command and returns its calls: what they are for, and what they said.
    fn perform_unrecorded(&mut self, command: &str) -> Vec<(String, Value)> {
        let mut command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        if command.starts_with("run ") && !command.contains(" box ") {
            let name =
                if command.contains("--name") || command.contains("--pod") { "" } else { " --name web" };
            command = format!("run -d{name}{} box sleep 1000", command.trim_start_matches("run"));
        }
        let ran = self.site.run(&command);
        if ran.code != Some(0) {
            self.failed.push(format!("podman {command}: {}", ran.stderr));
        }
        writeln!(self.told, "  podman {command}").unwrap();
        let mut made: Vec<_> = fs::read_dir(&self.calls).unwrap().map(|call| call.unwrap().path()).collect();
        made.sort();
        let read = |call: PathBuf| {
            let arguments = fs::read_to_string(call.join("arguments")).unwrap();
            let (verb, place) = arguments.trim_end().split_once('\n').unwrap_or((arguments.trim_end(), ""));
            let has_place = place.starts_with("/run/netns/netns-") && !place.contains('\n');
            assert!(if verb == "create" { place.is_empty() } else { has_place }, "{arguments}");
            let said = without_ids(&fs::read_to_string(call.join("input")).unwrap());
            fs::remove_dir_all(call).unwrap();
            (verb.to_owned(), said)
        };
        made.into_iter().map(read).collect()
    }

    /// The file with what a call said: one that says the same, or a new one. A teardown mostly says what the
    /// setup has said.
    fn file_of(&mut self, verb: &str, case: &str, said: Value) -> String {
        let same = self.files.iter().find(|(_, there)| **there == said);
        if let Some((file, _)) = same {
            return file.clone();
        }
        let mut free = format!("{verb}_{case}.json");
        let mut number = 1;
        while self.files.contains_key(&free) {
            number += 1;
            free = format!("{verb}_{case}_{number}.json");
        }
        self.files.insert(free.clone(), said);
        free
    }

    /// Compares all with what was seen. A later Podman may say more. With `ASHORE_WRITE_NETAVARK=1` writes it
    /// down: what both releases say alike once, and what only the older says in a directory of its own.
    fn compare(&self, suite: &str) {
        let seen = Path::new(SEEN);
        let own = seen.join(suite);
        if std::env::var_os("ASHORE_WRITE_NETAVARK").is_some() {
            let texts = self.files.iter().map(|(file, said)| (file.as_str(), format!("{said:#}\n")));
            for (file, text) in texts.chain([("calls.txt", self.told.clone())]) {
                if suite == WITH_PLUGINS[0] {
                    fs::write(seen.join(file), text).unwrap();
                } else if fs::read_to_string(seen.join(file)).ok().as_ref() != Some(&text) {
                    fs::create_dir_all(&own).unwrap();
                    fs::write(own.join(file), text).unwrap();
                }
            }
        }
        assert!(self.failed.is_empty(), "{suite}: {:#?}", self.failed);
        let read = |file: &str| {
            let path = [own.join(file), seen.join(file)].into_iter().find(|path| path.exists());
            fs::read_to_string(path.unwrap_or_else(|| panic!("{suite}: {file} was never seen"))).unwrap()
        };
        assert_eq!(self.told, read("calls.txt"), "{suite}");
        for (file, said) in &self.files {
            let before: Value = serde_json::from_str(&read(file)).unwrap();
            assert!(has_all_of(said, &before), "{suite}, {file}: {said:#}\nwas {before:#}");
        }
    }
}

/// Returns whether a value has all that another has. It may have more fields.
fn has_all_of(value: &Value, other: &Value) -> bool {
    match (value, other) {
        (Value::Object(value), Value::Object(other)) => {
            other.iter().all(|(key, other)| value.get(key).is_some_and(|value| has_all_of(value, other)))
        }
        (Value::Array(value), Value::Array(other)) => {
            value.len() == other.len()
                && value.iter().zip(other).all(|(value, other)| has_all_of(value, other))
        }
        _ => value == other,
    }
}

/// What a call said, with the same ids each time.
fn without_ids(said: &str) -> Value {
    let value: Value = serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let network = if value["network"].is_null() { &value } else { &value["network"] };
    let of_network = if network["name"] == "lan" { "1a" } else { "0b" };
    let mut said = said.to_owned();
    for (id, instead) in [(&value["container_id"], "c0"), (&network["id"], of_network)] {
        if let Some(id) = id.as_str() {
            let instead = instead.repeat(32);
            said = said.replace(id, &instead).replace(&id[..12], &instead[..12]);
        }
    }
    serde_json::from_str(&said).unwrap()
}
