//! The controller, servers, and those who delete and garble, in any order: who is trusted verifies what is served.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;

const LEAF: SignedDuration = SignedDuration::from_hours(1000);
const AUTHORITY: SignedDuration = SignedDuration::from_hours(10_000);

#[derive(Clone, Debug)]
struct Mounted {
    leaf: Stored<Certified>,
    bundle: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Server {
    /// What it has in memory.
    leaf: Option<Certified>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starts,
    Ready,
    Unwell,
}

/// Whether the controller reaches a server that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    There,
    Lost,
}

/// An object with its version.
#[derive(Clone, Debug)]
struct Versioned<T> {
    version: u32,
    value: T,
}

impl<T> Versioned<T> {
    fn new(value: T) -> Self {
        Self { version: 0, value }
    }

    fn set(&mut self, value: T) {
        self.version += 1;
        self.value = value;
    }
}

#[derive(Clone, Debug)]
struct World {
    now: Timestamp,
    made: u32,
    /// Who signed a leaf.
    signers: BTreeMap<Der, Der>,
    authority: Versioned<Stored<Certified>>,
    mounted: Versioned<Option<Mounted>>,
    configurations: Vec<Versioned<Vec<Entry>>>,
    extension: Option<Vec<Entry>>,
    servers: Vec<Server>,
}

/// A decision, and the versions of what it was made from.
struct Decided {
    step: Step,
    signer: Option<Certified>,
    authority: u32,
    mounted: u32,
    configurations: Vec<u32>,
}

impl World {
    fn empty(rng: &mut Rng) -> Self {
        let server = Server {
            leaf: None,
            state: State::Starts,
        };
        Self {
            now: Timestamp::from_second(1_000_000_000).unwrap(),
            made: 0,
            signers: BTreeMap::new(),
            authority: Versioned::new(Stored::Missing),
            mounted: Versioned::new(None),
            configurations: vec![Versioned::new(Vec::new()); 3],
            extension: rng.bool().then(Vec::new),
            servers: vec![server; rng.usize(0..4)],
        }
    }

    fn certificate(&mut self, lifetime: SignedDuration) -> Certified {
        self.made += 1;
        Certified {
            der: Der(self.made.to_be_bytes().as_slice().into()),
            valid: Validity::starting(self.now, lifetime),
        }
    }

    fn decide(&self, reach: &mut impl FnMut() -> Reach) -> Decided {
        let signer = match &self.authority.value {
            Stored::Usable(authority) => Some(authority.clone()),
            Stored::Missing | Stored::Unusable(_) => None,
        };
        let leaf = match self.mounted.value.as_ref().map(|mounted| &mounted.leaf) {
            None | Some(Stored::Missing) => Stored::Missing,
            Some(Stored::Unusable(why)) => Stored::Unusable(why.clone()),
            Some(Stored::Usable(leaf)) => {
                let by = self.signers.get(&leaf.der);
                let is_current = by == signer.as_ref().map(|signer| &signer.der);
                Stored::Usable(Leaf {
                    certificate: leaf.clone(),
                    signer: if is_current { Signer::Current } else { Signer::Other },
                })
            }
        };
        let named = |(index, found): (usize, &Versioned<Vec<Entry>>)| Configuration {
            name: index.to_string(),
            bundles: vec![found.value.clone()],
        };
        let mut seen = Seen {
            authority: self.authority.value.clone(),
            leaf,
            bundle: self
                .mounted
                .value
                .as_ref()
                .map(|mounted| mounted.bundle.clone())
                .unwrap_or_default(),
            configurations: self.configurations.iter().enumerate().map(named).collect(),
            extension: self.extension.clone().map_or(Extension::Absent, Extension::Present),
            endpoints: Endpoints::NotAsked,
            lifetimes: Lifetimes {
                leaf: LEAF,
                authority: AUTHORITY,
            },
            now: self.now,
        };
        let mut step = next_step(&seen);
        if step == Step::AskEndpoints {
            seen.endpoints = Endpoints::Asked(self.servers.iter().map(|server| server.endpoint(reach())).collect());
            step = next_step(&seen);
        }
        Decided {
            step,
            signer,
            authority: self.authority.version,
            mounted: self.mounted.version,
            configurations: self.configurations.iter().map(|found| found.version).collect(),
        }
    }

