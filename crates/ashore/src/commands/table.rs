//! Prints tables for people.

use crate::out::{self, Screen, Style, broken, columns, one_line, say, segments};

/// The space between two columns.
const GAP: usize = 2;
/// A name may be broken, but not into shorter pieces.
const NAME_WIDTH: usize = 20;

/// Prints rows under their headings. A pipe gets a line for each row. On a terminal, a table that is too wide is made
/// to fit, and nothing of it is cut.
pub(super) fn print(headings: &[impl AsRef<str>], rows: &[Vec<String>]) {
    let headings: Vec<&str> = headings.iter().map(AsRef::as_ref).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let laid_out = laid_out(&headings, &rows, Screen::of_stdout().width);
    let (heading, rest) = laid_out.split_at(1);
    for line in heading {
        out::styled(Style::Heading, line);
    }
    for line in rest {
        say!("{line}");
    }
}

/// The lines of a table, the first of which has the headings.
///
/// Each column is as wide as its widest cell if that fits. If not, cells go over several lines: first at spaces, as
/// between two addresses, then names anywhere. If that is not enough, the widest columns leave the table, and stand
/// below each row with their headings. So two IPv6 addresses stay whole on a screen of 80 columns.
fn laid_out(headings: &[&str], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let mut below: Vec<usize> = Vec::new();
    loop {
        let beside: Vec<usize> = (0..headings.len()).filter(|column| !below.contains(column)).collect();
        let widest = |column: usize| longest(headings, rows, column, &|cell| columns(cell));
        let natural: Vec<usize> = beside.iter().map(|column| widest(*column)).collect();
        let widths = match width {
            Some(width) if sum(&natural) > width => {
                let piece = |cell: &str| cell.split(' ').flat_map(segments).map(narrowest).max().unwrap_or(0);
                let least: Vec<usize> =
                    beside.iter().map(|column| longest(headings, rows, *column, &piece)).collect();
                if sum(&least) > width
                    // The first column tells what the row is.
                    && let Some(at) = (1..beside.len()).max_by_key(|at| (least[*at], natural[*at]))
                {
                    below.push(beside[at]);
                    below.sort_unstable();
                    continue;
                }
                shared_out(&least, &natural, width)
            }
            _ => natural,
        };
        return lines(headings, rows, &beside, &widths, &below, width);
    }
}

fn lines(
    headings: &[&str],
    rows: &[Vec<String>],
    beside: &[usize],
    widths: &[usize],
    below: &[usize],
    width: Option<usize>,
) -> Vec<String> {
    let padded = |cells: &[&str]| {
        let cells = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(columns(cell)))));
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    let mut lines = vec![padded(&beside.iter().map(|column| headings[*column]).collect::<Vec<_>>())];
    for row in rows {
        let cells: Vec<Vec<String>> =
            beside.iter().zip(widths).map(|(column, width)| cell_lines(&row[*column], *width)).collect();
        for line in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let line: Vec<&str> =
                cells.iter().map(|cell| cell.get(line).map_or("", String::as_str)).collect();
            lines.push(padded(&line));
        }
        for column in below.iter().filter(|column| row[**column] != "-") {
            let begin = format!("  {} ", headings[*column]);
            let room = width.unwrap_or(usize::MAX).saturating_sub(columns(&begin)).max(NAME_WIDTH);
            for (at, text) in cell_lines(&row[*column], room).into_iter().enumerate() {
                let begin = if at == 0 { begin.clone() } else { " ".repeat(columns(&begin)) };
                lines.push(format!("{begin}{text}"));
            }
        }
    }
    lines
}

/// The lines of a cell in a column of a width. They break at spaces and beside Chinese characters, and where a word
/// alone is too wide, in it.
fn cell_lines(cell: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in cell.split(' ') {
        for (at, segment) in segments(word).into_iter().enumerate() {
            for piece in broken(segment, width) {
                // Only a word has a space before it.
                let space = usize::from(at == 0);
                let line = lines.last_mut().expect("there is a first one");
                if line.is_empty() {
                    line.push_str(&piece);
                } else if columns(line) + space + columns(&piece) <= width {
                    line.push_str(&" ".repeat(space));
                    line.push_str(&piece);
                } else {
                    lines.push(piece);
                }
            }
        }
    }
    lines
}

/// The least width of a word. Addresses, MACs and ranges are to be copied, and stay whole; names may be broken.
fn narrowest(word: &str) -> usize {
    let is_address = word.contains([':', '/']) || word.parse::<std::net::IpAddr>().is_ok();
    let is_range = word.split_once('-').is_some_and(|(first, _)| first.parse::<std::net::IpAddr>().is_ok());
    if is_address || is_range { columns(word) } else { columns(word).min(NAME_WIDTH) }
}

