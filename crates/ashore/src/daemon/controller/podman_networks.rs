//! Networks that Podman no longer has. Podman tells nobody that it removes a network. It keeps each in a file, so a
//! network goes whose file was seen and is gone for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use ashore_core::model::network::{EngineNetwork, Network};
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::state::Change;
use ashore_core::net::name::NetworkName;

use super::Controller;
use crate::engines::podman::networks_in;
use crate::unlocked::Unlocked;

/// How long the file of a network has to be gone. Podman replaces files when it changes networks.
const GRACE: Duration = Duration::from_secs(60);

/// What was seen of the files of networks.
#[derive(Default)]
pub(crate) struct Gone {
    /// Since when files are gone.
    since: BTreeMap<NetworkName, Instant>,
    /// The directory in which there were files, by its device and inode.
    was_in: Option<(u64, u64)>,
}

impl Gone {
    /// Whether the lack of all files says that their networks are removed: only in the directory that had some. What is
    /// empty may be what another filesystem was mounted on.
    fn believes(&mut self, directory: (u64, u64), is_empty: bool) -> bool {
        if !is_empty {
            self.was_in = Some(directory);
        }
        self.was_in == Some(directory)
    }
}

impl Controller {
    /// Looks at the files of Podman's networks, and removes the networks that Podman has removed.
    pub(crate) fn look_at_podmans_networks(&self, unlocked: &mut Unlocked, files: &Path, gone: &mut Gone) {
        let of_podman = |network: &&Network| {
            network.engine.as_ref().is_some_and(|engine| engine.kind == EngineKind::Podman)
        };
        let state = self.copies.state();
        let networks: Vec<Network> = state.networks.values().filter(of_podman).cloned().collect();
        if networks.is_empty() {
            gone.since.clear();
            return;
        }
        // If a file cannot be read, any network may be in it.
        let Ok((directory, there)) = networks_in(unlocked, files) else { return };
        if !gone.believes(directory, there.is_empty()) {
            gone.since.clear();
            return;
        }
        let mut lacking = BTreeSet::new();
        for network in networks {
            let Some(engine) = &network.engine else { continue };
            if there.contains(&engine.id) {
                self.note_file(unlocked, &network, engine, files);
            } else if engine.of.as_deref() == Some(&*files.to_string_lossy()) {
                lacking.insert(network.name.clone());
                let since = *gone.since.entry(network.name.clone()).or_insert_with(Instant::now);
                // It may have been made anew under its name.
                let is_still = self.copies.state().networks.get(&network.name) == Some(&network);
                if since.elapsed() >= GRACE && is_still && state.endpoints_on(&network.name).next().is_none()
                {
                    tracing::info!(network = network.label(), "Podman has removed it");
                    if let Err(refusal) = self.remove_network(unlocked, &network.name) {
                        tracing::info!(network = network.label(), "{refusal}");
                    }
                }
            }
        }
        gone.since.retain(|name, _| lacking.contains(name));
    }

    /// Whether Podman has removed a network, as its files say at this moment. Whoever asks for the network's removal need
    /// not wait until that is certain.
    pub(super) fn podman_lacks(unlocked: &mut Unlocked, network: &Network) -> bool {
        let Some(engine) = &network.engine else { return false };
        let Some(files) = engine.of.as_ref().filter(|_| engine.kind == EngineKind::Podman) else {
            return false;
        };
        match networks_in(unlocked, Path::new(files)) {
            Ok((_, there)) => !there.contains(&engine.id),
            // A directory that cannot be looked at says nothing.
            Err(_) => Path::new(files).try_exists().is_ok_and(|is_there| !is_there),
        }
    }

    /// Notes that a network's file was seen, and where. Only then its absence says anything.
    fn note_file(&self, unlocked: &mut Unlocked, network: &Network, engine: &EngineNetwork, files: &Path) {
        let of = Some(files.to_string_lossy().into_owned());
        if engine.of == of {
            return;
        }
        let mut inner = self.lock(unlocked);
        let Some(now) = inner.state().networks.get(&network.name).cloned() else { return };
        if now.engine.as_ref() == Some(engine) {
            let engine = Some(EngineNetwork { of, ..engine.clone() });
            inner.store.defer(vec![Change::PutNetwork(Network { engine, ..now })]);
            self.schedule_deferred();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_directory_says_something_only_if_it_has_had_files() {
        let mut gone = Gone::default();
        assert!(!gone.believes((1, 2), true), "it was empty from the start");
        assert!(gone.believes((1, 2), false));
        assert!(gone.believes((1, 2), true), "the last network is removed");
        assert!(!gone.believes((9, 2), true), "the filesystem is not mounted any more");
        assert!(gone.believes((9, 2), false), "it is elsewhere now");
        assert!(!gone.believes((1, 2), true));
    }
}
