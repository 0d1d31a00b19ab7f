//! What a refusal or a trouble concerns.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::endpoint::Endpoint;
use crate::model::network::Network;
use crate::model::ownership::EngineKind;
use crate::model::state::State;
use crate::net::name::{EndpointName, IfName};

/// What a refusal or a trouble concerns: each of these that it can name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The user's name for the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The endpoint, on that network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointName>,
    /// The parent, or another link of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<IfName>,
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The kind of the engine that has the network. Networks of two engines may have the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineKind>,
}

impl About {
    /// About a network.
    pub fn network(network: &Network) -> Self {
        About { engine: network.ownership().engine(), ..About::label(network.label()) }
    }

    /// About a network of which only the user's name for it is known.
    pub fn label(label: impl Into<String>) -> Self {
        About { network: Some(label.into()), ..About::default() }
    }

    /// About an endpoint.
    pub fn endpoint(endpoint: &Endpoint, state: &State) -> Self {
        let network = state.network_of(endpoint).map(About::network).unwrap_or_default();
        About { endpoint: Some(endpoint.name.clone()), ..network }
    }

    /// About a parent.
    pub fn parent(parent: &IfName) -> Self {
        About { parent: Some(parent.clone()), ..About::default() }
    }

    /// About an address.
    pub fn address(ip: IpAddr) -> Self {
        About { address: Some(ip), ..About::default() }
    }

    /// The same, on a parent.
    #[must_use]
    pub fn on(self, parent: &IfName) -> Self {
        About { parent: Some(parent.clone()), ..self }
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        *self == About::default()
    }
}
