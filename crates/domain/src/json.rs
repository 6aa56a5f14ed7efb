//! JSON as an API server takes it: whether two texts are one value, and that a struct is an object.
//!
//! It decodes a custom resource with `sigs.k8s.io/json`, stores what Go writes again, and reads that:
//! the last of the same keys holds, a number without a `.` that fits is an `int64` and any other one a
//! `float64`, half a surrogate pair is U+FFFD. So `1.0` and `1e0` are stored as `1`, but
//! 9007199254740993 and 9007199254740993.0 are two numbers.
//!
//! Nothing here recurses, and memory is bounded by the length of the texts.

mod number;
mod object;
mod order;
mod scan;
#[cfg(test)]
mod tests;
mod text;

pub use object::Object;
use order::InOrder;
use scan::Token;

/// What two JSON texts are to an API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    /// They are stored as the same value.
    Same,
    /// They are not.
    Different,
    /// One of them is no JSON that an API server accepts.
    Unreadable,
}

/// Compares two JSON texts by what an API server would store. Equal texts are the same value unread.
#[must_use]
pub fn same(a: &str, b: &str) -> Same {
    if a == b {
        return Same::Same;
    }
    let (Some(a), Some(b)) = (InOrder::read(a), InOrder::read(b)) else {
        return Same::Unreadable;
    };
    // Both are whole, so that no value is another's beginning, and commas and colons say nothing.
    if a.map(Value::of).eq(b.map(Value::of)) {
        Same::Same
    } else {
        Same::Different
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
