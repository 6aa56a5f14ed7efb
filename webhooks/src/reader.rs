//! Reads the parts of a review that rules need, and skips the others.
//!
//! No rule reads nine tenths of a review. The reader passes such a value: it checks that the value is JSON,
//! and passes the same bytes at once if they come again, as in the old object. `serde_json` reads the
//! values that rules need. It could skip values too, at more than twice the cost.
//!
//! Invariants: for every text the result is `serde_json`'s, be it a value or an error; what is passed costs
//! no stack, and a bit of memory for a level. *Tests: below, all of the router's, and the fuzz targets.*

mod pass;

use instar_admission::template::TEXT;
use instar_domain::json::plain;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
};
use serde_json::Error;

pub(crate) fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(body).map_err(Error::custom)?;
    let mut reader = Reader::new(text);
    let value = T::deserialize(&mut reader)?;
    match reader.next() {
        None => Ok(value),
        Some(_) => Err(reader.wrong("more than one value")),
    }
}

/// A text, and how far it is read.
struct Reader<'de> {
    text: &'de str,
    at: usize,
    passed: Passed<'de>,
}

/// The first of the larger values that were passed. What an object is and what it was are mostly the same
/// bytes in the same order, and what is there again needn't be looked at again.
#[derive(Default)]
struct Passed<'de> {
    values: Vec<Kept<'de>>,
    /// The place of the value that is likely to be there again next.
    likely: usize,
}

struct Kept<'de> {
    head: Head,
    text: &'de str,
}

/// Values mostly differ in it.
type Head = [u8; 8];

impl<'de> Passed<'de> {
    /// The shortest text that is kept, in bytes: below it, passing costs less.
    const SHORTEST: usize = 32;
    const MOST: usize = 1024;
    /// How many are compared: the others may have gone, or have been changed.
    const COMPARED: usize = 8;

    fn keep(&mut self, text: &'de str) {
        if text.len() < Self::SHORTEST || self.values.len() == Self::MOST {
            return;
        }
        let Some(head) = text.as_bytes().first_chunk().copied() else {
            return;
        };
        if self.values.is_empty() {
            self.values.reserve(32);
        }
        self.values.push(Kept { head, text });
    }

    /// The length of the value that a text begins with, where it was passed before. A value that is in
    /// brackets ends where the bytes say so, whatever comes behind it.
    fn again(&mut self, rest: &[u8]) -> Option<usize> {
        let head = rest.first_chunk::<8>()?;
        let compared = self.values.iter().enumerate().skip(self.likely).take(Self::COMPARED);
        for (place, kept) in compared {
            if kept.head == *head && rest.starts_with(kept.text.as_bytes()) {
                self.likely = place + 1;
                return Some(kept.text.len());
            }
        }
        None
    }
}

enum Quoted<'de> {
    /// It says what stands between its quotes.
    Plain(&'de str),
    /// It doesn't, or is none.
    Other,
}

