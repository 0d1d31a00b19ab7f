//! Users other than root, by the socket that is theirs: what root has allowed them, and what they try beyond that. They
//! call as their netavark would, by `ashore-plug`, or write what they like.

use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ashore_kernel::Namespace;
use home::users::{ALICE, BOB, Container, Inside, Site, described, said, site};
use home::{eventually, ip, reaches};
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt::Linger};
use serde_json::{Value, json};

#[test]
fn a_user_whom_root_has_allowed_it_is_on_the_lan_and_goes_again() {
    let Some(mut site) = site("--allow-user 1000") else { return };
    let (inside, web) = (site.namespaces_of(ALICE), Container::on_lan("c1", "web"));
    let created = site.call(ALICE, "create", "/dev/null", &described("lan").to_string());
    assert_eq!(created.code, Some(0), "{}", created.answer);
    assert_eq!(created.answer["subnets"][0]["subnet"], "192.168.88.0/24", "{}", created.answer);
    let (address, mac) = site.sets_up(ALICE, &inside.netns(), &web);
    reaches(&site.home.laptop, ip(&address));
    reaches(&site.home.nas, ip(&address));
    assert_eq!(site.endpoints(), ["1000/web"]);
    assert_eq!(site.sets_up(ALICE, &inside.netns(), &web), (address.clone(), mac.clone()), "once more");

    // The daemon starts again, and finds all by what it has written.
    site.home.daemon = None;
    site.start();
    reaches(&site.home.laptop, ip(&address));
    assert_eq!(site.endpoints(), ["1000/web"]);

    site.tear_down(ALICE, &web);
    eventually("it is off the LAN", || site.endpoints().is_empty());
    assert!(site.home.laptop.ping(ip(&address)).is_none());
    // Its name has its address again, in other namespaces, which end without a word.
    let other = site.namespaces_of(ALICE);
    assert_eq!(site.sets_up(ALICE, &other.netns(), &web), (address.clone(), mac));
    drop(other);
    eventually("it is gone with its namespaces", || {
        site.home.ok("status");
        site.home.laptop.ping(ip(&address)).is_none()
    });

    // Root takes off what he likes.
    site.sets_up(ALICE, &inside.netns(), &web);
    site.home.ok("detach lan 1000/web");
    assert!(site.home.laptop.ping(ip(&address)).is_none());
    site.home.ok("forget 1000/web");
    site.home.ok("network rm lan");
}

#[test]
fn what_root_has_not_allowed_is_refused_with_the_command_that_allows_it() {
    let Some(site) = site("") else { return };
    let (inside, web) = (site.namespaces_of(ALICE), Container::on_lan("c1", "web"));
    let says = [
        "user 1000 may not use a network `lan`: root has to allow it",
        "ashore network create lan --allow-user 1000",
        "ashore network allow lan --user 1000",
    ];
    site.refuses(ALICE, &inside.netns(), &web, &says);
    // Nor is he told whether there is one.
    let nowhere = Container { network: "dmz", ..web.clone() };
    let not = |network: &str| says.map(|says| says.replace("lan", network));
    site.refuses(ALICE, &inside.netns(), &nowhere, &not("dmz").each_ref().map(String::as_str));
    let created = site.call(ALICE, "create", "/dev/null", &described("dmz").to_string());
    assert!(
        created.answer["error"].as_str().unwrap().contains("may not use a network `dmz`"),
        "{}",
        created.answer
    );
    assert_eq!(site.endpoints(), [] as [&str; 0]);

    // This machine may have a name for the user.
    let said = site.home.ok("network allow lan --user 1000");
    assert!(said.starts_with("network lan is for root and "), "{said}");
    site.sets_up(ALICE, &inside.netns(), &web);
    let bobs = site.namespaces_of(BOB);
    site.refuses(BOB, &bobs.netns(), &web, &["user 1001 may not use a network `lan`"]);
    let shown: Value = serde_json::from_str(&site.home.ok("network inspect lan")).unwrap();
    assert_eq!(shown["allowed"], json!({ "users": [1000], "groups": [] }));
    assert!(site.home.ok("network ls").contains("ALLOWED"));
    // A group counts, too: that of the process, which root gave him.
    site.home.ok("network allow lan --group 1001");
    site.sets_up(BOB, &bobs.netns(), &web);
    assert_eq!(site.endpoints(), ["1000/web", "1001/web"]);
    // What is there stays when it is allowed no longer. It can go, and does not come back.
    site.home.ok("network allow lan --no-longer --user 1000 --group 1001");
    assert_eq!(site.endpoints(), ["1000/web", "1001/web"]);
    site.tear_down(ALICE, &web);
    eventually("it is off", || site.endpoints() == ["1001/web"]);
    site.refuses(ALICE, &inside.netns(), &web, &says[..1]);
    // Only root's socket allows anything.
    assert_eq!(site.home.run("network create iot --allow-user 0").code, Some(2));
    assert_eq!(site.home.run("network allow lan").code, Some(2));
}

