//! The ways back: from an upgrade, to a new machine, from a copied disk, and from what a user has broken since yesterday.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ashore_core::api::document::Document;
use ashore_lab::{Daemon, Machine, Ran};
use home::{Home, PROGRAM, addresses, ip, mac_known_to, reaches, type_on};
use redb::{Database, TableDefinition};

/// The schema of before, and what follows this program's.
const OLDER: u32 = ashore_store::SCHEMA - 1;
const LATER: u32 = ashore_store::SCHEMA + 1;

const WEB: &str = "192.168.88.192";

fn document(text: &str) -> Document {
    serde_json::from_str(text).unwrap()
}

/// Writes a database as a program of the document's schema would.
fn write_database(path: &Path, document: &Document) {
    let _ = fs::remove_file(path);
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(TableDefinition::<&str, &str>::new("rows")).unwrap();
        table.insert("schema", document.schema.to_string().as_str()).unwrap();
        for (key, value) in &document.rows {
            table.insert(key.as_str(), value.to_string().as_str()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// Runs the program where there may be no daemon.
fn ashore(words: &[&str]) -> Ran {
    Ran::of(Command::new(PROGRAM).args(words)).unwrap()
}

/// Runs it in the NAS's namespace, whose lock it takes.
fn on_nas(nas: &Machine, words: &str) -> Ran {
    Ran::of(nas.command(PROGRAM).unwrap().args(words.split_whitespace())).unwrap()
}

fn import(daemon: &Daemon, document: &str, directory: &Path) -> Ran {
    let file = directory.join("imported.json");
    fs::write(&file, document).unwrap();
    Ran::of(daemon.client().args(["state", "import"]).stdin(File::open(file).unwrap())).unwrap()
}

/// A NAS with a container, without its daemon, and its state as a program of the schema before would have it.
fn older() -> (Home, Machine, Document) {
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    reaches(&home.laptop, ip(WEB));
    let mut document = document(&home.ok("state export"));
    home.daemon.take().unwrap().kill().unwrap();
    document.schema = OLDER;
    document.rows.remove("machine");
    fs::remove_file(home.directory.path().join("backlog")).unwrap();
    write_database(&home.directory.path().join("state/state.redb"), &document);
    (home, web, document)
}

#[test]
fn an_upgrade_keeps_what_was_before_and_the_older_program_goes_back_to_it_under_a_running_container() {
    let (mut home, _web, before) = older();
    let pings = home.laptop.pings(ip(WEB));
    let state = home.directory.path().join("state");
    let kept = state.join(format!("state-of-schema-{OLDER}.json"));
    home.start();
    assert_eq!(document(&fs::read_to_string(&kept).unwrap()), before);
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o7777, 0o600);
    let log = home.daemon().log();
    assert!(log.contains("was brought up to date") && log.contains(kept.to_str().unwrap()), "{log}");
    reaches(&home.laptop, ip(WEB));

    // An upgrade to a later version, which keeps this one's state, and back to this one.
    let mut later = document(&home.ok("state export"));
    fs::write(state.join(format!("state-of-schema-{}.json", later.schema)), home.ok("state export")).unwrap();
    home.daemon.take().unwrap().kill().unwrap();
    later.schema = LATER;
    later.rows.insert("satellite/1".into(), serde_json::json!({ "orbit": true }));
    write_database(&state.join("state.redb"), &later);
    let refused =
        Daemon::start(PROGRAM.as_ref(), &home.nas, home.directory.path()).err().unwrap().to_string();
    assert!(refused.contains(&format!("it has schema {LATER}")), "{refused}");
    let (_, command) = refused.split_once("ashore state restore ").expect("it names the way back");
    let words = format!(
        "state restore {} --run {}",
        command.lines().next().unwrap(),
        home.directory.path().display()
    );
    let said = on_nas(&home.nas, &words).expect_success();
    assert!(said.contains("is the state now") && said.contains("state.redb.before-restore"), "{said}");
    home.start();
    assert_eq!(home.codes(), [] as [&str; 0]);
    reaches(&home.laptop, ip(WEB));
    let counted = pings.end();
    assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
    // What the container holds is not given to another.
    let db = home.world.container("db").unwrap();
    assert_ne!(addresses(&home.attach("lan", &db, ""))[0], ip(WEB));

    // Not beside a running daemon.
    let refused = on_nas(&home.nas, &words);
    assert!(refused.code == Some(5) && refused.stderr.contains("stop that one first"), "{}", refused.stderr);
}

#[test]
fn on_a_full_disk_no_state_is_brought_up_to_date_without_its_way_back() {
    let (mut home, _web, before) = older();
    let state = home.directory.path().join("state");
    let (file, full) = (state.join("state.redb"), home.directory.path().join("full"));
    // As large as the state is; a page is left, which is less than the document needs.
    let script = "mount -t tmpfs -o size=$(($(stat -c %s \"$0\") + 8192)) none \"$1\"; cp \"$0\" \"$1\"; \
                  dd if=/dev/zero of=\"$1/filler\" bs=4096 2>/dev/null || :; \
                  mount --bind \"$1\" \"$2\"; shift 2; exec \"$@\"";
    fs::create_dir(&full).unwrap();
    let words = [&file, &full, &state].map(|path| path.to_str().unwrap().to_owned());
    let launcher: Vec<&str> = ["unshare", "--mount", "sh", "-ec", script]
        .into_iter()
        .chain(words.iter().map(String::as_str))
        .collect();
    let refused = Daemon::start_by(&launcher, PROGRAM.as_ref(), &home.nas, home.directory.path());
    let refused = refused.err().expect("it must not start").to_string();
    for words in ["cannot be kept in", "free space on that disk", "nothing was changed"] {
        assert!(refused.contains(words), "{refused}");
    }
    // The disk has room again.
    home.start();
    let kept = state.join(format!("state-of-schema-{OLDER}.json"));
    assert_eq!(document(&fs::read_to_string(kept).unwrap()), before);
    reaches(&home.laptop, ip(WEB));
}

/// Starts the home's daemon anew, on a machine with this id.
fn start_as(home: &mut Home, id: char) {
    home.daemon = None;
    home.daemon = Some(daemon_as(&home.nas, home.directory.path(), id));
}

/// Has a file in the place of the system's id.
const ON_DISK: &str = "mount --bind \"$0\" /etc/machine-id; exec \"$@\"";
/// Has a copy of it there that is in memory.
const IN_MEMORY: &str =
    "mount -t tmpfs none /mnt; cp \"$0\" /mnt/id; mount --bind /mnt/id /etc/machine-id; exec \"$@\"";

fn daemon_as(nas: &Machine, directory: &Path, id: char) -> Daemon {
    daemon_as_by(ON_DISK, nas, directory, id)
}

fn daemon_as_by(script: &str, nas: &Machine, directory: &Path, id: char) -> Daemon {
    // A file in memory is no machine's id, and a temporary directory may be there.
    let of = directory.file_name().unwrap().to_str().unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("machine-id-{id}{of}"));
    fs::write(&file, format!("{}\n", id.to_string().repeat(32))).unwrap();
    let launcher =
        ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", script, file.to_str().unwrap()];
    let daemon = Daemon::start_by(&launcher, PROGRAM.as_ref(), nas, directory).unwrap();
    // It is mounted still.
    fs::remove_file(&file).unwrap();
    daemon
}

#[test]
fn a_state_that_wakes_up_on_another_machine_says_so_until_its_user_says_what_is_so() {
    let mut home = Home::new();
    start_as(&mut home, 'a');
    // The first daemon of this home was on the machine that the tests run on.
    home.ok("state accept");
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let mac = home.attach("lan", &web, "")["mac"].as_str().unwrap().to_owned();
    start_as(&mut home, 'a');
    assert_eq!(home.codes(), [] as [&str; 0]);

    start_as(&mut home, 'b');
    assert_eq!(home.codes(), ["other-machine"]);
    let trouble = home.troubles().to_string();
    for words in ["/etc/machine-id", "ashore state rekey", "ashore state accept"] {
        assert!(trouble.contains(words), "{trouble}");
    }
    // Nobody takes a running container's MAC away.
    let refused = home.run("state rekey");
    assert!(refused.code == Some(3) || refused.code == Some(5), "{}", refused.stderr);
    assert!(refused.stderr.contains("ashore detach lan web"), "{}", refused.stderr);
    reaches(&home.laptop, ip(WEB));
    assert_eq!(mac_known_to(&home.laptop, ip(WEB)), mac);
    home.ok("state accept");
    assert_eq!(home.codes(), [] as [&str; 0]);
    start_as(&mut home, 'b');
    assert_eq!(home.codes(), [] as [&str; 0]);
    // An id that the system has drawn for this boot alone is none.
    for id in ['c', 'd'] {
        home.daemon = None;
        home.daemon = Some(daemon_as_by(IN_MEMORY, &home.nas, home.directory.path(), id));
        assert_eq!(home.codes(), [] as [&str; 0], "{id}");
    }
    start_as(&mut home, 'b');
    home.ok("detach lan web");
    assert_eq!(home.attach("lan", &web, "")["mac"], mac.as_str(), "it is the same host, and the same names");
}

#[test]
fn a_copied_disk_gets_macs_of_its_own_and_both_are_on_the_lan() {
    let mut home = Home::new();
    start_as(&mut home, 'a');
    home.ok("state accept");
    home.create_lan();
    let chosen = home.world.container("chosen").unwrap();
    home.attach("lan", &chosen, "--mac 02:00:00:00:00:77");
    home.ok("detach lan chosen");
    let asked = home.world.container("asked").unwrap();
    home.attach("lan", &asked, "--ip 192.168.88.77");
    home.ok("detach lan asked");
    let web = home.world.container("web").unwrap();
    let report = home.attach("lan", &web, "");
    let (mac, own) = (report["mac"].as_str().unwrap().to_owned(), addresses(&report)[0]);
    // In the lab, both hosts would find the container's namespace.
    home.ok("detach lan web");

    let copy = home.world.machine("nas2", 10).unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("state")).unwrap();
    fs::copy(home.directory.path().join("state/state.redb"), directory.path().join("state/state.redb"))
        .unwrap();
    assert_eq!(home.attach("lan", &web, "")["mac"], mac.as_str());
    let daemon = daemon_as(&copy, directory.path(), 'b');
    let status = || daemon.run(&["status"]).unwrap().stdout;
    assert!(status().contains("another machine"), "{}", status());
    let said = daemon.run(&["state", "rekey"]).unwrap();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for words in
        ["`chosen` on lan keeps MAC 02:00:00:00:00:77,", "`asked` on lan keeps address 192.168.88.77,"]
    {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
    assert!(!said.stderr.contains("`web`") && !said.stdout.contains("each name"), "{said:?}");
    // What it names ends it.
    let (_, command) = said.stderr.split_once("to end it: ashore ").unwrap();
    let words: Vec<&str> = command.lines().next().unwrap().split(' ').collect();
    daemon.run(&words).unwrap().expect_success();
    assert!(!status().contains("another machine"), "{}", status());

    let web2 = home.world.container("web2").unwrap();
    let netns = web2.namespace().path().display().to_string();
    let attached = daemon.run(&["attach", "lan", "--netns", &netns, "--name", "web", "--json"]).unwrap();
    let report: serde_json::Value = serde_json::from_str(&attached.expect_success()).unwrap();
    assert_ne!(report["mac"], mac.as_str());
    let at = addresses(&report)[0];
    assert_ne!(at, own);
    for there in [at, own] {
        reaches(&home.laptop, there);
    }
    assert_eq!(mac_known_to(&home.laptop, own), mac);
    assert_eq!(home.codes(), [] as [&str; 0]);
}

#[test]
fn what_is_to_come_back_counts_as_there() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    // As a daemon leaves it that is killed when `web` is off, and whose NIC is gone when it starts again.
    let mut there = document(&home.ok("state export"));
    home.ok("detach lan web");
    let row = there.rows.remove("endpoint/lan/web").unwrap();
    there.rows.insert("returning/lan/web".into(), row);
    there.rows.get_mut("network/lan").unwrap()["parent"] = "eth7".into();
    let there = serde_json::to_string(&there).unwrap();
    import(home.daemon(), &there, home.directory.path()).expect_success();
    let refused = [home.run("state rekey"), import(home.daemon(), &there, home.directory.path())];
    for ran in refused {
        assert_eq!(ran.code, Some(5), "{}", ran.stderr);
        assert!(ran.stderr.contains("are to come back, such as `web` on `lan`"), "{}", ran.stderr);
        assert!(ran.stderr.contains("ashore detach lan web"), "{}", ran.stderr);
    }
    assert!(home.ok("state export").contains("returning/lan/web"));
    home.ok("detach lan web");
    home.ok("state rekey");
}

