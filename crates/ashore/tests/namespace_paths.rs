//! A path that no longer leads to a namespace says nothing about the namespace. The namespace lives as long
//! as anything holds it, and its endpoint keeps its addresses as long. Nothing else gets them.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ashore_kernel::{InNamespace, Namespace};
use ashore_lab::{Machine, Pings};
use home::{Home, addresses, does_not_reach, eventually, ip, mac_known_to, reaches};
use nix::sched::CloneFlags;

const AT: &str = "192.168.88.192";

/// A process that is killed with the test at the latest.
struct Process(Child);

impl Process {
    /// Runs a shell script, and returns once it reports that it is ready.
    fn start(command: &mut Command) -> Process {
        Process::try_start(command).expect("it ended")
    }

    /// Runs a shell script. Returns `None` if it ends before it is ready.
    fn try_start(command: &mut Command) -> Option<Process> {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = Process(child);
        (line == "ready\n").then_some(process)
    }

    /// A process that does nothing in a container.
    fn idle(container: &Machine) -> Process {
        let mut command = container.command("sh").unwrap();
        Process::start(command.args(["-c", "echo ready; exec sleep 600"]))
    }

    /// A process that moves to a new network namespace when told to.
    fn that_leaves(container: &Machine) -> Process {
        let script =
            "$| = 1; print qq(ready\\n); <STDIN>; syscall(272, 0x40000000) == 0 or die $!; sleep 600";
        let mut command = container.command("perl").unwrap();
        Process::start(command.args(["-e", script]).stdin(Stdio::piped()))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn tell(&mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn troubles(home: &Home) -> String {
    home.troubles().to_string()
}

fn names(home: &Home) -> Vec<String> {
    let status = home.status();
    let all = status["endpoints"].as_array().unwrap().iter();
    all.map(|there| there["name"].as_str().unwrap().to_owned()).collect()
}

/// Attaches by a path, as the first endpoint on the network.
fn attach(home: &Home, name: &str, options: &str) -> String {
    let json = home.ok(&format!("attach lan --name {name} --json {options}"));
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(addresses(&report), [ip(AT)]);
    reaches(&home.laptop, ip(AT));
    report["mac"].as_str().unwrap().to_owned()
}

/// Asserts that nothing else gets the endpoint's address, by choice or by chance, and that the LAN reaches it
/// throughout.
fn keeps_its_address(home: &Home, mac: &str, pings: Pings) {
    let other = home.world.container("other").unwrap();
    let path = other.namespace().path().display().to_string();
    let refused = home.run(&format!("attach lan --netns {path} --name other --ip {AT}"));
    assert_eq!(refused.code, Some(5), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("web"), "{}", refused.stderr);
    let report = home.attach("lan", &other, "");
    assert_ne!(addresses(&report), [ip(AT)]);
    reaches(&home.laptop, addresses(&report)[0]);
    home.ok("detach lan other");
    reaches(&home.laptop, ip(AT));
    reaches(&home.nas, ip(AT));
    assert_eq!(mac_known_to(&home.laptop, ip(AT)), mac);
    let counted = pings.end();
    assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
}

/// Asserts that the namespace is found by another path, that the status shows it, and that the endpoint is
/// detached by that path.
fn is_found_and_detached(home: Home, mac: &str, by: &Path) {
    is_shown_and_detached(home, mac, &format!("found by {}", by.display()));
}

/// The same for arbitrary words of the status.
fn is_shown_and_detached(mut home: Home, mac: &str, by: &str) {
    for _ in 0..2 {
        let pings = home.laptop.pings(ip(AT));
        home.nudge();
        eventually(by, || troubles(&home).contains(by));
        keeps_its_address(&home, mac, pings);
        // A daemon that restarts finds the namespace again.
        home.restart();
    }
    eventually(by, || troubles(&home).contains(by));
    let detached = home.run("detach lan web");
    assert_eq!((detached.code, detached.stderr.as_str()), (Some(0), ""));
    does_not_reach(&home.laptop, ip(AT));
    assert!(!names(&home).contains(&"web".to_owned()));
    let other = home.world.container("new").unwrap();
    home.attach("lan", &other, &format!("--ip {AT}"));
    reaches(&home.laptop, ip(AT));
}

#[test]
fn of_a_process_that_ends_while_another_lives_on() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let (first, second) = (Process::idle(&web), Process::idle(&web));
    drop(web);
    let mac = attach(&home, "web", &format!("--pid {}", first.pid()));
    first.kill();
    is_found_and_detached(home, &mac, Path::new(&format!("/proc/{}/ns/net", second.pid())));
}

#[test]
fn of_a_process_that_leaves_while_another_stays() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let (mut first, second) = (Process::that_leaves(&web), Process::idle(&web));
    drop(web);
    let mac = attach(&home, "web", &format!("--netns /proc/{}/ns/net", first.pid()));
    first.tell();
    is_found_and_detached(home, &mac, Path::new(&format!("/proc/{}/ns/net", second.pid())));
}

/// A container with a path of its own below the test's directory.
fn bound(home: &Home) -> (Namespace, PathBuf) {
    let path = home.directory.path().join("bound");
    (Namespace::new().unwrap().bind(&path).unwrap(), path)
}

/// Namespaces whose numbers are lower than those of all that are made while these are held, because the kernel
/// gives a new namespace the lowest free number. Once they are dropped, the namespaces of other tests get these
/// numbers, and not that of a namespace that has just ended: a number with another namespace says for certain
/// that the first one is gone.
fn low_numbers() -> Vec<File> {
    const MANY: usize = 500;
    ashore_kernel::raise_descriptor_limit().unwrap();
    let one = |_| {
        nix::sched::unshare(CloneFlags::CLONE_NEWUTS).unwrap();
        File::open("/proc/thread-self/ns/uts").unwrap()
    };
    let all = || (0..MANY).map(one).collect();
    std::thread::scope(|scope| scope.spawn(all).join().unwrap())
}

fn unmount(path: &Path) {
    assert!(Command::new("umount").arg("--lazy").arg(path).status().unwrap().success());
}

#[test]
fn of_a_mount_that_is_taken_away_while_a_process_is_inside() {
    let home = Home::new();
    home.create_lan();
    let (namespace, path) = bound(&home);
    let mut inside = Command::new("sh");
    inside.args(["-c", "echo ready; exec sleep 600"]);
    let process = Process::start(inside.in_namespace(&namespace).unwrap());
    drop((namespace, inside));
    let mac = attach(&home, "web", &format!("--netns {}", path.display()));
    unmount(&path);
    is_found_and_detached(home, &mac, Path::new(&format!("/proc/{}/ns/net", process.pid())));
}

#[test]
fn of_a_mount_that_is_taken_away_while_a_process_has_it_open() {
    let home = Home::new();
    home.create_lan();
    let (namespace, path) = bound(&home);
    let mut outside = Command::new("sh");
    outside.args(["-c", "echo ready; exec sleep 600"]).stdin(File::open(&path).unwrap());
    let process = Process::start(&mut outside);
    drop((namespace, outside));
    let mac = attach(&home, "web", &format!("--netns {}", path.display()));
    unmount(&path);
    is_found_and_detached(home, &mac, Path::new(&format!("/proc/{}/fd/0", process.pid())));
}

#[test]
fn of_a_mount_that_another_mount_namespace_still_has() {
    let home = Home::new();
    home.create_lan();
    let (namespace, path) = bound(&home);
    drop(namespace);
    let mut elsewhere = Command::new("unshare");
    let process = Process::start(elsewhere.args(["--mount", "sh", "-c", "echo ready; exec sleep 600"]));
    let mac = attach(&home, "web", &format!("--netns {}", path.display()));
    unmount(&path);
    // Through this process, or through another one that meanwhile has the same mount namespace.
    is_shown_and_detached(home, &mac, &format!("/root{}", path.display()));
    drop(process);
}

#[test]
fn by_a_mount_whose_path_is_no_text() {
    const LEAVES: &str =
        "$| = 1; print qq(ready\\n); <STDIN>; syscall(272, 0x40000000) == 0 or die $!; sleep 600";
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let mut command = web.command("unshare").unwrap();
    let script = format!(
        r#"p=$(printf '%s/\\377\\033[2Jm' "$0"); : > "$p"; mount --bind /proc/self/ns/net "$p"; exec perl -e '{LEAVES}'"#
    );
    command.args(["--mount", "sh", "-ec", &script]).arg(home.directory.path()).stdin(Stdio::piped());
    let mut process = Process::start(&mut command);
    let mac = attach(&home, "web", &format!("--pid {}", process.pid()));
    drop(web);
    let pings = home.laptop.pings(ip(AT));
    process.tell();
    home.nudge();
    eventually("it is reported", || {
        troubles(&home).contains("no longer leads to its namespace, which was found by")
    });
    home.restart();
    keeps_its_address(&home, &mac, pings);
    assert!(!home.ok("status").contains('\u{1b}'));
    home.ok("state export");
    home.ok("detach lan web");
    does_not_reach(&home.laptop, ip(AT));
    process.kill();
}

#[test]
fn one_that_a_socket_alone_keeps_cannot_be_found_and_keeps_its_address_until_it_has_gone() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let mac = home.attach("lan", &web, "")["mac"].as_str().unwrap().to_owned();
    let socket = web.inside(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    let pings = home.laptop.pings(ip(AT));
    drop(web);
    home.nudge();
    eventually("it is reported", || troubles(&home).contains("`web` is still on the LAN"));
    keeps_its_address(&home, &mac, pings);
    // The same name does not get a second endpoint, and a detach does not claim that the endpoint is off the
    // LAN.
    let again = home.world.container("web").unwrap();
    let path = again.namespace().path().display().to_string();
    let refused = home.run(&format!("attach lan --netns {path} --name web"));
    assert_eq!(refused.code, Some(5), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("still on the LAN"), "{}", refused.stderr);
    let detached = home.run("detach lan web");
    assert!(detached.stderr.contains("still on the LAN"), "{}{}", detached.stdout, detached.stderr);
    reaches(&home.laptop, ip(AT));
    assert_eq!(names(&home), ["web"]);
    drop(socket);
    eventually("it has gone", || names(&home).is_empty());
    home.attach("lan", &again, &format!("--ip {AT}"));
    reaches(&home.laptop, ip(AT));
}

#[test]
fn what_nobody_holds_any_more_is_gone_and_gives_its_address_free() {
    let mut home = Home::new();
    home.create_lan();
    for restarted in [false, true] {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        drop(web);
        if restarted {
            home.restart();
        } else {
            home.nudge();
        }
        eventually("it is gone", || names(&home).is_empty());
        let status = home.status();
        assert_eq!(status["troubles"].as_array().unwrap().len(), 0, "{status}");
        assert!(home.made_routes().is_empty());
        let other = home.world.container("other").unwrap();
        home.attach("lan", &other, &format!("--ip {AT}"));
        reaches(&home.laptop, ip(AT));
        home.ok("detach lan other");
    }
}

#[test]
fn the_same_name_takes_it_back_from_wherever_it_was_left() {
    let mut home = Home::new();
    home.create_lan();
    for found_before in [true, false] {
        let old = home.world.container("old").unwrap();
        let (first, second) = (Process::idle(&old), Process::idle(&old));
        let mac = attach(&home, "web", &format!("--pid {}", first.pid()));
        first.kill();
        if found_before {
            home.nudge();
            eventually("it is found", || troubles(&home).contains("found by"));
        }
        let web = home.world.container("web").unwrap();
        let report = home.attach("lan", &web, "");
        assert_eq!((addresses(&report), report["mac"].as_str().unwrap()), (vec![ip(AT)], mac.as_str()));
        reaches(&home.laptop, ip(AT));
        reaches(&web, ip("192.168.88.1"));
        is_bare(&old);
        assert_eq!(home.ok("plan").trim(), "# nothing to change");
        let status = home.status();
        assert_eq!(status["troubles"].as_array().unwrap().len(), 0, "{status}");
        // Another namespace does not take the name from an endpoint that is still reachable by its path.
        let third = home.world.container("third").unwrap();
        let path = third.namespace().path().display().to_string();
        assert_eq!(home.run(&format!("attach lan --netns {path} --name web")).code, Some(5));
        reaches(&home.laptop, ip(AT));
        drop(second);
        home.ok("detach lan web");
        home.restart();
    }
}

#[test]
fn the_same_namespace_is_attached_again_by_a_path_that_leads_there() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let (first, second) = (Process::idle(&web), Process::idle(&web));
    let mac = attach(&home, "web", &format!("--pid {}", first.pid()));
    let pings = home.laptop.pings(ip(AT));
    first.kill();
    assert_eq!(attach(&home, "web", &format!("--pid {}", second.pid())), mac);
    let counted = pings.end();
    assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
    let status = home.status();
    assert_eq!(status["troubles"].as_array().unwrap().len(), 0, "{status}");
    assert_eq!(status["endpoints"][0]["netns"], format!("/proc/{}/ns/net", second.pid()));
}

