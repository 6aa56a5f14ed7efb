//! JSON as an API server takes it: whether two texts are one value, and that a struct is an object.
//!
//! It decodes a custom resource with `sigs.k8s.io/json`, stores what Go writes again, and reads that:
//! the last of the same keys holds, a number without a `.` that fits is an `int64` and any other one a
//! `float64`, half a surrogate pair is U+FFFD. So `1.0` and `1e0` are stored as `1`, but
//! 9007199254740993 and 9007199254740993.0 are two numbers.
//!
//! Nothing here recurses, and memory is bounded by the length of the texts.

mod differences;
mod number;
mod object;
mod order;
mod place;
mod plain;
mod scan;
#[cfg(test)]
mod tests;
mod text;

pub use differences::{Difference, POINTER_LIMIT, differences};
pub use object::Object;
use order::InOrder;
use place::Place;
pub use plain::plain;
use scan::Token;

/// One of two texts is no JSON that an API server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// Where two JSON texts begin to be different values to an API server, as a JSON pointer; nothing where they
/// are stored as the same one. Equal texts are the same value unread.
///
/// Keys are looked at in their order, and the pointer doesn't go into an array.
pub fn difference(a: &str, b: &str) -> Result<Option<String>, Unreadable> {
    if a == b {
        return Ok(None);
    }
    let (mut a, mut b) = (InOrder::read(a).ok_or(Unreadable)?, InOrder::read(b).ok_or(Unreadable)?);
    let mut place = Place::default();
    // Both are whole, so that no value is another's beginning, and commas and colons say nothing.
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ok(None),
            (Some(a), Some(b)) if Value::of(a) == Value::of(b) => place.pass(a),
            (a, b) => return Ok(Some(place.of(a, b))),
        }
    }
}

/// A token as it is stored.
#[derive(PartialEq)]
enum Value<'t> {
    Mark(Token<'t>),
    Text(text::Text<'t>),
    Number(number::Number),
}

impl<'t> Value<'t> {
    fn of(token: Token<'t>) -> Self {
        match token {
            Token::Text(quoted) => Self::Text(text::Text(quoted)),
            Token::Number(number) => match number::Number::read(number) {
                Some(number) => Self::Number(number),
                None => Self::Mark(token),
            },
            Token::OpenObject
            | Token::CloseObject
            | Token::OpenArray
            | Token::CloseArray
            | Token::Comma
            | Token::Colon
            | Token::True
            | Token::False
            | Token::Null => Self::Mark(token),
        }
    }
}
