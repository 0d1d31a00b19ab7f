//! What `man` and shells know of the command line.

use std::path::Path;
use std::process::Command;

use super::{SYSTEMD, Tree};

/// What is written for `man` and the shells, and what takes it away.
const SHARED: &str = "\
mkdir -p ROOT/usr/local/share/man/man1
PROGRAM man ROOT/usr/local/share/man/man1
mkdir -p ROOT/usr/local/share/bash-completion/completions
PROGRAM completions bash > ROOT/usr/local/share/bash-completion/completions/ashore
mkdir -p ROOT/usr/local/share/zsh/site-functions
PROGRAM completions zsh > ROOT/usr/local/share/zsh/site-functions/_ashore
mkdir -p ROOT/usr/local/share/fish/vendor_completions.d
PROGRAM completions fish > ROOT/usr/local/share/fish/vendor_completions.d/ashore.fish
";
pub(super) const UNSHARED: &str = "\
rm ROOT/usr/local/share/man/man1/ashore.1 ROOT/usr/local/share/man/man1/ashore-*.1
rm ROOT/usr/local/share/bash-completion/completions/ashore
rm ROOT/usr/local/share/zsh/site-functions/_ashore
rm ROOT/usr/local/share/fish/vendor_completions.d/ashore.fish
";

/// A text with what is written or taken away in place of its name.
pub(super) fn with_shared(text: &str) -> String {
    text.replace("UNSHARED\n", UNSHARED).replace("SHARED\n", SHARED)
}

#[test]
fn what_is_written_is_what_the_commands_write_that_are_shown() {
    let tree = Tree::with(&[SYSTEMD]);
    assert_eq!(tree.run("install").1, 0);
    let by_command = tempfile::tempdir().unwrap();
    let ran = Command::new(tree.1.program()).arg("man").arg(by_command.path()).output().unwrap();
    assert!(ran.status.success());
    let pages: Vec<String> =
        tree.files().into_iter().filter(|file| file.starts_with("usr/local/share/man/man1/")).collect();
    assert_eq!(std::fs::read_dir(by_command.path()).unwrap().count(), pages.len());
    for page in &pages {
        let name = Path::new(page).file_name().unwrap();
        assert_eq!(std::fs::read_to_string(by_command.path().join(name)).unwrap(), tree.read(page), "{page}");
    }
    for (shell, file) in [
        ("bash", "bash-completion/completions/ashore"),
        ("fish", "fish/vendor_completions.d/ashore.fish"),
        ("zsh", "zsh/site-functions/_ashore"),
    ] {
        let ran = Command::new(tree.1.program()).args(["completions", shell]).output().unwrap();
        let written = tree.read(&format!("usr/local/share/{file}"));
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), written, "{shell}");
    }
}

#[test]
fn pages_and_completions_of_others_stay_and_those_of_an_earlier_version_go() {
    const BASH: &str = "usr/local/share/bash-completion/completions/ashore";
    const PAGES: &str = "usr/local/share/man/man1";
    let tree = Tree::with(&[SYSTEMD]);
    tree.write(BASH, "complete -W 'up down' ashore\n");
    tree.write(&format!("{PAGES}/ashore-fish.1"), ".TH shells 7\n");
    tree.write(&format!("{PAGES}/ashore-gone.1"), ".ie a\n.el b\n.TH ashore-gone 1\n");
    // A page of others under a name that Ashore has too.
    let (taken, page) = (format!("{PAGES}/ashore-status.1"), ".TH tides 1\n");
    tree.write(&taken, page);
    let (said, code) = tree.run("install");
    assert!(code == 0 && !said.contains("completions bash"), "{said}");
    let by_command =
        Command::new(tree.1.program()).arg("man").arg(tree.0.path().join(PAGES)).output().unwrap();
    let said = String::from_utf8(by_command.stdout).unwrap();
    assert!(said.starts_with("# left: ") && said.contains("ashore-status.1"), "{said}");
    assert_eq!(tree.read(&taken), page);
    assert!(tree.run("install").0.ends_with("nothing to do\n"));
    // Where programs are not in a directory of programs, nothing would look beside it.
    let elsewhere = Tree::with(&[SYSTEMD]);
    let (said, code) = elsewhere.run("install --bin-dir /pool/ashore");
    assert!(code == 0 && !said.contains("/share/"), "{said}");
    let (said, code) = tree.run("uninstall");
    let left = format!("# left: ROOT/{BASH}, which is no completion of ashore's own\n");
    assert!(code == 0 && said.contains(&left), "{said}");
    assert_eq!(tree.files(), [SYSTEMD, BASH, &format!("{PAGES}/ashore-fish.1"), &taken]);
}
