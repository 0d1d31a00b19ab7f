//! The managed plugin on real Docker engines: created, enabled, used, disabled, and removed.

use std::path::{Path, PathBuf};
use std::process::Command;

use ashore_lab::{Ran, cannot_run, plugin_tree};
use home::site::{Site, on_every, suites};
use home::{HOST, PROGRAM, eventually, ip, reaches};

/// A site whose engine has the plugin.
struct Plugged<'a> {
    site: &'a mut Site,
}

impl<'a> Plugged<'a> {
    /// Creates the plugin and enables it.
    fn install(site: &'a mut Site, tree: &Path) -> Plugged<'a> {
        // A directory that the engine sees too.
        let copy = site.home.directory.path().join("plugin");
        let copied = Command::new("cp").arg("-a").arg(tree).arg(copy).status().unwrap();
        assert!(copied.success());
        std::fs::create_dir_all(site.home.directory.path().join("state")).unwrap();
        let plugged = Plugged { site };
        plugged.create();
        plugged
    }

    fn create(&self) {
        let at = |name: &str| self.site.home.directory.path().join(name).display().to_string();
        self.site.ok(&format!("plugin create ashore {}", at("plugin")));
        self.site.ok(&format!("plugin set ashore state.source={}", at("state")));
        self.site.ok("plugin enable ashore");
    }
}

impl Plugged<'_> {
    /// Runs a client on the host.
    fn ashore(&self, command: &str) -> Ran {
        let socket = self.socket();
        let mut client = Command::new(PROGRAM);
        Ran::of(client.args(command.split_whitespace()).env("ASHORE_SOCKET", socket)).unwrap()
    }

    /// The control socket on the host.
    fn socket(&self) -> PathBuf {
        self.site.docker.root().join("run/ashore/ashore.sock")
    }

    #[track_caller]
    fn status(&self) -> serde_json::Value {
        let ran = self.ashore("status --json");
        assert_eq!(ran.code, Some(0), "{}\n{}", ran.stderr, self.site.logs());
        serde_json::from_str(&ran.stdout).unwrap()
    }

    fn create_network(&self, name: &str) {
        self.site.ok(&format!(
            "network create -d ashore:latest --ipam-driver ashore:latest --subnet 192.168.88.0/24 --gateway 192.168.88.1 \
             --ip-range 192.168.88.192/27 --ipv6 --subnet fd88::/64 --ip-range fd88::c0/124 --gateway fd88::1 -o parent=eth0 {name}"
        ));
    }

    /// Asserts that the LAN and the host reach a container, by both families.
    #[track_caller]
    fn is_on_the_lan(&self, container: &str, address: &str) {
        let (home, site) = (&self.site.home, &self.site);
        let format = "{{range.NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}";
        let v6 = site.ok(&format!("inspect --format {format} {container}"));
        for address in [address, &v6] {
            reaches(&home.laptop, ip(address));
            eventually("the host reaches it", || home.nas.ping(ip(address)).is_some());
        }
        for address in [HOST, "fd88::9", "192.168.88.1", "192.168.88.50"] {
            site.ok(&format!("exec {container} ping -c 1 -w 2 {address}"));
        }
    }
}

/// Runs a test with the plugin on the newest engine, and on every engine with `cargo xtask test --all`.
fn with_the_plugin(test: &str, run: impl Fn(&mut Plugged)) {
    match plugin_tree() {
        Ok(tree) => on_every(test, suites(), Site::without_daemon, |mut site, _| {
            run(&mut Plugged::install(&mut site, &tree));
        }),
        Err(why) => cannot_run(test, &why),
    }
}

#[test]
fn a_managed_plugin_goes_and_comes_without_a_lost_ping_and_leaves_nothing() {
    with_the_plugin("managed plugin", |plugged| {
        plugged.create_network("lan");
        plugged.site.start("web", "");
        let web = plugged.site.address_of("web");
        plugged.is_on_the_lan("web", &web.0);
        let status = plugged.status();
        assert_eq!(status["endpoints"][0]["name"], "web", "{status}");
        assert_eq!(status["pending"].as_array().unwrap().len(), 0, "{status}");

        let home = &plugged.site.home;
        let streams = [home.laptop.pings(ip(&web.0)), home.nas.pings(ip(&web.0))];
        plugged.site.ok("plugin disable -f ashore");
        assert_eq!(plugged.ashore("status").code, Some(8));
        assert!(!plugged.socket().exists());
        plugged.site.ok("plugin enable ashore");
        plugged.status();
        let pid = plugged.status()["pid"].to_string();
        let killed = plugged.site.docker.command("busybox").args(["kill", "-9", &pid]).status().unwrap();
        assert!(killed.success());
        eventually("Docker starts it again", || {
            let ran = plugged.ashore("status --json");
            ran.code == Some(0)
                && serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap()["pid"] != pid
        });
        // An upgrade.
        plugged.site.ok("plugin disable -f ashore");
        plugged.site.ok("plugin rm -f ashore");
        plugged.create();
        plugged.status();
        for stream in streams {
            let counted = stream.end();
            assert!(counted.sent > 20, "{counted:?}");
            assert_eq!(counted.lost, 0, "{counted:?}");
        }

        plugged.site.ok("rm -f web");
        plugged.site.start("web", "");
        assert_eq!(plugged.site.address_of("web"), web);
        plugged.is_on_the_lan("web", &web.0);

        plugged.site.ok("rm -f web");
        plugged.site.ok("network rm lan");
        plugged.site.ok("plugin disable ashore");
        plugged.site.ok("plugin rm ashore");
        let home = &plugged.site.home;
        eventually("nothing is left", || home.made_links().is_empty() && home.made_routes().is_empty());
        assert!(!plugged.socket().exists());
        assert!(home.directory.path().join("state/state.redb").exists());
    });
}

