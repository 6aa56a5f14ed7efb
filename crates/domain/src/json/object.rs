//! A struct that is read from an object alone.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// What is read from a JSON object and from nothing else. serde takes an array for a struct too, its
/// items for the members in their order; an API server never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Struct<'a> {
        a: &'a str,
    }

    #[test]
    fn an_array_is_no_struct() {
        let read = |text| serde_json::from_str::<Object<Struct<'_>>>(text).map_err(|error| error.to_string());
        assert_eq!(read(r#"{"b":[1],"a":"x"}"#), Ok(Object(Struct { a: "x" })));
        assert_eq!(
            read(r#"["x"]"#),
            Err("invalid type: sequence, expected an object at line 1 column 0".to_owned())
        );
        assert_eq!(
            serde_json::from_str::<Struct<'_>>(r#"["x"]"#).unwrap(),
            Struct { a: "x" }
        );
    }
}
