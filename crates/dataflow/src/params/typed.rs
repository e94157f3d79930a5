//! Parameters as a type, through serde: every wrong one is named.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;
use std::str::FromStr;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::error::ProgramError;

/// Reads a `P` from `values`.
pub(super) fn read<P: DeserializeOwned>(values: &BTreeMap<String, String>) -> Result<P, ProgramError> {
    P::deserialize(All { values }).map_err(|ParamError(error)| *error)
}

/// Our error, as serde wants it.
#[derive(Debug)]
struct ParamError(Box<ProgramError>);

impl From<ProgramError> for ParamError {
    fn from(error: ProgramError) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ParamError {}

impl Error for ParamError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        ProgramError::Params { reason: message.to_string() }.into()
    }

    fn missing_field(name: &'static str) -> Self {
        ProgramError::ParamMissing { name: name.to_owned() }.into()
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        unknown(name, known)
    }
}

fn unknown(name: &str, known: &[&str]) -> ParamError {
    let known = if known.is_empty() { "it takes none".to_owned() } else { format!("it has {}", known.join(", ")) };
    ProgramError::ParamUnknown { name: name.to_owned(), known }.into()
}

/// All parameters at once.
struct All<'a> {
    values: &'a BTreeMap<String, String>,
}

impl<'a> All<'a> {
    fn entries(&self, known: &'static [&'static str]) -> Entries<'a> {
        Entries { rest: self.values.iter(), at: None, known }
    }

    /// For types without fields.
    fn none<R>(&self, then: impl FnOnce() -> Result<R, ParamError>) -> Result<R, ParamError> {
        match self.values.keys().next() {
            Some(name) => Err(unknown(name, &[])),
            None => then(),
        }
    }
}

impl<'de> Deserializer<'de> for All<'_> {
    type Error = ParamError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_map(self.entries(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        visitor.visit_map(self.entries(fields))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        self.none(|| visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ParamError> {
        self.none(|| visitor.visit_unit())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        if self.values.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf seq tuple tuple_struct map enum
        identifier ignored_any
    }
}

/// One parameter after the other.
struct Entries<'a> {
    rest: btree_map::Iter<'a, String, String>,
    at: Option<(&'a str, &'a str)>,
    known: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ParamError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ParamError> {
        self.at = self.rest.next().map(|(name, value)| (name.as_str(), value.as_str()));
        self.at.map(|(name, _)| seed.deserialize(IntoDeserializer::<ParamError>::into_deserializer(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ParamError> {
        let Some((name, text)) = self.at.take() else {
            return Err(ParamError::custom("a value was asked for before its name"));
        };
        seed.deserialize(Value { name, text, known: self.known }).map_err(|ParamError(error)| {
            if let ProgramError::Params { reason } = *error { wrong(name, text, reason) } else { ParamError(error) }
        })
    }
}

fn wrong(name: &str, text: &str, reason: impl Into<String>) -> ParamError {
    ProgramError::ParamValue { name: name.to_owned(), value: text.to_owned(), reason: reason.into() }.into()
}

/// One parameter.
struct Value<'a> {
    name: &'a str,
    text: &'a str,
    known: &'static [&'static str],
}

impl Value<'_> {
    fn parse<T: FromStr>(&self, wanted: impl fmt::Display) -> Result<T, ParamError> {
        self.text.parse().map_err(|_| wrong(self.name, self.text, format!("it is not {wanted}")))
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $number:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
            let wanted = format_args!("a whole number from {} to {}", $number::MIN, $number::MAX).to_string();
            visitor.$visit(self.parse::<$number>(wanted)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = ParamError;

    whole_numbers! {
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_str(self.text)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_bool(self.parse("true or false")?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_f32(self.parse("a number")?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_f64(self.parse("a number")?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_char(self.parse("one character")?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_bytes(self.text.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        if !variants.contains(&self.text) {
            return Err(wrong(self.name, self.text, format!("it is none of {}", variants.join(", "))));
        }
        let variant: StrDeserializer<'_, ParamError> = self.text.into_deserializer();
        visitor.visit_enum(variant)
    }

    /// Serde ignores the value of a field that the type does not have.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ParamError> {
        Err(unknown(self.name, self.known))
    }

    forward_to_deserialize_any! {
        str string unit unit_struct seq tuple tuple_struct map struct identifier
    }
}
