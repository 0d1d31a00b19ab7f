//! A test of every event in every state.

use super::*;

/// The situation in which the event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// After an answered DECLINE.
    Pausing,
    Soliciting,
    /// Soliciting, with an offer.
    Collecting,
    Requesting,
    /// Renewing, and the server has forgotten the lease.
    Restoring,
    Probing,
    Bound,
    Renewing,
    Rebinding,
    /// Renewing, and the server has assigned another address.
    Moving,
    /// With a recorded lease whose address is not on the link.
    Confirming,
    /// As `Confirming`, but no server has answered, and the address is being probed.
    Checking,
    /// With a recorded lease whose address is on the link.
    Returning,
    Declining,
    Releasing,
    /// With a lease, but without a carrier.
    Down,
    /// Without a lease and without a carrier.
    DownWithout,
    Released,
}

const STARTS: [Start; 18] = [
    Start::Pausing,
    Start::Soliciting,
    Start::Collecting,
    Start::Requesting,
    Start::Restoring,
    Start::Probing,
    Start::Bound,
    Start::Renewing,
    Start::Rebinding,
    Start::Moving,
    Start::Confirming,
    Start::Checking,
    Start::Returning,
    Start::Declining,
    Start::Releasing,
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
    /// An ADVERTISE, with the preference 0, or 255 for `Insist`.
    Offer,
    Insist,
    /// An ADVERTISE without an address.
    NoOffer,
    Reply,
    /// A REPLY with rapid commit.
    RapidReply,
    ReplyOfAnother,
    ReplyOfAnotherServer,
    /// A REPLY that withdraws the address.
    Withdrawal,
    /// A REPLY without an `IA_NA`, with the status `Success`.
    Success,
    UnspecFail,
    NoAddrsAvail,
    NoBinding,
    NotOnLink,
    UseMulticast,
    Reconfigure,
    Clear,
    Taken,
    LinkDown,
    LinkUp,
    Release,
}

const EVENTS: [Event; 22] = [
    Event::Time,
    Event::End,
    Event::Offer,
    Event::Insist,
    Event::NoOffer,
    Event::Reply,
    Event::RapidReply,
    Event::ReplyOfAnother,
    Event::ReplyOfAnotherServer,
    Event::Withdrawal,
    Event::Success,
    Event::UnspecFail,
    Event::NoAddrsAvail,
    Event::NoBinding,
    Event::NotOnLink,
    Event::UseMulticast,
    Event::Reconfigure,
    Event::Clear,
    Event::Taken,
    Event::LinkDown,
    Event::LinkUp,
    Event::Release,
];

impl Start {
    fn bench(self) -> Bench {
        let mut bench = match self {
            Start::Soliciting | Start::Collecting | Start::DownWithout => Bench::soliciting(),
            Start::Requesting => Bench::requesting(),
            Start::Probing | Start::Pausing | Start::Declining => Bench::probing(),
            Start::Confirming | Start::Checking => Bench::resumed(100, false),
            Start::Returning => Bench::resumed(100, true),
            _ => Bench::bound(),
        };
        bench.poll();
        match self {
            Start::Collecting => bench.offer(0).unwrap(),
            Start::Pausing | Start::Declining => bench.client.taken(IP, bench.now),
            Start::Renewing | Start::Moving | Start::Restoring => drop(bench.wait_until(State::Renewing)),
            Start::Rebinding => drop(bench.wait_until(State::Rebinding)),
            Start::Checking => while bench.wait().iter().map(words).all(|word| word != "probe 7") {},
            Start::Down | Start::DownWithout => bench.client.link_down(),
            Start::Released | Start::Releasing => bench.client.release(bench.now),
            _ => {}
        }
        bench.poll();
        match self {
            Start::Moving => bench.give(OTHER_IP).unwrap(),
            Start::Restoring => Event::NoBinding.happen(&mut bench),
            Start::Pausing | Start::Released => Event::Success.happen(&mut bench),
            _ => {}
        }
        bench.poll();
        bench
    }
}

