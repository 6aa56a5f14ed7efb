//! A user of a vCenter.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use k8s_openapi::ByteString;
use secrecy::{ExposeSecret, SecretString};

/// The keys of the Secret, as Cluster API Provider vSphere reads them.
const USER: &str = "username";
const PASSWORD: &str = "password";

/// A user and a password. Neither is shown.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) user: SecretString,
    pub(crate) password: SecretString,
}

impl Credentials {
    /// Reads them of a Secret's data.
    ///
    /// # Errors
    /// Which key is missing, or can't be sent.
    pub fn read(data: Option<&BTreeMap<String, ByteString>>) -> Result<Self, String> {
        let text = |key: &str| {
            let value = data.and_then(|data| data.get(key)).filter(|value| !value.0.is_empty());
            let value = value.ok_or_else(|| format!("it has no key {key}"))?;
            let text = std::str::from_utf8(&value.0).map_err(|_| format!("its key {key} is no text"))?;
            // XML has no way to write the others.
            if text
                .chars()
                .any(|character| character.is_control() && !matches!(character, '\n' | '\r' | '\t'))
            {
                return Err(format!("its key {key} has a control character"));
            }
            Ok(SecretString::from(text))
        };
        Ok(Self {
            user: text(USER)?,
            password: text(PASSWORD)?,
        })
    }

    /// By what it is remembered whether a vCenter takes them.
    #[must_use]
    pub fn mark(&self) -> LoginMark {
        LoginMark::of(self.user.expose_secret(), self.password.expose_secret())
    }

    /// Whether a text has one of them in it, as a server may send it back.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        text.contains(self.password.expose_secret())
    }
}

/// A user and a password, as they are known again: hashes by a key of this process, from which neither can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoginMark {
    user: u64,
    both: u64,
}

static MARKS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl LoginMark {
    /// That of a user, whose letters' case a vCenter ignores, with a password.
    #[must_use]
    pub fn of(user: &str, password: &str) -> Self {
        let user = user.to_lowercase();
        Self {
            user: MARKS.hash_one(&user),
            both: MARKS.hash_one((&user, password)),
        }
    }

    /// Whether both are of one user.
    #[must_use]
    pub const fn is_of_user_of(&self, other: &Self) -> bool {
        self.user == other.user
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_known_again_by_its_user_and_its_password() {
        let mark = LoginMark::of("Instar@vsphere.local", "1");
        assert_eq!(mark, LoginMark::of("instar@VSPHERE.LOCAL", "1"));
        let other = LoginMark::of("instar@vsphere.local", "2");
        assert!(mark != other && mark.is_of_user_of(&other));
        assert!(!mark.is_of_user_of(&LoginMark::of("instar2@vsphere.local", "1")));
    }

    #[test]
    fn both_keys_have_to_be_texts() {
        let read = |data: &[(&str, &[u8])]| {
            let data = data
                .iter()
                .map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())));
            Credentials::read(Some(&data.collect()))
        };
        let read_both = read(&[("username", b"u"), ("password", b"p&<\n")]).unwrap();
        assert_eq!(read_both.password.expose_secret(), "p&<\n");
        assert_eq!(format!("{read_both:?}"), "Credentials");
        for (data, why) in [
            (&[("password", &b"p"[..])][..], "it has no key username"),
            (&[("username", b"u"), ("password", b"")], "it has no key password"),
            (
                &[("username", b"u"), ("password", b"\xff")],
                "its key password is no text",
            ),
            (
                &[("username", b"\0"), ("password", b"p")],
                "its key username has a control character",
            ),
        ] {
            assert_eq!(read(data).map(drop), Err(why.to_owned()));
        }
        assert_eq!(
            Credentials::read(None).map(drop),
            Err("it has no key username".to_owned())
        );
    }
}
