//! The control socket: clients that connect and then do nothing block neither other clients nor the daemon's
//! own work.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ashore_lab::Ran;
use home::{Home, PROGRAM, addresses, eventually, ip, reaches};

/// More connections than the daemon serves at once.
const MANY: usize = 200;

fn connect(home: &Home) -> UnixStream {
    UnixStream::connect(home.daemon().socket()).unwrap()
}

fn descriptors(home: &Home) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", home.daemon().pid())).unwrap().count()
}

#[test]
fn clients_that_do_nothing_keep_nobody_waiting_and_hold_few_descriptors() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""))[0];
    let before = descriptors(&home);
    // Some clients are silent, some send half a request, some do not read their answers.
    let silent: Vec<UnixStream> = (0..MANY).map(|_| connect(&home)).collect();
    let half: Vec<UnixStream> = (0..MANY)
        .map(|_| {
            let mut stream = connect(&home);
            let _ = stream.write_all(b"\"sta");
            stream
        })
        .collect();
    let deaf: Vec<UnixStream> = (0..MANY)
        .map(|_| {
            let mut stream = connect(&home);
            let _ = stream.write_all(&b"\"status\"\n".repeat(100));
            stream
        })
        .collect();
    for _ in 0..3 {
        let status = home.status();
        assert_eq!(status["endpoints"].as_array().unwrap().len(), 1, "{status}");
        assert!(descriptors(&home) < before + MANY, "{} of {before}", descriptors(&home));
    }
    let db = home.world.container("db").unwrap();
    reaches(&home.laptop, addresses(&home.attach("lan", &db, ""))[0]);
    reaches(&home.laptop, at);
    drop((silent, half, deaf));
    eventually("all is closed again", || descriptors(&home) <= before + 4);
}

#[test]
fn more_clients_than_it_has_at_once_are_all_answered() {
    let home = Home::new();
    home.create_lan();
    let socket = home.daemon().socket();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let ask = |_| {
                    let mut stream = UnixStream::connect(&socket).unwrap();
                    stream.write_all(b"\"status\"\n").unwrap();
                    stream
                };
                for mut stream in (0..MANY / 4).map(ask).collect::<Vec<_>>() {
                    let mut answer = [0; 9];
                    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                    stream.read_exact(&mut answer).unwrap();
                    assert_eq!(&answer, b"{\"status\"");
                }
            });
        }
    });
}

#[test]
fn a_request_that_comes_byte_by_byte_has_an_end() {
    let home = Home::new();
    let mut stream = connect(&home);
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    eventually("the daemon has heard enough", || {
        let sent = stream.write_all(b" ");
        sent.is_err() || stream.read(&mut [0]).is_ok_and(|read| read == 0)
    });
    assert_eq!(home.status()["pid"], home.daemon().pid());
}

#[test]
fn a_client_may_ask_several_things_and_take_a_moment_between() {
    let home = Home::new();
    home.create_lan();
    let mut stream = connect(&home);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    for _ in 0..3 {
        stream.write_all(b"\"list-networks\"\n").unwrap();
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).unwrap();
        assert!(String::from_utf8_lossy(&answer[..length]).contains("eth0"));
        std::thread::sleep(Duration::from_secs(2));
    }
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    reaches(&home.laptop, ip("192.168.88.192"));
}

