//! The bytes of a string that say what they are.

/// What ends the bytes of a string that say what they are: a quote, a backslash, or a control character;
/// and its place. Most strings are short, so eight bytes are looked at at once.
#[inline]
#[must_use]
pub fn plain(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        // With this bit flipped, a quote is the next above the control characters.
        let ends = (word ^ all(0x02)).wrapping_sub(all(b' ' + 1));
        let escape = (word ^ all(b'\\')).wrapping_sub(all(1));
        // The highest bit of the first byte that is one of them, and perhaps of some behind it.
        let found = (ends | escape) & !word & all(0x80);
        if found != 0 {
            let before = (found.trailing_zeros() / 8) as usize;
            return Some((*chunk.get(before)?, at + before));
        }
        at += chunk.len();
    }
    last(bytes, at)
}

/// The same near the end of the text.
#[cold]
fn last(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = bytes.get(at..)?;
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
    Some((*rest.get(found)?, at + found))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Eight bytes at once find what one at a time would.
        #[test]
        fn a_string_ends_where_its_first_odd_byte_is(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), b'!'..=b'#', 0x1e..=0x21_u8, b'['..=b']'], 0..40),
            at in 0..40_usize,
        ) {
            let odd = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
            let found = bytes.iter().enumerate().skip(at).find(|(_, byte)| odd(byte));
            prop_assert_eq!(plain(&bytes, at), found.map(|(place, byte)| (*byte, place)));
        }
    }
}
