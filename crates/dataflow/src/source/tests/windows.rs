//! Windows: no window is torn, nothing is lost, and cuts move no further than they must.

use std::fs;

use elastic_flow_wire::batch::EMPTY_ROWS_MAX;
use elastic_flow_wire::message::PayloadKind;
use elastic_flow_wire::{decode, encode_to_vec};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::tempdir;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::text::Text;

/// A line belongs to the window of its first byte; empty lines are a window, too.
fn class(line: &[u8]) -> Option<u8> {
    line.first().copied()
}

fn by_class() -> Window {
    Window::new("by_class", |before: &[u8], after: &[u8]| {
        assert!(!before.contains(&b'\n') && !after.contains(&b'\n'), "lines come without their ends");
        class(before) != class(after)
    })
}

fn by_tens() -> Window {
    Window::new("by_tens", |before: &u64, after: &u64| before / 10 != after / 10)
}

/// Lines of few classes, so that windows are short and long, with and without a last newline.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![1 => Just(String::new()), 9 => "[abc][x\r]{0,12}", 1 => "[ab]x{60,90}"];
    let run = (line, 1_usize..12).prop_map(|(line, times)| vec![line; times]);
    (vec(run, 0..14), any::<bool>()).prop_map(|(runs, ended)| {
        let mut text = runs.concat().join("\n").into_bytes();
        if ended {
            text.push(b'\n');
        }
        text
    })
}

/// Where a file may be cut: before lines of another class than the line before, and at its end.
fn borders(text: &[u8]) -> Vec<u64> {
    let lines = lines_of(text);
    let mut borders = Vec::new();
    let mut start = 0;
    for (index, line) in lines.iter().enumerate() {
        if index > 0 && class(&lines[index - 1]) != class(line) {
            borders.push(start);
        }
        start += line.len() as u64 + 1;
    }
    borders.push(text.len() as u64);
    borders
}

/// The cuts of one file as (offset, length), by the rule in one sentence: the first allowed border at or behind the nominal end.
fn model(text: &[u8], mut offset: u64, target: u64) -> Vec<(u64, u64)> {
    let (borders, length) = (borders(text), text.len() as u64);
    let mut cuts = Vec::new();
    while offset < length || (cuts.is_empty() && length == 0) {
        let rest = length - offset;
        let nominal = if rest <= target + target / 4 { length } else { offset + target };
        let end = *borders.iter().find(|&&border| border >= nominal).expect("the end is one");
        cuts.push((offset, end - offset));
        offset = end;
    }
    cuts
}

fn single_covers(cuts: &[Cut]) -> Vec<(u64, u64)> {
    cuts.iter().flat_map(|cut| &cut.covers).map(|cover| (cover.offset, cover.length)).collect()
}

fn windowed(source: &ResolvedSource, suppliers: &mut dyn Suppliers, window: &Window) -> SourceCutter {
    let mut cutter = SourceCutter::new(source, suppliers).unwrap();
    cutter.set_window(window).unwrap();
    cutter
}

/// The lines of each chunk that has some, read where the file is and as the master would ship them.
fn lines_by_chunk(cuts: &[Cut]) -> Vec<Vec<Vec<u8>>> {
    let read_both = |cut: &Cut| {
        let (lines, bytes) = read(&cut.payload);
        assert_eq!(bytes, cut.bytes);
        assert_eq!(read(&ship(&cut.payload, u64::MAX).unwrap()), (lines.clone(), bytes));
        lines
    };
    cuts.iter().map(read_both).filter(|lines| !lines.is_empty()).collect()
}

fn border_of(cut: &Cut) -> Border {
    let items = cut.payload.kind == PayloadKind::Items;
    Border { covers: cut.covers.clone(), digest: items.then(|| xxh3_64(&cut.payload.body)), wanted: false }
}

