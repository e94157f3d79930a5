//! Every line once, whatever the text and wherever it is cut.

use std::io::{self, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::tempdir;

use super::super::blocks::{BLOCK_BYTES, FileBlocks};
use super::super::payload::Split;
use super::*;

/// Text of short, empty and long lines, with 0x0D and bytes that are not UTF-8, with and without a last newline.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => any::<u8>(), 1 => Just(b'\r'), 1 => Just(b' ')];
    let body = prop_oneof![3 => vec(byte.clone(), 0..6), 2 => vec(byte, 0..60), 1 => Just(Vec::new())];
    (vec(body, 0..25), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text = lines.join(&b'\n');
        if ended {
            text.push(b'\n');
        }
        text
    })
}

/// Gives a few bytes a read, as pipes do.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.1);
        self.0.read(&mut into[..count])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_splits_of_a_file_give_its_lines_once_and_account_for_its_bytes(text in text(), target in 1_u64..100) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, &text).unwrap();
        let source = resolve(&[&path]);
        let cuts = cut_all(&mut cutter(&source), target, 1);
        let (mut lines, mut shipped_lines) = (Vec::new(), Vec::new());
        for cut in &cuts {
            prop_assert!(cut.bytes <= target + target / 4);
            let (some, bytes) = read(&cut.payload);
            prop_assert_eq!(bytes, cut.bytes);
            lines.extend(some);
            let (some, bytes) = read(&ship(&cut.payload, u64::MAX).unwrap());
            prop_assert_eq!(bytes, cut.bytes);
            shipped_lines.extend(some);
        }
        prop_assert_eq!(&lines, &lines_of(&text));
        prop_assert_eq!(&shipped_lines, &lines);
        prop_assert_eq!(coverage(&cuts, 1), [text.len() as u64]);
    }

    #[test]
    fn packed_files_give_the_lines_of_each(texts in vec(text(), 1..12), target in 1_u64..2_000) {
        let folder = tempdir().unwrap();
        for (index, text) in texts.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{index:02}")), text).unwrap();
        }
        let source = resolve(&[&folder.path().join("*")]);
        let cuts = cut_all(&mut cutter(&source), target, 1);
        let mut lines = Vec::new();
        for cut in &cuts {
            let (some, bytes) = read(&cut.payload);
            prop_assert_eq!(bytes, cut.bytes);
            prop_assert_eq!(&read(&ship(&cut.payload, u64::MAX).unwrap()), &(some.clone(), bytes));
            lines.extend(some);
        }
        prop_assert_eq!(lines, texts.iter().flat_map(|text| lines_of(text)).collect::<Vec<_>>());
        prop_assert_eq!(coverage(&cuts, texts.len()), texts.iter().map(|text| text.len() as u64).collect::<Vec<_>>());
        // Every file is named by a cover, the empty ones too.
        let mut named: Vec<u32> = cuts.iter().flat_map(|cut| &cut.covers).map(|cover| cover.part).collect();
        named.dedup();
        prop_assert_eq!(named.len(), texts.len());
    }

    #[test]
    fn a_stream_gives_its_lines_once(text in text(), target in 1_u64..200, drip in 1_usize..50) {
        let text: &'static [u8] = text.leak();
        let mut cutter = StandardInputCutter::new(3, Box::new(Drip(text, drip)));
        let cuts = cut_all(&mut cutter, target, 1);
        let mut lines = Vec::new();
        for cut in &cuts {
            prop_assert!(!cut.repeatable && cut.input == 3);
            let (some, bytes) = read(&cut.payload);
            prop_assert_eq!(bytes, cut.bytes);
            lines.extend(some);
        }
        prop_assert_eq!(lines, lines_of(text));
        prop_assert_eq!(coverage(&cuts, 1), [text.len() as u64]);
    }
}

#[test]
fn a_line_of_50_mb_is_one_line_of_the_split_that_it_starts_in() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("long");
    let mut text = b"first\n".to_vec();
    text.resize(50_000_000, b'x');
    text.extend_from_slice(b"\nlast");
    std::fs::write(&path, &text).unwrap();
    let cuts = cut_all(&mut cutter(&resolve(&[&path])), 16 * 1024 * 1024, 1);
    assert_eq!(cuts.len(), 3);
    let counts: Vec<(Vec<usize>, u64)> = cuts
        .iter()
        .map(|cut| {
            let (lines, bytes) = read(&cut.payload);
            (lines.iter().map(Vec::len).collect(), bytes - cut.bytes)
        })
        .collect();
    assert_eq!(counts, [(vec![5, 50_000_000 - 6], 0), (vec![], 0), (vec![4], 0)]);
    assert_eq!(read(&ship(&cuts[0].payload, 60_000_000).unwrap()).0.len(), 2);
    let refused = ship(&cuts[0].payload, 40_000_000).unwrap_err();
    assert!(matches!(refused, SourceError::TooLargeToShip { limit_bytes: 40_000_000, .. }), "{refused}");
}

#[test]
fn a_long_line_of_a_stream_stays_whole() {
    let mut text = vec![b'y'; 3_000_000];
    text.extend_from_slice(b"\nz\n");
    let text: &'static [u8] = text.leak();
    let cuts = cut_all(&mut StandardInputCutter::new(0, Box::new(text)), 1000, 1);
    let lines: Vec<usize> = cuts.iter().flat_map(|cut| read(&cut.payload).0).map(|line| line.len()).collect();
    assert_eq!(lines, [3_000_000, 1]);
}

