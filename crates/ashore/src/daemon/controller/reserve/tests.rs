//! What other hosts say when an engine asks for an address. No LAN is asked here: the network probes no address.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use ashore_core::api::engine_call::{EngineCall, Owner, Preparation, Reservation};
use ashore_core::api::refusal::{Code, RefusalKind};
use ashore_core::api::reply::Reply;
use ashore_core::model::identity::Seed;
use ashore_core::model::network::EngineNetwork;
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::pool::PoolKey;
use ashore_core::model::state::Change;
use ashore_core::rules::create::NetworkSpec;
use ashore_kernel::Kernel;
use ashore_store::Store;

use super::*;
use crate::daemon::chronicle::Chronicle;
use crate::daemon::controller::Wakers;
use crate::daemon::hosts::Claims;
use crate::daemon::lan::Lan;
use crate::engines::turns::Lists;
use crate::trial::TrialFile;

/// Other hosts that have some addresses, or cannot be asked, and what was claimed.
#[derive(Default)]
struct Hosts {
    have: Vec<IpAddr>,
    unreachable: bool,
    claimed: Mutex<BTreeSet<IpAddr>>,
    asked: Mutex<Vec<(EndpointName, IpAddr)>>,
}

impl Claims for &'static Hosts {
    fn are_shared(&self) -> bool {
        true
    }

    fn claim(&self, _: &Unlocked, name: &EndpointName, _: &NetworkName, ip: IpAddr) -> Result<(), Unclaimed> {
        self.asked.lock().unwrap().push((name.clone(), ip));
        if self.unreachable {
            return Err(Unclaimed::Unreachable { ip, why: "no route to host".into() });
        }
        if self.have.contains(&ip) {
            return Err(Unclaimed::HeldBy { ip, host: "attic".into() });
        }
        self.claimed.lock().unwrap().insert(ip);
        Ok(())
    }

    fn release(&self, ip: IpAddr) {
        self.claimed.lock().unwrap().remove(&ip);
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 168, 88, last])
}

/// Asks a controller that has one network, by the key of its pool.
fn with_network<T>(
    hosts: &'static Hosts,
    ask: impl FnOnce(&Controller, &mut Unlocked, PoolKey) -> T,
) -> (T, Vec<IpAddr>) {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), Seed([3; 16])).unwrap();
    let spec = r#"{"name":"lan","parent":"lo","subnets":["192.168.88.0/24"],"ranges":["192.168.88.32/30"],"conflict":"off"}"#;
    let network = serde_json::from_str::<NetworkSpec>(spec).unwrap().network().unwrap();
    let engine = EngineNetwork { kind: EngineKind::Docker, id: "n1".into(), name: None, of: None };
    let network = Network { engine: Some(engine), ..network };
    let pool = PoolKey::of(&network, &network.subnets[0]);
    store.commit(vec![Change::PutNetwork(network)]).unwrap();
    let kernel = Kernel::here().unwrap();
    let chronicle = Chronicle::of(directory.path(), store.snapshot());
    let lan = Lan::start(kernel.host().clone(), Lists::default(), chronicle).unwrap();
    let trial = TrialFile::at(&directory.path().join("trial"));
    let wakers = Wakers { deferred: channel().0, leaving: channel().0, search: channel().0 };
    let controller = Controller::new(store, kernel, lan, Lists::default(), trial, Vec::new(), wakers);
    let controller = Controller { claims: Box::new(hosts), ..controller };
    let unlocked = &mut Unlocked::of_this_thread();
    let reply = ask(&controller, unlocked, pool);
    let inner = controller.lock(unlocked);
    assert!(inner.held.is_empty());
    let held = inner.state().endpoints.values().flat_map(|one| one.addresses.iter().map(ipnet::IpNet::addr));
    (reply, held.collect())
}

/// Calls as an engine does, and returns the answer, and which addresses endpoints hold then.
fn call(
    hosts: &'static Hosts,
    call: impl FnOnce(PoolKey) -> EngineCall,
) -> (Result<Reply, Refusal>, Vec<IpAddr>) {
    with_network(hosts, |controller, unlocked, pool| controller.engine_call(unlocked, call(pool)))
}

/// What has to be there before it asks never stays.
struct Restless;

impl<'c> Seeker<'c> for Restless {
    type Draft = ();

    fn propose(&mut self, _: &'c Controller, inner: &mut Inner, _: &Answers<'_>) -> Proposed<()> {
        let network = inner.state().networks.values().next().unwrap().clone();
        Ok(Proposal { network, wanted: Vec::new(), draft: () })
    }

