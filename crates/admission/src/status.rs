//! What the API server answers with a refusal.

/// A refusal's HTTP code, with the reason that Kubernetes gives for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A value that can't be.
    Invalid,
    /// Something that may not be done now.
    Forbidden,
}

impl Status {
    /// The HTTP code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Invalid => 422,
            Self::Forbidden => 403,
        }
    }

    /// The reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::Forbidden => "Forbidden",
        }
    }
}
