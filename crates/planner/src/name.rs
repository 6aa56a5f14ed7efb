//! Names and values of labels that Kubernetes accepts, made of texts of any length.

use sha2::{Digest, Sha256};

/// The longest name and the longest value of a label.
const MAX_LENGTH: usize = 63;
/// How much of a hash a name carries.
pub(crate) const HASH_LENGTH: usize = 8;

/// A name as the value of a label: where it is too long, its end is a hash of the whole.
#[must_use]
pub fn label_value(name: &str) -> String {
    if name.len() <= MAX_LENGTH {
        return name.to_owned();
    }
    let kept = cut(name, MAX_LENGTH - HASH_LENGTH - 1);
    format!("{kept}-{}", hash(name))
}

/// The name of a template that is minted from one of the name `base`.
pub(crate) fn minted(base: &str, slug: &str, hash: &str) -> String {
    let suffix = format!("-{slug}-{hash}");
    // A dot is allowed in the name of a template, but machines are named after it.
    let base = base.replace('.', "-");
    format!("{}{suffix}", cut(&base, MAX_LENGTH.saturating_sub(suffix.len())))
}

/// A text as a part of a name: lower case, with a dash for what a name can't have, of at most that many characters.
#[must_use]
pub fn slug(text: &str, length: usize) -> String {
    let text: String = text
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    cut(&text, length).trim_start_matches('-').to_owned()
}

/// At most that many bytes, and a letter or a digit at the end.
fn cut(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default())
        .unwrap_or_default()
        .trim_end_matches(|character: char| !character.is_ascii_alphanumeric())
}

/// The name without what [`minted`] puts at its end: `-v1-34-3-0123abcd`.
pub(crate) fn without_suffix(name: &str) -> &str {
    let Some((rest, hash)) = name.rsplit_once('-') else {
        return name;
    };
    let is_hash = hash.len() == HASH_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_slug = |slug: &str| {
        let mut parts = slug.strip_prefix("-v").unwrap_or_default().split('-');
        (0..3).all(|_| parts.next().is_some_and(number))
    };
    if !is_hash {
        return name;
    }
    let mut starts = rest.rmatch_indices("-v").map(|(at, _)| rest.split_at(at));
    let found = starts.find(|(base, slug)| !base.is_empty() && is_slug(slug));
    found.map_or(name, |(base, _)| base)
}

/// The beginning of the SHA-256 of a text, in hexadecimal digits.
#[must_use]
pub fn hash(text: &str) -> String {
    let mut hash = digest(text);
    hash.truncate(HASH_LENGTH);
    hash
}

/// The SHA-256 of a text, in hexadecimal digits.
pub(crate) fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::new(), |mut hex, byte| {
        for half in [byte >> 4, byte & 0xf] {
            hex.extend(char::from_digit(u32::from(half), 16));
        }
        hex
    })
}