#[test]
fn no_namespace_but_his_own_is_attached() {
    let Some(site) = site("--allow-user 1000 --allow-user 1001") else { return };
    let web = Container::on_lan("c1", "web");
    let foreign = ["is not of a user namespace that user 1000 has made"];
    // The host's.
    let host = site.home.nas.namespace().path().display().to_string();
    site.refuses(ALICE, &host, &web, &foreign);
    // One that root has made, at a path that everybody may open.
    let roots = site.home.world.container("roots").unwrap();
    site.refuses(ALICE, &roots.namespace().path().display().to_string(), &web, &foreign);
    // Another user's, also where a container of his is in it.
    let bobs = site.namespaces_of(BOB);
    site.refuses(ALICE, &bobs.netns(), &web, &foreign);
    site.sets_up(BOB, &bobs.netns(), &Container::on_lan("c1", "web"));
    site.refuses(ALICE, &bobs.netns(), &web, &foreign);
    // No network namespace, and nothing.
    let own = site.namespaces_of(ALICE);
    let user = own.netns().replace("/net", "/user");
    for none in [&user, "/dev/null", "/etc/passwd", "/proc/self/fd"] {
        site.refuses(ALICE, none, &web, &["the daemon does not reach the network namespace"]);
    }
    assert_eq!(site.endpoints(), ["1001/web"]);
    // Root is not held to this.
    let said =
        site.call(0, "setup", &roots.namespace().path().display().to_string(), &web.input().to_string());
    assert_eq!(said.code, Some(0), "{}", said.answer);
}

#[test]
fn what_is_no_namespace_is_asked_nothing_at_either_socket() {
    let Some(site) = site("--allow-user 1000") else { return };
    let web = Container::on_lan("c1", "web");
    for none in ["/dev/null", "/dev/zero", "/etc/passwd", "/proc/self/fd", "/proc/self/ns/user"] {
        for uid in [0, ALICE] {
            let said = site.set_up(uid, none, &web);
            let error = said.answer["error"].as_str().unwrap_or_default();
            assert_eq!(said.code, Some(1), "{uid} {none} {} {}", said.answer, said.stderr);
            assert!(error.contains("network namespace"), "{uid} {none} {error}");
        }
    }
}

#[test]
fn root_has_no_business_at_the_users_socket() {
    let Some(site) = site("--allow-user 1000") else { return };
    drop(does(&site, 0, "is hung up on"));
    let own = site.namespaces_of(ALICE);
    site.sets_up(ALICE, &own.netns(), &Container::on_lan("c1", "web"));
}

/// Whoever closes a socket that lingers waits for an hour, so that a call which waits for it fails.
#[test]
fn what_a_user_passes_keeps_nobody_waiting() {
    let Some(site) = site("--allow-user 1000 --allow-user 1001") else { return };
    let bobs = site.namespaces_of(BOB);
    let passing: Vec<Ended> = [ALICE, 100_000].into_iter().map(|uid| does(&site, uid, "passes")).collect();
    for number in 0..5 {
        let id = format!("c{number}");
        site.sets_up(BOB, &bobs.netns(), &Container::on_lan(&id, "web"));
        site.home.ok("status");
        std::thread::sleep(Duration::from_millis(300));
    }
    drop(passing);
    std::thread::sleep(Duration::from_millis(1500));
    let alices = site.namespaces_of(ALICE);
    site.sets_up(ALICE, &alices.netns(), &Container::on_lan("c1", "web"));
}

