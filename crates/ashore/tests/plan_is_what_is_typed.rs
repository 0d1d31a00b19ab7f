//! The commands that `ashore plan` prints, run in a shell, produce exactly the same result as Ashore.

use std::process::Stdio;

use ashore_core::net::observed::View;
use ashore_lab::{Engines, Machine, cannot_run};
use home::Home;

/// Host and container, with names in place of the numbers that the kernel assigns.
fn seen(home: &Home, container: &Machine) -> Vec<String> {
    let describe = |view: &View| {
        let mut lines = Vec::new();
        for link in &view.links {
            let lower = link.lower.map(|lower| lower.seat);
            let (name, kind, mac, alias) = (&link.name, &link.kind, link.mac, &link.alias);
            let sysctls = (link.arp_filter, link.accept_ra);
            lines.push(format!(
                "{name} {kind:?} {mac:?} {} {} {alias:?} {lower:?} {sysctls:?}",
                link.mtu, link.up
            ));
            for address in view.addresses_of(link) {
                lines.push(format!("  {} {}", address.net, address.life.is_none()));
            }
        }
        lines.extend(
            view.routes.iter().map(|there| format!("{} {} {}", there.route, there.protocol, there.metric)),
        );
        lines.extend(view.neighbours.iter().map(|there| format!("{} {}", there.ip, there.mac)));
        lines
    };
    let (host, inside) = (home.nas.kernel().observe(&[]).unwrap(), container.kernel().observe(&[]).unwrap());
    let mut lines = describe(&host.host);
    lines.extend(describe(&inside.host));
    lines
}

fn type_by_hand(home: &Home, engines: &Engines, commands: &str) {
    let mut shell = home.nas.command("sh").unwrap();
    shell.args(["-e"]).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut shell = engines.equip(&mut shell).spawn().unwrap();
    std::io::Write::write_all(shell.stdin.as_mut().unwrap(), commands.as_bytes()).unwrap();
    drop(shell.stdin.take());
    let output = shell.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{:?}: {commands}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn same_by_hand(test: &str, create: &str) {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run(test, &why),
    };
    let mut home = Home::new();
    home.ok(create);
    let web = home.world.container("web").unwrap();
    let bare = seen(&home, &web);
    let netns = web.namespace().path().display().to_string();
    let attach = format!("attach lan --netns {netns} --name web");
    let commands = home.ok(&format!("plan {attach}"));
    assert!(commands.lines().count() >= 5, "{commands}");

    // Without the daemon, which would remove what it did not create.
    home.daemon = None;
    type_by_hand(&home, &engines, &commands);
    let typed = seen(&home, &web);

    web.remove_link("eth0").unwrap();
    for link in home.made_links() {
        home.nas.remove_link(&link).unwrap();
    }
    assert_eq!(seen(&home, &web), bare);

    home.start();
    home.ok(&attach);
    assert_eq!(seen(&home, &web), typed, "{commands}");

    let commands = home.ok("plan detach lan web");
    home.daemon = None;
    type_by_hand(&home, &engines, &commands);
    let typed = seen(&home, &web);
    home.start();
    home.ok("detach lan web");
    assert_eq!(seen(&home, &web), typed, "{commands}");
}

#[test]
fn with_the_unnumbered_shim() {
    same_by_hand(
        "plan, unnumbered",
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 \
         --ip-range fd88::c0/122 --gateway 192.168.88.1 --gateway fd88::1 --mtu 1400 --bc-queue-len 500",
    );
}

#[test]
fn with_an_address_on_the_shim() {
    same_by_hand(
        "plan, numbered",
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192-192.168.88.200 \
         --gateway 192.168.88.1 --aux-address host=192.168.88.222",
    );
}

#[test]
fn private_mode_without_host_access() {
    same_by_hand(
        "plan, private",
        "network create lan --parent eth0 --kind macvlan:private --subnet 192.168.88.0/24 --gateway 192.168.88.1",
    );
}
