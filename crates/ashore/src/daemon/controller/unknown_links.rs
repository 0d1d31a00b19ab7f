//! Ashore's links in containers that the state does not know, because the state was lost or replaced by an
//! older one.
//!
//! On the host a tag is proof enough, and a link that the state does not ask for is removed. In a container
//! anyone may set a tag. So such a link is left alone, on the LAN until its container ends, and reported with
//! the command that removes it.

use std::collections::BTreeSet;

use ashore_core::api::about::About;
use ashore_core::api::refusal::Refusal;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::net::link::{Netns, Place};
use ashore_core::net::observed::{Link, Observed};
use ashore_core::net::remedy::Remedy;
use ashore_core::net::step::Step;
use ashore_kernel::Kernel;
use ashore_wire::Mac;

use super::moved_links::look_into_all;
use super::{Controller, Inner, all_netns};
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// The maximum number of links that are reported one by one.
const SHOWN: usize = 8;

impl Controller {
    /// Searches for such links once, at the start, while requests are served.
    pub(super) fn look_for_unowned(&self, unlocked: &mut Unlocked) {
        let looked = self.try_look_for_unowned(unlocked);
        match looked {
            Err(refusal) => {
                tracing::warn!("cannot check whether containers have unknown links of Ashore's: {refusal}");
            }
            Ok(unread) => unread.iter().for_each(|why| tracing::debug!("{why}")),
        }
        // With sockets of their own, because the containers that have such links may be many.
        match self.copies.reader(unlocked) {
            Ok(reader) => reader.unowned_troubles().iter().for_each(|told| tracing::warn!("{told}")),
            Err(refusal) => tracing::warn!("{refusal}"),
        }
    }

    fn try_look_for_unowned(&self, unlocked: &mut Unlocked) -> Result<Vec<String>, Refusal> {
        let kernel = Kernel::of(self.copies.host()).map_err(|error| refusal::namespace(&error))?;
        let mut found = Vec::new();
        let unread = look_into_all(unlocked, &kernel, |_, netns, view| {
            if view.links.iter().any(|link| link.tag().is_some()) {
                found.push(netns.clone());
            }
            Ok(())
        })?;
        self.lock(unlocked).unowned = found;
        Ok(unread)
    }
}

impl Inner {
    /// Reports those links that still exist.
    pub(super) fn unowned_troubles(&self) -> Vec<Trouble> {
        let own = all_netns(self.state());
        let is_own = |netns: &Netns| own.iter().any(|own| own.has_file_of(netns));
        let others: Vec<Netns> = self.unowned.iter().filter(|netns| !is_own(netns)).cloned().collect();
        if others.is_empty() {
            return Vec::new();
        }
        let observed = match self.kernel.observe(&others) {
            Ok(observed) => observed,
            Err(error) => {
                return vec![Trouble::new(Code::UnknownLink, About::default(), error.to_string(), None)];
            }
        };
        let left: BTreeSet<Mac> = self.left_macs();
        let mut all = self.state().unowned(&observed);
        all.retain(|(_, link)| !link.mac.is_some_and(|mac| left.contains(&mac)));
        let more = all.len().saturating_sub(SHOWN);
        let told = all.iter().take(SHOWN).map(|(netns, link)| told(netns, link, &observed));
        told.chain((more > 0).then(|| {
            let message =
                format!("{more} more links of Ashore's are in containers and unknown to this state");
            Trouble::new(Code::UnknownLink, About::default(), message, None)
        }))
        .collect()
    }
}

fn told(netns: &Netns, link: &Link, observed: &Observed) -> Trouble {
    let view = &observed.netns[netns];
    let addresses = view.addresses_of(link).filter(|there| !there.link_scope);
    let mut at: Vec<String> = addresses.map(|there| there.net.addr().to_string()).collect();
    at.extend(link.mac.map(|mac| mac.to_string()));
    let alias = link.alias.as_deref().unwrap_or_default();
    let remove = Step::DelLink { place: Place::Netns(netns.clone()), link: link.name.clone() };
    let message = format!(
        "`{}` in {} ({}) has the tag {alias}, but this state has no such endpoint: the state was lost, or is an older one; the link \
         stays on the LAN until its container ends",
        link.name,
        netns.path.display(),
        at.join(", ")
    );
    Trouble::new(Code::UnknownLink, About::default(), message, Some(Remedy::run(remove.to_string())))
}
