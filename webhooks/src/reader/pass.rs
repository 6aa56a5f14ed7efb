//! Passing a value without keeping anything of it.
//!
//! Each function gets all bytes and a place, and gives the place behind what it passes; nothing where that
//! is no JSON.

/// Passes a value from its first byte.
pub(super) fn value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut around = Brackets::default();
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
fn sign(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
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
    let at = at + plain(bytes.get(at..)?)?;
    match bytes.get(at)? {
        b'"' => Some(at + 1),
        _ => escaped(bytes, at),
    }
}

/// Passes the rest of a string in which something is escaped.
fn escaped(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += plain(bytes.get(at..)?)?;
        match bytes.get(at)? {
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

/// How many bytes of a string say what they are: up to a quote, a backslash, or a control character. Most
/// strings are short, so eight bytes are looked at at once.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let mut rest = bytes;
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let escape = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let control = word.wrapping_sub(ONES * u64::from(b' '));
        // The highest bit of the first byte that is one of them, and perhaps of some behind it.
        let found = (quote | escape | control) & !word & (ONES << 7);
        if found != 0 {
            return Some(bytes.len() - rest.len() + (found.trailing_zeros() / 8) as usize);
        }
        rest = behind;
    }
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
    Some(bytes.len() - rest.len() + found)
}

#[derive(Clone, Copy)]
enum Bracket {
    Array,
    Object,
}

/// The brackets that are open, a bit for each.
#[derive(Default)]
struct Brackets {
    depth: usize,
    innermost: u64,
    further: Vec<u64>,
}

impl Brackets {
    const IN_A_WORD: usize = 64;

    fn open(&mut self, bracket: Bracket) {
        if self.depth > 0 && self.depth.is_multiple_of(Self::IN_A_WORD) {
            self.further.push(self.innermost);
        }
        let bit = match bracket {
            Bracket::Array => 0,
            Bracket::Object => 1,
        };
        self.innermost = self.innermost << 1 | bit;
        self.depth += 1;
    }

    fn innermost(&self) -> Option<Bracket> {
        match (self.depth, self.innermost & 1) {
            (0, _) => None,
            (_, 0) => Some(Bracket::Array),
            (_, _) => Some(Bracket::Object),
        }
    }

    fn close(&mut self) {
        self.innermost >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(Self::IN_A_WORD) {
            self.innermost = self.further.pop().unwrap_or_default();
        }
    }
}
