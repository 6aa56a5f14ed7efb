//! Whether VM templates are in a vCenter, asked with the identity of a VSphereCluster.
//!
//! ```text
//! VSphereCluster ─▶ VCenter (pure) ─▶ connect: thumbprint ─▶ login ─▶ search ─▶ logout ─▶ Presence of each image
//! ```
//!
//! The objects and the server that they name are hostile input. Invariants: credentials go to a server only after its
//! certificate has been compared with the thumbprint, and on that connection alone; a Secret is used only for the object
//! that owns it, as the provider marks it; no redirect is followed; every call
//! has a deadline, every body and list a bound; what opens a vCenter reaches no error and no log, and neither does what
//! the server says in words; a session is logged out of.
//!
//! These few calls are written by hand: the libraries for vCenter take its JSON protocol, which it has since 8.0.1, and
//! Cluster API Provider vSphere takes vCenter 7 too.

mod address;
mod client;
mod credentials;
mod error;
mod identity;
mod image_name;
mod inventory;
mod look;
mod soap;
mod thumbprint;

pub use address::Address;
pub use credentials::{Credentials, LoginMark};
pub use error::LookError;
pub use identity::{Identity, IdentityError, Location, Owner, VCenter, allowed_secret};
pub use look::{WantedImage, look};
pub use thumbprint::Thumbprint;

#[cfg(test)]
mod tests;
