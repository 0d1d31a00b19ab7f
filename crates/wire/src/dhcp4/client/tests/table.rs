//! A test of every event in every state.

use super::*;

/// The situation in which the event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// After a DECLINE.
    Pausing,
    Selecting,
    Requesting,
    Probing,
    Bound,
    Renewing,
    Rebinding,
    /// Renewing, and the server has assigned another address.
    Moving,
    /// With a recorded lease whose address is not on the link.
    Rebooting,
    /// As `Rebooting`, but no server has answered, and the address is being probed.
    Checking,
    /// With a recorded lease whose address is on the link.
    Returning,
    /// With a lease, but without a carrier.
    Down,
    /// Without a lease and without a carrier.
    DownWithout,
    Released,
}

const STARTS: [Start; 14] = [
    Start::Pausing,
    Start::Selecting,
    Start::Requesting,
    Start::Probing,
    Start::Bound,
    Start::Renewing,
    Start::Rebinding,
    Start::Moving,
    Start::Rebooting,
    Start::Checking,
    Start::Returning,
    Start::Down,
    Start::DownWithout,
    Start::Released,
];

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// The time comes that the client waits for.
    Time,
    /// Every lease expires.
    End,
    Offer,
    Ack,
    AckOfAnother,
    Nak,
    NakOfAnotherServer,
    ForceRenew,
    Clear,
    Taken,
    LinkDown,
    LinkUp,
    Release,
}

const EVENTS: [Event; 13] = [
    Event::Time,
    Event::End,
    Event::Offer,
    Event::Ack,
    Event::AckOfAnother,
    Event::Nak,
    Event::NakOfAnotherServer,
    Event::ForceRenew,
    Event::Clear,
    Event::Taken,
    Event::LinkDown,
    Event::LinkUp,
    Event::Release,
];

impl Start {
    fn bench(self) -> Bench {
        let mut bench = match self {
            Start::Selecting | Start::DownWithout => Bench::start(),
            Start::Requesting => Bench::requesting(),
            Start::Probing | Start::Pausing => Bench::probing(),
            Start::Rebooting | Start::Checking => Bench::resumed(100, false),
            Start::Returning => Bench::resumed(100, true),
            _ => Bench::bound(),
        };
        bench.poll();
        match self {
            Start::Pausing => bench.client.taken(IP, bench.now),
            Start::Renewing | Start::Moving => drop(bench.wait_until(State::Renewing)),
            Start::Rebinding => drop(bench.wait_until(State::Rebinding)),
            Start::Checking => drop(bench.wait()),
            Start::Down | Start::DownWithout => bench.client.link_down(),
            Start::Released => bench.client.release(bench.now),
            _ => {}
        }
        if self == Start::Moving {
            bench.hear(&bench.reply(Kind::Ack, OTHER_IP)).unwrap();
        }
        bench.poll();
        bench
    }
}

impl Event {
    fn happen(self, bench: &mut Bench) {
        let now = bench.now;
        let message = match self {
            Event::Time => return bench.now = bench.until.unwrap_or(now),
            Event::End => return bench.now += seconds(2000),
            Event::Clear => return bench.client.clear(probed(&bench.client)),
            Event::Taken => return bench.client.taken(probed(&bench.client), now),
            Event::LinkDown => return bench.client.link_down(),
            Event::LinkUp => return bench.client.link_up(now),
            Event::Release => return bench.client.release(now),
            Event::Offer => bench.reply(Kind::Offer, IP),
            Event::Ack => bench.reply(Kind::Ack, IP),
            Event::AckOfAnother => bench.reply(Kind::Ack, OTHER_IP),
            Event::Nak => bench.reply(Kind::Nak, IP),
            Event::NakOfAnotherServer => {
                let mut nak = bench.reply(Kind::Nak, IP);
                nak.options.set(code::SERVER_ID, OTHER_SERVER.octets());
                nak
            }
            Event::ForceRenew => bench.reply(Kind::ForceRenew, IP),
        };
        let _ = bench.hear(&message);
    }
}

/// The address that is probed or would be probed.
fn probed(client: &Client) -> Ipv4Addr {
    match &client.phase {
        Phase::Probing { candidate, .. } => candidate.ip(),
        _ => IP,
    }
}

