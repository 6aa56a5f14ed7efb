//! All rows, and which of them a target means.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use instar_api::KubernetesReleaseSpec;
use instar_domain::{BuildOrder, KubeVersion, Minor};
use jiff::civil::Date;

use crate::release::{Release, UnreadableRelease};

/// The rows that exist, by version and, within one, from the lowest revision to the highest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    rows: BTreeMap<KubeVersion, Vec<Release>>,
    unreadable: Vec<UnreadableRelease>,
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
    exists: Vec<KubeVersion>,
    nearest: Option<String>,
    /// Rows of what was asked for exist, and this is why none of them is taken.
    passed_over: Option<PassedOver>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PassedOver {
    NoneSupported,
    NotOffered,
}

/// How many versions a message lists before it only counts.
const LISTED: usize = 8;

impl Catalog {
    /// Makes a catalog of rows. Those that can't be read are left out and named.
    pub fn new<'a>(rows: impl IntoIterator<Item = (&'a str, &'a KubernetesReleaseSpec)>) -> Self {
        let mut catalog = Self::default();
        for (name, spec) in rows {
            match Release::read(name, spec) {
                Ok(row) => catalog.rows.entry(row.version().clone()).or_default().push(row),
                Err(error) => catalog.unreadable.push(error),
            }
        }
        for rows in catalog.rows.values_mut() {
            // The name breaks ties, so that the order in which rows were listed never matters.
            rows.sort_by(|a, b| (a.revision(), a.name()).cmp(&(b.revision(), b.name())));
        }
        catalog
    }

    /// The rows that were left out, with the reason.
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
        self.rows.values().flatten()
    }

    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Release> {
        self.releases().find(|row| row.name() == name)
    }

    /// The rows of a version, lowest revision first.
    #[must_use]
    pub fn rows_of(&self, version: &KubeVersion) -> &[Release] {
        self.rows.get(version).map_or(&[], Vec::as_slice)
    }

    /// The row to take for a version: the highest revision that is supported, else the highest.
    #[must_use]
    pub fn best(&self, version: &KubeVersion, today: Date) -> Option<&Release> {
        let rows = self.rows_of(version);
        rows.iter()
            .rev()
            .find(|row| row.is_supported(today))
            .or_else(|| rows.last())
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
            .named(asked)
            .or_else(|| asked.strip_prefix('v').and_then(|bare| self.named(bare)));
        if let Some(row) = named {
            return Ok(Resolved::Release(row));
        }
        let mut passed_over = None;
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
            passed_over = match (of_minor().next(), of_minor().find(supported)) {
                (None, _) => None,
                (Some(_), None) => Some(PassedOver::NoneSupported),
                (Some(_), Some(_)) => Some(PassedOver::NotOffered),
            };
        }
        Err(Miss {
            asked: asked.chars().take(64).collect(),
            exists: self.versions().cloned().collect(),
            nearest: self.nearest(full.as_ref(), minor, present, &is_offered, today),
            passed_over,
        })
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
        write!(f, "{:?} ", self.asked)?;
        match self.passed_over {
            None => write!(f, "is not in the catalog")?,
            Some(PassedOver::NoneSupported) => write!(
                f,
                "has no row that is supported (name a full version to take one that isn't)"
            )?,
            Some(PassedOver::NotOffered) => {
                write!(f, "has no row whose version the class lists in kubernetesVersions")?;
            }
        }
        if self.exists.is_empty() {
            return write!(f, ", which is empty: create a KubernetesRelease first");
        }
        let newest = self.exists.iter().rev().take(LISTED).rev();
        let listed: Vec<String> = newest.map(ToString::to_string).collect();
        write!(f, "; it has {}", listed.join(", "))?;
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
