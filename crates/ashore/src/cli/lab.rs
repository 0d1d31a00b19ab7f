//! The options of `ashore lab`.

use clap::{Args, ValueEnum};

/// `ashore lab`.
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    /// Keep the lab running, with a shell in any of its machines
    #[arg(long)]
    pub(crate) keep: bool,
    /// Add a VLAN with id 200, on the same cables and behind the same router
    #[arg(long)]
    pub(crate) vlan: bool,
    /// Show one scene alone [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) scene: Option<Scene>,
    /// Print {"ok", "rows"} as JSON and nothing else
    #[arg(long, conflicts_with = "keep")]
    pub(crate) json: bool,
}

impl LabArgs {
    /// Whether a scene is to be shown.
    pub(crate) fn shows(&self, scene: Scene) -> bool {
        match self.scene {
            Some(only) => only == scene,
            None => scene != Scene::Vlan || self.vlan,
        }
    }

    /// Whether the lab has a VLAN.
    pub(crate) fn has_vlan(&self) -> bool {
        self.vlan || self.scene == Some(Scene::Vlan)
    }
}

/// A part of what the lab shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scene {
    /// The host and its own container, without Ashore and with it
    Host,
    /// Everybody on the LAN
    Lan,
    /// Somebody on the LAN steals a container's address
    Theft,
    /// The cable is pulled, and put back
    Cable,
    /// VLAN 200, and the LAN; with or without --vlan
    Vlan,
}
