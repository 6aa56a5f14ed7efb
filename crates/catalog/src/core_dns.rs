//! May this CoreDNS follow that one?
//!
//! A KubeadmControlPlane migrates CoreDNS' configuration with each new version of it, and only upwards: its webhook
//! refuses a lower tag, and one that it can't read. Source: `validateCoreDNSVersion` of cluster-api's
//! controlplane/kubeadm/webhooks/admission. It also refuses a version that it doesn't know yet, and which those are
//! depends on its own version alone.

/// Why a tag may not follow another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is the older one.
    Lower,
    /// It can't be read.
    Unreadable,
}

/// What stands against a tag that follows another.
#[must_use]
pub fn refuses(present: &str, next: &str) -> Option<Refused> {
    match (parse_tag(present), parse_tag(next)) {
        (_, None) => Some(Refused::Unreadable),
        (Some(present), Some(next)) if next < present => Some(Refused::Lower),
        (None | Some(_), Some(_)) => None,
    }
}

/// Whether one tag of CoreDNS is lower than another. One that can't be read may be lower, but for
/// the same text.
#[must_use]
pub fn lowers(present: &str, next: &str) -> bool {
    match (parse_tag(present), parse_tag(next)) {
        (Some(present), Some(next)) => next < present,
        (None, _) | (_, None) => present != next,
    }
}

/// `v1.12.1` and `1.12.1_vendor.3` are 1.12.1, and `1.12` is 1.12.0.
fn parse_tag(tag: &str) -> Option<(u64, u64, u64)> {
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    let mut parts = tag.split(['-', '_', '+']).next()?.split('.').map(str::parse::<u64>);
    let line = (
        parts.next()?.ok()?,
        parts.next().unwrap_or(Ok(0)).ok()?,
        parts.next().unwrap_or(Ok(0)).ok()?,
    );
    parts.next().is_none().then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_dns_goes_up_or_stays() {
        for (present, next, refused) in [
            ("v1.12.1", "v1.13.1", None),
            ("v1.12.1", "1.12.1_vendor.3", None),
            ("v1.13.1", "v1.12.1", Some(Refused::Lower)),
            ("v1.9.3", "v1.10.0", None),
            ("v1.9.3", "1.12", None),
            ("1.12", "1.11.3", Some(Refused::Lower)),
            ("v1.13.1", "latest", Some(Refused::Unreadable)),
            ("latest", "v1.13.1", None),
        ] {
            assert_eq!(refuses(present, next), refused, "{present} to {next}");
        }
    }
}
