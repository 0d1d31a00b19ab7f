//! Finds which modules of a crate use which, and cycles among them. It reads the code and ignores code that
//! is only for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module path. The crate's root is the empty path.
pub(crate) type Module = Vec<String>;

/// The names that `use` declarations bring into a module, and the paths that they stand for.
type Names = BTreeMap<String, Vec<String>>;

/// A use: by one module, of a name in another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub(crate) from: Module,
    pub(crate) to: Module,
    pub(crate) name: String,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} uses {} of {}", self.from.join("::"), self.name, self.to.join("::"))
    }
}

/// The contents of one file: the names that it has by `use`, and all paths in it.
#[derive(Debug, Default)]
struct Said {
    names: Names,
    paths: Vec<Vec<String>>,
}

/// The modules of a crate, one per file.
#[derive(Debug, Default)]
pub(crate) struct Modules(BTreeMap<Module, Said>);

impl Modules {
    /// Reads the modules of a crate. `src` is the crate's source directory, and `sources` are its files.
    pub(crate) fn of(src: &Path, sources: &[std::path::PathBuf]) -> Self {
        let named = sources.iter().map(|path| {
            let inside = path.strip_prefix(src).unwrap().with_extension("");
            let mut module: Module = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            let is_parents =
                module.last().is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str()));
            module.truncate(module.len() - usize::from(is_parents));
            (module, std::fs::read_to_string(path).unwrap())
        });
        Modules::read(named)
    }

    /// Parses modules, given their paths and texts.
    pub(crate) fn read(texts: impl Iterator<Item = (Module, String)>) -> Self {
        let mut modules = Modules::default();
        for (module, text) in texts {
            let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{module:?}: {error}"));
            let said = modules.0.entry(module.clone()).or_default();
            read(tokens, &module, &module, said);
        }
        modules
    }

    /// All uses of one module by another, once for each name.
    pub(crate) fn edges(&self) -> BTreeSet<Edge> {
        let used = self.0.iter().flat_map(|(from, said)| said.paths.iter().map(move |path| (from, path)));
        let edge = |(from, path): (&Module, &Vec<String>)| {
            let (to, name) = self.leads_to(path, 0);
            (to != *from).then(|| Edge { from: from.clone(), to, name })
        };
        used.filter_map(edge).collect()
    }

    /// Resolves a path from the root: returns the module that defines the name, and the name. A name that a
    /// module only re-exports is looked up where it comes from.
    fn leads_to(&self, path: &[String], turns: usize) -> (Module, String) {
        let depth = (0..=path.len()).rev().find(|depth| self.0.contains_key(&path[..*depth])).unwrap_or(0);
        let (module, rest) = path.split_at(depth);
        let Some(name) = rest.first() else { return (module.to_vec(), "it".to_owned()) };
        let passed_on = self.0.get(module).and_then(|said| said.names.get(name));
        match passed_on {
            Some(origin) if turns < 8 => self.leads_to(&[origin.as_slice(), &rest[1..]].concat(), turns + 1),
            _ => (module.to_vec(), name.clone()),
        }
    }

    /// Finds a cycle among sibling modules at any depth, and returns the uses that form it. Returns `None` if
    /// there is none. A module and its parent may use each other, because they count as one.
    pub(crate) fn circle(&self) -> Option<Vec<Edge>> {
        let mut beside: BTreeMap<Module, BTreeMap<String, BTreeMap<String, Edge>>> = BTreeMap::new();
        for edge in self.edges() {
            let common = edge.from.iter().zip(&edge.to).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (edge.from.get(common), edge.to.get(common)) {
                let within = beside.entry(edge.from[..common].to_vec()).or_default();
                within.entry(from.clone()).or_default().entry(to.clone()).or_insert(edge.clone());
            }
        }
        beside.into_values().find_map(circle_in)
    }
}

/// Finds a cycle, if there is one. A module that uses none of the remaining modules is in no cycle.
fn circle_in(mut uses: BTreeMap<String, BTreeMap<String, Edge>>) -> Option<Vec<Edge>> {
    loop {
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        for used in uses.values_mut() {
            used.retain(|to, _| left.contains(to));
        }
        let before = uses.len();
        uses.retain(|_, used| !used.is_empty());
        if uses.len() == before {
            break;
        }
    }
    let mut way: Vec<(String, Edge)> = Vec::new();
    let mut at = uses.keys().next()?.clone();
    loop {
        if let Some(begin) = way.iter().position(|(name, _)| *name == at) {
            return Some(way.drain(begin..).map(|(_, edge)| edge).collect());
        }
        let (next, edge) = uses[&at].first_key_value()?;
        way.push((std::mem::replace(&mut at, next.clone()), edge.clone()));
    }
}

