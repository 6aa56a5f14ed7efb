//! Names that a cluster says, as parts of a path.

/// Whether it can be one: a cluster that isn't an API server may say anything.
pub(super) fn is_name(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    (1..=253).contains(&name.len()) && name.bytes().all(is_of_name) && name.bytes().any(|byte| byte != b'.')
}