impl Event {
    fn happen(self, bench: &mut Bench) {
        let now = bench.now;
        let failed = |number: u16| [association([0, 0], &[status(number)])];
        let preferring = |preference: u8| [gives(IP), (code::PREFERENCE, vec![preference])];
        let message = match self {
            Event::Time => return bench.now = bench.until.unwrap_or(now),
            Event::End => return bench.now += seconds(2000),
            Event::Clear => return bench.client.clear(probed(&bench.client)),
            Event::Taken => return bench.client.taken(probed(&bench.client), now),
            Event::LinkDown => return bench.client.link_down(),
            Event::LinkUp => return bench.client.link_up(now),
            Event::Release => return bench.client.release(now),
            Event::Offer => bench.reply(Kind::Advertise, &preferring(0)),
            Event::Insist => bench.reply(Kind::Advertise, &preferring(255)),
            Event::NoOffer => bench.reply(Kind::Advertise, &failed(2)),
            Event::Reply => bench.reply(Kind::Reply, &[gives(IP)]),
            Event::RapidReply => bench.reply(Kind::Reply, &[gives(IP), (code::RAPID_COMMIT, vec![])]),
            Event::ReplyOfAnother => bench.reply(Kind::Reply, &[gives(OTHER_IP)]),
            Event::ReplyOfAnotherServer => {
                let mut reply = bench.reply(Kind::Reply, &[gives(IP)]);
                reply.options.set(code::SERVER_ID, server(OTHER_SERVER).bytes());
                reply
            }
            Event::Withdrawal => bench.reply(Kind::Reply, &[association([0, 0], &[address(IP, [0, 0])])]),
            Event::Success => bench.reply(Kind::Reply, &[status(0)]),
            Event::UnspecFail => bench.reply(Kind::Reply, &[status(1)]),
            Event::NoAddrsAvail => bench.reply(Kind::Reply, &failed(2)),
            Event::NoBinding => bench.reply(Kind::Reply, &failed(3)),
            Event::NotOnLink => bench.reply(Kind::Reply, &[status(4)]),
            Event::UseMulticast => bench.reply(Kind::Reply, &[status(5)]),
            Event::Reconfigure => bench.reply(Kind::Reconfigure, &[]),
        };
        let _ = bench.hear(&message);
    }
}

/// The address that is probed or would be probed.
fn probed(client: &Client) -> Ipv6Addr {
    match &client.phase {
        Phase::Probing { candidate, .. } => candidate.ip(),
        _ => IP,
    }
}

