//! For which container the engine requests an address. Up to Docker 28 it does not say, so its list of
//! containers is consulted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use ashore_core::api::engine_call::Owner;
use ashore_core::model::network::EngineNetwork;
use ashore_core::net::name::EndpointName;
use serde::Deserialize;
use serde_json::json;

use super::api::{Api, escaped, or_null};
use super::busy::only_busy;
use super::engine::Engine;
use super::labels::{All, Image, Listed, Platform};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
}

/// A container on the engine's list.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default)]
    state: String,
    #[serde(default, deserialize_with = "or_null")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    network_settings: NetworkSettings,
    #[serde(default, deserialize_with = "or_null")]
    labels: All,
    #[serde(rename = "ImageID", default)]
    image: String,
    /// The part of the image that the container has, if the image has several.
    #[serde(rename = "ImageManifestDescriptor", default)]
    part: Option<Part>,
}

#[derive(Debug, Clone, Deserialize)]
struct Part {
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    #[serde(deserialize_with = "or_null")]
    networks: BTreeMap<String, Membership>,
}

#[derive(Debug, Clone, Deserialize)]
struct Membership {
    #[serde(rename = "EndpointID", default)]
    endpoint: String,
    #[serde(rename = "IPAMConfig", default)]
    chosen: Option<Chosen>,
    /// For a container that is not running, the MAC that its user chose.
    #[serde(rename = "MacAddress", default)]
    mac: String,
}

/// The addresses that the user chose, as texts, which are empty if none was chosen.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Chosen {
    #[serde(rename = "IPv4Address")]
    v4: String,
    #[serde(rename = "IPv6Address")]
    v6: String,
}

impl Chosen {
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [&self.v4, &self.v6].into_iter().filter_map(|text| text.parse().ok())
    }
}

/// What is known about the purpose of an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// Whether the address is IPv6.
    pub(crate) v6: bool,
    /// The address, if the engine names it.
    pub(crate) ip: Option<IpAddr>,
    /// Whether it is certainly for a container of this network, and neither an auxiliary address nor for
    /// another network of the pool.
    pub(crate) is_sure: bool,
}

/// What the engine's list tells about a requested address.
#[derive(Debug)]
pub(crate) struct Found {
    /// The container that the address is for.
    pub(crate) owner: Owner,
    /// The addresses that users chose for containers, whether these run or not.
    pub(crate) chosen: Vec<IpAddr>,
}

/// The containers that an address may be for.
struct Candidates {
    all: Vec<Container>,
    /// Whether the right container is certainly among them.
    are_complete: bool,
}

impl Container {
    fn on(&self, network: &str) -> Option<&Membership> {
        self.network_settings.networks.get(network)
    }

    /// Whether the container is on a network and has no endpoint there. An engine that was killed shows the
    /// endpoints that its containers had before (seen on 20.10).
    fn waits_on(&self, network: &str) -> bool {
        self.on(network).is_some_and(|there| there.endpoint.is_empty() || self.state == "exited")
    }

    /// The container's own name: the one without a second slash. It has another name for each container that
    /// is linked to it.
    fn own_name(&self) -> Option<&str> {
        let mut names = self.names.iter().map(|name| name.trim_start_matches('/'));
        names.find(|name| !name.is_empty() && !name.contains('/'))
    }

    /// Its labels, of which its image may have some.
    fn listed(&self) -> Listed {
        let platform = self.part.as_ref().and_then(|part| part.platform.clone());
        let image = Image { id: self.image.clone(), platform };
        Listed::new(self.own_name().unwrap_or_default(), &self.labels, image)
    }

    /// Whether the engine may be starting the container on a network or connecting it. A container that it
    /// starts has no endpoint there yet. One that it connects is running and not listed there.
    fn may_come_to(&self, network: &str) -> bool {
        const RUNS: [&str; 3] = ["running", "paused", "restarting"];
        self.waits_on(network) || (self.on(network).is_none() && RUNS.contains(&self.state.as_str()))
    }

