//! When upgrades may go on: maintenance windows.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{SetBy, schema};

/// When upgrades may go on. Without an `Allow` window they always may, but for `Deny` windows and exclusions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Maintenance {
    /// Times that come again. If there are `Allow` windows, upgrades go on while one of them is open, of any policy
    /// that selects the Cluster; never while a `Deny` window is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub windows: Vec<MaintenanceWindow>,

    /// Times that come once, in which no upgrade goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub exclusions: Vec<MaintenanceExclusion>,

    /// What becomes of pools whose machines are being replaced when the windows close. `FinishPool`: all machines of
    /// the pool are replaced. `FinishMachine`: those whose replacement has begun, and the rest when a window opens. If
    /// several policies select a Cluster, `FinishMachine` counts.
    #[serde(default, skip_serializing_if = "OnClose::is_default")]
    pub on_close: OnClose,
}

impl Maintenance {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.closes() && self.on_close.is_default()
    }

    /// Whether it has anything that opens or closes.
    #[must_use]
    pub const fn closes(&self) -> bool {
        !self.windows.is_empty() || !self.exclusions.is_empty()
    }
}

/// What becomes of a pool whose machines are being replaced when the windows close.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnClose {
    /// All of its machines are replaced.
    #[default]
    FinishPool,
    /// Those whose replacement has begun.
    FinishMachine,
}

impl OnClose {
    /// What several policies come to: what stops earlier counts.
    #[must_use]
    pub fn of_all(policies: impl IntoIterator<Item = Self>) -> Self {
        policies.into_iter().max().unwrap_or_default()
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A time that comes again.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// What messages call it.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// Allow: upgrades go on while it is open. Deny: they don't.
    #[serde(default)]
    pub kind: WindowKind,

    /// When it opens, as a cron expression of five fields: minute, hour, day of the month, month, day of the week.
    /// "0 22 * * SAT" is every Saturday at 22:00, "0 2 * * TUE#2" the second Tuesday of each month at 02:00.
    #[schemars(length(min = 9, max = 128))]
    pub schedule: String,

    /// How long it stays open: 4h, 90m. If it opens again before its end, it stays open.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(schema_with = "schema::duration")]
    pub duration: SignedDuration,

    /// The time zone of the schedule, by its name in the time zone database of IANA, such as "Europe/Berlin".
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// What a window does to upgrades.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WindowKind {
    /// They go on while it is open.
    #[default]
    Allow,
    /// They don't.
    Deny,
}

/// A time that comes once, in which no upgrade goes on.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceExclusion {
    /// When it begins.
    #[schemars(schema_with = "schema::time")]
    pub from: Timestamp,

    /// When it ends.
    #[schemars(schema_with = "schema::time")]
    pub to: Timestamp,

    /// Why, for those who wait: "quarter-end".
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

/// That one upgrade goes on outside of maintenance windows.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WindowOverride {
    /// Why, for the record: "the CVE of Friday".
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,

    /// Until when; absent: until the upgrade is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub until: Option<Timestamp>,

    /// Who asked for it. Admission writes it, whatever the request says, and without it the windows count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<SetBy>,
}

impl WindowOverride {
    /// Whether the windows are overridden at that time.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> bool {
        self.set_by.is_some() && self.until.is_none_or(|until| now < until)
    }
}

/// Where the maintenance windows of an upgrade stand.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WindowStatus {
    /// Whether the upgrade may go on.
    pub state: WindowsAre,

    // Each member is always written: the status is a merge patch, which would keep what it leaves out.
    /// Until when that is so; absent where it doesn't change within 400 days.
    #[serde(default)]
    #[schemars(schema_with = "schema::time")]
    pub until: Option<Time>,

    /// Why they are closed.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Whether an upgrade may go on.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowsAre {
    /// It may.
    Open,
    /// It may not.
    Closed,
}
