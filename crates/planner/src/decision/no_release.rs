//! A release that is named, and that isn't there to be taken.

use std::fmt;

use instar_api::CatalogName;
use instar_catalog::Catalog;

use super::Waiting;
use crate::pool_id::PoolId;

/// The catalog of a release, and the one of the Cluster for which it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherCatalog {
    pub of_release: CatalogName,
    pub of_cluster: CatalogName,
}

impl Waiting {
    /// A release that is named, and that the Cluster's catalog doesn't have. `pool` is absent for the target.
    pub(crate) fn no_release(catalog: &Catalog, pool: Option<PoolId>, name: &str) -> Self {
        let elsewhere = catalog.named_anywhere(name).map(|row| {
            Box::new(OtherCatalog {
                of_release: row.catalog().clone(),
                of_cluster: catalog.name().clone(),
            })
        });
        Self::NoRelease {
            pool,
            release: name.to_owned(),
            elsewhere,
        }
    }
}

/// Why a release isn't there.
pub(super) struct Elsewhere<'a>(pub(super) Option<&'a OtherCatalog>);

impl fmt::Display for Elsewhere<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("is not in the catalog"),
            Some(OtherCatalog { of_release, of_cluster }) => {
                write!(
                    f,
                    "is of {of_release}, and the Cluster's is {of_cluster}: name a release of that one"
                )
            }
        }
    }
}
