//! Files that the daemon writes have the same modes under any umask. The daemon follows nothing that another
//! user has put in a file's place.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ashore_lab::{Daemon, Engines, Ran, cannot_run};
use home::dhcp::Server;
use home::{Home, PROGRAM, eventually, is_root, reaches};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CREATE: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --dhcp";
const UMASKS: [&str; 3] = ["000", "022", "0077"];
const TOLD: &str = "nameserver 192.168.88.1\n";

/// Runs a test with a DHCP server that announces a name server.
fn with(test: &str, run: impl FnOnce(Home, Server)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => {
            let mut home = Home::new();
            home.daemon = None;
            let options = ["--dhcp-option=option:dns-server,192.168.88.1"];
            let pool = "192.168.88.100,192.168.88.150,2m";
            let server = Server::dnsmasq(&engines, &home.router, home.directory.path(), pool, &options);
            run(home, server);
        }
    }
}

/// Starts a daemon under a umask, in a directory of its own.
fn start_in(home: &mut Home, name: &str, umask: &str) -> PathBuf {
    let run = home.directory.path().join(format!("run-{name}"));
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, Permissions::from_mode(0o755)).unwrap();
    let under = format!("umask {umask}; exec \"$@\"");
    let launcher = ["sh", "-c", &under, "sh"];
    home.daemon = Some(Daemon::start_by(&launcher, Path::new(PROGRAM), &home.nas, &run).unwrap());
    run
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// What an ordinary user reads whose `/etc/resolv.conf` is this file.
fn read_by_nobody(file: &Path) -> String {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", "mount --bind \"$1\" /etc/resolv.conf; shift; exec \"$@\"", "sh"]);
    command.arg(file).args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    Ran::of(command.args(["cat", "/etc/resolv.conf"])).unwrap().expect_success()
}

#[test]
fn of_the_daemon_under_any_umask() {
    with("file modes, daemon", |mut home, _server| {
        for umask in UMASKS {
            let run = start_in(&mut home, umask, umask);
            home.ok(CREATE);
            let web = home.world.container("web").unwrap();
            home.attach("lan", &web, "");
            let file = run.join("resolv/lan/web.conf");
            eventually("it is reported", || fs::read_to_string(&file).is_ok_and(|text| text == TOLD));
            assert_eq!(read_by_nobody(&file), TOLD, "umask {umask}");
            for (path, wanted) in [
                ("resolv", 0o755),
                ("resolv/lan", 0o755),
                ("resolv/lan/web.conf", 0o644),
                ("calls", 0o700),
                ("ashore.sock", 0o600),
                ("ashore-read.sock", 0o600),
                ("ashore-plug.sock", 0o600),
                ("plugins", 0o755),
                ("plugins/ashore.sock", 0o600),
                ("state", 0o700),
                ("state/state.redb", 0o600),
            ] {
                assert_eq!(mode(&run.join(path)), wanted, "{path} under the umask {umask}");
            }
            home.ok("detach lan web");
            home.ok("network rm lan");
            let mut daemon = home.daemon.take().unwrap();
            daemon.terminate().unwrap();
            eventually("it ends", || daemon.ended_within(std::time::Duration::ZERO).unwrap());
            for socket in ["ashore.sock", "ashore-read.sock", "ashore-plug.sock"] {
                assert!(!run.join(socket).exists(), "{socket} is left");
            }
        }
    });
}

