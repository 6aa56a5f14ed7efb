//! The catalog that the KubernetesReleases of a cache come to.

use std::{
    mem,
    sync::{Arc, RwLock},
};

use instar_catalog::Catalog;

use crate::cache::{read, write};

/// The catalog of the releases as they are now, shared by all that ask for it.
#[derive(Debug, Default)]
pub struct CurrentCatalog(RwLock<Arc<Catalog>>);

impl CurrentCatalog {
    /// The rows that exist.
    pub fn get(&self) -> Arc<Catalog> {
        Arc::clone(&read(&self.0))
    }

    /// A release has changed, and this is the catalog now. A row that can't be used is logged when it turns so.
    pub fn replace(&self, catalog: Catalog) {
        let catalog = Arc::new(catalog);
        let previous = mem::replace(&mut *write(&self.0), Arc::clone(&catalog));
        for row in catalog.unreadable() {
            if !previous.unreadable().contains(row) {
                tracing::warn!("Release left out of the catalog: {row}");
            }
        }
    }
}
