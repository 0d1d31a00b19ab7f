//! Requests and replies come out as they went in, and bytes that are neither are errors.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

prop_compose! {
    fn any_request()(
        name in bytes(),
        arguments in vec(bytes(), 0..4),
        environment in proptest::collection::btree_map("CNI_[A-Z]{0,6}", bytes(), 0..5),
        stdin in bytes(),
        opened in any::<Option<(u64, u64)>>(),
        unopened in proptest::option::of(".{0,20}"),
        delegated in proptest::option::of(proptest::option::of(bytes())),
    ) -> Request {
        let environment = environment.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
        let delegated = delegated.map(|answer| answer.map_or(Delegated::ToCome, Delegated::Answer));
        Request { name, arguments, environment, stdin, opened, unopened, delegated }
    }
}

fn decoded(request: &[u8]) -> Result<Request, WireError> {
    let (head, payload) = request.split_first_chunk().ok_or(WireError::Truncated)?;
    match Request::payload_length(head)? {
        length if length > payload.len() => Err(WireError::Truncated),
        length => Request::decode(&payload[..length]),
    }
}

fn decoded_reply(reply: &[u8]) -> Result<Reply, WireError> {
    let (head, rest) = reply.split_first_chunk().ok_or(WireError::Truncated)?;
    Reply::decode(ReplyHead::decode(head)?, rest.to_vec())
}

proptest! {
    #[test]
    fn a_request_comes_out_as_it_went_in(request in any_request()) {
        prop_assert_eq!(decoded(&request.encode().unwrap()), Ok(request));
    }

    #[test]
    fn a_reply_comes_out_as_it_went_in(code in 0..=255, stdout in bytes(), stderr in bytes()) {
        let reply = Reply { code, stdout, stderr };
        prop_assert_eq!(decoded_reply(&reply.encode().unwrap()), Ok(reply));
    }

    #[test]
    fn what_is_cut_off_anywhere_is_truncated(request in any_request(), at in any::<prop::sample::Index>()) {
        let encoded = request.encode().unwrap();
        let cut = &encoded[..at.index(encoded.len())];
        prop_assert_eq!(decoded(cut), Err(WireError::Truncated));
        // The payload alone is cut off between two records, or is truncated too.
        if let Some(payload) = cut.get(REQUEST_HEAD..) {
            prop_assert!(matches!(Request::decode(payload), Ok(_) | Err(WireError::Truncated)));
        }
        let reply = Reply { code: 0, stdout: request.stdin, stderr: request.name }.encode().unwrap();
        prop_assert_eq!(decoded_reply(&reply[..at.index(reply.len())]), Err(WireError::Truncated));
    }

    #[test]
    fn any_bytes_are_a_request_or_an_error(payload in vec(0_u8..8, 0..60), head in any::<[u8; REPLY_HEAD]>()) {
        if let Ok(request) = Request::decode(&payload) {
            prop_assert_eq!(decoded(&request.encode().unwrap()), Ok(request));
        }
        let _ = ReplyHead::decode(&head);
    }
}

