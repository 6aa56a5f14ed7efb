//! The tokens of a text in one order: keys ascending, and of the same keys only the last.

use super::{
    scan::{self, Keys, Nesting, Token, Tokens},
    text::Text,
};

/// The tokens of values without commas and colons, in the order that Go writes them in.
///
/// What Go wrote is read as it stands. Only where the keys stand otherwise, each object's members are
/// sorted, which takes the ends of all containers, so that they are skipped without being read again.
pub(super) struct InOrder<'t> {
    tokens: Tokens<'t>,
    /// Nothing where all keys ascend.
    ends: Option<Ends>,
    open: Vec<Open>,
}

/// What is being read.
enum Open {
    Array,
    Object {
        /// The members that are left, the next one at the end.
        rest: Vec<Member>,
        /// Of the key that was read last, where its value begins.
        value: Option<u32>,
        /// Behind the object.
        end: usize,
    },
}

/// Where a key begins, and its value.
#[derive(Clone, Copy)]
struct Member {
    key: u32,
    value: u32,
}

impl<'t> InOrder<'t> {
    /// None for what an API server would not read.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        // Offsets are kept in 32 bits; no request is nearly as long.
        u32::try_from(text.len()).ok()?;
        let ends = match scan::check(text).ok()? {
            Keys::Ascending => None,
            Keys::Mixed => Some(Ends::of(text)),
        };
        Some(Self {
            tokens: Tokens::new(text),
            ends,
            open: Vec::new(),
        })
    }

    /// The next token where it stands, and what it opens.
    fn step(&mut self) -> Option<Token<'t>> {
        let token = token(&mut self.tokens)?;
        let Some(ends) = &self.ends else {
            return Some(token);
        };
        if token == Token::OpenObject {
            self.open.push(members(self.tokens.clone(), ends));
        } else if token == Token::OpenArray {
            self.open.push(Open::Array);
        } else if token == Token::CloseArray {
            self.open.pop();
        }
        Some(token)
    }
}

impl<'t> Iterator for InOrder<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        let Some(Open::Object { rest, value, end }) = self.open.last_mut() else {
            return self.step();
        };
        if let Some(value) = value.take() {
            self.tokens.at = value as usize;
            return self.step();
        }
        if let Some(member) = rest.pop() {
            *value = Some(member.value);
            self.tokens.at = member.key as usize;
            return token(&mut self.tokens);
        }
        self.tokens.at = *end;
        self.open.pop();
        Some(Token::CloseObject)
    }
}

/// The next token that says something.
fn token<'t>(tokens: &mut Tokens<'t>) -> Option<Token<'t>> {
    tokens
        .map_while(Result::ok)
        .find(|token| !matches!(token, Token::Comma | Token::Colon))
}

/// The members of the object that was just opened, in their order.
fn members(mut tokens: Tokens<'_>, ends: &Ends) -> Open {
    let (text, end) = (tokens.clone(), ends.behind(tokens.at));
    let mut rest = Vec::new();
    loop {
        let key = offset(tokens.at);
        let Some(Token::Text(_)) = token(&mut tokens) else {
            break;
        };
        let value = offset(tokens.at);
        if let Some(Token::OpenObject | Token::OpenArray) = token(&mut tokens) {
            tokens.at = ends.behind(tokens.at);
        }
        rest.push(Member { key, value });
    }
    let key = |member: &Member| {
        let Some(Token::Text(key)) = token(&mut text.from(member.key as usize)) else {
            return Text("");
        };
        Text(key)
    };
    // From the end: the greatest key first, and of the same keys the last one, which is kept.
    rest.sort_unstable_by(|a, b| key(b).cmp(&key(a)).then(b.key.cmp(&a.key)));
    rest.dedup_by(|a, b| key(a) == key(b));
    Open::Object { rest, value: None, end }
}

/// Of each container, where it begins and where it ends: behind its marks.
struct Ends(Vec<(u32, u32)>);

impl Ends {
    /// Of a text that was checked.
    fn of(text: &str) -> Self {
        let (mut ends, mut open) = (Vec::new(), Vec::new());
        let mut tokens = Tokens::new(text);
        while let Some(token) = token(&mut tokens) {
            match token.nesting() {
                Some(Nesting::Opens) => {
                    open.push(ends.len());
                    ends.push((offset(tokens.at), 0));
                }
                Some(Nesting::Closes) => {
                    if let Some((_, end)) = open.pop().and_then(|opened: usize| ends.get_mut(opened)) {
                        *end = offset(tokens.at);
                    }
                }
                None => {}
            }
        }
        Self(ends)
    }

    fn behind(&self, begin: usize) -> usize {
        let found = self.0.binary_search_by_key(&offset(begin), |(begin, _)| *begin);
        let end = found.ok().and_then(|found| self.0.get(found));
        end.map_or(usize::MAX, |(_, end)| *end as usize)
    }
}

/// No text is read whose offsets don't fit.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
