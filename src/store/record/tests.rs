//! Plain texts there and back, and those of other versions.

use proptest::prelude::*;

use super::*;

/// A record with everything in it.
pub(in crate::store) fn full(generation: u64) -> Record {
    Record {
        serial: Some("1234567890".into()),
        ticket: Some(ticket::Memo {
            value: "7T:hush\"\\\u{1}".into(),
            secret: [7; 32],
            token: [8; 32],
            generation,
            issued: "2026-11-29T17:00:00.123456789Z".parse().unwrap(),
            last_used: Some("2026-11-29T18:00:00Z".parse().unwrap()),
            accepted: true,
        }),
        state: Some(state::Memo {
            base: Some("https://online2.superoffice.com/Cust12345/api".into()),
            endpoint: Some("https://online2.superoffice.com/Cust12345".into()),
            previous: vec!["https://online1.superoffice.com/Cust12345/api".into()],
            document: Some(b"{\"State\":\"Running\"}".to_vec()),
            fetched: "2026-11-29T16:00:00Z".parse().unwrap(),
        }),
    }
}

fn value(record: &Record) -> serde_json::Value {
    serde_json::from_slice(&record.encode().unwrap()).unwrap()
}

fn decode(value: &serde_json::Value) -> Result<Record, Damage> {
    Record::decode(value.to_string().as_bytes())
}

#[test]
fn a_record_comes_back_as_it_was() {
    for record in [full(9), Record::default(), Record { state: None, ..full(1) }, Record { ticket: None, ..full(1) }] {
        let back = Record::decode(&record.encode().unwrap()).unwrap();
        assert_eq!(value(&back), value(&record));
        let (ticket, old) = (back.ticket, record.ticket);
        assert_eq!(ticket.map(|memo| memo.value.expose_secret().to_owned()), old.map(|memo| memo.value.expose_secret().to_owned()));
        assert_eq!((back.state, back.serial), (record.state, record.serial));
    }
}

#[test]
fn the_buffer_never_grows() {
    let bytes = full(9).encode().unwrap();
    assert_eq!(bytes.len(), bytes.capacity());
}

#[test]
fn what_a_later_version_adds_is_ignored_and_what_must_be_there_is_missed() {
    let mut more = value(&full(3));
    more["later"] = "x".into();
    more["ticket"]["later"] = serde_json::json!({"a": [1]});
    assert_eq!(decode(&more).unwrap().ticket.unwrap().generation, 3);
    more["version"] = 2.into();
    more["ticket"] = "elsewhere".into();
    assert_eq!(decode(&more).unwrap_err(), Damage::Version(2));
    for (part, member) in
        [("ticket", "value"), ("ticket", "secret"), ("ticket", "generation"), ("ticket", "accepted"), ("state", "fetched")]
    {
        let mut less = value(&full(3));
        less[part].as_object_mut().unwrap().remove(member).unwrap();
        assert_eq!(decode(&less).unwrap_err(), JSON, "{member}");
    }
    for (member, wrong) in [("value", "no base64"), ("token", "aHVzaA=="), ("issued", "soon")] {
        let mut other = value(&full(3));
        other["ticket"][member] = wrong.into();
        assert_eq!(decode(&other).unwrap_err(), JSON, "{member}");
    }
}

#[test]
fn a_record_without_bounds_is_not_written() {
    let mut record = full(1);
    record.state.as_mut().unwrap().document = Some(vec![b' '; MAX_BYTES]);
    assert!(record.encode().unwrap_err().to_string().contains("larger than 1 MiB"));
}

#[test]
fn nothing_shows_the_ticket() {
    let shown = format!("{:?} {:#?}", full(9), full(9));
    assert!(!shown.contains("hush") && !shown.contains("7, 7") && shown.contains("generation: 9"), "{shown}");
    let mut wrong = value(&full(3));
    wrong["ticket"]["generation"] = "hush".into();
    assert!(!format!("{:?}", decode(&wrong).unwrap_err()).contains("hush"));
}

proptest! {
    #[test]
    fn no_plain_text_makes_it_panic(bytes: Vec<u8>, at in 0usize..900, with: u8) {
        let _ = Record::decode(&bytes);
        let mut altered = full(5).encode().unwrap();
        let length = altered.len();
        altered[at % length] = with;
        let _ = Record::decode(&altered);
        let _ = Record::decode(&altered[..at % length]);
    }
}
