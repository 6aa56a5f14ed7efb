//! What must hold for any bytes, one function for each kind of text that comes from outside.
//!
//! A property fails by panicking. `make fuzz` runs each under libFuzzer (`libfuzzer/`), and the test
//! of this crate runs each over its seeds and over random changes to them, in every `make test`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::unwrap_in_result,
    reason = "a property fails by panicking"
)]

mod admission_review;
mod expressions;
mod json;
mod kubeconfig;
mod pins;
mod pointers;
mod reviews;
mod runtime_hook;
mod versions;
mod world;

pub use admission_review::{admission_review, rules_named};
pub use expressions::expressions;
pub use json::json;
pub use kubeconfig::kubeconfig;
pub use pins::pins;
pub use pointers::pointers;
pub use reviews::changed_review;
pub use runtime_hook::runtime_hook;
pub use versions::versions;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Versions, minors, how they compare, and the skew between them.
    Versions,
    Pointers,
    /// The annotation that carries a Cluster's pins.
    Pins,
    /// Whether two JSON texts are one value.
    Json,
    /// The kubeconfig of a workload cluster, as a Secret holds it.
    Kubeconfig,
    /// CEL of add-ons and gates, and the status that it is asked of.
    Expressions,
    AdmissionReview,
    /// A request of Cluster API's Runtime Hooks.
    RuntimeHook,
}

impl Target {
    pub const ALL: [Self; 8] = [
        Self::Versions,
        Self::Pointers,
        Self::Pins,
        Self::Json,
        Self::Kubeconfig,
        Self::Expressions,
        Self::AdmissionReview,
        Self::RuntimeHook,
    ];

    /// Its name, which is also that of the folder of its seeds.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Versions => "versions",
            Self::Pointers => "pointers",
            Self::Pins => "pins",
            Self::Json => "json",
            Self::Kubeconfig => "kubeconfig",
            Self::Expressions => "expressions",
            Self::AdmissionReview => "admission_review",
            Self::RuntimeHook => "runtime_hook",
        }
    }

    /// Holds its property against an input.
    pub fn hold(self, input: &[u8]) {
        match self {
            Self::Versions => versions(input),
            Self::Pointers => pointers(input),
            Self::Pins => pins(input),
            Self::Json => json(input),
            Self::Kubeconfig => kubeconfig(input),
            Self::Expressions => expressions(input),
            Self::AdmissionReview => admission_review(input),
            Self::RuntimeHook => runtime_hook(input),
        }
    }
}