    /// Writes what compares, and ends after some of the writes, as a crash does.
    fn act(&mut self, decided: &Decided, mut writes: usize) {
        match &decided.step {
            Step::MakeAuthority(_) if self.authority.version == decided.authority => {
                let made = self.certificate(AUTHORITY);
                self.authority.set(Stored::Usable(made));
            }
            Step::Trust {
                bundle,
                configurations,
                secret,
            } => {
                let entries: Vec<Entry> = bundle.iter().cloned().map(Entry::Authority).collect();
                for name in configurations {
                    let index: usize = name.parse().unwrap();
                    if writes == 0 || self.configurations[index].version != decided.configurations[index] {
                        return;
                    }
                    writes -= 1;
                    self.configurations[index].set(entries.clone());
                }
                if *secret == Rewrite::Yes && writes > 0 && self.mounted.version == decided.mounted {
                    let mut mounted = self.mounted.value.clone().unwrap();
                    mounted.bundle = entries;
                    self.mounted.set(Some(mounted));
                }
            }
            Step::MakeLeaf { bundle, .. } if self.mounted.version == decided.mounted => {
                let leaf = self.certificate(LEAF);
                let signer = decided.signer.clone().unwrap();
                self.signers.insert(leaf.der.clone(), signer.der);
                self.mounted.set(Some(Mounted {
                    leaf: Stored::Usable(leaf),
                    bundle: bundle.iter().cloned().map(Entry::Authority).collect(),
                }));
            }
            Step::MakeAuthority(_) | Step::MakeLeaf { .. } | Step::AskEndpoints | Step::Wait(_) | Step::Settled(_) => {}
        }
    }

    fn mounted_leaf(&self) -> Option<Certified> {
        match &self.mounted.value.as_ref()?.leaf {
            Stored::Usable(leaf) => Some(leaf.clone()),
            Stored::Missing | Stored::Unusable(_) => None,
        }
    }

    /// A server reads its files, as each does again and again.
    fn read(&mut self, index: usize) {
        if let Some(leaf) = self.mounted_leaf() {
            self.servers[index].leaf = Some(leaf);
        }
    }

    /// Time passes; a server that starts is up within minutes, if it has something to serve.
    fn pass(&mut self, by: SignedDuration) {
        self.now = later(self.now, by);
        for server in &mut self.servers {
            if server.state == State::Starts && server.leaf.is_some() {
                server.state = State::Ready;
            }
        }
    }

    fn anything(&mut self, rng: &mut Rng) {
        let any = |rng: &mut Rng, count: usize| (count > 0).then(|| rng.usize(0..count));
        let servers = self.servers.len();
        match rng.u32(0..100) {
            0..45 => {
                if let Some(index) = any(rng, servers) {
                    self.read(index);
                }
            }
            45..60 => {
                if let Some(index) = any(rng, servers) {
                    self.servers[index] = Server {
                        leaf: self.mounted_leaf(),
                        state: State::Starts,
                    };
                }
            }
            60..66 => {
                if let Some(index) = any(rng, servers) {
                    let server = &mut self.servers[index];
                    server.state = match server.state {
                        State::Starts => State::Starts,
                        State::Ready => State::Unwell,
                        State::Unwell => State::Ready,
                    };
                }
            }
            66..70 => self.servers.truncate(rng.usize(0..=servers)),
            70..74 if servers < 5 => self.servers.push(Server {
                leaf: self.mounted_leaf(),
                state: State::Starts,
            }),
            74..84 => self.copy(),
            84..87 => self.mounted.set(None),
            87..90 => self.authority.set(Stored::Missing),
            90..92 => self.authority.set(Stored::Unusable("garbled".to_owned())),
            92..94 => {
                if let Some(mut mounted) = self.mounted.value.clone() {
                    mounted.leaf = Stored::Unusable("garbled".to_owned());
                    self.mounted.set(Some(mounted));
                }
            }
            94..96 => {
                if let Some(mut mounted) = self.mounted.value.clone() {
                    mounted.bundle = vec![Entry::Unreadable];
                    self.mounted.set(Some(mounted));
                }
            }
            _ => {
                let index = rng.usize(0..self.configurations.len());
                let mut found = self.configurations[index].value.clone();
                found.push(Entry::Unreadable);
                self.configurations[index].set(found);
            }
        }
    }

    /// Cluster API copies the bundle.
    fn copy(&mut self) {
        if let (Some(extension), Some(mounted)) = (&mut self.extension, &self.mounted.value) {
            extension.clone_from(&mounted.bundle);
        }
    }

    fn assert_trusted(&self, story: &[String]) {
        for server in self.servers.iter().filter(|server| server.state != State::Starts) {
            let Some(leaf) = server.leaf.as_ref().filter(|leaf| !leaf.valid.is_over(self.now)) else {
                continue;
            };
            let signer = &self.signers[&leaf.der];
            for (index, found) in self.configurations.iter().enumerate() {
                let trusts = |entry: &Entry| match entry {
                    Entry::Authority(authority) => authority.der == *signer,
                    Entry::Unreadable => false,
                };
                let is_trusted = found.value.iter().any(trusts);
                assert!(
                    is_trusted,
                    "configuration {index} doesn't verify {leaf:?}: {}",
                    story.join("\n")
                );
            }
        }
    }

