//! Every remedy leads somewhere. `hints.txt` makes the mistakes by the command line, and does what is printed then: it
//! works, or there is another answer than the one before. The file says how to read it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use ashore_core::api::refusal::Code;
use ashore_lab::{Machine, Ran};
use home::shown::reads;
use home::{Home, type_on};
use serde_json::Value;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hints.txt");

/// A mistake and its way out: lines that belong together.
#[derive(Clone, Default)]
struct Walk {
    /// Its first line in the file.
    at: usize,
    lines: Vec<String>,
}

/// The walks of each chapter, and the codes that nobody walks, with the reason.
fn table() -> (BTreeMap<String, Vec<Walk>>, BTreeMap<String, String>) {
    let (mut chapters, mut unwalked) = (BTreeMap::<String, Vec<Walk>>::new(), BTreeMap::new());
    let (mut chapter, mut walk) = (String::new(), Walk::default());
    let text = std::fs::read_to_string(TABLE).unwrap();
    for (at, line) in text.lines().chain([""]).enumerate() {
        if let Some(name) = line.strip_prefix("== ") {
            name.clone_into(&mut chapter);
        } else if let Some(line) = line.strip_prefix("- ") {
            let (code, why) = line.split_once(": ").expect("a code and a reason");
            assert!(!why.is_empty() && unwalked.insert(code.to_owned(), why.to_owned()).is_none(), "{line}");
        } else if line.is_empty() && !walk.lines.is_empty() {
            chapters.entry(chapter.clone()).or_default().push(std::mem::take(&mut walk));
        } else if !line.is_empty() && !line.starts_with('#') {
            if walk.lines.is_empty() {
                walk.at = at + 1;
            }
            walk.lines.push(line.to_owned());
        }
    }
    (chapters, unwalked)
}

#[test]
fn parents() {
    walked("parents");
}

#[test]
fn subnets_and_ranges() {
    walked("subnets and ranges");
}

#[test]
fn options() {
    walked("options");
}

#[test]
fn containers() {
    walked("containers");
}

#[test]
fn bridges() {
    walked("bridges");
}

#[test]
fn the_daemon_itself() {
    walked("the daemon itself");
}

#[test]
fn every_code_is_walked_or_says_why_not() {
    let (chapters, unwalked) = table();
    let chapters_walked =
        ["bridges", "containers", "options", "parents", "subnets and ranges", "the daemon itself"];
    assert_eq!(chapters.keys().map(String::as_str).collect::<Vec<_>>(), chapters_walked);
    let lines = chapters.values().flatten().flat_map(|walk| &walk.lines);
    let walked: BTreeSet<String> =
        lines.filter_map(|line| line.strip_prefix("! ")).map(str::to_owned).collect();
    let name = |code: &Code| serde_json::to_value(code).unwrap().as_str().unwrap().to_owned();
    let all: BTreeSet<String> = Code::ALL.iter().map(name).collect();
    let known: BTreeSet<String> = walked.iter().chain(unwalked.keys()).cloned().collect();
    assert_eq!(all.difference(&known).collect::<Vec<_>>(), [""; 0], "neither walked nor listed");
    assert_eq!(known.difference(&all).collect::<Vec<_>>(), [""; 0], "no such code");
    let both: Vec<_> = unwalked.keys().filter(|code| walked.contains(*code)).collect();
    assert_eq!(both, [""; 0], "listed, and walked all the same");
}

/// Walks all of a chapter, and tells of everything that leads nowhere. Most of a walk is waiting for the LAN.
fn walked(chapter: &str) {
    let (chapters, _) = table();
    let walks = &chapters[chapter];
    let next = AtomicUsize::new(0);
    let strides = || {
        let mut failed = Vec::new();
        while let Some(walk) = walks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = catch_unwind(AssertUnwindSafe(|| Walker::new().walk(&walk.lines)));
            let why = done.unwrap_or_else(|_| Err("it panicked".to_owned())).err();
            let told = |why| format!("hints.txt:{}\n  {}\n{why}", walk.at, walk.lines.join("\n  "));
            failed.extend(why.map(told));
        }
        failed
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let walkers: Vec<_> = (0..3).map(|_| scope.spawn(strides)).collect();
        walkers.into_iter().flat_map(|walker| walker.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "\n{}", failed.join("\n\n"));
}

