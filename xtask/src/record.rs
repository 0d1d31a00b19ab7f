//! `cargo xtask record`: records `ashore lab` on a terminal, as `docs/pictures/lab.cast` (asciinema's format, version 2) and as
//! the picture `lab.svg`, which plays it. Both are what the program has said, when it said it.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

use crate::{cargo, execute};

const COLUMNS: usize = 80;
/// The lines that the picture shows at once.
const ROWS: usize = 30;
/// How long the end stays before the picture begins anew, in seconds.
const REST: f64 = 6.0;

/// A line of the terminal: when it was complete, and its parts.
struct Line {
    at: f64,
    parts: Vec<Part>,
}

/// A text in one colour: the classes of it in the picture.
struct Part {
    classes: String,
    text: String,
}

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    execute(cargo().args(["build", "--package", "ashore"]))?;
    let events = record(&root.join("target/debug/ashore"))?;
    let pictures = root.join("docs/pictures");
    fs::write(pictures.join("lab.cast"), cast(&events)?)?;
    fs::write(pictures.join("lab.svg"), picture(&lines(&events)))?;
    Ok(())
}

/// Runs the lab on a terminal, and returns what it shows, with the seconds since its start.
fn record(program: &Path) -> anyhow::Result<Vec<(f64, String)>> {
    // It tells what to type next by the name that it is called by: that of README.
    let line =
        format!("stty cols {COLUMNS} rows {ROWS}; exec -a target/release/ashore {} lab", program.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]);
    script
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .env("SHELL", "/bin/bash")
        .env_remove("NO_COLOR");
    let mut child = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("script")?;
    let mut from = child.stdout.take().context("stdout is piped")?;
    let (begun, mut bytes, mut open) = (Instant::now(), [0; 8192], Vec::new());
    let mut events = Vec::new();
    loop {
        let read = from.read(&mut bytes)?;
        if read == 0 {
            break;
        }
        open.extend_from_slice(&bytes[..read]);
        // A character may be cut in two.
        let whole = match std::str::from_utf8(&open) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = open.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut open, rest))?;
        events.push((begun.elapsed().as_secs_f64(), text));
    }
    if !child.wait()?.success() {
        bail!("`ashore lab` failed");
    }
    Ok(events)
}

/// The recording as asciinema plays it.
fn cast(events: &[(f64, String)]) -> anyhow::Result<String> {
    let head = serde_json::json!({ "version": 2, "width": COLUMNS, "height": ROWS, "title": "ashore lab" });
    let mut cast = format!("{head}\n");
    for (at, text) in events {
        let at = (at * 1000.0).round() / 1000.0;
        writeln!(cast, "{}", serde_json::to_string(&(at, "o", text))?)?;
    }
    Ok(cast)
}