    /// The addresses that the user chose for the container.
    fn chosen(&self) -> impl Iterator<Item = IpAddr> {
        let networks = self.network_settings.networks.values();
        networks.filter_map(|there| there.chosen.as_ref()).flat_map(Chosen::addresses)
    }

    /// Whether the user chose this address for the container on a network, or no address if none is given.
    fn wants(&self, network: &str, asked: Asked) -> bool {
        let chosen = self.on(network).and_then(|there| there.chosen.as_ref());
        let text = chosen.map_or("", |chosen| if asked.v6 { &chosen.v6 } else { &chosen.v4 });
        text.parse().ok() == asked.ip
    }
}

impl Candidates {
    /// The containers for which the address was chosen, or else those for which none was chosen.
    fn of(containers: Vec<Container>, network: &str, asked: Asked) -> Self {
        let chosen = asked.ip.is_some() && containers.iter().any(|container| container.wants(network, asked));
        let wanted = if chosen { asked } else { Asked { ip: None, ..asked } };
        let fits = |one: &Container| one.on(network).is_none() || one.wants(network, wanted);
        let all = containers.into_iter().filter(|one| one.may_come_to(network) && fits(one));
        // Another IPAM may have given one container the address that a user chose for another.
        Candidates { all: all.collect(), are_complete: asked.is_sure && !chosen }
    }
}

/// Finds the container that the engine is starting on a network, as far as the engine answers at once.
pub(crate) async fn find(engine: &Engine, network: &EngineNetwork, asked: Asked) -> Option<Found> {
    let api = Api::at(&engine.socket);
    let (mut found, listed) = engine.silence.unless_it_lasts(&api, ask(&api, network, asked)).await?;
    found.owner.labels = engine.images.users(&api, listed).await;
    Some(found)
}

/// The labels are not yet the owner's: an image may have them.
async fn ask(api: &Api, network: &EngineNetwork, asked: Asked) -> anyhow::Result<(Found, Listed)> {
    let network_name = name_of(api, network).await?;
    let began = Instant::now();
    // The container is listed by now: the engine requests the address after it was created or started.
    let containers: Vec<Container> = api.get("/containers/json?all=1").await?;
    let chosen = containers.iter().flat_map(Container::chosen).collect();
    let candidates = Candidates::of(containers, &network_name, asked);
    let one = at_work_on(api, &candidates, began.elapsed()).await;
    let name = one.and_then(Container::own_name);
    let owner = Owner {
        network: network.id.clone(),
        name: name.map(EndpointName::of_container),
        formerly: name.and_then(EndpointName::formerly_of_container),
        mac: one.and_then(|one| one.on(&network_name)?.mac.parse().ok()),
        network_name: Some(network_name),
        ..Owner::default()
    };
    Ok((Found { owner, chosen }, one.map(Container::listed).unwrap_or_default()))
}

/// Completes a container that the engine has named: with the network that it is on and the MAC that its user
/// chose.
pub(crate) async fn called(engine: &Engine, networks: &[&EngineNetwork], told: &Owner) -> Option<Owner> {
    let api = Api::at(&engine.socket);
    let (owner, listed) = engine.silence.unless_it_lasts(&api, ask_by_name(&api, networks, told)).await??;
    Some(Owner { labels: engine.images.users(&api, listed).await, ..owner })
}

