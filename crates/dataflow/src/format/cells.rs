//! A row as cells of TSV or CSV: the parts of a tuple, struct or sequence, else the one value. Parts that have parts themselves
//! are JSON.

use std::fmt;
use std::io::Write as _;

use serde::ser::{
    Error, Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, SerializeTupleStruct,
};
use serde::{Serialize, Serializer};

use crate::text::TEXT_TOKEN;

/// How cells are parted and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Tabs,
    Commas,
}

impl Dialect {
    const fn separator(self) -> u8 {
        match self {
            Self::Tabs => b'\t',
            Self::Commas => b',',
        }
    }

    /// Appends a cell's bytes so that they read as one cell.
    fn put(self, cell: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Tabs => {
                for &byte in cell {
                    match byte {
                        b'\\' => out.extend_from_slice(b"\\\\"),
                        b'\t' => out.extend_from_slice(b"\\t"),
                        b'\n' => out.extend_from_slice(b"\\n"),
                        b'\r' => out.extend_from_slice(b"\\r"),
                        _ => out.push(byte),
                    }
                }
            }
            Self::Commas if cell.iter().any(|byte| b",\"\n\r".contains(byte)) => {
                out.push(b'"');
                for &byte in cell {
                    if byte == b'"' {
                        out.push(b'"');
                    }
                    out.push(byte);
                }
                out.push(b'"');
            }
            Self::Commas => out.extend_from_slice(cell),
        }
    }
}

/// Appends the cells of `row` to `out`, without a line end.
pub(super) fn write_cells<T: Serialize + ?Sized>(
    row: &T,
    dialect: Dialect,
    out: &mut Vec<u8>,
) -> Result<(), CellError> {
    let mut cells = Cells { dialect, out, count: 0 };
    match row.serialize(Row(&mut cells)) {
        Err(CellError::Compound) => cells.json(row),
        result => result,
    }
}

/// Why there is no cell.
#[derive(Debug)]
pub(super) enum CellError {
    /// The value has parts.
    Compound,
    /// It does not serialise.
    Failed(String),
}

impl fmt::Display for CellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compound => f.write_str("the value has parts"),
            Self::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for CellError {}

impl Error for CellError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Failed(message.to_string())
    }
}

struct Cells<'a> {
    dialect: Dialect,
    out: &'a mut Vec<u8>,
    count: u64,
}

impl Cells<'_> {
    fn put(&mut self, cell: &[u8]) {
        if self.count > 0 {
            self.out.push(self.dialect.separator());
        }
        self.count += 1;
        self.dialect.put(cell, self.out);
    }

    fn put_display(&mut self, cell: impl fmt::Display) -> Result<(), CellError> {
        let mut text = Vec::with_capacity(24);
        write!(text, "{cell}").map_err(CellError::custom)?;
        self.put(&text);
        Ok(())
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CellError> {
        let json = serde_json::to_vec(value).map_err(CellError::custom)?;
        self.put(&json);
        Ok(())
    }

    /// A part of a row as one cell.
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CellError> {
        match value.serialize(Cell { cells: self, raw: false }) {
            Err(CellError::Compound) => self.json(value),
            result => result,
        }
    }
}

/// A row: its parts become cells.
struct Row<'a, 'o>(&'a mut Cells<'o>);

macro_rules! parts {
    ($($trait:ident $method:ident),*) => {$(
        impl $trait for Row<'_, '_> {
            type Ok = ();
            type Error = CellError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CellError> {
                self.0.part(value)
            }

            fn end(self) -> Result<(), CellError> {
                Ok(())
            }
        }
    )*};
}

parts!(SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field);

impl SerializeStruct for Row<'_, '_> {
    type Ok = ();
    type Error = CellError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), CellError> {
        self.0.part(value)
    }

    fn end(self) -> Result<(), CellError> {
        Ok(())
    }
}

impl SerializeMap for Row<'_, '_> {
    type Ok = ();
    type Error = CellError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CellError> {
        self.0.part(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CellError> {
        self.0.part(value)
    }

    fn end(self) -> Result<(), CellError> {
        Ok(())
    }
}

/// A value that has no parts, as one cell. `raw` takes the bytes of a text as they are.
struct Cell<'a, 'o> {
    cells: &'a mut Cells<'o>,
    raw: bool,
}

/// The methods that say "it has parts".
macro_rules! compound {
    ($($method:ident($($arg:ty),*) -> $out:ty;)*) => {$(
        fn $method(self, $(_: $arg),*) -> Result<$out, CellError> {
            Err(CellError::Compound)
        }
    )*};
}

impl Serializer for Cell<'_, '_> {
    type Ok = ();
    type Error = CellError;
    type SerializeSeq = Impossible<(), CellError>;
    type SerializeTuple = Impossible<(), CellError>;
    type SerializeTupleStruct = Impossible<(), CellError>;
    type SerializeTupleVariant = Impossible<(), CellError>;
    type SerializeMap = Impossible<(), CellError>;
    type SerializeStruct = Impossible<(), CellError>;
    type SerializeStructVariant = Impossible<(), CellError>;

    fn is_human_readable(&self) -> bool {
        !self.raw
    }

    fn serialize_bool(self, value: bool) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_i8(self, value: i8) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_i128(self, value: i128) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_u128(self, value: u128) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_f64(self, value: f64) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_char(self, value: char) -> Result<(), CellError> {
        self.cells.put_display(value)
    }

    fn serialize_str(self, value: &str) -> Result<(), CellError> {
        self.cells.put(value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CellError> {
        if self.raw {
            self.cells.put(value);
            return Ok(());
        }
        Err(CellError::Compound)
    }

    fn serialize_none(self) -> Result<(), CellError> {
        self.cells.put(b"");
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CellError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), CellError> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), CellError> {
        self.serialize_str(name)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), CellError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), CellError> {
        value.serialize(Self { raw: name == TEXT_TOKEN, ..self })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), CellError> {
        Err(CellError::Compound)
    }

    compound! {
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

impl Serializer for Row<'_, '_> {
    type Ok = ();
    type Error = CellError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Impossible<(), CellError>;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Impossible<(), CellError>;

    fn serialize_bool(self, value: bool) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_i8(self, value: i8) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_i128(self, value: i128) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_u128(self, value: u128) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_f64(self, value: f64) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_char(self, value: char) -> Result<(), CellError> {
        self.0.part(&value)
    }

    fn serialize_str(self, value: &str) -> Result<(), CellError> {
        self.0.part(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CellError> {
        self.0.part(value)
    }

    fn serialize_none(self) -> Result<(), CellError> {
        self.0.part(&())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CellError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), CellError> {
        self.0.part(&())
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), CellError> {
        self.0.part(name)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), CellError> {
        self.0.part(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), CellError> {
        if name == TEXT_TOKEN {
            return value.serialize(Cell { cells: self.0, raw: true });
        }
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), CellError> {
        Err(CellError::Compound)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, CellError> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, CellError> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, CellError> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, CellError> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, CellError> {
        Ok(self)
    }

    compound! {
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}
