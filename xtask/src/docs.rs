//! `cargo xtask docs`: builds the book of `docs/` as web pages, and checks that every link in them leads to one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::{execute, lint::tool};

/// The release of mdBook that `docs/book.toml` was written for.
const MDBOOK: &str = "0.5.4";

/// Builds the book, and returns its first page.
pub(crate) fn run(root: &Path) -> anyhow::Result<PathBuf> {
    let mdbook = tool(root, "mdbook", MDBOOK, &["--no-default-features", "--features", "search"])?;
    let (book, sources) = (root.join("target/book/html"), root.join("target/book/src"));
    for stale in [&book, &sources] {
        if stale.exists() {
            fs::remove_dir_all(stale)?;
        }
    }
    stage(&root.join("docs"), Path::new(""), &sources)?;
    execute(Command::new(mdbook).arg("build").arg(&sources).arg("--dest-dir").arg(&book))?;
    let lost = lost_links(&book)?;
    if !lost.is_empty() {
        bail!("links of the book that lead nowhere:\n{}", lost.join("\n"));
    }
    println!("{}", book.join("index.html").display());
    Ok(book.join("index.html"))
}

/// Copies the documents below `from`, without the links by which they leave the directory.
fn stage(docs: &Path, below: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to.join(below))?;
    for entry in fs::read_dir(docs.join(below))? {
        let entry = entry?;
        let name = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            stage(docs, &name, to)?;
        } else if name.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(entry.path()).with_context(|| name.display().to_string())?;
            fs::write(to.join(&name), without_links_out(&text, below.components().count()))?;
        } else {
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}

/// A document that lies `depth` directories deep, with the text alone of each link to a file outside of the book.
fn without_links_out(text: &str, depth: usize) -> String {
    let mut parts = text.split("](");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let up = part.split('/').take_while(|step| *step == "..").count();
        let begin = kept.rfind('[').filter(|_| up > depth);
        if let (Some(begin), Some((_, rest))) = (begin, part.split_once(')')) {
            kept.remove(begin);
            kept.push_str(rest);
        } else {
            kept.push_str("](");
            kept.push_str(part);
        }
    }
    kept
}

/// The links of the pages that lead to no page, file or heading of the book.
fn lost_links(book: &Path) -> anyhow::Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    let mut open = vec![book.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "html") {
                pages.insert(path.clone(), fs::read_to_string(path)?);
            }
        }
    }
    let ids: BTreeMap<&PathBuf, BTreeSet<&str>> =
        pages.iter().map(|(path, page)| (path, attributes(page, "id").collect())).collect();
    let mut lost = Vec::new();
    for (path, page) in &pages {
        for link in attributes(page, "href").chain(attributes(page, "src")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            // The page of a missing page is served from anywhere.
            if link.contains(':') || file.starts_with('/') || path.ends_with("404.html") {
                continue;
            }
            let to = if file.is_empty() { path.clone() } else { beside(path, file) };
            let is_there =
                to.exists() && (anchor.is_empty() || ids.get(&to).is_none_or(|ids| ids.contains(anchor)));
            if !is_there {
                lost.push(format!("{}: {link}", path.strip_prefix(book).unwrap_or(path).display()));
            }
        }
    }
    Ok(lost)
}

/// The values of an attribute in a page.
fn attributes<'a>(page: &'a str, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let begin = format!(" {name}=\"");
    let found: Vec<&str> = page.split(&begin).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    found.into_iter()
}

/// A path that is written in a page.
fn beside(page: &Path, written: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in page.with_file_name(written).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            part => path.push(part),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_out_of_the_book_are_text() {
        let text = "See [a](b.md), [c](../d.md#e) and ![f](../../g.svg) in [h](../nas/i.md).";
        assert_eq!(without_links_out(text, 0), "See [a](b.md), c and !f in h.");
        assert_eq!(without_links_out(text, 1), "See [a](b.md), [c](../d.md#e) and !f in [h](../nas/i.md).");
    }
}