struct Walker {
    home: Home,
    containers: BTreeMap<String, Machine>,
}

/// What a refusal said: its code and its remedy.
struct Refused {
    code: String,
    remedy: String,
}

impl Walker {
    fn new() -> Self {
        Walker { home: Home::new(), containers: BTreeMap::new() }
    }

    fn walk(&mut self, lines: &[String]) -> Result<(), String> {
        let (mut mistake, mut earlier) = (None::<Refused>, Vec::new());
        let mut lines = lines.iter().peekable();
        while let Some(line) = lines.next() {
            let (mark, rest) = line.split_once(' ').ok_or("an odd line")?;
            let refused_as = lines.next_if(|next| next.starts_with("! ")).map(|next| next[2..].to_owned());
            let may_be = lines.next_if(|next| next.starts_with("? ")).map(|next| next[2..].to_owned());
            match mark {
                "@" => self.does(rest),
                "$" | ">" => {
                    if mark == ">" {
                        let mistake = mistake.as_ref().ok_or("no mistake was made before")?;
                        is_as_told(rest, mistake, &earlier)?;
                    }
                    earlier.push(rest.to_owned());
                    let refused = self.types(rest)?;
                    let code = refused.as_ref().map(|refused| refused.code.clone());
                    if code != refused_as && (code.is_none() || code != may_be) {
                        let why = refused.map(|it| format!("{}: {}", it.code, it.remedy));
                        return Err(format!("`{rest}`: {}", why.as_deref().unwrap_or("it works")));
                    }
                    if mark == ">" && code.is_some() && code == mistake.as_ref().map(|it| it.code.clone()) {
                        return Err(format!("`{rest}` is refused as before"));
                    }
                    mistake = refused.or(mistake);
                }
                "try:" => {
                    let remedy = &mistake.as_ref().ok_or("no mistake was made before")?.remedy;
                    if !reads(remedy, if rest == "-" { "" } else { rest }) {
                        return Err(format!("it says `{remedy}`"));
                    }
                }
                _ => return Err(format!("an odd line: {line}")),
            }
        }
        Ok(())
    }

    /// Something that happens in the home, and is no command of a user on the NAS.
    fn does(&mut self, what: &str) {
        match what.split(' ').collect::<Vec<_>>()[..] {
            ["bridged"] => self.home.bridge(),
            ["cable", state] => self.home.world.set_cable(&self.home.nas, state == "in").unwrap(),
            ["another", "nic", name] => {
                self.home.world.plug_in_by(&self.home.nas, name).unwrap();
                self.home.take_place(name);
            }
            ["in", name, ..] => {
                let command = what.splitn(3, ' ').last().unwrap();
                type_on(self.container(name), command);
            }
            _ => panic!("nobody knows how to do `{what}`"),
        }
    }

    fn container(&mut self, name: &str) -> &Machine {
        let world = &self.home.world;
        self.containers.entry(name.into()).or_insert_with(|| world.container(name).unwrap())
    }

    /// Types a command on the NAS. `{web}` is the path of a container's namespace, and `{nas}` that of the NAS's own.
    fn types(&mut self, command: &str) -> Result<Option<Refused>, String> {
        let mut typed = command.to_owned();
        while let Some((name, rest)) = typed
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'))
            .map(|(n, r)| (n.to_owned(), r.to_owned()))
        {
            let machine = if name == "nas" { &self.home.nas } else { self.container(&name) };
            let path = machine.namespace().path().display().to_string();
            typed = format!("{}{path}{rest}", typed.split_once('{').unwrap().0);
        }
        let Some(words) = typed.strip_prefix("ashore ") else {
            type_on(&self.home.nas, &typed);
            return Ok(None);
        };
        let ran = self.home.run(&format!("{words} --json"));
        refused(command, &ran)
    }
}

/// How a command was refused, if it was.
fn refused(command: &str, ran: &Ran) -> Result<Option<Refused>, String> {
    if ran.code == Some(0) {
        return Ok(None);
    }
    let said = || format!("`{command}` ends with {:?}: {}{}", ran.code, ran.stdout, ran.stderr);
    let json: Value = serde_json::from_str(&ran.stdout).map_err(|_| said())?;
    let code = json["refused"]["code"].as_str().ok_or_else(said)?.to_owned();
    // A refusal that nothing helps against has none.
    let remedy = ran.stderr.split_once("  try: ").map(|(_, remedy)| remedy.trim().to_owned());
    Ok(Some(Refused { code, remedy: remedy.unwrap_or_default() }))
}

