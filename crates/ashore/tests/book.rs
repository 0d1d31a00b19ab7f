//! The book's first chapters and README tell what happens: their commands are typed on a home LAN with a real Docker
//! engine, in the order in which they stand there, and what is shown must be what they say.
//!
//! A block of commands is fenced as `console`. `$ ` is typed on the NAS, `laptop$ ` on the laptop. What follows is what
//! is shown; `…` stands for anything, and on a line of its own for any lines.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ashore_lab::{Engines, Machine, Ran, cannot_run};
use home::dhcp::Server;
use home::shown::are_as_told;
use home::site::Site;
use home::{PROGRAM, comes_true, eventually};

/// How long what was told may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// A command, and what is shown then.
#[derive(Debug, PartialEq, Eq)]
struct Typed {
    on_laptop: bool,
    command: String,
    told: String,
}

/// The text of a document of this repository.
fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All that a document says is typed, in its order.
fn typed(document: &str) -> Vec<Typed> {
    let mut all = Vec::new();
    let mut block = None::<Vec<Typed>>;
    for line in document.lines() {
        match (&mut block, line) {
            (None, "```console") => block = Some(Vec::new()),
            (None, _) => {}
            (Some(_), "```") => all.extend(block.take().unwrap_or_default()),
            (Some(lines), line) => {
                let laptops = line.strip_prefix("laptop$ ");
                if let Some(command) = laptops.or_else(|| line.strip_prefix("$ ")) {
                    let on_laptop = laptops.is_some();
                    lines.push(Typed { on_laptop, command: command.to_owned(), told: String::new() });
                } else {
                    let last = lines.last_mut().expect("a block begins with a command");
                    last.told.push_str(line);
                    last.told.push('\n');
                }
            }
        }
    }
    assert_eq!(block, None, "a block does not end");
    all
}

/// A site with what a reader has: a router that hands out addresses, Docker, and an image that is called `nginx`.
struct Reader {
    site: Site,
    _server: Server,
    /// The directory of the commands that a reader types.
    commands: PathBuf,
}

impl Reader {
    fn new(engines: &Engines) -> Reader {
        let site = Site::new(engines, "sid");
        let directory = site.home.directory.path().to_owned();
        let pool = "192.168.88.100,192.168.88.191,255.255.255.0,1h";
        let server = Server::dnsmasq(engines, &site.home.router, &directory, pool, &[]);
        eventually("the server answers", || site.home.ok("pool-check --json").contains("192.168.88.1\""));
        let commands = directory.join("commands");
        std::fs::create_dir(&commands).unwrap();
        symlink(PROGRAM, commands.join("ashore")).unwrap();
        // As the container's web server below.
        symlink(engines.path("usr/bin/busybox"), commands.join("wget")).unwrap();
        let program = |name: &str, script: &str| {
            let path = commands.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        program("sudo", "exec \"$@\"");
        program("docker", &as_script(&site));
        let reader = Reader { site, _server: server, commands };
        reader.bring_nginx(engines, &directory);
        reader
    }

    /// Imports a stand-in for nginx: busybox serves the first lines of nginx' own first page.
    fn bring_nginx(&self, engines: &Engines, directory: &Path) {
        let tree = directory.join("nginx");
        std::fs::create_dir_all(tree.join("www")).unwrap();
        std::fs::copy(engines.path("usr/bin/busybox"), tree.join("busybox")).unwrap();
        let page = "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to nginx!</title>\n";
        std::fs::write(tree.join("www/index.html"), page).unwrap();
        let serve = r#"CMD ["/busybox","httpd","-f","-h","/www"]"#;
        let command = format!(
            "tar -C {} -c . | docker import --change '{serve}' --change 'STOPSIGNAL SIGKILL' - nginx",
            tree.display()
        );
        self.shows(&self.site.home.nas, &command).expect_success();
    }

    /// Types a command on a machine. Errors are among what it shows.
    fn shows(&self, machine: &Machine, command: &str) -> Ran {
        let engines = Engines::find().unwrap();
        let mut shell = machine.command("sh").unwrap();
        shell.args(["-c", &format!("exec 2>&1\n{command}")]);
        engines.equip(&mut shell).env("ASHORE_SOCKET", self.site.home.daemon().socket()).env("LC_ALL", "C");
        let path = shell.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path);
        let path = std::env::split_paths(path.unwrap_or_default()).collect::<Vec<_>>();
        let path = std::env::join_paths([self.commands.clone()].into_iter().chain(path)).unwrap();
        Ran::of(shell.env("PATH", path)).unwrap()
    }