/// The labels are not yet the owner's: an image may have them.
async fn ask_by_name(
    api: &Api,
    networks: &[&EngineNetwork],
    told: &Owner,
) -> anyhow::Result<Option<(Owner, Listed)>> {
    let Some(name) = &told.name else { return Ok(None) };
    // For a long name, its beginning is enough. The dot is the only character of a name that is special in a
    // regular expression.
    let (begins, end) = told.formerly.as_ref().map_or((name, "$"), |begins| (begins, ""));
    let pattern = format!("^/?{}{end}", begins.as_str().replace('.', "[.]"));
    let filters = escaped(&json!({ "name": [pattern] }).to_string());
    let listed: Vec<Container> = api.get(&format!("/containers/json?all=1&filters={filters}")).await?;
    let mut named = listed
        .iter()
        .filter(|one| one.own_name().is_some_and(|own| EndpointName::of_container(own) == *name));
    let container = named.next();
    let listed = || container.map(Container::listed).unwrap_or_default();
    let mut first = None;
    for network in networks {
        let network_name = name_of(api, network).await?;
        let there = container.and_then(|one| one.on(&network_name));
        let mac = there.and_then(|there| there.mac.parse().ok());
        let network = network.id.clone();
        let owner = Owner { network, network_name: Some(network_name), mac, ..told.clone() };
        if there.is_some() {
            return Ok(Some((owner, listed())));
        }
        first.get_or_insert(owner);
    }
    Ok(first.map(|owner| (owner, listed())))
}

/// The user's name for a network, which the engine does not tell drivers.
async fn name_of(api: &Api, network: &EngineNetwork) -> anyhow::Result<String> {
    match &network.name {
        Some(name) => Ok(name.clone()),
        None => Ok(api.get::<Named>(&format!("/networks/{}", network.id)).await?.name),
    }
}

/// The container that the engine is starting or connecting. Returns `None` if there are several, because
/// nothing distinguishes them.
async fn at_work_on<'a>(
    api: &Api,
    candidates: &'a Candidates,
    a_list_takes: Duration,
) -> Option<&'a Container> {
    /// Long enough for the engine to answer for any other container. This adds to the time of an attach.
    const LEAST: Duration = Duration::from_millis(20);
    /// The maximum patience after a list that took long.
    const MOST: Duration = Duration::from_millis(250);
    let Candidates { all, are_complete } = candidates;
    if let ([one], true) = (all.as_slice(), are_complete) {
        return Some(one);
    }
    // If the right container is certainly among them, it is the last one that is not answered for. Otherwise
    // that one may just be slow, unless it is not running but already has a process.
    let starts: BTreeSet<String> = if *are_complete {
        all.iter().map(|one| one.id.clone()).collect()
    } else {
        let waiting = all.iter().filter(|one| one.state != "running");
        with_shim(waiting.map(|one| one.id.clone()).collect()).await
    };
    if let [one] = all.as_slice()
        && starts.contains(&one.id)
    {
        return Some(one);
    }
    let ids: Vec<&str> = all.iter().map(|container| container.id.as_str()).collect();
    let patience = (LEAST + 10 * a_list_takes).min(MOST);
    let id = only_busy(api, &ids, patience, |id| starts.contains(id)).await?;
    all.iter().find(|container| container.id == id)
}

/// Those of some containers that have a containerd shim process. Since Docker 28 it runs before a container's
/// network is made. Searching the processes takes milliseconds.
async fn with_shim(ids: BTreeSet<String>) -> BTreeSet<String> {
    let look = tokio::task::spawn_blocking(move || {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let of_process = |process: std::fs::DirEntry| {
            if !is_roots_shim(&process.path()) {
                return None;
            }
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.find_map(|word| ids.get(std::str::from_utf8(word).ok()?)).cloned()
        };
        processes.filter_map(of_process).collect()
    });
    look.await.unwrap_or_default()
}