#[test]
fn lines_over_the_limit_are_refused_by_name() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("endless");
    std::fs::write(&path, vec![b'x'; 3 * BLOCK_BYTES]).unwrap();
    let cuts = cut_all(&mut cutter(&resolve(&[&path])), u64::MAX, 1);
    let Split::Files(slices) = Split::decode(&cuts[0].payload.body).unwrap() else { panic!("not files") };
    let mut blocks = FileBlocks::open(slices).unwrap().with_line_bytes_max(2 * BLOCK_BYTES);
    let error = blocks.next_block().unwrap_err();
    assert!(error.to_string().contains("endless has a line of more than 2097152 bytes"), "{error}");
    assert_eq!(blocks.next_block().unwrap(), None);
}

fn many_blocks(folder: &Path) -> (Vec<u8>, Payload) {
    let path = folder.join("blocks");
    let text: Vec<u8> = (0..600_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    std::fs::write(&path, &text).unwrap();
    let payload = cut_all(&mut cutter(&resolve(&[&path])), u64::MAX, 1).remove(0).payload;
    (text, payload)
}

#[test]
fn a_dropped_blocks_memory_is_used_for_the_next() {
    let folder = tempdir().unwrap();
    let (text, payload) = many_blocks(folder.path());
    let mut blocks = open_blocks(&payload).unwrap();
    let (mut addresses, mut bytes) = (Vec::new(), 0);
    while let Some(block) = blocks.next_block().unwrap() {
        assert!(block.len() <= BLOCK_BYTES);
        addresses.push(block.as_ptr() as usize);
        bytes += block.len();
    }
    assert_eq!(bytes, text.len());
    assert!(addresses.len() > 3, "{} blocks", addresses.len());
    addresses.dedup();
    assert_eq!(addresses.len(), 1);
}

#[test]
fn a_kept_block_keeps_its_bytes() {
    let folder = tempdir().unwrap();
    let (text, payload) = many_blocks(folder.path());
    for payload in [&payload, &ship(&payload, u64::MAX).unwrap()] {
        let mut blocks = open_blocks(payload).unwrap();
        let kept: Vec<_> = std::iter::from_fn(|| blocks.next_block().unwrap()).collect();
        assert!(kept.iter().all(|block| block.ends_with(b"\n")));
        assert!(kept.concat() == text);
    }
}

fn compressed(ending: &str, parts: &[&[u8]]) -> Vec<u8> {
    let compress = |part: &&[u8]| match ending {
        "gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(part).unwrap();
            encoder.finish().unwrap()
        }
        "zst" => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            // As the zstd tool does; without, a flipped bit is nobody's to find.
            encoder.include_checksum(true).unwrap();
            encoder.write_all(part).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(part).unwrap();
            encoder.finish().unwrap()
        }
    };
    parts.iter().flat_map(compress).collect()
}

#[test]
fn compressed_files_give_their_lines_in_one_chunk_each() {
    let folder = tempdir().unwrap();
    let text: Vec<u8> = (0..300_000_u32).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let (one, two) = text.split_at(1_234_567);
    for ending in ["gz", "zst", "bz2"] {
        let path = folder.path().join(format!("a.{ending}"));
        let bytes = compressed(ending, &[one, two]);
        std::fs::write(&path, &bytes).unwrap();
        let cuts = cut_all(&mut cutter(&resolve(&[&path])), 100_000, 1);
        assert_eq!(cuts.len(), 1, "{ending}");
        assert_eq!(cuts[0].bytes, bytes.len() as u64);
        let expected = (lines_of(&text), bytes.len() as u64);
        assert!(read(&cuts[0].payload) == expected, "{ending}");
        assert!(read(&ship(&cuts[0].payload, u64::MAX).unwrap()) == expected, "{ending} shipped");
    }
}

#[test]
fn a_compressed_file_that_grew_is_read_to_its_size_at_submission() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.gz");
    let bytes = compressed("gz", &[b"a\nb\n"]);
    std::fs::write(&path, &bytes).unwrap();
    let source = resolve(&[&path]);
    std::fs::write(&path, [bytes.clone(), compressed("gz", &[b"c\n"])].concat()).unwrap();
    let cuts = cut_all(&mut cutter(&source), 100, 1);
    assert_eq!(read(&cuts[0].payload), (lines_of(b"a\nb\n"), bytes.len() as u64));
}

#[test]
fn a_damaged_compressed_file_is_named_with_its_format() {
    let folder = tempdir().unwrap();
    let text: Vec<u8> =
        (0..9_000_u32).flat_map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761)).into_bytes()).collect();
    for (ending, format) in [("gz", "gzip"), ("zst", "zstd"), ("bz2", "bzip2")] {
        let whole = compressed(ending, &[&text]);
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x55;
        for (name, bytes) in [("cut", &whole[..whole.len() / 2]), ("flipped", &flipped), ("plain", &text)] {
            let path = folder.path().join(format!("{name}.{ending}"));
            std::fs::write(&path, bytes).unwrap();
            let cuts = cut_all(&mut cutter(&resolve(&[&path])), 100, 1);
            let error = read_error(&mut *open_blocks(&cuts[0].payload).unwrap());
            assert!(
                matches!(&error, SourceError::Corrupt { format: named, .. } if *named == format),
                "{name}: {error}"
            );
            assert_eq!(error.failure_kind(), elastic_flow_wire::message::FailureKind::Decode);
            assert!(error.to_string().contains(path.to_str().unwrap()));
        }
    }
}

#[test]
fn an_empty_file_has_no_lines_whatever_its_ending() {
    let folder = tempdir().unwrap();
    for name in ["a", "b.gz", "c.zst", "d.bz2"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let cuts = cut_all(&mut cutter(&resolve(&[&folder.path().join("*")])), 100, 1);
    assert_eq!(cuts.iter().map(|cut| cut.covers.len()).sum::<usize>(), 4);
    for cut in &cuts {
        assert_eq!(read(&cut.payload), (Vec::new(), 0));
    }
}
