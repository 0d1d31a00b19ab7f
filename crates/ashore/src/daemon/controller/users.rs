//! What users other than root ask for, and what root allows them. Whatever a user says, his containers get names and ids
//! here that no engine of root's and no other user has.

use std::sync::atomic::Ordering;
use std::time::Instant;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::{EndpointReport, Reply};
use ashore_core::api::request::{Request, TearDown, UserCall};
use ashore_core::model::network::Network;
use ashore_core::model::state::{Change, State};
use ashore_core::model::users::{Allowed, User};
use ashore_core::net::name::NetworkName;
use ashore_core::net::remedy::Front;
use ashore_core::rules::attach::{AttachError, AttachSpec, Caller};
use ashore_core::rules::create::NetworkSpec;
use ashore_core::rules::users::UserError;

use super::Controller;
use super::engine_calls::done;
use super::network::no_network;
use crate::daemon::{refusal, subids};
use crate::unlocked::Unlocked;

impl Controller {
    /// Notes that users other than root can call.
    pub(crate) fn hears_users(&self) {
        self.users.store(true, Ordering::Relaxed);
    }

    /// What root is to know who allows users a network, beside what is said of the network.
    pub(super) fn beside_leave(&self, network: &Network) -> Vec<String> {
        let mut told = Vec::new();
        if !network.allowed.is_nobody() && !self.users.load(Ordering::Relaxed) {
            told.push(NOBODY_CALLS.to_owned());
        }
        let source = subids::elsewhere().filter(|_| !network.allowed.groups.is_empty());
        told.extend(source.map(|source| subids::groups_do_not_count(&source)));
        told
    }

    /// Whether a user may have anything here, or has something still.
    pub(crate) fn knows(&self, user: &User) -> bool {
        is_known(&self.copies.state(), user)
    }

    /// The answer to a user to whom nothing is allowed. It costs nobody the lock.
    pub(super) fn answer_to_stranger(&self, request: &Request) -> Option<Reply> {
        let Request::OfUser { user, call } = request else { return None };
        let state = self.copies.state();
        if is_known(&state, user) {
            return None;
        }
        let network = match call {
            UserCall::TearDown(_) => return Some(done()),
            UserCall::FindNetwork(network) | UserCall::SetUp { network, .. } => network,
        };
        let refused = state.allowed_network(user, &network.name).err()?;
        Some(Reply::Refused(not_allowed(refused)))
    }

    /// Answers a user.
    pub(super) fn of_user(
        &self,
        unlocked: &mut Unlocked,
        user: &User,
        call: UserCall,
    ) -> Result<Reply, Refusal> {
        match call {
            UserCall::FindNetwork(asked) => {
                let network = self.allowed(user, &asked)?;
                Ok(Reply::Created { network, warnings: Vec::new() })
            }
            UserCall::SetUp { network: asked, attach } => {
                // Podman adds a router of its own where none is known.
                let network = self.allowed(user, &NetworkSpec { gateways: Vec::new(), ..*asked })?;
                let done = self.set_up_on(unlocked, &network, &his(user, *attach)?, Instant::now());
                match done.map_err(|refusal| for_user(refusal, &network))? {
                    // What else is wrong on this host is root's business.
                    Reply::SetUp { endpoint, mac } => Ok(Reply::SetUp {
                        endpoint: EndpointReport { warnings: Vec::new(), ..endpoint },
                        mac,
                    }),
                    other => Ok(other),
                }
            }
            // What is his goes, whatever is allowed to him by now.
            UserCall::TearDown(gone) => {
                let gone = TearDown { container: user.container(&gone.container), ..gone };
                let inner = self.lock(unlocked);
                let network = inner.state().network_called(&gone.network_name);
                let network = network.map(|network| network.name.clone());
                self.tear_down_on(inner, network, &gone)
            }
        }
    }

    /// The network that a user asks for. He is to know nothing of one that is not allowed to him.
    fn allowed(&self, user: &User, asked: &NetworkSpec) -> Result<Network, Refusal> {
        let state = self.copies.state();
        let network = state.allowed_network(user, &asked.name);
        let network = network.map_err(not_allowed)?.clone();
        network.has_all_of(asked).map_err(|error| {
            let refusal = refusal::network(&error);
            // He has given the option to his Podman, although the network is root's.
            Refusal { remedy: refusal.remedy.map(|remedy| remedy.in_words_of(Front::Podman)), ..refusal }
        })?;
        Ok(network)
    }