/// Passes sockets that linger over connections of all kinds, until it is ended.
fn passes(at: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peers = Vec::new();
    let mut lingering = || {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peers.push(listener.accept().unwrap().0);
        stream.set_nonblocking(true).unwrap();
        let much = vec![0; 1 << 16];
        while (&stream).write(&much).is_ok() {}
        setsockopt(&stream, Linger, &libc::linger { l_onoff: 1, l_linger: 3600 }).unwrap();
        stream
    };
    for number in 0..300 {
        let passed: Vec<TcpStream> = (0..=number % 2).map(|_| lingering()).collect();
        let descriptors: Vec<_> = passed.iter().map(AsRawFd::as_raw_fd).collect();
        let Ok(mut stream) = UnixStream::connect(at) else { continue };
        // With the first bytes, and with later ones.
        if number % 3 == 0 {
            let _ = stream.write_all(b"ASHP");
        }
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let sent = sendmsg::<()>(
            stream.as_raw_fd(),
            &[IoSlice::new(b"ASHP\x01")],
            &rights,
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
        if number == 0 {
            eprintln!("passed: {sent:?}");
            println!("ready");
        }
    }
    std::thread::sleep(Duration::from_secs(600));
}

/// A path of a namespace that leads elsewhere by the time that it is opened again.
#[test]
fn a_path_that_was_led_elsewhere_is_not_followed() {
    let Some(site) = site("--allow-user 1000") else { return };
    let (own, roots) = (site.namespaces_of(ALICE), site.home.world.container("roots").unwrap());
    let opened = |path: &str| Namespace::open(path.as_ref()).unwrap().file();
    let attach = |opened: (u64, u64), path: &str| {
        let attach = json!({
            "network": "lan", "name": "web", "netns": path, "ifname": "eth0", "default_route": true,
            "caller": { "engine": "podman", "container": "c1", "opened": [opened.0, opened.1] },
        });
        let network = json!({ "name": "lan" });
        let user = json!({ "uid": 1000, "groups": [] });
        let call = json!({ "set-up": { "network": network, "attach": attach } });
        ask_at_control(&site, &json!({ "of-user": { "user": user, "call": call } }))
    };
    let roots = roots.namespace().path().display().to_string();
    // What was compared was his own, and the path leads to root's by now.
    let refused = attach(opened(&own.netns()), &roots);
    assert!(refused.to_string().contains("no-namespace"), "{refused}");
    assert_eq!(site.endpoints(), [] as [&str; 0]);
    let done = attach(opened(&own.netns()), &own.netns());
    assert!(done.to_string().contains("1000/web"), "{done}");
    // A path that a user gives is not even looked at: it may lead wherever he likes.
    let said = site.call(ALICE, "setup", &own.netns(), &Container::on_lan("c2", "db").input().to_string());
    let error = said.answer["error"].as_str().unwrap_or_default();
    assert!(said.code == Some(0) || error.contains("has a link `eth0` already"), "{}", said.answer);
}

/// Asks at root's control socket, and returns the answer.
fn ask_at_control(site: &Site, request: &Value) -> Value {
    let mut stream = UnixStream::connect(site.home.daemon().socket()).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn a_name_is_his_own_and_nobody_elses() {
    let Some(site) = site("--allow-user 1000 --allow-user 1001") else { return };
    let web = Container::on_lan("c1", "web");
    let roots = site.home.world.container("roots").unwrap();
    let at_root = roots.namespace().path().display().to_string();
    let root = site.sets_up(0, &at_root, &web);
    let (alices, bobs) = (site.namespaces_of(ALICE), site.namespaces_of(BOB));
    let alice = site.sets_up(ALICE, &alices.netns(), &web);
    let bob = site.sets_up(BOB, &bobs.netns(), &web);
    let all = [&root, &alice, &bob];
    for (at, one) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other.0 != one.0 && other.1 != one.1), "{all:?}");
    }
    assert_eq!(site.endpoints(), ["1000/web", "1001/web", "web"]);
    // Nobody takes off what is another's: not by its id, not by a path-like one, and not for root.
    for (uid, id) in [(ALICE, "c1"), (BOB, "1000/c1"), (BOB, "../1000/c1"), (ALICE, ""), (ALICE, "/c1")] {
        if (uid, id) != (ALICE, "c1") {
            site.tear_down(uid, &Container { id, ..web.clone() });
        }
    }
    site.tear_down(BOB, &Container::on_lan("c2", "web"));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(site.endpoints(), ["1000/web", "1001/web", "web"]);
    site.tear_down(ALICE, &web);
    eventually("hers is off, and no other", || site.endpoints() == ["1001/web", "web"]);
    reaches(&site.home.laptop, ip(&root.0));
    reaches(&site.home.laptop, ip(&bob.0));
    // When root's is gone, its address and its MAC are not to be had by that name.
    site.tear_down(0, &web);
    eventually("root's is off", || site.endpoints() == ["1001/web"]);
    let again = site.sets_up(ALICE, &alices.netns(), &web);
    assert_eq!(again, alice);
    // What looks like another's name or id is none.
    for (id, name) in [("c9", "1001/web"), ("c9", "../web"), ("c9", "1001\u{2f}web")] {
        let own = site.namespaces_of(ALICE);
        site.sets_up(ALICE, &own.netns(), &Container::on_lan(id, name));
        let names = site.endpoints();
        assert!(names.iter().filter(|name| name.starts_with("1001/")).count() == 1, "{names:?}");
    }
    for id in ["1001/c1", "", "a b", &"f".repeat(300)] {
        site.refuses(ALICE, &alices.netns(), &Container::on_lan(id, "x"), &["the id"]);
    }
}

