//! Thirty mistakes that people make, each through the programs by which it can be made, with the answer as it is printed.
//! `mistakes.txt` has them, to be read by a person: `ASHORE_WRITE_MISTAKES=1` writes the answers anew.

use std::fmt::Write as _;

use ashore_lab::{Engines, Machine, Ran};
use home::both::{Nas, with_both, words};
use home::cni::Container;
use home::dhcp::Server;
use home::eventually;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mistakes.txt");

/// How many mistakes there are at least.
const LEAST: usize = 30;

#[test]
fn each_is_answered_as_it_was_read() {
    with_both("mistakes", |nas, engines| {
        let written = std::fs::read_to_string(TABLE).unwrap();
        let now = Walker::new(nas, engines).walk(&written);
        if std::env::var_os("ASHORE_WRITE_MISTAKES").is_some() {
            std::fs::write(TABLE, now).unwrap();
            return;
        }
        for (at, (was, is)) in written.lines().zip(now.lines()).enumerate() {
            assert_eq!(was, is, "mistakes.txt:{}\n{now}", at + 1);
        }
        assert_eq!(written, now);
    });
}

#[test]
fn there_are_thirty_and_each_is_answered() {
    let written = std::fs::read_to_string(TABLE).unwrap();
    let (mut titles, mut answered) = (Vec::new(), true);
    for line in written.lines().chain(["== end"]) {
        if line.starts_with("== ") {
            assert!(answered, "before `{line}`");
            titles.push(line);
            answered = false;
        }
        answered |= line.starts_with("  exit ");
    }
    assert!(titles.len() > LEAST, "{}", titles.len());
}

/// Makes the mistakes of the file, and writes it down with the answers of now.
struct Walker<'a> {
    nas: &'a Nas,
    /// A container that no engine has.
    web: Machine,
    /// As in a home: a router that leases addresses.
    _server: Server,
}

impl<'a> Walker<'a> {
    fn new(nas: &'a Nas, engines: &Engines) -> Self {
        let pool = "192.168.88.100,192.168.88.120,255.255.255.0,2m";
        let home = &nas.home;
        let web = home.world.container("web").unwrap();
        Walker { nas, web, _server: Server::dnsmasq(engines, &home.router, home.directory.path(), pool, &[]) }
    }

    fn walk(&self, written: &str) -> String {
        let (mut now, mut file) = (String::new(), String::new());
        for line in written.lines() {
            if line.starts_with("== ") {
                self.begin_anew();
            }
            if line.starts_with("  ") {
                // An answer of before.
                continue;
            }
            writeln!(now, "{line}").unwrap();
            if let Some(text) = line.strip_prefix("| ") {
                file += text;
                file.push('\n');
            } else if let Some(command) = line.strip_prefix("@ ") {
                let ran = self.run(command, "");
                assert_eq!(ran.code, Some(0), "{command}: {}{}", ran.stdout, ran.stderr);
            } else if let Some(command) = line.strip_prefix("$ ") {
                let ran = self.run(command, &std::mem::take(&mut file));
                now += &self.shown(command, &ran);
            }
        }
        self.begin_anew();
        now
    }

    /// Runs a command of one of the programs. The file is Compose's.
    fn run(&self, command: &str, file: &str) -> Ran {
        let command = command.replace("{web}", &self.web.namespace().path().display().to_string());
        let (program, arguments) = command.split_once(' ').unwrap();
        let nas = self.nas;
        match (program, arguments.strip_prefix("compose ")) {
            ("ashore", _) => nas.home.run(arguments),
            ("docker", Some(arguments)) => {
                let path = nas.home.directory.path().join("compose.yaml");
                std::fs::write(&path, file).unwrap();
                nas.docker.compose(&[&path], &words(arguments)).unwrap()
            }
            ("docker", None) => nas.docker.run(&words(arguments)).unwrap(),
            ("podman", _) => nas.podman.run(&words(arguments)).unwrap(),
            ("cni", _) => {
                let config = serde_json::from_str(file).unwrap();
                let said = Container::new(&nas.home, &self.web, "c1").call(arguments, &config);
                let stdout = format!("{:#}", said.answer);
                Ran { code: said.code, stdout, stderr: said.stderr }
            }
            _ => panic!("{command}: of which program?"),
        }
    }

    /// What is printed, without what is another in each run.
    fn shown(&self, command: &str, ran: &Ran) -> String {
        let all = [ran.stdout.as_str(), ran.stderr.as_str()].concat();
        let mut shown = String::new();
        for line in all.lines().map(|line| without_ids(line, command)).filter(|line| !line.trim().is_empty())
        {
            // How far Compose is, that Docker tells where its own help is, and what this world's host lacks.
            let is_of_engine =
                ["Run 'docker ", "See 'docker ", "time=", " Network ", "WARNING: IPv4 forwarding"]
                    .iter()
                    .any(|begin| line.starts_with(begin));
            if !is_of_engine {
                writeln!(shown, "  {}", line.trim_end()).unwrap();
            }
        }
        writeln!(shown, "  exit {}", ran.code.unwrap_or(-1)).unwrap();
        shown
            .replace(&self.nas.home.directory.path().display().to_string(), "DIR")
            .replace(&self.web.namespace().path().display().to_string(), "{web}")
    }

    /// Takes away all containers and networks, and what is remembered of names.
    fn begin_anew(&self) {
        let nas = self.nas;
        let listed = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for id in listed(&nas.docker("ps -aq")) {
            nas.docker(&format!("rm -f {id}"));
        }
        for id in listed(&nas.podman("ps -aq")) {
            nas.podman(&format!("rm -f -t 0 {id}"));
        }
        eventually("no container is on a network", || nas.places().is_empty());
        for id in listed(&nas.docker("network ls -q --filter type=custom")) {
            nas.docker(&format!("network rm {id}"));
        }
        for name in listed(&nas.podman("network ls -q")) {
            if name != "podman" {
                nas.podman(&format!("network rm {name}"));
            }
        }
        let networks = || nas.home.status()["networks"].as_array().unwrap().clone();
        eventually("no network is left", || {
            for network in networks() {
                // An engine's goes when the daemon has seen that the engine's own has gone.
                let _ = nas.home.run(&format!("network rm {}", network["network"]["name"].as_str().unwrap()));
            }
            networks().is_empty()
        });
        let state: serde_json::Value = serde_json::from_str(&nas.home.ok("state export")).unwrap();
        let rows = state["rows"].as_object().cloned().unwrap_or_default();
        for name in rows.keys().filter_map(|key| key.strip_prefix("identity/")?.split('/').next_back()) {
            let _ = nas.home.run(&format!("forget {name}"));
        }
    }
}

/// A line without ids of containers and networks, and without MACs that nobody typed.
fn without_ids(line: &str, typed: &str) -> String {
    let is_hex = |word: &str| word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut shown = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b':').count();
        let (word, after) = rest.split_at(length);
        let bare = word.trim_end_matches(':');
        if [12, 64].contains(&bare.len()) && is_hex(bare) && bare.bytes().any(|byte| byte.is_ascii_digit()) {
            shown += "ID";
            shown += &word[bare.len()..];
        } else if bare.len() == 17
            && !typed.contains(bare)
            && bare.split(':').count() == 6
            && bare.split(':').all(is_hex)
        {
            shown += "MAC";
        } else {
            shown += word;
        }
        let one = after.chars().next().map_or(0, char::len_utf8);
        shown += &after[..one];
        rest = &after[one..];
    }
    shown
}