fn no_window_is_torn(chunks: &[Vec<Vec<u8>>]) -> bool {
    chunks.windows(2).all(|pair| class(pair[0].last().unwrap()) != class(&pair[1][0]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_file_is_cut_at_the_next_border_that_the_window_allows(text in text(), target in 1_u64..200) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("text");
        fs::write(&path, &text).unwrap();
        let source = resolve(&[&path]);
        let cuts = cut_all(&mut windowed(&source, &mut NoSuppliers, &by_class()), target, 1);
        prop_assert_eq!(single_covers(&cuts), model(&text, 0, target));
        prop_assert_eq!(coverage(&cuts, 1), [text.len() as u64]);
        let chunks = lines_by_chunk(&cuts);
        prop_assert!(no_window_is_torn(&chunks));
        prop_assert_eq!(chunks.concat(), lines_of(&text));
    }

    #[test]
    fn what_was_cut_stays_and_the_rest_follows_the_window(text in text(), target in 1_u64..150, with_window: bool) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("text");
        fs::write(&path, &text).unwrap();
        let source = resolve(&[&path]);
        let mut first = cutter(&source);
        if with_window {
            first.set_window(&by_class()).unwrap();
        }
        let cuts = cut_all(&mut first, target, 1);
        for done in 0..=cuts.len() {
            let mut resumed = cutter(&source);
            let earlier: Vec<Border> = cuts[..done].iter().map(border_of).collect();
            resumed.resume(&earlier, &mut |_, _| {}).unwrap();
            resumed.set_window(&by_class()).unwrap();
            let rest = cut_all(&mut resumed, target, 1);
            if with_window {
                prop_assert_eq!(&rest[..], &cuts[done..]);
            }
            let offset: u64 = cuts[..done].iter().map(|cut| cut.bytes).sum();
            if done == 0 || offset < text.len() as u64 {
                prop_assert_eq!(single_covers(&rest), model(&text, offset, target));
            }
            let all = [&cuts[..done], &rest].concat();
            prop_assert_eq!(coverage(&all, 1), [text.len() as u64]);
            prop_assert_eq!(lines_by_chunk(&all).concat(), lines_of(&text));
            prop_assert!(no_window_is_torn(&lines_by_chunk(&rest)));
        }
    }

    #[test]
    fn files_are_packed_and_torn_only_where_a_window_ends(texts in vec(text(), 1..8), target in 1_u64..600) {
        let folder = tempdir().unwrap();
        for (index, text) in texts.iter().enumerate() {
            fs::write(folder.path().join(format!("{index:02}")), text).unwrap();
        }
        let source = resolve(&[&folder.path().join("*")]);
        let cuts = cut_all(&mut windowed(&source, &mut NoSuppliers, &by_class()), target, 1);
        prop_assert_eq!(coverage(&cuts, texts.len()), texts.iter().map(|text| text.len() as u64).collect::<Vec<_>>());
        for cover in cuts.iter().flat_map(|cut| &cut.covers) {
            let text = &texts[cover.part as usize];
            prop_assert!(cover.offset + cover.length == 0 || borders(text).contains(&(cover.offset + cover.length)));
        }
        let lines = lines_by_chunk(&cuts).concat();
        prop_assert_eq!(lines, texts.iter().flat_map(|text| lines_of(text)).collect::<Vec<_>>());
    }

    #[test]
    fn a_stream_is_cut_where_a_window_ends(text in text(), target in 1_u64..200) {
        let stream: &'static [u8] = text.clone().leak();
        let mut cutter = StandardInputCutter::new(0, Box::new(stream));
        cutter.set_window(&by_class()).unwrap();
        let cuts = cut_all(&mut cutter, target, 1);
        let chunks: Vec<_> = cuts.iter().map(|cut| read(&cut.payload).0).collect();
        prop_assert!(no_window_is_torn(&chunks));
        prop_assert_eq!(chunks.concat(), lines_of(&text));
        prop_assert_eq!(coverage(&cuts, 1), [text.len() as u64]);
        // It moves no further than it must: without its last window each chunk would be within the target.
        for (cut, lines) in cuts.iter().zip(&chunks) {
            let last = lines.iter().rev().take_while(|line| class(line) == class(lines.last().unwrap()));
            let last: u64 = last.map(|line| line.len() as u64 + 1).sum();
            prop_assert!(cut.bytes <= target + last, "{} bytes, of which {last} are the last window", cut.bytes);
        }
    }

    #[test]
    fn an_iterator_is_cut_at_the_next_border_that_the_window_allows(
        items in vec((0_u64..40, 1_usize..9), 0..30), count in 1_u64..20, bytes in 1_u64..200,
    ) {
        let items: Vec<u64> = items.iter().flat_map(|&(item, times)| vec![item; times]).collect();
        let mut suppliers = Iterators { items: items.clone(), handed_over: false };
        let source = ResolvedSource::resolve([&SourceSpec::Registered { name: "items".into() }]).unwrap();
        let cuts = cut_all(&mut windowed(&source, &mut suppliers, &by_tens()), bytes, count);
        let mut expected: Vec<Vec<u64>> = Vec::new();
        let mut begun = false;
        for &item in &items {
            // 8 bytes for the number of items, and 8 for each.
            let is_full = |batch: &Vec<u64>| batch.len() as u64 >= count || 8 + 8 * batch.len() as u64 >= bytes;
            match expected.last_mut().filter(|_| begun) {
                Some(batch) if !is_full(batch) || batch[batch.len() - 1] / 10 == item / 10 => batch.push(item),
                _ => expected.push(vec![item]),
            }
            begun = true;
        }
        let found: Vec<Vec<u64>> = cuts.iter().map(|cut| decode(&cut.payload.body).unwrap()).collect();
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(coverage(&cuts, 1), [items.len() as u64]);

        for done in 0..=cuts.len() {
            let mut resumed = SourceCutter::new(&source, &mut suppliers).unwrap();
            resumed.resume(&cuts[..done].iter().map(border_of).collect::<Vec<_>>(), &mut |_, _| {}).unwrap();
            resumed.set_window(&by_tens()).unwrap();
            prop_assert_eq!(&cut_all(&mut resumed, bytes, count)[..], &cuts[done..]);
        }
    }

    #[test]
    fn a_range_is_cut_at_the_next_border_that_the_window_allows(start in 0_u64..100, length in 0_u64..150, count in 1_u64..40) {
        let end = start + length;
        let source = ResolvedSource::resolve([&SourceSpec::Range { start, end }]).unwrap();
        let cuts = cut_all(&mut windowed(&source, &mut NoSuppliers, &by_tens()), count * 8, 1);
        let mut at = start;
        for cut in &cuts {
            let Feed::Range(range) = open(&chunk(&cut.payload)).unwrap() else { panic!("not a range") };
            prop_assert_eq!(range.start, at);
            at = (at + count).next_multiple_of(10).min(end);
            prop_assert_eq!(range.end, at);
            prop_assert_eq!((cut.entries, cut.bytes), (Some(range.end - range.start), 8 * (range.end - range.start)));
        }
        prop_assert_eq!(at, end);
        prop_assert_eq!(coverage(&cuts, 1), [length]);
    }
}

