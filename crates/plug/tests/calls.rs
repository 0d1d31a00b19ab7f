//! The program itself, called as Podman and CNI runtimes call it, before a daemon of the test's own.

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ashore_plug::wire::{Delegated, REQUEST_HEAD, Reply, Request, STDIN_MAX};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ashore-plug");

/// What the program printed, and its exit code.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Ran {
    fn new(stdout: &str, stderr: &str, code: i32) -> Self {
        Ran { stdout: stdout.to_owned(), stderr: stderr.to_owned(), code: Some(code) }
    }
}

/// A call of the program.
struct Call {
    command: Command,
    stdin: Vec<u8>,
}

impl Call {
    fn netavark(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("PATH", "/bin").args(arguments);
        Call { command, stdin: b"{\"a\":1}".to_vec() }
    }

    fn cni(command: &str) -> Self {
        let mut call = Call::netavark(&[]);
        call.command.env("CNI_COMMAND", command).env("CNI_IFNAME", "eth0");
        call
    }

    fn stdin(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    fn run(mut self) -> Ran {
        let piped = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It reads no more than it needs.
        let _ = stdin.write_all(&self.stdin);
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code() }
    }
}

/// A place for a daemon of the test's own.
struct Place(tempfile::TempDir);

/// What the daemon was asked: the request, and the inode of each descriptor that came with it.
struct Heard {
    request: Request,
    inodes: Vec<u64>,
}

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("sock")
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(self.socket()).unwrap()
    }

    /// Runs a call before a daemon that treats one connection in this way.
    fn with<T: Send>(&self, call: Call, daemon: impl FnOnce(UnixStream) -> T + Send) -> (Ran, T) {
        let listener = self.listen();
        std::thread::scope(|scope| {
            let daemon = scope.spawn(move || daemon(listener.accept().unwrap().0));
            let ran = call.env("ASHORE_PLUG_SOCKET", self.socket()).run();
            std::fs::remove_file(self.socket()).unwrap();
            (ran, daemon.join().unwrap())
        })
    }

    /// Runs a call before a daemon that gives this answer.
    fn answered(&self, call: Call, reply: &Reply) -> (Ran, Heard) {
        self.with(call, |mut stream| {
            let heard = hear(&mut stream);
            stream.write_all(&reply.encode().unwrap()).unwrap();
            heard
        })
    }
}

impl Place {
    /// Runs a call before a daemon that answers one connection after the other.
    fn answered_in_turn(&self, call: Call, replies: &[Reply]) -> (Ran, Vec<Heard>) {
        self.in_turn(call, &replies.iter().cloned().map(Some).collect::<Vec<_>>())
    }

    /// The same, where the daemon hangs up if it has no reply.
    fn in_turn(&self, call: Call, replies: &[Option<Reply>]) -> (Ran, Vec<Heard>) {
        let listener = self.listen();
        std::thread::scope(|scope| {
            let daemon = scope.spawn(move || {
                let one = |reply: &Option<Reply>| {
                    let mut stream = listener.accept().unwrap().0;
                    let heard = hear(&mut stream);
                    if let Some(reply) = reply {
                        stream.write_all(&reply.encode().unwrap()).unwrap();
                    }
                    heard
                };
                replies.iter().map(one).collect()
            });
            let ran = call.env("ASHORE_PLUG_SOCKET", self.socket()).run();
            std::fs::remove_file(self.socket()).unwrap();
            (ran, daemon.join().unwrap())
        })
    }
}

fn hear(stream: &mut UnixStream) -> Heard {
    let mut head = [0; REQUEST_HEAD];
    // The descriptors come with the very first byte.
    let (first, rest) = head.split_at_mut(1);
    let mut inodes = Vec::new();
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 4]);
    let mut bytes = [IoSliceMut::new(first)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut bytes, Some(&mut space), MsgFlags::empty()).unwrap();
    assert_eq!(message.bytes, 1);
    for message in message.cmsgs().unwrap() {
        let ControlMessageOwned::ScmRights(descriptors) = message else { panic!("{message:?}") };
        for descriptor in descriptors {
            inodes.push(std::fs::metadata(format!("/proc/self/fd/{descriptor}")).unwrap().ino());
            nix::unistd::close(descriptor).unwrap();
        }
    }
    stream.read_exact(rest).unwrap();
    let mut payload = vec![0; Request::payload_length(&head).unwrap()];
    stream.read_exact(&mut payload).unwrap();
    Heard { request: Request::decode(&payload).unwrap(), inodes }
}

