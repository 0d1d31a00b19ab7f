//! `ashore explain`: what a code of a trouble or a refusal means. It asks no daemon.

use ashore_core::api::explained::{self, Explained, Of};
use ashore_core::api::trouble::Severity;

use super::table;
use crate::cli::ExplainArgs;
use crate::client::{Failure, exit_code_of, print_json};
use crate::nearest::nearest;
use crate::out::{self, Style, say};

pub(crate) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let mut found = Vec::new();
    for code in &args.codes {
        let before = found.len();
        found.extend(explained::of(code));
        if found.len() == before {
            return Err(unknown(code));
        }
    }
    if args.codes.is_empty() {
        found.extend(explained::all());
    }
    if args.json {
        return print_json(&found);
    }
    if args.codes.is_empty() {
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|explained| vec![explained.code.to_owned(), of(explained), explained.means.to_owned()])
            .collect();
        table::print(&["CODE", "OF", "MEANS"], &rows);
        return Ok(());
    }
    for (at, explained) in found.into_iter().enumerate() {
        if at > 0 {
            say!("");
        }
        print(explained);
    }
    Ok(())
}

fn print(explained: &Explained) {
    let style = match explained.of {
        Of::Trouble { severity: Severity::Warning } => Style::Warning,
        Of::Trouble { .. } | Of::Refusal { .. } => Style::Bad,
    };
    out::marked(style, explained.code, &format!("({})", of(explained)));
    for (heading, text) in
        [("means", explained.means), ("usually", explained.cause), ("what helps", explained.helps)]
    {
        out::marked(Style::Heading, &format!("  {heading:10}"), text);
    }
}

/// What has the code, in a few words.
fn of(explained: &Explained) -> String {
    match explained.of {
        Of::Trouble { severity: Severity::Broken } => "trouble, broken".to_owned(),
        Of::Trouble { severity: Severity::Warning } => "trouble, warning".to_owned(),
        Of::Refusal { kind } => format!("refusal, exit code {}", exit_code_of(kind)),
    }
}

fn unknown(code: &str) -> Failure {
    let near = nearest(code, explained::all().iter().map(|explained| explained.code));
    Failure::Usage {
        message: format!("there is no code `{code}`"),
        remedy: Some(match near {
            Some(near) => format!("ashore explain {near}"),
            None => "`ashore explain` lists the codes".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_names_the_nearest() {
        let hint = |code| unknown(code).hint().unwrap();
        assert_eq!(hint("parent-mising"), "ashore explain parent-missing");
        assert_eq!(hint("on-fire"), "`ashore explain` lists the codes");
    }
}