/// An iterator of these items, of these types.
struct Iterators<T> {
    items: Vec<T>,
    handed_over: bool,
}

impl<T: Clone + Send + serde::Serialize + 'static> Suppliers for Iterators<T> {
    fn registered(&mut self, _name: &str) -> Option<Box<dyn ItemBatches>> {
        Some(Box::new(EncodedItems::new(self.items.clone())))
    }

    fn one_shot(&mut self, _input: u16) -> Option<Box<dyn ItemBatches>> {
        self.handed_over.then(|| Box::new(EncodedItems::new(self.items.clone())) as Box<dyn ItemBatches>)
    }
}

#[test]
fn a_window_may_have_a_hundred_times_the_size_of_a_chunk_or_end_at_each_line() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("text");
    let mut text = b"a first\n".to_vec();
    (0..300_000_u32).for_each(|n| text.extend_from_slice(format!("b {n}\n").as_bytes()));
    let long = text.len() as u64;
    text.extend_from_slice(b"c last\n");
    fs::write(&path, &text).unwrap();
    let source = resolve(&[&path]);
    let cuts = cut_all(&mut windowed(&source, &mut NoSuppliers, &by_class()), 20_000, 1);
    assert_eq!(single_covers(&cuts), [(0, long), (long, 7)]);

    // Where a window ends everywhere, a chunk is larger by a part of a line.
    let every = Window::new("every", |_: &[u8], _: &[u8]| true);
    let cuts = cut_all(&mut windowed(&source, &mut NoSuppliers, &every), 20_000, 1);
    let (_, others) = cuts.split_last().unwrap();
    assert!(others.len() > 100 && others.iter().all(|cut| (20_000..20_009).contains(&cut.bytes)));
    assert_eq!(coverage(&cuts, 1), [text.len() as u64]);
}

