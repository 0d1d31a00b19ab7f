//! The options of the commands that show what there is.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::client::ClientArgs;

/// `ashore status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// A network or an endpoint; without one, show everything
    pub(crate) name: Option<String>,
    /// Show it again every two seconds, on a terminal
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A network or an endpoint
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A code such as parent-missing; without one, list all
    #[arg(value_name = "CODE")]
    pub(crate) codes: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ashore report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Replace the names of networks and endpoints too
    #[arg(long)]
    pub(crate) no_names: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// A shell that completes words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// source <(ashore completions bash)
    Bash,
    /// source <(ashore completions zsh)
    Zsh,
    /// ashore completions fish | source
    Fish,
}

impl std::fmt::Display for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        })
    }
}

/// `ashore man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The directory, which is made if it is missing, such as /usr/local/share/man/man1
    pub(crate) directory: PathBuf,
}
