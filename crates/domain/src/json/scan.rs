//! From a text to its tokens, and whether they are in their places.

use super::{number::Number, plain, text::Text};

/// How deep an API server reads.
pub(super) const DEPTH: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    OpenObject,
    CloseObject,
    OpenArray,
    CloseArray,
    Comma,
    Colon,
    /// Without its quotes.
    Text(&'t str),
    Number(&'t str),
    True,
    False,
    Null,
}

/// What a token does to a container.
pub(super) enum Nesting {
    Opens,
    Closes,
}

impl Token<'_> {
    pub(super) const fn nesting(self) -> Option<Nesting> {
        match self {
            Self::OpenObject | Self::OpenArray => Some(Nesting::Opens),
            Self::CloseObject | Self::CloseArray => Some(Nesting::Closes),
            Self::Comma | Self::Colon | Self::Text(_) | Self::Number(_) | Self::True | Self::False | Self::Null => None,
        }
    }
}

/// The tokens of a text, wherever they stand.
#[derive(Debug, Clone)]
pub(super) struct Tokens<'t> {
    text: &'t str,
    /// Where the next one may begin.
    pub(super) at: usize,
}

/// Where a text is no JSON.
#[derive(Debug)]
pub(super) struct NoJson;

impl<'t> Tokens<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) const fn from(&self, at: usize) -> Self {
        Self { text: self.text, at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn digits(&mut self) -> Result<(), NoJson> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == begin { Err(NoJson) } else { Ok(()) }
    }

    fn since(&self, begin: usize) -> Result<&'t str, NoJson> {
        self.text.get(begin..self.at).ok_or(NoJson)
    }

    fn word(&mut self, word: &str, token: Token<'t>) -> Result<Token<'t>, NoJson> {
        let rest = self.text.get(self.at..).ok_or(NoJson)?;
        if !rest.starts_with(word) {
            return Err(NoJson);
        }
        self.at += word.len();
        Ok(token)
    }

    fn mark(&mut self, token: Token<'t>) -> Token<'t> {
        self.at += 1;
        token
    }

    fn number(&mut self) -> Result<Token<'t>, NoJson> {
        let begin = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Token::Number(self.since(begin)?))
    }

    fn string(&mut self) -> Result<Token<'t>, NoJson> {
        self.at += 1;
        let begin = self.at;
        loop {
            let (odd, at) = plain(self.text.as_bytes(), self.at).ok_or(NoJson)?;
            self.at = at;
            match odd {
                b'"' => {
                    let text = self.since(begin)?;
                    self.at += 1;
                    return Ok(Token::Text(text));
                }
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                _ => return Err(NoJson),
            }
        }
    }

    fn escape(&mut self) -> Result<(), NoJson> {
        let escape = self.peek();
        self.at += 1;
        match escape {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => {
                let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(NoJson)?;
                self.at += 4;
                if digits.iter().all(u8::is_ascii_hexdigit) {
                    Ok(())
                } else {
                    Err(NoJson)
                }
            }
            None | Some(_) => Err(NoJson),
        }
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Result<Token<'t>, NoJson>;

    fn next(&mut self) -> Option<Self::Item> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        Some(match self.peek()? {
            b'{' => Ok(self.mark(Token::OpenObject)),
            b'}' => Ok(self.mark(Token::CloseObject)),
            b'[' => Ok(self.mark(Token::OpenArray)),
            b']' => Ok(self.mark(Token::CloseArray)),
            b',' => Ok(self.mark(Token::Comma)),
            b':' => Ok(self.mark(Token::Colon)),
            b'"' => self.string(),
            b't' => self.word("true", Token::True),
            b'f' => self.word("false", Token::False),
            b'n' => self.word("null", Token::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(NoJson),
        })
    }
}

/// How the keys of a text stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Each after the one before it, as Go writes them: so none is there twice.
    Ascending,
    Mixed,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A value, and at the beginning of an array its end as well.
    Value,
    FirstValue,
    /// A key, and at the beginning of an object its end as well.
    Key,
    FirstKey,
    Colon,
    CommaOrClose,
    Nothing,
}

enum Container<'t> {
    Array,
    Object { last: Option<Text<'t>> },
}

/// Reads a whole text: whether an API server would, and how its keys stand.
pub(super) fn check(text: &str) -> Result<Keys, NoJson> {
    let mut check = Check {
        keys: Keys::Ascending,
        around: Vec::new(),
        next: Next::Value,
    };
    for token in Tokens::new(text) {
        check.take(token?)?;
    }
    if check.next == Next::Nothing {
        Ok(check.keys)
    } else {
        Err(NoJson)
    }
}

struct Check<'t> {
    keys: Keys,
    around: Vec<Container<'t>>,
    next: Next,
}

impl<'t> Check<'t> {
    fn take(&mut self, token: Token<'t>) -> Result<(), NoJson> {
        match token {
            Token::OpenObject => self.open(Container::Object { last: None }, Next::FirstKey),
            Token::OpenArray => self.open(Container::Array, Next::FirstValue),
            Token::CloseObject => {
                let here = matches!(self.around.last(), Some(Container::Object { .. }));
                self.close(here && matches!(self.next, Next::FirstKey | Next::CommaOrClose))
            }
            Token::CloseArray => {
                let here = matches!(self.around.last(), Some(Container::Array));
                self.close(here && matches!(self.next, Next::FirstValue | Next::CommaOrClose))
            }
            Token::Comma => {
                let next = match self.around.last() {
                    Some(Container::Object { .. }) => Next::Key,
                    Some(Container::Array) | None => Next::Value,
                };
                self.expect(&[Next::CommaOrClose], next)
            }
            Token::Colon => self.expect(&[Next::Colon], Next::Value),
            Token::Text(text) if matches!(self.next, Next::Key | Next::FirstKey) => {
                self.key(Text(text));
                Ok(())
            }
            Token::Number(number) => {
                Number::read(number).ok_or(NoJson)?;
                self.value()
            }
            Token::Text(_) | Token::True | Token::False | Token::Null => self.value(),
        }
    }

    fn open(&mut self, container: Container<'t>, next: Next) -> Result<(), NoJson> {
        self.value()?;
        self.around.push(container);
        self.next = next;
        if self.around.len() > DEPTH {
            return Err(NoJson);
        }
        Ok(())
    }

    fn close(&mut self, may: bool) -> Result<(), NoJson> {
        if !may {
            return Err(NoJson);
        }
        self.around.pop();
        self.next = self.behind_a_value();
        Ok(())
    }

    fn key(&mut self, key: Text<'t>) {
        if let Some(Container::Object { last }) = self.around.last_mut()
            && last.replace(key).is_some_and(|last| last >= key)
        {
            self.keys = Keys::Mixed;
        }
        self.next = Next::Colon;
    }

    fn value(&mut self) -> Result<(), NoJson> {
        self.expect(&[Next::Value, Next::FirstValue], self.behind_a_value())
    }

    fn expect(&mut self, now: &[Next], next: Next) -> Result<(), NoJson> {
        if !now.contains(&self.next) {
            return Err(NoJson);
        }
        self.next = next;
        Ok(())
    }

    const fn behind_a_value(&self) -> Next {
        if self.around.is_empty() {
            Next::Nothing
        } else {
            Next::CommaOrClose
        }
    }
}
