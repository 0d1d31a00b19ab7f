use super::*;
use crate::model::identity::Scope;
use crate::model::lease::{Addressing, Release};
use crate::model::ownership::EngineKind;
use crate::rules::remember::tests::Words;

/// An engine's list of containers: `ID=NAME` with the endpoint `id-ID`, or `ID=NAME-` for a stopped
/// container.
fn list(containers: &[&str]) -> Inventory {
    let container = |text: &&str| {
        let (id, name) = text.split_once('=').unwrap();
        let (name, runs) = name.strip_suffix('-').map_or((name, true), |name| (name, false));
        let membership = Membership {
            network: "n1".into(),
            endpoint: runs.then(|| format!("id-{id}")),
            addresses: Vec::new(),
            mac: None,
            chosen: Vec::new(),
        };
        let memberships = vec![membership];
        ListedContainer {
            id: format!("c-{id}"),
            name: name.parse().unwrap(),
            memberships,
            sandbox: None,
            formerly: None,
        }
    };
    let containers = containers.iter().map(container).collect();
    Inventory { kind: EngineKind::Docker, engine: "e1".into(), networks: Vec::new(), containers }
}

impl Words {
    /// The endpoints in words: the engine's id, the name, how the address was chosen, and the addresses.
    fn endpoints(&self) -> Vec<String> {
        let words = |endpoint: &Endpoint| {
            let id = endpoint.engine_id().unwrap().trim_start_matches("id-");
            let addresses: Vec<String> =
                endpoint.addresses.iter().map(|net| net.addr().to_string()).collect();
            format!(
                "{id}={} {:?} {}",
                endpoint.name,
                endpoint.chosen,
                addresses.join(" ").replace("192.168.88", "")
            )
        };
        let mut all: Vec<String> = self.state.endpoints.values().map(words).collect();
        all.sort_unstable();
        all
    }
}

/// Identities and endpoints before, the last list, this list, and endpoints and identities afterwards.
type Row<'a> =
    (&'a [&'a str], &'a [&'a str], Option<&'a [&'a str]>, &'a [&'a str], &'a [&'a str], &'a [&'a str]);

