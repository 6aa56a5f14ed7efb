//! Certificates are made: by a library, with its randomness.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::{
    decision::{Lifetimes, Validity},
    read::Authority,
};

/// A certificate and its key, both PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A CA that signs servers' certificates and no other CA.
pub(super) fn authority(name: &str, lifetimes: Lifetimes, now: Timestamp) -> Result<Pair, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    // Two of them may be in one bundle, and people tell them apart by this.
    named(&mut parameters, &format!("{name} of {now:.0}"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    valid(&mut parameters, Validity::starting(now, lifetimes.authority));
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = parameters.self_signed(&key)?;
    Ok(pair(&certificate, &key))
}

/// A server's certificate for these hosts, names or addresses. It ends no later than who signs it.
pub(super) fn leaf(
    authority: &Authority,
    hosts: &[String],
    lifetimes: Lifetimes,
    now: Timestamp,
) -> Result<Pair, rcgen::Error> {
    let signer = CertificateDer::from(authority.certificate.der.0.as_ref());
    let issuer = Issuer::from_ca_cert_der(&signer, &authority.key)?;
    let mut parameters = CertificateParams::new(hosts)?;
    named(&mut parameters, hosts.first().map_or("", String::as_str));
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut validity = Validity::starting(now, lifetimes.leaf);
    validity.until = validity.until.min(authority.certificate.valid.until);
    valid(&mut parameters, validity);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = parameters.signed_by(&key, &issuer)?;
    Ok(pair(&certificate, &key))
}

/// A common name has at most 64 characters.
fn named(parameters: &mut CertificateParams, name: &str) {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    parameters.distinguished_name = names;
}

pub(super) fn valid(parameters: &mut CertificateParams, validity: Validity) {
    let time = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).unwrap_or_default();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    parameters.not_before = time(validity.from);
    parameters.not_after = time(validity.until);
}

fn pair(certificate: &rcgen::Certificate, key: &KeyPair) -> Pair {
    Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}
