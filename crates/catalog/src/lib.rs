//! The catalog: resolving a target to a release, choosing the path there, finding each pool's
//! image, and the rules of a step.
//!
//! [`Catalogs`] is a value made from the rows that exist, and [`Catalog`] what one Cluster sees of them.
//! [`Catalog::resolve`] answers "which row is meant", [`path`] "which versions lie between", [`Release::image`] "what does
//! this pool's template get", [`Release::contradicts`] "does a pin say what its release says", [`etcd`] and
//! [`core_dns`] "may this one follow that one", [`kubeadm`] "what does kubeadm bring by itself", and [`lint`] "what is wrong with the rows as a whole".
//!
//! Invariants: no client, no IO, no clock (the day is an input); every function is total.

mod catalog;
mod catalogs;
pub mod core_dns;
pub mod etcd;
pub mod kubeadm;
pub mod lint;
pub mod path;
mod pin;
mod release;
mod step;

pub use catalog::{Catalog, Miss, Resolved};
pub use catalogs::Catalogs;
pub use release::{InvalidValue, Labels, Pool, Release, Role, UnreadableRelease, read_values};
pub use step::StepRefusal;
