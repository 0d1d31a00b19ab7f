//! `ashore events` and `ashore map`: what has happened outlives the daemon, whatever a machine on the LAN claims.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::event::{Event, Kind};
use ashore_wire::Mac;
use home::voice::Voice;
use home::{Home, addresses, eventually, eventually_within, ip, takes, type_ip};

fn events(home: &Home) -> Vec<Event> {
    match home.ask(&Request::Events { after: None, about: None }) {
        Ok(Reply::Events { events, last }) => {
            assert!(events.is_sorted_by_key(|event| event.number));
            assert!(events.last().is_none_or(|event| event.number <= last));
            events
        }
        other => panic!("{other:?}"),
    }
}

/// The kinds of the events about a name.
fn kinds(home: &Home, name: &str) -> Vec<Kind> {
    let all = events(home).into_iter().filter(|event| event.what.concerns(name));
    all.map(|event| event.what.kind).collect()
}

fn file(home: &Home) -> PathBuf {
    home.directory.path().join("state/events.jsonl")
}

fn stop(home: &mut Home) {
    let mut daemon = home.daemon.take().unwrap();
    daemon.terminate().unwrap();
    assert!(daemon.ended_within(Duration::from_secs(10)).unwrap());
}

/// `ashore events --follow`, and what it has printed.
struct Following(Child, Arc<Mutex<String>>);

impl Following {
    fn begin(home: &Home, options: &[&str]) -> Following {
        let mut command = home.daemon().client();
        command.args(["events", "--follow"]).args(options).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (text, stdout) = (Arc::new(Mutex::new(String::new())), child.stdout.take().unwrap());
        let printed = text.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let mut printed = printed.lock().unwrap();
                printed.push_str(&line.unwrap());
                printed.push('\n');
            }
        });
        Following(child, text)
    }

    fn has(&self, text: &str) -> bool {
        self.1.lock().unwrap().contains(text)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_has_happened_outlives_the_daemon() {
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""))[0];
    let came = format!("`web` is on network `lan` with {at}");
    assert!(home.ok("events").contains(&came));
    assert_eq!(kinds(&home, "web"), [Kind::Attached]);
    assert_eq!(kinds(&home, "lan"), [Kind::NetworkMade, Kind::Attached]);
    let about = home.ok("events web --json");
    let about: Vec<Event> = serde_json::from_str(&about).unwrap();
    assert_eq!(about.len(), 1);
    assert_eq!((about[0].what.address, about[0].what.network.as_deref()), (Some(at), Some("lan")));

    // As the init system stops it.
    let before = events(&home);
    stop(&mut home);
    home.start();
    let after = events(&home);
    assert_eq!(after[..before.len()], before);
    let since: Vec<Kind> = after[before.len()..].iter().map(|event| event.what.kind).collect();
    assert_eq!(since, [Kind::Stopped, Kind::Started]);

    // Killed, it loses a minute at most.
    home.ok("detach lan web");
    assert_eq!(kinds(&home, "web"), [Kind::Attached, Kind::Detached]);
    let written = || fs::read_to_string(file(&home)).is_ok_and(|text| text.contains(r#""kind":"detached""#));
    eventually_within(Duration::from_secs(90), "it is on the disk", written);
    let before = events(&home);
    home.restart();
    let after = events(&home);
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.last().unwrap().what.kind, Kind::Started);
    assert!(after.last().unwrap().number > before.last().unwrap().number + 1);
    assert_eq!(kinds(&home, "web"), [Kind::Attached, Kind::Detached]);
}

#[test]
fn what_ends_while_no_daemon_runs_is_told_by_the_next_one() {
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    stop(&mut home);
    // The kernel destroys its namespace.
    drop(web);
    home.start();
    eventually("it is told", || kinds(&home, "web") == [Kind::Attached, Kind::Detached]);
}

#[test]
fn forged_claims_push_nothing_else_out() {
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let at = addresses(&home.attach("lan", &web, ""))[0];
    let at_db = addresses(&home.attach("lan", &db, ""))[0];
    let before = events(&home);
    let voice = Voice::of(&home.laptop);
    let forged = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        Mac([2, 0xfe, 0, a, b, c])
    };
    let mut sent = 0;
    let conflicts = |home: &Home| -> Vec<Event> {
        events(home).into_iter().filter(|event| event.what.kind == Kind::Conflict).collect()
    };
    // The switch forwards nothing from a port in the first moments.
    eventually("claims are told", || {
        for n in sent..sent + 500 {
            voice.claims(forged(n), at);
            voice.claims(forged(n), ip("192.168.88.77"));
        }
        sent += 500;
        conflicts(&home).iter().map(|event| event.times).sum::<u64>() > 100
    });
    voice.claims(forged(0), at_db);
    eventually("so is one on another address", || {
        conflicts(&home).iter().any(|event| event.what.address == Some(at_db))
    });
    let told = conflicts(&home);
    assert!(told.len() <= 13, "{told:#?}");
    let of_web = told.iter().find(|event| event.what.address == Some(at)).unwrap();
    assert_eq!(of_web.what.name.as_ref().map(ToString::to_string).as_deref(), Some("web"));
    assert!(of_web.what.mac.is_some_and(|mac| mac.0.starts_with(&[2, 0xfe])));
    let left: Vec<Event> = events(&home).into_iter().filter(|event| before.contains(event)).collect();
    assert_eq!(left, before);

    let drawn = home.ok("map lan");
    assert!(drawn.contains(&format!("!  {at}")), "{drawn}");
}