#[test]
fn addresses_and_macs_are_chosen_only_as_root_has_allowed() {
    let Some(site) = site("--allow-user 1000") else { return };
    let roots = site.home.world.container("roots").unwrap();
    let at_root = roots.namespace().path().display().to_string();
    let web = Container::on_lan("c1", "web");
    let root = site.sets_up(0, &at_root, &web);
    let own = site.namespaces_of(ALICE);
    let with =
        |ips: &[&'static str], mac: Option<&'static str>| Container { ips: ips.to_vec(), mac, ..web.clone() };
    let outside = ["user 1000 may not choose", "it hands out 192.168.88.192/27"];
    for ip in ["192.168.88.50", "192.168.88.1", "192.168.88.9", "10.1.2.3", "fd88::77"] {
        site.refuses(ALICE, &own.netns(), &with(&[ip], None), &outside);
    }
    let roots_ip: &'static str = root.0.clone().leak();
    site.refuses(ALICE, &own.netns(), &with(&[roots_ip], None), &["it is kept for another container"]);
    let roots_mac: &'static str = root.1.clone().leak();
    let mac = ["user 1000 may not choose the MAC"];
    for chosen in [roots_mac, "00:11:22:33:44:55"] {
        site.refuses(ALICE, &own.netns(), &with(&[], Some(chosen)), &mac);
    }
    site.refuses(ALICE, &own.netns(), &with(&[], Some("01:00:5e:00:00:01")), &[]);
    // Also while root's container is away.
    site.tear_down(0, &web);
    eventually("root's is off", || site.endpoints().is_empty());
    site.refuses(ALICE, &own.netns(), &with(&[roots_ip], None), &["it is kept for another container"]);
    site.refuses(ALICE, &own.netns(), &with(&[], Some(roots_mac)), &mac);
    let chosen = site.sets_up(ALICE, &own.netns(), &with(&["192.168.88.210"], Some("02:aa:bb:cc:dd:ee")));
    assert_eq!(chosen, ("192.168.88.210".to_owned(), "02:aa:bb:cc:dd:ee".to_owned()));
    reaches(&site.home.laptop, ip("192.168.88.210"));
    // Options of a network are root's to give.
    let mut input = Container::on_lan("c2", "db").input();
    input["network"]["options"] = json!({ "parent": "eth7" });
    let said = site.call(ALICE, "setup", &own.netns(), &input.to_string());
    assert!(said.answer["error"].as_str().unwrap().contains("-o parent="), "{}", said.answer);
}

#[test]
fn a_user_has_sixteen_containers_and_no_more() {
    let Some(site) = site("--allow-user 1000 --allow-user 1001") else { return };
    let (mut insides, mut ids): (Vec<Inside>, Vec<String>) = (Vec::new(), Vec::new());
    for number in 0..17 {
        insides.push(site.namespaces_of(ALICE));
        ids.push(format!("c{number}"));
    }
    for (inside, id) in insides.iter().zip(&ids).take(16) {
        site.sets_up(ALICE, &inside.netns(), &Container::on_lan(id, id));
    }
    let last = Container::on_lan("c16", "c16");
    site.refuses(ALICE, &insides[16].netns(), &last, &["user 1000 has 16 containers on the LAN"]);
    let bobs = site.namespaces_of(BOB);
    site.sets_up(BOB, &bobs.netns(), &Container::on_lan("c1", "web"));
    assert_eq!(site.endpoints().len(), 17);
    site.tear_down(ALICE, &Container::on_lan("c3", "c3"));
    eventually("one is off", || site.endpoints().len() == 16);
    site.sets_up(ALICE, &insides[16].netns(), &last);
}

/// A stack of containers starts at once, beside containers of another user and of root.
#[test]
fn twenty_calls_of_a_user_at_once_are_all_answered_and_so_are_those_of_others() {
    let Some(site) = site("--allow-user 1000 --allow-user 1001") else { return };
    let insides: Vec<Inside> = (0..15).map(|_| site.namespaces_of(ALICE)).collect();
    let (bobs, roots) = (site.namespaces_of(BOB), site.home.world.container("roots").unwrap());
    let roots = roots.namespace().path().display().to_string();
    let calls = |number: usize| {
        let id = format!("c{number}");
        let input = Container::on_lan(&id, &id).input().to_string();
        match insides.get(number) {
            Some(inside) => site.begin(ALICE, "setup", &inside.netns(), &input),
            None => site.begin(ALICE, "create", "/dev/null", &described("lan").to_string()),
        }
    };
    let alices: Vec<Child> = (0..20).map(calls).collect();
    for (uid, netns) in [(BOB, bobs.netns()), (0, roots)] {
        site.sets_up(uid, &netns, &Container::on_lan("c1", "web"));
    }
    for (number, alice) in alices.into_iter().enumerate() {
        let said = said(alice);
        assert_eq!(said.code, Some(0), "{number}: {} {}", said.answer, said.stderr);
    }
    assert_eq!(site.endpoints().len(), 17);
}

/// What [`does_as_a_user`] is to do, and where.
const DOES: &str = "ASHORE_TEST_DOES";

/// Not a test: what this program does when a test starts it as a user.
#[test]
#[ignore = "a test starts it"]
fn does_as_a_user() {
    let Ok(does) = std::env::var(DOES) else { return };
    let (what, at) = does.rsplit_once(' ').unwrap();
    match what {
        "holds" => {
            let mut held = Vec::new();
            for number in 0..300 {
                let mut stream = UnixStream::connect(at).unwrap();
                // Some are silent, some send the half of a call.
                if number % 2 == 0 {
                    let _ = stream.write_all(b"ASHP\x01");
                }
                held.push(stream);
            }
            println!("ready");
            std::thread::sleep(Duration::from_secs(600));
        }
        "passes" => passes(at),
        "is hung up on" => {
            let request =
                ashore_plug::wire::Request { arguments: vec![b"create".to_vec()], ..Default::default() };
            let mut stream = UnixStream::connect(at).unwrap();
            let _ = stream.write_all(&request.encode().unwrap());
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty(), "{answer:?}");
            println!("ready");
        }
        "floods" => {
            println!("ready");
            loop {
                let _ = UnixStream::connect(at).and_then(|mut stream| stream.write_all(b"ASHP\x01"));
            }
        }
        "garbage" => {
            let garbage: [&[u8]; 6] = [
                b"",
                b"GET / HTTP/1.0\r\n\r\n",
                b"\"status\"\n",
                b"ASHP\x01\xff\xff\xff\xff",
                b"ASHP\x02\x04\x00\x00\x00abcd",
                b"ASHP\x01\x05\x00\x00\x00\x09\xff\xff\xff\xff",
            ];
            for bytes in garbage {
                let mut stream = UnixStream::connect(at).unwrap();
                stream.write_all(bytes).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer);
                assert!(answer.is_empty(), "{bytes:?}: {answer:?}");
            }
            println!("ready");
        }
        other => panic!("{other}"),
    }
}