/// What was shown, line by line.
fn lines(events: &[(f64, String)]) -> Vec<Line> {
    let (mut lines, mut parts, mut classes) = (Vec::new(), Vec::<Part>::new(), String::new());
    for (at, text) in events {
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(sequence.len() - 1);
                if sequence[end..].starts_with('m') {
                    classes = classes_of(&sequence[..end]);
                }
                rest = &sequence[end + 1..];
                continue;
            }
            match first {
                '\n' => lines.push(Line { at: *at, parts: std::mem::take(&mut parts) }),
                '\r' => {}
                first => match parts.last_mut().filter(|part| part.classes == classes) {
                    Some(part) => part.text.push(first),
                    None => parts.push(Part { classes: classes.clone(), text: first.into() }),
                },
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    lines
}

/// The classes of a colour as a terminal is told it.
fn classes_of(codes: &str) -> String {
    let class = |code: &str| match code {
        "1" => Some("b"),
        "2" => Some("d"),
        "31" => Some("r"),
        "32" => Some("g"),
        "33" => Some("y"),
        "34" | "36" => Some("c"),
        _ => None,
    };
    codes.split(';').filter_map(class).collect::<Vec<_>>().join(" ")
}

const HEAD: &str = r#"  <title>A recording of ashore lab</title>
  <style>
    .back { fill: #ffffff; stroke: #d0d7de; }
    text { font: 13px "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre; fill: #1f2328; }
    .b { font-weight: bold; } .d { fill: #57606a; } .g { fill: #12683d; } .r { fill: #a5331a; } .y { fill: #7d4e00; } .c { fill: #0550ae; }
    @media (prefers-color-scheme: dark) {
      .back { fill: #0d1117; stroke: #30363d; } text { fill: #e6edf3; }
      .d { fill: #a8b1bb; } .g { fill: #56d391; } .r { fill: #ff9577; } .y { fill: #e3b341; } .c { fill: #79c0ff; }
    }
"#;

/// The picture: all lines below each other behind a window, which they pass as time goes. Where nothing moves, it shows
/// the end.
fn picture(lines: &[Line]) -> String {
    const LEADING: usize = 18;
    let (width, height) = (COLUMNS * 8 + 20, ROWS * LEADING + 24);
    let all = lines.last().map_or(0.0, |line| line.at) + REST;
    let percent = |at: f64| 100.0 * at / all;
    let passed = |count: usize| count.saturating_sub(ROWS) * LEADING;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n{HEAD}"
    );
    let mut say = |text: &str| {
        svg.push_str(text);
        svg.push('\n');
    };
    let end = passed(lines.len());
    say(&format!("    .all {{ transform: translateY(-{end}px); }}"));
    say("    @media (prefers-reduced-motion: no-preference) {");
    say(&format!("      .all {{ animation: pass {all:.2}s step-end infinite; }}"));
    let mut frames = "      @keyframes pass { 0% { transform: translateY(0); }".to_owned();
    for (index, line) in lines.iter().enumerate().filter(|(index, _)| *index >= ROWS) {
        let _ = write!(
            frames,
            " {:.3}% {{ transform: translateY(-{}px); }}",
            percent(line.at),
            passed(index + 1)
        );
    }
    say(&format!("{frames} }}"));
    for (index, line) in lines.iter().enumerate() {
        let at = percent(line.at);
        say(&format!(
            "      .l{index} {{ animation: l{index} {all:.2}s step-end infinite; }} @keyframes l{index} {{ 0% {{ opacity: 0; }} {at:.3}% {{ opacity: 1; }} }}"
        ));
    }
    say("    }\n  </style>");
    say(&format!(
        "  <clipPath id=\"window\"><rect y=\"8\" width=\"{width}\" height=\"{}\"/></clipPath>",
        height - 16
    ));
    say(&format!(
        "  <rect class=\"back\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
        width - 1,
        height - 1
    ));
    say("  <g clip-path=\"url(#window)\"><g class=\"all\">");
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.parts.is_empty()) {
        let spans = line.parts.iter().map(|part| {
            let text = part.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            if part.classes.is_empty() {
                text
            } else {
                format!("<tspan class=\"{}\">{text}</tspan>", part.classes)
            }
        });
        let y = 24 + index * LEADING;
        say(&format!(
            "    <text class=\"l{index}\" x=\"10\" y=\"{y}\" xml:space=\"preserve\">{}</text>",
            spans.collect::<String>()
        ));
    }
    say("  </g></g>\n</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_lines_are_those_of_the_terminal() {
        let events = [(0.5, "a \x1b[32m✓\x1b[0m b\r\n<".to_owned()), (1.5, "\x1b[1;31mc\r\n".to_owned())];
        let lines = lines(&events);
        let shown = |line: &Line| {
            line.parts
                .iter()
                .map(|part| format!("{}:{}", part.classes, part.text))
                .collect::<Vec<_>>()
                .join("|")
        };
        assert_eq!(lines.iter().map(shown).collect::<Vec<_>>(), [":a |g:✓|: b", ":<|b r:c"]);
        assert!((lines[1].at - 1.5).abs() < 1e-9);
        assert!(picture(&lines).contains("&lt;<tspan class=\"b r\">c</tspan>"));
    }
}
