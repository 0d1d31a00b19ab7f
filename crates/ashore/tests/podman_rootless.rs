//! Containers of a user other than root on the LAN, through his own real Podman.

use ashore_lab::{Engines, Ran, Rootless};
use home::podman::{PodmanSite, newest, on_every_podman};
use home::{HOST, booted, eventually, eventually_within, ip, reaches};
use serde_json::Value;
use std::time::Duration;

/// Runs a test on each Podman that calls plugins, with a user of his own, and with Ashore installed.
fn with_user(test: &str, run: impl Fn(&mut PodmanSite)) {
    on_every_podman(test, newest(), |mut site| {
        site.install_ashore();
        run(&mut site);
    });
}

fn user(site: &PodmanSite) -> Rootless {
    site.podman.user(&Engines::find().unwrap(), "alice", 1000).unwrap()
}

fn run(user: &Rootless, command: &str) -> Ran {
    user.run(&command.split_whitespace().collect::<Vec<_>>()).unwrap()
}

#[track_caller]
fn ok(site: &PodmanSite, user: &Rootless, command: &str) -> String {
    let ran = run(user, command);
    let log = site.home.daemon.as_ref().map(ashore_lab::Daemon::log).unwrap_or_default();
    assert_eq!(ran.code, Some(0), "podman {command}: {}{}\n{log}", ran.stdout, ran.stderr);
    ran.stdout.trim().to_owned()
}

/// A container's IPv4 address and MAC, as the user's Podman shows them.
fn address_of(site: &PodmanSite, user: &Rootless, container: &str) -> (String, String) {
    let shown: Value = serde_json::from_str(&ok(site, user, &format!("inspect {container}"))).unwrap();
    let there = &shown[0]["NetworkSettings"]["Networks"]["lan"];
    let text = |key: &str| there[key].as_str().unwrap_or_default().to_owned();
    (text("IPAddress"), text("MacAddress"))
}

#[test]
fn a_container_of_a_user_answers_the_lan_and_keeps_its_address() {
    with_user("podman, rootless", |site| {
        let alice = user(site);
        let refused = run(&alice, "network create -d ashore lan");
        assert_eq!(refused.code, Some(125), "{}", refused.stdout);
        assert!(refused.stderr.contains("ashore network create lan --allow-user 1000"), "{}", refused.stderr);

        site.home.ok("network create lan --allow-user 1000");
        ok(site, &alice, "network create -d ashore lan");
        ok(site, &alice, "run -d --name web --network lan box sleep 1000");
        let (web, mac) = address_of(site, &alice, "web");
        reaches(&site.home.laptop, ip(&web));
        reaches(&site.home.nas, ip(&web));
        ok(site, &alice, &format!("exec web ping -c 1 -w 2 {HOST}"));
        ok(site, &alice, "exec web ping -c 1 -w 2 192.168.88.1");
        assert_eq!(site.endpoints(), ["1000/web"]);

        // Root's container of the same name is another.
        site.ok("network create -d ashore lan");
        site.start_on_lan("web", "");
        let (roots, _) = site.address_of("web");
        assert_ne!(roots, web);
        ok(site, &alice, &format!("exec web ping -c 1 -w 2 {roots}"));
        site.ok("rm -f -t 0 web");

        ok(site, &alice, "stop -t 0 web");
        eventually("it is off the LAN", || site.home.laptop.ping(ip(&web)).is_none());
        eventually("it is given back", || site.endpoints().is_empty());
        ok(site, &alice, "start web");
        assert_eq!(address_of(site, &alice, "web"), (web.clone(), mac.clone()));
        reaches(&site.home.laptop, ip(&web));
        ok(site, &alice, "rm -f -t 0 web");
        eventually("it is off the LAN", || site.home.laptop.ping(ip(&web)).is_none());
        eventually("it is given back", || site.endpoints().is_empty());
        ok(site, &alice, "run -d --name web --network lan box sleep 1000");
        assert_eq!(address_of(site, &alice, "web"), (web, mac));
        ok(site, &alice, "rm -f -t 0 web");
        ok(site, &alice, "network rm lan");
        eventually("it is given back", || site.endpoints().is_empty());
    });
}

#[test]
fn the_daemon_starts_again_between_his_podmans_calls() {
    with_user("podman, rootless, restart", |site| {
        site.home.ok("network create lan --allow-group 1000");
        let alice = user(site);
        ok(site, &alice, "network create -d ashore lan");
        ok(site, &alice, "run -d --name web --network lan box sleep 1000");
        site.home.daemon.take().unwrap().kill().unwrap();
        site.start_daemon();
        let (web, _) = address_of(site, &alice, "web");
        reaches(&site.home.laptop, ip(&web));
        assert_eq!(site.endpoints(), ["1000/web"]);
        ok(site, &alice, "stop -t 0 web");
        eventually("it is given back", || site.endpoints().is_empty());

        // While no daemon runs, none starts, and one that runs goes all the same.
        ok(site, &alice, "start web");
        site.home.daemon = None;
        let refused = run(&alice, "run -d --name db --network lan box sleep 1000");
        assert_ne!(refused.code, Some(0));
        assert!(refused.stderr.contains("the daemon does not answer"), "{}", refused.stderr);
        ok(site, &alice, "rm -f -t 0 web");
        site.start_daemon();
        eventually_within(Duration::from_secs(30), "it is found to be gone", || site.endpoints().is_empty());
        assert!(site.home.laptop.ping(ip(&web)).is_none());
    });
}