/// Reads the tokens of a file. `here` is the module in the file that the tokens belong to.
fn read(tokens: TokenStream, file: &Module, here: &Module, said: &mut Said) {
    let mut tokens = tokens.into_iter().peekable();
    let mut path: Vec<String> = Vec::new();
    // Two colons continue a path. A dot leads to a field or a method.
    let (mut colons, mut is_part) = (0, false);
    while let Some(token) = tokens.next() {
        let continues = colons == 2;
        match token {
            // Not the `use<…>` that lists what a type captures.
            TokenTree::Ident(word)
                if word == "use" && !tokens.peek().is_some_and(|next| is_punct(next, '<')) =>
            {
                keep(&mut path, here, said);
                let statement = tokens.by_ref().take_while(|token| !is_punct(token, ';')).collect();
                let mut leaves = Vec::new();
                leaves_of(statement, &[], &mut leaves);
                for (leaf, name) in leaves {
                    let Some(absolute) = from_root(&leaf, here) else { continue };
                    if here == file {
                        said.names.insert(name, absolute.clone());
                    }
                    said.paths.push(absolute);
                }
            }
            TokenTree::Ident(word) if word == "mod" => {
                keep(&mut path, here, said);
                let name = tokens.next().map(|name| name.to_string()).unwrap_or_default();
                if let Some(TokenTree::Group(body)) = tokens.next() {
                    read(body.stream(), file, &[here.as_slice(), &[name]].concat(), said);
                }
            }
            TokenTree::Ident(word) => {
                if !continues {
                    keep(&mut path, here, said);
                }
                if continues || !is_part {
                    path.push(word.to_string());
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                colons += 1;
                continue;
            }
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if let Some(TokenTree::Group(attribute)) = tokens.peek()
                    && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
                {
                    tokens.next();
                    let is_end = |token: &TokenTree| {
                        is_punct(token, ';')
                            || matches!(token, TokenTree::Group(body) if body.delimiter() == Delimiter::Brace)
                    };
                    while tokens.next().is_some_and(|token| !is_end(&token)) {}
                }
                keep(&mut path, here, said);
            }
            TokenTree::Group(group) => {
                keep(&mut path, here, said);
                read(group.stream(), file, here, said);
            }
            ref other => {
                keep(&mut path, here, said);
                is_part = is_punct(other, '.') && !is_part;
                colons = 0;
                continue;
            }
        }
        (colons, is_part) = (0, false);
    }
    keep(&mut path, here, said);
}

/// Records a path of more than one name.
fn keep(path: &mut Vec<String>, here: &Module, said: &mut Said) {
    if path.len() > 1 {
        said.paths.extend(from_root(path, here));
    }
    path.clear();
}

/// Converts a path to one from the crate's root. Returns `None` if it leads out of the crate. A path that
/// starts with a plain name may start with a module in the same place.
fn from_root(path: &[String], here: &Module) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([here, &path[1..]].concat()),
        "super" => Some([here.get(..here.len().checked_sub(ups)?)?, &path[ups..]].concat()),
        _ => Some([here.as_slice(), path].concat()),
    }
}

/// The paths of a `use` declaration, and the names that they get.
fn leaves_of(tree: Vec<TokenTree>, before: &[String], leaves: &mut Vec<(Vec<String>, String)>) {
    let mut path = before.to_vec();
    let mut renamed = None;
    let mut tokens = tree.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "as" => renamed = tokens.next().map(|name| name.to_string()),
            TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Group(group) => {
                let mut inside: Vec<TokenTree> = group.stream().into_iter().collect();
                while !inside.is_empty() {
                    let end = inside.iter().position(|token| is_punct(token, ',')).unwrap_or(inside.len());
                    let rest = inside.split_off(end);
                    leaves_of(inside, &path, leaves);
                    inside = rest.into_iter().skip(1).collect();
                }
                return;
            }
            _ => {}
        }
    }
    if let Some(last) = path.last() {
        let name = renamed.unwrap_or_else(|| last.clone());
        leaves.push((path, name));
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}
