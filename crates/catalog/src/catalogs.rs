//! All rows, as the catalogs that they belong to.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{CatalogName, KubernetesReleaseSpec};
use instar_domain::KubeVersion;

use crate::{
    catalog::{AllRows, Catalog},
    release::{Release, UnreadableRelease},
};

/// The catalogs. Each is made once, and shared by all that ask for it.
#[derive(Debug, Default, PartialEq)]
pub struct Catalogs {
    by_name: BTreeMap<CatalogName, Arc<Catalog>>,
    everywhere: Arc<AllRows>,
}

/// What comes into one catalog.
#[derive(Default)]
struct Rows {
    by_version: BTreeMap<KubeVersion, Vec<Arc<Release>>>,
    unreadable: Vec<UnreadableRelease>,
}

impl Catalogs {
    /// Makes the catalogs of rows. Those that can't be read are left out and named.
    pub fn new<'a>(rows: impl IntoIterator<Item = (&'a str, &'a KubernetesReleaseSpec)>) -> Self {
        let mut catalogs: BTreeMap<CatalogName, Rows> = BTreeMap::new();
        let mut everywhere = AllRows::default();
        for (name, spec) in rows {
            let catalog = catalogs.entry(spec.catalog.clone()).or_default();
            match Release::read(name, spec) {
                Ok(row) => {
                    let row = Arc::new(row);
                    let version = || row.version().clone();
                    catalog.by_version.entry(version()).or_default().push(Arc::clone(&row));
                    everywhere
                        .by_version
                        .entry(version())
                        .or_default()
                        .push(Arc::clone(&row));
                    everywhere.by_name.insert(name.to_owned(), row);
                }
                Err(error) => catalog.unreadable.push(error),
            }
        }
        let of_catalogs = catalogs.values_mut().map(|rows| &mut rows.by_version);
        for by_version in of_catalogs.chain([&mut everywhere.by_version]) {
            for rows in by_version.values_mut() {
                // The name breaks ties, so that the order in which rows were listed never matters.
                rows.sort_by(|a, b| (a.revision(), a.name()).cmp(&(b.revision(), b.name())));
            }
        }
        let everywhere = Arc::new(everywhere);
        let catalogs = catalogs.into_iter().map(|(name, Rows { by_version, unreadable })| {
            let catalog = Catalog::of(name.clone(), by_version, unreadable, Arc::clone(&everywhere));
            (name, Arc::new(catalog))
        });
        Self {
            by_name: catalogs.collect(),
            everywhere,
        }
    }

    /// A catalog. One that no row names is empty.
    #[must_use]
    pub fn of(&self, name: &CatalogName) -> Arc<Catalog> {
        self.by_name.get(name).map_or_else(
            || {
                let everywhere = Arc::clone(&self.everywhere);
                Arc::new(Catalog::of(name.clone(), BTreeMap::new(), Vec::new(), everywhere))
            },
            Arc::clone,
        )
    }

    /// The rows of all catalogs that were left out, with the reason.
    pub fn unreadable(&self) -> impl Iterator<Item = &UnreadableRelease> {
        self.by_name.values().flat_map(|catalog| catalog.unreadable())
    }
}

impl Catalog {
    /// The default catalog of these rows, for where there is no other one.
    pub fn new<'a>(rows: impl IntoIterator<Item = (&'a str, &'a KubernetesReleaseSpec)>) -> Self {
        Catalogs::new(rows).of(&CatalogName::default()).as_ref().clone()
    }
}

#[cfg(test)]
mod tests;
