//! What happens in the lab.

use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use ashore_core::api::trouble;
use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::Step;
use ashore_kernel::PacketSocket;
use ashore_lab::Machine;
use ashore_wire::conflict::announcement;
use ashore_wire::{Mac, filter};

use super::tell::{Teller, asks};
use super::{GATEWAY, HOST, LAPTOP, Lab, Nas};
use crate::client::Failure;
use crate::meaning;
use crate::messages::message;

/// The address of the container that has no Ashore.
const PLAIN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 88, 77));

/// How long a daemon, or a switch, may take to notice something.
const PATIENCE: Duration = Duration::from_secs(5);

/// The host and its own container: by a macvlan made by hand, and by Ashore.
pub(super) fn host(lab: &Lab, teller: &mut Teller) -> Result<(), Failure> {
    let [nas1, _] = &lab.nas;
    plug_in_plain(&nas1.machine, &lab.plain)?;
    teller.begin(&message!("lab-scene-before"));
    teller.ask(&[
        asks(&lab.laptop, "plain", PLAIN, true),
        asks(&nas1.machine, &message!("lab-own-container", name = "plain"), PLAIN, false),
        asks(&lab.plain, &message!("lab-own-host", name = "nas1"), HOST, false),
    ]);

    teller.begin(&message!("lab-scene-host"));
    let network = &nas1.networks[0];
    Lab::create(nas1, network, teller)?;
    let web = lab.machine("web")?;
    Lab::attach(nas1, network, web, teller)?;
    let at_web = lab.address("web")?;
    teller.ask(&[
        asks(&lab.laptop, "web", at_web, true),
        asks(&nas1.machine, &message!("lab-own-container", name = "web"), at_web, true),
        asks(web, &message!("lab-own-host", name = "nas1"), HOST, true),
    ]);
    Ok(())
}

/// Gives a container a macvlan as Docker's own driver does.
fn plug_in_plain(nas: &Machine, plain: &Machine) -> anyhow::Result<()> {
    let name = |text: &str| text.parse().expect("the lab's names are interface names");
    let kind = LinkType::Macvlan {
        parent: name("eth0"),
        mode: MacvlanMode::Bridge,
        bc_queue_len: None,
        bc_limit: None,
    };
    let place = Place::Netns(plain.namespace().identity());
    let link = LinkSpec { name: name("eth0"), kind, mac: None, mtu: None };
    nas.apply(&[Step::AddLink { place, link }]).context("a plain macvlan")?;
    let net = ipnet::IpNet::new(PLAIN, 24).expect("24 bits fit");
    plain.set_up("eth0", true).and_then(|()| plain.add_address("eth0", net)).context("a plain macvlan")
}

/// Everybody else: a second host, and containers that reach each other.
pub(super) fn lan(lab: &Lab, teller: &mut Teller) -> Result<(), Failure> {
    teller.begin(&message!("lab-scene-next-container"));
    let [nas1, nas2] = &lab.nas;
    let plan = "plan attach lan --netns /run/netns/media";
    teller.typed(&nas1.machine, &format!("ashore {plan}"));
    nas1.run(plan)?.lines().for_each(|line| teller.command(line));
    for (nas, network) in lab.networks() {
        // The first one is there.
        if nas.machine.name() != nas1.machine.name() || network.name != nas1.networks[0].name {
            Lab::create(nas, network, teller)?;
        }
        for container in network.containers.iter().filter(|container| container.name() != "web") {
            Lab::attach(nas, network, container, teller)?;
        }
    }
    let (web, media, backup) = (lab.machine("web")?, lab.machine("media")?, lab.machine("backup")?);
    let [at_web, at_media, at_backup] = [lab.address("web")?, lab.address("media")?, lab.address("backup")?];
    teller.begin(&message!("lab-scene-lan"));
    teller.ask(&[
        asks(&lab.laptop, "backup", at_backup, true),
        asks(&lab.router, "web", at_web, true),
        asks(web, &message!("lab-same-host", name = "media"), at_media, true),
        asks(media, &message!("lab-other-host", name = "backup"), at_backup, true),
        asks(backup, &message!("lab-other-host", name = "web"), at_web, true),
        asks(web, "router", GATEWAY, true),
        asks(web, "laptop", LAPTOP, true),
        asks(&lab.laptop, "nas1", HOST, true),
        asks(&nas2.machine, &message!("lab-other-host", name = "web"), at_web, true),
    ]);
    Ok(())
}

