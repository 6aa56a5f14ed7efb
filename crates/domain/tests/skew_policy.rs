//! The skew rules against a second statement of the policy, over all combinations of twelve minors.
//!
//! The second statement is a table of what the policy's sentences allow, written out by hand: which
//! versions, not how far apart. Nothing in it is computed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{Write as _, stderr};

use instar_domain::{
    KubeVersion,
    skew::{self, ApiServers, Part, SkewViolation},
};

/// v1.22 to v1.33, so that v1.24 and v1.25, where the policy changes, have neighbours on both sides.
const MINORS: usize = 12;

/// What is allowed with a version, by the sentences of the policy:
///
/// 1. API servers: the newest at this version, the others of its control plane.
/// 2. Nodes: the API server at this version, the kubelets; the kube-proxies too, for which the policy
///    has the same sentences. "kubelet < 1.25 may only be up to two minor versions older".
/// 3. Beside: the kube-proxy at this version, the kubelets that it runs alongside. "kube-proxy < 1.25
///    may only be up to two minor versions older or newer than the kubelet".
/// 4. Installs: kubeadm at this version, the versions of Kubernetes.
/// 5. Starts: kubeadm at this version, the kubelets on its machine.
/// 6. Joins: the control plane created or upgraded by kubeadm at this version, the kubeadms of new
///    machines.
#[rustfmt::skip]
const ALLOWED: [[&str; 7]; MINORS] = [
    //        API servers  nodes                      beside                                     installs     starts                     joins
    ["1.22", "1.22",      "1.22",                    "1.22 1.23 1.24",                          "1.22",      "1.22",                    "1.22"],
    ["1.23", "1.23 1.22", "1.23 1.22",               "1.22 1.23 1.24 1.25",                     "1.23 1.22", "1.23 1.22",               "1.23"],
    ["1.24", "1.24 1.23", "1.24 1.23 1.22",          "1.22 1.23 1.24 1.25 1.26",                "1.24 1.23", "1.24 1.23 1.22",          "1.24"],
    ["1.25", "1.25 1.24", "1.25 1.24 1.23",          "1.22 1.23 1.24 1.25 1.26 1.27 1.28",      "1.25 1.24", "1.25 1.24 1.23 1.22",     "1.25"],
    ["1.26", "1.26 1.25", "1.26 1.25 1.24",          "1.23 1.24 1.25 1.26 1.27 1.28 1.29",      "1.26 1.25", "1.26 1.25 1.24 1.23",     "1.26"],
    ["1.27", "1.27 1.26", "1.27 1.26 1.25",          "1.24 1.25 1.26 1.27 1.28 1.29 1.30",      "1.27 1.26", "1.27 1.26 1.25 1.24",     "1.27"],
    ["1.28", "1.28 1.27", "1.28 1.27 1.26 1.25",     "1.25 1.26 1.27 1.28 1.29 1.30 1.31",      "1.28 1.27", "1.28 1.27 1.26 1.25",     "1.28"],
    ["1.29", "1.29 1.28", "1.29 1.28 1.27 1.26",     "1.26 1.27 1.28 1.29 1.30 1.31 1.32",      "1.29 1.28", "1.29 1.28 1.27 1.26",     "1.29"],
    ["1.30", "1.30 1.29", "1.30 1.29 1.28 1.27",     "1.27 1.28 1.29 1.30 1.31 1.32 1.33",      "1.30 1.29", "1.30 1.29 1.28 1.27",     "1.30"],
    ["1.31", "1.31 1.30", "1.31 1.30 1.29 1.28",     "1.28 1.29 1.30 1.31 1.32 1.33",           "1.31 1.30", "1.31 1.30 1.29 1.28",     "1.31"],
    ["1.32", "1.32 1.31", "1.32 1.31 1.30 1.29",     "1.29 1.30 1.31 1.32 1.33",                "1.32 1.31", "1.32 1.31 1.30 1.29",     "1.32"],
    ["1.33", "1.33 1.32", "1.33 1.32 1.31 1.30",     "1.30 1.31 1.32 1.33",                     "1.33 1.32", "1.33 1.32 1.31 1.30",     "1.33"],
];

#[derive(Clone, Copy)]
enum Sentence {
    ApiServers = 1,
    Nodes,
    Beside,
    Installs,
    Starts,
    Joins,
}

/// The table, read: for each sentence and row, what is allowed. Minors are their places in it.
struct Policy {
    allows: [[[bool; MINORS]; MINORS]; 7],
}