#[test]
fn the_line_before_the_nominal_end_is_known_whole_however_long_it_is() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("text");
    for (first, second) in [(b'a', b'a'), (b'a', b'b')] {
        // The nominal end lies far behind the first byte of its line, which alone tells the class.
        let mut text = vec![first; 1_000_000];
        text.push(b'\n');
        text.push(second);
        text.extend_from_slice(b"\nc\n");
        fs::write(&path, &text).unwrap();
        let cuts = cut_all(&mut windowed(&resolve(&[&path]), &mut NoSuppliers, &by_class()), 799_000, 1);
        let end = if first == second { 1_000_003 } else { 1_000_001 };
        assert_eq!(single_covers(&cuts)[0], (0, end), "{}", char::from(second));
    }
}

#[test]
fn a_compressed_file_is_one_chunk_whatever_the_window_says() {
    let folder = tempdir().unwrap();
    for name in ["a.gz", "b.gz"] {
        fs::write(folder.path().join(name), vec![b'x'; 5_000]).unwrap();
    }
    let never = Window::new("never", |_: &[u8], _: &[u8]| false);
    let source = resolve(&[&folder.path().join("*")]);
    let cuts = cut_all(&mut windowed(&source, &mut NoSuppliers, &never), 100, 1);
    assert_eq!(single_covers(&cuts), [(0, 5_000), (0, 5_000)]);
}

#[test]
fn of_a_file_that_is_away_no_window_is_torn_when_it_is_back() {
    let folder = tempdir().unwrap();
    let (path, away) = (folder.path().join("text"), folder.path().join("away"));
    let text = b"a\n".repeat(50);
    fs::write(&path, &text).unwrap();
    let source = resolve(&[&path]);
    fs::rename(&path, &away).unwrap();
    let cuts = cut_all(&mut windowed(&source, &mut NoSuppliers, &by_class()), 10, 1);
    assert_eq!(single_covers(&cuts), [(0, 100)]);
    assert!(matches!(open(&chunk(&cuts[0].payload)), Err(OpenFailure::NotHere { .. })));
    fs::rename(&away, &path).unwrap();
    assert_eq!(read(&ship(&cuts[0].payload, u64::MAX).unwrap()), (lines_of(&text), 100));
}

#[test]
fn a_window_over_another_type_is_refused_by_name() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("text");
    fs::write(&path, "a\n").unwrap();
    let path = path.to_str().unwrap().to_owned();
    let file = SourceSpec::Lines { paths: vec![path.clone()] };
    let input = SourceSpec::Lines { paths: vec!["-".into()] };
    let range = SourceSpec::Range { start: 3, end: 8 };
    let registered = SourceSpec::Registered { name: "days".into() };
    let (bytes, number) = (by_class(), by_tens());
    let mut suppliers = Iterators { items: vec![1_u32], handed_over: true };
    let cases: [(&[&SourceSpec], &Window, [&str; 4]); 6] = [
        (&[&file], &number, ["\"by_tens\"", "u64", &path, "[u8]"]),
        (&[&input], &number, ["\"by_tens\"", "u64", "standard input", "[u8]"]),
        (&[&range], &bytes, ["\"by_class\"", "[u8]", "range 3..8", "u64"]),
        (&[&registered], &number, ["\"by_tens\"", "u64", "registered source days", "u32"]),
        (&[&SourceSpec::OneShot], &bytes, ["\"by_class\"", "[u8]", "iterator of the caller", "u32"]),
        (&[&file, &range], &bytes, ["\"by_class\"", "[u8]", "range 3..8", "u64"]),
    ];
    for (specs, window, named) in cases {
        let source = ResolvedSource::resolve(specs.iter().copied()).unwrap();
        let refused = SourceCutter::new(&source, &mut suppliers).unwrap().set_window(window).unwrap_err();
        assert!(matches!(refused, SourceError::WindowType { .. }), "{refused}");
        let said = refused.to_string();
        assert!(named.iter().all(|it| said.contains(it)), "{said}");
    }
}

