//! All places where a value becomes another one, and how.

use std::{cmp::Ordering, iter::Peekable, ops::ControlFlow};

use super::{
    Unreadable, Value,
    order::InOrder,
    place::Place,
    scan::{Nesting, Token},
    text::Text,
};

/// How long a pointer may be, in bytes: a longer one is cut off behind it.
pub const POINTER_LIMIT: usize = 1024;

/// How a place of a value differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// A member of an object, where there was none or null.
    Added,
    /// A member of an object that is gone.
    Removed,
    /// A value that is another one. The pointer is that of the array where one has more elements or fewer.
    Changed,
}

/// Shows each place where `new` differs from `old`, as a JSON pointer that doesn't go into an array, in the order of
/// the keys, until `visit` breaks. What is added, removed or of another type is shown once, and not what is in it.
///
/// The pointer has at most a few bytes more than [`POINTER_LIMIT`]. One that is longer than that was cut off.
pub fn differences<B>(
    old: &str,
    new: &str,
    mut visit: impl FnMut(Difference, String) -> ControlFlow<B>,
) -> Result<ControlFlow<B>, Unreadable> {
    if old == new {
        return Ok(ControlFlow::Continue(()));
    }
    let read = |text| InOrder::read(text).map(Iterator::peekable).ok_or(Unreadable);
    let mut walk = Walk {
        old: read(old)?,
        new: read(new)?,
        place: Place::default(),
    };
    while let Some(found) = walk.next() {
        if let (Some(difference), pointer) = found
            && let ControlFlow::Break(end) = visit(difference, pointer)
        {
            return Ok(ControlFlow::Break(end));
        }
    }
    Ok(ControlFlow::Continue(()))
}

struct Walk<'t> {
    old: Peekable<InOrder<'t>>,
    new: Peekable<InOrder<'t>>,
    /// Of both, since what only one has is skipped.
    place: Place<'t>,
}

impl<'t> Walk<'t> {
    /// Goes one token further, or one value where the two differ. None at the end.
    fn next(&mut self) -> Option<(Option<Difference>, String)> {
        let (old, new) = (self.old.peek().copied(), self.new.peek().copied());
        if self.place.is_before_key() {
            let (old, new) = (key(old), key(new));
            return Some(match order(old, new) {
                Ordering::Equal => self.pass(),
                // Keys ascend, so the lower one is what the other object doesn't have.
                Ordering::Less => self.alone(Difference::Removed, old),
                Ordering::Greater => self.alone(Difference::Added, new),
            });
        }
        let (old, new) = match (old, new) {
            (None, None) => return None,
            // Both are whole values, so both end at once.
            (None, Some(_)) | (Some(_), None) => return Some(self.changed(Difference::Changed)),
            (Some(old), Some(new)) => (old, new),
        };
        Some(if Value::of(old) == Value::of(new) {
            self.pass()
        } else if old == Token::CloseArray || new == Token::CloseArray {
            self.rest_of_array()
        } else if old == Token::Null && self.place.is_member() {
            self.changed(Difference::Added)
        } else {
            self.changed(Difference::Changed)
        })
    }

    /// A token that both have.
    fn pass(&mut self) -> (Option<Difference>, String) {
        self.new.next();
        if let Some(token) = self.old.next() {
            self.place.pass(token);
        }
        (None, String::new())
    }

    /// A member that only one has.
    fn alone(&mut self, difference: Difference, member: Option<Text<'t>>) -> (Option<Difference>, String) {
        let pointer = self.place.pointer(member, POINTER_LIMIT);
        let has_it = match difference {
            Difference::Removed => &mut self.old,
            Difference::Added | Difference::Changed => &mut self.new,
        };
        has_it.next();
        skip_value(has_it);
        (Some(difference), pointer)
    }

    /// A value that is another one.
    fn changed(&mut self, difference: Difference) -> (Option<Difference>, String) {
        let pointer = self.place.pointer(None, POINTER_LIMIT);
        skip_value(&mut self.old);
        skip_value(&mut self.new);
        self.place.pass(Token::Null);
        (Some(difference), pointer)
    }

    /// An array that ends earlier in one than in the other.
    fn rest_of_array(&mut self) -> (Option<Difference>, String) {
        let pointer = self.place.pointer(None, POINTER_LIMIT);
        for tokens in [&mut self.old, &mut self.new] {
            while tokens.peek().is_some_and(|token| *token != Token::CloseArray) {
                skip_value(tokens);
            }
        }
        (Some(Difference::Changed), pointer)
    }
}

const fn key(token: Option<Token<'_>>) -> Option<Text<'_>> {
    match token {
        Some(Token::Text(text)) => Some(Text(text)),
        // The end of the object.
        _ => None,
    }
}

/// The end comes behind every key.
fn order(old: Option<Text<'_>>, new: Option<Text<'_>>) -> Ordering {
    match (old, new) {
        (Some(old), Some(new)) => old.cmp(&new),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

fn skip_value(tokens: &mut Peekable<InOrder<'_>>) {
    let mut depth = 0_usize;
    for token in tokens {
        match token.nesting() {
            Some(Nesting::Opens) => depth += 1,
            Some(Nesting::Closes) => depth = depth.saturating_sub(1),
            None => {}
        }
        if depth == 0 {
            return;
        }
    }
}