/// Whether a command is what a remedy says: printed as it is, with words for the placeholders in capitals; or one of
/// those typed before, again or with options that are named.
fn is_as_told(command: &str, refused: &Refused, earlier: &[String]) -> Result<(), String> {
    let stripped = |word: &str| word.trim_matches(|c: char| "()`,;:".contains(c)).to_owned();
    let told: Vec<String> = refused.remedy.split_whitespace().map(stripped).collect();
    let typed: Vec<&str> = command.split_whitespace().collect();
    let is_placeholder =
        |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '-' || c == '_');
    let fits = |told: &String, typed: &&str| told == typed || is_placeholder(told);
    let verbatim =
        |told: &[String]| told.len() == typed.len() && told.iter().zip(&typed).all(|(a, b)| fits(a, b));
    if told.windows(typed.len()).any(verbatim) {
        return Ok(());
    }
    // A command that goes on as the user likes.
    let goes_on = told.iter().enumerate().filter(|(_, word)| *word == "…").any(|(end, _)| {
        (1..=end.min(typed.len())).any(|many| {
            told[end - many].starts_with("ashore")
                && told[end - many..end].iter().zip(&typed).all(|(a, b)| fits(a, b))
        })
    });
    if goes_on {
        return Ok(());
    }
    let mut why = format!("`{command}` is not in `{}`", refused.remedy);
    for before in earlier {
        match differs_as_told(&before.split_whitespace().collect::<Vec<_>>(), &typed, &told) {
            Ok(()) => return Ok(()),
            Err(Some(option)) => why = format!("`{command}`: {option} is not in `{}`", refused.remedy),
            Err(None) => {}
        }
    }
    Err(why)
}

/// Whether a command is one that was typed before, but for options that are told. If not, returns the first that is not,
/// or nothing for another command.
fn differs_as_told(before: &[&str], typed: &[&str], told: &[String]) -> Result<(), Option<String>> {
    if before[..2] != typed[..2] {
        return Err(None);
    }
    // Of an option whose value changes, the name is in both.
    let pairs = typed.iter().zip(typed.iter().skip(1));
    let changed = pairs
        .filter(|(option, value)| {
            option.starts_with("--") && !value.starts_with("--") && !before.contains(*value)
        })
        .map(|(option, _)| *option);
    let other = typed.iter().filter(|word| !before.contains(*word));
    let gone = before.iter().filter(|word| !typed.contains(*word));
    let mut options = other.chain(gone).filter(|word| word.starts_with("--")).copied().chain(changed);
    // Without a remedy the message says enough: something that was given is given otherwise, or left out.
    let says_enough = |option: &str| told.is_empty() && before.contains(&option);
    let is_named = |option: &str| told.iter().any(|word| word.trim_end_matches(['=', '.']) == option);
    match options.find(|option| !is_named(option) && !says_enough(option)) {
        Some(option) => Err(Some(option.to_owned())),
        None => Ok(()),
    }
}

#[test]
fn what_is_typed_is_what_was_told() {
    let refused = Refused {
        code: String::new(),
        remedy: "name it with --parent; or ip link set dev eth0 name NEW, and again".into(),
    };
    let earlier = ["ashore network create lan --parent eth9".to_owned()];
    for told in [
        "ashore network create lan --parent eth0",
        "ip link set dev eth0 name old0",
        "ashore network create lan",
        "ashore network create lan --parent eth9",
    ] {
        is_as_told(told, &refused, &earlier).unwrap();
    }
    for own in ["ashore network create lan --kind bridge", "ip link set dev eth1 name x", "ashore status"] {
        assert!(is_as_told(own, &refused, &earlier).is_err(), "{own}");
    }
    assert!(reads("a 02:00 b", "a … b") && reads("a b", "a …") && reads("a", "a"));
    assert!(!reads("a b", "a") && !reads("a 02:00 c", "a … b"));
}