/// Whether a process is a containerd shim of root. Reading a command line waits for the memory of the
/// process, which any user can keep locked for a process of their own. Reading the status waits for nothing.
/// The owner of the process directory proves nothing: that of a process that may not be traced belongs to
/// root.
fn is_roots_shim(process: &Path) -> bool {
    let status = std::fs::read(process.join("status")).unwrap_or_default();
    let has = |line: &[u8]| status.split(|byte| *byte == b'\n').any(|there| there == line);
    has(b"Name:\tcontainerd-shim") && has(b"Uid:\t0\t0\t0\t0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_is_roots_and_has_its_name() {
        let directory = std::env::temp_dir().join(format!("ashore shim {}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for (status, is_shim) in [
            ("Name:\tcontainerd-shim\nUmask:\t0022\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n", true),
            ("Name:\tcontainerd-shim\nUid:\t1000\t1000\t1000\t1000\n", false),
            // A set-uid root program.
            ("Name:\tcontainerd-shim\nUid:\t1000\t0\t0\t0\n", false),
            ("Name:\tcontainerd\nUid:\t0\t0\t0\t0\n", false),
            ("Name:\tx\\nName:\\tcontainerd-shim\nUid:\t0\t0\t0\t0\n", false),
        ] {
            std::fs::write(directory.join("status"), status).unwrap();
            assert_eq!(is_roots_shim(&directory), is_shim, "{status}");
        }
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(!is_roots_shim(&directory), "it has ended");
    }

    /// A container as `id state network endpoint choice`. A `-` stands for a missing value.
    fn container(text: &str) -> Container {
        let mut words = text.split(' ').map(|word| if word == "-" { "" } else { word });
        let [id, state, network, endpoint, choice] =
            std::array::from_fn(|_| words.next().unwrap_or_default());
        let there = json!({ "EndpointID": endpoint, "IPAMConfig": { "IPv4Address": choice } });
        let networks = if network.is_empty() { json!({}) } else { json!({ network: there }) };
        serde_json::from_value(json!({
            "Id": id, "State": state, "Names": [format!("/{id}")], "NetworkSettings": { "Networks": networks },
        }))
        .unwrap()
    }

    #[test]
    fn whom_an_address_can_be_for_and_whether_that_is_all() {
        let all = [
            "new created lan",
            "old exited lan",
            "killed exited lan 1",
            "on running lan 2",
            "chosen created lan - 192.168.88.200",
            "elsewhere running other 3",
            "paused paused other 4",
            "again restarting - -",
            "stopped exited other",
            "dead dead other",
        ];
        let (own, chosen): (IpAddr, IpAddr) =
            ("192.168.88.192".parse().unwrap(), "192.168.88.200".parse().unwrap());
        let comers = ["new", "old", "killed", "elsewhere", "paused", "again"];
        let with_choice = ["chosen", "elsewhere", "paused", "again"];
        for (ip, is_sure, expected, are_complete) in [
            (None, true, &comers[..], true),
            (None, false, &comers, false),
            // Another IPAM has chosen the address, or it is an auxiliary address.
            (Some(own), true, &comers, true),
            (Some(own), false, &comers, false),
            // The user chose the address, or another IPAM has given another container what that user chose.
            (Some(chosen), true, &with_choice, false),
            (Some(chosen), false, &with_choice, false),
        ] {
            let containers = all.iter().map(|text| container(text)).collect();
            let found = Candidates::of(containers, "lan", Asked { v6: false, ip, is_sure });
            let ids: Vec<&str> = found.all.iter().map(|one| one.id.as_str()).collect();
            assert_eq!((ids.as_slice(), found.are_complete), (expected, are_complete), "{ip:?} {is_sure}");
        }
    }

    #[test]
    fn what_an_engine_leaves_out_is_nothing() {
        let bare: Container = serde_json::from_value(json!({ "Id": "1", "Names": null })).unwrap();
        assert_eq!((bare.own_name(), bare.may_come_to("lan")), (None, false));
        let null =
            json!({ "Id": "1", "Names": ["/web/db", "/web"], "NetworkSettings": { "Networks": null } });
        let linked: Container = serde_json::from_value(null).unwrap();
        assert_eq!(linked.own_name(), Some("web"));
        assert_eq!((bare.chosen().count(), linked.chosen().count()), (0, 0));
        let chosen = container("chosen created lan - 192.168.88.200");
        assert!(chosen.chosen().eq(["192.168.88.200".parse::<IpAddr>().unwrap()]));
    }
}
