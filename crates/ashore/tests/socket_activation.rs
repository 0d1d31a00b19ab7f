//! Sockets that exist before the daemon. Clients that connect wait for the daemon, and the sockets stay when
//! it ends.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ashore_lab::{Daemon, Engines, cannot_run};
use home::{Home, PROGRAM, addresses, eventually, reaches};

/// `systemd-socket-activate`, which does what the socket unit does.
fn activation(test: &str) -> Option<Engines> {
    Engines::find().inspect_err(|why| cannot_run(test, why)).ok()
}

/// The plugin's answer to Docker's first call.
fn activate_plugin(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head =
        "POST /Plugin.Activate HTTP/1.1\r\nHost: plugin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The beginning of the answer to a call of `ashore-plug` without a word.
fn call_of_nothing(socket: &Path) -> [u8; 9] {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"ASHP\x01\0\0\0\0").unwrap();
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

#[test]
fn sockets_that_were_handed_over_are_known_by_their_paths_and_left_alone() {
    let Some(engines) = activation("socket activation") else { return };
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let at_web = addresses(&home.attach("lan", &web, ""))[0];
    home.daemon.take().unwrap().kill().unwrap();

    let directory = home.directory.path();
    let sockets: [PathBuf; 4] =
        ["plugins/ashore.sock", "ashore.sock", "ashore-read.sock", "ashore-plug.sock"]
            .map(|path| directory.join(path));
    for path in &sockets {
        std::fs::remove_file(path).unwrap();
    }
    // In either order.
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 2, 3, 0]].map(|order| order.map(|at| sockets[at].clone())) {
        let mut daemon =
            Daemon::start_activated(&engines, PROGRAM.as_ref(), &home.nas, directory, &order).unwrap();
        // They are made one after the other.
        eventually("all sockets are there", || sockets.iter().all(|path| path.exists()));
        let before = sockets.each_ref().map(|path| inode(path));
        assert!(daemon.run(&["status"]).unwrap().expect_success().contains("web"));
        assert!(activate_plugin(&sockets[0]).contains("IpamDriver"));
        let mut read = UnixStream::connect(&sockets[2]).unwrap();
        read.write_all(b"\"export-state\"\n").unwrap();
        let mut answer = [0; 4096];
        let length = read.read(&mut answer).unwrap();
        assert!(String::from_utf8_lossy(&answer[..length]).contains("the read socket passes only"));
        assert_eq!(call_of_nothing(&sockets[3])[..5], *b"ASHP\x01");
        reaches(&home.laptop, at_web);
        daemon.terminate().unwrap();
        eventually("it ends", || daemon.ended_within(Duration::ZERO).unwrap());
        assert_eq!(sockets.each_ref().map(|path| inode(path)), before);
    }
    home.start();
    home.ok("detach lan web");
}

/// Others than root can replace the socket, so it is not fit for all users. The init system holds it nevertheless.
#[test]
fn who_calls_at_a_users_socket_that_is_not_fit_is_hung_up_on() {
    let Some(engines) = activation("socket activation, users") else { return };
    if !home::is_root() {
        return;
    }
    let mut home = Home::new();
    home.daemon.take().unwrap().kill().unwrap();
    let directory = home.directory.path();
    let others = directory.join("others");
    std::fs::create_dir(&others).unwrap();
    std::fs::set_permissions(&others, PermissionsExt::from_mode(0o777)).unwrap();
    let (control, users) = (directory.join("ashore.sock"), others.join("sock"));
    std::fs::remove_file(&control).unwrap();
    let arguments = ["--users-socket".as_ref(), users.as_os_str()];
    let sockets = [control, users.clone()];
    let daemon =
        Daemon::start_activated_with(&engines, PROGRAM.as_ref(), &home.nas, directory, &sockets, &arguments);
    let daemon = daemon.unwrap();
    eventually("it is there", || users.exists() && daemon.run(&["status"]).unwrap().code == Some(0));
    for _ in 0..3 {
        let mut stream = UnixStream::connect(&users).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _ = stream.write_all(b"ASHP\x01\0\0\0\0");
        let mut answer = Vec::new();
        // Closed, whether or not what was sent had been read.
        let read = stream.read_to_end(&mut answer);
        let is_closed = read.is_ok() || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        assert!(is_closed && answer.is_empty(), "{answer:?}");
    }
    assert!(daemon.log().contains("no socket for users other than root"), "{}", daemon.log());
}

#[test]
fn a_socket_that_nobody_would_answer_is_refused() {
    let Some(engines) = activation("socket activation, refusals") else { return };
    let home = Home::new();
    let directory = tempfile::tempdir().unwrap();
    let [control, other] = ["ashore.sock", "other.sock"].map(|name| directory.path().join(name));
    let mut daemon = Daemon::start_activated(
        &engines,
        PROGRAM.as_ref(),
        &home.nas,
        directory.path(),
        &[control, other.clone()],
    )
    .unwrap();
    eventually("it ends", || daemon.ended_within(Duration::ZERO).unwrap());
    let log = daemon.log();
    for words in [
        other.to_str().unwrap(),
        "system passed",
        "plugins/ashore.sock",
        "ashore-read.sock",
        "ashore-plug.sock",
        "try:",
        "ListenStream=",
    ] {
        assert!(log.contains(words), "{words:?} is not in: {log}");
    }
    assert!(!directory.path().join("state").exists());
}
