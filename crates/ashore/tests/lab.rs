//! `ashore lab` as root and as an ordinary user: every row is as expected, and nothing is left.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ashore_lab::{Ran, cannot_run};
use home::demonstration::{all_as_expected, as_nobody, for_anybody, refused_without_8021q};
use home::strace::Strace;
use home::{PROGRAM, eventually, is_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mounts").unwrap()
}

fn links() -> Vec<String> {
    let kernel = ashore_kernel::Kernel::here().unwrap();
    kernel.observe(&[]).unwrap().host.links.iter().map(|link| link.name.to_string()).collect()
}

#[test]
fn as_root_it_touches_nothing_of_the_hosts() {
    let before = (links(), mounts());
    let rows = all_as_expected(Ran::of(Command::new(PROGRAM).args(["lab", "--json"])).unwrap());
    assert_eq!((links(), mounts()), before);
    // Each scene shows what it is about: host access, a thief, and a cable.
    let reached = |from: &str, to: &str| -> Vec<bool> {
        let of = |row: &&serde_json::Value| {
            row["from"] == from && row["to"].as_str().unwrap().starts_with(&format!("{to} 192.168.88."))
        };
        rows.iter().filter(of).map(|row| row["reached"].as_bool().unwrap()).collect()
    };
    assert_eq!(reached("nas1", "plain (its own container)"), [false]);
    assert_eq!(reached("nas1", "web (its own container)"), [true, true], "with Ashore, and after the cable");
    assert_eq!(reached("laptop", "plain"), [true]);
    assert_eq!(reached("laptop", "plain (without Ashore)"), [false], "stolen");
    assert_eq!(reached("laptop", "web (with Ashore)"), [true], "defended");
    assert_eq!(
        reached("laptop", "web"),
        [true, false, true],
        "before the cable is pulled, meanwhile, and after"
    );
}

#[test]
fn people_read_host_access_first_and_what_to_type_next_last() {
    let said = Ran::of(Command::new(PROGRAM).arg("lab")).unwrap().expect_success();
    for line in said.lines() {
        assert!(line.chars().count() <= 80, "more than 80 columns: {line}");
    }
    let words = [
        "Before: a plain macvlan",
        "✗ nas1    plain (its own container)  192.168.88.77  no answer",
        "With Ashore",
        "nas1$ ashore network create lan --parent eth0 ",
        "nas1$ ashore attach lan --netns /run/netns/web\nweb is on lan as 192.168.88.192/24",
        "✓ nas1    web (its own container)  192.168.88.192  ",
        "nas1$ ashore plan attach lan --netns /run/netns/media",
        "ip -n media route add default via 192.168.88.1",
        "the TV claims",
        "✗ laptop  plain (without Ashore)",
        "✓ laptop  web (with Ashore)",
        "on the LAN claims the address of `web`, which is defended",
        "is the TV.",
        "is pulled",
        "✗ laptop  web  192.168.88.192  no answer",
        "put back",
        "✓ laptop  web ",
        "no link, route or address of Ashore's is left",
        "as expected, in ",
        " s; nothing is left\n",
        "On your NAS:",
        " install\n$ sudo ashore setup\n$ docker run -d --network lan --name web nginx\n",
    ];
    words.iter().fold(said.as_str(), |rest, words| {
        rest.split_once(words).unwrap_or_else(|| panic!("{words:?} is not here:\n{rest}\nin:\n{said}")).1
    });
    assert!(!said.contains(['\x1b', '\t']), "{said:?}");
    let summary = said.lines().find(|line| line.contains("nothing is left")).unwrap();
    let rows = said.lines().filter(|line| line.starts_with(['✓', '✗'])).count() - 1;
    assert!(summary.starts_with(&format!("✓ {rows} of {rows} as expected")), "{rows} rows: {summary}");
}

#[test]
fn one_scene_alone() {
    let rows = |scene: &str| {
        let mut command = Command::new(PROGRAM);
        let ran = Ran::of(command.args(["lab", "--json", "--scene", scene])).unwrap();
        let report: serde_json::Value = serde_json::from_str(&ran.expect_success()).unwrap();
        assert_eq!(report["ok"], true, "{report:#}");
        report["rows"].as_array().unwrap().len()
    };
    assert_eq!([rows("host"), rows("theft"), rows("cable")], [6, 2, 4]);
    let ran = Ran::of(Command::new(PROGRAM).args(["lab", "--scene", "cable"])).unwrap();
    let said = ran.expect_success();
    assert!(
        said.contains("✓ 4 of 4 as expected") && !said.contains("Before:") && !said.contains("ashore attach"),
        "{said}"
    );
}

