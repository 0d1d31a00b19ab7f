//! `ashore events`: shows what has happened.

use std::time::Duration;

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::event::Event;

use crate::cli::EventsArgs;
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::{self, complain, escaped_json, say};

/// How often the daemon is asked for more. It answers at once: a place among its clients is not for waiting.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &EventsArgs) -> Result<(), Failure> {
    let asked = |after| {
        let request = Request::Events { after, about: args.name.clone() };
        match ask(&args.client, &request)? {
            Reply::Events { events, last } => Ok((events, last)),
            other => Err(unexpected(&other)),
        }
    };
    let (events, mut last) = asked(None)?;
    if !args.follow {
        if args.client.json {
            return print_json(&events);
        }
        events.iter().for_each(print);
        return Ok(());
    }
    let (mut events, mut is_away) = (events, false);
    loop {
        for event in &events {
            if args.client.json {
                let json = serde_json::to_string(event).map_err(anyhow::Error::from)?;
                say!("{}", escaped_json(&json));
            } else {
                print(event);
            }
        }
        std::thread::sleep(AGAIN);
        (events, last) = match asked(Some(last)) {
            // The daemon has another state, whose numbers begin anew.
            Ok((_, now)) if now < last => asked(None)?,
            Ok(told) => {
                is_away = false;
                told
            }
            Err(Failure::Unreachable { .. } | Failure::NoAnswer(_)) => {
                if !std::mem::replace(&mut is_away, true) {
                    complain!("ashore: the daemon is away; waiting until it is back");
                }
                (Vec::new(), last)
            }
            Err(failure) => return Err(failure),
        };
    }
}

fn print(event: &Event) {
    let what = &event.what;
    let times = match (event.times, event.first) {
        (0 | 1, _) | (_, None) => String::new(),
        (times, Some(first)) => format!(" ({times} times since {})", on_clock(first)),
    };
    let before = format!("{}  {:<15} ", on_clock(event.at), what.kind.word());
    out::hung(&before, &format!("{}{times}", what.text));
}

/// A time of day, in seconds since 1970, as RFC 3339 writes it. It is UTC, as in the log.
pub(super) fn on_clock(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date that is this many days after the beginning of 1970. A far future is cut.
fn date(days: u64) -> (u64, u64, u64) {
    const LAST: u64 = 2_932_896;
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut left = days.min(LAST);
    let mut year = 1970;
    loop {
        let of_year = if is_leap(year) { 366 } else { 365 };
        if left < of_year {
            break;
        }
        left -= of_year;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for of_month in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < of_month {
            break;
        }
        left -= of_month;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_everybody_writes_it() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_796_000_000, "2026-11-30T00:53:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(on_clock(seconds), written);
        }
        assert!(on_clock(u64::MAX).starts_with("9999-12-31T"));
    }
}