impl<'de> Reader<'de> {
    fn new(text: &'de str) -> Self {
        Self {
            text,
            at: 0,
            passed: Passed::default(),
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::custom(format_args!("{what} at byte {}", self.at))
    }

    fn ended(&self) -> Error {
        self.wrong("the text ends too early")
    }

    /// The first byte of what comes next, behind white space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        match self.text.as_bytes().get(self.at) {
            Some(byte) if *byte > b' ' => Some(*byte),
            _ => self.next_behind_space(),
        }
    }

    #[cold]
    fn next_behind_space(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let found = rest
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        self.at += found.unwrap_or(rest.len());
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        match self.next() {
            Some(next) if next == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(self.wrong(&format!("no {:?}", char::from(byte)))),
            None => Err(self.ended()),
        }
    }

    /// A comma and then an item, or the end. Whether there is an item.
    fn goes_on(&mut self, place: &mut Place, close: u8) -> Result<bool, Error> {
        let is_first = *place == Place::First;
        *place = Place::Further;
        match self.next() {
            Some(next) if next == close => {
                self.at += 1;
                *place = Place::End;
                Ok(false)
            }
            Some(_) if is_first => Ok(true),
            Some(b',') => {
                self.at += 1;
                match self.next() {
                    Some(next) if next == close => Err(self.wrong("nothing behind the comma")),
                    Some(_) => Ok(true),
                    None => Err(self.ended()),
                }
            }
            Some(_) => Err(self.wrong("no comma")),
            None => Err(self.ended()),
        }
    }

    /// A string, from its first quote. Where it isn't plain it is still to be read.
    fn string(&mut self) -> Result<Quoted<'de>, Error> {
        let begin = self.at + 1;
        let (byte, end) = plain(self.text.as_bytes(), begin).ok_or_else(|| self.ended())?;
        match (byte, self.text.get(begin..end)) {
            (b'"', Some(text)) => {
                self.at = end + 1;
                Ok(Quoted::Plain(text))
            }
            _ => Ok(Quoted::Other),
        }
    }

    /// The text of the next value.
    fn value(&mut self) -> Result<&'de str, Error> {
        let first = self.next().ok_or_else(|| self.ended())?;
        let begin = self.at;
        let bytes = self.text.as_bytes();
        let is_nested = matches!(first, b'{' | b'[');
        let again = if is_nested {
            self.passed.again(bytes.get(begin..).unwrap_or_default())
        } else {
            None
        };
        self.at = match again {
            Some(length) => begin + length,
            None => pass::value(bytes, begin).ok_or_else(|| self.wrong("no value"))?,
        };
        let text = self.text.get(begin..self.at).ok_or_else(|| self.ended())?;
        if is_nested && again.is_none() {
            self.passed.keep(text);
        }
        Ok(text)
    }

    /// Lets `serde_json` read the next value.
    fn json<T>(
        &mut self,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'de>>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut json = serde_json::Deserializer::from_str(self.value()?);
        let value = read(&mut json)?;
        json.end()?;
        Ok(value)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    /// What may be anything may be deep, and `serde_json` knows where to stop.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.next() != Some(b'"') {
            return self.json(|json| json.deserialize_any(visitor));
        }
        match self.string()? {
            Quoted::Plain(text) => visitor.visit_borrowed_str(text),
            Quoted::Other => self.json(|json| json.deserialize_any(visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.next() {
            Some(b'n') => self.json(|json| json.deserialize_option(visitor)),
            Some(_) => visitor.visit_some(self),
            None => Err(self.ended()),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name == TEXT {
            return visitor.visit_borrowed_str(self.value()?);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.next() != Some(b'[') {
            return self.json(|json| json.deserialize_seq(visitor));
        }
        self.at += 1;
        let mut items = Inside {
            reader: self,
            place: Place::First,
        };
        let value = visitor.visit_seq(&mut items)?;
        items.ended()?;
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.next() != Some(b'{') {
            return self.json(|json| json.deserialize_map(visitor));
        }
        self.at += 1;
        let mut members = Inside {
            reader: self,
            place: Place::First,
        };
        let value = visitor.visit_map(&mut members)?;
        members.ended()?;
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.next() != Some(b'{') {
            return self.json(|json| json.deserialize_struct(name, fields, visitor));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.json(|json| json.deserialize_enum(name, variants, visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        tuple tuple_struct identifier
    }
}

/// An object or an array, behind its first bracket.
struct Inside<'r, 'de> {
    reader: &'r mut Reader<'de>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Further,
    End,
}

impl Inside<'_, '_> {
    /// A visitor may leave before the end, and then what it leaves is too much.
    fn ended(&self) -> Result<(), Error> {
        match self.place {
            Place::End => Ok(()),
            Place::First | Place::Further => Err(self.reader.wrong("more than was to be read")),
        }
    }
}

impl<'de> SeqAccess<'de> for &mut Inside<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.reader.goes_on(&mut self.place, b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> MapAccess<'de> for &mut Inside<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if !self.reader.goes_on(&mut self.place, b'}')? {
            return Ok(None);
        }
        if self.reader.next() != Some(b'"') {
            return Err(self.reader.wrong("no key"));
        }
        let key = match self.reader.string()? {
            Quoted::Plain(text) => seed.deserialize(BorrowedStrDeserializer::new(text)),
            Quoted::Other => seed.deserialize(&mut *self.reader),
        };
        key.map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.reader.expect(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{borrow::Cow, collections::BTreeMap};

    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::Value;

    use super::*;

    /// One field for each way in which something is asked for.
    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(default)]
    struct Asked<'a> {
        #[serde(borrow)]
        text: Option<Cow<'a, str>>,
        labels: Option<BTreeMap<String, String>>,
        list: Vec<Option<i64>>,
        any: Value,
        inner: Option<Box<Self>>,
        passed: IgnoredAny,
    }

    impl Default for Asked<'_> {
        fn default() -> Self {
            Self {
                text: None,
                labels: None,
                list: Vec::new(),
                any: Value::Null,
                inner: None,
                passed: IgnoredAny,
            }
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = r#"[a"\\\{\}\[\],: \n\u{1}é😀]{0,6}"#;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        let key = prop_oneof!["text", "labels", "list", "any", "inner", "passed", "other", text];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..6)
                    .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    #[test]
    fn what_is_there_again_ends_where_it_ended() {
        let large = format!("[{}]", vec![r#"{"a":"]"}"#; 64].join(","));
        let larger = format!("[{},{large}]", large.replace('a', "b"));
        for (once, again) in [(&large, &large), (&large, &larger), (&larger, &large)] {
            let text = format!(r#"{{"passed":{once},"list":[1],"other":{again},"text":"a"}}"#);
            assert_eq!(
                read::<Asked<'_>>(text.as_bytes()).unwrap(),
                serde_json::from_str(&text).unwrap()
            );
            let mut reader = Reader::new(&text);
            reader.at = r#"{"passed":"#.len();
            assert_eq!(reader.value().unwrap(), *once);
            reader.at = text.len() - again.len() - r#","text":"a"}"#.len();
            assert_eq!(reader.value().unwrap(), *again);
        }
    }

    fn agree(text: &str) -> Result<(), TestCaseError> {
        let expected = serde_json::from_str::<Asked<'_>>(text).ok();
        prop_assert_eq!(read::<Asked<'_>>(text.as_bytes()).ok(), expected, "{}", text);
        let passed = Reader::new(text).value().map(str::to_owned).ok();
        prop_assert_eq!(passed.as_deref(), Some(text.trim()));
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_asked_for_is_what_serde_json_reads(value in json()) {
            agree(&value.to_string())?;
            agree(&serde_json::to_string_pretty(&value).unwrap())?;
        }

        #[test]
        fn a_text_with_a_fault_is_read_like_it(value in json(), at in any::<prop::sample::Index>(), fault in ".{0,2}", cut in 0..3_usize) {
            let mut text: Vec<char> = value.to_string().chars().collect();
            let at = at.index(text.len());
            let end = text.len().min(at + cut);
            text.splice(at..end, fault.chars());
            let text: String = text.into_iter().collect();
            let expected = serde_json::from_str::<Asked<'_>>(&text).ok();
            prop_assert_eq!(read::<Asked<'_>>(text.as_bytes()).ok(), expected);
        }
    }

    #[test]
    fn what_is_no_json_where_somebody_looks_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "{}}",
            "{} {}",
            r#"{"text"}"#,
            r#"{"text":}"#,
            r#"{"text":"a}"#,
            r#"{"text":"a",}"#,
            r#"{"text":"a" "list":[]}"#,
            r#"{"list":[1,]}"#,
            r#"{"list":[1 2]}"#,
            r#"{"list":[1x]}"#,
            r#"{"any":[1}"#,
            r#"{"text":tru}"#,
            r#"{,"text":"a"}"#,
            "{\"text\":\"\u{1}\"}",
            r#"{"text":"\x"}"#,
            r#"{text:"a"}"#,
            r#"{"passed":{"a":"b"}"#,
            r#"{"passed":"#,
        ] {
            assert!(serde_json::from_str::<Asked<'_>>(text).is_err(), "{text}");
            assert!(read::<Asked<'_>>(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read::<Asked<'_>>(b"{\"text\":\"\xff\"}").is_err());
    }

    #[test]
    fn what_is_passed_may_be_deep() {
        let deep = format!(
            r#"{{"passed":{}{},"text":"a"}}"#,
            "[".repeat(1_000_000),
            "]".repeat(1_000_000)
        );
        assert_eq!(read::<Asked<'_>>(deep.as_bytes()).unwrap().text.as_deref(), Some("a"));
        let kept = deep.replace("passed", "any");
        assert!(read::<Asked<'_>>(kept.as_bytes()).is_err());
    }
}