#[test]
fn an_iterator_that_knows_no_windows_refuses_them() {
    struct Bare;
    impl ItemBatches for Bare {
        fn next_batch(&mut self, _: u64, _: u64) -> Option<(bytes::Bytes, u64)> {
            None
        }
    }
    let mut cutter = ItemsCutter::one_shot(0, Box::new(Bare));
    assert!(matches!(cutter.set_window(&by_tens()), Err(SourceError::WindowType { .. })));
}

#[test]
fn texts_of_an_iterator_are_cut_by_a_window_over_bytes() {
    let items: Vec<Text> = ["a1", "a2", "a3", "b1", "", "c1", "c2"].map(Text::from).to_vec();
    let source = ResolvedSource::resolve([&SourceSpec::OneShot]).unwrap();
    let mut suppliers = Iterators { items, handed_over: true };
    let cuts = cut_all(&mut windowed(&source, &mut suppliers, &by_class()), u64::MAX, 2);
    let found: Vec<Vec<Text>> = cuts.iter().map(|cut| decode(&cut.payload.body).unwrap()).collect();
    assert_eq!(found, [vec!["a1", "a2", "a3"], vec!["b1", ""], vec!["c1", "c2"]]);
}

#[test]
fn a_window_without_end_is_refused_at_the_largest_chunk_with_name_size_and_remedy() {
    let never = Window::new("never", |_: &String, _: &String| false);
    let item = "x".repeat(1 << 20);
    let item_bytes = encode_to_vec(&item).unwrap().len() as u64;
    // As many as have room, and one more.
    for (items, fits) in [((WINDOW_BYTES_MAX - 8) / item_bytes, true), (WINDOW_BYTES_MAX / item_bytes + 1, false)] {
        let mut items = EncodedItems::new(std::iter::repeat_n(item.clone(), usize::try_from(items).unwrap()));
        assert!(items.set_window(&never));
        let mut cutter = ItemsCutter::one_shot(0, Box::new(items));
        match cutter.cut(1, 1) {
            Ok(Some(cut)) => assert!(fits && cut.bytes <= WINDOW_BYTES_MAX),
            Ok(None) => panic!("there is something to cut"),
            Err(error) => {
                assert!(!fits && matches!(error, SourceError::WindowTooLong { .. }), "{error}");
                let said = error.to_string();
                for named in ["\"never\"", "67108864 bytes", "from item 0 on", "from a file"] {
                    assert!(said.contains(named), "{said}");
                }
            }
        }
    }
}

#[test]
fn items_without_bytes_make_no_endless_window() {
    let limit = usize::try_from(EMPTY_ROWS_MAX).unwrap();
    for (count, fits) in [(limit, true), (limit + 1, false)] {
        let mut items = EncodedItems::new(std::iter::repeat_n((), count));
        assert!(items.set_window(&Window::new("never", |_: &(), _: &()| false)));
        match ItemsCutter::one_shot(0, Box::new(items)).cut(1, 1) {
            Ok(cut) => assert!(fits && cut.is_some()),
            Err(error) => assert!(!fits && matches!(error, SourceError::WindowTooLong { .. }), "{error}"),
        }
    }
}

#[test]
fn a_range_and_a_stream_have_the_same_limit() {
    let never = Window::new("never", |_: &u64, _: &u64| false);
    let limit = WINDOW_BYTES_MAX / RANGE_ITEM_BYTES;
    for (length, fits) in [(limit + 1, true), (limit + 2, false), (u64::MAX, false)] {
        let mut cutter = RangeCutter::new(0, 0, length);
        cutter.set_window(&never).unwrap();
        match cutter.cut(8, 1) {
            Ok(cut) => assert!(fits && cut.unwrap().entries == Some(length)),
            Err(error) => assert!(!fits && error.to_string().contains("from number 1 on"), "{error}"),
        }
    }
    let endless = std::io::BufReader::new(Endless);
    let mut cutter = StandardInputCutter::new(0, Box::new(endless));
    cutter.set_window(&Window::new("never", |_: &[u8], _: &[u8]| false)).unwrap();
    let refused = cutter.cut(100, 1).unwrap_err();
    assert!(matches!(&refused, SourceError::WindowTooLong { unit: "byte", at: 0, .. }), "{refused}");
}

/// Lines of 64 KiB for ever.
struct Endless;

impl std::io::Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        into.fill(b'x');
        if let Some(last) = into.last_mut() {
            *last = b'\n';
        }
        Ok(into.len())
    }
}