#[track_caller]
fn holds(rows: &[Row<'_>]) {
    for (identities, endpoints, last, now, named, kept) in rows {
        let mut words = Words::new(Addressing::Range, identities).with(endpoints);
        let last = last.map(list);
        for _ in 0..2 {
            let changes = words.state.learnt(&list(now), last.as_ref(), 2);
            words.apply(changes);
            assert_eq!(
                (words.endpoints(), words.identities()),
                (strings(named), strings(kept)),
                "{endpoints:?}, {now:?}"
            );
        }
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_name_that_is_learnt_keeps_its_own_and_gets_what_it_has_not() {
    holds(&[
        (&[], &["u1 unnamed range .192 m1"], None, &["u1=web"], &["u1=web ForName .192"], &["web m1 .192"]),
        (
            &["web m1 .192"],
            &["u1 unnamed range .195 m5"],
            None,
            &["u1=web"],
            &["u1=web StandIn .195"],
            &["web m1 .192"],
        ),
        // The address that the user chose, and the MAC of the name that remembers it: nothing is lacking.
        (
            &["files m1 .200"],
            &["u1 unnamed fixed .200! m1"],
            None,
            &["u1=files"],
            &["u1=files ForName .200"],
            &["files m1 .200"],
        ),
        // The user has given the address to another container, which still lacks its own MAC.
        (
            &["files m1 .200"],
            &["u1 unnamed fixed .200! m1"],
            None,
            &["u1=other", "u2=files-"],
            &["u1=other StandIn .200"],
            &["files m1", "other .200"],
        ),
        // A container that is not listed waits. So does one whose name another endpoint still has.
        (
            &["web m1 .192"],
            &["u1 unnamed range .195 m5", "web for-name range .192 m1"],
            None,
            &["u1=web"],
            &["u1=u1 Unnamed .195", "web=web ForName .192"],
            &["web m1 .192"],
        ),
        // A container may really have a name of the form that Ashore gives to containers of unknown name.
        (
            &[],
            &["at-192.168.88.195 unnamed range .195 m5"],
            None,
            &["at-192.168.88.195=at-192.168.88.195"],
            &["at-192.168.88.195=at-192.168.88.195 ForName .195"],
            &["at-192.168.88.195 m5 .195"],
        ),
        // The address in a router's prefix was generated from a wrong name.
        (
            &["web sfd99::1"],
            &["u1 unnamed range .195 sfd99::5"],
            None,
            &["u1=web"],
            &["u1=web ForName .195"],
            &["web .195 sfd99::1"],
        ),
    ]);
}

#[test]
fn a_renamed_container_takes_along_all_that_its_name_kept() {
    holds(&[
        (
            &["web m1 .192 ::c0 l.100"],
            &["web for-name range .192 m1"],
            Some(&["web=web"]),
            &["web=www"],
            &["web=www ForName .192"],
            &["www m1 .192 ::c0 l.100"],
        ),
        // A renamed container also keeps what it does not have yet.
        (
            &["web m1 .192"],
            &["web stand-in range .195 m5"],
            Some(&["web=web"]),
            &["web=www"],
            &["web=www StandIn .195"],
            &["www m1 .192"],
        ),
        // A new container with the old name gets nothing of it. What was remembered for the new name is
        // dropped.
        (
            &["web m1 .192", "www m3 .193"],
            &["web for-name range .192 m1", "u1 unnamed range .195 m5"],
            Some(&["web=web"]),
            &["web=www", "u1=web"],
            &["u1=web ForName .195", "web=www ForName .192"],
            &["web m5 .195", "www m1 .192"],
        ),
        // Two containers have swapped names.
        (
            &["db m2 .193", "web m1 .192"],
            &["web for-name range .192 m1", "db for-name range .193 m2"],
            Some(&["web=web", "db=db"]),
            &["web=db", "db=web"],
            &["db=web ForName .193", "web=db ForName .192"],
            &["db m1 .192", "web m2 .193"],
        ),
        // A daemon that has just started has no last list.
        (
            &["web m1 .192"],
            &["web for-name range .192 m1"],
            None,
            &["web=www"],
            &["web=www ForName .192"],
            &["www m1 .192"],
        ),
    ]);
}

#[test]
fn a_name_that_was_mistaken_costs_neither_container_what_it_has() {
    holds(&[
        (
            &["db m2 .193", "web m1 .192"],
            &["db for-name range .193 m2"],
            Some(&["old=old"]),
            &["db=web", "x=db-"],
            &["db=web StandIn .193"],
            &["db m2 .193", "web m1 .192"],
        ),
        (
            &["db m2 .193", "web m1 .192"],
            &["db for-name range .193 m2", "web for-name range .192 m1"],
            Some(&[]),
            &["db=web", "web=db"],
            &["db=web StandIn .193", "web=db StandIn .192"],
            &["db m2 .193", "web m1 .192"],
        ),
    ]);
}

#[test]
fn an_adopted_networks_endpoints_are_called_as_its_engine_lists_them() {
    let mut words = Words::new(Addressing::Range, &["web m1 .192"]).with(&["u1 unnamed engine .195 m5"]);
    let adopted = Network { adopted: true, ..words.network().clone() };
    words.apply(vec![Change::PutNetwork(adopted)]);
    assert_eq!(words.state.learnt(&list(&["u1=web"]), None, 2), []);
}

#[test]
fn an_engine_that_does_not_say_where_a_container_is_has_not_moved_it() {
    let mut words = Words::new(Addressing::Range, &[]);
    let network = words.state.networks.values().next().unwrap().clone();
    let mut told = list(&["u1=web"]);
    told.containers[0].sandbox = Some("/run/docker/netns/1".into());
    let changes = words.state.followed(&told, &network, 1);
    words.apply(changes);
    assert_eq!(words.state.followed(&list(&["u1=web"]), &network, 2), []);
    // At its next start the container has another sandbox.
    let changes = words.state.followed(&list(&["u2=web"]), &network, 2);
    words.apply(changes);
    let endpoint = words.state.endpoints.values().next().unwrap();
    assert_eq!((endpoint.engine_id(), endpoint.sandbox()), (Some("id-u2"), None));
}

/// Docker's `web`, which is `id-web` on its network `n1`, and Podman's `web`, which is `id-other` on its network
/// `n2`. To users both networks are `lan`, so both containers have one identity, with a lease.
fn two_engines() -> (State, NetworkName) {
    let words =
        Words::new(Addressing::Range, &["web m1 .192 L.100=07"]).with(&["web for-name range .192 m1"]);
    let engine = serde_json::json!({ "kind": "podman", "id": "n2", "name": "lan", "of": "p1" });
    let others = Network {
        name: "others".parse().unwrap(),
        engine: Some(serde_json::from_value(engine).unwrap()),
        ..words.network().clone()
    };
    let endpoint = Endpoint {
        network: others.name.clone(),
        name: "web".parse().unwrap(),
        ownership: EngineKind::Podman.into(),
        ..words.endpoint("other for-name range .200 m2")
    };
    let mut identity = words.state.identities.values().next().unwrap().clone();
    identity.addresses = vec!["192.168.88.200".parse().unwrap()];
    let changes = [
        Change::PutIdentity(State::scope(&others), endpoint.name.clone(), identity),
        Change::PutNetwork(others.clone()),
        Change::PutEndpoint(endpoint),
    ];
    (words.state.with(&changes), others.name)
}

/// A list of Podman's.
fn list_of_podman(containers: &[&str]) -> Inventory {
    Inventory { kind: EngineKind::Podman, engine: "p1".into(), ..list(containers) }
}

#[test]
fn a_list_forgets_only_what_its_own_engine_had() {
    let (state, others) = two_engines();
    let own: NetworkName = "lan".parse().unwrap();
    let lists = [
        (list(&[]), Some(&own)),
        (list_of_podman(&[]), Some(&others)),
        // Neither another engine of the same kind nor one of another kind with the same id.
        (Inventory { engine: "e2".into(), ..list(&[]) }, None),
        (Inventory { engine: "e1".into(), ..list_of_podman(&[]) }, None),
        (Inventory { engine: "p1".into(), ..list(&[]) }, None),
    ];
    for (list, forgets) in lists {
        let forgets: Vec<&NetworkName> = forgets.into_iter().collect();
        let networks: Vec<&NetworkName> =
            state.forgotten_networks(&list).iter().map(|one| &one.name).collect();
        let endpoints: Vec<&NetworkName> =
            state.forgotten_endpoints(&list).iter().map(|one| &one.network).collect();
        assert_eq!((&networks, &endpoints), (&forgets, &forgets), "{list:?}");
    }
}

#[test]
fn a_network_that_no_list_has_shown_is_not_forgotten_by_another_kind_of_engine() {
    let (mut state, others) = two_engines();
    let network = state.networks.get_mut(&others).unwrap();
    network.engine.as_mut().unwrap().of = None;
    state.endpoints.retain(|(network, _), _| *network != others);
    let listed = |list: &Inventory| state.forgotten_networks(list).iter().any(|one| one.name == others);
    assert_eq!((listed(&list(&[])), listed(&list_of_podman(&[]))), (false, true));
}

#[test]
fn a_list_names_and_renames_only_its_own_engines_containers() {
    let (state, others) = two_engines();
    let names = |state: &State| {
        state.endpoints.values().map(|one| format!("{} {}", one.network, one.name)).collect::<Vec<_>>()
    };
    // Podman's endpoint on Docker's list, and the other way round.
    for list in [list(&["other=www"]), list_of_podman(&["web=www"])] {
        assert_eq!(state.learnt(&list, None, 2), []);
    }
    // A network of another engine takes neither its name nor its id from a list.
    let listed = serde_json::json!({
        "id": "n2", "name": "theirs", "driver": "bridge", "internal": false, "options": {}, "subnets": [],
    });
    let networks = vec![serde_json::from_value(listed).unwrap()];
    assert_eq!(state.learnt(&Inventory { networks, ..list(&[]) }, None, 2), []);
    // Each one renames its own container, and what the other's is remembered by stays.
    let renamed = state.with(&state.learnt(&list(&["web=www"]), None, 2));
    assert_eq!(names(&renamed), ["lan www", "others web"]);
    let kept = |state: &State, network: &NetworkName, name: &str| {
        state.identity_of(&state.networks[network], &name.parse().unwrap()).map(|own| own.addresses.clone())
    };
    assert_eq!(kept(&renamed, &others, "web"), kept(&state, &others, "web"));
    let renamed = state.with(&state.learnt(&list_of_podman(&["other=www"]), None, 2));
    assert_eq!(names(&renamed), ["lan web", "others www"]);
}

#[test]
fn a_lease_is_given_back_only_if_the_lists_of_all_engines_of_its_network_lack_the_container() {
    let (mut state, others) = two_engines();
    state.endpoints.clear();
    let lan = State::scope(&state.networks[&others]);
    state.identities.change_all(|_, identity| {
        let lease = identity.lease.as_mut().unwrap();
        lease.release = Release::OnRemove(0);
    });
    let (stopped, none) = (["web=web-"], []);
    let (docker, podman) = ([list(&none), list(&stopped)], [list_of_podman(&none), list_of_podman(&stopped)]);
    let other_docker = Inventory { engine: "e2".into(), ..list(&none) };
    let cases: [(&[&Inventory], bool); 9] = [
        (&[], false),
        (&[&docker[0]], false),
        (&[&docker[1]], false),
        (&[&podman[0]], false),
        (&[&podman[1]], false),
        (&[&docker[0], &podman[1]], false),
        (&[&docker[1], &podman[0]], false),
        (&[&docker[0], &podman[0]], true),
        (&[&other_docker, &podman[0]], false),
    ];
    for (lists, is_gone) in cases {
        let found: Vec<&Scope> = state.gone_with_lease(lists).map(|((scope, _), _)| scope).collect();
        assert_eq!(found, is_gone.then_some(&lan).into_iter().collect::<Vec<_>>(), "{lists:?}");
    }
}
