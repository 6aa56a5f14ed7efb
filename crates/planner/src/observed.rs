//! What could be read of an object, or why it could not.

/// A part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed<T> {
    /// It could be read.
    Read(T),
    /// It is there and can't be read.
    Invalid(Unreadable),
}

impl<T> Observed<T> {
    /// The part, where it could be read.
    #[must_use]
    pub const fn read(&self) -> Option<&T> {
        match self {
            Self::Read(part) => Some(part),
            Self::Invalid(_) => None,
        }
    }

    /// The same; what couldn't be read goes to the others.
    pub(crate) fn read_or<'a>(&'a self, unreadable: &mut Vec<&'a Unreadable>) -> Option<&'a T> {
        match self {
            Self::Read(part) => Some(part),
            Self::Invalid(object) => {
                unreadable.push(object);
                None
            }
        }
    }
}

/// An object that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreadable {
    pub kind: String,
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The parts that could be read; the others go to `unreadable`.
pub(crate) fn read<'a, T>(parts: &'a [Observed<T>], unreadable: &mut Vec<&'a Unreadable>) -> Vec<&'a T> {
    parts.iter().filter_map(|part| part.read_or(unreadable)).collect()
}
