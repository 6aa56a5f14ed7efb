//! The single limits that a part keeps against a peer. But for the first, they take majors for the
//! same.

use super::{Peer, SkewViolation};
use crate::Minor;

pub(super) fn same_major(part: Minor, peer: Peer) -> Result<(), SkewViolation> {
    if part.major == peer.at.major {
        Ok(())
    } else {
        Err(SkewViolation::OtherMajor { peer })
    }
}

pub(super) fn same_minor(part: Minor, peer: Peer) -> Result<(), SkewViolation> {
    if part.minor == peer.at.minor {
        Ok(())
    } else {
        Err(SkewViolation::OtherMinor { peer })
    }
}

pub(super) fn not_newer(part: Minor, peer: Peer) -> Result<(), SkewViolation> {
    if part.minor > peer.at.minor {
        Err(SkewViolation::Newer { peer })
    } else {
        Ok(())
    }
}

pub(super) fn within_behind(part: Minor, peer: Peer, allowed: u64) -> Result<(), SkewViolation> {
    let behind = peer.at.minor.saturating_sub(part.minor);
    if behind > allowed {
        Err(SkewViolation::TooFarBehind { behind, allowed, peer })
    } else {
        Ok(())
    }
}

pub(super) fn within_ahead(part: Minor, peer: Peer, allowed: u64) -> Result<(), SkewViolation> {
    let ahead = part.minor.saturating_sub(peer.at.minor);
    if ahead > allowed {
        Err(SkewViolation::TooFarAhead { ahead, allowed, peer })
    } else {
        Ok(())
    }
}