#[test]
fn of_a_run_directory_that_the_daemon_makes_itself() {
    let mut home = Home::new();
    home.daemon = None;
    for umask in UMASKS {
        let run = home.directory.path().join(format!("above-{umask}/run"));
        let mut daemon = home.nas.command("sh").unwrap();
        daemon.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh", PROGRAM, "daemon"]);
        let state = home.directory.path().join(format!("state-{umask}"));
        daemon.arg("--state").arg(state).arg("--run").arg(&run);
        let mut daemon = daemon.arg("--docker-plugin").arg(run.join("plugin.sock")).spawn().unwrap();
        eventually("it answers", || run.join("ashore.sock").exists());
        assert_eq!((mode(&run), mode(run.parent().unwrap())), (0o755, 0o755), "umask {umask}");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
}

/// The `/etc/group` of a host that has the group, for a launcher that binds it over the real one.
fn with_group(home: &Home, gid: u32) -> String {
    let groups = home.directory.path().join("group");
    fs::write(&groups, format!("root:x:0:\nashore:x:{gid}:\n")).unwrap();
    groups.display().to_string()
}

/// Runs a client command as a user with these groups, and returns its exit code and what it said.
fn as_user(home: &Home, gid: &str, arguments: &[&str]) -> (Option<i32>, String) {
    // Where every user may execute it. A separate process copies it: a process that another test starts during
    // the write would inherit the open file for a moment.
    let program = home.directory.path().join("client");
    if !program.exists() {
        Ran::of(Command::new("install").args(["-m", "755", PROGRAM]).arg(&program)).unwrap().expect_success();
    }
    fs::set_permissions(home.directory.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", gid, "--clear-groups"]).arg(program).args(arguments);
    let ran = Ran::of(command.env("ASHORE_SOCKET", home.daemon().socket())).unwrap();
    (ran.code, ran.stdout + &ran.stderr)
}

#[test]
fn of_the_read_socket_where_there_is_the_group_and_who_may_use_it() {
    if !is_root() {
        return cannot_run("file modes, group", "another user needs root");
    }
    let mut home = Home::new();
    let groups = with_group(&home, 4711);
    let script = "mount --bind \"$1\" /etc/group; shift; exec \"$@\"";
    home.daemon = None;
    home.start_by(&["unshare", "--mount", "sh", "-ec", script, "sh", &groups]);
    home.create_lan();
    let run = home.directory.path().to_owned();
    assert_eq!(mode(&run.join("ashore.sock")), 0o600);
    let read = run.join("ashore-read.sock");
    let metadata = fs::metadata(&read).unwrap();
    assert_eq!((mode(&read), metadata.uid(), metadata.gid()), (0o660, 0, 4711));

    for reading in [&["status"][..], &["network", "ls"], &["network", "inspect", "lan"], &["plan"]] {
        let (code, said) = as_user(&home, "4711", reading);
        assert_eq!(code, Some(0), "{reading:?}: {said}");
        let (code, said) = as_user(&home, "4712", reading);
        assert_eq!(code, Some(9), "{reading:?}: {said}");
        assert!(said.contains("the group ashore may read at") && said.contains("with sudo"), "{said}");
    }
    for other in [
        &["network", "rm", "lan"][..],
        &["plan", "rm", "lan"],
        &["state", "export"],
        &["forget", "web"],
        &["detach", "lan", "web"],
        &["pool-check", "lan"],
    ] {
        for gid in ["4711", "4712"] {
            let (code, said) = as_user(&home, gid, other);
            assert!(code == Some(9) && said.contains("only the owner of"), "{other:?}: {code:?} {said}");
        }
    }
    let (code, said) = as_user(&home, "4711", &["network", "rm", "lan", "--socket", read.to_str().unwrap()]);
    assert!(code == Some(3) && said.contains(home.daemon().socket().to_str().unwrap()), "{code:?} {said}");
    assert!(home.ok("network ls").contains("lan"));

    // A client that has to wait says at which of the sockets.
    let pid = Pid::from_raw(home.daemon().pid().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(17));
            kill(pid, Signal::SIGCONT).unwrap();
        });
        let (code, said) = as_user(&home, "4711", &["status"]);
        assert!(code == Some(0) && said.contains(&format!("no answer at {} yet", read.display())), "{said}");
    });
    home.daemon().terminate().unwrap();
    eventually("its socket is gone", || !read.exists());
}

/// Puts something in the place of the file that the daemon writes for an endpoint.
type Plant = fn(victim: &Path, resolv: &Path);

