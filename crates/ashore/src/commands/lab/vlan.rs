//! `ashore lab --vlan`: the same home with VLAN 200 on its cables, and a router on a stick between it and the
//! LAN.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::net::remedy::Remedy;
use ashore_lab::{Machine, World, WorldError};
use ipnet::IpNet;
use nix::errno::Errno;

use super::tell::{Question, Teller, asks};
use super::{LAPTOP, Lab, Nas, Network};
use crate::client::Failure;
use crate::messages::message;

const ID: u16 = 200;
const ROUTER: IpAddr = address(1);
/// The address that the network reserves for its host.
const HOST: IpAddr = address(9);
const CAMERA: IpAddr = address(50);

const fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 200, last))
}

fn in_subnet(ip: IpAddr) -> IpNet {
    IpNet::new(ip, 24).expect("24 bits fit")
}

/// What the lab has in addition with a VLAN.
pub(super) struct Vlan {
    /// Connected to the switch like all machines, with an address in the VLAN only.
    camera: Machine,
}

/// Fails if the kernel has no VLANs. This is tested on an unconnected switch, before anything is built.
pub(super) fn check_kernel() -> Result<(), Failure> {
    let switch = World::new(None).context("a switch")?;
    match switch.switch().add_vlan("br0", ID, in_subnet(ROUTER)) {
        Err(WorldError::Step(error)) if error.errno == Errno::EOPNOTSUPP => Err(Refusal::of(
            Code::StepFailed,
            format!("this kernel has no VLANs: module 8021q is missing or not loaded: {error}"),
            Remedy::run("sudo modprobe 8021q")
                .and("; without that module, use a kernel that has it, or run the lab without --vlan"),
        )
        .into()),
        tried => Ok(tried.context("a VLAN")?),
    }
}

impl Vlan {
    /// Adds the VLAN to the router, a camera to the switch, and a network with a container to a host.
    pub(super) fn build(world: &World, router: &Machine, nas: &mut Nas) -> anyhow::Result<Self> {
        router.add_vlan("eth0", ID, in_subnet(ROUTER))?;
        route(router, true)?;
        let camera = world.container("camera")?;
        world.plug_in(&camera)?;
        camera.add_vlan("eth0", ID, in_subnet(CAMERA))?;
        camera.add_default_route("eth0.200", ROUTER)?;
        let options = format!(
            "--parent eth0 --vlan {ID} --subnet {} --ip-range 10.0.200.192/27 --gateway {ROUTER} --aux-address host={HOST}",
            in_subnet(ROUTER).trunc()
        );
        nas.networks.push(Network::new(world, "vlan200", options, &["sensor"])?);
        Ok(Vlan { camera })
    }

    pub(super) fn camera(&self) -> &Machine {
        &self.camera
    }

    /// Who reaches whom, while the router forwards and while it does not.
    pub(super) fn play(&self, lab: &Lab, teller: &mut Teller) -> Result<(), Failure> {
        let (sensor, at_sensor) = (lab.machine("sensor")?, lab.address("sensor")?);
        teller.begin(&message!("lab-scene-vlan"));
        let mut questions = self.within(lab)?;
        questions.push(asks(sensor, "router", ROUTER, true));
        questions.extend(across(lab, true)?);
        questions.push(asks(&lab.router, "sensor", at_sensor, true));
        teller.ask(&questions);

        route(&lab.router, false).context("the router")?;
        teller.begin(&message!("lab-scene-vlan-contrast"));
        let mut questions = self.within(lab)?;
        questions.extend(across(lab, false)?);
        teller.ask(&questions);
        route(&lab.router, true).context("the router")?;
        Ok(())
    }

    /// Traffic that stays in the VLAN.
    fn within<'a>(&'a self, lab: &'a Lab) -> Result<Vec<Question<'a>>, Failure> {
        let (sensor, at_sensor) = (lab.machine("sensor")?, lab.address("sensor")?);
        Ok(vec![
            asks(&self.camera, "sensor", at_sensor, true),
            asks(sensor, "camera", CAMERA, true),
            asks(&lab.nas[0].machine, &message!("lab-own-container", name = "sensor"), at_sensor, true),
            asks(sensor, &message!("lab-own-host", name = "nas1"), HOST, true),
        ])
    }
}

/// Traffic between the LAN and the VLAN.
fn across(lab: &Lab, expected: bool) -> Result<Vec<Question<'_>>, Failure> {
    let (sensor, at_sensor) = (lab.machine("sensor")?, lab.address("sensor")?);
    Ok(vec![
        asks(&lab.laptop, &message!("lab-lan-to-vlan", name = "sensor"), at_sensor, expected),
        asks(sensor, &message!("lab-vlan-to-lan", name = "laptop"), LAPTOP, expected),
        asks(
            lab.machine("web")?,
            &message!("lab-same-host-lan-to-vlan", name = "sensor"),
            at_sensor,
            expected,
        ),
    ])
}

fn route(router: &Machine, on: bool) -> Result<(), WorldError> {
    router.set_ipv4_conf("all", "forwarding", i32::from(on))
}
