//! The daemon itself: one for each network namespace, what it needs to start, and what must not end it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ashore_lab::{Daemon, Ran, cannot_run};
use home::strace::{Strace, let_go};
use home::{Home, PROGRAM, addresses, eventually, ip, is_root, reaches};

/// The error of a daemon that does not start. Another command starts it, on a machine and in a directory of
/// its own.
fn refused(home: &Home, launcher: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_by(launcher, Path::new(PROGRAM), &home.nas, directory.path());
    daemon.err().expect("it does not come up").to_string()
}

const NOBODY: [&str; 7] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];

#[test]
fn there_is_one_for_each_namespace_whatever_its_directories() {
    let home = Home::new();
    let first = format!("another ashore daemon (pid {}) runs in this network namespace", home.daemon().pid());
    let said = refused(&home, &[]);
    assert!(said.contains("exit status: 5") && said.contains(&first), "{said}");
    // On another machine it is not a second daemon.
    let other = home.world.machine("nas2", 10).unwrap();
    let directory = tempfile::tempdir().unwrap();
    Daemon::start(Path::new(PROGRAM), &other, directory.path()).unwrap();
}

#[test]
fn one_in_a_container_that_shares_the_hosts_network_is_a_second_one_too() {
    let home = Home::new();
    let contained = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    let said = refused(&home, &contained);
    assert!(said.contains("exit status: 5") && said.contains("another ashore daemon runs in this"), "{said}");
}

#[test]
fn no_ordinary_user_can_keep_it_from_starting() {
    if !is_root() {
        return cannot_run("daemon, ordinary user", "only root can become another user");
    }
    let mut home = Home::new();
    home.daemon = None;
    let [become_nobody, nobody @ ..] = NOBODY;
    let as_nobody = |program: &str| {
        let mut command = home.nas.command(become_nobody).unwrap();
        command.args(nobody).arg(program);
        command
    };
    let lock = "/proc/sys/net/ipv4/tcp_fastopen_key";
    let ran = Ran::of(as_nobody("flock").args(["--nonblock", lock, "true"])).unwrap();
    assert!(ran.stderr.contains("Permission denied"), "{}{}", ran.stdout, ran.stderr);

    // Any process may take the name that a daemon in a container would see, and may let its callers wait.
    let squat = r#"socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, "\1\0\0ashore") or die $!; listen(S, 0); $| = 1; print "bound\n"; sleep"#;
    let mut squatter =
        as_nobody("perl").args(["-MSocket", "-e", squat]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(squatter.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "bound\n");
    home.start();
    home.create_lan();
    // The daemon keeps its lock.
    let said = refused(&home, &[]);
    assert!(said.contains(&format!("(pid {})", home.daemon().pid())), "{said}");
    squatter.kill().unwrap();
    squatter.wait().unwrap();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    reaches(&home.laptop, ip("192.168.88.192"));
}

#[test]
fn without_a_capability_that_it_needs_it_does_not_come_up_and_says_which() {
    let home = Home::new();
    for (capability, name) in
        [("net_raw", "CAP_NET_RAW"), ("net_admin", "CAP_NET_ADMIN"), ("sys_admin", "CAP_SYS_ADMIN")]
    {
        let [bounding, inheritable] =
            ["bounding-set", "inh-caps"].map(|set| format!("--{set}=-{capability}"));
        let said = refused(&home, &["setpriv", &bounding, &inheritable, "--"]);
        assert!(said.contains("exit status: 9") && said.contains(&format!("{name} is missing")), "{said}");
    }
}

/// A daemon that panics. An environment variable that only debug builds know asks for the panic.
fn with_fault(home: &mut Home, at: &str) {
    home.start_by(&["env", &format!("ASHORE_FAULT={at}")]);
}

/// All threads that a daemon without a socket for users other than root needs.
const NEEDED: [&str; 13] = [
    "lan",
    "docker",
    "control",
    "read",
    "plug",
    "leases",
    "routers",
    "claims",
    "deferred",
    "leaving",
    "search",
    "chronicle",
    "watch",
];

#[test]
fn a_panic_in_a_thread_that_it_needs_ends_it_and_the_next_start_loses_nothing() {
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""))[0];
    let pings = [home.laptop.pings(at), home.nas.pings(at), web.pings(ip(home::HOST))];
    for thread in NEEDED {
        home.daemon = None;
        // A thread without its fault must not keep the test for ever.
        let mut daemon = home.nas.command("timeout").unwrap();
        let directory = home.directory.path();
        daemon
            .args(["60", PROGRAM, "daemon", "--state"])
            .arg(directory.join("state"))
            .arg("--run")
            .arg(directory);
        daemon.arg("--docker-plugin").arg(directory.join("plugins/ashore.sock"));
        let ended = Ran::of(daemon.env("ASHORE_FAULT", thread)).unwrap();
        // It ends by a signal, which an init system counts as a failure.
        assert_eq!(ended.code, None, "{}", ended.stderr);
        for said in [format!("thread '{thread}'"), format!("ASHORE_FAULT={thread}"), "and ends".to_owned()] {
            assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        }
        home.start();
        let status = home.status();
        assert_eq!(status["troubles"].as_array().unwrap().len(), 0, "{status}");
        assert_eq!(status["endpoints"][0]["stage"], "attached", "{status}");
    }
    for stream in pings {
        let counted = stream.end();
        assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
    }
}

