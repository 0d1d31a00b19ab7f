//! A home whose NAS has users other than root, who call at the socket for them, each with user and network namespaces of
//! his own.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ashore_lab::{Beside, Daemon, cannot_run};
use serde_json::{Value, json};

use super::cni::Said;
use super::{Home, PROGRAM, is_root};

/// A home with two users. Their programs are where they may execute them.
pub struct Site {
    pub home: Home,
    /// A directory that every user may enter.
    pub public: tempfile::TempDir,
}

pub const ALICE: u32 = 1000;
pub const BOB: u32 = 1001;

/// A site, if this is root: nobody else has other users' ids. `allowed` are options of the network `lan`.
pub fn site(allowed: &str) -> Option<Site> {
    if !is_root() {
        cannot_run("rootless", "other users' ids need root");
        return None;
    }
    let site = Site::new();
    site.create_lan(allowed);
    Some(site)
}

impl Site {
    pub fn new() -> Site {
        let mut home = Home::new();
        let public =
            tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
        std::fs::copy(Path::new(PROGRAM).with_file_name("ashore-plug"), public.path().join("ashore-plug"))
            .unwrap();
        home.daemon = None;
        let mut site = Site { home, public };
        site.start();
        site
    }

    /// Starts the daemon, which must not be running.
    pub fn start(&mut self) {
        let (nas, directory) = (&self.home.nas, self.home.directory.path());
        let socket = self.socket();
        let daemon = Daemon::start_beside(PROGRAM.as_ref(), nas, directory, Beside::Users(&socket));
        self.home.daemon = Some(daemon.unwrap());
    }

    /// The socket at which users call.
    pub fn socket(&self) -> PathBuf {
        self.public.path().join("users/sock")
    }

    /// Makes the network `lan`, which these users may use.
    pub fn create_lan(&self, allowed: &str) {
        self.home.ok(&format!(
            "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
             --gateway 192.168.88.1 {allowed}"
        ));
    }

    /// A command on the NAS as a user without any privilege.
    pub fn command_of(&self, uid: u32, program: &str) -> Command {
        let mut command = self.home.nas.command("setpriv").unwrap();
        let uid = uid.to_string();
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", program]);
        command
    }

    /// A process of a user in user and network namespaces that he has made.
    pub fn namespaces_of(&self, uid: u32) -> Inside {
        let mut command = self.command_of(uid, "unshare");
        command.args(["--user", "--map-root-user", "--net", "sh", "-c", "echo ready; exec sleep 1000"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "user {uid} may make namespaces");
        Inside(child)
    }

    /// What a user's netavark says to a call, with the descriptor of a network namespace that root has opened for it.
    pub fn call(&self, uid: u32, command: &str, netns: &str, stdin: &str) -> Said {
        said(self.begin(uid, command, netns, stdin))
    }

    /// The same, which is not waited for.
    pub fn begin(&self, uid: u32, command: &str, netns: &str, stdin: &str) -> Child {
        let mut call = self.home.nas.command("sh").unwrap();
        call.args(["-c", r#"exec 9<"$1"; shift; exec setpriv "$@""#, "sh", netns]);
        let uid = uid.to_string();
        call.args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]);
        call.arg(self.public.path().join("ashore-plug")).arg(command);
        if command != "create" {
            call.arg("/proc/self/fd/9");
        }
        // Root has his own.
        let roots = self.home.directory.path().join("ashore-plug.sock");
        call.env("ASHORE_PLUG_SOCKET", if uid == "0" { roots } else { self.socket() });
        let mut child =
            call.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child
    }

    /// Sets up a container of a user in a network namespace.
    pub fn set_up(&self, uid: u32, netns: &str, container: &Container<'_>) -> Said {
        self.call(uid, "setup", netns, &container.input().to_string())
    }

    /// The same, which must succeed. Returns the address and the MAC.
    #[track_caller]
    pub fn sets_up(&self, uid: u32, netns: &str, container: &Container<'_>) -> (String, String) {
        let said = self.set_up(uid, netns, container);
        assert_eq!(said.code, Some(0), "{} {}\n{}", said.answer, said.stderr, self.home.daemon().log());
        let there = &said.answer["interfaces"]["eth0"];
        let net = there["subnets"][0]["ipnet"].as_str().unwrap();
        let ip = net.split_once('/').unwrap().0.to_owned();
        (ip, there["mac_address"].as_str().unwrap().to_owned())
    }

    /// The same, which must be refused with these words.
    #[track_caller]
    pub fn refuses(&self, uid: u32, netns: &str, container: &Container<'_>, words: &[&str]) {
        let said = self.set_up(uid, netns, container);
        let error = said.answer["error"].as_str().unwrap_or_default();
        assert_eq!(said.code, Some(1), "{} {}", said.answer, said.stderr);
        for word in words {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
    }

    pub fn tear_down(&self, uid: u32, container: &Container<'_>) {
        let said = self.call(uid, "teardown", "/dev/null", &container.input().to_string());
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    }

    /// The names of the endpoints that the daemon has, in order.
    pub fn endpoints(&self) -> Vec<String> {
        let status = self.home.status();
        let all = status["endpoints"].as_array().unwrap();
        let mut names: Vec<String> = all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}

/// What a call has said that has begun.
pub fn said(call: Child) -> Said {
    let output = call.wait_with_output().unwrap();
    Said {
        code: output.status.code(),
        answer: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A process in namespaces of its user's. Dropping it ends them.
pub struct Inside(Child);

impl Inside {
    pub fn netns(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A container, as netavark describes it.
#[derive(Clone)]
pub struct Container<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub network: &'a str,
    pub ips: Vec<&'a str>,
    pub mac: Option<&'a str>,
}

impl<'a> Container<'a> {
    pub fn on_lan(id: &'a str, name: &'a str) -> Self {
        Container { id, name, network: "lan", ips: Vec::new(), mac: None }
    }

    pub fn input(&self) -> Value {
        json!({
            "container_id": self.id,
            "container_name": self.name,
            "port_mappings": null,
            "network": described(self.network),
            "network_options": {
                "aliases": [], "interface_name": "eth0", "static_ips": self.ips, "static_mac": self.mac, "options": null,
            },
        })
    }
}

/// A network, as Podman describes it to `create`.
pub fn described(network: &str) -> Value {
    json!({
        "name": network, "id": "5f0ea1", "driver": "ashore", "subnets": null, "internal": false, "options": null,
        "ipv6_enabled": false, "dns_enabled": false, "ipam_options": { "driver": "ashore" },
    })
}
