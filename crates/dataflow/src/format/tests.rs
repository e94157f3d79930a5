use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Serialize;

use super::*;
use crate::text::Text;

#[derive(Serialize)]
struct Row {
    name: Text,
    sizes: Vec<u32>,
    share: Option<f64>,
    kind: Kind,
}

#[derive(Serialize)]
enum Kind {
    Plain,
    Other { weight: u8 },
}

#[derive(Serialize)]
struct Wrapped(Vec<u8>);

fn written<T: Serialize + ?Sized>(value: &T, format: Format) -> String {
    let mut out = Vec::new();
    write_rows(value, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn rows() -> [Row; 2] {
    [
        Row { name: Text::from("a\tb,\"c\"\\"), sizes: vec![1, 2], share: None, kind: Kind::Plain },
        Row { name: Text::from("ä"), sizes: vec![], share: Some(0.5), kind: Kind::Other { weight: 3 } },
    ]
}

#[test]
fn structs_become_objects_or_cells() {
    let rows = &rows()[..];
    let first = r#"{"name":"a\tb,\"c\"\\","sizes":[1,2],"share":null,"kind":"Plain"}"#;
    let second = r#"{"name":"ä","sizes":[],"share":0.5,"kind":{"Other":{"weight":3}}}"#;
    assert_eq!(written(rows, Format::Jsonl), format!("{first}\n{second}\n"));
    assert_eq!(written(rows, Format::Json), format!("[{first},\n{second}]\n"));
    assert_eq!(written(rows, Format::Tsv), "a\\tb,\"c\"\\\\\t[1,2]\t\tPlain\nä\t[]\t0.5\t{\"Other\":{\"weight\":3}}\n");
    assert_eq!(
        written(rows, Format::Csv),
        "\"a\tb,\"\"c\"\"\\\",\"[1,2]\",,Plain\nä,[],0.5,\"{\"\"Other\"\":{\"\"weight\"\":3}}\"\n"
    );
}

#[test]
fn entries_of_maps_are_keys_and_values_of_any_type() {
    let map = BTreeMap::from([((1, "x"), true), ((2, "y"), false)]);
    assert_eq!(
        written(&map, Format::Jsonl),
        "{\"key\":[1,\"x\"],\"value\":true}\n{\"key\":[2,\"y\"],\"value\":false}\n"
    );
    assert_eq!(written(&map, Format::Csv), "\"[1,\"\"x\"\"]\",true\n\"[2,\"\"y\"\"]\",false\n");
    assert_eq!(count_rows(&map), 2);
    let mut out = Vec::new();
    write_entries(&[(Text::from("be"), 2_u64)], Format::Jsonl, &mut out).unwrap();
    assert_eq!(out, b"{\"key\":\"be\",\"value\":2}\n");
}

#[test]
fn a_single_value_is_one_row() {
    for (json, tsv, rows) in [
        (written(&7_u64, Format::Jsonl), written(&7_u64, Format::Tsv), count_rows(&7_u64)),
        (written("a b", Format::Jsonl), written("a b", Format::Tsv), count_rows(&"a b")),
        (written(&(1, 2), Format::Jsonl), written(&(1, 2), Format::Tsv), count_rows(&(1, 2))),
        (written(&None::<u8>, Format::Jsonl), written(&None::<u8>, Format::Tsv), count_rows(&None::<u8>)),
    ] {
        assert_eq!((json.lines().count(), tsv.lines().count(), rows), (1, 1, 1), "{json}");
    }
    assert_eq!(written(&(1, "x"), Format::Tsv), "1\tx\n");
    let mut out = Vec::new();
    write_row(&vec![1, 2], Format::Jsonl, &mut out).unwrap();
    assert_eq!(out, b"[1,2]\n");
}

#[test]
fn a_wrapped_sequence_is_a_sequence_and_an_empty_one_has_no_row() {
    assert_eq!(written(&Wrapped(vec![1, 2]), Format::Jsonl), "1\n2\n");
    assert_eq!(count_rows(&Wrapped(vec![1, 2])), 2);
    assert_eq!(written(&Wrapped(vec![]), Format::Json), "[]\n");
    assert_eq!(written(&Wrapped(vec![]), Format::Jsonl), "");
}

#[test]
fn names_read_as_formats() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert_eq!(
        "xml".parse::<Format>().unwrap_err().to_string(),
        "\"xml\" is not a format: give jsonl, json, tsv or csv"
    );
}

/// Takes CSV apart, as RFC 4180 says.
fn csv_cells(line: &[u8]) -> Vec<Vec<u8>> {
    let mut cells = vec![Vec::new()];
    let mut quoted = false;
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => cells.last_mut().unwrap().push(bytes.next().unwrap()),
            b'"' => quoted = !quoted,
            b',' if !quoted => cells.push(Vec::new()),
            _ => cells.last_mut().unwrap().push(byte),
        }
    }
    cells
}

/// Takes TSV apart.
fn tsv_cells(line: &[u8]) -> Vec<Vec<u8>> {
    let unescape = |cell: &[u8]| {
        let mut out = Vec::new();
        let mut bytes = cell.iter();
        while let Some(&byte) = bytes.next() {
            out.push(match byte {
                b'\\' => match bytes.next().unwrap() {
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'r' => b'\r',
                    _ => b'\\',
                },
                _ => byte,
            });
        }
        out
    };
    line.split(|&byte| byte == b'\t').map(unescape).collect()
}

proptest! {
    #[test]
    fn the_bytes_of_texts_come_back_from_cells(a in proptest::collection::vec(any::<u8>(), 0..20), b in "[,\"\t\n\r\\\\a]{0,12}") {
        let row = vec![(Text::from(a.as_slice()), Text::from(b.as_str()))];
        let expected = vec![a, b.into_bytes()];
        let mut out = Vec::new();
        write_rows(&row, Format::Tsv, &mut out).unwrap();
        prop_assert_eq!(out.pop(), Some(b'\n'));
        prop_assert_eq!(tsv_cells(&out), expected.clone());
        out.clear();
        write_rows(&row, Format::Csv, &mut out).unwrap();
        prop_assert_eq!(out.pop(), Some(b'\n'));
        prop_assert_eq!(csv_cells(&out), expected);
    }
}