fn reply(stdout: &str, stderr: &str, code: i32) -> Reply {
    Reply { code, stdout: stdout.into(), stderr: stderr.into() }
}

/// A namespace's path, and its inode.
const NETNS: &str = "/proc/self/ns/net";

fn netns() -> u64 {
    numbers().1
}

fn numbers() -> (u64, u64) {
    let netns = File::open(NETNS).unwrap().metadata().unwrap();
    (netns.dev(), netns.ino())
}

#[test]
fn a_call_of_netavarks_arrives_as_it_was_made_with_its_namespace() {
    let place = Place::new();
    for (arguments, inodes) in [
        (&["create"][..], vec![]),
        (&["setup", NETNS], vec![netns()]),
        (&["teardown", NETNS], vec![netns()]),
        // The daemon says what is missing.
        (&["setup"], vec![]),
    ] {
        let call = Call::netavark(arguments).env("CNI_ARGS", "a=b;c=d").env("OTHER", "x");
        let (ran, heard) = place.answered(call, &reply("{\"b\":2}\n", "noted\n", 0));
        assert_eq!(ran, Ran::new("{\"b\":2}\n", "noted\n", 0), "{arguments:?}");
        assert_eq!(heard.inodes, inodes, "{arguments:?}");
        let wanted = Request {
            name: b"ashore-plug".to_vec(),
            arguments: arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect(),
            environment: vec![(b"CNI_ARGS".to_vec(), b"a=b;c=d".to_vec())],
            stdin: b"{\"a\":1}".to_vec(),
            opened: (!inodes.is_empty()).then(numbers),
            unopened: None,
            delegated: None,
        };
        assert_eq!(heard.request, wanted);
    }
}

#[test]
fn a_call_of_cnis_arrives_as_it_was_made_with_its_namespace() {
    let place = Place::new();
    for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        for (path, inodes) in [(NETNS, vec![netns()]), ("", vec![])] {
            let call = Call::cni(command).env("CNI_NETNS", path).env("CNI_CONTAINERID", "c1");
            let (ran, heard) = place.answered(call, &reply("", "", 0));
            assert_eq!((ran, heard.inodes), (Ran::new("", "", 0), inodes), "{command}");
            assert_eq!(heard.request.arguments, [[0_u8; 0]; 0]);
            for (name, value) in [
                ("CNI_COMMAND", command),
                ("CNI_NETNS", path),
                ("CNI_CONTAINERID", "c1"),
                ("CNI_IFNAME", "eth0"),
            ] {
                assert_eq!(heard.request.variable(name), Some(value.as_bytes()), "{command}");
            }
            assert_eq!((heard.request.unopened, heard.request.environment.len()), (None, 4), "{command}");
        }
    }
}

#[test]
fn the_name_by_which_it_was_called_is_passed_on() {
    let place = Place::new();
    let link = place.0.path().join("lan");
    symlink(PROGRAM, &link).unwrap();
    let mut call = Call::netavark(&[]);
    let mut command = Command::new(&link);
    command.env_clear().arg("create");
    call.command = command;
    let (_, heard) = place.answered(call, &reply("{}", "", 0));
    assert_eq!(heard.request.name, b"lan");
}

#[test]
fn a_namespace_that_cannot_be_opened_is_the_daemons_business() {
    let place = Place::new();
    for call in [
        Call::netavark(&["setup", "/nowhere"]),
        Call::netavark(&["teardown", "/nowhere"]),
        Call::cni("ADD").env("CNI_NETNS", "/nowhere"),
        Call::cni("DEL").env("CNI_NETNS", "/nowhere"),
    ] {
        let (ran, heard) = place.answered(call, &reply("out", "err", 3));
        assert_eq!((ran, heard.inodes), (Ran::new("out", "err", 3), vec![]));
        assert!(heard.request.unopened.unwrap().contains("No such file"));
    }
}