    /// Nobody disturbs any more: soon nothing is left to do, and one CA is trusted.
    fn assert_converges(&mut self, story: &[String]) {
        for _ in 0..40 {
            let decided = self.decide(&mut || Reach::There);
            self.act(&decided, usize::MAX);
            self.copy();
            for index in 0..self.servers.len() {
                self.read(index);
                self.servers[index].state = State::Ready;
            }
            self.now = later(self.now, SignedDuration::from_mins(6));
            if let Step::Settled(until) = decided.step {
                assert!(until > self.now);
                let Stored::Usable(authority) = &self.authority.value else {
                    panic!("settled without a CA");
                };
                let only = vec![Entry::Authority(authority.clone())];
                assert!(self.configurations.iter().all(|found| found.value == only));
                let mounted = self.mounted.value.as_ref().unwrap();
                assert_eq!(mounted.bundle, only);
                let leaf = self.mounted_leaf().unwrap();
                assert_eq!(self.signers[&leaf.der], authority.der);
                return;
            }
        }
        panic!("never settled: {}\n{self:#?}", story.join("\n"));
    }
}

impl Server {
    fn endpoint(&self, reach: Reach) -> Endpoint {
        let unreachable = || Answer::Unreachable("no route".to_owned());
        let (readiness, answer) = match (self.state, &self.leaf, reach) {
            (State::Starts, _, _) | (_, None, _) => (Readiness::NotReady, unreachable()),
            (State::Ready, Some(_), Reach::Lost) => (Readiness::Ready, unreachable()),
            (State::Ready, Some(leaf), Reach::There) => (Readiness::Ready, Answer::Certificate(leaf.der.clone())),
            (State::Unwell, Some(leaf), _) => (Readiness::NotReady, Answer::Certificate(leaf.der.clone())),
        };
        Endpoint {
            address: "server".to_owned(),
            readiness,
            answer,
        }
    }
}

fn seeds() -> u64 {
    let seeds = std::env::var("INSTAR_SEEDS").ok();
    seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(400)
}

#[test]
fn every_server_is_trusted_at_each_moment() {
    let mut changes = 0;
    for seed in 0..seeds() {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::empty(&mut rng);
        let mut story = vec![format!("seed {seed}")];
        // A second controller that believes that it leads writes what it decided a while ago.
        let mut late: Option<Decided> = None;
        for _ in 0..300 {
            match rng.u32(0..10) {
                0..5 => {
                    let decided = world.decide(&mut || if rng.u32(0..4) == 0 { Reach::Lost } else { Reach::There });
                    story.push(format!("{:?}", decided.step));
                    let writes = rng.usize(0..6);
                    if rng.u32(0..8) == 0 {
                        late = Some(decided);
                    } else {
                        world.act(&decided, writes);
                    }
                }
                5 => {
                    if let Some(decided) = late.take() {
                        story.push(format!("late {:?}", decided.step));
                        world.act(&decided, rng.usize(0..6));
                    }
                }
                6..9 => world.anything(&mut rng),
                _ => {
                    let most = if rng.u32(0..10) == 0 { LEAF.as_secs() / 20 } else { 240 };
                    world.pass(SignedDuration::from_secs(rng.i64(1..=most)));
                }
            }
            world.assert_trusted(&story);
        }
        world.assert_converges(&story);
        changes += world.made;
    }
    assert!(u64::from(changes) > seeds() * 10, "{changes} certificates made");
}

#[test]
fn any_state_converges() {
    for seed in 0..seeds() {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::empty(&mut rng);
        let strangers: Vec<Certified> = (0..4).map(|_| world.certificate(AUTHORITY)).collect();
        let entry = |rng: &mut Rng| match rng.usize(0..5) {
            4 => Entry::Unreadable,
            index => Entry::Authority(strangers[index].clone()),
        };
        let bundle = |rng: &mut Rng| -> Vec<Entry> { (0..rng.usize(0..4)).map(|_| entry(rng)).collect() };
        for index in 0..3 {
            let found = bundle(&mut rng);
            world.configurations[index].set(found);
        }
        world.authority.set(match rng.u32(0..3) {
            0 => Stored::Missing,
            1 => Stored::Unusable("garbled".to_owned()),
            _ => Stored::Usable(strangers[0].clone()),
        });
        let leaf = world.certificate(LEAF);
        let signer = strangers[rng.usize(0..4)].der.clone();
        world.signers.insert(leaf.der.clone(), signer);
        let found = bundle(&mut rng);
        world.mounted.set(match rng.u32(0..3) {
            0 => None,
            1 => Some(Mounted {
                leaf: Stored::Unusable("garbled".to_owned()),
                bundle: found,
            }),
            _ => Some(Mounted {
                leaf: Stored::Usable(leaf),
                bundle: found,
            }),
        });
        world.assert_converges(&[format!("seed {seed}")]);
    }
}