    fn obtain<'a>(
        &mut self,
        _: &'c Controller,
        inner: Locked<'a>,
        _: &Proposal<()>,
        _: Duration,
    ) -> Obtained<'a>
    where
        'c: 'a,
    {
        Ok((inner, true))
    }

    fn take(&mut self, _: &'c Controller, _: &mut Inner, _: &Proposal<()>) -> Taken {
        Ok(true)
    }
}

#[test]
fn a_request_that_begins_anew_all_the_time_is_refused() {
    let (code, _) = with_network(hosts(Hosts::default()), |controller, unlocked, _| {
        let inner = controller.lock(unlocked);
        let reserved = controller.reserve(inner, &mut Restless, &mut Answers::default());
        reserved.map(drop).map_err(|refusal| refusal.code)
    });
    assert_eq!(code, Err(Code::InTheWay));
}

/// Asks for an address.
fn reserve(hosts: &'static Hosts, ip: Option<IpAddr>) -> (Result<IpAddr, Refusal>, Vec<IpAddr>) {
    let requested = |pool| Reservation {
        engine: EngineKind::Docker,
        asked_before: None,
        pool,
        ip,
        gateway: false,
        owner: None,
        chosen: Vec::new(),
    };
    let (reply, held) = call(hosts, |pool| EngineCall::Reserve(requested(pool)));
    let reply = reply.map(|reply| match reply {
        Reply::Address(net) => net.addr(),
        other => panic!("{other:?}"),
    });
    (reply, held)
}

fn hosts(hosts: Hosts) -> &'static Hosts {
    Box::leak(Box::new(hosts))
}

#[test]
fn an_address_that_another_host_has_is_passed_over() {
    let hosts = hosts(Hosts { have: vec![ip(32), ip(33)], ..Hosts::default() });
    let (reply, held) = reserve(hosts, None);
    assert_eq!((reply, held), (Ok(ip(34)), vec![ip(34)]));
    assert_eq!(*hosts.claimed.lock().unwrap(), BTreeSet::from([ip(34)]));
    let asked: Vec<IpAddr> = hosts.asked.lock().unwrap().iter().map(|(_, ip)| *ip).collect();
    assert_eq!(asked, [ip(32), ip(33), ip(34)]);
}

#[test]
fn an_address_that_the_user_chose_and_another_host_has_is_refused() {
    let hosts = hosts(Hosts { have: vec![ip(77)], ..Hosts::default() });
    let (reply, held) = reserve(hosts, Some(ip(77)));
    let refusal = reply.unwrap_err();
    assert_eq!(refusal.message, "192.168.88.77 is held by an endpoint on the host `attic`");
    assert_eq!((refusal.kind, held), (RefusalKind::Taken, vec![]));
    assert_eq!(*hosts.claimed.lock().unwrap(), BTreeSet::new());
}

#[test]
fn where_other_hosts_cannot_be_asked_nothing_is_taken() {
    let hosts = hosts(Hosts { unreachable: true, ..Hosts::default() });
    let (reply, held) = reserve(hosts, None);
    let refusal = reply.unwrap_err();
    let told = "it cannot be found out whether another host has 192.168.88.32: no route to host";
    assert_eq!((refusal.message.as_str(), refusal.kind, held), (told, RefusalKind::State, vec![]));
    assert_eq!(*hosts.claimed.lock().unwrap(), BTreeSet::new());
}

#[test]
fn a_claim_is_given_up_if_no_address_is_left() {
    let hosts = hosts(Hosts { have: vec![ip(32), ip(33), ip(34), ip(35)], ..Hosts::default() });
    let (reply, held) = reserve(hosts, None);
    assert_eq!((reply.unwrap_err().kind, held), (RefusalKind::Taken, vec![]));
    assert_eq!(*hosts.claimed.lock().unwrap(), BTreeSet::new());
}

#[test]
fn a_claim_is_given_up_if_the_endpoint_is_refused_for_something_else() {
    let prepare = |mac: Mac| {
        let hosts = hosts(Hosts::default());
        let requested = Preparation {
            network: "n1".into(),
            id: "e1".into(),
            addresses: vec!["192.168.88.40/24".parse().unwrap()],
            mac: Some(mac),
            ifname: None,
            owner: Some(Owner::default()),
            ports: ashore_core::net::published::Ports::default(),
        };
        let (reply, held) = call(hosts, |_| EngineCall::Prepare(requested));
        let claimed: Vec<IpAddr> = hosts.claimed.lock().unwrap().iter().copied().collect();
        (reply.is_ok(), held, claimed)
    };
    assert_eq!(prepare(Mac([2, 0, 0, 0, 0, 9])), (true, vec![ip(40)], vec![ip(40)]));
    assert_eq!(prepare(Mac::BROADCAST), (false, vec![], vec![]));
}