/// Lets a container move its link to another namespace, and use it there.
fn moves_its_link(home: &Home, web: &Machine, nested: &Machine, at: IpAddr) {
    // The daemon first observes what the attach has changed.
    home.nudge();
    let keeper = Process::idle(nested);
    // In one call: a link that is down meanwhile counts as gone, and is created again.
    home::type_on(web, &format!("ip link set eth0 up netns {}", keeper.pid()));
    nested.add_address("eth0", format!("{at}/24").parse().unwrap()).unwrap();
}

/// Asserts that a container has nothing but its loopback link.
fn is_bare(container: &Machine) {
    let left = container.kernel().observe(&[]).unwrap().host.links;
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_link_that_its_container_has_moved_keeps_its_address_and_is_taken_off_wherever_it_is() {
    let mut home = Home::new();
    home.create_lan();
    let (web, nested) = (home.world.container("web").unwrap(), home.world.container("nested").unwrap());
    let mac = home.attach("lan", &web, "")["mac"].as_str().unwrap().to_owned();
    moves_its_link(&home, &web, &nested, ip(AT));
    eventually("the LAN reaches it", || home.laptop.ping(ip(AT)).is_some());
    for _ in 0..2 {
        let pings = home.laptop.pings(ip(AT));
        home.nudge();
        eventually("it is reported", || troubles(&home).contains("has moved its link"));
        keeps_its_address(&home, &mac, pings);
        home.restart();
    }
    home.ok("detach lan web");
    does_not_reach(&home.laptop, ip(AT));
    assert!(!names(&home).contains(&"web".to_owned()));
    is_bare(&web);
    is_bare(&nested);
    home.attach("lan", &web, "");
    reaches(&home.laptop, ip(AT));
}

#[test]
fn a_link_that_was_moved_and_is_down_is_taken_off_too() {
    let home = Home::new();
    home.create_lan();
    let (web, nested) = (home.world.container("web").unwrap(), home.world.container("nested").unwrap());
    home.attach("lan", &web, "");
    moves_its_link(&home, &web, &nested, ip(AT));
    nested.set_up("eth0", false).unwrap();
    home.ok("detach lan web");
    is_bare(&nested);
}

#[test]
fn the_link_of_another_daemons_endpoint_of_the_same_name_is_left_alone() {
    let (home, other) = (Home::new(), Home::new());
    let webs = [&home, &other].map(|home| {
        home.create_lan();
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        web
    });
    webs[0].remove_link("eth0").unwrap();
    home.ok("detach lan web");
    reaches(&other.laptop, ip(AT));
}

#[test]
fn by_way_of_a_filesystem_that_never_answers_holds_up_nobody() {
    let mut home = Home::new();
    home.create_lan();
    let [below, link, next] = ["below", "link", "next"].map(|name| home.directory.path().join(name));
    std::fs::create_dir(&below).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "perl", "-e", include_str!("../../kernel/tests/silent.pl")]).arg(&below);
    let Some(process) = Process::try_start(&mut command) else {
        return ashore_lab::cannot_run("an overlay on FUSE", "this kernel does not mount it");
    };
    let lead_to = |path: &Path| {
        std::os::unix::fs::symlink(path, &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
    };
    let (_namespace, path) = bound(&home);
    lead_to(&path);
    let mac = attach(&home, "web", &format!("--netns {}", link.display()));
    lead_to(Path::new(&format!("/proc/{}/root{}/over/x", process.pid(), below.display())));
    for _ in 0..2 {
        let pings = home.laptop.pings(ip(AT));
        home.nudge();
        eventually("it is reported", || troubles(&home).contains("may never answer"));
        for command in ["attach", "plan attach"] {
            let first = home.run(&format!("{command} lan --netns {} --name first", link.display()));
            assert!(first.code != Some(0) && first.stderr.contains("may never answer"), "{}", first.stderr);
        }
        keeps_its_address(&home, &mac, pings);
        // The daemon is killed, and ends.
        home.restart();
    }
    lead_to(&path);
    home.nudge();
    eventually("it is seen again", || !troubles(&home).contains("may never answer"));
    home.ok("detach lan web");
    does_not_reach(&home.laptop, ip(AT));
}