    /// Allows users to put containers on a network, or does so no longer.
    pub(super) fn allow(
        &self,
        unlocked: &mut Unlocked,
        name: &NetworkName,
        whom: &Allowed,
        no_longer: bool,
    ) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let network = inner.state().networks.get(name).cloned().ok_or_else(|| no_network(name))?;
        if network.adopted {
            let engine = network.ownership().engine().unwrap_or_default();
            return Err(Refusal::new(
                Code::NetworkOfEngine,
                About::network(&network),
                format!("network `{}` is adopted, and only {engine} puts containers on it", network.label()),
                Some("allow another network".into()),
            ));
        }
        let allowed = if no_longer { network.allowed.without(whom) } else { network.allowed.and(whom) };
        let network = Network { allowed, ..network };
        // What is taken back is never refused.
        if !no_longer {
            network.check_users().map_err(|error| refusal::network(&error))?;
        }
        inner.commit(vec![Change::PutNetwork(network.clone())])?;
        if no_longer {
            return Ok(Reply::Created { network, warnings: Vec::new() });
        }
        let mut warnings = self.beside_leave(&network);
        match inner.observe(&[]) {
            Ok(observed) => {
                let open = inner.state().open_vlans(&network, &observed.host);
                warnings.extend(open.iter().map(ToString::to_string));
            }
            Err(refusal) => {
                let parent = &network.parent;
                warnings.push(format!("it could not be seen whether `{parent}` carries VLANs: {refusal}"));
            }
        }
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Reply::Created { network, warnings })
    }
}

/// What root is told who has no socket for users.
const NOBODY_CALLS: &str = "users other than root cannot call yet, since there is no socket for them; try: ashore install --users \
                            (without systemd: ashore daemon --users-socket PATH)";

/// The refusal of a network that is not allowed. Whose groups do not count is told.
fn not_allowed(error: UserError) -> Refusal {
    let refusal = refusal::attach(&error.into());
    let Some(source) = subids::elsewhere() else { return refusal };
    let remedy =
        refusal.remedy.map(|remedy| remedy.and(format!("; {}", subids::groups_do_not_count(&source))));
    Refusal { remedy, ..refusal }
}

/// A refusal as a user may read it, on a network that is allowed to him: what is his own, and that something is in use,
/// but not by whom.
fn for_user(refusal: Refusal, network: &Network) -> Refusal {
    let label = network.label();
    let which = |what: &str| refusal.about.address.map_or_else(|| what.to_owned(), |ip| ip.to_string());
    let message = match refusal.code {
        // Of his own containers, of what he has asked for, or of the network.
        Code::UserNotAllowed
        | Code::UserHasTooMany
        | Code::AddressNotAllowed
        | Code::MacNotAllowed
        | Code::ClientIdNotAllowed
        | Code::NetworkDiffers
        | Code::NoNetwork
        | Code::ParentMissing
        | Code::ParentGone
        | Code::ParentDown
        | Code::NoCarrier
        | Code::AddressOutside
        | Code::AddressOfHost
        | Code::AddressBeingTaken
        | Code::AddressNotLeased
        | Code::GivenTwice
        | Code::MtuUnfit
        | Code::KindUnfit
        | Code::OptionsConflict
        | Code::ValueUnknown
        | Code::NameTaken
        | Code::LeftBehind
        | Code::NameUnderivable
        | Code::MacNotSettable
        | Code::MacUnfit
        | Code::NoNamespace
        | Code::HostNamespace
        | Code::IfnameTaken
        | Code::DefaultRouteTaken
        | Code::NoDhcpServer
        | Code::LeaseBusy => return refusal,
        Code::AddressHeld | Code::AddressOnLan | Code::LeaseOnLan => {
            format!("{} is in use on network `{label}`", which("the address"))
        }
        Code::AddressUnfit => {
            format!("{} is handed out to nobody on network `{label}`", which("the address"))
        }
        Code::RangeUsedUp => format!("network `{label}` has no free address"),
        Code::MacTaken => format!("the MAC is in use on network `{label}`"),
        Code::ClientIdTaken => format!("the DHCP client identifier is in use on network `{label}`"),
        code => {
            let code = serde_json::to_value(code).ok().and_then(|code| Some(code.as_str()?.to_owned()));
            format!("network `{label}` cannot be used now ({})", code.unwrap_or_default())
        }
    };
    tracing::debug!("a user is told `{message}`: {refusal}");
    let remedy = match refusal.code {
        Code::AddressHeld | Code::AddressOnLan | Code::AddressUnfit => {
            "let Ashore choose the address, or choose a free one"
        }
        Code::MacTaken => "let Ashore choose the MAC, or choose a free one",
        Code::RangeUsedUp | Code::LeaseOnLan => {
            "try again when a container has gone, or ask root for a larger range"
        }
        _ => "ask root: `ashore status` shows why",
    };
    Refusal { message, remedy: Some(remedy.into()), ..refusal }
}

fn is_known(state: &State, user: &User) -> bool {
    state.allows_anything(user) || state.endpoints.keys().any(|(_, name)| user.has_name(name))
}

/// What a user asks for, as his: under his name for it, for his container, in the namespace that he has opened.
fn his(user: &User, attach: AttachSpec) -> Result<AttachSpec, Refusal> {
    let caller = attach.caller.filter(|caller| caller.opened.is_some());
    let caller = caller.ok_or_else(|| refusal::attach(&AttachError::HostNamespace(attach.netns.clone())))?;
    Ok(AttachSpec {
        name: attach.name.of_user(user.uid),
        caller: Some(Caller {
            container: user.container(&caller.container),
            user: Some(user.clone()),
            ..caller
        }),
        ..attach
    })
}
