use super::super::record::kind;
use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::new(text.split('.')).unwrap()
}

fn address() -> Record {
    Record { name: name("web.local"), data: Data::A([192, 168, 88, 7].into()) }
}

fn srv() -> Record {
    let data = Data::Srv { priority: 0, weight: 0, port: 80, target: name("web.local") };
    Record { name: name("web._http._tcp.local"), data }
}

/// A message of raw records, each counted as an answer.
fn raw(records: &[&[u8]]) -> Vec<u8> {
    [&[0, 0, 0x84, 0, 0, 0, 0, records.len() as u8, 0, 0, 0, 0], &records.concat()[..]].concat()
}

const WEB: &[u8] = b"\x03web\x05local\x00\x00\x01\x80\x01\x00\x00\x00\x78\x00\x04\xc0\xa8\x58\x07";

#[test]
fn a_record_that_is_not_understood_does_not_spoil_the_others() {
    let root = |kind: u8, class: u8, length: u8| {
        [&[0, 0, kind, 0, class, 0, 0, 0, 9, 0, length], &[1; 9][..length.into()]].concat()
    };
    for (odd, read) in [
        (root(1, 3, 4), 1),  // another class
        (root(1, 1, 3), 1),  // an address of three bytes
        (root(33, 1, 6), 1), // a service without a host
        (root(250, 1, 9), 2),
    ] {
        let message = Message::read(&raw(&[&odd, WEB])).unwrap();
        assert_eq!(message.answers.len(), read, "{odd:?}");
        assert_eq!(message.answers[read - 1], Said { record: address(), ttl: 120, flush: true });
    }
}

#[test]
fn a_message_whose_frame_is_broken_counts_for_nothing() {
    let whole = raw(&[WEB, WEB]);
    assert!(Message::read(&whole).is_some());
    assert!((0..whole.len()).all(|length| Message::read(&whole[..length]).is_none()));
    let mut notify = whole.clone();
    notify[2] |= 0x20;
    assert!(Message::read(&notify).is_none(), "another kind of query");
    let long = [whole.clone(), vec![0; LONGEST]].concat();
    assert!(Message::read(&long[..LONGEST]).is_some() && Message::read(&long[..=LONGEST]).is_none());
    let counts = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert!(Message::read(&counts).is_none());
}

#[test]
fn what_others_write_with_pointers_reads() {
    // PTR, SRV and NSEC with pointers in their data; a question with the wish for a unicast answer.
    let bytes = [
        &[0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 0][..],
        b"\x05_http\x04_tcp\x05local\x00\x00\x0c\x80\x01", // at 12
        b"\xc0\x0c\x00\x0c\x00\x01\x00\x00\x11\x94\x00\x06\x03web\xc0\x0c", // instance at 46
        b"\xc0\x2e\x00\x21\x80\x01\x00\x00\x00\x78\x00\x0c\x00\x00\x00\x00\x00\x50\x03web\xc0\x17", // host at 70
        b"\xc0\x46\x00\x2f\x80\x01\x00\x00\x00\x78\x00\x05\xc0\x46\x00\x01\x40",
    ]
    .concat();
    let message = Message::read(&bytes).unwrap();
    assert_eq!(
        message.questions,
        [Question { name: name("_http._tcp.local"), kind: kind::PTR, unicast: true }]
    );
    let records: Vec<_> = message.answers.iter().map(|said| said.record.clone()).collect();
    let pointer = Record { name: name("_http._tcp.local"), data: Data::Ptr(name("web._http._tcp.local")) };
    let nsec = Record { name: name("web.local"), data: Data::only(&[kind::A]) };
    assert_eq!(records, [pointer, srv(), nsec]);
}

#[test]
fn names_are_compressed_and_in_a_service_only_where_it_is_understood() {
    let written = |mut writer: Writer| {
        assert!(writer.all(|writer| writer.record(Section::Answers, &srv(), 120, true)));
        assert!(writer.all(|writer| writer.record(Section::Additionals, &address(), 120, true)));
        writer.finish(false)
    };
    let (multicast, legacy) = (written(Writer::response(1440)), written(Writer::legacy(7, 1440)));
    assert_eq!((multicast.len() + 5, legacy.len(), legacy[1]), (legacy.len(), 77, 7));
    for bytes in [multicast, legacy] {
        let message = Message::read(&bytes).unwrap();
        assert_eq!(message.answers, [Said { record: srv(), ttl: 120, flush: true }]);
        assert_eq!(message.additionals, [Said { record: address(), ttl: 120, flush: true }]);
        let theirs = simple_dns::Packet::parse(&bytes).unwrap();
        assert_eq!(theirs.answers[0].name.to_string(), "web._http._tcp.local");
    }
}