/// A machine on the LAN claims the addresses of two containers, and only one of them is defended.
pub(super) fn theft(lab: &Lab, teller: &mut Teller) -> Result<(), Failure> {
    let [nas1, _] = &lab.nas;
    let at_web = lab.address("web")?;
    // The laptop has both in its cache, as somebody who uses them. The switch learns where the TV is.
    for (from, to) in [(&lab.laptop, PLAIN), (&lab.laptop, at_web), (&lab.tv, GATEWAY)] {
        from.ping(to).with_context(|| format!("{} does not reach {to}", from.name()))?;
    }
    // Five seconds after its first answer a kernel asks whether a neighbour is still there, and so tells its own MAC
    // again. In this scene nothing is to save `plain` by chance.
    let (link, mac) = ("eth0".parse().expect("a link's name"), nic(&lab.laptop)?.1);
    let known = Step::AddNeighbour { place: Place::Host, link, ip: LAPTOP, mac };
    lab.plain.apply(&[known]).context("a neighbour of `plain`")?;
    teller.begin(&message!("lab-scene-theft"));
    let thief = claim(&lab.tv, &[PLAIN, at_web])?;
    let told = within(PATIENCE, || claimed_by(nas1, thief))?;
    teller.ask(&[
        asks(&lab.laptop, &message!("lab-without-ashore", name = "plain"), PLAIN, false),
        asks(&lab.laptop, &message!("lab-with-ashore", name = "web"), at_web, true),
    ]);
    let told =
        told.ok_or_else(|| Failure::NotAsExpected(message!("lab-theft-not-told", mac = thief.to_string())))?;
    teller.typed(&nas1.machine, "ashore status");
    teller.say(&format!("…\n! {told}"));
    teller.explain(&meaning::of_trouble(trouble::Code::AddressClaimed, true));
    teller.say(&message!("lab-thief-is-tv", mac = thief.to_string()));
    Ok(())
}

/// Announces addresses as a machine's own, to everybody. Returns the machine's MAC.
fn claim(machine: &Machine, addresses: &[IpAddr]) -> anyhow::Result<Mac> {
    let (index, mac) = nic(machine)?;
    let socket = PacketSocket::open(machine.namespace(), index, &filter::arp_and_ndp())?;
    for ip in addresses {
        socket.send(&announcement(mac, *ip))?;
    }
    Ok(mac)
}

/// The number and the MAC of a machine's NIC.
fn nic(machine: &Machine) -> anyhow::Result<(u32, Mac)> {
    let host = machine.kernel().observe(&[])?.host;
    let nic = host.link(&"eth0".parse().expect("a link's name")).context("no NIC")?;
    Ok((nic.index, nic.mac.context("no MAC")?))
}

/// What a host tells of a MAC that claims an address, and what it advises.
fn claimed_by(nas: &Nas, thief: Mac) -> Result<Option<String>, Failure> {
    let status: serde_json::Value = serde_json::from_str(&nas.run("status --json")?).context("the status")?;
    let thief = thief.to_string();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut told = status["troubles"].as_array().into_iter().flatten();
    let ours = told
        .find(|trouble| trouble["code"] == "address-claimed" && text(&trouble["message"]).contains(&thief));
    Ok(ours.map(|trouble| format!("{}; try: {}", text(&trouble["message"]), text(&trouble["remedy"]))))
}

/// A cable is pulled and put back.
pub(super) fn cable(lab: &Lab, teller: &mut Teller) -> Result<(), Failure> {
    let [nas1, _] = &lab.nas;
    let (web, at_web) = (lab.machine("web")?, lab.address("web")?);
    lab.world.set_cable(&nas1.machine, false).context("the cable")?;
    teller.begin(&message!("lab-scene-cable"));
    teller.ask(&[asks(&lab.laptop, "web", at_web, false)]);
    lab.world.set_cable(&nas1.machine, true).context("the cable")?;
    teller.begin(&message!("lab-scene-cable-back"));
    within(PATIENCE, || Ok(lab.laptop.ping(at_web)))?;
    teller.ask(&[
        asks(&lab.laptop, "web", at_web, true),
        asks(&nas1.machine, &message!("lab-own-container", name = "web"), at_web, true),
        asks(web, "router", GATEWAY, true),
    ]);
    Ok(())
}

/// Looks again and again until there is something to see, or it has taken too long.
fn within<T>(
    most: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    let end = Instant::now() + most;
    loop {
        match look()? {
            None if Instant::now() < end => sleep(Duration::from_millis(20)),
            seen => return Ok(seen),
        }
    }
}