/// The inode number by which the kernel identifies a namespace.
fn inode(container: &Machine) -> u64 {
    container.namespace().identity().ino
}

/// Attaches a container, lets its namespace end, and creates a namespace with the same inode number.
fn heir_of_one_that_was_attached(home: &Home, path: &Path) -> Option<Machine> {
    let web = home.world.container("web").unwrap();
    let number = inode(&web);
    let bound = web.namespace().clone().bind(path).unwrap();
    attach(home, "web", &format!("--netns {}", path.display()));
    drop((bound, web));
    Namespace::unbind(path).unwrap();
    // The kernel gives a new namespace the lowest free number. The earlier namespaces occupy the numbers
    // below, and processes beside the test may occupy this one.
    let mut made = Vec::new();
    let heir = (0..50).find_map(|_| {
        let next = home.world.container("heir").unwrap();
        if inode(&next) == number {
            return Some(next);
        }
        made.push(next);
        std::thread::sleep(Duration::from_millis(20));
        None
    });
    if heir.is_none() {
        home.run("detach lan web");
    }
    heir
}

#[test]
fn a_namespace_that_has_the_number_of_one_that_is_gone_is_another() {
    let home = Home::new();
    home.create_lan();
    let path = home.directory.path().join("web");
    let Some(heir) = (0..40).find_map(|_| heir_of_one_that_was_attached(&home, &path)) else {
        return ashore_lab::cannot_run("a number used again", "the kernel used none");
    };
    // By the very same path.
    let bound = heir.namespace().clone().bind(&path).unwrap();
    home.nudge();
    eventually("it is gone", || names(&home).is_empty());
    assert_eq!(heir.kernel().observe(&[]).unwrap().host.links.len(), 1, "nothing was put into it");
    let report = home.attach("lan", &heir, &format!("--ip {AT}"));
    assert_eq!(addresses(&report), [ip(AT)]);
    reaches(&home.laptop, ip(AT));
    drop(bound);
}