#[test]
fn what_does_not_fit_leaves_no_trace() {
    let mut writer = Writer::response(HEADER + WEB.len() + 3);
    assert!(writer.all(|writer| writer.record(Section::Answers, &address(), 120, true)));
    assert!(!writer.all(|writer| writer.record(Section::Answers, &srv(), 120, true)));
    assert_eq!(writer.finish(false), raw(&[WEB]));
}

#[test]
fn nine_thousand_bytes_of_pointers_cost_little() {
    // Each of the names follows the longest chain that is followed at all.
    let mut bytes = b"\0\0\x84\0\0\0\0\x01\0\0\0\0\0\xff\0\0\x01\0\0\0\0\x04\0\0".to_vec();
    let start = bytes.len() as u16;
    bytes.extend(
        (0..512u16)
            .flat_map(|at| (0xc000 | if at == 0 { start - 1 } else { start + 2 * (at - 1) }).to_be_bytes()),
    );
    bytes[start as usize - 1] = 0;
    let mut count = 1u16;
    while bytes.len() + 12 <= LONGEST {
        bytes.extend(
            [&(0xc000 | (start + 2 * 120)).to_be_bytes()[..], &[0, 1, 0, 1, 0, 0, 0, 9, 0, 0]].concat(),
        );
        count += 1;
    }
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
    let _ = Message::read(&bytes);
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => "[a-z]{1,3}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 1..=63),
    ]
}

fn names() -> impl Strategy<Value = Name> {
    prop::collection::vec(label(), 0..4).prop_filter_map("too long", Name::new)
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| Data::A(ip.into())),
        any::<[u8; 16]>().prop_map(|ip| Data::Aaaa(ip.into())),
        names().prop_map(Data::Ptr),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|bytes| Data::Txt([vec![bytes.len() as u8], bytes].concat())),
        (any::<[u16; 3]>(), names()).prop_map(|([priority, weight, port], target)| Data::Srv {
            priority,
            weight,
            port,
            target
        }),
        Just(Data::only(&[kind::A, kind::AAAA])),
    ]
}

fn records() -> impl Strategy<Value = Vec<(Record, u32, bool)>> {
    let record = (names(), data()).prop_map(|(name, data)| Record { name, data });
    prop::collection::vec((record, any::<u32>(), any::<bool>()), 0..12)
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(prop_oneof![0..5u8, Just(0xc0), any::<u8>()], 0..200)) {
        let _ = Message::read(&bytes);
    }

    #[test]
    fn what_is_written_reads_back_here_and_by_another_library(
        questions in prop::collection::vec((names(), any::<bool>()), 0..4),
        records in records(),
        legacy in any::<bool>(),
        most in 12..1440usize,
    ) {
        let mut writer = if legacy { Writer::legacy(9, most) } else { Writer::response(most) };
        let mut expected = Message { id: if legacy { 9 } else { 0 }, response: true, ..Message::default() };
        for (name, unicast) in questions {
            let question = Question { name, kind: kind::ANY, unicast };
            if writer.all(|writer| writer.question(&question)) {
                expected.questions.push(question);
            }
        }
        for (record, ttl, flush) in records {
            if writer.all(|writer| writer.record(Section::Answers, &record, ttl, flush)) {
                expected.answers.push(Said { record, ttl, flush });
            }
        }
        let bytes = writer.finish(false);
        prop_assert!(bytes.len() <= most);
        prop_assert_eq!(&Message::read(&bytes), &Some(expected.clone()));

        let theirs = simple_dns::Packet::parse(&bytes).unwrap();
        prop_assert_eq!(theirs.questions.len(), expected.questions.len());
        for (theirs, ours) in theirs.answers.iter().zip(&expected.answers) {
            let labels: Vec<&[u8]> = theirs.name.as_bytes().collect();
            prop_assert_eq!(Name::new(labels), Some(ours.record.name.clone()));
            prop_assert_eq!((theirs.ttl, theirs.cache_flush), (ours.ttl, ours.flush));
        }
        // And what the other library writes, compressed or not, reads the same here.
        for bytes in [theirs.build_bytes_vec().unwrap(), theirs.build_bytes_vec_compressed().unwrap()] {
            let read = Message::read(&bytes).unwrap();
            prop_assert_eq!((read.questions, read.answers), (expected.questions.clone(), expected.answers.clone()));
        }
    }
}
