use std::collections::hash_map::DefaultHasher;

use proptest::prelude::*;

use super::*;

fn hash_of<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn a_text_takes_at_most_five_words() {
    assert!(size_of::<Text>() <= 40, "{}", size_of::<Text>());
}

#[test]
fn a_long_slice_shares_its_block_and_a_short_one_does_not() {
    let block = Bytes::from(vec![b'x'; 100]);
    let long = Text::slice_of(&block, 10..60);
    let start = block.as_ptr() as usize;
    let at = long.as_ptr() as usize;
    assert_eq!(at, start + 10);
    let detached = long.detached().as_ptr() as usize;
    assert!(!(start..start + 100).contains(&detached));
    let short = Text::slice_of(&block, 0..INLINE_BYTES_MAX);
    drop(block);
    assert_eq!(short.len(), INLINE_BYTES_MAX);
}

#[test]
fn a_unique_text_is_lowered_where_it_lies() {
    let text = Text::from(vec![b'X'; 64]);
    let at = text.as_ptr();
    let lowered = text.to_ascii_lowercase();
    assert_eq!((lowered.as_ptr(), lowered.as_bytes()), (at, [b'x'; 64].as_slice()));
}

#[test]
fn invalid_utf8_is_kept_and_shown_as_replacement() {
    let text = Text::from(b"a\xffb".as_slice());
    assert_eq!(text.as_bytes(), b"a\xffb");
    assert!(text.as_str().is_err());
    assert_eq!(text.to_string(), "a\u{fffd}b");
    assert_eq!(format!("{text:?}"), r#""a\xffb""#);
    assert_eq!(serde_json::to_string(&text).unwrap(), "\"a\u{fffd}b\"");
}

proptest! {
    #[test]
    fn a_text_is_its_bytes(a in proptest::collection::vec(any::<u8>(), 0..60), b in proptest::collection::vec(0_u8..3, 0..60)) {
        let (left, right) = (Text::from(a.as_slice()), Text::from(b.clone()));
        prop_assert_eq!(left.as_bytes(), a.as_slice());
        prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        prop_assert_eq!(left == right, a == b);
        prop_assert_eq!(hash_of(&left), hash_of(a.as_slice()));
        let lowered = left.clone().to_ascii_lowercase();
        prop_assert_eq!(lowered.as_bytes(), a.to_ascii_lowercase());
        let found: Vec<Text> = left.clone().into_words().collect();
        prop_assert_eq!(found, words(&a).map(Text::from).collect::<Vec<_>>());
    }

    #[test]
    fn a_text_travels_as_a_byte_string(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let encoded = elastic_flow_wire::encode_to_vec(&Text::from(bytes.as_slice())).unwrap();
        prop_assert_eq!(&encoded, &elastic_flow_wire::encode_to_vec(&bytes).unwrap());
        prop_assert_eq!(elastic_flow_wire::decode::<Text>(&encoded).unwrap(), Text::from(bytes));
    }

    #[test]
    fn a_slice_is_the_slice_of_its_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80), a in 0_usize..90, b in 0_usize..90) {
        let text = Text::from(bytes.as_slice());
        let (start, end) = (a.min(bytes.len()).min(b.min(bytes.len())), b.min(bytes.len()));
        let part = text.slice(a..b);
        prop_assert_eq!(part.as_bytes(), &bytes[start..end]);
    }
}
