//! The JSON schemas of ids whose JSON is their text.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::id::{NodeId, ReceiptId};

impl JsonSchema for NodeId {
    fn schema_name() -> Cow<'static, str> {
        "NodeId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A node's incarnation: 128 random bits, drawn anew at each start of its process.",
            "type": "string",
            "pattern": "^[0-9a-f]{32}$",
            "examples": ["0123456789abcdef0123456789abcdef"],
        })
    }
}

impl JsonSchema for ReceiptId {
    fn schema_name() -> Cow<'static, str> {
        "ReceiptId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The identity of a chunk: step, stage, round and partition, sequence, and a check over all of it.",
            "type": "string",
            "pattern": "^[0-9a-hj-km-np-tv-z-]{17,61}$",
            "examples": ["17-000-21a-3zevw0d9j"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example<T: JsonSchema + std::str::FromStr>() -> Option<T> {
        let schema = SchemaGenerator::default().into_root_schema_for::<T>();
        schema.get("examples")?.get(0)?.as_str()?.parse().ok()
    }

    #[test]
    fn the_examples_are_ids() {
        assert!(example::<NodeId>().is_some());
        assert!(example::<ReceiptId>().is_some());
    }
}