#[test]
fn what_others_have_put_in_its_place_is_neither_followed_nor_written() {
    with("file modes, planted", |mut home, _server| {
        let plants: [(&str, Plant); 5] = [
            ("link", |victim, resolv| {
                fs::create_dir(resolv.join("lan")).unwrap();
                symlink(victim, resolv.join("lan/web.conf")).unwrap();
            }),
            ("second-name", |victim, resolv| {
                fs::create_dir(resolv.join("lan")).unwrap();
                fs::hard_link(victim, resolv.join("lan/web.conf")).unwrap();
            }),
            ("linked-directory", |victim, resolv| {
                fs::rename(victim, victim.with_file_name("web.conf")).unwrap();
                symlink(victim.parent().unwrap(), resolv.join("lan")).unwrap();
            }),
            ("foreign-directory", |victim, resolv| {
                fs::create_dir(resolv.join("lan")).unwrap();
                fs::hard_link(victim, resolv.join("lan/web.conf")).unwrap();
                std::os::unix::fs::chown(resolv.join("lan"), Some(65534), Some(65534)).unwrap();
            }),
            ("foreign-file", |_, resolv| {
                fs::create_dir(resolv.join("lan")).unwrap();
                let file = resolv.join("lan/web.conf");
                fs::write(&file, "precious").unwrap();
                std::os::unix::fs::chown(file, Some(65534), Some(65534)).unwrap();
            }),
        ];
        for (name, plant) in plants {
            let elsewhere = home.directory.path().join(format!("elsewhere-{name}"));
            fs::create_dir(&elsewhere).unwrap();
            let victim = elsewhere.join("victim");
            fs::write(&victim, "precious").unwrap();
            let run = start_in(&mut home, name, "022");
            // As an earlier daemon under a umask of 0 left it.
            let resolv = run.join("resolv");
            fs::create_dir(&resolv).unwrap();
            fs::set_permissions(&resolv, Permissions::from_mode(0o777)).unwrap();
            plant(&victim, &resolv);
            // Also for a daemon that finds it at its start.
            for _ in 0..2 {
                home.ok(CREATE);
                let web = home.world.container("web").unwrap();
                let at = home::addresses(&home.attach("lan", &web, ""))[0];
                reaches(&home.laptop, at);
                eventually("it is reported", || home.daemon().log().contains("name servers: "));
                let all = [victim.clone(), elsewhere.join("web.conf"), resolv.join("lan/web.conf")];
                for file in all.iter().filter(|file| file.exists()) {
                    assert_eq!(fs::read_to_string(file).unwrap(), "precious", "{name}: {}", file.display());
                }
                assert_eq!(mode(&resolv), 0o755, "{name}");
                home.ok("detach lan web");
                home.ok("network rm lan");
                home.daemon = None;
                fs::remove_file(run.join("log")).unwrap();
                home.daemon = Some(Daemon::start(Path::new(PROGRAM), &home.nas, &run).unwrap());
            }
            home.daemon = None;
        }
    });
}

#[test]
fn a_run_directory_that_others_may_write_is_refused() {
    let mut home = Home::new();
    home.daemon = None;
    let run = tempfile::tempdir().unwrap();
    let refused = |mode| {
        fs::set_permissions(run.path(), Permissions::from_mode(mode)).unwrap();
        Daemon::start(Path::new(PROGRAM), &home.nas, run.path()).err().unwrap().to_string()
    };
    let everybody = refused(0o1777);
    assert!(everybody.contains("is writable by every user") && everybody.contains("--run"), "{everybody}");
    if !is_root() {
        return cannot_run("file modes, group of the run directory", "to give files away needs root");
    }
    // A member could put a link to any file in the place of a socket while it is made.
    std::os::unix::fs::chown(run.path(), None, Some(4711)).unwrap();
    let group = refused(0o775);
    assert!(group.contains("is writable by the group 4711") && group.contains("--run"), "{group}");
}
