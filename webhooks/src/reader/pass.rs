//! Passing a value without keeping anything of it.
//!
//! Each function gets all bytes and a place, and gives the place behind what it passes; nothing where that
//! is no JSON.

use instar_domain::json::plain;

/// Passes a value from its first byte.
pub(super) fn value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut around = Brackets::new();
    loop {
        match bytes.get(at)? {
            b' ' | b'\n' | b'\r' | b'\t' => {
                at += 1;
                continue;
            }
            b'"' => at = string(bytes, at + 1)?,
            b'{' => match sign(bytes, at + 1)? {
                (b'}', behind) => at = behind,
                (b'"', behind) => {
                    around.open(Bracket::Object);
                    at = colon(bytes, string(bytes, behind)?)?;
                    continue;
                }
                _ => return None,
            },
            b'[' => match sign(bytes, at + 1)? {
                (b']', behind) => at = behind,
                (_, behind) => {
                    around.open(Bracket::Array);
                    at = behind - 1;
                    continue;
                }
            },
            b't' => at = word(bytes, at, b"true")?,
            b'f' => at = word(bytes, at, b"false")?,
            b'n' => at = word(bytes, at, b"null")?,
            _ => at = number(bytes, at)?,
        }
        // A value has ended here, and with it perhaps what it is in.
        loop {
            let Some(bracket) = around.innermost() else {
                return Some(at);
            };
            let (byte, behind) = sign(bytes, at)?;
            at = behind;
            match (byte, bracket) {
                (b',', Bracket::Array) => break,
                (b',', Bracket::Object) => {
                    at = key(bytes, at)?;
                    break;
                }
                (b'}', Bracket::Object) | (b']', Bracket::Array) => around.close(),
                _ => return None,
            }
        }
    }
}

/// The next byte that isn't white space, and the place behind it.
#[inline]
fn sign(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let byte = *bytes.get(at)?;
    if byte > b' ' {
        return Some((byte, at + 1));
    }
    spaced(bytes, at)
}

#[cold]
fn spaced(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => {}
            _ => return Some((byte, at)),
        }
    }
}

fn key(bytes: &[u8], at: usize) -> Option<usize> {
    match sign(bytes, at)? {
        (b'"', behind) => colon(bytes, string(bytes, behind)?),
        _ => None,
    }
}

fn colon(bytes: &[u8], at: usize) -> Option<usize> {
    match sign(bytes, at)? {
        (b':', behind) => Some(behind),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(word).then_some(at + word.len())
}

fn number(bytes: &[u8], mut at: usize) -> Option<usize> {
    let digits = |at: usize| {
        let digits = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (digits > 0).then_some(at + digits)
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') {
        at + 1
    } else {
        digits(at)?
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let is_signed = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = digits(at + 1 + usize::from(is_signed))?;
    }
    Some(at)
}

/// Passes a string from behind its first quote.
#[inline]
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let (byte, at) = plain(bytes, at)?;
    if byte == b'"' { Some(at + 1) } else { escaped(bytes, at) }
}

/// Passes the rest of a string in which something is escaped.
fn escaped(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let (byte, behind) = plain(bytes, at)?;
        at = behind;
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => match bytes.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' => {
                    let digits = bytes.get(at + 2..at + 6)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    at += 6;
                }
                _ => return None,
            },
            _ => return None,
        }
    }
}

#[derive(Clone, Copy)]
enum Bracket {
    Array,
    Object,
}

/// The brackets that are open, a bit for each.
struct Brackets {
    /// Behind a bit that says where it begins.
    innermost: u64,
    /// What was there before, each full.
    further: Vec<u64>,
}

impl Brackets {
    const NONE: u64 = 1;

    const fn new() -> Self {
        Self {
            innermost: Self::NONE,
            further: Vec::new(),
        }
    }

    #[inline]
    fn open(&mut self, bracket: Bracket) {
        if self.innermost.leading_zeros() == 0 {
            self.further.push(self.innermost);
            self.innermost = Self::NONE;
        }
        let bit = match bracket {
            Bracket::Array => 0,
            Bracket::Object => 1,
        };
        self.innermost = self.innermost << 1 | bit;
    }

    #[inline]
    const fn innermost(&self) -> Option<Bracket> {
        match (self.innermost, self.innermost & 1) {
            (Self::NONE, _) => None,
            (_, 0) => Some(Bracket::Array),
            (_, _) => Some(Bracket::Object),
        }
    }

    #[inline]
    fn close(&mut self) {
        self.innermost >>= 1;
        if self.innermost == Self::NONE
            && let Some(before) = self.further.pop()
        {
            self.innermost = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// At any depth each bracket is closed by its own.
        #[test]
        fn brackets_close_what_they_open(
            opened in prop::collection::vec(prop_oneof![Just(("[", "]")), Just((r#"{"":"#, "}"))], 0..200),
            wrong in any::<prop::sample::Index>(),
        ) {
            let (open, mut close): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
            close.reverse();
            let text = |close: &[&str]| format!("{}1{}", open.concat(), close.concat());
            let whole = text(&close);
            prop_assert_eq!(value(whole.as_bytes(), 0), Some(whole.len()));
            if close.is_empty() {
                return Ok(());
            }
            if let Some(bracket) = close.get_mut(wrong.index(open.len())) {
                *bracket = if *bracket == "]" { "}" } else { "]" };
            }
            prop_assert_eq!(value(text(&close).as_bytes(), 0), None);
        }
    }
}