#[test]
fn who_follows_is_told_of_what_happens_from_then_on_also_by_another_daemon() {
    let mut home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    let (following, as_json) = (Following::begin(&home, &[]), Following::begin(&home, &["--json", "web"]));
    eventually("what was is shown", || {
        following.has("`web` is on network `lan`") && as_json.has(r#""kind":"attached""#)
    });
    home.ok("detach lan web");
    let left = "`web` has left network `lan`";
    eventually("the detach is shown", || following.has(left) && as_json.has(r#""kind":"detached""#));
    stop(&mut home);
    std::thread::sleep(Duration::from_secs(2));
    home.start();
    home.attach("lan", &web, "");
    eventually("it goes on", || {
        following.has("the daemon has started")
            && following.1.lock().unwrap().matches("`web` is on").count() == 2
    });
    assert_eq!(following.1.lock().unwrap().matches(left).count(), 1, "nothing is shown twice");
    assert!(!as_json.has("has started"), "it is not about `web`");
    for line in as_json.1.lock().unwrap().lines() {
        serde_json::from_str::<Event>(line).unwrap();
    }
}

#[test]
fn troubles_begin_and_end_and_what_containers_write_moves_no_cursor() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    eventually("the link is known", || home.has_seen("lan", "web"));
    let rename = |from: &[u8], to: &[u8]| {
        let down: [&[u8]; 4] = [b"link", b"set", from, b"down"];
        let name: [&[u8]; 6] = [b"link", b"set", b"dev", from, b"name", to];
        assert!(type_ip(web.namespace(), &down) && type_ip(web.namespace(), &name));
        assert!(type_ip(web.namespace(), &[b"link", b"set", to, b"up"]));
        home.nudge();
    };
    rename(b"eth0", b"<b>\x1b[2J");
    let told = |home: &Home, kind| -> Option<Event> {
        events(home)
            .into_iter()
            .find(|event| event.what.kind == kind && event.what.trouble.as_deref() == Some("link-renamed"))
    };
    eventually_within(Duration::from_secs(150), "it has begun", || told(&home, Kind::TroubleBegun).is_some());
    let shown = home.ok("events link-renamed");
    assert!(shown.contains(r"<b>\x1b[2J") && !shown.contains('\x1b'), "{shown:?}");
    assert!(!home.ok("events --json").contains('\x1b'));
    assert_eq!(told(&home, Kind::TroubleEnded), None);
    rename(b"<b>\x1b[2J", b"eth0");
    eventually_within(Duration::from_secs(150), "it is over", || told(&home, Kind::TroubleEnded).is_some());
    assert!(!events(&home).iter().any(|event| event.what.trouble.as_deref() == Some("busy")));
}

#[test]
fn a_file_of_events_that_is_damaged_stops_nothing() {
    let mut home = Home::new();
    home.create_lan();
    stop(&mut home);
    let kept = fs::read_to_string(file(&home)).unwrap();
    let later = r#"{"number":900,"at":1,"kind":"melted","text":"it melted","degrees":[1500]}"#;
    fs::write(file(&home), format!("{kept}\u{0}garbage\n{later}\n{{\"number\":")).unwrap();
    home.start();
    assert!(kinds(&home, "lan").contains(&Kind::NetworkMade));
    assert!(home.daemon().log().contains("cannot be read"));
    assert!(events(&home).last().unwrap().number > 900);
    stop(&mut home);
    fs::remove_file(file(&home)).unwrap();
    fs::create_dir(file(&home)).unwrap();
    home.start();
    home.ok("network rm lan");
    assert_eq!(kinds(&home, "lan"), [Kind::NetworkRemoved]);
    stop(&mut home);
}

#[test]
fn the_map_shows_who_has_which_address() {
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let at = addresses(&home.attach("lan", &web, ""))[0];
    let at_db = addresses(&home.attach("lan", &db, ""))[0];
    home.ok("detach lan db");
    let other: IpAddr = ip("192.168.88.70");
    let has_machine = || home.ok("map lan").contains("m  192.168.88.70");
    takes(&home.laptop, other, has_machine);
    let drawn = home.ok("map lan");
    assert!(drawn.lines().all(|line| line.chars().count() <= 100), "{drawn}");
    assert!(drawn.lines().take(9).all(|line| line.chars().count() <= 80), "{drawn}");
    for said in [
        "lan 192.168.88.0/24 on eth0, range 192.168.88.192/27",
        "  192.168.88.0  xR------ -H------",
        " 192.168.88.64  ------m- --------",
        "192.168.88.192  #a...... ........",
        &format!("#  {at}  web"),
        &format!("a  {at_db}  db"),
        "H  192.168.88.9",
        "  #  a container's",
    ] {
        assert!(drawn.contains(said), "{said} is not in:\n{drawn}");
    }
    let maps: serde_json::Value = serde_json::from_str(&home.ok("map --json")).unwrap();
    assert_eq!(maps[0]["endpoints"][at.to_string()], "web");
    assert!(maps[0]["machines"].as_array().unwrap().iter().any(|one| one["ip"] == "192.168.88.70"));
    let refused = home.run("map attic");
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
}