#[test]
fn a_look_that_could_not_see_everything_does_not_tell_that_it_is_gone() {
    if !home::is_root() {
        return ashore_lab::cannot_run("an incomplete look", "only root has others' privileges to lack");
    }
    let mut home = Home::new();
    home.daemon = None;
    // Without this capability, the daemon may not look into a process with more privileges.
    home.start_by(&["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--"]);
    home.create_lan();
    let low = low_numbers();
    let (namespace, path) = bound(&home);
    drop((namespace, low));
    attach(&home, "web", &format!("--netns {}", path.display()));
    Namespace::unbind(&path).unwrap();
    home.nudge();
    eventually("it is reported", || troubles(&home).contains("detach"));
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(names(&home), ["web"]);
    let (_other, path) = bound(&home);
    let attach_other = format!("attach lan --netns {} --name other --ip {AT}", path.display());
    let refused = home.run(&attach_other);
    assert_eq!(refused.code, Some(5), "{}{}", refused.stdout, refused.stderr);
    // A user who knows that the endpoint is gone detaches it, and the kernel no longer has such a link.
    home.ok("detach lan web");
    home.ok(&attach_other);
    reaches(&home.laptop, ip(AT));
}

#[test]
fn what_was_there_before_the_hosts_last_start_is_gone() {
    if !home::is_root() {
        return ashore_lab::cannot_run("another start", "only root can mount over /proc");
    }
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    home.daemon = None;
    drop(web);
    let boot = home.directory.path().join("boot");
    std::fs::write(&boot, "11111111-2222-3333-4444-555555555555\n").unwrap();
    let mount = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id; exec \"$@\"";
    home.start_by(&["unshare", "--mount", "sh", "-ec", mount, boot.to_str().unwrap()]);
    // At the latest when the kernel has destroyed the namespace. A reboot does that earlier.
    eventually("it is gone", || names(&home).is_empty());
    let other = home.world.container("other").unwrap();
    home.attach("lan", &other, &format!("--ip {AT}"));
    reaches(&home.laptop, ip(AT));
}