#[test]
fn the_hosts_own_commands_and_namespaces_are_the_plugins_too() {
    with_the_plugin("managed plugin, host's namespaces", |plugged| {
        // The namespace is created after the plugin was enabled.
        const NETNS_ADD: &str = "mkdir -p /run/netns; touch /run/netns/box
                                 busybox unshare -n busybox mount --bind /proc/self/ns/net /run/netns/box";
        let made = plugged.site.docker.command("busybox").args(["sh", "-ec", NETNS_ADD]).status().unwrap();
        assert!(made.success());
        let ok = |command: &str| {
            let ran = plugged.ashore(command);
            assert_eq!(ran.code, Some(0), "{command}: {}", ran.stderr);
            ran.stdout
        };
        ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27");
        assert!(ok("plan attach lan --netns /run/netns/box").contains("shim-eth0.arp_filter=1"));
        ok("attach lan --netns /run/netns/box");
        reaches(&plugged.site.home.laptop, ip("192.168.88.192"));
        reaches(&plugged.site.home.nas, ip("192.168.88.192"));
        ok("detach lan box");
        ok("network rm lan");
        let home = &plugged.site.home;
        eventually("nothing is left", || home.made_links().is_empty() && home.made_routes().is_empty());
    });
}

#[test]
fn names_keep_their_addresses_over_restarts_of_the_engine_that_runs_the_plugin() {
    with_the_plugin("managed plugin, engine restarts", |plugged| {
        plugged.create_network("lan");
        plugged.site.start("web", "");
        let web = plugged.site.address_of("web");
        for kill in [false, true] {
            let site = &mut *plugged.site;
            if kill {
                site.docker.kill_dockerd().unwrap();
            } else {
                site.docker.stop_dockerd().unwrap();
            }
            site.docker.start_dockerd(&site.home.nas).unwrap();
            site.ok("start web");
            assert_eq!(site.address_of("web"), web, "killed: {kill}");
            plugged.is_on_the_lan("web", &web.0);
        }
    });
}

/// A registry on the host, and the plugin in it.
struct Registry(std::process::Child);

/// Where the registry is, and what it has.
const IN_REGISTRY: &str = "127.0.0.1:5000/ashore:test";

impl Registry {
    fn with_the_plugin(site: &Site, layout: &Path) -> Registry {
        let engines = ashore_lab::Engines::find().unwrap();
        let directory = site.home.directory.path();
        let settings = directory.join("registry.yml");
        let storage = directory.join("registry");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:5000}}\n",
            storage.display()
        );
        std::fs::write(&settings, text).unwrap();
        let mut serve = site.home.nas.command("docker-registry").unwrap();
        let serve = engines.equip(&mut serve).arg("serve").arg(&settings);
        let log = std::fs::File::create(directory.join("registry.log")).unwrap();
        let registry = Registry(serve.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        eventually("the registry has the plugin", || {
            let mut copy = site.home.nas.command("skopeo").unwrap();
            engines.equip(&mut copy).args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
            copy.arg(format!("oci:{}", layout.display())).arg(format!("docker://{IN_REGISTRY}"));
            Ran::of(&mut copy).unwrap().code == Some(0)
        });
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

#[test]
fn docker_installs_it_from_a_registry_and_asks_for_what_the_manual_lists() {
    let tree = match plugin_tree() {
        Ok(tree) => tree,
        Err(why) => return cannot_run("managed plugin, registry", &why),
    };
    on_every("managed plugin, registry", suites(), Site::without_daemon, |mut site, _| {
        let _registry = Registry::with_the_plugin(&site, &tree.with_extension("oci"));
        let state = site.home.directory.path().join("state");
        std::fs::create_dir_all(&state).unwrap();
        // Nobody answers its question.
        let asked = site.docker(&format!("plugin install {IN_REGISTRY}"));
        let asked: Vec<&str> =
            asked.stdout.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
        let manual = include_str!("../../../docs/reference/docker.md");
        assert!(!asked.is_empty());
        for privilege in asked {
            assert!(manual.contains(privilege), "{privilege}");
        }
        site.ok(&format!(
            "plugin install --grant-all-permissions --alias ashore {IN_REGISTRY} state.source={}",
            state.display()
        ));
        let plugged = Plugged { site: &mut site };
        plugged.create_network("lan");
        plugged.site.start("web", "");
        let web = plugged.site.address_of("web");
        plugged.is_on_the_lan("web", &web.0);
    });
}
