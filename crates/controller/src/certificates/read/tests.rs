use jiff::{SignedDuration, Timestamp};

use super::{
    super::{
        decision::{Entry, Lifetimes, Signer},
        issue,
    },
    authority, bundle, leaf, pem,
};

const YEAR: SignedDuration = SignedDuration::from_hours(24 * 365);
const LIFETIMES: Lifetimes = Lifetimes {
    leaf: YEAR,
    authority: SignedDuration::from_hours(24 * 3650),
};

fn now() -> Timestamp {
    "2026-11-30T13:00:00.5Z".parse().unwrap()
}

fn hosts() -> Vec<String> {
    [
        "instar-webhook.a.svc",
        "instar-webhook.a.svc.cluster.local",
        "127.0.0.1",
        "::1",
    ]
    .map(str::to_owned)
    .into()
}

fn made() -> issue::Pair {
    issue::authority("instar-webhook-ca", LIFETIMES, now()).unwrap()
}

fn signing(pair: &issue::Pair) -> super::Authority {
    authority(pair.certificate.as_bytes(), pair.key.as_bytes()).unwrap()
}

#[test]
fn what_is_made_is_read() {
    let pair = made();
    let one = signing(&pair);
    assert_eq!(one.certificate.valid.from.to_string(), "2026-11-30T12:00:00Z");
    assert_eq!(one.certificate.valid.until.to_string(), "2036-11-27T12:00:00Z");
    assert_eq!(
        pem(std::slice::from_ref(&one.certificate)),
        pair.certificate.replace("\r\n", "\n")
    );
    let other = signing(&made());
    let of = issue::leaf(&one, &hosts(), LIFETIMES, now()).unwrap();
    let read = |by| leaf(of.certificate.as_bytes(), of.key.as_bytes(), &hosts(), by).unwrap();
    assert_eq!(read(Some(&one.certificate)).signer, Signer::Current);
    assert_eq!(read(Some(&other.certificate)).signer, Signer::Other);
    assert_eq!(read(None).signer, Signer::Other);
    let until = read(None).certificate.valid.until;
    assert_eq!(until.to_string(), "2027-11-30T12:00:00Z");
}

#[test]
fn a_leaf_ends_with_its_authority() {
    let short = Lifetimes {
        authority: SignedDuration::from_hours(24),
        ..LIFETIMES
    };
    let pair = issue::authority("a", short, now()).unwrap();
    let one = signing(&pair);
    let of = issue::leaf(&one, &hosts(), short, now()).unwrap();
    let read = leaf(
        of.certificate.as_bytes(),
        of.key.as_bytes(),
        &hosts(),
        Some(&one.certificate),
    )
    .unwrap();
    assert_eq!(read.certificate.valid.until, one.certificate.valid.until);
}

#[test]
fn what_is_wrong_is_named() {
    let pair = made();
    let one = signing(&pair);
    let of = issue::leaf(&one, &hosts(), LIFETIMES, now()).unwrap();
    let other = issue::leaf(&one, &hosts(), LIFETIMES, now()).unwrap();
    let refused = |certificate: &str, key: &str, hosts: &[String]| {
        leaf(certificate.as_bytes(), key.as_bytes(), hosts, Some(&one.certificate)).unwrap_err()
    };
    assert_eq!(refused("", &of.key, &hosts()), "tls.crt is no certificate");
    assert_eq!(refused("garbled", &of.key, &hosts()), "tls.crt is no certificate");
    assert_eq!(refused(&of.certificate, "", &hosts()), "tls.key is no private key");
    assert_eq!(
        refused(&of.certificate, &other.key, &hosts()),
        "tls.crt and tls.key do not belong together"
    );
    assert_eq!(
        refused(&of.certificate, &of.key, &["b".to_owned()]),
        "it is for 127.0.0.1, ::1, instar-webhook.a.svc, instar-webhook.a.svc.cluster.local, and not for b"
    );
    let no_ca = |certificate: &str, key: &str| match authority(certificate.as_bytes(), key.as_bytes()) {
        Err(why) => why,
        Ok(_) => panic!("it can sign"),
    };
    assert_eq!(
        no_ca(&of.certificate, &of.key),
        "the certificate in tls.crt is not that of a CA"
    );
    assert_eq!(
        no_ca(&pair.certificate, &of.key),
        "tls.crt and tls.key do not belong together"
    );
    assert_eq!(no_ca(&pair.certificate, "x"), "tls.key is no private key in PKCS #8");
}

#[test]
fn a_bundle_is_read_in_its_order() {
    let (first, second) = (made(), made());
    let entry = |pair: &issue::Pair| Entry::Authority(signing(pair).certificate);
    let text = format!("# ours\n{}\n{}", first.certificate, second.certificate);
    assert_eq!(bundle(text.as_bytes()), [entry(&first), entry(&second)]);
    assert_eq!(bundle(b""), []);
    assert_eq!(bundle(b"\n"), []);
    assert_eq!(bundle(b"garbled"), [Entry::Unreadable]);
    let broken = format!(
        "{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        first.certificate
    );
    assert_eq!(bundle(broken.as_bytes()), [entry(&first), Entry::Unreadable]);
}
