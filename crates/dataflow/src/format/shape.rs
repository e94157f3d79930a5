//! Whether a value is a sequence, a map or neither; and its rows one at a time, without building them first.

use std::fmt;
use std::io;

use serde::ser::{Error, Impossible, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::RowWriter;

/// What a value looks like from outside; with the number of rows, where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    Sequence(Option<usize>),
    Map(Option<usize>),
}

/// Looks at a value's outermost part.
pub(super) fn shape_of<T: Serialize + ?Sized>(value: &T) -> Shape {
    match value.serialize(Outermost(None)) {
        Err(Ended::Shape(shape)) => shape,
        Ok(()) | Err(Ended::Failed(_)) => Shape::One,
    }
}

/// Hands each element or entry to `writer`.
pub(super) fn visit_rows<T: Serialize + ?Sized>(value: &T, writer: &mut RowWriter<'_>) -> io::Result<()> {
    match value.serialize(Outermost(Some(writer))) {
        Ok(()) => Ok(()),
        Err(Ended::Failed(error)) => Err(error),
        Err(Ended::Shape(_)) => Err(io::Error::other("the result changes its shape while it is written")),
    }
}

/// Serialises the outermost part alone: ends with its shape, unless there is a writer for its rows.
struct Outermost<'w, 'o>(Option<&'w mut RowWriter<'o>>);

/// Why a serialisation went no further.
#[derive(Debug)]
enum Ended {
    Shape(Shape),
    Failed(io::Error),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(shape) => write!(f, "the value is {shape:?}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Ended {}

impl Error for Ended {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Failed(io::Error::other(message.to_string()))
    }
}

/// The rows of a sequence or map.
struct Rows<'w, 'o>(&'w mut RowWriter<'o>);

impl SerializeSeq for Rows<'_, '_> {
    type Ok = ();
    type Error = Ended;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Ended> {
        self.0.row(value).map_err(Ended::Failed)
    }

    fn end(self) -> Result<(), Ended> {
        Ok(())
    }
}

impl SerializeMap for Rows<'_, '_> {
    type Ok = ();
    type Error = Ended;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Ended> {
        Err(Ended::custom("a map must give its keys and values together"))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Ended> {
        Err(Ended::custom("a map must give its keys and values together"))
    }

    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), Ended> {
        self.0.entry(key, value).map_err(Ended::Failed)
    }

    fn end(self) -> Result<(), Ended> {
        Ok(())
    }
}

const ONE: Result<(), Ended> = Err(Ended::Shape(Shape::One));

impl<'w, 'o> Serializer for Outermost<'w, 'o> {
    type Ok = ();
    type Error = Ended;
    type SerializeSeq = Rows<'w, 'o>;
    type SerializeTuple = Impossible<(), Ended>;
    type SerializeTupleStruct = Impossible<(), Ended>;
    type SerializeTupleVariant = Impossible<(), Ended>;
    type SerializeMap = Rows<'w, 'o>;
    type SerializeStruct = Impossible<(), Ended>;
    type SerializeStructVariant = Impossible<(), Ended>;

    fn serialize_seq(self, rows: Option<usize>) -> Result<Rows<'w, 'o>, Ended> {
        self.0.map(Rows).ok_or(Ended::Shape(Shape::Sequence(rows)))
    }

    fn serialize_map(self, rows: Option<usize>) -> Result<Rows<'w, 'o>, Ended> {
        self.0.map(Rows).ok_or(Ended::Shape(Shape::Map(rows)))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Ended> {
        value.serialize(self)
    }

    fn serialize_bool(self, _: bool) -> Result<(), Ended> {
        ONE
    }

    fn serialize_i8(self, _: i8) -> Result<(), Ended> {
        ONE
    }

    fn serialize_i16(self, _: i16) -> Result<(), Ended> {
        ONE
    }

    fn serialize_i32(self, _: i32) -> Result<(), Ended> {
        ONE
    }

    fn serialize_i64(self, _: i64) -> Result<(), Ended> {
        ONE
    }

    fn serialize_i128(self, _: i128) -> Result<(), Ended> {
        ONE
    }

    fn serialize_u8(self, _: u8) -> Result<(), Ended> {
        ONE
    }

    fn serialize_u16(self, _: u16) -> Result<(), Ended> {
        ONE
    }

    fn serialize_u32(self, _: u32) -> Result<(), Ended> {
        ONE
    }

    fn serialize_u64(self, _: u64) -> Result<(), Ended> {
        ONE
    }

    fn serialize_u128(self, _: u128) -> Result<(), Ended> {
        ONE
    }

    fn serialize_f32(self, _: f32) -> Result<(), Ended> {
        ONE
    }

    fn serialize_f64(self, _: f64) -> Result<(), Ended> {
        ONE
    }

    fn serialize_char(self, _: char) -> Result<(), Ended> {
        ONE
    }

    fn serialize_str(self, _: &str) -> Result<(), Ended> {
        ONE
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Ended> {
        ONE
    }

    fn serialize_none(self) -> Result<(), Ended> {
        ONE
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Ended> {
        ONE
    }

    fn serialize_unit(self) -> Result<(), Ended> {
        ONE
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Ended> {
        ONE
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Ended> {
        ONE
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Ended> {
        ONE
    }

    fn serialize_tuple(self, _: usize) -> Result<Impossible<(), Ended>, Ended> {
        Err(Ended::Shape(Shape::One))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Impossible<(), Ended>, Ended> {
        Err(Ended::Shape(Shape::One))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), Ended>, Ended> {
        Err(Ended::Shape(Shape::One))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Impossible<(), Ended>, Ended> {
        Err(Ended::Shape(Shape::One))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), Ended>, Ended> {
        Err(Ended::Shape(Shape::One))
    }
}
