//! Who has made a network card, by its MAC: from the list that the host's own packages bring, if there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use ashore_wire::Mac;

/// Where the lists are: of udev, and of the packages `hwdata` and `ieee-data`.
const LISTS: [&str; 4] = [
    "/usr/lib/udev/hwdb.d/20-OUI.hwdb",
    "/lib/udev/hwdb.d/20-OUI.hwdb",
    "/usr/share/hwdata/oui.txt",
    "/usr/share/ieee-data/oui.txt",
];
/// The maximum length of what is read of a list, in bytes. The longest has six million.
const LONGEST: u64 = 32 * 1024 * 1024;
/// The maximum length of a line, in bytes.
const LONGEST_LINE: u64 = 1024;
/// The maximum length of a maker, in characters.
const LONGEST_MAKER: usize = 40;

/// What is said of a MAC that belongs to no maker: a phone makes up another one for each Wi-Fi.
pub(super) const RANDOM: &str = "random";

/// The makers of these MACs, as far as they are known.
pub(super) fn makers(macs: &BTreeSet<Mac>) -> BTreeMap<Mac, String> {
    let mut found: BTreeMap<Mac, String> = BTreeMap::new();
    let (local, global): (Vec<Mac>, Vec<Mac>) = macs.iter().partition(|mac| mac.0[0] & 2 != 0);
    found.extend(local.into_iter().map(|mac| (mac, RANDOM.to_owned())));
    if global.is_empty() {
        return found;
    }
    for path in LISTS {
        let Ok(list) = File::open(Path::new(path)) else { continue };
        if list.metadata().is_ok_and(|there| there.is_file()) {
            found.extend(of_list(BufReader::new(list.take(LONGEST)), &global));
            break;
        }
    }
    found
}

/// Reads a list of either kind. The longest prefix of a MAC counts, since makers share blocks.
fn of_list(mut list: impl BufRead, macs: &[Mac]) -> BTreeMap<Mac, String> {
    let mut found: BTreeMap<Mac, (usize, String)> = BTreeMap::new();
    let mut prefix: Option<String> = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        // What cannot be read any more is the end.
        match list.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let told = if let Some(of) = text.strip_prefix("OUI:") {
            prefix = of.trim_end().strip_suffix('*').map(str::to_owned);
            None
        } else if let Some(maker) = text.trim_start().strip_prefix("ID_OUI_FROM_DATABASE=") {
            prefix.take().map(|prefix| (prefix, maker.trim().to_owned()))
        } else if let Some((of, maker)) = text.split_once("(base 16)") {
            Some((of.trim().to_owned(), maker.trim().to_owned()))
        } else {
            None
        };
        let Some((prefix, maker)) = told.filter(|(prefix, maker)| prefix.len() >= 6 && !maker.is_empty())
        else {
            continue;
        };
        for mac in macs.iter().filter(|mac| digits(**mac).starts_with(&prefix.to_uppercase())) {
            let known = found.get(mac).map_or(0, |(length, _)| *length);
            if prefix.len() > known {
                found.insert(*mac, (prefix.len(), maker.chars().take(LONGEST_MAKER).collect()));
            }
        }
    }
    found.into_iter().map(|(mac, (_, maker))| (mac, maker)).collect()
}

fn digits(mac: Mac) -> String {
    mac.to_string().replace(':', "").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HWDB: &str = "# This file is part of systemd.\n\nOUI:0050C2*\n ID_OUI_FROM_DATABASE=Registration Authority\n\n\
        OUI:0050C2123*\n ID_OUI_FROM_DATABASE=Small Maker\n\nOUI:B827EB*\n ID_OUI_FROM_DATABASE=Raspberry \u{1b}[2J Pi\n";
    const OUI: &str = "OUI/MA-L   Organization\r\nB8-27-EB   (hex)\t\tRaspberry Pi Foundation\r\n\
        B827EB     (base 16)\t\tRaspberry Pi Foundation\r\n\t\t\t\tMitchell Wood House\r\n";

    fn mac(text: &str) -> Mac {
        text.parse().unwrap()
    }

    #[test]
    fn a_maker_is_found_in_lists_of_both_kinds_by_the_longest_prefix() {
        let macs = [
            mac("b8:27:eb:01:02:03"),
            mac("00:50:c2:12:30:01"),
            mac("00:50:c2:99:30:01"),
            mac("00:11:22:33:44:55"),
        ];
        let found = of_list(HWDB.as_bytes(), &macs);
        let told: Vec<&str> = macs.iter().filter_map(|mac| found.get(mac)).map(String::as_str).collect();
        assert_eq!(told, ["Raspberry \u{1b}[2J Pi", "Small Maker", "Registration Authority"]);
        assert_eq!(of_list(OUI.as_bytes(), &macs)[&macs[0]], "Raspberry Pi Foundation");
    }

    #[test]
    fn what_is_no_list_costs_little_and_says_nothing() {
        let macs = [mac("b8:27:eb:01:02:03")];
        let endless = std::io::repeat(b'a').take(10_000_000);
        assert!(of_list(BufReader::new(endless), &macs).is_empty());
        assert!(of_list(b"OUI:*\n ID_OUI_FROM_DATABASE=Everybody\n\xff\xfe\n".as_slice(), &macs).is_empty());
        let long = format!("OUI:B827EB*\n ID_OUI_FROM_DATABASE={}\n", "x".repeat(900));
        assert_eq!(of_list(long.as_bytes(), &macs)[&macs[0]].len(), LONGEST_MAKER);
    }

    #[test]
    fn a_mac_that_somebody_has_made_up_says_so() {
        let random = mac("da:27:eb:01:02:03");
        assert_eq!(makers(&BTreeSet::from([random]))[&random], RANDOM);
    }
}