#[test]
fn a_new_nas_with_another_nic_has_the_containers_with_their_macs_and_addresses_again() {
    let mut home = Home::new();
    start_as(&mut home, 'a');
    home.ok("state accept");
    home.create_lan();
    let before: Vec<_> = ["web", "db"]
        .map(|name| {
            let container = home.world.container(name).unwrap();
            let report = home.attach("lan", &container, "");
            ((report["mac"].clone(), addresses(&report)), container)
        })
        .into_iter()
        .collect();
    let exported = home.ok("state export");
    let (before, containers): (Vec<_>, Vec<_>) = before.into_iter().unzip();
    // The old one is switched off.
    drop(containers);
    home.daemon = None;

    let new = home.world.machine("nas2", 10).unwrap();
    type_on(&new, "ip link set dev eth0 down");
    type_on(&new, "ip link set dev eth0 name enp3s0");
    type_on(&new, "ip link set dev enp3s0 up");
    new.add_default_route("enp3s0", ip("192.168.88.1")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_as(&new, directory.path(), 'b');
    let said = import(&daemon, &exported, directory.path());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for words in ["eth0", "ashore network move lan --parent", "another machine", "(2)", "ashore state rekey"]
    {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
    let ok = |words: &str| daemon.run(&words.split(' ').collect::<Vec<_>>()).unwrap().expect_success();
    ok("network move lan --parent enp3s0");
    for (name, (mac, at)) in ["web", "db"].into_iter().zip(&before) {
        let container = home.world.container(name).unwrap();
        let netns = container.namespace().path().display().to_string();
        let report: serde_json::Value =
            serde_json::from_str(&ok(&format!("attach lan --netns {netns} --name {name} --json"))).unwrap();
        assert_eq!((&report["mac"], &addresses(&report)), (mac, at));
        reaches(&home.laptop, at[0]);
        assert_eq!(mac_known_to(&home.laptop, at[0]), mac.as_str().unwrap());
        reaches(&new, at[0]);
        ok(&format!("detach lan {name}"));
    }
    // An import says whose the state is now, so no copy is suspected.
    assert!(!ok("status").contains("another machine"));
}

fn backups(directory: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn backups_are_whole_private_and_bounded_and_a_full_disk_costs_none() {
    let home = Home::new();
    home.create_lan();
    let to = home.directory.path().join("new/backups");
    let backup = format!("state backup --to {} --keep 2", to.display());
    let written = home.ok(&backup);
    assert_eq!(backups(&to), [PathBuf::from(written.trim())]);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&to), mode(&backups(&to)[0])), (0o700, 0o600));
    assert_eq!(document(&fs::read_to_string(&backups(&to)[0]).unwrap()), document(&home.ok("state export")));
    assert!(home.ok(&backup).contains("nothing has changed since"));
    assert_eq!(backups(&to).len(), 1);
    let first = backups(&to)[0].clone();
    let earlier = |day| {
        let (name, _) = first.file_name().unwrap().to_str().unwrap().split_at("ashore-00000000".len());
        to.join(format!("{name}-2001-01-0{day}T00-00-00Z.json"))
    };
    for day in 1..=3 {
        fs::copy(&first, earlier(day)).unwrap();
    }
    // Another host's, or those of the state that was lost.
    fs::write(to.join("ashore-00000000-2001-01-01T00-00-00Z.json"), "").unwrap();
    fs::write(to.join("mine.json"), "").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    home.ok("detach lan web");
    let said = home.ok(&backup);
    assert_eq!(said.matches("# removed: ").count(), 3, "{said}");
    let names = backups(&to);
    assert!(names.len() == 4 && names[3].ends_with("mine.json"), "{names:?}");
    let names: Vec<_> =
        names.into_iter().filter(|name| !name.to_string_lossy().contains("-00000000-")).collect();

    // What it has written is what a user needs after the network is gone by mistake.
    home.ok("network rm lan");
    let good = fs::read_to_string(said.lines().next().unwrap()).unwrap();
    import(home.daemon(), &good, home.directory.path()).expect_success();
    home.ok("network inspect lan");

    // A disk with no room, and a place that is no directory.
    let full = home.directory.path().join("full");
    fs::create_dir(&full).unwrap();
    let socket = home.daemon().socket().display().to_string();
    let script = "mount -t tmpfs -o size=64k none \"$0\"; cp \"$1\" \"$0\"; \
                  dd if=/dev/zero of=\"$0/filler\" bs=4096 2>/dev/null || :; \
                  \"$2\" state backup --keep 1 --to \"$0\" --socket \"$3\"; code=$?; ls -A \"$0\"; exit $code";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&full).arg(&names[0]).args([PROGRAM, &socket]);
    let ran = Ran::of(&mut command).unwrap();
    assert_eq!(ran.code, Some(7), "{}", ran.stderr);
    assert!(ran.stderr.contains("no backup is written") && ran.stderr.contains("--to"), "{}", ran.stderr);
    let left = format!("{}\nfiller\n", names[0].file_name().unwrap().to_str().unwrap());
    assert_eq!(ran.stdout, left, "the one of before is there, and nothing that is half written");
    let mut file = File::create(home.directory.path().join("file")).unwrap();
    file.write_all(b"mine").unwrap();
    let refused = home.run(&format!("state backup --to {}/file", home.directory.path().display()));
    assert_eq!(refused.code, Some(7), "{}", refused.stderr);
}

#[test]
fn what_is_no_state_is_not_restored() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("later"), format!("{{\"schema\": {LATER}, \"rows\": {{}}}}")).unwrap();
    let home = Home::new();
    for (file, words) in [
        ("missing", "No such file"),
        ("empty", "is not an exported state"),
        ("later", "use the version that wrote it"),
    ] {
        let state = at("state");
        let line = format!("state restore {} --state {state} --run {}", at(file), at("run"));
        // On a machine without a daemon.
        let ran = on_nas(&home.laptop, &line);
        assert!(ran.code != Some(0) && ran.stderr.contains(words), "{file}: {}", ran.stderr);
        assert!(!Path::new(&state).join("state.redb").exists());
    }
    assert_ne!(ashore(&["state", "restore"]).code, Some(0));
}
