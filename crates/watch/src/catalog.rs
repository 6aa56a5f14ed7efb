//! The catalogs that the KubernetesReleases of a cache come to.

use std::{
    mem,
    sync::{Arc, RwLock},
};

use instar_api::CatalogName;
use instar_catalog::{Catalog, Catalogs};

use crate::cache::{read, write};

/// The catalogs of the releases as they are now, shared by all that ask for them.
#[derive(Debug, Default)]
pub struct CurrentCatalogs(RwLock<Arc<Catalogs>>);

impl CurrentCatalogs {
    /// The rows of a catalog that exist.
    pub fn of(&self, name: &CatalogName) -> Arc<Catalog> {
        read(&self.0).of(name)
    }

    /// A release has changed, and these are the catalogs now. A row that can't be used is logged when it turns so.
    pub fn replace(&self, catalogs: Catalogs) {
        let catalogs = Arc::new(catalogs);
        let previous = mem::replace(&mut *write(&self.0), Arc::clone(&catalogs));
        for row in catalogs.unreadable() {
            if !previous.unreadable().any(|known| known == row) {
                tracing::warn!("Release left out of the catalog: {row}");
            }
        }
    }
}