impl Policy {
    fn read() -> Self {
        let place = |name: &str| ALLOWED.iter().position(|row| row[0] == name).unwrap();
        let mut allows = [[[false; MINORS]; MINORS]; 7];
        for (at, row) in ALLOWED.iter().enumerate() {
            for (sentence, names) in row.iter().enumerate() {
                for name in names.split(' ') {
                    allows[sentence][at][place(name)] = true;
                }
            }
        }
        Self { allows }
    }

    fn allows(&self, sentence: Sentence, peer: usize, part: usize) -> bool {
        match sentence {
            // The one sentence whose row is that of the part and not of its peer.
            Sentence::Beside => self.allows[sentence as usize][part][peer],
            Sentence::ApiServers | Sentence::Nodes | Sentence::Installs | Sentence::Starts | Sentence::Joins => {
                self.allows[sentence as usize][peer][part]
            }
        }
    }

    fn permits(&self, (_, sentence, peer): Peer, part: usize) -> bool {
        self.allows(sentence, peer, part)
    }

    /// Whether a violation is true: the table does forbid this part beside that peer, for the reason
    /// that is given, and the numbers in it are those of the table.
    fn confirms(&self, violation: &SkewViolation, part: usize, peers: &[Peer]) -> bool {
        let (said, reason) = match *violation {
            SkewViolation::OtherMajor { .. } => return false,
            SkewViolation::OtherMinor { peer } => (peer, Reason::NotThis),
            SkewViolation::Newer { peer } => (peer, Reason::Newer),
            SkewViolation::TooFarAhead { ahead, allowed, peer } => (peer, Reason::Ahead(ahead, allowed)),
            SkewViolation::TooFarBehind { behind, allowed, peer } => (peer, Reason::Behind(behind, allowed)),
        };
        peers.iter().any(|&(name, sentence, at)| {
            let that = same_part(name, said.part) && said.at.to_string() == format!("v{}", ALLOWED[at][0]);
            that && !self.allows(sentence, at, part) && self.explains(reason, sentence, part, at)
        })
    }

    fn explains(&self, reason: Reason, sentence: Sentence, part: usize, peer: usize) -> bool {
        // The last peer that the table allows to this part, going towards the one that it forbids.
        let limit = |allowed: u64, towards: &[usize]| {
            let steps = usize::try_from(allowed).unwrap();
            self.allows(sentence, towards[steps], part) && !self.allows(sentence, towards[steps + 1], part)
        };
        match reason {
            Reason::NotThis => part != peer,
            Reason::Newer => part > peer && (peer..part).all(|older| !self.allows(sentence, older, part)),
            Reason::Behind(by, allowed) => {
                let way: Vec<usize> = (part..=peer).collect();
                way.len() == usize::try_from(by).unwrap() + 1 && limit(allowed, &way)
            }
            Reason::Ahead(by, allowed) => {
                let way: Vec<usize> = (peer..=part).rev().collect();
                way.len() == usize::try_from(by).unwrap() + 1 && limit(allowed, &way)
            }
        }
    }
}

/// A part that is measured against, the sentence about it, and where it stands.
type Peer = (Part, Sentence, usize);

#[derive(Clone, Copy)]
enum Reason {
    NotThis,
    Newer,
    Ahead(u64, u64),
    Behind(u64, u64),
}

/// Which of a control plane's API servers a violation names follows from where that stands.
fn same_part(one: Part, other: Part) -> bool {
    let is_server = |part| matches!(part, Part::ApiServer | Part::LowestApiServer | Part::HighestApiServer);
    one == other || (is_server(one) && is_server(other))
}

/// A verdict of the code under test, on which part, and what that is measured against.
struct Judged {
    rule: &'static str,
    verdict: Result<(), SkewViolation>,
    part: usize,
    peers: Vec<Peer>,
}