#[test]
fn as_an_ordinary_user() {
    if !is_root() {
        return cannot_run("lab, ordinary user", "only root can become another user");
    }
    let directory = tempfile::tempdir().unwrap();
    let program = for_anybody(directory.path());
    all_as_expected(Ran::of(as_nobody(&program).args(["lab", "--json"])).unwrap());
}

/// A kernel without VLANs refuses before anything is built. `vm_lab` tests a kernel with VLANs.
#[test]
fn a_vlan_on_a_kernel_that_has_none() {
    let ran = Ran::of(Command::new(PROGRAM).args(["lab", "--vlan", "--json"])).unwrap();
    // With VLANs there is nothing to refuse.
    if ran.code == Some(0) {
        all_as_expected(ran);
    } else {
        refused_without_8021q(&ran, true);
    }
}

#[test]
fn where_namespaces_are_restricted_it_says_so_and_what_helps() {
    if !is_root() {
        return cannot_run("lab, restricted", "only root can become another user");
    }
    let directory = tempfile::tempdir().unwrap();
    let program = for_anybody(directory.path());
    // In a user namespace of its own, so that its limit applies to nothing else, and in which it is an
    // ordinary user.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=1000", "--keep-caps", "sh", "-ec"]);
    command.arg("echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" lab").arg(&program);
    let ran = Ran::of(command.stdin(Stdio::null())).unwrap();
    assert_eq!(ran.code, Some(9), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("user.max_user_namespaces") && ran.stderr.contains("sysctl -w"),
        "{}",
        ran.stderr
    );
}

/// Ubuntu 24.04 does this: the namespace can be created, but mapping ids or mounting in it is refused.
#[test]
fn where_the_namespace_may_be_made_and_not_used_it_says_so_too() {
    if !is_root() {
        return cannot_run("lab, restricted later", "only root can become another user");
    }
    let Some(strace) = Strace::find("lab, restricted later") else { return };
    let directory = tempfile::tempdir().unwrap();
    let program = for_anybody(directory.path());
    let nth_write = |n| ("write", format!("error=EPERM:when={n}"));
    let faults = [nth_write(1), nth_write(2), nth_write(3), ("mount", "error=EACCES:when=1".into())];
    for (call, fault) in faults {
        let mut command = strace.command(call, &fault);
        command.args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
        let ran = Ran::of(command.arg(&program).arg("lab")).unwrap();
        assert_eq!(ran.code, Some(9), "{call} {fault}: {}{}", ran.stdout, ran.stderr);
        assert!(
            ran.stderr.contains("does not let an ordinary user create namespaces")
                && ran.stderr.contains("try: "),
            "{call} {fault}: {}",
            ran.stderr
        );
    }
}

#[test]
fn kept_it_stays_until_an_empty_line() {
    let mut command = Command::new(PROGRAM);
    command.args(["lab", "--keep"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut lab = command.spawn().unwrap();
    std::io::Write::write_all(lab.stdin.as_mut().unwrap(), b"nowhere\n\n").unwrap();
    let output = lab.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    for words in ["laptop, router, tv, plain, nas1", "there is no `nowhere`", "Taken away"] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

/// All descendants of a process.
fn descendants(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let lists = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    children.iter().flat_map(|child| std::iter::once(*child).chain(descendants(*child))).collect()
}

#[test]
fn kept_and_ended_by_a_signal_it_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let before = mounts();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let mut command = Command::new(PROGRAM);
        command.args(["lab", "--keep"]).env("TMPDIR", directory.path());
        let mut lab = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(lab.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.into_iter().any(|line| line.contains("The lab runs until")), "it does not come up");
        let processes = descendants(lab.id());
        assert!(processes.len() >= 2, "two daemons: {processes:?}");
        kill(Pid::from_raw(lab.id().cast_signed()), signal).unwrap();
        lab.wait().unwrap();
        let lives = |process: &u32| {
            std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        };
        eventually("its daemons are gone", || !processes.iter().any(lives));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{signal}");
        assert!(!Path::new("/run/lab").exists(), "{signal}");
    }
    assert_eq!(mounts(), before);
}