    /// Does what a document says, and compares.
    fn follows(&self, name: &str) {
        let all = typed(&read(name));
        assert!(all.len() > 3, "the commands of {name} were not understood: {all:?}");
        for Typed { on_laptop, command, told } in all {
            let home = &self.site.home;
            let machine = if on_laptop { &home.laptop } else { &home.nas };
            let mut shown = String::new();
            let is_as_told = comes_true(if looks(&command) { PATIENCE } else { Duration::ZERO }, || {
                let ran = self.shows(machine, &command);
                shown = ran.stdout;
                // Where a document tells of no particular output, the command has to work: it tells of errors.
                are_as_told(&shown, &told) && (!["", "…"].contains(&told.trim()) || ran.code == Some(0))
            });
            assert!(
                is_as_told,
                "{name} says of `{command}`:\n{told}\nand it shows:\n{shown}\n{}",
                self.site.logs()
            );
        }
    }
}

/// Whether a command only looks, so that it may be typed again: of what comes a moment later.
fn looks(command: &str) -> bool {
    ["ping ", "wget ", "sudo ashore status", "sudo ashore ls", "sudo ashore doctor"]
        .iter()
        .any(|begin| command.starts_with(begin))
}

/// The script of a `docker` that reaches the site's engine.
fn as_script(site: &Site) -> String {
    let command: Command = site.docker.command("docker");
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let socket = site.docker.socket();
    format!(
        "cd /\nPATH=/usr/sbin:/usr/bin:/sbin:/bin exec {} --host unix://{} \"$@\"",
        words.join(" "),
        socket.display()
    )
}

/// Runs a test for which a reader needs `ping`.
fn as_reader(test: &str, read: impl FnOnce(Reader)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(engines) => {
            let mut ping = Command::new("ping");
            match engines.equip(&mut ping).arg("-V").output() {
                Err(why) => cannot_run(test, &format!("ping: {why}")),
                Ok(_) => read(Reader::new(&engines)),
            }
        }
    }
}

#[test]
fn docker_in_five_minutes() {
    as_reader("book, docker.md", |reader| {
        reader.follows("docs/docker.md");
        reader.site.assert_nothing_left();
    });
}

#[test]
fn readme() {
    as_reader("book, README.md", |reader| reader.follows("README.md"));
}

/// What these chapters show is not compared. VLANs need another kernel than the usual one.
#[test]
fn networks_of_other_chapters_can_be_made() {
    as_reader("book, other chapters", |reader| {
        let nas = &reader.site.home.nas;
        for name in ["docs/addresses.md", "docs/ipv6.md"] {
            let document = read(name);
            let create = |line: &str| line.strip_prefix("$ docker network create ").map(str::to_owned);
            let all: Vec<String> = document.lines().filter_map(create).collect();
            assert!(!all.is_empty(), "the commands of {name} were not understood");
            for options in all {
                let network = options.rsplit(' ').next().unwrap_or_default();
                for command in
                    [format!("docker network create {options}"), format!("docker network rm {network}")]
                {
                    let ran = reader.shows(nas, &command);
                    assert_eq!(ran.code, Some(0), "{name}: {command}: {}", ran.stdout);
                }
            }
        }
    });
}

/// What is not typed above, because it builds, or installs into the system: who else runs it.
const ELSEWHERE: [(&str, &str); 3] = [
    (
        "cargo build --release && sudo target/release/ashore install",
        "systemd.rs: the same program, without cargo",
    ),
    ("cargo run --release -- lab", "lab.rs: the same program, without cargo"),
    ("cargo xtask test", "whoever runs this test"),
];

#[test]
fn every_command_is_typed_by_a_test() {
    for name in ["README.md", "docs/docker.md", "docs/from-macvlan.md"] {
        let document = read(name);
        let blocks = document.split("\n```").skip(1).step_by(2);
        for block in blocks.filter_map(|block| block.strip_prefix('\n')) {
            for command in block.lines().map(|line| line.split("    #").next().unwrap_or(line).trim()) {
                assert!(ELSEWHERE.iter().any(|(known, _)| *known == command), "{name}: {command}");
            }
        }
    }
}

#[test]
fn from_macvlan() {
    as_reader("book, from-macvlan.md", |reader| reader.follows("docs/from-macvlan.md"));
}

#[test]
fn a_text_is_understood_as_it_is_meant() {
    let all = typed("a\n```console\n$ one\n\nshown\n…\nlaptop$ two\n```\n```\n$ other\n```\n");
    let one = Typed { on_laptop: false, command: "one".into(), told: "\nshown\n…\n".into() };
    let two = Typed { on_laptop: true, command: "two".into(), told: String::new() };
    assert_eq!(all, [one, two]);
    assert!(are_as_told("a\nb\nc 02:00:5e:00:00:01  d\n", "a\n…\nc aa:bb:cc:dd:ee:ff  d\n"));
    assert!(are_as_told("a\n", "a\n…\n") && are_as_told("", "…") && are_as_told("x 12 y", "x … y"));
    for (shown, told) in [("a\nb", "a"), ("a", "a\nb"), ("a 02:00:5e:00:00:01", "a 02:00"), ("b", "a\n…")] {
        assert!(!are_as_told(shown, told), "{shown}");
    }
}
