//! The rows of a catalog, and which of them a target means.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use instar_api::CatalogName;
use instar_domain::{BuildOrder, KubeVersion, Minor};
use jiff::civil::Date;

use crate::release::{Release, UnreadableRelease};

/// The rows of one catalog, by version and, within one, from the lowest revision to the highest. It also knows the rows of
/// the others by their names: Clusters stay pinned to them when their catalog changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    name: CatalogName,
    rows: BTreeMap<KubeVersion, Vec<Arc<Release>>>,
    unreadable: Vec<UnreadableRelease>,
    everywhere: Arc<AllRows>,
}

/// The rows of all catalogs.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct AllRows {
    pub(crate) by_name: BTreeMap<String, Arc<Release>>,
    pub(crate) by_version: BTreeMap<KubeVersion, Vec<Arc<Release>>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Resolved<'a> {
    /// The present version is what was asked for; nothing moves.
    Unchanged,
    /// This row. Its version may be the present one, where the row was asked for by its name.
    Release(&'a Release),
}

/// A target that means nothing here: what was asked, what exists, the nearest that would work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    asked: String,
    catalog: CatalogName,
    exists: Vec<KubeVersion>,
    nearest: Option<Box<str>>,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// No row is called so or has this version.
    Unknown,
    /// Rows of what was asked for exist, and none of them is supported.
    NoneSupported,
    /// The same, and the class lists none of their versions.
    NotOffered,
    /// It is the name of a row of another catalog.
    NamesRowOf(CatalogName),
    /// Only other catalogs have rows of this version; one of them.
    VersionOnlyIn(CatalogName),
}

/// How many versions a message lists before it only counts.
const LISTED: usize = 8;

impl Catalog {
    pub(crate) const fn of(
        name: CatalogName,
        rows: BTreeMap<KubeVersion, Vec<Arc<Release>>>,
        unreadable: Vec<UnreadableRelease>,
        everywhere: Arc<AllRows>,
    ) -> Self {
        Self {
            name,
            rows,
            unreadable,
            everywhere,
        }
    }

    #[must_use]
    pub const fn name(&self) -> &CatalogName {
        &self.name
    }

    /// The rows of this catalog that were left out, with the reason.
    #[must_use]
    pub fn unreadable(&self) -> &[UnreadableRelease] {
        &self.unreadable
    }

    /// All versions, oldest first.
    #[must_use]
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = &KubeVersion> {
        self.rows.keys()
    }

