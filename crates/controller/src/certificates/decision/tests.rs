use super::*;

const DAY: i64 = 86_400;

fn day(days: i64) -> Timestamp {
    Timestamp::from_second(days * DAY).unwrap()
}

fn lifetimes() -> Lifetimes {
    Lifetimes {
        leaf: SignedDuration::from_hours(24 * 365),
        authority: SignedDuration::from_hours(24 * 3650),
    }
}

fn der(name: &str) -> Der {
    Der(name.as_bytes().into())
}

fn authority(name: &str, made: i64) -> Certified {
    Certified {
        der: der(name),
        valid: Validity::starting(day(made), lifetimes().authority),
    }
}

fn leaf(name: &str, made: i64, signer: Signer) -> Stored<Leaf> {
    let certificate = Certified {
        der: der(name),
        valid: Validity::starting(day(made), lifetimes().leaf),
    };
    Stored::Usable(Leaf { certificate, signer })
}

fn entries(authorities: &[&Certified]) -> Vec<Entry> {
    authorities
        .iter()
        .map(|&authority| Entry::Authority(authority.clone()))
        .collect()
}

fn configuration(name: &str, authorities: &[&Certified]) -> Configuration {
    Configuration {
        name: name.to_owned(),
        bundles: vec![entries(authorities); 2],
    }
}

/// All is well, since day 0.
fn settled() -> Seen {
    let one = authority("one", 0);
    Seen {
        authority: Stored::Usable(one.clone()),
        leaf: leaf("leaf", 0, Signer::Current),
        bundle: entries(&[&one]),
        configurations: vec![configuration("a", &[&one]), configuration("b", &[&one])],
        extension: Extension::Present(entries(&[&one])),
        endpoints: Endpoints::NotAsked,
        lifetimes: lifetimes(),
        now: day(1),
    }
}

/// The CA has changed on day 1, and so has the leaf; the CA of before is trusted too.
fn changed(endpoints: &[(Readiness, Answer)]) -> Seen {
    let (one, two) = (authority("one", 0), authority("two", 1));
    let endpoints = endpoints.iter().map(|(readiness, answer)| Endpoint {
        address: "10.0.0.1:9443".to_owned(),
        readiness: *readiness,
        answer: answer.clone(),
    });
    Seen {
        authority: Stored::Usable(two.clone()),
        leaf: leaf("new", 1, Signer::Current),
        bundle: entries(&[&two, &one]),
        configurations: vec![configuration("a", &[&two, &one])],
        endpoints: Endpoints::Asked(endpoints.collect()),
        now: day(2),
        ..settled()
    }
}

fn trust(bundle: &[&Certified], configurations: &[&str], secret: Rewrite) -> Step {
    Step::Trust {
        bundle: bundle.iter().map(|&authority| authority.clone()).collect(),
        configurations: configurations.iter().map(ToString::to_string).collect(),
        secret,
    }
}

fn made_authority(seen: &Seen) -> String {
    match next_step(seen) {
        Step::MakeAuthority(why) => why,
        other => panic!("{other:?}"),
    }
}