#[test]
fn the_longest_input_passes_and_a_longer_one_does_not() {
    let place = Place::new();
    let longest = vec![b' '; STDIN_MAX];
    let (_, heard) =
        place.answered(Call::netavark(&["setup", NETNS]).stdin(longest.clone()), &reply("{}", "", 0));
    // Although the socket does not take it all at once.
    assert_eq!((heard.inodes, heard.request.stdin.len()), (vec![netns()], STDIN_MAX));
    let longer = [longest, vec![b' ']].concat();
    let wrong = "standard input is longer than 1048576 bytes";
    for (call, wanted) in [
        (Call::netavark(&["setup", NETNS]), Ran::new(&format!("{{\"error\":\"ashore: {wrong}\"}}\n"), "", 1)),
        (
            Call::cni("ADD"),
            Ran::new(
                &format!(
                    "{{\"cniVersion\":\"1.0.0\",\"code\":6,\"msg\":\"ashore: {wrong}\",\"details\":\"\"}}\n"
                ),
                "",
                1,
            ),
        ),
        (Call::cni("DEL"), Ran::new("", &format!("ashore: warning: {wrong}; going on all the same\n"), 0)),
    ] {
        assert_eq!(call.env("ASHORE_PLUG_SOCKET", "/nowhere").stdin(longer.clone()).run(), wanted);
    }
}

#[test]
fn a_call_that_cannot_be_passed_on_is_refused() {
    let arguments = vec!["x"; 70];
    let wrong = "the call cannot be passed on: it has more than 64 records";
    let call = Call::netavark(&[&["create"], arguments.as_slice()].concat());
    assert_eq!(call.run(), Ran::new(&format!("{{\"error\":\"ashore: {wrong}\"}}\n"), "", 1));
    let ran = Call::cni("STATUS").env("CNI_ARGS", "x".repeat(100_000)).stdin(vec![b' '; STDIN_MAX]).run();
    assert!(ran.stdout.contains("\"code\":4,") && ran.stdout.contains("the request is longer"), "{ran:?}");
}

/// Checks what each call says if the daemon does not answer, for this reason. `run` makes the call.
fn says_so(at: &str, why: &str, run: impl Fn(Call) -> Ran) {
    let wrong = format!("the daemon does not answer at {at}: {why}");
    let remedy = "try: systemctl start ashore";
    for command in ["create", "setup"] {
        let wanted = format!("{{\"error\":\"ashore: {wrong}; {remedy}\"}}\n");
        assert_eq!(run(Call::netavark(&[command, NETNS])), Ran::new(&wanted, "", 1), "{command}");
    }
    for (command, code) in [("ADD", 11), ("CHECK", 11), ("STATUS", 50)] {
        let wanted = format!(
            "{{\"cniVersion\":\"1.0.0\",\"code\":{code},\"msg\":\"ashore: {wrong}\",\"details\":\"{remedy}\"}}\n"
        );
        assert_eq!(run(Call::cni(command)), Ran::new(&wanted, "", 1), "{command}");
    }
    let warning = Ran::new("", &format!("ashore: warning: {wrong}; going on all the same\n"), 0);
    assert_eq!(run(Call::netavark(&["teardown", NETNS])), warning);
    assert_eq!(run(Call::cni("DEL")), warning);
    assert_eq!(run(Call::cni("GC")), warning);
}

