//! Where in a value its tokens stand.

use super::{scan::Token, text::Text};

/// What is around the next token, outermost first.
#[derive(Default)]
pub(super) struct Place<'t>(Vec<Around<'t>>);

enum Around<'t> {
    Array,
    /// With the key whose value comes next; nothing where a key does.
    Object(Option<Text<'t>>),
}

impl<'t> Place<'t> {
    /// Goes behind a token.
    pub(super) fn pass(&mut self, token: Token<'t>) {
        match token {
            Token::OpenObject => return self.0.push(Around::Object(None)),
            Token::OpenArray => return self.0.push(Around::Array),
            Token::CloseObject | Token::CloseArray => {
                self.0.pop();
            }
            Token::Text(text) => {
                if let Some(Around::Object(key @ None)) = self.0.last_mut() {
                    *key = Some(Text(text));
                    return;
                }
            }
            Token::Number(_) | Token::True | Token::False | Token::Null | Token::Comma | Token::Colon => {}
        }
        // A value has ended.
        if let Some(Around::Object(key)) = self.0.last_mut() {
            *key = None;
        }
    }

    /// The pointer to where one text has this token and the other one that.
    pub(super) fn of(mut self, a: Option<Token<'t>>, b: Option<Token<'t>>) -> String {
        if let Some(Around::Object(key @ None)) = self.0.last_mut() {
            let name = |token| match token {
                Some(Token::Text(text)) => Some(Text(text)),
                _ => None,
            };
            // Keys ascend, so the lower one is what the other text doesn't have.
            *key = name(a).into_iter().chain(name(b)).min();
        }
        self.pointer(None, usize::MAX)
    }

    /// Whether a key comes next, or the end of an object.
    pub(super) fn is_before_key(&self) -> bool {
        matches!(self.0.last(), Some(Around::Object(None)))
    }

    /// Whether the value of a member comes next.
    pub(super) fn is_member(&self) -> bool {
        matches!(self.0.last(), Some(Around::Object(Some(_))))
    }

    /// The pointer to the value that comes next, or to the member of that name; not into an array. It ends behind
    /// `limit` bytes, however long it would be.
    pub(super) fn pointer(&self, member: Option<Text<'t>>, limit: usize) -> String {
        let mut pointer = String::new();
        for around in &self.0 {
            match around {
                Around::Array => return pointer,
                Around::Object(Some(key)) => push(&mut pointer, *key, limit),
                Around::Object(None) => break,
            }
        }
        if let Some(member) = member {
            push(&mut pointer, member, limit);
        }
        pointer
    }
}

/// Appends a key, as long as the pointer has not come to its limit.
fn push(pointer: &mut String, key: Text<'_>, limit: usize) {
    if pointer.len() > limit {
        return;
    }
    pointer.push('/');
    for character in key.characters() {
        if pointer.len() > limit {
            return;
        }
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}