/// As `ashore install` leaves it: the service is confined, and systemd holds the socket.
#[test]
fn a_user_of_an_installed_daemon_is_on_the_lan_over_its_restart() {
    booted::on_a_podman("podman, rootless, installed", |booted| {
        booted.install();
        let told = booted.run("ashore network create lan --allow-user 1000");
        assert!(told.stderr.contains("try: ashore install --users"), "{}", told.stderr);
        let alice = booted.nas.user(&Engines::find().unwrap(), "alice", 1000).unwrap();
        let ok = |command: &str| {
            let ran = run(&alice, command);
            assert_eq!(
                ran.code,
                Some(0),
                "podman {command}: {}{}\n{}",
                ran.stdout,
                ran.stderr,
                booted.nas.journal("ashore*")
            );
            ran.stdout.trim().to_owned()
        };
        let refused = run(&alice, "network create -d ashore lan");
        let as_root = "there is no socket for users other than root; try, as root: ashore install --users";
        assert!(refused.stderr.contains(as_root), "{}", refused.stderr);
        booted.ok("/root/ashore install --users");
        ok("network create -d ashore lan");
        ok("run -d --name web --network lan box sleep 1000");
        let web = ok("inspect --format {{range.NetworkSettings.Networks}}{{.IPAddress}}{{end}} web");
        reaches(&booted.laptop, ip(&web));
        let endpoints = || booted.ok("ashore status");
        assert!(endpoints().contains("1000/web"));
        assert!(booted.kill_daemon());
        eventually("it is there again", || booted.run("ashore status").stdout.contains("1000/web"));
        reaches(&booted.laptop, ip(&web));
        // Nobody runs: systemd has the daemon started by the call.
        booted.ok("systemctl stop ashore.service");
        ok("stop -t 0 web");
        eventually("it is off the LAN", || booted.laptop.ping(ip(&web)).is_none());
        ok("start web");
        reaches(&booted.laptop, ip(&web));
        ok("rm -f -t 0 web");
        eventually("it is given back", || !endpoints().contains("1000/web"));
        // Root may do without.
        booted.ok("systemctl disable --now ashore-users.socket");
        booted.ok("systemctl restart ashore.service");
        booted.install();
        let refused = run(&alice, "run -d --name db --network lan box sleep 1000");
        assert!(refused.stderr.contains(as_root), "{}", refused.stderr);
        booted.ok("ashore uninstall --force");
        assert!(!booted.at("/var/lib/ashore-plug").exists());
    });
}

/// The login of a user without a session: what `loginctl enable-linger` has systemd do at boot. No logind is asked, and
/// the lab has made the user's directory already.
const LINGER: &str = r"
    mkdir -p /etc/systemd/system/user@.service.d
    printf '[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' > /etc/systemd/system/user@.service.d/lab.conf
    printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/busybox true\n' \
        > /etc/systemd/system/user-runtime-dir@.service
    systemctl daemon-reload
    # It asks by the system's bus, which the lab does not have, whether the host is online.
    ln -s /dev/null /etc/systemd/user/podman-user-wait-network-online.service
    systemctl start user@1000.service
";

/// The lab's users have no control groups of their own, which a quadlet asks for.
const QUADLET: &str = r"
    mkdir -p ~/.config/containers/systemd
    cat > ~/.config/containers/systemd/web.container <<END
[Container]
ContainerName=web
Image=box
Network=lan
Exec=sleep 1000
PodmanArgs=--cgroups=disabled

[Install]
WantedBy=default.target
END
    sed -i s/slirp4netns/pasta/ ~/.config/containers/containers.conf
    systemctl --user daemon-reload
";

/// As on a host whose user has a stack of quadlets: they are started without a session, and by pasta as Podman does.
#[test]
fn a_quadlet_of_a_user_is_on_the_lan_by_her_own_systemd() {
    booted::on_a_podman("podman, rootless, quadlet", |booted| {
        booted.ok("/root/ashore install --users");
        booted.ok("ashore network create lan --allow-user 1000");
        let alice = booted.nas.user(&Engines::find().unwrap(), "alice", 1000).unwrap();
        booted.nas.run(&["busybox", "sh", "-ec", LINGER]).unwrap().expect_success();
        let by_alice = |program: &str, arguments: &[&str]| {
            let mut command = alice.command(program);
            let ran = Ran::of(command.args(arguments)).unwrap();
            let journal = || booted.nas.journal("user@1000.service");
            assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}\n{}", ran.stdout, ran.stderr, journal());
            ran.stdout.trim().to_owned()
        };
        by_alice("podman", &["network", "create", "-d", "ashore", "lan"]);
        by_alice("busybox", &["sh", "-ec", QUADLET]);
        by_alice("systemctl", &["--user", "start", "web.service"]);
        let format = "{{range.NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let web = by_alice("podman", &["inspect", "--format", format, "web"]);
        reaches(&booted.laptop, ip(&web));
        assert!(booted.ok("ashore status").contains("1000/web"));
        by_alice("systemctl", &["--user", "restart", "web.service"]);
        assert_eq!(by_alice("podman", &["inspect", "--format", format, "web"]), web);
        eventually("it is on the LAN again", || booted.laptop.ping(ip(&web)).is_some());
        // Whoever ends her session ends what is in it, and it is there again with the next one.
        booted.ok("systemctl stop user@1000.service");
        eventually("it is off the LAN", || booted.laptop.ping(ip(&web)).is_none());
        booted.ok("systemctl start user@1000.service");
        eventually_within(Duration::from_secs(30), "it is there again", || {
            booted.laptop.ping(ip(&web)).is_some()
        });
        by_alice("systemctl", &["--user", "stop", "web.service"]);
        eventually("it is given back", || !booted.ok("ashore status").contains("1000/web"));
    });
}