#[test]
fn without_a_daemon_each_caller_is_told_in_its_own_words() {
    let place = Place::new();
    let socket = place.socket();
    let at = socket.to_str().unwrap();
    let run = |call: Call| call.env("ASHORE_PLUG_SOCKET", at).run();
    says_so(at, "No such file or directory (os error 2)", run);
    drop(place.listen());
    says_so(at, "Connection refused (os error 111)", run);
    std::fs::remove_file(&socket).unwrap();

    let hung_up = "it hung up before its answer was complete";
    says_so(at, hung_up, |call| place.with(call, |mut stream| drop(hear(&mut stream))).0);
    let cut = reply("{}", "", 0).encode().unwrap();
    for length in [1, cut.len() - 1] {
        says_so(at, hung_up, |call| {
            place
                .with(call, |mut stream| {
                    hear(&mut stream);
                    stream.write_all(&cut[..length]).unwrap();
                })
                .0
        });
    }
    for (answer, why) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "it does not begin with ASHP"),
        (b"ASHP\x02\0\0\0\0\0\0\0\0\0\0\0\0", "it is of version 2 of the protocol, not 1"),
        (b"ASHP\x01\0\0\0\0\xff\xff\xff\xff\0\0\0\0", "standard output is longer than 1048576 bytes"),
        (b"ASHP\x01\0\x01\0\0\0\0\0\0\0\0\0\0", "no process ends with the exit code 256"),
    ] {
        says_so(at, &format!("its answer is not understood: {why}"), |call| {
            place
                .with(call, |mut stream| {
                    hear(&mut stream);
                    stream.write_all(answer).unwrap();
                })
                .0
        });
    }
}

#[test]
fn an_answer_to_half_a_request_counts() {
    let place = Place::new();
    let call = Call::netavark(&["setup", NETNS]).stdin(vec![b' '; STDIN_MAX]);
    let (ran, ()) = place.with(call, |mut stream| {
        stream.write_all(&reply("{\"error\":\"too much\"}", "", 1).encode().unwrap()).unwrap();
        stream.shutdown(std::net::Shutdown::Read).unwrap();
        // Until the program has hung up.
        while stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {}
    });
    assert_eq!(ran, Ran::new("{\"error\":\"too much\"}", "", 1));
}