/// The next state and the actions for each event. An event that is not listed changes nothing and causes no
/// action.
const TABLE: &[(Start, Event, State, &[&str])] = &[
    (Start::Pausing, Event::Time, State::Soliciting, &["Solicit"]),
    (Start::Pausing, Event::End, State::Soliciting, &["Solicit"]),
    (Start::Pausing, Event::LinkDown, State::Down, &[]),
    (Start::Pausing, Event::LinkUp, State::Soliciting, &["Solicit"]),
    (Start::Pausing, Event::Release, State::Released, &[]),
    (Start::Soliciting, Event::Time, State::Soliciting, &["Solicit"]),
    (Start::Soliciting, Event::End, State::Soliciting, &["Solicit"]),
    (Start::Soliciting, Event::Insist, State::Requesting, &["Request"]),
    (Start::Soliciting, Event::RapidReply, State::Probing, &["probe 7"]),
    (Start::Soliciting, Event::LinkDown, State::Down, &[]),
    (Start::Soliciting, Event::LinkUp, State::Soliciting, &["Solicit"]),
    (Start::Soliciting, Event::Release, State::Released, &[]),
    (Start::Collecting, Event::Time, State::Requesting, &["Request"]),
    (Start::Collecting, Event::End, State::Requesting, &["Request"]),
    (Start::Collecting, Event::Insist, State::Requesting, &["Request"]),
    (Start::Collecting, Event::RapidReply, State::Probing, &["probe 7"]),
    (Start::Collecting, Event::LinkDown, State::Down, &[]),
    (Start::Collecting, Event::LinkUp, State::Soliciting, &["Solicit"]),
    (Start::Collecting, Event::Release, State::Released, &[]),
    (Start::Requesting, Event::Time, State::Requesting, &["Request"]),
    (Start::Requesting, Event::End, State::Requesting, &["Request"]),
    (Start::Requesting, Event::Reply, State::Probing, &["probe 7"]),
    (Start::Requesting, Event::RapidReply, State::Probing, &["probe 7"]),
    (Start::Requesting, Event::ReplyOfAnother, State::Probing, &["probe 8"]),
    (Start::Requesting, Event::NoAddrsAvail, State::Soliciting, &["Solicit"]),
    (Start::Requesting, Event::NoBinding, State::Soliciting, &["Solicit"]),
    (Start::Requesting, Event::NotOnLink, State::Soliciting, &["Solicit"]),
    (Start::Requesting, Event::LinkDown, State::Down, &[]),
    (Start::Requesting, Event::LinkUp, State::Soliciting, &["Solicit"]),
    (Start::Requesting, Event::Release, State::Released, &[]),
    (Start::Restoring, Event::Time, State::Requesting, &["Request"]),
    (Start::Restoring, Event::End, State::Requesting, &["lost Expired", "Request"]),
    (Start::Restoring, Event::Reply, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Restoring, Event::RapidReply, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Restoring, Event::ReplyOfAnother, State::Probing, &["probe 8"]),
    (Start::Restoring, Event::NoAddrsAvail, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Restoring, Event::NoBinding, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Restoring, Event::NotOnLink, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Restoring, Event::Withdrawal, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Restoring, Event::Taken, State::Declining, &["lost Taken", "Decline"]),
    (Start::Restoring, Event::LinkDown, State::Down, &[]),
    (Start::Restoring, Event::LinkUp, State::Confirming, &["Confirm"]),
    (Start::Restoring, Event::Release, State::Releasing, &["lost Released", "Release"]),
    (Start::Probing, Event::Time, State::Soliciting, &["Solicit"]),
    (Start::Probing, Event::End, State::Soliciting, &["Solicit"]),
    (Start::Probing, Event::Clear, State::Bound, &["bound 7 New"]),
    (Start::Probing, Event::Taken, State::Declining, &["Decline"]),
    (Start::Probing, Event::LinkDown, State::Down, &[]),
    (Start::Probing, Event::LinkUp, State::Soliciting, &["Solicit"]),
    (Start::Probing, Event::Release, State::Releasing, &["Release"]),
    (Start::Bound, Event::Time, State::Renewing, &["Renew"]),
    (Start::Bound, Event::End, State::Soliciting, &["lost Expired", "Solicit"]),
    (Start::Bound, Event::Taken, State::Declining, &["lost Taken", "Decline"]),
    (Start::Bound, Event::LinkDown, State::Down, &[]),
    (Start::Bound, Event::LinkUp, State::Confirming, &["Confirm"]),
    (Start::Bound, Event::Release, State::Releasing, &["lost Released", "Release"]),
    (Start::Renewing, Event::Time, State::Renewing, &["Renew"]),
    (Start::Renewing, Event::End, State::Soliciting, &["lost Expired", "Solicit"]),
    (Start::Renewing, Event::Reply, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Renewing, Event::RapidReply, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Renewing, Event::ReplyOfAnother, State::Probing, &["probe 8"]),
    (Start::Renewing, Event::Withdrawal, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Renewing, Event::NoBinding, State::Requesting, &["Request"]),
    (Start::Renewing, Event::NotOnLink, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Renewing, Event::Taken, State::Declining, &["lost Taken", "Decline"]),
    (Start::Renewing, Event::LinkDown, State::Down, &[]),
    (Start::Renewing, Event::LinkUp, State::Confirming, &["Confirm"]),
    (Start::Renewing, Event::Release, State::Releasing, &["lost Released", "Release"]),
    (Start::Rebinding, Event::Time, State::Rebinding, &["Rebind"]),
    (Start::Rebinding, Event::End, State::Soliciting, &["lost Expired", "Solicit"]),
    (Start::Rebinding, Event::Reply, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Rebinding, Event::RapidReply, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Rebinding, Event::ReplyOfAnother, State::Probing, &["probe 8"]),
    (Start::Rebinding, Event::ReplyOfAnotherServer, State::Bound, &["bound 7 Renewed([Server])"]),
    (Start::Rebinding, Event::Withdrawal, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Rebinding, Event::NoBinding, State::Requesting, &["Request"]),
    (Start::Rebinding, Event::NotOnLink, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Rebinding, Event::Taken, State::Declining, &["lost Taken", "Decline"]),
    (Start::Rebinding, Event::LinkDown, State::Down, &[]),
    (Start::Rebinding, Event::LinkUp, State::Confirming, &["Confirm"]),
    (Start::Rebinding, Event::Release, State::Releasing, &["lost Released", "Release"]),
    (Start::Moving, Event::Time, State::Probing, &["lost Expired"]),
    (Start::Moving, Event::End, State::Soliciting, &["lost Expired", "Solicit"]),
    (Start::Moving, Event::Clear, State::Bound, &["bound 8 Renewed([Address])"]),
    (Start::Moving, Event::Taken, State::Declining, &["lost Taken", "Decline"]),
    (Start::Moving, Event::LinkDown, State::Down, &[]),
    (Start::Moving, Event::LinkUp, State::Confirming, &["Confirm"]),
    (Start::Moving, Event::Release, State::Releasing, &["lost Released", "Release"]),
    (Start::Confirming, Event::Time, State::Confirming, &["Confirm"]),
    (Start::Confirming, Event::End, State::Soliciting, &["lost Expired", "Solicit"]),
    (Start::Confirming, Event::Reply, State::Probing, &["probe 7"]),
    (Start::Confirming, Event::RapidReply, State::Probing, &["probe 7"]),
    (Start::Confirming, Event::ReplyOfAnother, State::Probing, &["probe 7"]),
    (Start::Confirming, Event::ReplyOfAnotherServer, State::Probing, &["probe 7"]),
    (Start::Confirming, Event::Withdrawal, State::Probing, &["probe 7"]),
    (Start::Confirming, Event::Success, State::Probing, &["probe 7"]),
    (Start::Confirming, Event::NoAddrsAvail, State::Probing, &["probe 7"]),
    (Start::Confirming, Event::NoBinding, State::Probing, &["probe 7"]),
    (Start::Confirming, Event::NotOnLink, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Confirming, Event::Taken, State::Declining, &["lost Taken", "Decline"]),
    (Start::Confirming, Event::LinkDown, State::Down, &[]),
    (Start::Confirming, Event::LinkUp, State::Confirming, &["Confirm"]),
    (Start::Confirming, Event::Release, State::Releasing, &["lost Released", "Release"]),
    (Start::Checking, Event::Time, State::Confirming, &["Confirm"]),
    (Start::Checking, Event::End, State::Soliciting, &["lost Expired", "Solicit"]),
    (Start::Checking, Event::Reply, State::Probing, &[]),
    (Start::Checking, Event::RapidReply, State::Probing, &[]),
    (Start::Checking, Event::ReplyOfAnother, State::Probing, &[]),
    (Start::Checking, Event::ReplyOfAnotherServer, State::Probing, &[]),
    (Start::Checking, Event::Withdrawal, State::Probing, &[]),
    (Start::Checking, Event::Success, State::Probing, &[]),
    (Start::Checking, Event::NoAddrsAvail, State::Probing, &[]),
    (Start::Checking, Event::NoBinding, State::Probing, &[]),
    (Start::Checking, Event::Clear, State::Confirming, &["unconfirmed 7"]),
    (Start::Checking, Event::NotOnLink, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Checking, Event::Taken, State::Declining, &["lost Taken", "Decline"]),
    (Start::Checking, Event::LinkDown, State::Down, &[]),
    (Start::Checking, Event::LinkUp, State::Confirming, &["Confirm"]),
    (Start::Checking, Event::Release, State::Releasing, &["lost Released", "Release"]),
    (Start::Returning, Event::Time, State::Confirming, &["Confirm"]),
    (Start::Returning, Event::End, State::Soliciting, &["lost Expired", "Solicit"]),
    (Start::Returning, Event::Reply, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Returning, Event::RapidReply, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Returning, Event::ReplyOfAnother, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Returning, Event::ReplyOfAnotherServer, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Returning, Event::Withdrawal, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Returning, Event::Success, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Returning, Event::NoAddrsAvail, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Returning, Event::NoBinding, State::Bound, &["bound 7 Renewed([])"]),
    (Start::Returning, Event::NotOnLink, State::Soliciting, &["lost Refused(None)", "Solicit"]),
    (Start::Returning, Event::Taken, State::Declining, &["lost Taken", "Decline"]),
    (Start::Returning, Event::LinkDown, State::Down, &[]),
    (Start::Returning, Event::LinkUp, State::Confirming, &["Confirm"]),
    (Start::Returning, Event::Release, State::Releasing, &["lost Released", "Release"]),
    (Start::Declining, Event::Time, State::Declining, &["Decline"]),
    (Start::Declining, Event::End, State::Declining, &["Decline"]),
    (Start::Declining, Event::Reply, State::Init, &[]),
    (Start::Declining, Event::RapidReply, State::Init, &[]),
    (Start::Declining, Event::ReplyOfAnother, State::Init, &[]),
    (Start::Declining, Event::Withdrawal, State::Init, &[]),
    (Start::Declining, Event::Success, State::Init, &[]),
    (Start::Declining, Event::UnspecFail, State::Init, &[]),
    (Start::Declining, Event::NoAddrsAvail, State::Init, &[]),
    (Start::Declining, Event::NoBinding, State::Init, &[]),
    (Start::Declining, Event::NotOnLink, State::Init, &[]),
    (Start::Declining, Event::UseMulticast, State::Init, &[]),
    (Start::Declining, Event::LinkDown, State::Down, &[]),
    (Start::Declining, Event::LinkUp, State::Soliciting, &["Solicit"]),
    (Start::Declining, Event::Release, State::Released, &[]),
    (Start::Releasing, Event::Time, State::Releasing, &["Release"]),
    (Start::Releasing, Event::End, State::Releasing, &["Release"]),
    (Start::Releasing, Event::Reply, State::Released, &[]),
    (Start::Releasing, Event::RapidReply, State::Released, &[]),
    (Start::Releasing, Event::ReplyOfAnother, State::Released, &[]),
    (Start::Releasing, Event::Withdrawal, State::Released, &[]),
    (Start::Releasing, Event::Success, State::Released, &[]),
    (Start::Releasing, Event::UnspecFail, State::Released, &[]),
    (Start::Releasing, Event::NoAddrsAvail, State::Released, &[]),
    (Start::Releasing, Event::NoBinding, State::Released, &[]),
    (Start::Releasing, Event::NotOnLink, State::Released, &[]),
    (Start::Releasing, Event::UseMulticast, State::Released, &[]),
    (Start::Releasing, Event::LinkDown, State::Released, &[]),
    (Start::Releasing, Event::LinkUp, State::Released, &[]),
    (Start::Down, Event::Time, State::Down, &["lost Expired"]),
    (Start::Down, Event::End, State::Down, &["lost Expired"]),
    (Start::Down, Event::LinkUp, State::Confirming, &["Confirm"]),
    (Start::Down, Event::Release, State::Released, &["lost Released"]),
    (Start::DownWithout, Event::LinkUp, State::Soliciting, &["Solicit"]),
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
            let actions = bench.said();
            let row = TABLE.iter().find(|row| (row.0, row.1) == (start, event));
            let expected = row.map_or((before, &[][..]), |row| (row.2, row.3));
            listed += usize::from(row.is_some());
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            assert_eq!((bench.client.state(), actions.as_slice()), expected, "{start:?}, {event:?}");
        }
    }
    assert_eq!(listed, TABLE.len(), "a row is listed twice, or never applies");
}