/// All verdicts on one row.
fn judge(versions: &[KubeVersion], [low, high, kubelet, proxy, kubeadm]: [usize; 5]) -> [Judged; 6] {
    let servers = ApiServers::observed([&versions[low], &versions[high]]).unwrap();
    let (oldest, newest) = (low.min(high), low.max(high));
    let nodes = [low, high].map(|server| (Part::ApiServer, Sentence::Nodes, server));
    let judged = |rule, verdict, part, peers: &[Peer]| Judged {
        rule,
        verdict,
        part,
        peers: peers.to_vec(),
    };
    [
        judged(
            "API servers",
            skew::api_servers(&versions[low], &versions[high]),
            oldest,
            &[(Part::ApiServer, Sentence::ApiServers, newest)],
        ),
        judged(
            "kubelet",
            skew::kubelet_with(&versions[kubelet], &servers),
            kubelet,
            &nodes,
        ),
        judged(
            "kube-proxy",
            skew::kube_proxy_with(&versions[proxy], &versions[kubelet], &servers),
            proxy,
            &[nodes[0], nodes[1], (Part::Kubelet, Sentence::Beside, kubelet)],
        ),
        judged(
            "joins",
            skew::kubeadm_join(&versions[kubeadm], &versions[newest]),
            kubeadm,
            &[(Part::KubeadmOfControlPlane, Sentence::Joins, newest)],
        ),
        judged(
            "installs",
            skew::kubeadm_installs(&versions[kubeadm], &versions[newest]),
            newest,
            &[(Part::Kubeadm, Sentence::Installs, kubeadm)],
        ),
        judged(
            "starts",
            skew::kubeadm_with_kubelet(&versions[kubeadm], &versions[kubelet]),
            kubelet,
            &[(Part::Kubeadm, Sentence::Starts, kubeadm)],
        ),
    ]
}

#[test]
fn every_combination_is_decided_as_the_policy_says() {
    let policy = Policy::read();
    let versions: Vec<KubeVersion> = ALLOWED
        .iter()
        .enumerate()
        .map(|(patch, row)| format!("v{}.{patch}", row[0]).parse().unwrap())
        .collect();
    let (mut rows, mut verdicts, mut allowed, mut differences) = (0, 0, 0, Vec::new());
    for row in combinations() {
        rows += 1;
        for judged in judge(&versions, row) {
            verdicts += 1;
            let agrees = match judged.verdict {
                Ok(()) => {
                    allowed += 1;
                    judged.peers.iter().all(|&peer| policy.permits(peer, judged.part))
                }
                Err(violation) => policy.confirms(&violation, judged.part, &judged.peers),
            };
            if !agrees {
                let at = row.map(|place| ALLOWED[place][0]);
                differences.push(format!("{} at {at:?}: {:?}", judged.rule, judged.verdict));
            }
        }
    }
    // Not through the macros, which a passing test keeps to itself.
    let counted = differences.len();
    let line = format!("skew policy: rows={rows} verdicts={verdicts} allowed={allowed} differences={counted}\n");
    stderr().write_all(line.as_bytes()).unwrap();
    assert_eq!(rows, 12 * 12 * 12 * 12 * 12);
    let first: Vec<&String> = differences.iter().take(10).collect();
    assert!(differences.is_empty(), "{counted} differences, first {first:#?}");
}

/// Every low and high API server, kubelet, kube-proxy and kubeadm.
fn combinations() -> impl Iterator<Item = [usize; 5]> {
    (0..12_usize.pow(5)).map(|number| [1, 12, 144, 1728, 20736].map(|unit| number / unit % 12))
}

/// The policy's own examples, at every version that is high enough for them.
#[test]
fn the_table_holds_the_policys_examples() {
    for (at, row) in ALLOWED.iter().enumerate().skip(6) {
        let [n, one, two, three] = [0, 1, 2, 3].map(|older| ALLOWED[at - older][0]);
        assert_eq!(row[1], format!("{n} {one}"), "other API servers are supported at");
        assert_eq!(row[2], format!("{n} {one} {two} {three}"), "kubelet is supported at");
        assert_eq!(row[4], format!("{n} {one}"), "kubernetesVersion must be at");
        assert_eq!(
            row[5],
            format!("{n} {one} {two} {three}"),
            "kubelet on the host must be at"
        );
        assert_eq!(row[6], n, "joining nodes must use");
    }
    // Instances at 1.33 and 1.32: kubelets at 1.32, 1.31 and 1.30, for 1.33 would be newer than one.
    let policy = Policy::read();
    let narrowed: Vec<&str> = (0..MINORS)
        .filter(|&kubelet| {
            [11, 10]
                .iter()
                .all(|&server| policy.permits((Part::ApiServer, Sentence::Nodes, server), kubelet))
        })
        .map(|kubelet| ALLOWED[kubelet][0])
        .collect();
    assert_eq!(narrowed, ["1.30", "1.31", "1.32"]);
}
