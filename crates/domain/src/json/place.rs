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
        let keys = self.0.iter().map_while(|around| match around {
            Around::Array => None,
            Around::Object(key) => *key,
        });
        keys.fold(String::new(), |mut pointer, key| {
            pointer.push('/');
            for character in key.characters() {
                match character {
                    '~' => pointer.push_str("~0"),
                    '/' => pointer.push_str("~1"),
                    other => pointer.push(other),
                }
            }
            pointer
        })
    }
}