/// Starts this program as a user, and waits until it has begun.
fn does(site: &Site, uid: u32, what: &str) -> Ended {
    let program = site.public.path().join("test");
    if !program.exists() {
        // What another thread starts meanwhile must not have it open for writing.
        let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
        assert!(copied.unwrap().success());
    }
    let mut command: Command = site.command_of(uid, program.to_str().unwrap());
    command.args(["--exact", "does_as_a_user", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(DOES, format!("{what} {}", site.socket().display()));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")), "{what}");
    Ended(child)
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn whoever_holds_connections_open_delays_himself_alone() {
    let Some(site) = site("--allow-user 1000 --allow-user 1001") else { return };
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", site.home.daemon().pid())).unwrap().count();
    let before = descriptors();
    let bobs = site.namespaces_of(BOB);
    let soon = |what: &str, call: &dyn Fn()| {
        let began = Instant::now();
        call();
        assert!(began.elapsed() < Duration::from_secs(4), "{what} took {:?}", began.elapsed());
    };
    // Alice, and ids that root gave her for her containers, to whom nothing is allowed.
    let holding: Vec<Ended> =
        [ALICE, 100_000, 100_001, 100_002].into_iter().map(|uid| does(&site, uid, "holds")).collect();
    assert!(descriptors() <= before + 36, "{} of {before}", descriptors());
    let flooding = does(&site, 100_003, "floods");
    for number in 0..3 {
        let id = format!("c{number}");
        let container = Container::on_lan(&id, "web");
        soon("bob", &|| _ = site.sets_up(BOB, &bobs.netns(), &container));
        soon("root", &|| _ = site.home.ok("status"));
    }
    drop(flooding);
    // She herself gets an answer again, in the place of what she has left lying for a second.
    std::thread::sleep(Duration::from_millis(1100));
    let alices = site.namespaces_of(ALICE);
    soon("alice", &|| _ = site.sets_up(ALICE, &alices.netns(), &Container::on_lan("c1", "web")));
    drop(holding);
    eventually("all is closed again", || descriptors() <= before + 4);
}

#[test]
fn what_is_no_call_is_hung_up_on() {
    let Some(site) = site("--allow-user 1000") else { return };
    drop(does(&site, ALICE, "garbage"));
    drop(does(&site, 100_000, "garbage"));
    for stdin in ["", "{", "[]", "{\"name\":1}", "null", &"[".repeat(100_000)] {
        for command in ["create", "setup"] {
            let said = site.call(ALICE, command, "/dev/null", stdin);
            assert_eq!(said.code, Some(1), "{command} {stdin:.20}: {}", said.answer);
            assert!(said.answer["error"].as_str().is_some(), "{command} {stdin:.20}");
        }
        assert_eq!(site.call(ALICE, "teardown", "/dev/null", stdin).code, Some(0));
    }
    // CNI is root's.
    let mut cni = site.command_of(ALICE, site.public.path().join("ashore-plug").to_str().unwrap());
    cni.env("ASHORE_PLUG_SOCKET", site.socket()).env("CNI_COMMAND", "DEL").env("CNI_CONTAINERID", "c1");
    let said = cni.env("CNI_IFNAME", "eth0").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("user 1000 may not attach containers by CNI"), "{said}");
    // Root's sockets are root's.
    for socket in ["ashore.sock", "ashore-plug.sock", "ashore-read.sock"] {
        let mode = std::fs::metadata(site.home.directory.path().join(socket)).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o077, 0, "{socket}");
    }
    let inside = site.namespaces_of(ALICE);
    site.sets_up(ALICE, &inside.netns(), &Container::on_lan("c1", "web"));
}