fn older_version(restarted: bool) {
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let (first, second) = (Process::idle(&web), Process::idle(&web));
    drop(web);
    let mac = attach(&home, "web", &format!("--pid {}", first.pid()));
    let known = |home: &Home| -> serde_json::Value {
        let state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
        state["rows"]["endpoint/lan/web"]["home"]["netns"]["netns"]["cookie"].clone()
    };
    let cookie = known(&home);
    let mut state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
    let netns = &mut state["rows"]["endpoint/lan/web"]["home"]["netns"]["netns"];
    assert!(netns.as_object_mut().unwrap().remove("cookie").is_some(), "{netns}");
    home.daemon = None;
    std::fs::remove_dir_all(home.directory.path().join("state")).unwrap();
    home.start();
    let pings = home.laptop.pings(ip(AT));
    let file = home.directory.path().join("exported.json");
    std::fs::write(&file, state.to_string()).unwrap();
    let mut import = home.daemon().client();
    assert!(import.args(["state", "import"]).stdin(File::open(&file).unwrap()).status().unwrap().success());
    assert!(known(&home).is_null());
    if restarted {
        home.restart();
        assert_eq!(known(&home), cookie);
    }
    first.kill();
    let by = PathBuf::from(format!("/proc/{}/ns/net", second.pid()));
    eventually("it is found", || {
        home.nudge();
        troubles(&home).contains(&format!("found by {}", by.display()))
    });
    keeps_its_address(&home, &mac, pings);
    assert_eq!(known(&home), cookie);
}

#[test]
fn an_endpoint_of_an_older_version_is_known_again() {
    older_version(false);
    older_version(true);
}