#[test]
fn texts_in_an_error_are_escaped() {
    let ran = Call::netavark(&["create"]).env("ASHORE_PLUG_SOCKET", "/no\"where\n\u{1b}[31m").run();
    assert!(ran.stdout.contains(r#"/no\"where\n\u001b[31m: No such"#), "{ran:?}");
}

/// A plugin that chooses addresses, and what it was executed for.
struct Chooser {
    directory: tempfile::TempDir,
    path: String,
}

impl Chooser {
    /// The plugin `chooser`, which ends with this script.
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("chooser");
        let there = directory.path().display();
        let script = format!("#!/bin/sh\necho $CNI_COMMAND >> {there}/log\ncat > {there}/stdin\n{script}\n");
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("relative:/nowhere:{there}");
        Chooser { directory, path }
    }

    fn call(&self, command: &str) -> Call {
        Call::cni(command).env("CNI_PATH", &self.path).stdin(CHOSEN_ELSEWHERE)
    }

    /// The commands for which it was executed, and then forgets them.
    fn log(&self) -> String {
        let file = self.directory.path().join("log");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let _ = std::fs::remove_file(file);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

const CHOSEN_ELSEWHERE: &str = r#"{"name":"lan","ipam":{"type":"chooser"}}"#;

#[test]
fn the_plugin_that_chooses_the_addresses_is_executed_beside_the_daemon() {
    let place = Place::new();
    let chooser = Chooser::new("echo noted >&2; echo '{\"ips\":[]}'");
    let may = || reply("", "", 0);
    let replies = [may(), reply("{}", "attached\n", 0)];
    let (ran, heard) = place.answered_in_turn(chooser.call("ADD").env("CNI_NETNS", NETNS), &replies);
    assert_eq!(ran, Ran::new("{}", "noted\nattached\n", 0));
    let delegated: Vec<_> = heard.iter().map(|heard| heard.request.delegated.clone()).collect();
    assert_eq!(delegated, [Some(Delegated::ToCome), Some(Delegated::Answer(b"{\"ips\":[]}\n".to_vec()))]);
    for heard in &heard {
        assert_eq!(
            (heard.request.stdin.as_slice(), &heard.inodes),
            (CHOSEN_ELSEWHERE.as_bytes(), &vec![netns()])
        );
    }
    assert_eq!(std::fs::read_to_string(chooser.directory.path().join("stdin")).unwrap(), CHOSEN_ELSEWHERE);
    assert_eq!(chooser.log(), "ADD");
    // What is not attached is given back.
    let (ran, _) = place.answered_in_turn(chooser.call("ADD"), &[may(), reply("{\"code\":105}", "", 1)]);
    assert_eq!(ran, Ran::new("{\"code\":105}", "noted\nnoted\n", 1));
    assert_eq!(chooser.log(), "ADD DEL");
    // What is attached already keeps its address.
    let (ran, _) = place.answered(chooser.call("ADD"), &reply("{\"code\":103}", "", 1));
    assert_eq!((ran, chooser.log().as_str()), (Ran::new("{\"code\":103}", "", 1), ""));
    for command in ["DEL", "CHECK", "GC", "STATUS"] {
        let (ran, heard) = place.answered(chooser.call(command), &reply("", "", 0));
        let told = (command == "GC").then_some(Delegated::ToCome);
        assert_eq!((ran.code, heard.request.delegated), (Some(0), told), "{command}");
        assert_eq!(chooser.log(), command);
    }
    let (ran, _) = place.answered(chooser.call("CHECK"), &reply("{\"code\":3}", "", 1));
    assert_eq!((ran.stdout.as_str(), chooser.log().as_str()), ("{\"code\":3}", ""));
    // What Ashore has kept keeps its address.
    let (ran, _) = place.answered(chooser.call("GC"), &reply("stays", "`web` stays\n", 0));
    assert_eq!((ran, chooser.log().as_str()), (Ran::new("", "`web` stays\n", 0), ""));
    // Without a daemon an address is given back all the same.
    let nowhere = |call: Call| call.env("ASHORE_PLUG_SOCKET", "/nowhere").run();
    let ran = nowhere(chooser.call("DEL"));
    assert_eq!((ran.code, chooser.log().as_str()), (Some(0), "DEL"), "{ran:?}");
    let ran = nowhere(chooser.call("ADD"));
    assert!(ran.stdout.contains("\"code\":11"), "{ran:?}");
    assert_eq!(chooser.log(), "");
}

#[test]
fn a_daemon_that_falls_silent_may_have_attached_the_container() {
    let place = Place::new();
    let chooser = Chooser::new("echo '{\"ips\":[]}'");
    let done = || Some(reply("", "", 0));
    // It is taken off before its address is given back.
    let (ran, heard) = place.in_turn(chooser.call("ADD").env("CNI_NETNS", NETNS), &[done(), None, done()]);
    assert!(ran.code == Some(1) && ran.stdout.contains("\"code\":11"), "{ran:?}");
    assert_eq!(chooser.log(), "ADD DEL");
    let commands: Vec<_> = heard.iter().map(|heard| heard.request.variable("CNI_COMMAND").unwrap()).collect();
    assert_eq!(commands, [b"ADD", b"ADD", b"DEL"]);
    assert_eq!((&heard[2].request.delegated, &heard[2].inodes), (&None, &vec![netns()]));
    // It is attached elsewhere: what the plugin has kept for it may be that address.
    let stays = || reply("stays", "", 0);
    let failing = Chooser::new("exit 1");
    for (call, replies) in [
        (failing.call("ADD"), &[stays()][..]),
        (chooser.call("ADD"), &[stays(), reply("{\"code\":105}", "", 1)]),
    ] {
        let (ran, _) = place.answered_in_turn(call, replies);
        assert!(ran.code == Some(1) && ran.stderr.contains("may be in use"), "{ran:?}");
        assert_eq!(failing.log() + &chooser.log(), "ADD");
    }
    // It is not known whether it is off: the runtime's DEL gives the address back.
    let (ran, _) = place.in_turn(chooser.call("ADD"), &[done(), None, None]);
    assert!(ran.code == Some(1) && ran.stderr.contains("may be in use"), "{ran:?}");
    assert_eq!(chooser.log(), "ADD");
}

#[test]
fn errors_of_the_plugin_that_chooses_the_addresses_are_the_callers() {
    let place = Place::new();
    let chooser = Chooser::new("echo '{\"code\":100,\"msg\":\"full\"}'; exit 1");
    let add = |call: Call| place.answered(call, &reply("", "", 0)).0;
    let ran = add(chooser.call("ADD"));
    assert_eq!((ran.stdout.trim(), ran.code), ("{\"code\":100,\"msg\":\"full\"}", Some(1)), "{ran:?}");
    assert_eq!(chooser.log(), "ADD DEL");
    for command in ["DEL", "CHECK", "GC", "STATUS"] {
        let (ran, _) = place.answered(chooser.call(command), &reply("", "", 0));
        assert_eq!((ran.stdout.trim(), ran.code), ("{\"code\":100,\"msg\":\"full\"}", Some(1)), "{command}");
    }
    let ran = add(Chooser::new("echo no; exit 7").call("ADD"));
    for word in ["\"code\":999", "`chooser`", "exit status: 7 no"] {
        assert!(ran.stdout.contains(word), "{ran:?}");
    }
    for silent in ["exit 0", "echo; echo noted >&2"] {
        let chooser = Chooser::new(silent);
        let ran = add(chooser.call("ADD"));
        assert_eq!((ran.code, chooser.log().as_str()), (Some(1), "ADD DEL"), "{ran:?}");
        assert!(ran.stdout.contains("`chooser` has failed: it has chosen nothing"), "{ran:?}");
    }
    let missing = |command| Call::cni(command).env("CNI_PATH", "/nowhere").stdin(CHOSEN_ELSEWHERE);
    let ran = add(missing("ADD"));
    for word in ["\"code\":7", "ipam.type", "`chooser`", "/nowhere"] {
        assert!(ran.stdout.contains(word), "{ran:?}");
    }
    let (ran, _) = place.answered(missing("DEL"), &reply("", "", 0));
    assert_eq!((ran.stdout.as_str(), ran.code), ("", Some(0)));
    assert!(ran.stderr.contains("`chooser`") && !ran.stderr.contains('{'), "{ran:?}");
    let outside = r#"{"name":"lan","ipam":{"type":"../chooser"}}"#;
    let ran = add(chooser.call("ADD").stdin(outside));
    assert!(ran.stdout.contains("no name of a plugin"), "{ran:?}");
    assert_eq!(chooser.log(), "DEL CHECK GC STATUS", "nothing is executed by a path");
}

#[test]
fn some_calls_need_no_daemon() {
    let nowhere = |call: Call| call.env("ASHORE_PLUG_SOCKET", "/nowhere").run();
    let version = env!("CARGO_PKG_VERSION");
    let info = format!("{{\"version\":\"{version}\",\"api_version\":\"1.0.0\"}}\n");
    assert_eq!(nowhere(Call::netavark(&["info"])), Ran::new(&info, "", 0));
    for (stdin, wanted) in [
        (r#"{"cniVersion":"0.3.1"}"#, "0.3.1"),
        (r#"{"cniVersion":"0.4.0","name":"lan"}"#, "0.4.0"),
        (r#"{ "cniVersion": "1.0.0" }"#, "1.0.0"),
        (r#"{"cniVersion":"1.1.0"}"#, "1.1.0"),
        (r#"{"cniVersion":"0.2.0"}"#, "1.1.0"),
        ("not JSON", "1.1.0"),
        ("", "1.1.0"),
    ] {
        let wanted = format!(
            "{{\"cniVersion\":\"{wanted}\",\"supportedVersions\":[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}}\n"
        );
        assert_eq!(nowhere(Call::cni("VERSION").stdin(stdin)), Ran::new(&wanted, "", 0), "{stdin}");
    }
    let unknown = "{\"cniVersion\":\"1.0.0\",\"code\":4,\"msg\":\"ashore: unknown CNI_COMMAND: FOO\",\"details\":\"\"}\n";
    assert_eq!(nowhere(Call::cni("FOO")), Ran::new(unknown, "", 1));
    let about = format!(
        "ashore-plug {version}: a network driver for Podman (netavark) and a CNI plugin, which call it; \
         versions of CNI: 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
    );
    assert_eq!(nowhere(Call::netavark(&[])), Ran::new("", &about, 0));
    assert_eq!(nowhere(Call::cni("")), Ran::new("", &about, 0));
    for option in ["--version", "-V"] {
        let wanted = format!("ashore-plug {version}\n");
        assert_eq!(nowhere(Call::netavark(&[option])), Ran::new(&wanted, "", 0));
    }
}