/// The widths of columns that are to fit together: each has its least, and those that lack little are served first.
fn shared_out(least: &[usize], natural: &[usize], width: usize) -> Vec<usize> {
    let mut widths = least.to_vec();
    let mut left = width.saturating_sub(sum(least));
    let mut order: Vec<usize> = (0..least.len()).collect();
    order.sort_by_key(|column| natural[*column] - least[*column]);
    for column in order {
        let more = (natural[column] - least[column]).min(left);
        widths[column] += more;
        left -= more;
    }
    widths
}

fn longest(headings: &[&str], rows: &[Vec<String>], column: usize, of: &dyn Fn(&str) -> usize) -> usize {
    let cells = rows.iter().map(|row| of(&row[column]));
    cells.chain([columns(headings[column])]).max().unwrap_or(0)
}

/// The width of columns beside each other.
fn sum(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// Joins items with spaces, or returns a dash if there are none.
pub(super) fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "-".into() } else { items.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: [&str; 7] = ["NAME", "NETWORK", "MAC", "ADDRESS", "SOURCE", "STATE", "CONFLICTS"];

    fn row(name: &str, addresses: &str) -> Vec<String> {
        [name, "lan", "de:e3:1a:2d:bb:88", addresses, "range", "attached", "-"].map(str::to_owned).into()
    }

    fn fits(lines: &[String], width: usize) {
        assert!(lines.iter().all(|line| columns(line) <= width), "{}", lines.join("\n"));
    }

    #[test]
    fn a_pipe_gets_a_line_for_each_row() {
        let rows =
            [row("web", "192.168.88.193/24 fd88:1234:5678:9abc:def0:1234:5678:9abc/64"), row("b", "-")];
        let lines = laid_out(&HEADINGS, &rows, None);
        assert_eq!(lines.len(), 3);
        assert!(
            lines[1].starts_with("web   lan      de:e3:1a:2d:bb:88  192.168.88.193/24 fd88:"),
            "{lines:?}"
        );
    }

    #[test]
    fn addresses_go_over_several_lines() {
        let lines = laid_out(&HEADINGS, &[row("web", "192.168.88.193/24 fd88::5/64")], Some(80));
        assert_eq!(
            lines,
            [
                "NAME  NETWORK  MAC                ADDRESS            SOURCE  STATE     CONFLICTS",
                "web   lan      de:e3:1a:2d:bb:88  192.168.88.193/24  range   attached  -",
                "                                  fd88::5/64",
            ]
        );
        fits(&lines, 80);
    }

    #[test]
    fn an_address_that_fits_nowhere_stands_below_its_row() {
        let rows =
            [row("web", "192.168.88.193/24 fd88:1234:5678:9abc:def0:1234:5678:9abc/64"), row("b", "-")];
        let lines = laid_out(&HEADINGS, &rows, Some(80));
        assert_eq!(
            lines,
            [
                "NAME  NETWORK  MAC                SOURCE  STATE     CONFLICTS",
                "web   lan      de:e3:1a:2d:bb:88  range   attached  -",
                "  ADDRESS 192.168.88.193/24 fd88:1234:5678:9abc:def0:1234:5678:9abc/64",
                "b     lan      de:e3:1a:2d:bb:88  range   attached  -",
            ]
        );
        fits(&laid_out(&HEADINGS, &rows, Some(60)), 64);
    }

    #[test]
    fn a_long_name_is_wrapped_and_not_cut() {
        let name = "a-container-of-compose-with-a-name-of-some-length-1";
        let lines = laid_out(&HEADINGS, &[row(name, "192.168.88.193/24")], Some(80));
        fits(&lines, 80);
        let first: String = lines[1..]
            .iter()
            .filter(|line| !line.starts_with("  "))
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(first, name, "{}", lines.join("\n"));
    }

    #[test]
    fn chinese_in_a_cell_is_broken_between_characters() {
        let rows = [vec!["no-carrier".to_owned(), "网线松了，或者对端断电。".to_owned()]];
        let lines = laid_out(&["CODE", "MEANS"], &rows, Some(20));
        // There is room for 了, and not for the comma behind it, which may not begin a line.
        assert_eq!(
            lines,
            [
                "CODE        MEANS",
                "no-carrier  网线松",
                "            了，或者",
                "            对端断",
                "            电。"
            ]
        );
    }

    #[test]
    fn whatever_the_width_every_word_is_there() {
        let rows = [row("web", "192.168.88.193/24 fd88::5/64"), row("job", "192.168.88.194/24")];
        for width in 30..120 {
            let text = laid_out(&HEADINGS, &rows, Some(width)).join("\n");
            for word in rows.iter().flatten().flat_map(|cell| cell.split(' ')).filter(|word| *word != "-") {
                assert!(text.contains(word), "{width}: {text}");
            }
        }
    }
}