    /// All rows, oldest first.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        self.rows.values().flatten().map(AsRef::as_ref)
    }

    /// The row of this catalog with that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Release> {
        self.named_anywhere(name).filter(|row| *row.catalog() == self.name)
    }

    /// The row with that name in any catalog: for what already runs it, or was pinned to it.
    #[must_use]
    pub fn named_anywhere(&self, name: &str) -> Option<&Release> {
        self.everywhere.by_name.get(name).map(AsRef::as_ref)
    }

    /// A row of any catalog that sets a value of templates of a kind at, above or below a pointer.
    #[must_use]
    pub fn sets_near(&self, group: &str, kind: &str, pointer: &str) -> Option<&Release> {
        let mut rows = self.everywhere.by_name.values();
        let sets = |row: &&Arc<Release>| row.pointers_of_kind(group, kind).any(|set| set.overlaps(pointer));
        rows.find(sets).map(AsRef::as_ref)
    }

    /// The rows of a version, lowest revision first.
    pub fn rows_of(&self, version: &KubeVersion) -> impl DoubleEndedIterator<Item = &Release> + Clone + use<'_> {
        self.rows.get(version).into_iter().flatten().map(AsRef::as_ref)
    }

    /// The rows of a version in any catalog: for what already runs one of them.
    pub fn rows_anywhere(&self, version: &KubeVersion) -> impl Iterator<Item = &Release> + use<'_> {
        let rows = self.everywhere.by_version.get(version);
        rows.into_iter().flatten().map(AsRef::as_ref)
    }

    /// The row to take for a version: the highest revision that is supported, else the highest.
    #[must_use]
    pub fn best(&self, version: &KubeVersion, today: Date) -> Option<&Release> {
        let mut newest_first = self.rows_of(version).rev();
        let newest = newest_first.clone().next();
        newest_first.find(|row| row.is_supported(today)).or(newest)
    }

    /// Which row a target means: a full version, a prefix such as `v1.36`, or a row's name.
    ///
    /// `present` is the version that runs: a prefix that it satisfies changes nothing, so that a
    /// Cluster kept in Git never moves by itself. `offered` are the versions that can be gone to
    /// at all (a class' list); `None` offers everything.
    ///
    /// # Errors
    /// Where nothing fits: with what exists and the nearest that would work.
    pub fn resolve(
        &self,
        asked: &str,
        present: Option<&KubeVersion>,
        offered: Option<&[KubeVersion]>,
        today: Date,
    ) -> Result<Resolved<'_>, Miss> {
        let with_v = with_v(asked);
        let full = with_v.parse::<KubeVersion>().ok();
        let minor = with_v.parse::<Minor>().ok();
        let satisfies = |present: &KubeVersion| full.as_ref() == Some(present) || minor == Some(present.minor());
        if present.is_some_and(satisfies) {
            return Ok(Resolved::Unchanged);
        }
        let is_offered = |version: &KubeVersion| offered.is_none_or(|offered| offered.contains(version));
        if let Some(row) = full.as_ref().and_then(|version| self.best(version, today)) {
            return Ok(Resolved::Release(row));
        }
        // Cluster API's defaulting puts a v in front of what it takes for a version.
        let named = self
            .named_anywhere(asked)
            .or_else(|| asked.strip_prefix('v').and_then(|bare| self.named_anywhere(bare)));
        let mut why = match named {
            Some(row) if *row.catalog() == self.name => return Ok(Resolved::Release(row)),
            Some(row) => Why::NamesRowOf(row.catalog().clone()),
            None => self
                .elsewhere(full.as_ref(), minor)
                .map_or(Why::Unknown, |row| Why::VersionOnlyIn(row.catalog().clone())),
        };
        if let Some(minor) = minor {
            let of_minor = || self.versions().rev().filter(move |version| version.minor() == minor);
            let supported =
                |version: &&KubeVersion| self.best(version, today).is_some_and(|row| row.is_supported(today));
            let found = of_minor()
                .filter(|version| is_offered(version))
                .find(supported)
                .and_then(|version| self.best(version, today));
            if let Some(row) = found {
                return Ok(Resolved::Release(row));
            }
            match (of_minor().next(), of_minor().find(supported)) {
                (None, _) => {}
                (Some(_), None) => why = Why::NoneSupported,
                (Some(_), Some(_)) => why = Why::NotOffered,
            }
        }
        Err(Miss {
            asked: asked.chars().take(64).collect(),
            catalog: self.name.clone(),
            exists: self.versions().cloned().collect(),
            nearest: self
                .nearest(full.as_ref(), minor, present, &is_offered, today)
                .map(String::into_boxed_str),
            why,
        })
    }

    /// A row of another catalog at a version, or at the newest of a minor.
    fn elsewhere(&self, full: Option<&KubeVersion>, minor: Option<Minor>) -> Option<&Release> {
        let by_version = &self.everywhere.by_version;
        let of_minor = || {
            by_version
                .iter()
                .rev()
                .find(|(version, _)| Some(version.minor()) == minor)
        };
        let rows = full.map_or_else(|| of_minor().map(|(_, rows)| rows), |version| by_version.get(version));
        let row = rows?.iter().find(|row| *row.catalog() != self.name);
        row.map(AsRef::as_ref)
    }

    /// The nearest that would be accepted: the row of the patch version that was asked for, where the text after it is
    /// another one's; else the newest version of the minor, else the newest below it, else the oldest above it. Never one
    /// older than what runs.
    fn nearest(
        &self,
        full: Option<&KubeVersion>,
        minor: Option<Minor>,
        present: Option<&KubeVersion>,
        is_offered: &dyn Fn(&KubeVersion) -> bool,
        today: Date,
    ) -> Option<String> {
        let same_patch = full.and_then(|full| {
            let mut same = self
                .versions()
                .rev()
                .filter(|version| version.release() == full.release());
            same.find(|version| {
                is_offered(version) && present.is_none_or(|present| version.compare(present) != BuildOrder::Less)
            })
        });
        if let Some(version) = same_patch {
            let text = format!("v{}", version.release());
            let rows = self.best(version, today).into_iter().chain(self.rows_of(version));
            let named = rows.into_iter().find(|row| row.name().starts_with(&text));
            return Some(named.map_or_else(|| version.to_string(), |row| row.name().to_owned()));
        }
        let asked = minor.or_else(|| full.map(KubeVersion::minor));
        let candidates: Vec<&KubeVersion> = self
            .versions()
            .filter(|version| is_offered(version))
            .filter(|version| present.is_none_or(|present| version.compare(present) == BuildOrder::Greater))
            .filter(|version| self.best(version, today).is_some_and(|row| row.is_supported(today)))
            .collect();
        let newest_until = |minor: Minor| candidates.iter().rev().find(|version| version.minor() <= minor);
        asked
            .and_then(|minor| newest_until(minor).or_else(|| candidates.first()))
            .or_else(|| candidates.last())
            .map(ToString::to_string)
    }
}

/// A version without its v means the version, as Cluster API reads it.
fn with_v(asked: &str) -> Cow<'_, str> {
    if asked.starts_with(|first: char| first.is_ascii_digit()) {
        Cow::Owned(format!("v{asked}"))
    } else {
        Cow::Borrowed(asked)
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, catalog, .. } = self;
        let own = if catalog.is_default() {
            "the catalog".to_owned()
        } else {
            catalog.to_string()
        };
        let has = match &self.why {
            Why::Unknown => {
                write!(f, "{asked:?} is not in {own}")?;
                "; it has"
            }
            Why::NoneSupported => {
                write!(
                    f,
                    "{asked:?} has no row that is supported (name a full version to take one that isn't)"
                )?;
                "; it has"
            }
            Why::NotOffered => {
                write!(
                    f,
                    "{asked:?} has no row whose version the class lists in kubernetesVersions"
                )?;
                "; it has"
            }
            Why::NamesRowOf(other) => {
                write!(f, "{asked:?} is a release of {other}, and the Cluster's is {catalog}")?;
                ", which has"
            }
            Why::VersionOnlyIn(other) => {
                write!(f, "{asked:?} is in {other}, and the Cluster's is {catalog}")?;
                ", which has"
            }
        };
        if self.exists.is_empty() {
            write!(f, ", which is empty: create a KubernetesRelease")?;
            return if catalog.is_default() {
                write!(f, " first")
            } else {
                write!(f, " with spec.catalog {} first", catalog.as_str())
            };
        }
        let newest = self.exists.iter().rev().take(LISTED).rev();
        let listed: Vec<String> = newest.map(ToString::to_string).collect();
        write!(f, "{has} {}", listed.join(", "))?;
        if let Some(more) = self.exists.len().checked_sub(LISTED).filter(|more| *more > 0) {
            write!(f, " and {more} older")?;
        }
        match &self.nearest {
            Some(nearest) => write!(f, "; the nearest that would work is {nearest}"),
            None => write!(f, "; none of them would work"),
        }
    }
}

impl std::error::Error for Miss {}

#[cfg(test)]
mod tests;