fn made_leaf(seen: &Seen) -> String {
    match next_step(seen) {
        Step::MakeLeaf { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

fn waits(seen: &Seen) -> String {
    match next_step(seen) {
        Step::Wait(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_done_until_the_leaf_has_lived_two_thirds_of_its_life() {
    let mut seen = settled();
    // 365 days from an hour before day 0 on: its two thirds end after 243 days and 7 hours.
    let renewed = Timestamp::from_second(365 * DAY / 3 * 2 - 3600).unwrap();
    assert_eq!(next_step(&seen), Step::Settled(renewed));
    seen.now = renewed;
    assert_eq!(
        made_leaf(&seen),
        "the certificate has lived two thirds of its life, until 1970-12-31T23:00:00Z"
    );
}

#[test]
fn an_authority_is_made_where_none_can_sign() {
    let mut seen = settled();
    seen.authority = Stored::Missing;
    assert_eq!(made_authority(&seen), "there is no CA");
    seen.authority = Stored::Unusable("tls.key is missing".to_owned());
    assert_eq!(made_authority(&seen), "the CA can't be used: tls.key is missing");
    seen.authority = Stored::Usable(authority("one", 0));
    seen.now = day(3000);
    assert_eq!(
        made_authority(&seen),
        "the CA has lived two thirds of its life, until 1979-12-29T23:00:00Z"
    );
    seen.now = day(4000);
    assert_eq!(made_authority(&seen), "the CA expired at 1979-12-29T23:00:00Z");
    seen.now = day(-1);
    assert_eq!(
        made_authority(&seen),
        "the CA is valid only from 1969-12-31T23:00:00Z on"
    );
    seen.now = day(1);
    seen.lifetimes.authority = SignedDuration::from_hours(24 * 30);
    assert_eq!(
        made_authority(&seen),
        "the CA is valid for longer than this controller makes one"
    );
}

#[test]
fn a_leaf_is_made_where_servers_have_none_to_read() {
    for (leaf, why) in [
        (Stored::Missing, "there is no certificate"),
        (
            Stored::Unusable("it is for other names".to_owned()),
            "the certificate can't be used: it is for other names",
        ),
        (
            leaf("leaf", 0, Signer::Other),
            "the certificate is signed by another CA",
        ),
    ] {
        let seen = Seen { leaf, ..settled() };
        assert_eq!(made_leaf(&seen), why);
    }
}

#[test]
fn a_new_authority_is_trusted_everywhere_before_it_signs() {
    let (one, two) = (authority("one", 0), authority("two", 1));
    let mut seen = settled();
    seen.authority = Stored::Usable(two.clone());
    seen.leaf = leaf("leaf", 0, Signer::Other);
    assert_eq!(next_step(&seen), trust(&[&two, &one], &["a", "b"], Rewrite::Yes));
    // After a crash: what has it isn't written again.
    seen.configurations[0] = configuration("a", &[&two, &one]);
    assert_eq!(next_step(&seen), trust(&[&two, &one], &["b"], Rewrite::Yes));
    seen.configurations[1] = configuration("b", &[&two, &one]);
    assert_eq!(next_step(&seen), trust(&[&two, &one], &[], Rewrite::Yes));
    seen.bundle = entries(&[&two, &one]);
    assert_eq!(
        waits(&seen),
        "Cluster API has not yet copied the new CA into the ExtensionConfig, which has until 1970-01-02T01:00:00Z"
    );
    seen.extension = Extension::Present(entries(&[&two, &one]));
    assert_eq!(made_leaf(&seen), "the certificate is signed by another CA");
}

#[test]
fn nothing_waits_for_an_extension_config_without_end() {
    let (one, two) = (authority("one", 0), authority("two", 1));
    let mut seen = settled();
    seen.authority = Stored::Usable(two.clone());
    seen.leaf = leaf("leaf", 0, Signer::Other);
    seen.configurations = vec![configuration("a", &[&two, &one])];
    seen.bundle = entries(&[&two, &one]);
    waits(&seen);
    for seen in [
        Seen {
            now: day(2),
            ..seen.clone()
        },
        Seen {
            extension: Extension::Absent,
            ..seen.clone()
        },
        // No server can start before there is a certificate.
        Seen {
            leaf: Stored::Missing,
            ..seen.clone()
        },
    ] {
        made_leaf(&seen);
    }
}

#[test]
fn without_secrets_the_bundles_tell_who_is_trusted() {
    let (one, two) = (authority("one", 0), authority("two", 1));
    let mut seen = settled();
    seen.authority = Stored::Usable(two.clone());
    seen.leaf = Stored::Missing;
    seen.bundle = Vec::new();
    seen.configurations[1] = configuration("b", &[]);
    assert_eq!(next_step(&seen), trust(&[&two, &one], &["a", "b"], Rewrite::No));
}

#[test]
fn an_old_authority_goes_when_every_server_has_the_new_leaf() {
    let (one, two) = (authority("one", 0), authority("two", 1));
    let new = || Answer::Certificate(der("new"));
    let gone = trust(&[&two], &["a"], Rewrite::Yes);
    let text = || "x".to_owned();
    for (endpoints, wait) in [
        (vec![], None),
        (vec![(Readiness::Ready, new()), (Readiness::NotReady, new())], None),
        (vec![(Readiness::NotReady, Answer::Unreachable(text()))], None),
        (
            vec![(Readiness::Ready, Answer::Unreachable(text()))],
            Some("10.0.0.1:9443 can be reached: x"),
        ),
        (
            vec![
                (Readiness::Ready, new()),
                (Readiness::Ready, Answer::Certificate(der("leaf"))),
            ],
            Some("10.0.0.1:9443 serves the new certificate"),
        ),
        (
            vec![(Readiness::NotReady, Answer::Certificate(der("leaf")))],
            Some("10.0.0.1:9443 serves the new certificate"),
        ),
        (
            vec![(Readiness::NotReady, Answer::Unknown(text()))],
            Some("10.0.0.1:9443 serves the new certificate: x"),
        ),
    ] {
        let seen = changed(&endpoints);
        match wait {
            None => assert_eq!(next_step(&seen), gone, "{endpoints:?}"),
            Some(wait) => assert_eq!(waits(&seen), format!("the CA of before is trusted until {wait}")),
        }
    }
    let unknown = Seen {
        endpoints: Endpoints::Unknown(text()),
        ..changed(&[])
    };
    assert_eq!(
        waits(&unknown),
        "the CA of before is trusted until the servers are known: x"
    );
    // They are asked only then.
    let not_asked = Seen {
        endpoints: Endpoints::NotAsked,
        ..changed(&[])
    };
    assert_eq!(next_step(&not_asked), Step::AskEndpoints);
    // A pod that starts may have read the Secret just before.
    let soon = Seen {
        now: later(day(1), SignedDuration::from_mins(4)),
        ..not_asked
    };
    assert_eq!(
        waits(&soon),
        "the CA of before is trusted until 1970-01-02T00:05:00Z, when every server has read the new certificate"
    );
    // An expired one verifies nothing.
    let mut expired = changed(&[(Readiness::Ready, Answer::Unreachable(text()))]);
    let past = Certified {
        valid: Validity {
            until: day(2),
            ..one.valid
        },
        ..one
    };
    expired.bundle = entries(&[&two, &past]);
    expired.configurations = vec![configuration("a", &[&two, &past])];
    assert_eq!(next_step(&expired), gone);
}

#[test]
fn what_can_not_be_read_in_a_bundle_is_written_over() {
    let one = authority("one", 0);
    let mut seen = settled();
    seen.configurations[1].bundles[1].push(Entry::Unreadable);
    assert_eq!(next_step(&seen), trust(&[&one], &["b"], Rewrite::No));
    seen.configurations.clear();
    seen.bundle.push(Entry::Authority(one.clone()));
    assert_eq!(next_step(&seen), trust(&[&one], &[], Rewrite::Yes));
}
