//! `ashore setup` on a terminal of 80 columns, where nothing but the cable is known: the questions, what is typed, and
//! the result, as a person sees them.

use std::io::{Read, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ashore_lab::cannot_run;
use home::{Home, PROGRAM, ip, reaches};

/// A program on a terminal.
struct Terminal {
    keyboard: ChildStdin,
    screen: Receiver<String>,
    /// All that was shown, with what was typed.
    shown: String,
    /// How much of it was waited for.
    read: usize,
}

impl Terminal {
    /// Runs a command on the NAS, on a terminal that `script` makes.
    fn of(home: &Home, words: &str) -> Terminal {
        let line = format!("stty cols 80 rows 24; PATH=/nowhere NO_COLOR=1 exec {PROGRAM} {words}");
        let mut script = home.nas.command("script").unwrap();
        script.args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]);
        script.env("ASHORE_SOCKET", home.daemon().socket()).env("TERM", "xterm").env("SHELL", "/bin/sh");
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let keyboard = child.stdin.take().unwrap();
        let mut from = child.stdout.take().unwrap();
        let (tell, screen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
                if tell.send(text).is_err() {
                    break;
                }
            }
            let _ = child.wait();
        });
        Terminal { keyboard, screen, shown: String::new(), read: 0 }
    }

    /// Waits until a text is shown that was not waited for yet.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(at) = self.shown[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            match self.screen.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(more) => self.shown += &more.replace('\r', ""),
                Err(why) => panic!("`{text}` is not shown: {why}\n{}", self.shown),
            }
        }
    }

    /// Types a line once a question is shown.
    #[track_caller]
    fn asks(&mut self, question: &str, answer: &str) {
        self.shows(question);
        writeln!(self.keyboard, "{answer}").unwrap();
    }

    /// All that is shown until the program ends.
    fn ends(mut self) -> String {
        while let Ok(more) = self.screen.recv_timeout(Duration::from_secs(120)) {
            self.shown += &more.replace('\r', "");
        }
        self.shown
    }
}

#[test]
fn a_person_is_asked_what_cannot_be_known_and_sees_the_network_work() {
    let home = Home::new();
    if home.nas.command("script").unwrap().arg("--version").output().is_err() {
        return cannot_run("setup, terminal", "there is no `script`");
    }
    let mut terminal = Terminal::of(&home, "setup --to 203.0.113.7");
    terminal.shows("looking at this host, and asking the LAN's DHCP servers");
    terminal.shows("eth0 faces the LAN 192.168.88.0/24");
    terminal.shows("its router is 192.168.88.1");
    terminal.shows("no DHCP server answered");
    terminal.shows("# for containers  p offered by DHCP  R router  H this host");
    // Without a DHCP server nobody is asked whether it is to hand out the addresses.
    terminal.asks("name of the network [lan]: ", "sea gull");
    terminal.asks("name of the network [lan]: ", "");
    terminal.asks("made with docker, podman or ashore [ashore]: ", "lxd");
    terminal.asks("made with docker, podman or ashore [ashore]: ", "");
    terminal.shows("this makes the network:");
    terminal.shows("ashore network create --subnet 192.168.88.0/24");
    terminal.asks("make it now? [Y/n] ", "perhaps");
    terminal.shows("yes or no");
    terminal.asks("make it now? [Y/n] ", "y");
    for line in [
        "✓ it reaches the router 192.168.88.1",
        "✓ it reaches this host at 192.168.88.9",
        "✓ this host reaches it at 192.168.88.",
        "✓ it reaches 203.0.113.7",
        "the first container:",
        "ashore attach lan",
    ] {
        terminal.shows(line);
    }
    let shown = terminal.ends();
    assert!(!shown.contains("leases of the router"), "{shown}");
    // What is to be copied stays in one piece. All else fits.
    let is_command =
        |line: &str| ["  ashore ", "  ip netns add "].iter().any(|begin| line.starts_with(begin));
    let wide: Vec<&str> =
        shown.lines().filter(|line| line.chars().count() > 80 && !is_command(line)).collect();
    assert_eq!(wide, [""; 0], "{shown}");
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    reaches(&web, ip("192.168.88.1"));
}

#[test]
fn who_says_no_has_changed_nothing() {
    let home = Home::new();
    if home.nas.command("script").unwrap().arg("--version").output().is_err() {
        return cannot_run("setup, terminal", "there is no `script`");
    }
    let mut terminal = Terminal::of(&home, "setup --name home --engine ashore");
    terminal.asks("make it now? [Y/n] ", "n");
    let shown = terminal.ends();
    assert!(!shown.contains("name of the network") && !shown.contains("made with"), "{shown}");
    assert_eq!(home.ok("network ls --json").trim(), "[]");
}

#[test]
fn a_network_without_a_name_is_asked_for_on_a_terminal_and_elsewhere_an_error() {
    let home = Home::new();
    if home.nas.command("script").unwrap().arg("--version").output().is_err() {
        return cannot_run("setup, terminal", "there is no `script`");
    }
    let mut terminal = Terminal::of(&home, "network create");
    terminal.shows("looking at this host, and asking the LAN's DHCP servers");
    terminal.asks("name of the network [lan]: ", "");
    terminal.asks("made with docker, podman or ashore [ashore]: ", "");
    terminal.asks("make it now? [Y/n] ", "n");
    terminal.ends();
    assert_eq!(home.ok("network ls --json").trim(), "[]");
    let ran = home.run("network create");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("NETWORK") && ran.stderr.contains("try: "), "{}", ran.stderr);
}

/// Without a DHCP server, a check of the pool waits some seconds for one.
#[test]
fn who_waits_on_a_terminal_is_told_for_what_and_a_program_is_not() {
    let home = Home::new();
    if home.nas.command("script").unwrap().arg("--version").output().is_err() {
        return cannot_run("setup, terminal", "there is no `script`");
    }
    let mut terminal = Terminal::of(&home, "pool-check");
    terminal.shows("asking the LAN …");
    terminal.shows("no DHCP server offered any");
    assert_eq!(terminal.ends().matches("asking the LAN").count(), 1);
    assert_eq!(home.run("pool-check").stderr, "");
}