#[test]
fn a_panic_over_one_request_stays_with_it() {
    let mut home = Home::new();
    home.create_lan();
    home.daemon = None;
    with_fault(&mut home, "request");
    let pid = home.daemon().pid();
    let web = home.world.container("web").unwrap();
    let attach = format!("attach lan --netns {} --name web", web.namespace().path().display());
    let ran = home.run(&attach);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("internal error of the daemon: ASHORE_FAULT=request"), "{}", ran.stderr);
    assert!(ran.stderr.contains("try: "), "{}", ran.stderr);
    home.ok(&attach);
    reaches(&home.laptop, ip("192.168.88.192"));
    assert_eq!(home.status()["pid"], pid);
}

#[test]
fn a_panic_over_one_of_dockers_calls_stays_with_it() {
    let mut home = Home::new();
    home.daemon = None;
    with_fault(&mut home, "call");
    let plugin = home.directory.path().join("plugins/ashore.sock");
    // The previous daemon's socket exists until this daemon has its own.
    eventually("it listens to engines", || UnixStream::connect(&plugin).is_ok());
    let call = || {
        let mut stream = UnixStream::connect(&plugin).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
            .write_all(b"POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let first = call();
    assert!(first.contains("internal error of the daemon: ASHORE_FAULT=call"), "{first}");
    let second = call();
    assert!(second.contains("NetworkDriver"), "{second}");
}

#[test]
fn without_another_thread_one_client_is_answered_after_the_other() {
    let Some(strace) = Strace::find("daemon, threads") else { return };
    let mut home = Home::new();
    home.create_lan();
    let faults = strace.inject(home.daemon().pid(), "clone,clone3", "error=EAGAIN");
    for _ in 0..3 {
        assert!(home.ok("status").contains("lan"));
    }
    drop(faults);
    assert!(home.ok("status").contains("lan"));
    assert!(!home.daemon.as_mut().unwrap().ended_within(Duration::ZERO).unwrap());
}

#[test]
fn a_reconciliation_that_failed_is_shown_until_one_succeeds() {
    let Some(strace) = Strace::find("daemon, reconciliation") else { return };
    let home = Home::new();
    home.create_lan();
    let troubled = || home.troubles().to_string().contains("could not reconcile");
    let faults = strace.inject_in_threads(home.daemon().pid(), ["watch"], "sendto", "error=EIO");
    home.nudge();
    eventually("it is shown", troubled);
    assert!(home.codes().contains(&"not-reconciled".to_owned()), "{:?}", home.codes());
    // Other writes to the state meanwhile do not hide the fault.
    for name in ["web", "db"] {
        let container = home.world.container(name).unwrap();
        reaches(&home.laptop, addresses(&home.attach("lan", &container, ""))[0]);
        assert!(troubled());
        home.ok(&format!("detach lan {name}"));
    }
    drop(faults);
    home.nudge();
    eventually("all is in line", || home.troubles().as_array().unwrap().is_empty());
}

/// `IFA_F_TENTATIVE`.
const TENTATIVE: u8 = 0x40;

#[test]
fn a_reconciliation_that_stopped_at_a_failed_write_is_shown_until_one_succeeds() {
    let Some(strace) = Strace::find("daemon, reconciliation at a failed write") else { return };
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    // The daemon ends before it has recorded that the endpoint is complete. The next one has to record that
    // before it reconciles anything.
    let faults =
        strace.inject_in_threads(home.daemon().pid(), ["deferred", "watch"], "pwrite64", "error=ENOSPC");
    let at = addresses(&home.attach("lan", &web, ""))[0];
    home.daemon = None;
    drop(faults);
    // Which would have the record.
    std::fs::remove_file(home.directory.path().join("backlog")).unwrap();
    // The end of duplicate address detection would be a reason to reconcile.
    eventually("the host's own addresses are settled", || {
        let listed =
            Ran::of(home.nas.command("cat").unwrap().arg("/proc/thread-self/net/if_inet6")).unwrap().stdout;
        let flags = listed.lines().filter_map(|line| line.split_whitespace().nth(4));
        flags.filter_map(|flags| u8::from_str_radix(flags, 16).ok()).all(|flags| flags & TENTATIVE == 0)
    });
    let starts_with_failing_writes = |from: u32| {
        let launcher = strace.launcher("fdatasync", &format!("error=EIO:when={from}+"));
        let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
        Daemon::start_by(&launcher, Path::new(PROGRAM), &home.nas, home.directory.path()).ok()
    };
    // It does not start if the state cannot be opened, which may take some writes too.
    home.daemon = Some((1..20).find_map(starts_with_failing_writes).expect("it comes up"));
    let troubles = || home.status()["troubles"].to_string();
    assert!(troubles().contains("could not reconcile"), "{}", troubles());
    // A request that fails as well does not hide it.
    let refused =
        home.run("network create other --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.64/27");
    assert!(refused.code != Some(0) && refused.stderr.contains("I/O error"), "{refused:?}");
    assert!(troubles().contains("could not reconcile"), "{}", troubles());
    let_go(home.daemon().pid());
    home.nudge();
    eventually("all is in line", || home.status()["troubles"].as_array().unwrap().is_empty());
    reaches(&home.laptop, at);
}

#[test]
fn what_changes_nothing_is_answered_while_a_request_waits_for_the_disk() {
    let Some(strace) = Strace::find("daemon, a slow disk") else { return };
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    home.attach("lan", &web, "");
    eventually("all is in order", || home.ok("plan").contains("nothing to change"));
    let faults = strace.inject(home.daemon().pid(), "fdatasync,fsync", "delay_enter=100000000");
    std::thread::scope(|scope| {
        let mut attach = Command::new(PROGRAM);
        attach.args(["attach", "lan", "--name", "db", "--netns"]).arg(db.namespace().path());
        attach.env("ASHORE_SOCKET", home.daemon().socket());
        let attach = scope.spawn(move || Ran::of(&mut attach).unwrap());
        // The attach has the lock now, and waits for the disk.
        std::thread::sleep(Duration::from_secs(2));
        let said = ["status", "network ls", "network inspect lan", "plan", "state export"]
            .map(|line| (home.ok(line), line));
        assert!(!attach.is_finished(), "it still waits");
        for (said, line) in &said {
            assert!(line.starts_with("plan") || said.contains("lan"), "{line}: {said}");
        }
        let [(status, ..), ..] = &said;
        assert!(status.contains("web") && !status.contains("db"), "{status}");
        assert!(status.contains("requests are being carried out"), "{status}");
        // The shim is there. The route to `db` and its link are the work of the attach.
        let (plan, ..) = said.iter().find(|(.., line)| *line == "plan").unwrap();
        assert!(plan.starts_with("# requests are being carried out right now: "), "{plan}");
        assert!(plan.lines().next().unwrap().contains("; try: try again in a moment"), "{plan}");
        drop(faults);
        attach.join().unwrap().expect_success();
    });
    reaches(&home.laptop, ip("192.168.88.193"));
    // Whoever has an answer sees what it says, and nothing else.
    eventually("no request is being carried out", || home.ok("plan") == "# nothing to change\n");
    let status = home.status();
    assert_eq!(status["endpoints"].as_array().unwrap().len(), 2, "{status}");
    eventually("all is in order", || home.troubles().as_array().unwrap().is_empty());
}

#[test]
fn it_says_that_it_is_ready_when_its_sockets_answer() {
    let mut home = Home::new();
    home.daemon = None;
    let at = |file: &str| home.directory.path().join(file);
    let (path, socket, plugin) = (at("notify"), at("ashore.sock"), at("plugins/ashore.sock"));
    let init = UnixDatagram::bind(&path).unwrap();
    init.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (said, status, called) = std::thread::scope(|scope| {
        // What an init system does on this message: it starts the units that wait for the daemon.
        let told = scope.spawn(|| {
            let mut word = [0; 64];
            let length = init.recv(&mut word).unwrap();
            let status = Ran::of(Command::new(PROGRAM).arg("status").env("ASHORE_SOCKET", &socket)).unwrap();
            (word[..length].to_vec(), status, UnixStream::connect(&plugin))
        });
        home.start_by(&["env", &format!("NOTIFY_SOCKET={}", path.display())]);
        told.join().unwrap()
    });
    assert!(said.starts_with(b"READY=1"), "{}", String::from_utf8_lossy(&said));
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    called.unwrap();
}

#[test]
fn a_damaged_state_is_refused_with_what_helps() {
    let mut home = Home::new();
    home.daemon = None;
    let file = home.directory.path().join("state/state.redb");
    std::fs::write(&file, "no database at all".repeat(1000)).unwrap();
    let started = Daemon::start(Path::new(PROGRAM), &home.nas, home.directory.path());
    let said = started.err().expect("it does not come up").to_string();
    assert!(said.contains("exit status: 7"), "{said}");
    for words in [file.to_str().unwrap(), "state.redb.damaged", "ashore state restore"] {
        assert!(said.contains(words), "{said}");
    }
    // The remedy in the message works.
    std::fs::rename(&file, file.with_extension("redb.damaged")).unwrap();
    home.start();
    home.create_lan();
}