/// Sends one line as it is, and returns the line of the answer.
fn answer_to(socket: &Path, line: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(line).unwrap();
    stream.write_all(b"\n").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

#[test]
fn a_client_of_another_version_is_told_both_versions_and_what_helps() {
    let home = Home::new();
    let (socket, own) = (home.daemon().socket(), env!("CARGO_PKG_VERSION"));
    let answer = answer_to(&socket, br#"{"protocol":1,"version":"0","body":"list-networks"}"#);
    assert_eq!(answer, format!("{{\"protocol\":1,\"version\":\"{own}\",\"body\":{{\"networks\":[]}}}}\n"));
    for (line, words) in [
        (r#"{"protocol":2,"version":"99","body":{"remove-network":{"network":"lan"}}}"#, "systemctl restart"),
        (r#"{"protocol":2,"version":"99"}"#, "Ashore 99 (protocol 2)"),
        (r#"{"protocol":0,"version":"0.0","body":"status"}"#, "upgrade the client"),
        (r#"{"protocol":1,"version":"99","body":"dance"}"#, "Ashore 99"),
        (r#"{"protocol":1}"#, "missing field `body`"),
    ] {
        let answer = answer_to(&socket, line.as_bytes());
        assert!(answer.starts_with("{\"protocol\":1,") && answer.contains("\"refused\""), "{line}: {answer}");
        assert!(answer.contains(words) && answer.contains(&format!("Ashore {own}")), "{line}: {answer}");
        assert!(!answer.contains("cannot parse"), "{answer}");
    }
}

#[test]
fn a_client_from_before_the_envelope_is_answered_without_one() {
    let home = Home::new();
    home.create_lan();
    let socket = home.daemon().socket();
    assert!(answer_to(&socket, b"\"status\"").starts_with("{\"status\":{\"version\""));
    assert!(answer_to(&socket, b"\"list-networks\"").starts_with("{\"networks\":[{"));
    let refused = answer_to(&socket, br#"{"inspect-network":{"network":"x"}}"#);
    assert!(refused.starts_with("{\"refused\":{\"kind\":\"not-found\",\"code\":\"no-network\""), "{refused}");
    assert!(answer_to(&socket, b"\"dance\"").contains("cannot parse the request"));
}

#[test]
fn a_client_says_that_the_daemon_is_of_another_version() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ashore.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    for (answer, words) in [
        (
            r#"{"refused":{"kind":"invalid","message":"cannot parse the request: unknown variant","hint":null}}"#,
            ["the daemon is of an earlier version", "systemctl restart ashore"],
        ),
        (r#"{"protocol":7,"version":"99","body":"done"}"#, ["Ashore 99 (protocol 7)", "upgrade the client"]),
        (r#"{"protocol":1,"version":"99","body":"dance"}"#, ["Ashore 99", "systemctl restart ashore"]),
        ("220 mail.example ESMTP", ["mail.example", "ASHORE_SOCKET"]),
    ] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut stream = listener.accept().unwrap().0;
                BufReader::new(&stream).read_line(&mut String::new()).unwrap();
                stream.write_all(format!("{answer}\n").as_bytes()).unwrap();
            });
            let mut client = Command::new(PROGRAM);
            let ran = Ran::of(client.arg("status").env("ASHORE_SOCKET", &socket)).unwrap();
            assert_eq!(ran.code, Some(8), "{}", ran.stderr);
            for words in [words[0], words[1], &format!("Ashore {}", env!("CARGO_PKG_VERSION"))] {
                assert!(ran.stderr.contains(words), "{words:?} is not in: {}", ran.stderr);
            }
            assert!(!ran.stderr.contains("cannot parse"), "{}", ran.stderr);
        });
    }
}

/// The read socket of a home's daemon.
fn read_socket(home: &Home) -> PathBuf {
    home.directory.path().join("ashore-read.sock")
}

#[test]
fn nothing_but_reading_passes_the_read_socket() {
    let home = Home::new();
    home.create_lan();
    let (control, read) = (home.daemon().socket(), read_socket(&home));
    let state = answer_to(&control, b"\"export-state\"");
    let document = state.trim_end().strip_prefix("{\"state\":").unwrap().strip_suffix('}').unwrap();
    let import = format!("{{\"import-state\":{document}}}");
    // One line for each kind of request. `Request::is_reading` lists them exhaustively.
    let table = [
        (r#""status""#, true),
        (r#""list-networks""#, true),
        (r#""last-diagnosis""#, true),
        (r#"{"diagnose":{}}"#, false),
        (r#"{"events":{"after":null,"about":null}}"#, true),
        (r#"{"map":{"network":null}}"#, true),
        (r#"{"inspect-network":{"network":"lan"}}"#, true),
        (r#"{"plan":null}"#, true),
        (r#"{"plan":{"remove-network":{"network":"lan"}}}"#, false),
        (r#"{"plan":"status"}"#, false),
        (r#""export-state""#, false),
        (r#"{"check-pool":{"network":"lan","parent":null,"vlan":null,"range":null}}"#, false),
        (r#"{"create-network":{"name":"other"}}"#, false),
        (r#"{"remove-network":{"network":"lan"}}"#, false),
        (r#"{"move-network":{"network":"lan","parent":"eth0"}}"#, false),
        (
            r#"{"attach":{"network":"lan","name":"web","netns":"/proc/1/ns/net","ifname":"eth0","default_route":true}}"#,
            false,
        ),
        (r#"{"detach":{"network":"lan","name":"web"}}"#, false),
        (r#"{"adopt":{"network":"x","host_access":true}}"#, false),
        (r#"{"unadopt":{"network":"x"}}"#, false),
        (r#"{"forget":{"network":null,"name":"web"}}"#, false),
        (r#"{"engine-call":{"has-link":{"id":"x"}}}"#, false),
        (r#"{"take-inventory":{"engine":"x","networks":[],"containers":[]}}"#, false),
        (r#"{"move-nic":{"direction":"adopt","nic":"eth0","bridge":"br0","seconds":9}}"#, false),
        (r#""keep-move""#, false),
        (r#""rekey""#, false),
        (r#""accept-machine""#, false),
        (import.as_str(), false),
    ];
    let log = home.daemon().log();
    for (request, passes) in table {
        for line in [request.to_owned(), format!(r#"{{"protocol":1,"version":"x","body":{request}}}"#)] {
            let answer = answer_to(&read, line.as_bytes());
            let refused = answer.contains("the read socket passes only");
            assert_eq!(refused, !passes, "{line}: {answer}");
            assert_eq!(refused, answer.contains(control.to_str().unwrap()), "{line}: {answer}");
            assert_eq!(refused, answer.contains("\"refused\""), "{line}: {answer}");
        }
    }
    // The controller has seen none of the others: it logs what it refuses and what it does.
    assert_eq!(home.daemon().log(), log);
    assert_eq!(answer_to(&control, b"\"export-state\""), state);
    // A request that is longer than any reading one is refused as a whole, whatever is in it.
    let endless = format!("{{\"import-state\":\"{}\"}}", "x".repeat(200_000));
    assert!(answer_to(&read, endless.as_bytes()).contains("refused"));
}

#[test]
fn a_request_that_is_too_long_has_one_answer_and_is_not_taken_for_one_of_another_version() {
    let home = Home::new();
    let long =
        format!(r#"{{"protocol":1,"version":"0","body":{{"import-state":"{}"}}}}"#, "x".repeat(17 << 20));
    for (socket, longest) in [(home.daemon().socket(), 16 << 20), (read_socket(&home), 64 << 10)] {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(format!("{long}\n\"list-networks\"\n").as_bytes()).unwrap();
        let mut answers = BufReader::new(stream).lines();
        let refused = answers.next().unwrap().unwrap();
        assert!(refused.starts_with("{\"protocol\":1,"), "{refused}");
        assert!(refused.contains(&format!("the request is longer than {longest} bytes")), "{refused}");
        assert_eq!(answers.next().unwrap().unwrap(), r#"{"networks":[]}"#);
    }
}

#[test]
fn what_readers_are_refused_fills_no_log() {
    let home = Home::new();
    for socket in [home.daemon().socket(), read_socket(&home)] {
        for _ in 0..20 {
            let refused = answer_to(&socket, br#"{"inspect-network":{"network":"x"}}"#);
            assert!(refused.contains("not-found"), "{refused}");
        }
    }
    let log = home.daemon().log();
    assert!(!log.contains("refused"), "{log}");
}

#[test]
fn many_readers_keep_nobody_from_the_control_socket() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    let read = &read_socket(&home);
    let before = descriptors(&home);
    let silent: Vec<UnixStream> = (0..MANY).map(|_| UnixStream::connect(read).unwrap()).collect();
    std::thread::scope(|scope| {
        // The readers go on until all is done below, or has failed: whoever waited for them would wait for ever.
        let goes_on = Arc::new(());
        for _ in 0..32 {
            let is_so = Arc::downgrade(&goes_on);
            scope.spawn(move || {
                while is_so.strong_count() > 0 {
                    let Ok(mut stream) = UnixStream::connect(read) else { continue };
                    let _ = stream.write_all(&b"\"status\"\n".repeat(20));
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                    while stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {}
                }
            });
        }
        for _ in 0..5 {
            home.ok("status");
            home.ok("detach lan web");
            home.attach("lan", &web, "");
            // Connections that end are held for a moment longer.
            eventually("few descriptors are held", || descriptors(&home) < before + MANY);
        }
    });
    drop(silent);
    eventually("all is closed again", || descriptors(&home) <= before + 8);
}