/// A record of a request.
fn record(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag][..], &(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

#[test]
fn the_bytes_are_those_of_the_protocol() {
    let request = Request {
        name: b"ashore".to_vec(),
        arguments: vec![b"setup".to_vec(), b"/run/netns/x".to_vec()],
        environment: vec![(b"CNI_IFNAME".to_vec(), b"a=b".to_vec())],
        stdin: b"{}".to_vec(),
        opened: Some((0x0102, 0xa1b2)),
        unopened: Some("why".to_owned()),
        delegated: Some(Delegated::Answer(b"{}".to_vec())),
    };
    let payload = [
        record(1, b"ashore"),
        record(2, b"setup"),
        record(2, b"/run/netns/x"),
        record(3, b"CNI_IFNAME=a=b"),
        record(4, b"{}"),
        record(8, b"\x02\x01\0\0\0\0\0\0\xb2\xa1\0\0\0\0\0\0"),
        record(5, b"why"),
        record(6, b"{}"),
    ]
    .concat();
    let head = [b"ASHP\x01", &(payload.len() as u32).to_le_bytes()[..]].concat();
    assert_eq!(request.encode().unwrap(), [head, payload].concat());
    assert_eq!(request.variable("CNI_IFNAME"), Some(&b"a=b"[..]));
    assert_eq!(request.variable("CNI_NETNS"), None);
    let reply = Reply { code: 1, stdout: b"out".to_vec(), stderr: b"err!".to_vec() };
    assert_eq!(reply.encode().unwrap(), b"ASHP\x01\x01\0\0\0\x03\0\0\0\x04\0\0\0outerr!");
}

#[test]
fn an_empty_answer_is_not_one_that_is_to_come() {
    for (delegated, there) in
        [(Delegated::ToCome, record(7, b"")), (Delegated::Answer(Vec::new()), record(6, b""))]
    {
        assert_eq!(Request::decode(&there).unwrap().delegated, Some(delegated));
    }
}

#[test]
fn what_is_missing_is_empty() {
    assert_eq!(Request::decode(b""), Ok(Request::default()));
}

#[test]
fn bytes_of_something_else_are_an_error() {
    for (payload, error) in [
        (record(9, b""), WireError::UnknownTag(9)),
        (record(8, b""), WireError::Truncated),
        (record(8, &[0; 17]), WireError::Trailing),
        ([record(8, &[0; 16]), record(8, &[0; 16])].concat(), WireError::Repeated("a file")),
        (record(0, b""), WireError::UnknownTag(0)),
        ([record(1, b"a"), record(1, b"a")].concat(), WireError::Repeated("its name")),
        ([record(4, b""), record(4, b"")].concat(), WireError::Repeated("standard input")),
        ([record(5, b""), record(5, b"")].concat(), WireError::Repeated("a reason")),
        ([record(6, b""), record(6, b"")].concat(), WireError::Repeated("another plugin's answer")),
        ([record(7, b""), record(6, b"")].concat(), WireError::Repeated("another plugin's answer")),
        (record(7, b"x"), WireError::TooLong { what: "another plugin's answer", most: 0 }),
        (
            [record(3, b"CNI_A=1"), record(3, b"CNI_A=2")].concat(),
            WireError::Repeated("an environment variable"),
        ),
        (record(3, b"PATH=/bin"), WireError::NoVariable),
        (record(3, b"CNI_ARGS"), WireError::NoVariable),
        (record(5, b"\xff"), WireError::NotText),
        (b"\x01\xff\xff\xff\xffx".to_vec(), WireError::Truncated),
    ] {
        assert_eq!(Request::decode(&payload), Err(error), "{payload:?}");
    }
    assert_eq!(Request::payload_length(b"ASHQ\x01\0\0\0\0"), Err(WireError::NotOurs));
    assert_eq!(Request::payload_length(b"ASHP\x02\0\0\0\0"), Err(WireError::Version(2)));
    let head = |head: &[u8; REPLY_HEAD]| ReplyHead::decode(head);
    assert_eq!(head(b"ASHP\0\0\0\0\0\0\0\0\0\0\0\0\0"), Err(WireError::Version(0)));
    assert_eq!(head(b"HTTP/1.1 400 Bad "), Err(WireError::NotOurs));
    assert_eq!(head(b"ASHP\x01\0\x01\0\0\0\0\0\0\0\0\0\0"), Err(WireError::ExitCode(256)));
    assert_eq!(head(b"ASHP\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0"), Err(WireError::ExitCode(-1)));
    let whole = head(b"ASHP\x01\0\0\0\0\x01\0\0\0\0\0\0\0").unwrap();
    assert_eq!(Reply::decode(whole, b"ab".to_vec()), Err(WireError::Trailing));
    for error in [WireError::NoVariable, WireError::TooManyRecords, WireError::NotText, WireError::Trailing] {
        assert!(error.to_string().starts_with("it "), "{error}");
    }
}

/// The error about something that is too long.
fn too_long<T>(result: Result<T, WireError>) -> &'static str {
    match result {
        Err(WireError::TooLong { what, .. }) => what,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is not too long"),
    }
}

#[test]
fn everything_is_bounded_on_both_sides() {
    let stdin = |length| Request { stdin: vec![b' '; length], ..Request::default() };
    let longest = stdin(STDIN_MAX);
    assert_eq!(decoded(&longest.encode().unwrap()), Ok(longest));
    assert_eq!(too_long(stdin(STDIN_MAX + 1).encode()), "standard input");
    assert_eq!(too_long(Request::decode(&record(4, &vec![b' '; STDIN_MAX + 1]))), "standard input");

    let argument = |length| Request { arguments: vec![vec![b'x'; length]], ..Request::default() };
    let longest = argument(PAYLOAD_MAX - 15);
    assert_eq!(decoded(&longest.encode().unwrap()), Ok(longest));
    assert_eq!(too_long(argument(PAYLOAD_MAX - 14).encode()), "the request");
    assert_eq!(too_long(Request::decode(&record(2, &vec![b'x'; PAYLOAD_MAX]))), "the request");
    let head = |length: usize| {
        let head = [b"ASHP\x01", &(length as u32).to_le_bytes()[..]].concat();
        Request::payload_length(&head.try_into().unwrap())
    };
    assert_eq!(head(PAYLOAD_MAX), Ok(PAYLOAD_MAX));
    assert_eq!(too_long(head(PAYLOAD_MAX + 1)), "the request");
    assert_eq!(too_long(head(u32::MAX as usize)), "the request");

    let arguments = |count| Request { arguments: vec![Vec::new(); count], ..Request::default() };
    let most = arguments(RECORDS_MAX - 2);
    assert_eq!(decoded(&most.encode().unwrap()), Ok(most));
    assert_eq!(arguments(RECORDS_MAX - 1).encode(), Err(WireError::TooManyRecords));
    let records = record(2, b"").repeat(RECORDS_MAX + 1);
    assert_eq!(Request::decode(&records), Err(WireError::TooManyRecords));

    let reply = |stdout, stderr| Reply { code: 0, stdout: vec![0; stdout], stderr: vec![0; stderr] };
    let longest = reply(OUTPUT_MAX, OUTPUT_MAX);
    assert_eq!(decoded_reply(&longest.encode().unwrap()), Ok(longest));
    assert_eq!(too_long(reply(OUTPUT_MAX + 1, 0).encode()), "standard output");
    assert_eq!(too_long(reply(0, OUTPUT_MAX + 1).encode()), "standard error");
    assert_eq!(Reply { code: 256, ..Reply::default() }.encode(), Err(WireError::ExitCode(256)));
    assert_eq!(too_long(ReplyHead::decode(b"ASHP\x01\0\0\0\0\x01\0\x10\0\0\0\0\0")), "standard output");
    assert_eq!(too_long(ReplyHead::decode(b"ASHP\x01\0\0\0\0\0\0\0\0\x01\0\x10\0")), "standard error");
}