/// The next state and the actions for each event. An event that is not listed changes nothing and causes no
/// action.
const TABLE: &[(Start, Event, State, &[&str])] = &[
    (Start::Pausing, Event::Time, State::Selecting, &["Discover to all"]),
    (Start::Pausing, Event::End, State::Selecting, &["Discover to all"]),
    (Start::Pausing, Event::LinkDown, State::Down, &[]),
    (Start::Pausing, Event::LinkUp, State::Selecting, &["Discover to all"]),
    (Start::Pausing, Event::Release, State::Released, &[]),
    (Start::Selecting, Event::Time, State::Selecting, &["Discover to all"]),
    (Start::Selecting, Event::End, State::Selecting, &["Discover to all"]),
    (Start::Selecting, Event::Offer, State::Requesting, &["Request to all"]),
    (Start::Selecting, Event::LinkDown, State::Down, &[]),
    (Start::Selecting, Event::LinkUp, State::Selecting, &["Discover to all"]),
    (Start::Selecting, Event::Release, State::Released, &[]),
    (Start::Requesting, Event::Time, State::Requesting, &["Request to all"]),
    (Start::Requesting, Event::End, State::Requesting, &["Request to all"]),
    (Start::Requesting, Event::Ack, State::Probing, &["probe 7"]),
    (Start::Requesting, Event::AckOfAnother, State::Probing, &["probe 8"]),
    (Start::Requesting, Event::Nak, State::Selecting, &["Discover to all"]),
    (Start::Requesting, Event::LinkDown, State::Down, &[]),
    (Start::Requesting, Event::LinkUp, State::Selecting, &["Discover to all"]),
    (Start::Requesting, Event::Release, State::Released, &[]),
    (Start::Probing, Event::Time, State::Selecting, &["Discover to all"]),
    (Start::Probing, Event::End, State::Selecting, &["Discover to all"]),
    (Start::Probing, Event::Clear, State::Bound, &["bound 7 New"]),
    (Start::Probing, Event::Taken, State::Init, &["Decline to all"]),
    (Start::Probing, Event::LinkDown, State::Down, &[]),
    (Start::Probing, Event::LinkUp, State::Selecting, &["Discover to all"]),
    (Start::Probing, Event::Release, State::Released, &["Release to its server"]),
    (Start::Bound, Event::Time, State::Renewing, &["Request to its server"]),
    (Start::Bound, Event::End, State::Selecting, &["lost Expired", "Discover to all"]),
    (Start::Bound, Event::Taken, State::Init, &["Decline to all", "lost Taken"]),
    (Start::Bound, Event::LinkDown, State::Down, &[]),
    (Start::Bound, Event::LinkUp, State::Rebooting, &["Request to all"]),
    (Start::Bound, Event::Release, State::Released, &["Release to its server", "lost Released"]),
    (Start::Renewing, Event::Time, State::Renewing, &["Request to its server"]),
    (Start::Renewing, Event::End, State::Selecting, &["lost Expired", "Discover to all"]),
    (Start::Renewing, Event::Ack, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Renewing, Event::AckOfAnother, State::Probing, &["probe 8"]),
    (Start::Renewing, Event::Nak, State::Selecting, &["lost Refused(None)", "Discover to all"]),
    (Start::Renewing, Event::Taken, State::Init, &["Decline to all", "lost Taken"]),
    (Start::Renewing, Event::LinkDown, State::Down, &[]),
    (Start::Renewing, Event::LinkUp, State::Rebooting, &["Request to all"]),
    (Start::Renewing, Event::Release, State::Released, &["Release to its server", "lost Released"]),
    (Start::Rebinding, Event::Time, State::Rebinding, &["Request to all"]),
    (Start::Rebinding, Event::End, State::Selecting, &["lost Expired", "Discover to all"]),
    (Start::Rebinding, Event::Ack, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Rebinding, Event::AckOfAnother, State::Probing, &["probe 8"]),
    (Start::Rebinding, Event::Nak, State::Selecting, &["lost Refused(None)", "Discover to all"]),
    (Start::Rebinding, Event::Taken, State::Init, &["Decline to all", "lost Taken"]),
    (Start::Rebinding, Event::LinkDown, State::Down, &[]),
    (Start::Rebinding, Event::LinkUp, State::Rebooting, &["Request to all"]),
    (Start::Rebinding, Event::Release, State::Released, &["Release to its server", "lost Released"]),
    (Start::Moving, Event::Time, State::Probing, &["lost Expired"]),
    (Start::Moving, Event::End, State::Selecting, &["lost Expired", "Discover to all"]),
    (Start::Moving, Event::Clear, State::Bound, &["bound 8 Renewed([Address])"]),
    (Start::Moving, Event::Taken, State::Init, &["Decline to all", "lost Taken"]),
    (Start::Moving, Event::LinkDown, State::Down, &[]),
    (Start::Moving, Event::LinkUp, State::Rebooting, &["Request to all"]),
    (Start::Moving, Event::Release, State::Released, &["Release to its server", "lost Released"]),
    (Start::Rebooting, Event::Time, State::Rebooting, &["probe 7"]),
    (Start::Rebooting, Event::End, State::Selecting, &["lost Expired", "Discover to all"]),
    (Start::Rebooting, Event::Ack, State::Probing, &["probe 7"]),
    (Start::Rebooting, Event::AckOfAnother, State::Probing, &["probe 8"]),
    (Start::Rebooting, Event::Nak, State::Selecting, &["lost Refused(None)", "Discover to all"]),
    (Start::Rebooting, Event::Taken, State::Init, &["Decline to all", "lost Taken"]),
    (Start::Rebooting, Event::LinkDown, State::Down, &[]),
    (Start::Rebooting, Event::LinkUp, State::Rebooting, &["Request to all"]),
    (Start::Rebooting, Event::Release, State::Released, &["Release to its server", "lost Released"]),
    (Start::Checking, Event::Time, State::Rebooting, &["Request to all"]),
    (Start::Checking, Event::End, State::Selecting, &["lost Expired", "Discover to all"]),
    (Start::Checking, Event::Ack, State::Probing, &[]),
    (Start::Checking, Event::AckOfAnother, State::Probing, &["probe 8"]),
    (Start::Checking, Event::Nak, State::Selecting, &["lost Refused(None)", "Discover to all"]),
    (Start::Checking, Event::Clear, State::Rebooting, &["unconfirmed 7"]),
    (Start::Checking, Event::Taken, State::Init, &["Decline to all", "lost Taken"]),
    (Start::Checking, Event::LinkDown, State::Down, &[]),
    (Start::Checking, Event::LinkUp, State::Rebooting, &["Request to all"]),
    (Start::Checking, Event::Release, State::Released, &["Release to its server", "lost Released"]),
    (Start::Returning, Event::Time, State::Rebooting, &["unconfirmed 7"]),
    (Start::Returning, Event::End, State::Selecting, &["lost Expired", "Discover to all"]),
    (Start::Returning, Event::Ack, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Returning, Event::AckOfAnother, State::Probing, &["probe 8"]),
    (Start::Returning, Event::Nak, State::Selecting, &["lost Refused(None)", "Discover to all"]),
    (Start::Returning, Event::Taken, State::Init, &["Decline to all", "lost Taken"]),
    (Start::Returning, Event::LinkDown, State::Down, &[]),
    (Start::Returning, Event::LinkUp, State::Rebooting, &["Request to all"]),
    (Start::Returning, Event::Release, State::Released, &["Release to its server", "lost Released"]),
    (Start::Down, Event::Time, State::Down, &["lost Expired"]),
    (Start::Down, Event::End, State::Down, &["lost Expired"]),
    (Start::Down, Event::LinkUp, State::Rebooting, &["Request to all"]),
    (Start::Down, Event::Release, State::Released, &["lost Released"]),
    (Start::DownWithout, Event::LinkUp, State::Selecting, &["Discover to all"]),
    (Start::DownWithout, Event::Release, State::Released, &[]),
];

#[test]
fn in_every_state_everything_that_can_happen_does_what_the_table_says() {
    let mut listed = 0;
    for start in STARTS {
        for event in EVENTS {
            let mut bench = start.bench();
            let before = bench.client.state();
            event.happen(&mut bench);
            let actions: Vec<String> = bench.poll().iter().map(words).collect();
            let row = TABLE.iter().find(|row| (row.0, row.1) == (start, event));
            let expected = row.map_or((before, &[][..]), |row| (row.2, row.3));
            listed += usize::from(row.is_some());
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            assert_eq!((bench.client.state(), actions.as_slice()), expected, "{start:?}, {event:?}");
        }
    }
    assert_eq!(listed, TABLE.len(), "a row is listed twice, or never applies");
}
