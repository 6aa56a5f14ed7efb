//! Strings, with their escapes undone.

use std::{cmp::Ordering, str::Chars};

/// What stands between the quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'t>(pub(super) &'t str);

impl<'t> Text<'t> {
    /// What it says.
    pub(super) fn characters(&self) -> Characters<'t> {
        Characters(self.0.chars())
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.cmp(other).is_eq()
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    /// The order of Go's keys: that of the bytes, which in UTF-8 is that of the characters.
    fn cmp(&self, other: &Self) -> Ordering {
        self.characters().cmp(other.characters())
    }
}

pub(super) struct Characters<'t>(Chars<'t>);

impl Iterator for Characters<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let character = self.0.next()?;
        if character != '\\' {
            return Some(character);
        }
        Some(match self.0.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.unicode(),
            itself => itself,
        })
    }
}

impl Characters<'_> {
    /// Half a pair is the replacement character, and what follows it stands for itself.
    fn unicode(&mut self) -> char {
        let Some(first) = unit(&mut self.0) else {
            return char::REPLACEMENT_CHARACTER;
        };
        let mut after = self.0.clone();
        let second = (after.next() == Some('\\') && after.next() == Some('u'))
            .then(|| unit(&mut after))
            .flatten();
        let units = [first, second.unwrap_or_default()];
        match char::decode_utf16(units).next() {
            Some(Ok(character)) => {
                if character.len_utf16() == 2 {
                    self.0 = after;
                }
                character
            }
            Some(Err(_)) | None => char::REPLACEMENT_CHARACTER,
        }
    }
}

/// Four hexadecimal digits.
fn unit(characters: &mut Chars<'_>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit * 16 + characters.next()?.to_digit(16)?;
    }
    u16::try_from(unit).ok()
}
