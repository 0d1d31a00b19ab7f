//! What `man` and shells know of the command line: manual pages and completions, in the directory `share` beside that
//! of the program. A package has them there too, by the same definition.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::Host;
use super::action::Action;
use crate::cli::{Cli, Shell};
use crate::client::Failure;
use crate::commands::completions;

/// The manual pages, below `share`.
const PAGES: &str = "man/man1";
/// The completions, each with where its shell looks for what is installed there.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/ashore"),
    (Shell::Zsh, "zsh/site-functions/_ashore"),
    (Shell::Fish, "fish/vendor_completions.d/ashore.fish"),
];

/// The directory `share` beside that of the program, such as `/usr/local/share`. `None` where the program is elsewhere than
/// programs are: nothing would look beside it.
fn directory(host: &Host, program: &Path) -> Option<PathBuf> {
    let bin = program.parent()?;
    bin.ends_with("bin").then(|| host.at(bin.with_file_name("share")))
}

/// The actions that write what is missing or of another version. What is not Ashore's is left.
pub(super) fn install_actions(host: &Host) -> Result<Vec<Action>, Failure> {
    let Some(share) = directory(host, &host.program) else { return Ok(Vec::new()) };
    let program = std::env::current_exe().map_err(anyhow::Error::from)?;
    let mut actions = Vec::new();
    let mut pages = completions::pages(Cli::command())?;
    let to = share.join(PAGES);
    pages.retain(|name, _| !completions::is_page_of_others(&to.join(name)));
    if pages.iter().any(|(name, page)| fs::read(to.join(name)).ok().as_ref() != Some(page)) {
        actions.extend(super::make_directory(&to));
        actions.push(Action::WritePages { program: program.clone(), to, pages });
    }
    for (shell, path) in COMPLETIONS {
        let (path, text) = (share.join(path), completions::script(shell));
        let there = fs::read_to_string(&path);
        if there.as_ref().is_ok_and(|there| there == text || !is_script(there)) {
            continue;
        }
        actions.extend(path.parent().and_then(super::make_directory));
        actions.push(Action::WriteScript { program: program.clone(), shell, path, text });
    }
    Ok(actions)
}

/// The actions that remove what was installed with a program, and the descriptions of what is left because it is not
/// Ashore's.
pub(super) fn remove_actions(host: &Host, program: &Path) -> (Vec<Action>, Vec<String>) {
    let (mut actions, mut left) = (Vec::new(), Vec::new());
    let Some(share) = directory(host, program) else { return (actions, left) };
    let pages = share.join(PAGES);
    if completions::own_pages(&pages).is_ok_and(|own| !own.is_empty()) {
        actions.push(Action::RemovePages(pages));
    }
    for (_, path) in COMPLETIONS {
        let path = share.join(path);
        match fs::read_to_string(&path) {
            Ok(there) if is_script(&there) => actions.push(Action::RemoveFile(path)),
            Ok(_) => left.push(format!("{}, which is no completion of ashore's own", path.display())),
            Err(_) => {}
        }
    }
    (actions, left)
}

/// Whether a script is one that some version has printed.
fn is_script(text: &str) -> bool {
    text.lines().take(2).any(|line| line.starts_with("# Completion of ashore for "))
}
