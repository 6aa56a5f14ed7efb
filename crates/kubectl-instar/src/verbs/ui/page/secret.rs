//! A secret that is made at the start, and compared without telling how much of it fits.

use std::fmt::Write as _;

use rustls::crypto::ring;
use subtle::ConstantTimeEq;

use crate::Error;

/// 256 random bits, in hexadecimal digits.
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        let random = ring::default_provider().secure_random;
        random.fill(&mut bytes).map_err(|_| Error::NoRandom)?;
        let digits = bytes.iter().fold(String::with_capacity(64), |mut digits, byte| {
            // A text takes whatever is written.
            let _ = write!(digits, "{byte:02x}");
            digits
        });
        Ok(Self(digits))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// In a time that depends on nothing but the length of what is given.
    pub(crate) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_itself_alone() {
        let (one, other) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_eq!(one.as_str().len(), 64);
        assert!(one.is(one.as_str()));
        assert!(!one.is(other.as_str()));
        assert!(!one.is(""));
        assert!(!one.is(&one.as_str()[1..]));
    }
}
