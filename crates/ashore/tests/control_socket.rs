//! The control socket: clients that connect and then do nothing block neither other clients nor the daemon's
//! own work.

mod home;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use home::{Home, addresses, eventually, ip, reaches};

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
